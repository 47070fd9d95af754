package policytest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/vpsguard/vpsguard/policy"
)

// mostDoc is how long a note's document may be, in bytes.
const mostDoc = 64 << 10

// place is where a note lies.
type place struct{ scope, key string }

func noNote(key string) error {
	return policy.Errorf(policy.NotFound, "there is no note %s", policy.Clean(key, 60))
}

func noteConflict(key string) error {
	return policy.Errorf(policy.Conflict, "the note %s was changed by somebody else meanwhile", policy.Clean(key, 60)).WithHint("Read it again.")
}

// Note gives a note, or NotFound.
func (m *Memory) Note(ctx context.Context, scope, key string) (policy.Note, error) {
	if err := m.outside(ctx); err != nil {
		return policy.Note{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n, ok := m.notes[place{scope, key}]
	if !ok {
		return n, noNote(key)
	}
	return n, nil
}

// Notes gives the notes of a scope that are due, the longest due first.
func (m *Memory) Notes(ctx context.Context, scope string, due time.Time, limit int) ([]policy.Note, error) {
	if err := m.outside(ctx); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return dueOf(m.notes, scope, due, limit), nil
}

func dueOf(notes map[place]policy.Note, scope string, due time.Time, limit int) []policy.Note {
	var out []policy.Note
	for _, n := range notes {
		if n.Scope == scope && !n.DueAt.IsZero() && n.DueAt.UnixMilli() <= due.UnixMilli() {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b policy.Note) int { return cmp.Or(a.DueAt.Compare(b.DueAt), cmp.Compare(a.Key, b.Key)) })
	return out[:max(0, min(limit, len(out)))]
}

// PutNote stores a note if its revision is the stored one.
func (m *Memory) PutNote(ctx context.Context, n policy.Note) (policy.Note, error) {
	switch {
	case n.Scope == "" || n.Key == "":
		return policy.Note{}, policy.Errorf(policy.Internal, "a note without a scope and a key cannot be stored")
	case len(n.Doc) > mostDoc:
		return policy.Note{}, policy.Errorf(policy.Internal, "a note of %d bytes cannot be stored; %d are the most", len(n.Doc), mostDoc)
	}
	n.DueAt = n.DueAt.UTC().Truncate(time.Millisecond)
	err := m.changeNotes(ctx, func(notes map[place]policy.Note) error {
		at := place{n.Scope, n.Key}
		if notes[at].Rev != n.Rev {
			return noteConflict(n.Key)
		}
		n.Rev++
		notes[at] = n
		return nil
	})
	if err != nil {
		return policy.Note{}, err
	}
	return n, nil
}

// DropNote removes a note if its revision is the stored one.
func (m *Memory) DropNote(ctx context.Context, n policy.Note) error {
	return m.changeNotes(ctx, func(notes map[place]policy.Note) error {
		at := place{n.Scope, n.Key}
		if old, ok := notes[at]; ok && old.Rev != n.Rev {
			return noteConflict(n.Key)
		}
		delete(notes, at)
		return nil
	})
}

// changeNotes runs f while no Change runs, and keeps what it did unless it
// fails or a fault is due.
func (m *Memory) changeNotes(ctx context.Context, f func(map[place]policy.Note) error) error {
	if err := m.outside(ctx); err != nil {
		return err
	}
	select {
	case m.serial <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-m.serial }()
	m.mu.Lock()
	defer m.mu.Unlock()
	notes := maps.Clone(m.notes)
	if err := f(notes); err != nil {
		return err
	}
	happened, failed := m.fault()
	if happened {
		m.notes = notes
	}
	return failed
}

func (t *change) note(at place) (policy.Note, bool) {
	if n, ok := t.notes[at]; ok {
		return n, true
	}
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	n, ok := t.m.notes[at]
	return n, ok
}

func (t *change) Note(ctx context.Context, scope, key string) (policy.Note, error) {
	if err := t.usable(ctx); err != nil {
		return policy.Note{}, err
	}
	n, ok := t.note(place{scope, key})
	if !ok {
		return n, noNote(key)
	}
	return n, nil
}

func (t *change) Notes(ctx context.Context, scope string, due time.Time, limit int) ([]policy.Note, error) {
	if err := t.usable(ctx); err != nil {
		return nil, err
	}
	t.m.mu.Lock()
	notes := maps.Clone(t.m.notes)
	t.m.mu.Unlock()
	maps.Copy(notes, t.notes)
	return dueOf(notes, scope, due, limit), nil
}

// Tell nudges doors once for a request, however often it is told in one change.
func (t *change) Tell(ctx context.Context, r policy.Request) error {
	if err := t.usable(ctx); err != nil {
		return err
	}
	if r.ID == "" {
		return policy.Errorf(policy.Internal, "a request without an id cannot be told")
	}
	now := t.m.clock()
	at := place{policy.ToldScope(r.Account), r.ID}
	n, _ := t.note(at)
	n.Scope, n.Key, n.DueAt = at.scope, at.key, now
	n.Rev++
	t.notes[at] = n
	told := Nudge{ID: r.ID, Account: r.Account, At: now}
	if !slices.ContainsFunc(t.told, func(o Nudge) bool { return o.ID == told.ID && o.Account == told.Account }) {
		t.told = append(t.told, told)
	}
	return nil
}
