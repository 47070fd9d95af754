package vpsfake

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The faults. A name with "-acted" does what its twin does, but after the
// request was carried out.
const (
	Error500      = "error-500"
	Error500Acted = "error-500-acted"
	Reset         = "reset" // the connection is reset
	ResetActed    = "reset-acted"
	Hang          = "hang" // no answer until the client gives up
	HangActed     = "hang-acted"
	CutJSON       = "cut-json" // half an object, correctly sent
	CutJSONActed  = "cut-json-acted"
	CutBody       = "cut-body" // the connection ends inside the body
	CutBodyActed  = "cut-body-acted"
	HTML          = "html" // 200 with a page
	HTMLActed     = "html-acted"
	Empty         = "empty" // 200 with nothing
	EmptyActed    = "empty-acted"
	Foreign       = "foreign-json" // 200 with an object that is not the answer
	ForeignActed  = "foreign-json-acted"
	Redirected    = "redirect" // 302 to Location
	RedirectActed = "redirect-acted"

	// Turned away, nothing done.
	RateLimited  = "rate-limited" // 429, with RetryAfter where set
	Unauthorized = "unauthorized" // 401
	Forbidden    = "forbidden"    // 403
	NotFound     = "not-found"    // 404
	Conflict     = "conflict"     // 409
	EchoToken    = "echo-token"   // 400 that repeats the Authorization header
	HugeError    = "huge-error"   // 500 with a body of 1 MB

	// Carried out, but not as usual.
	Slow            = "slow"             // answers after Delay
	CreateVanishes  = "create-vanishes"  // gone when it should be completed
	CreateFails     = "create-fails"     // ends as "failed"
	CreateSticks    = "create-sticks"    // in_progress for ever
	RestoreVanishes = "restore-vanishes" // accepted, and nothing happens
	RestoreSticks   = "restore-sticks"   // restoring for ever
)

const acted = "-acted"

var faultNames = []string{
	Error500, Error500Acted, Reset, ResetActed, Hang, HangActed, CutJSON, CutJSONActed, CutBody, CutBodyActed,
	HTML, HTMLActed, Empty, EmptyActed, Foreign, ForeignActed, Redirected, RedirectActed,
	RateLimited, Unauthorized, Forbidden, NotFound, Conflict, EchoToken, HugeError,
	Slow, CreateVanishes, CreateFails, CreateSticks, RestoreVanishes, RestoreSticks,
}

// FaultNames returns the names of all faults.
func FaultNames() []string { return slices.Clone(faultNames) }

// Fault is something that goes wrong with the requests it matches. All
// conditions must hold; those left empty match everything.
type Fault struct {
	Name   string
	Method string
	// PathPrefix is below BasePath: "/snapshots/801/".
	PathPrefix string
	Match      func(*http.Request) bool
	// After is how many matching requests pass untouched first.
	After int
	// Times is how often it happens, 0 for always.
	Times int

	// Status replaces the status of error-500, redirect, echo-token and
	// huge-error.
	Status int
	// RetryAfter is the header's value for rate-limited and error-500.
	RetryAfter string
	// Location is where redirect leads; "" means another host.
	Location string
	// Delay is how long slow waits.
	Delay time.Duration
}

// Inject adds a fault. Where several match, the one injected first happens. An
// unknown name panics.
func (f *Fake) Inject(fault Fault) {
	if !slices.Contains(faultNames, fault.Name) {
		panic(fmt.Sprintf("vpsfake: no fault is called %q", fault.Name))
	}
	if fault.Times <= 0 {
		fault.Times = -1
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, &fault)
}

// Heal removes all faults.
func (f *Fake) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = nil
}

// due finds the fault for a request and counts it.
func (f *Fake) due(r *http.Request) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, x := range f.faults {
		if x.Times == 0 || x.Method != "" && x.Method != r.Method ||
			!strings.HasPrefix(r.URL.Path, BasePath+x.PathPrefix) || x.Match != nil && !x.Match(r) {
			continue
		}
		if x.After > 0 {
			x.After--
			continue
		}
		if x.Times > 0 {
			x.Times--
		}
		return x
	}
	return nil
}
