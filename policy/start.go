package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// stale ends a request that was not sent, or not to its end, because the world is
// not what was shown.
func (s *Service) stale(ctx context.Context, seen Request, why string) error {
	return s.change(ctx, seen.ID, func(ctx context.Context, tx Tx, _ time.Time, r Request) error {
		if r.Rev != seen.Rev {
			return nil // somebody else moved it; look again
		}
		return s.staleIn(ctx, tx, r, why)
	})
}

func (s *Service) staleIn(ctx context.Context, tx Tx, r Request, why string) error {
	event, detail := EventStale, map[string]string(nil)
	r.Why = why
	if r.Decided() { // some of several targets are gone: that is not to have done nothing
		next := r.Steps[r.Current()]
		event, detail = EventFailed, next.names(map[string]string{"step": next.Name})
		r.Why = r.tally(true) + "; it stopped before " + next.about() + ": " + why
	}
	if c, ok := r.Copy(); ok {
		r.Why += "; its safety copy, " + c.String() + ", stays"
	}
	_, err := s.put(ctx, tx, r, event, itself, detail)
	return err
}

// start sends the next step of a request, if everything is still as it was shown.
func (s *Service) start(ctx context.Context, r Request) (time.Duration, error) {
	op, ok := s.byName[r.Operation]
	if !ok || op.Plan == nil {
		return again, s.stale(ctx, r, "this version knows no operation "+r.Operation)
	}
	head, err := s.Ledger.Head(ctx) // before anything is read
	if err != nil {
		return s.PollEvery, err
	}
	why, err := s.moved(ctx, op, r)
	if err != nil {
		return s.PollEvery, err // reads that fail leave it as it is until its clock ends
	}
	if why == "" && !r.Decided() {
		if why, err = s.gone(ctx, r); err != nil {
			return s.PollEvery, err
		}
	}
	if why != "" {
		return again, s.stale(ctx, r, why)
	}
	begun, wait, err := s.begin(ctx, r, head)
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
	rules, err := s.judge(ctx, Facts{op.Descriptor, r.Actor, plan, r.Reason, now})
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
// then may the step be sent. A wait says that it must not start yet. read is the
// audit's head from before the plan was made again: what another request has
// begun to destroy since then, that plan has not seen.
func (s *Service) begin(ctx context.Context, seen Request, read int64) (begun Request, wait time.Duration, err error) {
	err = s.change(ctx, seen.ID, func(ctx context.Context, tx Tx, now time.Time, r Request) error {
		wait = again
		if r.Rev != seen.Rev || r.At(now).State == StateExpired {
			return nil
		}
		if r.State == StateRunning && !now.Before(r.StartBy) {
			return nil
		}
		if now.Before(r.NotBefore) {
			wait = r.NotBefore.Sub(now)
			return nil
		}
		if !s.met(r, r.Conditions.Ways) {
			return s.staleIn(ctx, tx, r, "its approvals do not satisfy what is asked for")
		}
		if !s.met(r, s.Ways) { // another process takes them, or nobody does
			wait = s.PollEvery
			return nil
		}
		others, err := openOn(ctx, tx, r)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(others, func(o Request) bool { return r.blockedBy(o.At(now), now) }); i >= 0 {
			if r.Decided() { // between several targets nothing is waited for
				return s.staleIn(ctx, tx, r, "it would have to wait for "+others[i].ID)
			}
			wait = s.PollEvery
			return nil
		}
		by, since, err := begunOn(ctx, tx, r, read)
		if err != nil || since {
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
		if step.Effect.Destroys() {
			r.Begun = head + 1
		}
		r.LeaseBy = now.Add(2*s.CallTimeout + time.Second)
		r.DueAt = r.LeaseBy
		begun, err = s.put(ctx, tx, r, EventStarted, itself, step.names(map[string]string{
			"step": step.Name, "effect": string(step.Effect), "fence": fmt.Sprint(r.Fence),
		}))
		wait = 0
		return err
	})
	return begun, wait, err
}

// begunOn looks for what was begun on the server: by names the request that has
// overwritten it since r was planned; since tells whether anything there began
// to be destroyed after a record.
func begunOn(ctx context.Context, tx Tx, r Request, after int64) (by string, since bool, err error) {
	found, err := all(ctx, tx, Filter{ServerID: r.Plan.Server.ID, BegunAfter: min(r.Planned, after), NoTotal: true})
	for _, o := range found {
		if o.ID == r.ID || !o.Account.sees(r.Account) || o.Begun <= min(r.Planned, after) {
			continue
		}
		since = since || o.Begun > after
		if o.Effect == Overwrite && o.Begun > r.Planned && o.Steps[len(o.Steps)-1].State != StepFailed {
			by = o.ID
		}
	}
	return by, since, err
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
			err = Errorf(Uncertain, "the program failed while it was sending").Because(errors.New("panic: " + PanicText(p)))
		}
	}()
	return op.Apply(ctx, Permit{request: r, step: i, ok: true})
}
