package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Advance moves a request on as far as it goes now: it starts steps, watches
// what was accepted, settles lost answers and lets clocks run out. It tells
// after which time somebody should call again; 0 means that nothing is left to
// do. Calling it too often, at the wrong time or from several processes at once
// does no harm: what it does is guarded by the request's row.
func (s *Service) Advance(ctx context.Context, id string) (time.Duration, error) {
	if s.ReadOnly {
		return 0, errReadOnly()
	}
	if !s.enter(id) {
		return s.PollEvery, nil // this process is at it
	}
	defer s.leave(id)
	for range 16 { // more than any request has steps
		wait, err := s.advance(ctx, id)
		if wait != again || err != nil {
			return max(wait, 0), err
		}
	}
	return s.PollEvery, nil
}

// again asks for another round at once.
const again = time.Duration(-1)

// Sweep advances every open request of this account that is due: what nobody
// nudged, and what a process that died left behind. It returns how many there were.
func (s *Service) Sweep(ctx context.Context) (int, error) {
	account, err := s.Account(ctx)
	if err != nil {
		return 0, err
	}
	now, err := s.Ledger.Now(ctx)
	if err != nil {
		return 0, err
	}
	due, _, err := s.Ledger.Requests(ctx, Filter{Account: &account, States: OpenStates(), DueBy: now})
	if err != nil {
		return 0, err
	}
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		errs []error
		slot = make(chan struct{}, 4)
	)
	for _, r := range due {
		slot <- struct{}{}
		all.Go(func() {
			defer func() { <-slot }()
			if _, err := s.Advance(ctx, r.ID); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	all.Wait()
	return len(due), errors.Join(errs...)
}

func (s *Service) enter(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[id] {
		return false
	}
	s.busy[id] = true
	return true
}

func (s *Service) leave(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.busy, id)
}

func (s *Service) advance(ctx context.Context, id string) (time.Duration, error) {
	now, err := s.Ledger.Now(ctx)
	if err != nil {
		return s.PollEvery, err
	}
	r, err := s.Ledger.Request(ctx, id)
	if err != nil {
		return 0, err
	}
	if !r.State.Open() {
		s.forget(id)
		return 0, nil
	}
	account, err := s.Account(ctx)
	if err != nil {
		return s.PollEvery, err
	}
	if account != r.Account {
		return 0, errAccount(r)
	}
	switch at := r.At(now); at.State {
	case StateExpired:
		return s.expire(ctx, id)
	case StateHeld:
		return r.ApproveBy.Sub(now), nil
	case StateApproved:
		return s.start(ctx, r)
	default:
	}
	switch step := r.Steps[r.Current()]; step.State {
	case StepWaiting:
		if !now.Before(r.StartBy) {
			return again, s.stale(ctx, r, "its next step could not start by "+Stamp(r.StartBy))
		}
		return s.start(ctx, r)
	case StepStarted:
		if wait := r.LeaseBy.Sub(now); wait > 0 {
			return wait, nil // whoever started it may still get its answer
		}
		return again, s.lost(ctx, r.ID, r.Fence, "the program ended before it had the answer")
	default:
		return s.watch(ctx, r, now)
	}
}

func errAccount(r Request) error {
	return Errorf(Forbidden, "%s belongs to another account (%s); this process neither decides nor runs it", r.ID, r.Account)
}

// change runs f on a request of this account in one transaction.
func (s *Service) change(ctx context.Context, id string, f func(context.Context, Tx, time.Time, Request) error) error {
	account, err := s.Account(ctx)
	if err != nil {
		return err
	}
	return s.Ledger.Change(ctx, func(ctx context.Context, tx Tx) error {
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		r, err := tx.Request(ctx, id)
		if err != nil {
			return err
		}
		if r.Account != account {
			return errAccount(r)
		}
		return f(ctx, tx, now, r)
	})
}

// put moves a request by an event and stores it with its record. Where that
// frees the server, those that wait for it are nudged.
func (s *Service) put(ctx context.Context, tx Tx, r Request, e Event, by Actor, detail map[string]string) (Request, error) {
	return s.putAs(ctx, tx, r, e, "", by, detail)
}

// putAs is put for the one event whose state a person names.
func (s *Service) putAs(ctx context.Context, tx Tx, r Request, e Event, to State, by Actor, detail map[string]string) (Request, error) {
	now, err := tx.Now(ctx)
	if err != nil {
		return r, err
	}
	from := r.State
	if err := r.move(e); err != nil {
		return r, err
	}
	if to != "" {
		r.State = to
	}
	if !r.State.Open() {
		r.EndedAt, r.DueAt, r.LeaseBy = now, time.Time{}, time.Time{}
	}
	if detail == nil {
		detail = map[string]string{}
	}
	if r.Why != "" {
		detail["why"] = r.Why
	}
	if r, err = tx.Put(ctx, r, RecordBody{Event: e, By: by, From: from, To: r.State, Detail: detail}); err != nil {
		return r, err
	}
	if r.State.Open() {
		return r, tx.Nudge(ctx, r, r.DueAt)
	}
	others, err := openOn(ctx, tx, r)
	if err != nil {
		return r, err
	}
	for _, o := range others {
		if o.State == StateApproved && o.ID != r.ID {
			if err := tx.Nudge(ctx, o, now); err != nil {
				return r, err
			}
		}
	}
	return r, nil
}

// itself is the actor of what the program does by itself.
var itself = Actor{Subject: "vpsguard", Name: "vpsguard", Vouched: "itself"}

func (s *Service) expire(ctx context.Context, id string) (time.Duration, error) {
	return again, s.change(ctx, id, func(ctx context.Context, tx Tx, now time.Time, r Request) error {
		at := r.At(now)
		if at.State != StateExpired || !r.State.Open() {
			return nil
		}
		r.Why = at.Why
		_, err := s.put(ctx, tx, r, EventExpired, itself, nil)
		return err
	})
}

// stale ends a request that was not sent, because the world is not what was shown.
func (s *Service) stale(ctx context.Context, seen Request, why string) error {
	return s.change(ctx, seen.ID, func(ctx context.Context, tx Tx, _ time.Time, r Request) error {
		if r.Rev != seen.Rev {
			return nil // somebody else moved it; look again
		}
		return s.staleIn(ctx, tx, r, why)
	})
}

func (s *Service) staleIn(ctx context.Context, tx Tx, r Request, why string) error {
	r.Why = why
	if c, ok := r.Copy(); ok {
		r.Why += "; its safety copy, " + c.String() + ", stays"
	}
	_, err := s.put(ctx, tx, r, EventStale, itself, nil)
	return err
}

// start sends the next step of a request, if everything is still as it was shown.
func (s *Service) start(ctx context.Context, r Request) (time.Duration, error) {
	op, ok := s.byName[r.Operation]
	if !ok || op.Plan == nil {
		return again, s.stale(ctx, r, "this version knows no operation "+r.Operation)
	}
	why, err := s.moved(ctx, op, r)
	if err != nil {
		return s.PollEvery, err // reads that fail leave it as it is until its clock ends
	}
	if why != "" {
		return again, s.stale(ctx, r, why)
	}
	begun, wait, err := s.begin(ctx, r)
	if err != nil || wait != 0 {
		return wait, err
	}
	return again, s.send(context.WithoutCancel(ctx), op, begun)
}

// moved plans again with fresh reads, and says what is not as it was shown. An
// error means that it could not be found out.
func (s *Service) moved(ctx context.Context, op Operation, r Request) (string, error) {
	now, err := s.Ledger.Now(ctx)
	if err != nil {
		return "", err
	}
	args, err := ParseArguments(op.Descriptor, r.Arguments)
	if err != nil {
		return "this version takes other arguments: " + Public(err).Message, nil
	}
	plan, err := op.Plan(ctx, PlanInput{Arguments: args, Now: now, Again: &r})
	switch KindOf(err) {
	case "":
	case NotFound, Invalid, Conflict:
		return Public(err).Message, nil
	default:
		return "", err
	}
	plan = plan.sealed(r.Account, op.Descriptor, now)
	if what := r.Plan.differs(plan); what != "" {
		return "it is no longer what was shown: " + what + " changed", nil
	}
	rules, err := s.judge(ctx, Facts{r.Actor, plan, r.Reason, now})
	switch {
	case KindOf(err) == Forbidden:
		return "the rules in force forbid it now: " + Public(err).Message, nil
	case err != nil:
		return "", err
	case rules.stricter(r.Conditions):
		return "the rules in force ask for more than when it was approved", nil
	}
	return "", nil
}

// begin re-checks everything in one transaction and records the start. Only
// then may the step be sent. A wait says that it must not start yet.
func (s *Service) begin(ctx context.Context, seen Request) (begun Request, wait time.Duration, err error) {
	err = s.change(ctx, seen.ID, func(ctx context.Context, tx Tx, now time.Time, r Request) error {
		wait = again
		if r.Rev != seen.Rev || r.At(now).State == StateExpired {
			return nil
		}
		if !r.Conditions.met(r, s.Ways) {
			return s.staleIn(ctx, tx, r, "its approvals do not satisfy what is asked for here")
		}
		others, err := openOn(ctx, tx, r)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(others, func(o Request) bool { return r.blockedBy(o.At(now)) }) {
			wait = s.PollEvery
			return nil
		}
		by, err := overwrittenBy(ctx, tx, r)
		if err != nil {
			return err
		}
		if by != "" {
			return s.staleIn(ctx, tx, r, "the server was overwritten by "+by+" since this was planned")
		}
		head, err := tx.Head(ctx)
		if err != nil {
			return err
		}
		i := r.Current()
		r.Steps = slices.Clone(r.Steps)
		step := &r.Steps[i]
		step.State, step.StartedAt = StepStarted, now
		r.Fence++
		if step.Effect == Overwrite {
			r.Begun = head + 1
		}
		r.LeaseBy = now.Add(2*s.CallTimeout + time.Second)
		r.DueAt = r.LeaseBy
		begun, err = s.put(ctx, tx, r, EventStarted, itself, map[string]string{
			"step": step.Name, "effect": string(step.Effect), "fence": fmt.Sprint(r.Fence),
		})
		wait = 0
		return err
	})
	return begun, wait, err
}

// overwrittenBy names the request that overwrote the server since r was planned.
func overwrittenBy(ctx context.Context, tx Tx, r Request) (string, error) {
	found, _, err := tx.Requests(ctx, Filter{Account: &r.Account, ServerID: r.Plan.Server.ID, BegunAfter: r.Planned})
	if err != nil {
		return "", err
	}
	for _, o := range found {
		if o.ID != r.ID {
			return o.ID, nil
		}
	}
	return "", nil
}

// send sends the step that was begun, once, and records what came back.
func (s *Service) send(ctx context.Context, op Operation, r Request) error {
	i := r.Current()
	answer, err := s.apply(ctx, op, r, i)
	for range 3 { // what cannot be recorded now is found by reading later
		if failed := s.answered(ctx, r.ID, r.Fence, answer, err); KindOf(failed) != Unavailable {
			return failed
		}
	}
	return nil
}

func (s *Service) apply(ctx context.Context, op Operation, r Request, i int) (a Answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.CallTimeout)
	defer cancel()
	// A process that was held up after the record must not act after the lease:
	// by then somebody may have settled the request.
	now, err := s.Ledger.Now(ctx)
	if err != nil || now.Sub(r.Steps[i].StartedAt) > s.CallTimeout {
		return a, Errorf(Unavailable, "the program was held up; nothing was sent").Because(err)
	}
	defer func() {
		if p := recover(); p != nil {
			err = Errorf(Uncertain, "the program failed while it was sending").Because(fmt.Errorf("panic: %v", p))
		}
	}()
	return op.Apply(ctx, Permit{request: r, step: i, ok: true})
}
