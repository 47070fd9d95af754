package ledger_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
	"github.com/vpsguard/vpsguard/policy/policytest"
)

var mover = policy.Actor{Door: policy.DoorTerminal, Subject: "root"}

// bothWays runs a test from each kind of database to the other.
func bothWays(t *testing.T, f func(t *testing.T, from, to base)) {
	t.Helper()
	t.Run("SQLite to PostgreSQL", func(t *testing.T) { f(t, onSQLite, onPostgres) })
	t.Run("PostgreSQL to SQLite", func(t *testing.T) { f(t, onPostgres, onSQLite) })
}

// many is more than a page.
const many = 600

// lived makes a ledger with many requests, some open, settings and notes.
func lived(t *testing.T, url string) *ledger.Ledger {
	t.Helper()
	l := tellStory(t, url)
	require.NoError(t, l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
		for i := range many {
			r := policytest.Request("rq_" + strconv.Itoa(i))
			r.Reason = fmt.Sprintf("%d: Umlauts ÄÖÜ and \x00 💾", i)
			if i > 5 {
				r.State, r.Begun, r.DueAt, r.EndedAt = policy.StateDone, int64(i), time.Time{}, policytest.Start
			}
			r, err := tx.Put(ctx, r, policytest.Held(r))
			if err != nil {
				return err
			}
			if i%2 == 0 {
				if err := tx.Tell(ctx, r); err != nil {
					return err
				}
			}
		}
		return nil
	}))
	_, err := l.PutNote(t.Context(), policy.Note{Scope: "inbox", Key: "a", DueAt: policytest.Start, Doc: strings.Repeat("x", 1000)})
	require.NoError(t, err)
	_, err = l.PutNote(t.Context(), policy.Note{Scope: "inbox", Key: "never", Doc: "ÄÖÜ"})
	require.NoError(t, err)
	return l
}

func TestACopyHoldsEverythingAndTheFirstIsClosed(t *testing.T) {
	bothWays(t, func(t *testing.T, from, to base) {
		fromURL, toURL := from.fresh(t), to.missing(t)
		first := lived(t, fromURL)
		beside := open(t, fromURL, time.Now) // another process on it
		before, all, wasJobs := records(t, first), everything(t, first), from.waiting(t, fromURL, "advance")
		require.Zero(t, wasJobs, "nobody nudged")
		second := open(t, toURL, time.Now)
		told := map[string]int64{}
		got, err := ledger.Copy(t.Context(), first, second, mover, func(what string, n int64) { told[what] = n })
		require.NoError(t, err)
		assert.Equal(t, map[string]int64{
			"verified before": 7 + many + many + 3, "copied, audit_record": many + 8, "copied, request": many + 3, "copied, setting": 2,
			"copied, note": many/2 + 2, "verified after": many + 8 + many + 3,
		}, told)
		assert.Equal(t, int64(many+9), got.Records)
		assert.Equal(t, many+3, got.Requests)
		assert.Equal(t, []int{2, many/2 + 2, 8}, []int{got.Settings, got.Notes, got.Open})
		assert.Equal(t, 8, to.waiting(t, toURL, "advance"), "workers look at all that is open")

		after := records(t, second)
		assert.Equal(t, before, after[:len(before)], "byte for byte")
		for i, want := range []policy.Event{"ledger.moved", "ledger.opened"} {
			b, err := after[len(before)+i].Parse()
			require.NoError(t, err)
			assert.Equal(t, want, b.Event)
			assert.Equal(t, mover, b.By)
		}
		assert.Equal(t, got.Head, after[len(after)-1].Hash)
		assert.Equal(t, all, everything(t, second))

		for _, l := range []*ledger.Ledger{first, beside} {
			err := count(t.Context(), l, "rq_late")
			assert.Equal(t, policy.Unavailable, policy.KindOf(err))
			assert.Equal(t, "this ledger was moved to "+second.Path()+"; nothing was changed", policy.Public(err).Message)
			assert.Contains(t, policy.Public(err).Hint, "VPSGUARD_DATABASE")
			_, err = l.PutNote(t.Context(), policy.Note{Scope: "inbox", Key: "late"})
			assert.Contains(t, policy.Public(err).Message, "this ledger was moved")
			assert.Contains(t, policy.Public(l.Ready(t.Context())).Message, "this ledger was moved")
			v, err := l.Verify(t.Context(), nil)
			require.NoError(t, err, "it can be read")
			assert.Equal(t, int64(many+8), v.Records)
		}
		// A program that knows nothing of this asks only its database.
		for _, sql := range []string{
			"UPDATE audit_head SET seq = seq", "INSERT INTO audit_record VALUES (99999, 'x', 'y', 'z')",
			"INSERT INTO note VALUES ('a', 'b', 1, 1, 'c')", "UPDATE note SET doc = ''", "DELETE FROM note",
		} {
			_, err := from.raw(t, fromURL).Exec(sql)
			assert.ErrorContains(t, err, "this ledger was moved", sql)
		}
		require.NoError(t, count(t.Context(), second, "rq_next"), "and it goes on there")
		_, err = second.PutNote(t.Context(), policy.Note{Scope: "inbox", Key: "next"})
		require.NoError(t, err)
		again, err := ledger.Copy(t.Context(), first, second, mover, nil)
		require.NoError(t, err, "said twice, it is done once")
		assert.Equal(t, int64(many+9+2), again.Records)
		_, err = ledger.Copy(t.Context(), first, open(t, to.missing(t), time.Now), mover, nil)
		assert.Equal(t, policy.Conflict, policy.KindOf(err), "never to two places")
	})
}

// everything is all requests and notes, and what settings there are.
func everything(t *testing.T, l *ledger.Ledger) string {
	t.Helper()
	var out strings.Builder
	for f := (policy.Filter{NoTotal: true}); ; {
		found, _, err := l.Requests(t.Context(), f)
		require.NoError(t, err)
		for _, r := range found {
			fmt.Fprintf(&out, "%+v\n", r)
			f.Before = r.Seq
		}
		if len(found) == 0 {
			break
		}
	}
	for _, scope := range []string{"inbox", policy.ToldScope(policytest.Account)} {
		notes, err := l.Notes(t.Context(), scope, time.Now().Add(time.Hour), 1000)
		require.NoError(t, err)
		fmt.Fprintf(&out, "%+v\n", notes)
	}
	never, err := l.Note(t.Context(), "inbox", "never")
	require.NoError(t, err)
	value, err := l.Setting(t.Context(), "passphrase")
	require.NoError(t, err)
	fmt.Fprintf(&out, "%+v %s", never, value)
	return out.String()
}

// A note that is stored while a ledger is copied is in the copy, or was never
// stored: behind one may be what somebody has pressed.
func TestNoNoteIsLostInACopy(t *testing.T) {
	from := freshPostgres(t)
	first, second := tellStory(t, from), open(t, fresh(t), time.Now)
	beside := open(t, parameter(t, from, "lock_timeout", "50"), time.Now)
	_, err := ledger.Copy(t.Context(), first, second, mover, func(what string, n int64) {
		if strings.HasPrefix(what, "copied") || what == "verified after" {
			_, err := beside.PutNote(t.Context(), policy.Note{Scope: "inbox", Key: fmt.Sprint(what, n)})
			assert.Equal(t, policy.Unavailable, policy.KindOf(err), what)
		}
	})
	require.NoError(t, err)
}

func TestACopyIsRefusedAndTheFirstStaysInUse(t *testing.T) {
	bothWays(t, func(t *testing.T, from, to base) {
		first := tellStory(t, from.fresh(t))
		for _, c := range []struct {
			name string
			to   func(t *testing.T) *ledger.Ledger
			says string
		}{
			{"to itself", func(*testing.T) *ledger.Ledger { return first }, "the same ledger"},
			{"to one with a record", func(t *testing.T) *ledger.Ledger { return tellStory(t, to.fresh(t)) }, "is not empty"},
			{"to one with a note", func(t *testing.T) *ledger.Ledger {
				l := open(t, to.fresh(t), time.Now)
				_, err := l.PutNote(t.Context(), policy.Note{Scope: "inbox", Key: "a"})
				require.NoError(t, err)
				return l
			}, "is not empty"},
			{"to one that fails in the midst of it", func(t *testing.T) *ledger.Ledger {
				url := to.fresh(t)
				to.breaks(t, url, "INSERT", "setting")
				return open(t, url, time.Now)
			}, "the ledger does not work"},
		} {
			second := c.to(t)
			before := records(t, second)
			_, err := ledger.Copy(t.Context(), first, second, mover, nil)
			require.Error(t, err, c.name)
			assert.Contains(t, policy.Public(err).Message, c.says, c.name)
			assert.Equal(t, before, records(t, second), c.name)
		}
		// A step that may be on its way.
		now, err := first.Now(t.Context())
		require.NoError(t, err)
		var running policy.Request
		put := func(lease time.Time) {
			require.NoError(t, first.Change(t.Context(), func(ctx context.Context, tx policy.Tx) (err error) {
				running.LeaseBy = lease
				running, err = tx.Put(ctx, running, policy.RecordBody{Event: policy.EventStarted})
				return err
			}))
		}
		running = policytest.Request("rq_running", func(r *policy.Request) { r.State = policy.StateRunning })
		put(now.Add(10 * time.Minute))
		second := open(t, to.fresh(t), time.Now)
		_, err = ledger.Copy(t.Context(), first, second, mover, nil)
		assert.Equal(t, policy.Conflict, policy.KindOf(err))
		assert.Contains(t, policy.Public(err).Message, "a step of rq_running may be on its way")
		assert.Contains(t, policy.Public(err).Hint, "Try again in ")
		assert.Empty(t, records(t, second))
		put(now.Add(-time.Minute))

		// A chain that is broken.
		require.NoError(t, count(t.Context(), first, "rq_after"), "it is in use all the while")
		_, err = first.Verify(t.Context(), nil)
		require.NoError(t, err)
		_, err = ledger.Copy(t.Context(), first, second, mover, nil)
		require.NoError(t, err, "and when nothing is in the way, it is copied")
	})
}

func TestABrokenChainIsNotCopied(t *testing.T) {
	onBoth(t, func(t *testing.T, on base) {
		first, url := story(t, on)
		_, err := on.raw(t, url).Exec("UPDATE request SET state = 'approved' WHERE id = 'rq_333333'")
		require.NoError(t, err)
		second := open(t, on.fresh(t), time.Now)
		_, err = ledger.Copy(t.Context(), first, second, mover, nil)
		assert.Equal(t, policy.Conflict, policy.KindOf(err))
		assert.Contains(t, policy.Public(err).Message, "request rq_333333")
		assert.Empty(t, records(t, second))
	})
}

// A copy that was cut off at its worst moments never leaves two that run the same.
func TestACopyThatWasCutOff(t *testing.T) {
	bothWays(t, func(t *testing.T, from, to base) {
		t.Run("after the second was filled", func(t *testing.T) {
			first, second := tellStory(t, from.fresh(t)), open(t, to.fresh(t), time.Now)
			ctx, cancel := context.WithCancel(t.Context())
			_, err := ledger.Copy(ctx, first, second, mover, func(what string, n int64) {
				if what == "verified after" {
					cancel()
				}
			})
			require.Error(t, err)
			require.NoError(t, count(t.Context(), first, "rq_goes_on"), "the first is in use")
			err = count(t.Context(), second, "rq_x")
			assert.Contains(t, policy.Public(err).Message, "this ledger was moved to", "the second was never opened")
			_, err = ledger.Copy(t.Context(), first, second, mover, nil)
			assert.Contains(t, policy.Public(err).Message, "holds a copy that was not finished")
			_, err = ledger.Copy(t.Context(), first, open(t, to.fresh(t), time.Now), mover, nil)
			require.NoError(t, err)
		})
		t.Run("after the first was closed", func(t *testing.T) {
			toURL := to.fresh(t)
			first, second := tellStory(t, from.fresh(t)), open(t, toURL, time.Now)
			var mend func()
			_, err := ledger.Copy(t.Context(), first, second, mover, func(what string, _ int64) {
				if what == "verified after" && mend == nil {
					mend = to.breaks(t, toURL, "UPDATE", "setting")
				}
			})
			require.Error(t, err)
			for _, l := range []*ledger.Ledger{first, second} {
				assert.Contains(t, policy.Public(count(t.Context(), l, "rq_x")).Message, "this ledger was moved to", "neither runs")
			}
			mend()
			got, err := ledger.Copy(t.Context(), first, second, mover, nil)
			require.NoError(t, err, "the next call opens it")
			assert.Equal(t, 2, got.Open)
			require.NoError(t, count(t.Context(), second, "rq_goes_on"))
		})
	})
}
