package policytest

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
)

// Subject is one empty ledger that is put through the suite.
type Subject struct {
	// Open gives one more handle on it, as another process would have one. The
	// end of the test closes it.
	Open func(t *testing.T) policy.Ledger
	// Records gives its whole audit.
	Records func(t *testing.T) []policy.Record
	// Nudges counts the nudges that were not delivered yet.
	Nudges func(t *testing.T) int
	// Told counts the nudges to doors that were not delivered yet.
	Told func(t *testing.T) int
	// OwnClock says that it has a clock of its own, as a database's server has;
	// the one given to fresh decides nothing then.
	OwnClock bool
}

// Ledger is the suite: it proves that ledgers keep the contract of
// [policy.Ledger]. fresh makes an empty ledger on the clock given, for each
// case anew; the cases run in parallel.
func Ledger(t *testing.T, fresh func(t *testing.T, now func() time.Time) Subject) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, *bench)
	}{
		{"a new request comes back as it was put", testPut},
		{"what comes back shares nothing with what is stored", testCopies},
		{"a stale revision is a conflict and leaves nothing", testStale},
		{"an id is taken once", testTwice},
		{"every change has its record", testRecords},
		{"a record that changes nothing keeps the request as recorded", testAppend},
		{"settings have records", testSettings},
		{"what fails leaves nothing", testRollback},
		{"a panic leaves nothing", testPanic},
		{"a context that ended leaves nothing", testEnded},
		{"a change sees itself, others only what is committed", testIsolation},
		{"changes are serial over all handles", testSerial},
		{"waiting for a change ends with its context", testQueue},
		{"the ledger is not used inside its change", testNested},
		{"each filter lets the right ones through", testFilters},
		{"filters together let through what each does", testCombined},
		{"lists are ordered, paged and counted", testPages},
		{"a note is compared and swapped", testNotes},
		{"a note has a name and up to 64 kB", testNoteSizes},
		{"notes that are due are listed in order, each scope by itself", testNotesDue},
		{"a note that comes back shares nothing with what is stored", testNoteCopies},
		{"a note is dropped as it was seen, or not at all", testDropNote},
		{"of those who put a note at once, one wins", testNoteRace},
		{"telling keeps what a note says and makes it due", testTell},
		{"telling that fails leaves nothing", testTellRolledBack},
		{"a note waits for the change that tells of it", testNotesWait},
		{"waiting ends when any handle commits", testAwait},
		{"waiting ends with its context", testAwaitEnds},
		{"the clock is the one that decides, in whole milliseconds", testNow},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			clock := NewClock()
			b := &bench{clock: clock, Subject: fresh(t, clock.Now)}
			b.l = b.Open(t)
			b.began = b.now(t)
			c.run(t, b)
			b.whole(t)
		})
	}
}

// bench is a case at work: a subject with one handle open.
type bench struct {
	Subject
	clock *Clock
	l     policy.Ledger
	began time.Time
}

func (b *bench) now(t *testing.T) time.Time {
	t.Helper()
	now, err := b.l.Now(t.Context())
	require.NoError(t, err)
	return now
}

// at checks a time that the ledger wrote when the clock stood at want, and gives
// it back. A clock of its own has gone on since the case began, and no further.
func (b *bench) at(t *testing.T, want, got time.Time) time.Time {
	t.Helper()
	if !b.OwnClock {
		assert.Equal(t, want, got)
		return got
	}
	assert.False(t, got.Before(b.began), "%s is before %s", got, b.began)
	assert.False(t, got.After(b.now(t)), "%s is in the future", got)
	assert.Equal(t, got.UTC().Truncate(time.Millisecond), got, "UTC, in whole milliseconds")
	return got
}

// file stores a request with a nudge, as the service does.
func (b *bench) file(t *testing.T, id string, edits ...func(*policy.Request)) policy.Request {
	t.Helper()
	r := Request(id, edits...)
	require.NoError(t, b.l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) (err error) {
		if r, err = tx.Put(ctx, r, Held(r)); err != nil {
			return err
		}
		return tx.Nudge(ctx, r, r.DueAt)
	}))
	return r
}

// whole checks that the audit is one chain, and that requests are as it says.
func (b *bench) whole(t *testing.T) {
	t.Helper()
	chain := policy.Chain{}
	for _, r := range b.Records(t) {
		require.NoError(t, chain.Next(r))
	}
	head, err := b.l.Head(t.Context())
	require.NoError(t, err)
	assert.Equal(t, chain.Seq, head)
	for id, row := range chain.Rows {
		r, err := b.l.Request(t.Context(), id)
		require.NoError(t, err)
		assert.Equal(t, row, policy.RowHash(document(t, r)), id)
	}
}

func document(t *testing.T, r policy.Request) string {
	t.Helper()
	raw, err := json.Marshal(r)
	require.NoError(t, err)
	return string(raw)
}

func (b *bench) bodies(t *testing.T) []policy.RecordBody {
	t.Helper()
	var out []policy.RecordBody
	for _, r := range b.Records(t) {
		body, err := r.Parse()
		require.NoError(t, err)
		out = append(out, body)
	}
	return out
}

func kind(t *testing.T, want policy.Kind, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, want, policy.KindOf(err), "%v", err)
}

func testPut(t *testing.T, b *bench) {
	_, err := b.l.Request(t.Context(), "rq_222222")
	kind(t, policy.NotFound, err)
	b.file(t, "rq_222222")
	r := b.file(t, "rq_333333", func(r *policy.Request) {
		r.Reason = "Umlauts ÄÖÜ, <tags> & \"quotes\", \u2028 and 💾"
		r.Approvals = []policy.Approval{{By: Person("U1"), Way: policy.WaySlack, Assurance: policy.Verified, At: Start, Proof: map[string]string{"b": "2", "a": "1"}}}
		r.LeaseBy, r.StartBy = Start.Add(time.Millisecond), Start.Add(999*time.Millisecond)
	})
	assert.Equal(t, int64(1), r.Rev)
	assert.Equal(t, int64(2), r.Seq)
	for name, l := range map[string]policy.Ledger{"same handle": b.l, "another": b.Open(t)} {
		again, err := l.Request(t.Context(), "rq_333333")
		require.NoError(t, err)
		assert.Equal(t, r, again, name)
		assert.Equal(t, document(t, r), document(t, again), name)
	}
	assert.Equal(t, 2, b.Nudges(t))
}

func testCopies(t *testing.T, b *bench) {
	put := b.file(t, "rq_222222")
	want := document(t, put)
	put.Steps[0].State, put.Plan.Losses[0], put.Plan.Target.Name = policy.StepDone, "nothing", "x"
	one, err := b.l.Request(t.Context(), "rq_222222")
	require.NoError(t, err)
	assert.Equal(t, want, document(t, one))
	one.Steps[1].State = policy.StepDone
	found, _, err := b.l.Requests(t.Context(), policy.Filter{})
	require.NoError(t, err)
	require.Len(t, found, 1)
	assert.Equal(t, want, document(t, found[0]))
}

func testStale(t *testing.T, b *bench) {
	old := b.file(t, "rq_222222")
	change := func(r policy.Request) error {
		return b.l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
			r.State = policy.StateCancelled
			_, err := tx.Put(ctx, r, policy.RecordBody{Event: policy.EventCancelled})
			return err
		})
	}
	require.NoError(t, change(old))
	for _, rev := range []int64{0, old.Rev, 3, -1} {
		old.Rev = rev
		kind(t, policy.Conflict, change(old))
	}
	unknown := Request("rq_444444")
	unknown.Rev = 1
	kind(t, policy.Conflict, change(unknown))
	assert.Len(t, b.Records(t), 2)
	// A conflict that the function deals with does not spoil its change.
	require.NoError(t, b.l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
		_, err := tx.Put(ctx, old, policy.RecordBody{})
		kind(t, policy.Conflict, err)
		return tx.Append(ctx, policy.RecordBody{Event: "test.refused"})
	}))
	assert.Len(t, b.Records(t), 3)
}

func testTwice(t *testing.T, b *bench) {
	first := b.file(t, "rq_222222")
	err := b.l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
		_, err := tx.Put(ctx, Request("rq_222222"), policy.RecordBody{Event: policy.EventHeld})
		return err
	})
	kind(t, policy.Conflict, err)
	err = b.l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
		if _, err := tx.Put(ctx, Request("rq_333333"), policy.RecordBody{Event: policy.EventHeld}); err != nil {
			return err
		}
		_, err := tx.Put(ctx, Request("rq_333333"), policy.RecordBody{Event: policy.EventHeld})
		return err
	})
	kind(t, policy.Conflict, err)
	_, err = b.l.Request(t.Context(), "rq_333333")
	kind(t, policy.NotFound, err)
	again, err := b.l.Request(t.Context(), "rq_222222")
	require.NoError(t, err)
	assert.Equal(t, first, again)
}

func testRecords(t *testing.T, b *bench) {
	r := b.file(t, "rq_222222")
	at := b.clock.Advance(90 * time.Second)
	var twice []policy.Request
	require.NoError(t, b.l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
		for _, e := range []policy.Event{policy.EventApproved, policy.EventStarted} {
			var err error
			r.Fence++
			if r, err = tx.Put(ctx, r, policy.RecordBody{Event: e, By: Person("U1"), Detail: map[string]string{"k": "v"}, Seq: 99, Row: "forged", Rev: 99, Request: "rq_x", At: Start}); err != nil {
				return err
			}
			twice = append(twice, r)
		}
		head, err := tx.Head(ctx)
		assert.Equal(t, int64(3), head)
		return err
	}))
	bodies := b.bodies(t)
	require.Len(t, bodies, 3)
	for i, r := range twice {
		assert.Equal(t, policy.RecordBody{
			Seq: int64(2 + i), At: b.at(t, at, bodies[1+i].At), Event: bodies[1+i].Event, By: Person("U1"), Request: r.ID, Rev: int64(2 + i),
			Digest: r.Plan.Digest, Row: policy.RowHash(document(t, r)), Detail: map[string]string{"k": "v"},
		}, bodies[1+i])
		assert.Equal(t, int64(1), r.Seq, "a request keeps the number of the record that filed it")
	}
	assert.Equal(t, policy.EventStarted, bodies[2].Event)
}

func testAppend(t *testing.T, b *bench) {
	r := b.file(t, "rq_222222")
	require.NoError(t, b.l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
		for _, id := range []string{"", r.ID} {
			if err := tx.Append(ctx, policy.RecordBody{Event: "test.refused", By: Agent("a"), Request: id, Row: "forged", Digest: "of what was shown"}); err != nil {
				return err
			}
		}
		return nil
	}))
	bodies := b.bodies(t)
	require.Len(t, bodies, 3)
	want := policy.RecordBody{Seq: 2, At: b.at(t, Start, bodies[1].At), Event: "test.refused", By: Agent("a"), Digest: "of what was shown"}
	assert.Equal(t, want, bodies[1])
	want.Seq, want.At, want.Request, want.Row = 3, b.at(t, Start, bodies[2].At), r.ID, bodies[0].Row
	assert.Equal(t, want, bodies[2])
}

func testSettings(t *testing.T, b *bench) {
	put := func(value string) error {
		return b.l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
			if err := tx.PutSetting(ctx, "passphrase", value, policy.RecordBody{Event: "passphrase.set", Detail: map[string]string{"k": "v"}}); err != nil {
				return err
			}
			got, err := tx.Setting(ctx, "passphrase")
			assert.Equal(t, value, got)
			return err
		})
	}
	for _, value := range []string{"", "one", "two"} {
		got, err := b.Open(t).Setting(t.Context(), "passphrase")
		require.NoError(t, err)
		assert.Equal(t, map[string]string{"one": "", "two": "one"}[value], got)
		require.NoError(t, put(value))
	}
	bodies := b.bodies(t)
	require.Len(t, bodies, 3)
	assert.Equal(t, map[string]string{"k": "v", "setting": "passphrase"}, bodies[2].Detail)
	assert.NotEqual(t, bodies[1].Row, bodies[2].Row, "each value has its own hash")
	for _, r := range b.Records(t) {
		assert.NotContains(t, r.Body, "two", "a setting's value is not in the audit")
	}
}

var errOwn = errors.New("own")
