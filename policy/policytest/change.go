package policytest

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/vpsguard/vpsguard/policy"
)

var _ policy.Tx = (*change)(nil)

// change is a transaction of a [Memory]: what it has put, over what is stored.
// While it runs nothing else writes, so it reads the memory as it stands.
type change struct {
	m      *Memory
	over   bool
	rows   map[string]row
	order  []string
	values map[string]string
	log    []policy.Record
	nudges []Nudge
	notes  map[place]policy.Note
	told   []Nudge
}

func (t *change) usable(ctx context.Context) error {
	if t.over {
		return policy.Errorf(policy.Internal, "a change of the ledger was used after its end")
	}
	return ctx.Err()
}

func (t *change) Now(ctx context.Context) (time.Time, error) { return t.m.clock(), t.usable(ctx) }

func (t *change) Head(ctx context.Context) (int64, error) {
	return int64(len(t.stored()) + len(t.log)), t.usable(ctx)
}

func (t *change) stored() []policy.Record {
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	return t.m.log
}

func (t *change) row(id string) (row, bool) {
	if w, ok := t.rows[id]; ok {
		return w, true
	}
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	w, ok := t.m.rows[id]
	return w, ok
}

func (t *change) Request(ctx context.Context, id string) (policy.Request, error) {
	if err := t.usable(ctx); err != nil {
		return policy.Request{}, err
	}
	w, ok := t.row(id)
	if !ok {
		return policy.Request{}, policy.Errorf(policy.NotFound, "there is no request %s", policy.Clean(id, 30))
	}
	return w.copied()
}

func (t *change) Requests(ctx context.Context, f policy.Filter) ([]policy.Request, int, error) {
	if err := t.usable(ctx); err != nil {
		return nil, 0, err
	}
	t.m.mu.Lock()
	order := slices.Concat(t.m.order, t.order)
	t.m.mu.Unlock()
	var all []row
	for _, id := range slices.Backward(order) {
		w, _ := t.row(id)
		all = append(all, w)
	}
	return filtered(all, f)
}

func (t *change) Setting(ctx context.Context, name string) (string, error) {
	if v, ok := t.values[name]; ok {
		return v, t.usable(ctx)
	}
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	return t.m.values[name], t.usable(ctx)
}

func (t *change) Put(ctx context.Context, r policy.Request, b policy.RecordBody) (policy.Request, error) {
	if err := t.usable(ctx); err != nil {
		return r, err
	}
	old, ok := t.row(r.ID)
	switch {
	case r.ID == "":
		return r, policy.Errorf(policy.Internal, "a request without an id cannot be stored")
	case old.r.Rev != r.Rev:
		return r, policy.Errorf(policy.Conflict, "%s was changed by somebody else meanwhile", r.ID)
	case ok:
		r.Seq = old.r.Seq
	default:
		r.Seq, _ = t.Head(ctx)
		r.Seq++
		t.order = append(t.order, r.ID)
	}
	r.Rev++
	doc, err := json.Marshal(r)
	if err != nil {
		return r, policy.Errorf(policy.Internal, "a request cannot be stored").Because(err)
	}
	w := row{doc: string(doc)}
	if w.r, err = w.copied(); err != nil {
		return r, err
	}
	t.rows[r.ID] = w
	b.Request, b.Rev, b.Digest, b.Row = r.ID, r.Rev, r.Plan.Digest, policy.RowHash(w.doc)
	if err := t.record(b); err != nil {
		return r, err
	}
	return w.copied()
}

// PutSetting names the setting in its record and hashes its row, so that a
// setting that was changed beside the ledger can be found.
func (t *change) PutSetting(ctx context.Context, name, value string, b policy.RecordBody) error {
	if err := t.usable(ctx); err != nil {
		return err
	}
	row, err := json.Marshal([2]string{name, value})
	if err != nil {
		return policy.Errorf(policy.Internal, "a setting cannot be stored").Because(err)
	}
	t.values[name] = value
	b.Detail = maps.Clone(b.Detail)
	if b.Detail == nil {
		b.Detail = map[string]string{}
	}
	b.Detail["setting"] = name
	b.Request, b.Rev, b.Digest, b.Row = "", 0, "", policy.RowHash(string(row))
	return t.record(b)
}

// Append gives a record that names a request the hash of that request's row as
// it stands, since it changes nothing; the rest is as it was given.
func (t *change) Append(ctx context.Context, b policy.RecordBody) error {
	if err := t.usable(ctx); err != nil {
		return err
	}
	b.Row = ""
	if w, ok := t.row(b.Request); ok {
		b.Row = policy.RowHash(w.doc)
	}
	return t.record(b)
}

func (t *change) record(b policy.RecordBody) error {
	log := t.log
	if len(log) == 0 {
		log = t.stored()
	}
	var prev policy.Record
	if len(log) > 0 {
		prev = log[len(log)-1]
	}
	b.At = t.m.clock()
	rec, err := b.Seal(prev.Seq+1, prev.Hash)
	if err != nil {
		return policy.Errorf(policy.Internal, "an audit record cannot be made").Because(err)
	}
	t.log = append(t.log, rec)
	return nil
}

func (t *change) Nudge(ctx context.Context, r policy.Request, at time.Time) error {
	t.nudges = append(t.nudges, Nudge{ID: r.ID, Account: r.Account, At: at})
	return t.usable(ctx)
}
