package apiclient

import (
	"context"
	"sync"

	"golang.org/x/sync/singleflight"
)

type freshKey struct{}

// Fresh returns a context whose reads are never shared: each sends its own
// request, so its answer is no older than the call. Reads that decide about a
// write belong under it.
func Fresh(ctx context.Context) context.Context {
	return context.WithValue(ctx, freshKey{}, true)
}

// flights shares the answers of identical reads that are under way.
type flights struct {
	mu    sync.Mutex
	group singleflight.Group
	open  map[string]*flight
}

// flight is one shared request. It belongs to nobody's context: it ends when it
// is answered, when its own deadline passes, or when the last caller has left.
type flight struct {
	waiting int
	cancel  context.CancelFunc
}

// read performs a read, shared with identical ones unless ctx is fresh.
func (c *Client) read(ctx context.Context, r request) (any, error) {
	if ctx.Value(freshKey{}) != nil {
		return c.try(ctx, r)
	}
	if err := ctx.Err(); err != nil {
		return nil, c.notSent(r, err)
	}
	key := r.url.String()
	f, answer := c.join(ctx, key, r)
	defer c.flights.leave(key, f)
	select {
	case result := <-answer:
		return result.Val, result.Err
	case <-ctx.Done():
		e := c.newError(r, Unavailable)
		e.err, e.Message = ctx.Err(), ended(ctx.Err())
		return nil, e
	}
}

// join enters the flight for key, starting one if there is none. The map and the
// group change together under the lock, so a flight in the map is one that can
// still be joined.
func (c *Client) join(ctx context.Context, key string, r request) (*flight, <-chan singleflight.Result) {
	s := &c.flights
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.open[key]
	var own context.Context
	if f == nil {
		f = new(flight)
		own, f.cancel = context.WithTimeout(context.WithoutCancel(ctx), c.timeout)
		if s.open == nil {
			s.open = make(map[string]*flight)
		}
		s.open[key] = f
	}
	f.waiting++
	return f, s.group.DoChan(key, func() (any, error) {
		defer s.land(key, f)
		return c.try(own, r)
	})
}

// land closes a flight that was answered.
func (s *flights) land(key string, f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.cancel()
	s.forget(key, f)
}

// leave takes one caller out; the last one to leave ends the request.
func (s *flights) leave(key string, f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		f.cancel()
		s.forget(key, f)
	}
}

// part lets nobody join the flights that are under way now: what they bring may
// be older than a write that has just ended.
func (s *flights) part() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, f := range s.open {
		s.forget(key, f)
	}
}

func (s *flights) forget(key string, f *flight) {
	if s.open[key] == f {
		delete(s.open, key)
		s.group.Forget(key)
	}
}
