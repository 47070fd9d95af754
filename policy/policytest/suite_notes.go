package policytest

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
)

// put stores a note that has to go in, and checks what comes back.
func (b *bench) put(t *testing.T, n policy.Note) policy.Note {
	t.Helper()
	stored, err := b.l.PutNote(t.Context(), n)
	require.NoError(t, err)
	n.Rev++
	n.DueAt = n.DueAt.UTC().Truncate(time.Millisecond)
	require.Equal(t, n, stored)
	return stored
}

// is checks that a note is stored like that, whichever handle is asked.
func (b *bench) is(t *testing.T, want policy.Note) {
	t.Helper()
	for _, l := range []policy.Ledger{b.l, b.Open(t)} {
		n, err := l.Note(t.Context(), want.Scope, want.Key)
		require.NoError(t, err)
		assert.Equal(t, want, n)
	}
}

func (b *bench) tell(t *testing.T, requests ...policy.Request) {
	t.Helper()
	require.NoError(t, b.l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
		for _, r := range requests {
			if err := tx.Tell(ctx, r); err != nil {
				return err
			}
		}
		return nil
	}))
}

func testNotes(t *testing.T, b *bench) {
	_, err := b.l.Note(t.Context(), "scope", "key")
	kind(t, policy.NotFound, err)
	east := time.FixedZone("east", 3600)
	n := b.put(t, policy.Note{Scope: "scope", Key: "key", DueAt: Start.Add(999 * time.Microsecond).In(east), Doc: "ÄÖÜ\n\"<tags>\" & 💾"})
	assert.Equal(t, Start, n.DueAt, "UTC, in whole milliseconds")
	b.is(t, n)
	for _, rev := range []int64{0, 2, -1} {
		stale := n
		stale.Rev, stale.Doc = rev, "lost"
		none, err := b.l.PutNote(t.Context(), stale)
		kind(t, policy.Conflict, err)
		assert.Contains(t, policy.Public(err).Message, "the note key was changed by somebody else")
		assert.Zero(t, none)
		_, err = b.l.PutNote(t.Context(), policy.Note{Scope: "scope", Key: "missing", Rev: rev - 3})
		kind(t, policy.Conflict, err)
	}
	b.is(t, n)
	n.DueAt, n.Doc = time.Time{}, ""
	old := n
	n = b.put(t, n)
	assert.Equal(t, int64(2), n.Rev)
	b.is(t, n)
	_, err = b.Open(t).PutNote(t.Context(), old)
	kind(t, policy.Conflict, err)
	head, err := b.l.Head(t.Context())
	require.NoError(t, err)
	assert.Zero(t, head, "the audit knows nothing of notes")
	assert.Zero(t, b.Told(t))
}

func testNoteSizes(t *testing.T, b *bench) {
	n := b.put(t, policy.Note{Scope: "scope", Key: "key", Doc: strings.Repeat("x", 64<<10)})
	b.is(t, n)
	for _, bad := range []policy.Note{
		{Scope: "scope", Key: "key", Rev: 1, Doc: strings.Repeat("x", 64<<10+1)},
		{Scope: "scope", Rev: 0},
		{Key: "key", Rev: 0},
	} {
		_, err := b.l.PutNote(t.Context(), bad)
		kind(t, policy.Internal, err)
	}
	b.is(t, n)
}

func testNotesDue(t *testing.T, b *bench) {
	for key, after := range map[string]time.Duration{"c": 3 * time.Minute, "a": time.Minute, "b": 2 * time.Minute, "A": time.Minute, "before": -99 * time.Hour} {
		b.put(t, policy.Note{Scope: "one", Key: key, DueAt: Start.Add(after), Doc: "doc of " + key})
	}
	b.put(t, policy.Note{Scope: "one", Key: "never"})
	b.put(t, policy.Note{Scope: "two", Key: "a", DueAt: Start.Add(time.Minute)})
	for _, c := range []struct {
		scope string
		after time.Duration
		limit int
		want  string
	}{
		{"one", 3 * time.Minute, 99, "before A a b c"},
		{"one", 3*time.Minute - time.Nanosecond, 99, "before A a b"},
		{"one", 3*time.Minute - time.Millisecond, 99, "before A a b"},
		{"one", 9999 * time.Hour, 3, "before A a"},
		{"one", 9999 * time.Hour, 1, "before"},
		{"one", 9999 * time.Hour, 0, ""},
		{"one", 9999 * time.Hour, -1, ""},
		{"two", 9999 * time.Hour, 99, "a"},
		{"two", 0, 99, ""},
		{"on", 9999 * time.Hour, 99, ""},
		{"", 9999 * time.Hour, 99, ""},
	} {
		keys := func(found []policy.Note, err error) string {
			require.NoError(t, err)
			var out []string
			for _, n := range found {
				assert.Equal(t, c.scope, n.Scope)
				out = append(out, n.Key)
			}
			return strings.Join(out, " ")
		}
		assert.Equal(t, c.want, keys(b.l.Notes(t.Context(), c.scope, Start.Add(c.after), c.limit)), "%v", c)
		require.NoError(t, b.l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
			assert.Equal(t, c.want, keys(tx.Notes(ctx, c.scope, Start.Add(c.after), c.limit)), "%v", c)
			return nil
		}))
	}
	found, err := b.l.Notes(t.Context(), "one", Start.In(time.FixedZone("west", -3600)), 9)
	require.NoError(t, err)
	assert.Equal(t, []policy.Note{{Scope: "one", Key: "before", Rev: 1, DueAt: Start.Add(-99 * time.Hour), Doc: "doc of before"}}, found)
}

func testNoteCopies(t *testing.T, b *bench) {
	n := b.put(t, policy.Note{Scope: "scope", Key: "key", DueAt: Start, Doc: "doc"})
	for range 2 {
		found, err := b.l.Notes(t.Context(), "scope", Start, 9)
		require.NoError(t, err)
		require.Equal(t, []policy.Note{n}, found)
		found[0].Doc, found[0].Rev = "x", 99
		one, err := b.l.Note(t.Context(), "scope", "key")
		require.NoError(t, err)
		one.Doc = "y"
	}
	b.is(t, n)
}

func testDropNote(t *testing.T, b *bench) {
	b.put(t, policy.Note{Scope: "other", Key: "key"})
	n := b.put(t, b.put(t, policy.Note{Scope: "scope", Key: "key", DueAt: Start}))
	for _, rev := range []int64{0, 1, 3} {
		stale := n
		stale.Rev = rev
		err := b.l.DropNote(t.Context(), stale)
		kind(t, policy.Conflict, err)
		assert.Contains(t, policy.Public(err).Message, "the note key was changed by somebody else")
	}
	b.is(t, n)
	for range 2 {
		require.NoError(t, b.Open(t).DropNote(t.Context(), n), "one that is not there is dropped already")
		_, err := b.l.Note(t.Context(), "scope", "key")
		kind(t, policy.NotFound, err)
		found, err := b.l.Notes(t.Context(), "scope", Start, 9)
		require.NoError(t, err)
		assert.Empty(t, found)
	}
	_, err := b.l.PutNote(t.Context(), n)
	kind(t, policy.Conflict, err)
	b.is(t, policy.Note{Scope: "other", Key: "key", Rev: 1})
	n.Rev = 0
	b.put(t, n)
}

// testNoteRace lets many put the same note: of each revision one wins.
func testNoteRace(t *testing.T, b *bench) {
	const writers, each = 8, 5
	handles := []policy.Ledger{b.l, b.Open(t)}
	var wins atomic.Int64
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			_, err := handles[w%2].PutNote(t.Context(), policy.Note{Scope: "race", Key: "key", DueAt: Start})
			if err == nil {
				wins.Add(1)
			} else {
				assert.Equal(t, policy.Conflict, policy.KindOf(err), "%v", err)
			}
		})
	}
	wg.Wait()
	assert.Equal(t, int64(1), wins.Load())
	for w := range writers {
		wg.Go(func() {
			for done := 0; done < each; {
				n, err := handles[w%2].Note(t.Context(), "race", "key")
				if !assert.NoError(t, err) {
					return
				}
				count, _ := strconv.Atoi(n.Doc)
				n.Doc = strconv.Itoa(count + 1)
				switch _, err = handles[w%2].PutNote(t.Context(), n); policy.KindOf(err) {
				case "":
					done++
				case policy.Conflict:
				default:
					assert.NoError(t, err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.is(t, policy.Note{Scope: "race", Key: "key", Rev: 1 + writers*each, DueAt: Start, Doc: strconv.Itoa(writers * each)})
}

func testTell(t *testing.T, b *bench) {
	r := b.file(t, "rq_222222")
	elsewhere := Request("rq_222222", func(r *policy.Request) { r.Account = otherAccount })
	scope := policy.ToldScope(Account)
	require.NotEqual(t, scope, policy.ToldScope(otherAccount))
	b.clock.Advance(1500 * time.Microsecond)
	now := Start.Add(time.Millisecond)
	b.tell(t, r)
	told, err := b.l.Note(t.Context(), scope, r.ID)
	require.NoError(t, err)
	want := policy.Note{Scope: scope, Key: r.ID, Rev: 1, DueAt: b.at(t, now, told.DueAt)}
	b.is(t, want)
	assert.Equal(t, 1, b.Told(t))
	_, err = b.l.Note(t.Context(), policy.ToldScope(otherAccount), r.ID)
	kind(t, policy.NotFound, err)

	want.DueAt, want.Doc = time.Time{}, "shown in C1"
	want = b.put(t, want)
	assert.Equal(t, 1, b.Told(t), "a note that is put tells nobody")
	now = b.clock.Advance(time.Minute).Truncate(time.Millisecond)
	require.NoError(t, b.l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
		for range 2 {
			if err := tx.Tell(ctx, r); err != nil {
				return err
			}
		}
		for _, r := range []policy.Request{elsewhere, Request("rq_333333")} {
			if err := tx.Tell(ctx, r); err != nil {
				return err
			}
		}
		n, err := tx.Note(ctx, scope, r.ID)
		require.NoError(t, err)
		assert.Greater(t, n.Rev, want.Rev, "a change sees its own")
		told = n
		assert.Equal(t, want.Doc, n.Doc)
		due, err := tx.Now(ctx)
		require.NoError(t, err)
		found, err := tx.Notes(ctx, scope, due, 9)
		require.Len(t, found, 2)
		assert.Equal(t, []policy.Note{n, {Scope: scope, Key: "rq_333333", Rev: 1, DueAt: found[1].DueAt}}, found)
		_, missing := tx.Note(ctx, scope, "rq_444444")
		kind(t, policy.NotFound, missing)
		outside, other := b.l.Note(t.Context(), scope, r.ID)
		require.NoError(t, other)
		assert.Equal(t, want, outside, "others see what is committed")
		return err
	}))
	assert.Equal(t, 4, b.Told(t), "a door is nudged once for each request in a change")
	n, err := b.l.Note(t.Context(), scope, r.ID)
	require.NoError(t, err)
	assert.Equal(t, policy.Note{Scope: scope, Key: r.ID, Rev: n.Rev, DueAt: b.at(t, now, told.DueAt), Doc: want.Doc}, n, "what it says stays")
	assert.Greater(t, n.Rev, want.Rev)
	_, err = b.l.PutNote(t.Context(), want)
	kind(t, policy.Conflict, err)
	kind(t, policy.Conflict, b.l.DropNote(t.Context(), want))
	other, err := b.l.Note(t.Context(), policy.ToldScope(otherAccount), r.ID)
	require.NoError(t, err)
	b.is(t, policy.Note{Scope: policy.ToldScope(otherAccount), Key: r.ID, Rev: 1, DueAt: b.at(t, now, other.DueAt)})
	assert.Len(t, b.Records(t), 1, "nothing of it is in the audit")
	assert.Equal(t, 1, b.Nudges(t))
}

func testTellRolledBack(t *testing.T, b *bench) {
	told, untold := b.file(t, "rq_222222"), b.file(t, "rq_333333")
	b.tell(t, told)
	before, err := b.l.Note(t.Context(), policy.ToldScope(Account), told.ID)
	require.NoError(t, err)
	b.clock.Advance(time.Minute)
	err = b.l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
		for _, r := range []policy.Request{told, untold} {
			require.NoError(t, tx.Tell(ctx, r))
		}
		return errOwn
	})
	require.ErrorIs(t, err, errOwn)
	b.is(t, before)
	_, err = b.l.Note(t.Context(), policy.ToldScope(Account), untold.ID)
	kind(t, policy.NotFound, err)
	assert.Equal(t, 1, b.Told(t))

	var tx policy.Tx
	require.NoError(t, b.l.Change(t.Context(), func(_ context.Context, inner policy.Tx) error { tx = inner; return nil }))
	kind(t, policy.Internal, tx.Tell(t.Context(), told))
	_, err = tx.Note(t.Context(), before.Scope, before.Key)
	kind(t, policy.Internal, err)
	_, err = tx.Notes(t.Context(), before.Scope, Start, 1)
	kind(t, policy.Internal, err)
	err = b.l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error { return tx.Tell(ctx, Request("")) })
	kind(t, policy.Internal, err)
}

// testNotesWait puts a note while a change runs that tells of it: the change is
// whole before the note is compared.
func testNotesWait(t *testing.T, b *bench) {
	r := b.file(t, "rq_222222")
	b.tell(t, r)
	other := b.Open(t)
	n, err := other.Note(t.Context(), policy.ToldScope(Account), r.ID)
	require.NoError(t, err)
	put := make(chan error)
	require.NoError(t, b.l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
		if err := tx.Tell(ctx, r); err != nil {
			return err
		}
		go func() {
			_, err := other.PutNote(t.Context(), n)
			put <- err
		}()
		return nil
	}))
	kind(t, policy.Conflict, <-put)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = b.l.PutNote(ctx, policy.Note{Scope: "scope", Key: "key"})
	kind(t, policy.Unavailable, err)
	kind(t, policy.Unavailable, b.l.DropNote(ctx, n))
	require.NoError(t, b.l.Change(t.Context(), func(ctx context.Context, _ policy.Tx) error {
		_, err := b.l.PutNote(ctx, n)
		errs := []error{err, b.l.DropNote(ctx, n)}
		_, err = b.l.Note(ctx, n.Scope, n.Key)
		errs = append(errs, err)
		_, err = b.l.Notes(ctx, n.Scope, Start, 9)
		for _, err := range slices.Concat(errs, []error{err}) {
			kind(t, policy.Internal, err)
		}
		return nil
	}))
}
