package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
	"github.com/vpsguard/vpsguard/policy/policytest"
)

type hand = func(context.Context, string) (time.Duration, error)

// start works until stop is called, which waits.
func start(t *testing.T, l *ledger.Ledger, account policy.Account, f hand) (stop func()) {
	t.Helper()
	return startHands(t, l, account, ledger.Hands{Advance: f})
}

func startHands(t *testing.T, l *ledger.Ledger, account policy.Account, h ledger.Hands) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Work(ctx, account, h) }()
	return func() {
		cancel()
		require.NoError(t, <-ended)
	}
}

func nudge(t *testing.T, l *ledger.Ledger, id string, account policy.Account, at ...time.Time) {
	t.Helper()
	require.NoError(t, l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
		r, err := tx.Put(ctx, policytest.Request(id, func(r *policy.Request) { r.Account = account }), policy.RecordBody{Event: policy.EventHeld})
		for _, at := range at {
			err = errors.Join(err, tx.Nudge(ctx, r, at))
		}
		return err
	}))
}

func TestNudgesReachTheirAccountsWorkersOnly(t *testing.T) {
	onBoth(t, func(t *testing.T, on base) {
		url := on.fresh(t)
		l, other := open(t, url, time.Now), open(t, url, time.Now)
		ownerless := policy.Account{URL: policytest.Account.URL}
		got := map[string]chan string{"one": make(chan string, 9), "two": make(chan string, 9)}
		to := func(name string) hand {
			return func(_ context.Context, id string) (time.Duration, error) { got[name] <- id; return 0, nil }
		}
		defer start(t, l, policytest.Account, to("one"))()
		defer start(t, other, ownerless, to("two"))()
		nudge(t, l, "rq_222222", ownerless, time.Time{})
		nudge(t, l, "rq_333333", policytest.Account, time.Time{})
		nudge(t, other, "rq_444444", ownerless, time.Time{})
		assert.ElementsMatch(t, []string{"rq_222222", "rq_444444"}, []string{<-got["two"], <-got["two"]})
		assert.Equal(t, "rq_333333", <-got["one"])
		assert.Empty(t, got["one"])
		assert.Empty(t, got["two"])
	})
}

func TestWorkWaitsForWhatIsInFlightAndNudgesOutliveIt(t *testing.T) {
	onBoth(t, func(t *testing.T, on base) {
		url := on.fresh(t)
		l := open(t, url, time.Now)
		begun, finish, calls := make(chan string), make(chan struct{}), 0
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- l.Work(ctx, policytest.Account, ledger.Hands{Advance: func(ctx context.Context, id string) (time.Duration, error) {
				calls++
				begun <- id
				<-finish
				return 0, ctx.Err()
			}})
		}()
		nudge(t, l, "rq_222222", policytest.Account, time.Time{})
		assert.Equal(t, "rq_222222", <-begun)
		cancel()
		nudge(t, l, "rq_333333", policytest.Account, time.Time{})
		assert.Empty(t, ended)
		close(finish)
		require.NoError(t, <-ended)
		assert.Equal(t, 1, calls, "nothing new is begun meanwhile")

		defer start(t, l, policytest.Account, func(_ context.Context, id string) (time.Duration, error) {
			begun <- id
			return 0, nil
		})()
		assert.Equal(t, "rq_333333", <-begun, "what was not done is, and only that")
	})
}

func TestCloseStopsWork(t *testing.T) {
	onBoth(t, func(t *testing.T, on base) {
		l := open(t, on.fresh(t), time.Now)
		begun, ended := make(chan string), make(chan error, 1)
		go func() {
			ended <- l.Work(t.Context(), policytest.Account, ledger.Hands{Advance: func(_ context.Context, id string) (time.Duration, error) {
				begun <- id
				return 0, nil
			}})
		}()
		nudge(t, l, "rq_222222", policytest.Account, time.Time{})
		<-begun
		require.NoError(t, l.Close())
		require.NoError(t, <-ended)
	})
}

// diary notes when a request was advanced, in seconds since the beginning.
type diary struct {
	mu    sync.Mutex
	began time.Time
	times map[string][]time.Duration
}

func (d *diary) note(id string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.times == nil {
		d.times = map[string][]time.Duration{}
	}
	d.times[id] = append(d.times[id], time.Since(d.began))
	return len(d.times[id])
}

// bubble runs a story on a clock that jumps; the ledger logs into the buffer.
func bubble(t *testing.T, story func(t *testing.T, l *ledger.Ledger, log *bytes.Buffer)) {
	t.Helper()
	url := fresh(t)
	synctest.Test(t, func(t *testing.T) {
		log := &bytes.Buffer{}
		l, err := ledger.Open(t.Context(), url, ledger.Options{Now: time.Now, Logger: slog.New(slog.NewTextHandler(log, nil))})
		require.NoError(t, err)
		story(t, l, log)
		require.NoError(t, l.Close())
	})
}

func TestNudgesComeAtTheirTime(t *testing.T) {
	bubble(t, func(t *testing.T, l *ledger.Ledger, log *bytes.Buffer) {
		d := &diary{began: time.Now()}
		stop := start(t, l, policytest.Account, func(_ context.Context, id string) (time.Duration, error) {
			if n := d.note(id); id == "rq_watched" && n < 4 {
				return 3 * time.Second, nil
			}
			return 0, nil
		})
		nudge(t, l, "rq_later", policytest.Account, time.Now().Add(20*time.Second), time.Now().Add(20*time.Second))
		nudge(t, l, "rq_watched", policytest.Account, time.Now(), time.Now().Add(-time.Hour), time.Now().Add(4*time.Second))
		time.Sleep(30 * time.Second)
		stop()
		require.Len(t, d.times["rq_later"], 1, "the same nudge twice is one")
		assert.InDelta(t, 20, d.times["rq_later"][0].Seconds(), 7, "never early; River's scheduler looks every five seconds")
		assert.GreaterOrEqual(t, d.times["rq_later"][0], 20*time.Second)
		watched := d.times["rq_watched"]
		require.GreaterOrEqual(t, len(watched), 4)
		assert.Less(t, watched[0], 200*time.Millisecond, "what is due comes at once")
		assert.LessOrEqual(t, len(watched), 6, "nudges of one request do not all go on")
		assert.Empty(t, log.String())
	})
}

func TestWhatFailsIsCalledAgainAndTellsNobody(t *testing.T) {
	t.Run("advancing", func(t *testing.T) {
		whatFails(t, func(h hand) ledger.Hands { return ledger.Hands{Advance: h} }, "advancing a request panicked", nudgeNow)
	})
	t.Run("telling", func(t *testing.T) {
		whatFails(t, func(h hand) ledger.Hands { return ledger.Hands{Tell: h} }, "telling of a request panicked", tell)
	})
}

const panicked = "vps_S3cr3tS3cr3tS3cr3t" // what a panic had in hand

func nudgeNow(t *testing.T, l *ledger.Ledger, id string) {
	nudge(t, l, id, policytest.Account, time.Now())
}

func whatFails(t *testing.T, with func(hand) ledger.Hands, says string, queue func(*testing.T, *ledger.Ledger, string)) {
	bubble(t, func(t *testing.T, l *ledger.Ledger, log *bytes.Buffer) {
		d := &diary{began: time.Now()}
		stop := startHands(t, l, policytest.Account, with(func(_ context.Context, id string) (time.Duration, error) {
			n := d.note(id)
			switch {
			case n > 1:
				return 0, nil
			case id == "rq_panics":
				panic(fmt.Sprintf("sending %q\n\x1b[2J", "Bearer "+panicked))
			case id == "rq_fails":
				return 0, errors.New("a secret thing")
			case id == "rq_ended":
				return 0, context.DeadlineExceeded
			default:
				return time.Second, policy.Errorf(policy.NotFound, "gone")
			}
		}))
		for _, id := range []string{"rq_panics", "rq_fails", "rq_ended", "rq_unknown"} {
			queue(t, l, id)
		}
		time.Sleep(20 * time.Second)
		stop()
		for _, id := range []string{"rq_panics", "rq_fails", "rq_ended"} {
			require.Len(t, d.times[id], 2, id)
			assert.InDelta(t, 13, d.times[id][1].Seconds(), 4, "after ten seconds, when River looks: %s", id)
		}
		assert.Len(t, d.times["rq_unknown"], 1, "what is gone is given up")
		assert.Contains(t, log.String(), says)
		assert.Contains(t, log.String(), "rq_panics")
		assert.Contains(t, log.String(), `panic="a string"`)
		assert.Contains(t, log.String(), "work_test.go", "with the stack")
		assert.NotContains(t, log.String(), panicked[:12], "a panic's value may hold what was in hand")
		var kept string
		row := raw(t, "sqlite:"+l.Path()).QueryRow("SELECT group_concat(coalesce(errors, '') || json(metadata)) FROM river_job")
		require.NoError(t, row.Scan(&kept))
		assert.NotContains(t, kept, "secret")
		assert.NotContains(t, kept, panicked[:12])
	})
}

func TestWorkDoesNotWaitForEver(t *testing.T) {
	bubble(t, func(t *testing.T, l *ledger.Ledger, _ *bytes.Buffer) {
		begun := make(chan struct{})
		stop := start(t, l, policytest.Account, func(ctx context.Context, _ string) (time.Duration, error) {
			close(begun)
			<-ctx.Done()
			return 0, ctx.Err()
		})
		nudge(t, l, "rq_222222", policytest.Account, time.Now())
		<-begun
		began := time.Now()
		stop()
		assert.InDelta(t, 45, time.Since(began).Seconds(), 2)

		again := make(chan string)
		stop = start(t, l, policytest.Account, func(_ context.Context, id string) (time.Duration, error) {
			again <- id
			return 0, nil
		})
		assert.Equal(t, "rq_222222", <-again, "it was not lost")
		stop()
	})
}

// tell tells doors of a request.
func tell(t *testing.T, l *ledger.Ledger, id string) {
	t.Helper()
	require.NoError(t, l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error { return tx.Tell(ctx, policytest.Request(id)) }))
}

// TestWhatWaitsToBeToldWaitsOnce: where many requests are open on a server, each change of one
// tells doors of all, and Slack takes one edit in a second and a half.
func TestWhatWaitsToBeToldWaitsOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, on base) {
		url := on.fresh(t)
		l := open(t, url, time.Now)
		scope := policy.ToldScope(policytest.Account)
		note := func() policy.Note {
			n, err := l.Note(t.Context(), scope, "rq_told")
			require.NoError(t, err)
			return n
		}
		tellLater := func() {
			began, err := l.Now(t.Context())
			for now := began; err == nil && now.Equal(began); {
				now, err = l.Now(t.Context())
			}
			require.NoError(t, err)
			tell(t, l, "rq_told")
		}
		tellLater()
		first := note()
		for range 3 {
			tellLater()
		}
		assert.Equal(t, 1, on.waiting(t, url, "tell"))
		assert.Equal(t, policy.Note{Scope: scope, Key: "rq_told", Rev: 4, DueAt: first.DueAt}, note(), "whoever has it learns of news, and it stays in its turn")

		for says, due := range map[string]time.Time{"shown": {}, "somebody is at it": first.DueAt.Add(time.Hour)} {
			waits, n := on.waiting(t, url, "tell"), note()
			n.DueAt, n.Doc = due, says
			_, err := l.PutNote(t.Context(), n)
			require.NoError(t, err)
			tellLater()
			assert.Equal(t, waits+1, on.waiting(t, url, "tell"), says)
			now, err := l.Now(t.Context())
			require.NoError(t, err)
			assert.False(t, note().DueAt.IsZero() || note().DueAt.After(now), says)
		}
	})
}

func TestEachHandGetsItsOwnJobs(t *testing.T) {
	onBoth(t, func(t *testing.T, on base) {
		url := on.fresh(t)
		l, door, worker := open(t, url, time.Now), open(t, url, time.Now), open(t, url, time.Now)
		got := make(chan string, 9)
		to := func(name string) hand {
			return func(_ context.Context, id string) (time.Duration, error) { got <- name + " " + id; return 0, nil }
		}
		assert.Equal(t, policy.Internal, policy.KindOf(l.Work(t.Context(), policytest.Account, ledger.Hands{})))

		stop := startHands(t, worker, policytest.Account, ledger.Hands{Advance: to("advance")})
		tell(t, l, "rq_told")
		nudge(t, l, "rq_nudged", policytest.Account, time.Time{})
		assert.Equal(t, "advance rq_nudged", <-got)
		stop()
		assert.Equal(t, 1, on.waiting(t, url, "tell"), "it waits for a door")

		stop = startHands(t, door, policytest.Account, ledger.Hands{Tell: to("tell")})
		assert.Equal(t, "tell rq_told", <-got)
		nudge(t, l, "rq_other", policytest.Account, time.Time{})
		tell(t, l, "rq_next")
		assert.Equal(t, "tell rq_next", <-got)
		stop()
		assert.Equal(t, 1, on.waiting(t, url, "advance"), "it waits for a worker")

		defer startHands(t, l, policytest.Account, ledger.Hands{Advance: to("advance"), Tell: to("tell")})()
		assert.Equal(t, "advance rq_other", <-got)
		tell(t, worker, "rq_last")
		assert.Equal(t, "tell rq_last", <-got)
		assert.Empty(t, got)
	})
}

func TestOneHandDoesNotKeepTheOtherWaiting(t *testing.T) {
	onBoth(t, func(t *testing.T, on base) {
		l := open(t, on.fresh(t), time.Now)
		busy, free := make(chan string), make(chan struct{})
		defer startHands(t, l, policytest.Account, ledger.Hands{
			Advance: func(_ context.Context, id string) (time.Duration, error) { busy <- id; return 0, nil },
			Tell:    func(_ context.Context, id string) (time.Duration, error) { busy <- id; <-free; return 0, nil },
		})()
		for i := range 11 {
			tell(t, l, "rq_told"+strconv.Itoa(i))
		}
		for range 10 {
			<-busy
		}
		nudge(t, l, "rq_nudged", policytest.Account, time.Time{})
		assert.Equal(t, "rq_nudged", <-busy, "ten doors at work, and the workers of requests are free")
		close(free)
		assert.Equal(t, "rq_told10", <-busy)
	})
}

func TestATellingThatIsPutOffComesAgain(t *testing.T) {
	bubble(t, func(t *testing.T, l *ledger.Ledger, log *bytes.Buffer) {
		d := &diary{began: time.Now()}
		defer startHands(t, l, policytest.Account, ledger.Hands{Tell: func(_ context.Context, id string) (time.Duration, error) {
			if d.note(id) < 3 {
				return 2 * time.Second, nil
			}
			return 0, nil
		}})()
		tell(t, l, "rq_222222")
		time.Sleep(30 * time.Second)
		assert.Len(t, d.times["rq_222222"], 3)
		assert.Less(t, d.times["rq_222222"][0], 200*time.Millisecond, "it comes at once")
		assert.GreaterOrEqual(t, d.times["rq_222222"][2], 4*time.Second)
		assert.Empty(t, log.String())
	})
}

// A house whose door was shut does not keep for ever what it would have told.
func TestWhatNoDoorHasFetchedIsForgotten(t *testing.T) {
	bubble(t, func(t *testing.T, l *ledger.Ledger, log *bytes.Buffer) {
		other := policytest.Request("rq_other", func(r *policy.Request) { r.Account = policy.Account{URL: "https://elsewhere.test"} })
		require.NoError(t, l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error { return tx.Tell(ctx, other) }))
		nudge(t, l, "rq_222222", policytest.Account, time.Now())
		for i := range 3 {
			tell(t, l, "rq_old"+strconv.Itoa(i))
		}
		time.Sleep(time.Hour)
		tell(t, l, "rq_new")
		time.Sleep(time.Millisecond)
		advanced := 0
		defer startHands(t, l, policytest.Account, ledger.Hands{Advance: func(context.Context, string) (time.Duration, error) {
			advanced++
			return 0, nil
		}})()
		time.Sleep(time.Second)
		url := "sqlite:" + l.Path()
		assert.Equal(t, 2, onSQLite.waiting(t, url, "tell"), "the new one, and another account's")
		assert.Equal(t, 1, advanced, "nudges are not forgotten")
		due, err := l.Notes(t.Context(), policy.ToldScope(policytest.Account), time.Now(), 9)
		require.NoError(t, err)
		assert.Len(t, due, 4, "a door that comes later finds all of it due")
		assert.Empty(t, log.String())
	})
}

// TestQueuedCountsWhatIsNotDone nudges for now and for later, and works it off.
func TestQueuedCountsWhatIsNotDone(t *testing.T) { onBoth(t, queuedCounts) }

func queuedCounts(t *testing.T, on base) {
	l := open(t, on.fresh(t), time.Now)
	require.NoError(t, l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
		r, err := tx.Put(ctx, policytest.Request("rq_queued"), policy.RecordBody{Event: policy.EventHeld})
		if err != nil {
			return err
		}
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		return errors.Join(tx.Nudge(ctx, r, now), tx.Nudge(ctx, r, now.Add(time.Hour)), tx.Tell(ctx, r))
	}))
	queued := func() map[string]int {
		found, err := l.Queued(t.Context())
		require.NoError(t, err)
		out := map[string]int{}
		for _, j := range found {
			out[j.Kind+" "+j.State] = j.Count
		}
		return out
	}
	assert.Equal(t, map[string]int{"advance available": 1, "advance scheduled": 1, "tell available": 1}, queued())
	done := func(context.Context, string) (time.Duration, error) { return 0, nil }
	stop := startHands(t, l, policytest.Request("rq_queued").Account, ledger.Hands{Advance: done, Tell: done})
	require.Eventually(t, func() bool { return len(queued()) == 1 }, 20*time.Second, 10*time.Millisecond)
	assert.Equal(t, map[string]int{"advance scheduled": 1}, queued())
	stop()
}
