package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/vpsguard/vpsguard/policy"
)

// unclaimed is how long a server has to take up what was approved, before it is
// offered to run it here.
const unclaimed = 5 * time.Second

// follow tells how the work goes, until it has ended. The terminal gets the
// progress, standard output the end.
func (d *desk) follow(ctx context.Context, t *terminal, id string) error {
	st, err := d.watch(ctx, t, id)
	if ctx.Err() != nil {
		say(t, "", fmt.Sprintf("You stopped following; %s goes on where a vpsguard runs. See: vpsguard requests show %s", id, id))
		return errSaid
	}
	if err != nil {
		return err
	}
	if err := d.tell(d.Stdout, st); err != nil {
		return err
	}
	if st.Request.State != policy.StateDone && st.Request.State != policy.StateHeld {
		return errSaid
	}
	return nil
}

// watch shows each change until there is none to wait for. Where nobody takes
// the request up, it offers to run it here.
func (d *desk) watch(ctx context.Context, t *terminal, id string) (st policy.Standing, err error) {
	var (
		told    = map[string]bool{}
		waited  time.Time // since when nothing has kept it from starting
		offered bool
		here    sync.WaitGroup
	)
	defer here.Wait()
	for {
		head, err := d.ledger.Head(ctx)
		if err != nil {
			return st, err
		}
		if st, err = d.service.Show(ctx, id); err != nil {
			return st, err
		}
		progress(t, st, told)
		switch st.Request.State {
		case policy.StateApproved, policy.StateRunning:
		default:
			return st, nil
		}
		wait := 10 * time.Second // clocks run out without a record
		if st.Request.State != policy.StateApproved || len(st.WaitsFor) > 0 || st.Request.NotBefore.After(st.Now) {
			waited = time.Time{}
		} else if !offered {
			if waited.IsZero() {
				waited = st.Now
			}
			if wait = unclaimed - st.Now.Sub(waited); wait <= 0 {
				offered = true
				if err := d.offer(ctx, t, id, &here); err != nil {
					return st, err
				}
				continue
			}
		}
		if err := d.await(ctx, head, wait); err != nil {
			return st, err
		}
	}
}

// await returns when something was recorded, or the time is over.
func (d *desk) await(ctx context.Context, head int64, wait time.Duration) error {
	short, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	if err := d.ledger.Await(short, head); err != nil && short.Err() == nil {
		return err
	}
	return ctx.Err()
}

// offer asks whether to run the request here, and does.
func (d *desk) offer(ctx context.Context, t *terminal, id string, here *sync.WaitGroup) error {
	answer, err := t.ask(ctx, fmt.Sprintf("No running vpsguard has taken it up for %s. Run it here, now? [y/N] ", policy.Span(unclaimed)))
	if err != nil {
		return err
	}
	if !strings.EqualFold(strings.TrimSpace(answer), "y") && !strings.EqualFold(strings.TrimSpace(answer), "yes") {
		say(t, "", "It stays approved until its time is over, for a vpsguard that is started meanwhile.")
		return nil
	}
	here.Go(func() { d.run(ctx, t, id) })
	return nil
}

// run moves one request on in this process, until nothing is left to do.
func (d *desk) run(ctx context.Context, w io.Writer, id string) {
	for ctx.Err() == nil {
		wait, err := d.service.Advance(ctx, id)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			e := public(err)
			say(w, "  ", e.Message+"; trying again")
			d.log.DebugContext(ctx, "advancing failed", "request", id, "error", err)
			wait = max(wait, d.settings.PollEvery)
		case wait == 0:
			return
		}
		select {
		case <-time.After(min(wait, d.settings.PollEvery)):
		case <-ctx.Done():
		}
	}
}

// progress prints what has not been told yet.
func progress(w io.Writer, st policy.Standing, told map[string]bool) {
	tell := func(text string) {
		if !told[text] {
			told[text] = true
			say(w, st.Now.Format("15:04:05")+"  ", text)
		}
	}
	r := st.Request
	switch {
	case r.State == policy.StateHeld:
		tell(fmt.Sprintf("your confirmation is recorded; %d of %d", st.Agreed, r.Conditions.Approvals))
	case r.State == policy.StateApproved && len(st.WaitsFor) > 0:
		tell("approved; it waits for " + strings.Join(st.WaitsFor, ", "))
	case r.State == policy.StateApproved && r.NotBefore.After(st.Now):
		tell("approved; a rule lets it be called back: it starts by itself at " + policy.Stamp(r.NotBefore))
	case r.State == policy.StateApproved:
		tell("approved; it is about to start")
	}
	for _, s := range r.Steps {
		if s.State == policy.StepWaiting {
			continue
		}
		text := spoken(s.Name) + ": " + string(s.State)
		if s.Point != nil { // one of several
			text = s.Point.String() + ": " + string(s.State)
		}
		if s.Note != "" {
			text += ": " + s.Note
		}
		tell(text)
	}
}
