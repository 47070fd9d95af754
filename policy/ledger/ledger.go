package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/vpsguard/vpsguard/policy"
)

var _ policy.Ledger = (*Ledger)(nil)

const (
	awaitPoll      = 250 * time.Millisecond // how soon Await sees another process
	nothingChanged = "; nothing was changed"
)

// Ledger is a [policy.Ledger] on a database. All methods may be called
// concurrently; inside the function of a [Ledger.Change] they fail with kind
// Internal, where otherwise they would wait for that change for ever.
type Ledger struct {
	db   database
	log  *slog.Logger
	path string

	mu      sync.Mutex
	last    head          // that a change of this process has found or stored
	grown   chan struct{} // closed after this process has committed
	closed  chan struct{}
	isEnded bool
	working sync.WaitGroup
}

// Path says where the ledger is, to people: its file, or its database without user
// and password.
func (l *Ledger) Path() string { return l.path }

// Close stops the workers, waits for them and closes the database.
func (l *Ledger) Close() error {
	l.mu.Lock()
	if l.isEnded {
		l.mu.Unlock()
		return nil
	}
	l.isEnded = true
	close(l.closed)
	l.mu.Unlock()
	l.working.Wait()
	return l.fail("closing the ledger", l.db.close())
}

// Concern is something about how a database is set up that puts the ledger at risk,
// and what to do about it, in words for people.
type Concern struct{ What, Fix string }

// Concerns are what an operator should know of how the database is set up.
func (l *Ledger) Concerns(ctx context.Context) ([]Concern, error) {
	found, err := l.db.concerns(ctx)
	return found, l.fail("looking at how the database is set up", err)
}

func errClosed() error { return internal("the ledger is closed") }

// inside marks the context of a change with its ledger.
type inside struct{ l *Ledger }

func (l *Ledger) outside(ctx context.Context) error {
	if ctx.Value(inside{l}) != nil {
		return internal("the ledger was used inside its own change")
	}
	return nil
}

// fail turns an error of storage into one for people; others stay as they are.
func (l *Ledger) fail(doing string, err error) error {
	known := (*policy.Error)(nil)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	}
	if lost(err) {
		return policy.Errorf(policy.Unavailable, "the ledger's database did not confirm this as it should; it may be stored or not").
			WithHint("Look at it before you try again.").Because(fmt.Errorf("%s: %w", doing, err))
	}
	says := l.db.says(err)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		says = "the call ended before the ledger answered"
	}
	return policy.Errorf(policy.Unavailable, "%s", says+nothingChanged).
		WithHint("Try again; if it stays, tell the operator.").Because(fmt.Errorf("%s: %w", doing, err))
}

// read runs f on one state of the database.
func (l *Ledger) read(ctx context.Context, doing string, f func(querier) error) error {
	if err := l.outside(ctx); err != nil {
		return err
	}
	return l.fail(doing, l.db.read(ctx, f))
}

// Now is the clock that decides, in UTC and whole milliseconds: the host's on
// SQLite, the server's on PostgreSQL.
func (l *Ledger) Now(ctx context.Context) (now time.Time, err error) {
	if err := l.outside(ctx); err != nil {
		return now, err
	}
	now, err = l.db.now(ctx, nil)
	return now, l.fail("reading the clock", err)
}

// Head is the number of the last audit record; 0 where there is none.
func (l *Ledger) Head(ctx context.Context) (head int64, err error) {
	err = l.read(ctx, "reading the audit's head", func(q querier) error {
		return q.QueryRow(ctx, "SELECT seq FROM audit_head WHERE one = 1").Scan(&head)
	})
	return head, err
}

// Request gives one request, or NotFound.
func (l *Ledger) Request(ctx context.Context, id string) (r policy.Request, err error) {
	err = l.read(ctx, "reading a request", func(q querier) error {
		r, err = readRequest(ctx, q, id)
		return err
	})
	return r, err
}

// Requests gives the requests that a filter lets through, newest first, and how
// many there are without limit and cursor, both of one moment.
func (l *Ledger) Requests(ctx context.Context, f policy.Filter) (found []policy.Request, total int, err error) {
	err = l.read(ctx, "reading requests", func(q querier) error {
		found, total, err = readRequests(ctx, q, f)
		return err
	})
	return found, total, err
}

// Setting gives a setting; "" where it was never put.
func (l *Ledger) Setting(ctx context.Context, name string) (value string, err error) {
	err = l.read(ctx, "reading a setting", func(q querier) error {
		value, err = readSetting(ctx, q, name)
		return err
	})
	return value, err
}

// Records gives the records of the audit in order, from a number on: at most
// limit, at most 10,000, 1,000 where the limit is 0. Fewer means that these are
// the last.
func (l *Ledger) Records(ctx context.Context, from int64, limit int) (out []policy.Record, err error) {
	if limit <= 0 {
		limit = 1000
	}
	err = l.read(ctx, "reading the audit", func(q querier) error {
		out, err = readRecords(ctx, q, from, min(limit, 10_000))
		return err
	})
	return out, err
}

// Jobs are the jobs of one kind that are in one state of the queue.
type Jobs struct {
	Kind  string // advance or tell
	State string // available, running, scheduled, …: River's words
	Count int
}

const queuedJobs = "SELECT kind, state, count(*) FROM river_job" +
	" WHERE state IN ('available', 'pending', 'retryable', 'running', 'scheduled') GROUP BY kind, state"

// Queued counts the jobs of all accounts that are not done.
func (l *Ledger) Queued(ctx context.Context) (out []Jobs, err error) {
	err = l.read(ctx, "reading the queue", func(q querier) error {
		found, err := q.Query(ctx, queuedJobs)
		if err != nil {
			return err
		}
		defer func() { _ = found.Close() }()
		for found.Next() {
			var j Jobs
			if err := found.Scan(&j.Kind, &j.State, &j.Count); err != nil {
				return err
			}
			out = append(out, j)
		}
		return found.Err()
	})
	return out, err
}

// Await returns nil when the audit has grown beyond a number, or the context's
// error. It sees this process at once and others within a quarter of a second.
func (l *Ledger) Await(ctx context.Context, after int64) error {
	for {
		l.mu.Lock()
		grown := l.grown // before the head is read, so that nothing is missed
		l.mu.Unlock()
		head, err := l.Head(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return err
		case head > after:
			return nil
		}
		poll := time.NewTimer(awaitPoll)
		select {
		case <-grown:
		case <-poll.C:
		case <-ctx.Done():
		case <-l.closed:
			err = errClosed()
		}
		if poll.Stop(); err != nil {
			return err
		}
	}
}

// Change runs f in one serial transaction, see [policy.Ledger]. It waits for
// other changes; only waiting is ever tried again, f runs at most once. An
// error of f comes back unchanged.
func (l *Ledger) Change(ctx context.Context, f func(ctx context.Context, tx policy.Tx) error) error {
	if err := l.outside(ctx); err != nil {
		return err
	}
	var now head
	var own error // f's, which stays as it is
	err := l.db.write(ctx, func(t tx) error {
		c := &change{l: l, tx: t}
		defer func() { c.over = true }()
		if err := c.begin(ctx); err != nil {
			return err
		}
		if own = f(context.WithValue(ctx, inside{l}, true), c); own != nil {
			return own
		}
		if c.head != c.begun {
			now = c.head
		}
		return c.end(ctx)
	})
	switch {
	case own != nil:
		return own
	case err != nil:
		return l.fail("changing the ledger", err)
	}
	if now.seq > 0 {
		l.see(now)
		l.mu.Lock()
		close(l.grown)
		l.grown = make(chan struct{})
		l.mu.Unlock()
	}
	return nil
}

// see remembers a head that is stored.
func (l *Ledger) see(h head) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h.seq > l.last.seq {
		l.last = h
	}
}

// lastSeen is the last of the heads that are remembered.
func (l *Ledger) lastSeen() head {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// Ready writes to the database and commits, as a change would, and fails where that
// fails, or where the ledger was moved.
func (l *Ledger) Ready(ctx context.Context) error {
	if err := l.outside(ctx); err != nil {
		return err
	}
	return l.fail("probing the ledger", l.db.write(ctx, func(t tx) error {
		// Whoever holds the audit's head, a forgotten session say, holds up all changes.
		if err := (&change{l: l, tx: t}).begin(ctx); err != nil {
			return err
		}
		now, err := l.db.now(ctx, t)
		if err != nil {
			return err
		}
		_, err = t.Exec(ctx, "UPDATE schema_version SET probed_at = $1 WHERE one = 1", now.UnixMilli())
		return err
	}))
}
