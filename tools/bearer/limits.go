package bearer

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// mostRemembered is how many keys a [Limits] remembers.
const mostRemembered = 10_000

// Limits says how often each of many may do something. It remembers a bounded number
// of them; where there are more at once, those that come last share one limit, so
// that coming in great numbers, or under many names, gains nothing. It may be used
// concurrently.
type Limits struct {
	every rate.Limit
	burst int
	now   func() time.Time

	mu     sync.Mutex
	known  map[string]*rate.Limiter
	others *rate.Limiter
	swept  time.Time // when those who need not be remembered were last looked for
}

// NewLimits lets each do something burst times at once, and then once every so often.
func NewLimits(every time.Duration, burst int, now func() time.Time) *Limits {
	l := &Limits{every: rate.Every(every), burst: burst, now: now, known: map[string]*rate.Limiter{}}
	l.others = rate.NewLimiter(l.every, burst)
	return l
}

// Take counts one more of a key. It gives how long to wait first where that is too
// often, and then does not count it; 0 lets it pass.
func (l *Limits) Take(key string) time.Duration {
	now := l.now()
	r := l.of(key, now).ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

// Spent gives how long to wait before a key may do it again, without counting.
func (l *Limits) Spent(key string) time.Duration {
	now := l.now()
	l.mu.Lock()
	limiter, ok := l.known[key]
	if !ok && len(l.known) >= mostRemembered {
		limiter, ok = l.others, true
	}
	l.mu.Unlock()
	if !ok {
		return 0
	}
	missing := 1 - limiter.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	return time.Duration(missing / float64(l.every) * float64(time.Second))
}

// of gives the limiter of a key.
func (l *Limits) of(key string, now time.Time) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if limiter, ok := l.known[key]; ok {
		return limiter
	}
	if len(l.known) >= mostRemembered && now.Sub(l.swept).Abs() >= time.Second {
		l.swept = now
		for k, limiter := range l.known { // who has waited long enough is like somebody new
			if limiter.TokensAt(now) >= float64(l.burst) {
				delete(l.known, k)
			}
		}
	}
	if len(l.known) >= mostRemembered {
		return l.others
	}
	limiter := rate.NewLimiter(l.every, l.burst)
	l.known[key] = limiter
	return limiter
}

// crowd counts who is inside, by key.
type crowd struct {
	mu sync.Mutex
	of map[string]int
}

// enter tells whether there is room for one more of a key; then leave must follow.
func (c *crowd) enter(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[key] >= mostAtOnce {
		return false
	}
	c.of[key]++
	return true
}

func (c *crowd) leave(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of[key]--; c.of[key] == 0 {
		delete(c.of, key)
	}
}
