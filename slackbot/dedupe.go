package slackbot

import (
	"container/list"
	"encoding/json"
	"sync"
	"time"
)

// reception is what became of a delivery.
type reception int

const (
	// fateAcked means that it is acknowledged, with an answer or without.
	fateAcked reception = iota
	// fateBroken means that the receiver panicked. Whoever acted should see an error.
	fateBroken
	// fateRefused means that there is no room, or that the program is stopping. It has
	// not been looked at, so Slack may deliver it again.
	fateRefused
	// fateGone means that nobody waits for the acknowledgement any more.
	fateGone
)

// How much is remembered of what has been delivered. Slack redelivers within
// minutes, and a signature is good for five either way.
const (
	seenFor   = 10 * time.Minute
	seenMost  = 20_000
	seenBytes = 16 << 20 // of acknowledgements
)

// seen remembers what has been delivered, so that a repeat runs nothing and gets
// the same acknowledgement. One is shared by all ways of delivery. It is lost with
// the process: what must not happen twice is kept from it in the ledger.
type seen struct {
	now func() time.Time

	mu    sync.Mutex
	byKey map[string]*sighting
	over  *list.List // of sightings whose receiver has returned, oldest first
	bytes int        // of the acknowledgements in over
}

// sighting is one thing that was delivered, however often. Its fate and ack may be
// read when settled is closed.
type sighting struct {
	key     string
	settled chan struct{}
	fate    reception
	ack     json.RawMessage
	until   time.Time
}

func newSeen(now func() time.Time) *seen {
	return &seen{now: now, byKey: make(map[string]*sighting), over: list.New()}
}

// meet returns the sighting of a key, and whether it is the first. Whoever has the
// first must settle it and close it, or forget it. Nothing repeats an empty key.
func (s *seen) meet(key string) (x *sighting, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.purge()
	if x := s.byKey[key]; x != nil {
		return x, false
	}
	x = &sighting{key: key, settled: make(chan struct{})}
	if key != "" {
		s.byKey[key] = x
	}
	return x, true
}

// settle says how a sighting is answered, now and whenever it comes again. The first
// word counts; settle tells whether this was it.
func (s *seen) settle(x *sighting, f reception, ack json.RawMessage) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-x.settled:
		return false
	default:
	}
	x.fate, x.ack = f, ack
	close(x.settled)
	return true
}

// close tells that the work on a sighting is over. From then on it is remembered for
// its time; before, it is never dropped.
func (s *seen) close(x *sighting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byKey[x.key] != x {
		return
	}
	x.until = s.now().Add(seenFor)
	s.over.PushBack(x)
	s.bytes += len(x.ack)
	s.purge()
}

// forget undoes meet: the sighting was not worked on and may come again.
func (s *seen) forget(x *sighting) {
	s.settle(x, fateRefused, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byKey[x.key] == x {
		delete(s.byKey, x.key)
	}
}

// purge drops what is too old or too much. The lock is held.
func (s *seen) purge() {
	now := s.now()
	for e := s.over.Front(); e != nil; e = s.over.Front() {
		x := e.Value.(*sighting) //nolint:errcheck,forcetypeassert // the list holds nothing else
		if now.Before(x.until) && s.over.Len() <= seenMost && s.bytes <= seenBytes {
			return
		}
		s.over.Remove(e)
		s.bytes -= len(x.ack)
		delete(s.byKey, x.key)
	}
}
