package slackfake

import (
	"slices"
	"sync"
	"time"
)

// Epoch is when a Clock of a Fake without a clock starts.
var Epoch = time.Date(2026, 3, 14, 3, 0, 0, 0, time.UTC)

// Clock is a clock that stands still until a test moves it. Its Now and AfterFunc
// fit [Options].
type Clock struct {
	mu     sync.Mutex
	now    time.Time
	timers []*timer
	count  int
}

type timer struct {
	at    time.Time
	order int
	f     func()
}

// NewClock returns a clock that stands at start.
func NewClock(start time.Time) *Clock { return &Clock{now: start} }

// Now tells the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// AfterFunc calls f, from Pass, when the clock has been moved by d.
// stop prevents that and tells whether it was in time.
func (c *Clock) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d <= 0 {
		go f()
		return func() bool { return false }
	}
	c.count++
	t := &timer{at: c.now.Add(d), order: c.count, f: f}
	c.timers = append(c.timers, t)
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		i := slices.Index(c.timers, t)
		if i < 0 {
			return false
		}
		c.timers = slices.Delete(c.timers, i, i+1)
		return true
	}
}

// Pass moves the clock by d. What falls due on the way is called in its order, each
// at its own time and each finished before the next begins, so that what it sets up
// may fall due in the same call.
func (c *Clock) Pass(d time.Duration) {
	c.mu.Lock()
	end := c.now.Add(d)
	for {
		slices.SortFunc(c.timers, func(a, b *timer) int {
			if n := a.at.Compare(b.at); n != 0 {
				return n
			}
			return a.order - b.order
		})
		if len(c.timers) == 0 || c.timers[0].at.After(end) {
			break
		}
		t := c.timers[0]
		c.timers = slices.Delete(c.timers, 0, 1)
		c.now = t.at
		c.mu.Unlock()
		t.f()
		c.mu.Lock()
	}
	if end.After(c.now) {
		c.now = end
	}
	c.mu.Unlock()
}
