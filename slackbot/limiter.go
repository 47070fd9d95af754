package slackbot

import (
	"context"
	"errors"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// pace is how often a method may be called: a burst, then one call each Every.
// The two together stay within Slack's limit for any minute.
type pace struct {
	every time.Duration
	burst int
	// channels are counted each for itself.
	channels bool
}

// Slack's limits: one post a second in a channel, and by tier 20, 50 and 100 calls a
// minute (https://docs.slack.dev/apis/web-api/rate-limits). The 50 ms are what two
// posts may come closer to each other on their way. A method that is not named here
// goes at once, as a trigger_id lives 3 s; a 429 pauses it as well.
var paces = map[string]pace{
	"chat.postMessage":      {every: 1050 * time.Millisecond, burst: 1, channels: true},
	"chat.update":           {every: 1500 * time.Millisecond, burst: 10},
	"chat.postEphemeral":    {every: time.Second, burst: 40},
	"users.info":            {every: time.Second, burst: 40},
	"usergroups.users.list": {every: 5 * time.Second, burst: 8},
	"usergroups.list":       {every: 5 * time.Second, burst: 8},
}

// patience is how long a call waits before it is made. What takes longer is refused
// at once, and nothing was sent. 0 is as long as the context lasts.
type patience struct {
	queue time.Duration // for its turn
	pause time.Duration // for the end of a pause that Slack asked for
	// until, where set, ends all waiting once it is closed.
	until <-chan struct{}
}

var (
	patient = patience{}
	// askers are people who wait for an answer, often for one of shared reads.
	askers = patience{queue: 6 * time.Second, pause: time.Second}
	// hasty calls are of no use after a trigger_id's 3 s.
	hasty = patience{queue: time.Second, pause: time.Second}
)

// limiter makes the calls of this process wait for their turn. The pause of a 429
// holds for everybody who calls the same method, in the same channel where those are
// counted each for itself.
type limiter struct {
	now func() time.Time

	mu    sync.Mutex
	lanes map[string]*lane
}

// lane is the queue before one method, or before one channel.
type lane struct {
	rate  *rate.Limiter
	until time.Time // a pause's end
}

// maxLanes is how many are kept before those that stand idle are forgotten.
const maxLanes = 256

func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, lanes: make(map[string]*lane)}
}

// lane finds the queue of a call. The lock is held.
func (l *limiter) lane(method, channel string) *lane {
	p, counted := paces[method]
	key := method
	if p.channels {
		key += " " + channel
	}
	if q := l.lanes[key]; q != nil {
		return q
	}
	if len(l.lanes) >= maxLanes {
		now := l.now()
		for key, q := range l.lanes {
			if !q.until.After(now) && q.rate.TokensAt(now) >= float64(q.rate.Burst()) {
				delete(l.lanes, key)
			}
		}
	}
	q := &lane{rate: rate.NewLimiter(rate.Inf, 1)}
	if counted {
		q.rate = rate.NewLimiter(rate.Every(p.every), p.burst)
	}
	l.lanes[key] = q
	return q
}

// wait returns nil when a call may be made. Everything else means that it was not.
func (l *limiter) wait(ctx context.Context, method, channel string, p patience) error {
	refused := func(d time.Duration, err error) error {
		return &slackError{Method: method, Code: codeRateLimited, After: d, Fate: notSent, Err: err}
	}
	for {
		if d := l.paused(method, channel); d > 0 {
			if p.pause > 0 && d > p.pause {
				return refused(d, nil)
			}
			if err := sleepUntil(ctx, p.until, d); err != nil {
				return refused(d, err)
			}
			continue
		}
		turn, d := l.turn(method, channel)
		if p.queue > 0 && d > p.queue {
			turn.CancelAt(l.now())
			return refused(d, nil)
		}
		if err := sleepUntil(ctx, p.until, d); err != nil {
			turn.CancelAt(l.now())
			return refused(d, err)
		}
		if l.paused(method, channel) <= 0 {
			return nil
		}
		// A pause began meanwhile: all who wait queue up again behind it.
	}
}

// paused tells how long a method's pause still lasts.
func (l *limiter) paused(method, channel string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lane(method, channel).until.Sub(l.now())
}

// turn takes the next place in the queue and tells how far away it is.
func (l *limiter) turn(method, channel string) (*rate.Reservation, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	r := l.lane(method, channel).rate.ReserveN(now, 1)
	return r, r.DelayFrom(now)
}

// pause is what a 429 asks for.
func (l *limiter) pause(method, channel string, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.lane(method, channel)
	if until := l.now().Add(d); until.After(q.until) {
		q.until = until
	}
}

// sleepFor waits, unless the context ends first or has ended.
func sleepFor(ctx context.Context, d time.Duration) error { return sleepUntil(ctx, nil, d) }

var errClosing = errors.New("the door closes")

// sleepUntil is sleepFor that something else may end as well.
func sleepUntil(ctx context.Context, until <-chan struct{}, d time.Duration) error {
	if err := ctx.Err(); err != nil || d <= 0 {
		return err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-until:
		return errClosing
	case <-ctx.Done():
		return ctx.Err()
	}
}

const (
	// callWithin is how long one call may take.
	callWithin = 10 * time.Second
	// sendAttempts are made of one call that Slack turns away with a 429.
	sendAttempts = 3
)

// call makes one call when it is its turn, and again after a 429.
func (c *client) call(ctx context.Context, method, channel string, p patience, do func(context.Context) error) error {
	return c.recall(ctx, method, channel, p, false, do)
}

// recall is call for what was sent before, or was not.
func (c *client) recall(ctx context.Context, method, channel string, p patience, before bool, do func(context.Context) error) error {
	for n := 1; ; n++ {
		if err := c.limits.wait(ctx, method, channel, p); err != nil {
			c.told(Sent{Method: method, Outcome: SentNotYet})
			return err
		}
		err := attempt(ctx, method, do)
		c.told(Sent{Method: method, Outcome: err.outcome(), Again: before || n > 1})
		if err == nil {
			return nil
		}
		if err.Code != codeRateLimited {
			return err
		}
		c.limits.pause(method, channel, err.After)
		c.log.WarnContext(ctx, "slack asks for a pause", "method", method, "retry_after", err.After)
		if n == sendAttempts {
			return err
		}
	}
}

// attempt makes one call and tells what became of it.
func attempt(ctx context.Context, method string, do func(context.Context) error) *slackError {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	// Where a connection was sought and none was had, nothing was sent. A transport
	// that does not say so is not trusted to have sent nothing.
	var sought, had atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { sought.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { had.Store(true) },
	})
	err := do(ctx)
	if err == nil {
		return nil
	}
	return asSlackError(method, err, sought.Load() && !had.Load())
}

// flights shares reads among those who ask for the same at once. Whoever asks gets a
// read that began after they asked: one under way may be older than what they want to
// know, so they wait for the next, and all who wait share it. So any number of people
// who ask at once cost two reads.
type flights[V any] struct {
	mu    sync.Mutex
	lines map[string]*turns[V]
}

// turns are the reads of one thing: one under way, and one to come where it is wanted.
type turns[V any] struct{ next *flight[V] }

type flight[V any] struct {
	read  func() (V, error)
	done  chan struct{}
	value V
	err   error
}

// readWithin is how long a shared read may take: it has no caller's context.
const readWithin = 15 * time.Second

// get returns what a read gives that begins now or later.
func (s *flights[V]) get(ctx context.Context, key string, read func(context.Context) (V, error)) (V, error) {
	s.mu.Lock()
	if s.lines == nil {
		s.lines = make(map[string]*turns[V])
	}
	l, running := s.lines[key]
	if !running {
		l = &turns[V]{}
		s.lines[key] = l
	}
	if l.next == nil {
		l.next = &flight[V]{done: make(chan struct{}), read: func() (V, error) {
			// Whoever leaves does not end what others wait for.
			return bounded(context.WithoutCancel(ctx), read)
		}}
	}
	f := l.next
	if !running {
		go s.run(key)
	}
	s.mu.Unlock()
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		var none V
		return none, ctx.Err()
	}
}

// run reads as long as somebody waits.
func (s *flights[V]) run(key string) {
	for {
		s.mu.Lock()
		f := s.lines[key].next
		if f == nil {
			delete(s.lines, key)
			s.mu.Unlock()
			return
		}
		s.lines[key].next = nil
		s.mu.Unlock()
		f.value, f.err = f.read()
		close(f.done)
	}
}

// bounded reads within a time. A panic is an error to those who wait, not the end.
func bounded[V any](ctx context.Context, read func(context.Context) (V, error)) (v V, err error) {
	ctx, cancel := context.WithTimeout(ctx, readWithin)
	defer cancel()
	defer func() {
		if recover() != nil {
			err = errors.New("reading panicked")
		}
	}()
	return read(ctx)
}
