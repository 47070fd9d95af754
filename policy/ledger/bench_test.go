package ledger_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
	"github.com/vpsguard/vpsguard/policy/policytest"
)

const closed = 100_000

// crowded is a ledger with 100,000 requests of one account, actor, purpose and
// server that are done, and ten that are held. It is made in one change.
func crowded(b *testing.B) *ledger.Ledger {
	b.Helper()
	l := open(b, fresh(b), time.Now)
	require.NoError(b, l.Change(b.Context(), func(ctx context.Context, tx policy.Tx) error {
		for i := range closed + 10 {
			r := policytest.Request("rq_" + strconv.Itoa(i))
			r.Purpose, r.Aim = "purpose", "aim"
			if i < closed {
				r.State, r.Begun, r.DueAt, r.EndedAt = policy.StateDone, int64(i+1), time.Time{}, policytest.Start
			}
			if _, err := tx.Put(ctx, r, policytest.Held(r)); err != nil {
				return err
			}
		}
		return nil
	}))
	return l
}

func BenchmarkWith100000Closed(b *testing.B) {
	l := crowded(b)
	for name, f := range map[string]policy.Filter{
		"list":        {Limit: 21},
		"list-done":   {States: []policy.State{policy.StateDone}, Limit: 21},
		"list-failed": {States: []policy.State{policy.StateFailed}, Limit: 21},
		"list-server": {ServerID: 12345, Limit: 21},
		"list-deep":   {Before: 500, Limit: 21},
		"due":         {Account: &policytest.Account, DueBy: policytest.Start.Add(time.Hour), Limit: 20},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, _, err := l.Requests(b.Context(), f)
				require.NoError(b, err)
			}
		})
	}
}

func BenchmarkChange(b *testing.B) {
	for _, writers := range []int{1, 16} {
		b.Run(strconv.Itoa(writers)+"-writers", func(b *testing.B) {
			l := open(b, fresh(b), time.Now)
			var n atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			for range writers {
				wg.Go(func() {
					for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
						if err := count(b.Context(), l, "rq_"+strconv.FormatInt(i, 10)); err != nil {
							b.Error(err)
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "changes/s")
		})
	}
}

func BenchmarkNotes(b *testing.B) {
	for name, do := range map[string]func(b *testing.B, l *ledger.Ledger, i int){
		"put": func(b *testing.B, l *ledger.Ledger, i int) {
			_, err := l.PutNote(b.Context(), policy.Note{Scope: "scope", Key: strconv.Itoa(i), DueAt: policytest.Start, Doc: "doc"})
			require.NoError(b, err)
		},
		"tell": func(b *testing.B, l *ledger.Ledger, i int) {
			require.NoError(b, l.Change(b.Context(), func(ctx context.Context, tx policy.Tx) error {
				return tx.Tell(ctx, policytest.Request("rq_"+strconv.Itoa(i)))
			}))
		},
		"tell-300-that-wait": func(b *testing.B, l *ledger.Ledger, _ int) {
			require.NoError(b, l.Change(b.Context(), func(ctx context.Context, tx policy.Tx) (err error) {
				for n := range 300 {
					err = errors.Join(err, tx.Tell(ctx, policytest.Request("rq_"+strconv.Itoa(n))))
				}
				return err
			}))
		},
		"due": func(b *testing.B, l *ledger.Ledger, i int) {
			if i == 0 {
				require.NoError(b, l.Change(b.Context(), func(ctx context.Context, tx policy.Tx) (err error) {
					for n := range 1000 {
						err = errors.Join(err, tx.Tell(ctx, policytest.Request("rq_"+strconv.Itoa(n))))
					}
					return err
				}))
			}
			_, err := l.Notes(b.Context(), policy.ToldScope(policytest.Account), time.Now().Add(time.Hour), 20)
			require.NoError(b, err)
		},
	} {
		b.Run(name, func(b *testing.B) {
			l := open(b, fresh(b), time.Now)
			i := 0
			for b.Loop() {
				do(b, l, i)
				i++
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	url := fresh(b)
	for b.Loop() {
		l, err := ledger.Open(b.Context(), url, ledger.Options{Now: time.Now})
		require.NoError(b, err)
		require.NoError(b, l.Close())
	}
}

func BenchmarkOpenFresh(b *testing.B) {
	for b.Loop() {
		l, err := ledger.Open(b.Context(), missing(b), ledger.Options{Now: time.Now})
		require.NoError(b, err)
		require.NoError(b, l.Close())
	}
}
