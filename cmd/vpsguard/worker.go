package main

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
)

// sweepAtMost is the longest time between two sweeps.
const sweepAtMost = 10 * time.Second

// worker moves requests on in the background: it works off nudges, and sweeps
// for what nobody nudged. It starts once the ledger is open and the account is
// known, however long that takes.
type worker struct {
	ledger  *opening
	account *account
	service *policy.Service
	tell    func(ctx context.Context, id string) (time.Duration, error) // nil where no door is told
	every   time.Duration
	log     *slog.Logger
	working atomic.Bool
}

// Run works until the context ends, and returns when nothing is in flight.
func (w *worker) Run(ctx context.Context) {
	select {
	case <-w.ledger.ready:
	case <-ctx.Done():
		return
	}
	l, err := w.ledger.get(ctx)
	if err != nil {
		return // it is open, so the context has ended
	}
	var account policy.Account
	known := w.again(ctx, "the account could not be read", func(ctx context.Context) (err error) {
		account, err = w.account.Get(ctx)
		return err
	})
	if !known {
		return
	}
	w.working.Store(true)
	defer w.working.Store(false)
	var all sync.WaitGroup
	all.Go(func() {
		w.again(ctx, "working on requests stopped", func(ctx context.Context) error {
			return l.Work(ctx, account, ledger.Hands{Advance: w.service.Advance, Tell: w.tell})
		})
	})
	all.Go(func() { w.sweep(ctx) })
	all.Wait()
}

// again repeats what failed, with growing pauses, until it succeeds or the
// context ends. It tells which.
func (w *worker) again(ctx context.Context, failed string, do func(context.Context) error) bool {
	for pause := 500 * time.Millisecond; ; pause = min(2*pause, 30*time.Second) {
		err := do(ctx)
		if err == nil || ctx.Err() != nil {
			return err == nil
		}
		w.log.WarnContext(ctx, failed+"; trying again", "error", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return false
		}
	}
}

// sweep looks for due requests at once, and then again and again.
func (w *worker) sweep(ctx context.Context) {
	tick := time.NewTicker(min(w.every, sweepAtMost))
	defer tick.Stop()
	for {
		if _, err := w.service.Sweep(ctx); err != nil && ctx.Err() == nil {
			w.log.WarnContext(ctx, "some requests could not be moved on; trying again", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
