package policytest

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/vpsguard/vpsguard/policy"
)

var _ policy.Ledger = (*Memory)(nil)

// Memory is a ledger in memory that keeps the whole contract of
// [policy.Ledger] within one process. Requests are stored as JSON, so that what
// comes back is always a copy that shares nothing with what was put.
type Memory struct {
	now    func() time.Time
	serial chan struct{} // holds a token while a Change runs

	mu     sync.Mutex
	rows   map[string]row
	order  []string // ids by Seq, oldest first
	values map[string]string
	log    []policy.Record
	nudges []Nudge
	notes  map[place]policy.Note
	told   []Nudge
	grown  chan struct{} // closed when the log grows
	faults []Fault
}

// Nudge is a nudge that nobody has taken yet. One to a door, see [Memory.Told],
// is always for the time at which it was made.
type Nudge struct {
	ID      string
	Account policy.Account
	At      time.Time
}

// row is a request as it is stored: the document, and the same decoded, which
// never leaves this package.
type row struct {
	doc string
	r   policy.Request
}

func (w row) copied() (policy.Request, error) {
	var r policy.Request
	if err := json.Unmarshal([]byte(w.doc), &r); err != nil {
		return r, policy.Errorf(policy.Internal, "a stored request cannot be read").Because(err)
	}
	return r, nil
}

// NewMemory makes an empty ledger on a clock. Any number of services may share
// it, as processes share a database.
func NewMemory(now func() time.Time) *Memory {
	return &Memory{
		now: now, serial: make(chan struct{}, 1), grown: make(chan struct{}),
		rows: map[string]row{}, values: map[string]string{}, notes: map[place]policy.Note{},
	}
}

// inside marks the context of a Change with its ledger.
type inside struct{ m *Memory }

func (m *Memory) outside(ctx context.Context) error {
	if ctx.Value(inside{m}) != nil {
		return policy.Errorf(policy.Internal, "the ledger was used inside its own change")
	}
	return ctx.Err()
}

// Now is the clock that the ledger was made with, in UTC and whole milliseconds.
func (m *Memory) Now(ctx context.Context) (time.Time, error) {
	if err := m.outside(ctx); err != nil {
		return time.Time{}, err
	}
	return m.clock(), nil
}

func (m *Memory) clock() time.Time { return m.now().UTC().Truncate(time.Millisecond) }

// Head is the number of the last audit record.
func (m *Memory) Head(ctx context.Context) (int64, error) {
	if err := m.outside(ctx); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return int64(len(m.log)), nil
}

// Request gives one request, or NotFound.
func (m *Memory) Request(ctx context.Context, id string) (policy.Request, error) {
	if err := m.outside(ctx); err != nil {
		return policy.Request{}, err
	}
	m.mu.Lock()
	w, ok := m.rows[id]
	m.mu.Unlock()
	if !ok {
		return policy.Request{}, policy.Errorf(policy.NotFound, "there is no request %s", policy.Clean(id, 30))
	}
	return w.copied()
}

// Requests gives the requests that a filter lets through, newest first.
func (m *Memory) Requests(ctx context.Context, f policy.Filter) ([]policy.Request, int, error) {
	if err := m.outside(ctx); err != nil {
		return nil, 0, err
	}
	m.mu.Lock()
	var all []row
	for _, id := range slices.Backward(m.order) {
		all = append(all, m.rows[id])
	}
	m.mu.Unlock()
	return filtered(all, f)
}

// Setting gives a setting, or "".
func (m *Memory) Setting(ctx context.Context, name string) (string, error) {
	if err := m.outside(ctx); err != nil {
		return "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.values[name], nil
}

// Await returns when the audit has grown beyond a number, or with the context's error.
func (m *Memory) Await(ctx context.Context, after int64) error {
	for {
		if err := m.outside(ctx); err != nil {
			return err
		}
		m.mu.Lock()
		head, grown := int64(len(m.log)), m.grown
		m.mu.Unlock()
		if head > after {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
		}
	}
}

// Change runs f alone. If f fails, panics, or a fault is due, nothing of it
// stays (but see [CommitLost]).
func (m *Memory) Change(ctx context.Context, f func(ctx context.Context, tx policy.Tx) error) error {
	if err := m.outside(ctx); err != nil {
		return err
	}
	select {
	case m.serial <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-m.serial }()
	t := &change{m: m, rows: map[string]row{}, values: map[string]string{}, notes: map[place]policy.Note{}}
	defer func() { t.over = true }()
	if err := f(context.WithValue(ctx, inside{m}, true), t); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil { // as a database would
		return policy.Errorf(policy.Unavailable, "the call ended before it was stored; nothing was changed").Because(err)
	}
	return m.commit(t)
}

// commit stores what a change has put, unless a fault is due.
func (m *Memory) commit(t *change) error {
	if len(t.log) == 0 && len(t.nudges) == 0 && len(t.told) == 0 {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	happened, failed := m.fault()
	if !happened {
		return failed
	}
	m.order = append(m.order, t.order...)
	maps.Copy(m.rows, t.rows)
	maps.Copy(m.values, t.values)
	m.log = append(m.log, t.log...)
	m.nudges = append(m.nudges, t.nudges...)
	maps.Copy(m.notes, t.notes)
	m.told = append(m.told, t.told...)
	close(m.grown)
	m.grown = make(chan struct{})
	return failed
}

// fault takes the fault that is due: whether the commit happens all the same,
// and what it is said to have failed with.
func (m *Memory) fault() (happened bool, failed error) {
	if len(m.faults) == 0 {
		return true, nil
	}
	fault := m.faults[0]
	m.faults = m.faults[1:]
	return fault == CommitLost, policy.Errorf(policy.Unavailable, "the ledger could not store it; nothing was changed")
}

// filtered applies a filter to rows that are newest first.
func filtered(all []row, f policy.Filter) ([]policy.Request, int, error) {
	limit := f.Limit
	if limit <= 0 || limit > 1000 {
		limit = 1000
	}
	var out []policy.Request
	total := 0
	for _, w := range all {
		if !through(f, w.r) {
			continue
		}
		total++
		if len(out) == limit || f.Before != 0 && w.r.Seq >= f.Before {
			continue
		}
		r, err := w.copied()
		if err != nil {
			return nil, 0, err
		}
		out = append(out, r)
	}
	return out, total, nil
}

// through tells whether a filter lets a request through, its cursor apart.
func through(f policy.Filter, r policy.Request) bool {
	ms := time.Time.UnixMilli
	switch {
	case len(f.States) > 0 && !slices.Contains(f.States, r.State),
		f.Account != nil && *f.Account != r.Account,
		f.ServerID != 0 && f.ServerID != r.Plan.Server.ID,
		f.ServerName != "" && f.ServerName != r.Plan.Server.Name,
		f.Actor != "" && f.Actor != r.Actor.Key(),
		f.Purpose != "" && f.Purpose != r.Purpose,
		f.Aim != "" && f.Aim != r.Aim,
		f.BegunAfter != 0 && r.Begun <= f.BegunAfter,
		!f.EndedAfter.IsZero() && (r.EndedAt.IsZero() || ms(r.EndedAt) <= ms(f.EndedAfter)),
		!f.DueBy.IsZero() && (r.DueAt.IsZero() || ms(r.DueAt) > ms(f.DueBy)):
		return false
	}
	return true
}
