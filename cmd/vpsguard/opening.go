package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
)

// opening is a ledger that is being opened while the program answers already.
// Each method waits for the first try. While opening fails, each call says so,
// and it is tried again.
type opening struct {
	now   func() time.Time // the host's clock; nil where the database's decides
	tried chan struct{}    // closed after the first try
	ready chan struct{}    // closed once it is open

	mu   sync.Mutex
	open *ledger.Ledger
	err  error

	cancel context.CancelFunc
	done   chan struct{}
}

var _ policy.Ledger = (*opening)(nil)

// openBeside starts to open a ledger and returns at once.
func openBeside(ctx context.Context, open func(context.Context) (*ledger.Ledger, error), now func() time.Time, log *slog.Logger) *opening {
	ctx, cancel := context.WithCancel(ctx)
	o := &opening{now: now, tried: make(chan struct{}), ready: make(chan struct{}), cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(o.done)
		for pause := time.Second; ; pause = min(2*pause, 30*time.Second) {
			if o.try(ctx, open) {
				// Reading goes on in one that was moved, or on a read-only disk; that it does no more is told once.
				if err := o.open.Ready(ctx); err != nil && ctx.Err() == nil {
					log.ErrorContext(ctx, "the ledger can be read, and not changed", "error", err)
				}
				return
			}
			if ctx.Err() != nil {
				return
			}
			log.ErrorContext(ctx, "the ledger could not be opened; trying again", "error", o.err, "pause", pause)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return
			}
		}
	}()
	return o
}

func (o *opening) try(ctx context.Context, open func(context.Context) (*ledger.Ledger, error)) bool {
	l, err := open(ctx)
	o.mu.Lock()
	o.open, o.err = l, err
	o.mu.Unlock()
	select {
	case <-o.tried:
	default:
		close(o.tried)
	}
	if err == nil {
		close(o.ready)
	}
	return err == nil
}

// get waits for the first try and gives the ledger, or why there is none.
func (o *opening) get(ctx context.Context) (*ledger.Ledger, error) {
	select {
	case <-o.tried:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return nil, policy.Errorf(policy.Unavailable, "%s", policy.Public(o.err).Message).
			WithHint("Nothing can be filed or run until then; reads of VPS.org work.").Because(o.err)
	}
	return o.open, nil
}

// Close stops trying, and closes the ledger where it was opened.
func (o *opening) Close() error {
	o.cancel()
	<-o.done
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open == nil {
		return nil
	}
	return o.open.Close()
}

// Now is [policy.Reader]'s. On SQLite the host's clock decides, so it can be told
// whether or not the file is open: reads of VPS.org need no more of a ledger. On
// PostgreSQL only the server knows.
func (o *opening) Now(ctx context.Context) (time.Time, error) {
	if o.now != nil {
		return o.now().UTC().Truncate(time.Millisecond), ctx.Err()
	}
	l, err := o.get(ctx)
	if err != nil {
		return time.Time{}, err
	}
	return l.Now(ctx)
}

// Ready fails where the ledger cannot be read, or, where it has to be, not written
// and committed to. The reading comes first: it waits for nobody who writes.
func (o *opening) Ready(ctx context.Context, write bool) error {
	l, err := o.get(ctx)
	if err != nil {
		return err
	}
	if _, err = l.Head(ctx); err == nil && write {
		err = l.Ready(ctx)
	}
	return err
}

// Head is [policy.Reader]'s.
func (o *opening) Head(ctx context.Context) (int64, error) {
	l, err := o.get(ctx)
	if err != nil {
		return 0, err
	}
	return l.Head(ctx)
}

// Request is [policy.Reader]'s.
func (o *opening) Request(ctx context.Context, id string) (policy.Request, error) {
	l, err := o.get(ctx)
	if err != nil {
		return policy.Request{}, err
	}
	return l.Request(ctx, id)
}

// Requests is [policy.Reader]'s.
func (o *opening) Requests(ctx context.Context, f policy.Filter) ([]policy.Request, int, error) {
	l, err := o.get(ctx)
	if err != nil {
		return nil, 0, err
	}
	return l.Requests(ctx, f)
}

// Setting is [policy.Reader]'s.
func (o *opening) Setting(ctx context.Context, name string) (string, error) {
	l, err := o.get(ctx)
	if err != nil {
		return "", err
	}
	return l.Setting(ctx, name)
}

// Note is [policy.Reader]'s.
func (o *opening) Note(ctx context.Context, scope, key string) (policy.Note, error) {
	l, err := o.get(ctx)
	if err != nil {
		return policy.Note{}, err
	}
	return l.Note(ctx, scope, key)
}

// Notes is [policy.Reader]'s.
func (o *opening) Notes(ctx context.Context, scope string, due time.Time, limit int) ([]policy.Note, error) {
	l, err := o.get(ctx)
	if err != nil {
		return nil, err
	}
	return l.Notes(ctx, scope, due, limit)
}

// Change is [policy.Ledger]'s.
func (o *opening) Change(ctx context.Context, f func(context.Context, policy.Tx) error) error {
	l, err := o.get(ctx)
	if err != nil {
		return err
	}
	return l.Change(ctx, f)
}

// Await is [policy.Ledger]'s.
func (o *opening) Await(ctx context.Context, after int64) error {
	l, err := o.get(ctx)
	if err != nil {
		return err
	}
	return l.Await(ctx, after)
}

// PutNote is [policy.Ledger]'s.
func (o *opening) PutNote(ctx context.Context, n policy.Note) (policy.Note, error) {
	l, err := o.get(ctx)
	if err != nil {
		return policy.Note{}, err
	}
	return l.PutNote(ctx, n)
}

// DropNote is [policy.Ledger]'s.
func (o *opening) DropNote(ctx context.Context, n policy.Note) error {
	l, err := o.get(ctx)
	if err != nil {
		return err
	}
	return l.DropNote(ctx, n)
}
