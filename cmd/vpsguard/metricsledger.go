package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
)

const (
	// numbersWithin is how long reading the ledger for one scrape may take.
	numbersWithin = 3 * time.Second
	// numbersAgain is how old what was read may be: several who scrape cost the
	// ledger no more than one.
	numbersAgain = time.Second
	// followMost is how many records are read at a time.
	followMost = 500
)

// numbers are what the ledger says at a moment.
type numbers struct {
	open   map[[3]string]int // operation, state, door
	oldest time.Duration
	head   int64
	jobs   []ledger.Jobs
}

// ledgerNumbers reads the ledger when somebody scrapes, so that neither a restart
// nor another replica makes the numbers wrong.
type ledgerNumbers struct {
	ledger  *opening
	metrics *metrics

	mu   sync.Mutex
	at   time.Time
	last numbers
	err  error
}

// Describe is [prometheus.Collector]'s.
func (l *ledgerNumbers) Describe(out chan<- *prometheus.Desc) {
	for _, m := range []metric{mLedgerUp, mOpen, mOldest, mQueue, mHead} {
		out <- m.desc()
	}
}

// Collect is [prometheus.Collector]'s.
func (l *ledgerNumbers) Collect(out chan<- prometheus.Metric) {
	n, err := l.read()
	tell := func(m metric, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(m.desc(), prometheus.GaugeValue, v, labels...)
	}
	if err != nil { // nothing is better than what was so some time ago
		tell(mLedgerUp, 0)
		return
	}
	tell(mLedgerUp, 1)
	for k, count := range n.open {
		tell(mOpen, float64(count), k[:]...)
	}
	tell(mOldest, n.oldest.Seconds())
	tell(mHead, float64(n.head))
	for _, j := range n.jobs {
		tell(mQueue, float64(j.Count), j.Kind, j.State)
	}
}

// read gives the numbers, at most a second old.
func (l *ledgerNumbers) read() (numbers, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at.IsZero() || time.Since(l.at) >= numbersAgain {
		ctx, cancel := context.WithTimeout(context.Background(), numbersWithin)
		defer cancel()
		l.last, l.err = l.ask(ctx)
		l.at = time.Now()
	}
	return l.last, l.err
}

func (l *ledgerNumbers) ask(ctx context.Context) (n numbers, err error) {
	n.open = map[[3]string]int{}
	from, err := l.ledger.get(ctx)
	if err != nil {
		return n, err
	}
	now, err := from.Now(ctx)
	if err != nil {
		return n, err
	}
	for f := (policy.Filter{States: policy.OpenStates(), NoTotal: true}); ; {
		page, _, err := from.Requests(ctx, f)
		if err != nil {
			return n, err
		}
		for _, r := range page {
			if r = r.At(now); !r.State.Open() {
				continue // nobody has recorded yet that it is over
			}
			n.open[[3]string{l.metrics.operation(r.Operation), string(r.State), doorKey(r.Actor.Door)}]++
			if r.State == policy.StateHeld {
				n.oldest = max(n.oldest, now.Sub(r.FiledAt))
			}
			f.Before = r.Seq
		}
		if len(page) < mostOpen {
			break
		}
	}
	if n.head, err = from.Head(ctx); err != nil {
		return n, err
	}
	n.jobs, err = from.Queued(ctx)
	return n, err
}

// mostOpen is how many requests the ledger gives at a time.
const mostOpen = 1000

// follower goes through the audit as it grows: there stands what every process has
// done, those at the terminal too, which end before anybody could ask them.
type follower struct {
	ledger  *opening
	metrics *metrics
	log     *slog.Logger
}

// Run follows until the context ends. It begins with what comes next.
func (f follower) Run(ctx context.Context) {
	var head int64
	ready := func() (err error) { head, err = f.ledger.Head(ctx); return err }
	for step := ready; ctx.Err() == nil; {
		if err := step(); err == nil {
			step = func() (err error) { head, err = f.next(ctx, head); return err }
			continue
		}
		select { // what is wrong with the ledger is told by those who need it
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
}

// next waits for records and tells of them. It gives the last one.
func (f follower) next(ctx context.Context, head int64) (int64, error) {
	if err := f.ledger.Await(ctx, head); err != nil {
		return head, err
	}
	from, err := f.ledger.get(ctx)
	if err != nil {
		return head, err
	}
	records, err := from.Records(ctx, head+1, followMost)
	if err != nil {
		return head, err
	}
	for _, record := range records {
		b, err := record.Parse()
		if err == nil && b.Request != "" && (b.From != b.To || b.Event == policy.EventRefused) {
			about, err := from.Request(ctx, b.Request)
			if err != nil {
				return head, err
			}
			f.tell(ctx, tiding{about, b})
		}
		head = record.Seq
	}
	return head, nil
}

// tell counts one, and logs it where no serving process has: whoever decides at a
// terminal does so in a process of their own.
func (f follower) tell(ctx context.Context, n tiding) {
	f.metrics.changed(n)
	if n.record.By.Door == policy.DoorTerminal {
		n.tell(ctx, f.log)
	}
}
