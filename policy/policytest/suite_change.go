package policytest

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
)

// fill puts one of everything.
func fill(ctx context.Context, tx policy.Tx) error {
	r, err := tx.Put(ctx, Request("rq_999999"), policy.RecordBody{Event: policy.EventHeld})
	return errors.Join(
		err, tx.Nudge(ctx, r, Start), tx.Tell(ctx, r), tx.Append(ctx, policy.RecordBody{Event: "test.refused"}),
		tx.PutSetting(ctx, "name", "value", policy.RecordBody{Event: "test.set"}),
	)
}

// nothing checks that there is none of what fill puts.
func (b *bench) nothing(t *testing.T) {
	t.Helper()
	for _, l := range []policy.Ledger{b.l, b.Open(t)} {
		_, err := l.Request(t.Context(), "rq_999999")
		kind(t, policy.NotFound, err)
		_, total, err := l.Requests(t.Context(), policy.Filter{})
		require.NoError(t, err)
		assert.Zero(t, total)
		value, err := l.Setting(t.Context(), "name")
		require.NoError(t, err)
		assert.Empty(t, value)
		_, err = l.Note(t.Context(), policy.ToldScope(Account), "rq_999999")
		kind(t, policy.NotFound, err)
		head, err := l.Head(t.Context())
		require.NoError(t, err)
		assert.Zero(t, head)
	}
	assert.Empty(t, b.Records(t))
	assert.Zero(t, b.Nudges(t))
	assert.Zero(t, b.Told(t))
}

func testRollback(t *testing.T, b *bench) {
	public := policy.Errorf(policy.Forbidden, "no").WithHint("never")
	for _, want := range []error{errOwn, public} {
		err := b.l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
			require.NoError(t, fill(ctx, tx))
			return want
		})
		assert.Same(t, want, err, "an error of the function comes back unchanged")
		b.nothing(t)
	}
	require.NoError(t, b.l.Change(t.Context(), fill), "and the ledger goes on")
	assert.Equal(t, 1, b.Nudges(t))
}

func testPanic(t *testing.T, b *bench) {
	assert.PanicsWithValue(t, "boom", func() {
		_ = b.l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
			require.NoError(t, fill(ctx, tx))
			panic("boom")
		})
	})
	b.nothing(t)
	require.NoError(t, b.Open(t).Change(t.Context(), fill), "and the ledger goes on")
}

func testEnded(t *testing.T, b *bench) {
	ctx, cancel := context.WithCancel(t.Context())
	err := b.l.Change(ctx, func(ctx context.Context, tx policy.Tx) error {
		require.NoError(t, fill(ctx, tx))
		cancel()
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
	kind(t, policy.Unavailable, err)
	b.nothing(t)
	err = b.l.Change(ctx, func(context.Context, policy.Tx) error {
		t.Error("the function ran although its context had ended")
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, b.l.Change(t.Context(), fill), "and the ledger goes on")
}

func testIsolation(t *testing.T, b *bench) {
	other := b.Open(t)
	var tx policy.Tx
	require.NoError(t, b.l.Change(t.Context(), func(ctx context.Context, inner policy.Tx) error {
		tx = inner
		require.NoError(t, fill(ctx, tx))
		r, err := tx.Request(ctx, "rq_999999")
		require.NoError(t, err)
		assert.Equal(t, int64(1), r.Rev)
		found, total, err := tx.Requests(ctx, policy.Filter{States: []policy.State{policy.StateHeld}, Limit: 1})
		require.NoError(t, err)
		assert.Len(t, found, 1)
		assert.Equal(t, 1, total)
		value, err := tx.Setting(ctx, "name")
		require.NoError(t, err)
		assert.Equal(t, "value", value)
		head, err := tx.Head(ctx)
		require.NoError(t, err)
		assert.Equal(t, int64(3), head)
		b.nothingOutside(t, other)
		return nil
	}))
	head, err := other.Head(t.Context())
	require.NoError(t, err)
	assert.Equal(t, int64(3), head)
	kind(t, policy.Internal, tx.Append(t.Context(), policy.RecordBody{}))
	_, err = tx.Put(t.Context(), Request("rq_222222"), policy.RecordBody{})
	kind(t, policy.Internal, err)
}

func (b *bench) nothingOutside(t *testing.T, other policy.Ledger) {
	t.Helper()
	for _, l := range []policy.Ledger{b.l, other} { // a context from outside, as another goroutine has
		_, err := l.Request(t.Context(), "rq_999999")
		kind(t, policy.NotFound, err)
		head, err := l.Head(t.Context())
		require.NoError(t, err)
		assert.Zero(t, head)
	}
}

func testSerial(t *testing.T, b *bench) {
	const writers, each = 16, 5
	b.file(t, "rq_222222")
	handles := []policy.Ledger{b.l, b.Open(t)}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for range each {
				assert.NoError(t, handles[w%2].Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
					value, err := tx.Setting(ctx, "count")
					if err != nil {
						return err
					}
					n, _ := strconv.Atoi(value)
					if err := tx.PutSetting(ctx, "count", strconv.Itoa(n+1), policy.RecordBody{Event: "test.set"}); err != nil {
						return err
					}
					r, err := tx.Request(ctx, "rq_222222")
					if err != nil {
						return err
					}
					r.Fence++
					_, err = tx.Put(ctx, r, policy.RecordBody{Event: policy.EventObserved})
					return err
				}))
			}
		})
	}
	wg.Wait()
	for _, l := range handles {
		value, err := l.Setting(t.Context(), "count")
		require.NoError(t, err)
		assert.Equal(t, strconv.Itoa(writers*each), value)
		r, err := l.Request(t.Context(), "rq_222222")
		require.NoError(t, err)
		assert.Equal(t, int64(writers*each), r.Fence)
		assert.Equal(t, int64(writers*each+1), r.Rev)
	}
	assert.Len(t, b.Records(t), 2*writers*each+1)
}

func testQueue(t *testing.T, b *bench) {
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error)
	require.NoError(t, b.l.Change(t.Context(), func(context.Context, policy.Tx) error {
		go func() {
			waited <- b.l.Change(ctx, func(context.Context, policy.Tx) error {
				t.Error("a change ran inside another")
				return nil
			})
		}()
		cancel()
		err := <-waited
		require.ErrorIs(t, err, context.Canceled)
		kind(t, policy.Unavailable, err)
		return nil
	}))
}

func testNested(t *testing.T, b *bench) {
	require.NoError(t, b.l.Change(t.Context(), func(ctx context.Context, _ policy.Tx) error {
		kind(t, policy.Internal, b.l.Change(ctx, fill))
		_, err := b.l.Request(ctx, "rq_222222")
		kind(t, policy.Internal, err)
		_, _, err = b.l.Requests(ctx, policy.Filter{})
		kind(t, policy.Internal, err)
		_, err = b.l.Now(ctx)
		kind(t, policy.Internal, err)
		_, err = b.l.Head(ctx)
		kind(t, policy.Internal, err)
		_, err = b.l.Setting(ctx, "name")
		kind(t, policy.Internal, err)
		kind(t, policy.Internal, b.l.Await(ctx, 0))
		return nil
	}))
}

func testAwait(t *testing.T, b *bench) {
	other := b.Open(t)
	for i, from := range []policy.Ledger{b.l, other} {
		waits := make(chan error, 2)
		for _, l := range []policy.Ledger{b.l, other} {
			go func() { waits <- l.Await(t.Context(), int64(i)) }()
		}
		require.NoError(t, from.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
			return tx.Append(ctx, policy.RecordBody{Event: "test.happened"})
		}))
		require.NoError(t, <-waits)
		require.NoError(t, <-waits)
	}
	require.NoError(t, b.l.Await(t.Context(), 1), "what is there already is not waited for")
}

func testAwaitEnds(t *testing.T, b *bench) {
	ctx, cancel := context.WithCancel(t.Context())
	waits := make(chan error)
	go func() { waits <- b.l.Await(ctx, 0) }()
	require.NoError(t, b.l.Change(t.Context(), func(context.Context, policy.Tx) error { return nil }), "waiting holds nothing")
	cancel()
	require.ErrorIs(t, <-waits, context.Canceled)
	ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	require.ErrorIs(t, b.l.Await(ctx, 0), context.DeadlineExceeded)
}

func testNow(t *testing.T, b *bench) {
	b.clock.Advance(time.Millisecond + 999*time.Microsecond)
	want := Start.Add(time.Millisecond)
	before := b.at(t, want, b.now(t))
	require.NoError(t, b.l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
		now, err := tx.Now(ctx)
		assert.False(t, now.Before(before))
		if !b.OwnClock {
			assert.Equal(t, want, now)
		}
		return err
	}))
}
