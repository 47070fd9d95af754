package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/riverqueue/river"

	"github.com/vpsguard/vpsguard/policy"
)

const (
	fetchCooldown = 10 * time.Millisecond // how often jobs are fetched at most
	fetchPoll     = time.Second           // and at least, if a notification got lost
	maxWorkers    = 10                    // jobs at a time
	jobTimeout    = 2 * time.Minute       // of one advance; then its context ends
	rescueAfter   = 3 * time.Minute       // jobs of a dead process are worked again
	maxAttempts   = 25                    // so many dead processes end a nudge
	retryAfter    = 10 * time.Second      // after an advance that failed
	stopWithin    = 45 * time.Second      // for advances in flight: more than a call to the API takes
	cancelWithin  = 5 * time.Second       // and then, with their contexts ended
)

// nudge is a job: somebody should look at a request.
type nudge struct {
	Request string `json:"request"`
}

// Kind is the name of these jobs in the database.
func (nudge) Kind() string { return "advance" }

// queueOf is the queue of an account: only its own processes work on it.
func queueOf(a policy.Account) string {
	sum := sha256.Sum256([]byte(accountKey(a)))
	return "account_" + hex.EncodeToString(sum[:16])
}

// Work calls advance for the nudges of one account, up to ten at a time and each
// in a goroutine of its own, until the context ends; then it waits for those in
// flight (45 seconds, and 5 more with their contexts ended) and returns nil. An
// error means that it could not start.
//
// What advance returns is after which time it is to be called again, by any
// process; 0 means that nothing is left. After an error or a panic, both of
// which are only logged, it is called again in ten seconds; a request that is
// [policy.NotFound] is given up. Its context ends after two minutes.
func (l *Ledger) Work(ctx context.Context, account policy.Account, advance func(ctx context.Context, id string) (time.Duration, error)) error {
	l.mu.Lock()
	if l.isEnded {
		l.mu.Unlock()
		return errClosed()
	}
	l.working.Add(1)
	l.mu.Unlock()
	defer l.working.Done()

	lasting := context.WithoutCancel(ctx) // stopping is done below, softly
	workers := river.NewWorkers()
	w := &worker{advance: advance, log: l.log, now: func() (time.Time, error) { return l.db.now(lasting, nil) }, turns: map[string]turn{}}
	river.AddWorker(workers, w)
	r, err := l.db.worker(queueOf(account), workers)
	if err != nil {
		return internal("the workers cannot be made").Because(err)
	}
	if err := r.Start(lasting); err != nil {
		return l.fail("starting the workers", err)
	}
	select {
	case <-ctx.Done():
	case <-l.closed:
	}
	soft, cancel := context.WithTimeout(lasting, stopWithin)
	defer cancel()
	if err = r.Stop(soft); err == nil {
		return nil
	}
	hard, cancel := context.WithTimeout(lasting, cancelWithin)
	defer cancel()
	if err = r.StopAndCancel(hard); err != nil {
		l.log.WarnContext(lasting, "an advance did not end in time; it is left behind", slog.Any("error", err))
	}
	return nil
}

// worker calls advance for jobs.
type worker struct {
	river.WorkerDefaults[nudge]
	advance func(ctx context.Context, id string) (time.Duration, error)
	log     *slog.Logger
	now     func() (time.Time, error)

	mu    sync.Mutex
	turns map[string]turn // by request: which job calls again, and when
}

type turn struct {
	job int64
	at  time.Time
}

// Work never returns an error that River would keep or count: least of all the
// context's, after which River would run the job again as if it never had.
func (w *worker) Work(ctx context.Context, job *river.Job[nudge]) error {
	id := job.Args.Request
	again, err := w.safely(ctx, id)
	switch {
	case err == nil:
	case policy.KindOf(err) == policy.NotFound:
		again = 0
	case ctx.Err() != nil:
		return river.JobSnooze(time.Second)
	default:
		w.log.WarnContext(ctx, "advancing a request failed; it will be tried again", slog.String("request", id), slog.Any("error", err))
		again = max(again, retryAfter)
	}
	if again <= 0 || w.otherwise(id, job.ID, again) {
		return nil
	}
	return river.JobSnooze(again)
}

// otherwise tells whether another job calls again soon enough, so that the many
// nudges of a request do not all go on for as long as it lives. It knows those
// of this process only; doubles cost a little work and nothing else.
func (w *worker) otherwise(id string, job int64, again time.Duration) bool {
	now, err := w.now()
	if err != nil {
		return false
	}
	at := now.Add(again)
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, t := range w.turns { // what has passed says nothing any more
		if t.at.Before(now) {
			delete(w.turns, id)
		}
	}
	if t, ok := w.turns[id]; ok && t.job != job && !t.at.After(at) {
		return true
	}
	w.turns[id] = turn{job, at}
	return false
}

// safely keeps a panic from reaching River, which would store its text.
func (w *worker) safely(ctx context.Context, id string) (again time.Duration, err error) {
	defer func() {
		if p := recover(); p != nil {
			w.log.ErrorContext(ctx, "advancing a request panicked", slog.String("request", id),
				slog.String("panic", fmt.Sprint(p)), slog.String("stack", string(debug.Stack())))
			again, err = 0, errPanicked
		}
	}()
	return w.advance(ctx, id)
}

var errPanicked = errors.New("advance panicked")
