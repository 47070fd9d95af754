package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
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
	maxWorkers    = 10                    // jobs of an account at a time
	maxTellers    = 10                    // and of its doors
	jobTimeout    = 2 * time.Minute       // of one call of a hand; then its context ends
	rescueAfter   = 3 * time.Minute       // jobs of a dead process are worked again
	maxAttempts   = 25                    // so many dead processes end a job
	retryAfter    = 10 * time.Second      // after a call that failed
	stopWithin    = 45 * time.Second      // for calls in flight: more than one to an API takes
	cancelWithin  = 5 * time.Second       // and then, with their contexts ended
	forgetAfter   = time.Hour             // what doors are told, where none comes for it
)

// job is what River keeps: what is to be done about a request.
type job interface {
	river.JobArgs
	request() string
}

// nudge is a job: somebody should move a request on.
type nudge struct {
	Request string `json:"request"`
}

// Kind is the name of these jobs in the database.
func (nudge) Kind() string      { return "advance" }
func (n nudge) request() string { return n.Request }

// telling is a job: a door should look at the note of a request.
type telling struct {
	Request string `json:"request"`
}

// Kind is the name of these jobs in the database.
func (telling) Kind() string      { return "tell" }
func (t telling) request() string { return t.Request }

// queueOf is the queue of an account: only its own processes work on it.
func queueOf(a policy.Account) string { return "account_" + accountHash(a) }

// doorsOf is the queue of an account's doors: only its own processes that have
// some work on it.
func doorsOf(a policy.Account) string { return "doors_" + accountHash(a) }

func accountHash(a policy.Account) string {
	sum := sha256.Sum256([]byte(accountKey(a)))
	return hex.EncodeToString(sum[:16])
}

// Hands are what [Ledger.Work] calls, with the id of a request. What they return
// is after which time they are to be called again, in any process; 0 means that
// nothing is left. One that is nil leaves its jobs to other processes.
type Hands struct {
	Advance func(ctx context.Context, id string) (time.Duration, error) // for nudges
	Tell    func(ctx context.Context, id string) (time.Duration, error) // for what doors are told
}

// Work calls hands for the jobs of one account, up to ten at a time for each of
// them and each in a goroutine of its own, until the context ends; then it waits
// for those in flight (45 seconds, and 5 more with their contexts ended) and
// returns nil. An error means that it could not start.
//
// After an error or a panic, both of which are only logged, a hand is called
// again in ten seconds; a request that is [policy.NotFound] is given up. Its
// context ends after two minutes.
func (l *Ledger) Work(ctx context.Context, account policy.Account, h Hands) error {
	if h.Advance == nil && h.Tell == nil {
		return internal("there is nothing to work with")
	}
	l.mu.Lock()
	if l.isEnded {
		l.mu.Unlock()
		return errClosed()
	}
	l.working.Add(1)
	l.mu.Unlock()
	defer l.working.Done()

	lasting := context.WithoutCancel(ctx) // stopping is done below, softly
	now := func() (time.Time, error) { return l.db.now(lasting, nil) }
	over := func() bool { return ctx.Err() != nil }
	workers, queues := river.NewWorkers(), map[string]river.QueueConfig{}
	if h.Advance != nil {
		river.AddWorker(workers, &worker[nudge]{hand: h.Advance, does: "advancing a request", log: l.log, now: now, over: over, turns: map[string]turn{}})
		queues[queueOf(account)] = river.QueueConfig{MaxWorkers: maxWorkers}
	}
	if h.Tell != nil {
		river.AddWorker(workers, &worker[telling]{hand: h.Tell, does: "telling of a request", log: l.log, now: now, over: over, turns: map[string]turn{}})
		queues[doorsOf(account)] = river.QueueConfig{MaxWorkers: maxTellers}
	}
	r, err := l.db.worker(queues, workers)
	if err != nil {
		return internal("the workers cannot be made").Because(err)
	}
	if err := r.Start(lasting); err != nil {
		return l.fail("starting the workers", err)
	}
	l.until(ctx, account)
	soft, cancel := context.WithTimeout(lasting, stopWithin)
	defer cancel()
	if err = r.Stop(soft); err == nil {
		return nil
	}
	hard, cancel := context.WithTimeout(lasting, cancelWithin)
	defer cancel()
	if err = r.StopAndCancel(hard); err != nil {
		l.log.WarnContext(lasting, "some work did not end in time; it is left behind", slog.Any("error", err))
	}
	return nil
}

// until waits for the end of the work. Meanwhile it forgets what doors were told
// long ago, lest it piles up where none works any more: a door that comes later
// finds the notes due.
func (l *Ledger) until(ctx context.Context, account policy.Account) {
	tick := time.NewTicker(forgetAfter)
	defer tick.Stop()
	for {
		now, err := l.db.now(ctx, nil)
		if err == nil {
			err = l.db.forget(ctx, doorsOf(account), telling{}.Kind(), now.Add(-forgetAfter))
		}
		if err != nil && ctx.Err() == nil {
			l.log.WarnContext(ctx, "old jobs could not be removed; it will be tried again", slog.Any("error", err))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		case <-l.closed:
			return
		}
	}
}

// forget removes the jobs of a kind that wait in a queue since before a time, a
// thousand at most.
func forget[T any](ctx context.Context, client *river.Client[T], queue, kind string, before time.Time) error {
	const waits = "available"
	waiting := river.NewJobListParams().Queues(queue).Kinds(kind).States(waits).
		OrderBy(river.JobListOrderByID, river.SortOrderAsc).First(1000)
	found, err := client.JobList(ctx, waiting)
	if err != nil {
		return err
	}
	var ids []int64
	for _, j := range found.Jobs {
		if j.ScheduledAt.Before(before) {
			ids = append(ids, j.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	_, err = client.JobDeleteMany(ctx, river.NewJobDeleteManyParams().IDs(ids...).States(waits).First(len(ids)))
	return err
}

// worker calls a hand for one kind of jobs.
type worker[J job] struct {
	river.WorkerDefaults[J]
	hand func(ctx context.Context, id string) (time.Duration, error)
	does string // for the log
	log  *slog.Logger
	now  func() (time.Time, error)
	over func() bool // nothing new is begun

	mu    sync.Mutex
	turns map[string]turn // by request: which job calls again, and when
}

type turn struct {
	job int64
	at  time.Time
}

// Work never returns an error that River would keep or count: least of all the
// context's, after which River would run the job again as if it never had.
func (w *worker[J]) Work(ctx context.Context, job *river.Job[J]) error {
	if w.over() { // fetched before River was told to stop
		return river.JobSnooze(time.Second)
	}
	id := job.Args.request()
	again, err := w.safely(ctx, id)
	switch {
	case err == nil:
	case policy.KindOf(err) == policy.NotFound:
		again = 0
	case ctx.Err() != nil:
		return river.JobSnooze(time.Second)
	default:
		w.log.WarnContext(ctx, w.does+" failed; it will be tried again", slog.String("request", id), slog.Any("error", err))
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
func (w *worker[J]) otherwise(id string, job int64, again time.Duration) bool {
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
func (w *worker[J]) safely(ctx context.Context, id string) (again time.Duration, err error) {
	defer func() {
		if p := recover(); p != nil {
			w.log.ErrorContext(ctx, w.does+" panicked", slog.String("request", id),
				slog.String("panic", policy.PanicText(p)), slog.String("stack", string(debug.Stack())))
			again, err = 0, errPanicked
		}
	}()
	return w.hand(ctx, id)
}

var errPanicked = errors.New("it panicked")
