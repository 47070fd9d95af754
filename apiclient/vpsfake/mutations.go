package vpsfake

import (
	"net/http"
	"slices"
	"time"
)

// Effect is what a write does.
type Effect string

// The effects.
const (
	Create    Effect = "create"
	Overwrite Effect = "overwrite"
	Delete    Effect = "delete"
)

// Mutation is one write that arrived with a good token at a path that exists.
type Mutation struct {
	Effect Effect
	Method string
	// Path is below the host: "/api/v1/snapshots/801/restore/".
	Path string
	// At is when it arrived, by the Fake's clock.
	At   time.Time
	Body string
	// Acted says that it changed something, whatever was answered.
	Acted bool
	// Fault is the name of the fault that was played on it, "" for none.
	Fault string
}

// Mutations returns all writes that arrived, oldest first, also those that were
// refused or broken off.
func (f *Fake) Mutations() []Mutation {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.mutations)
}

// Count returns how many writes of an effect changed something.
func (f *Fake) Count(e Effect) int {
	return f.tally(func(m Mutation) bool { return m.Effect == e && m.Acted })
}

// Sent returns how many writes of an effect arrived, whether they changed
// something or not.
func (f *Fake) Sent(e Effect) int {
	return f.tally(func(m Mutation) bool { return m.Effect == e })
}

func (f *Fake) tally(match func(Mutation) bool) int {
	n := 0
	for _, m := range f.Mutations() {
		if match(m) {
			n++
		}
	}
	return n
}

// Reads returns how many GETs with a good token arrived at a path below BasePath,
// such as "/snapshots/".
func (f *Fake) Reads(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reads[BasePath+path]
}

// record notes a request before anything is done about it.
func (f *Fake) record(r *http.Request, e Effect, body []byte) (int, Mutation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e == "" {
		f.reads[r.URL.Path]++
		return 0, Mutation{}
	}
	m := Mutation{Effect: e, Method: r.Method, Path: r.URL.Path, At: f.o.Now(), Body: string(body)}
	f.mutations = append(f.mutations, m)
	return len(f.mutations) - 1, m
}
