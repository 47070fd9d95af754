package policy

import (
	"context"
	"slices"
	"time"
)

// Decide adds a person's agreement to a held request. When enough people have
// agreed, it may start. What was refused is recorded too.
func (s *Service) Decide(ctx context.Context, id string, v Verdict) (Request, error) {
	if err := s.over(ctx, id); err != nil {
		return Request{}, s.refused(ctx, id, v, err)
	}
	among, err := s.asked(ctx, id)
	if err != nil {
		return Request{}, err
	}
	assurance, as, err := s.prove(ctx, v, s.Ways, among)
	if KindOf(err) == Unavailable { // somebody else may have decided while this was asked
		if over := s.over(ctx, id); over != nil {
			err = over
		}
	}
	if err != nil {
		return Request{}, s.refused(ctx, id, v, err)
	}
	var r Request
	var late error
	err = s.change(ctx, id, func(ctx context.Context, tx Tx, now time.Time, held Request) error {
		r, err = s.agree(ctx, held, v, assurance, as, now)
		if at := r.At(now); KindOf(err) == Expired && held.State == StateHeld { // by now, as the rules are now
			late, at.State = err, held.State
			_, err = s.put(ctx, tx, at, EventExpired, itself, nil)
			return err
		}
		if err != nil {
			return err
		}
		event := EventSupported
		if s.met(r, s.Ways) {
			event = EventApproved
			_, within := s.clocks(r.Conditions)
			r.NotBefore = now.Add(r.Conditions.Delay)
			r.StartBy, r.DueAt = r.NotBefore.Add(within), r.NotBefore
		}
		r, err = s.put(ctx, tx, r, event, v.By, v.detail(assurance))
		return err
	})
	if err == nil {
		err = late
	}
	if err != nil {
		return Request{}, s.refused(ctx, id, v, err)
	}
	return r, nil
}

// over says why a request cannot be decided any more, before anybody is asked who may
// decide: that is true whoever they are. What cannot be read is found out later.
func (s *Service) over(ctx context.Context, id string) error {
	r, err := s.Ledger.Request(ctx, id)
	now, noClock := s.Ledger.Now(ctx)
	if err == nil && noClock == nil && r.At(now).State != StateHeld {
		return closed(r.At(now))
	}
	return nil
}

// agree checks everything about one agreement but who gave it, and adds it.
func (s *Service) agree(ctx context.Context, r Request, v Verdict, a Assurance, as []string, now time.Time) (Request, error) {
	if r.At(now).State != StateHeld {
		return r, closed(r.At(now))
	}
	plan := r.Plan
	switch {
	case !slices.Contains(r.Conditions.Ways, v.Way):
		return r, Errorf(Forbidden, "%s was filed to be confirmed by %s, not this way", r.ID, says(r.Conditions.Ways))
	case v.Digest != plan.Digest:
		return r, Errorf(Stale, "what you were shown is not what %s would do now", r.ID).WithHint("Look at it again.")
	case plan.MustType(v.Way) && v.Typed != plan.Server.Typed():
		return r, Errorf(Invalid, "%q is not what was asked for; nothing was approved", Clean(v.Typed, 64)).
			WithHint("Type %s, exactly.", plan.Server.Typed())
	case slices.ContainsFunc(r.Approvals, func(old Approval) bool { return old.By.Key() == v.By.Key() }):
		return r, Errorf(Conflict, "you have approved %s already; it takes %d people", r.ID, r.Conditions.Approvals)
	}
	current, err := s.judge(ctx, Facts{s.byName[r.Operation].Descriptor, r.Actor, plan, r.Reason, now})
	if err != nil {
		return r, err
	}
	r.Conditions = r.Conditions.Tightened(current)
	if within, _ := s.clocks(r.Conditions); r.FiledAt.Add(within).Before(r.ApproveBy) {
		r.ApproveBy = r.FiledAt.Add(within)
	}
	if r.At(now).State != StateHeld {
		return r, closed(r.At(now))
	}
	if err := s.mayApprove(r, v.By, as); err != nil {
		return r, err
	}
	given := v.approval(a, now)
	given.As, given.Person = as, s.identify(v.By, "").person
	r.Approvals = append(slices.Clone(r.Approvals), given)
	return r, nil
}

// asked gives the approvers that rules name for a request, as stored and as they
// are now: who somebody is among them is read before the decision.
func (s *Service) asked(ctx context.Context, id string) ([][]string, error) {
	r, err := s.Ledger.Request(ctx, id)
	if err != nil {
		return nil, err
	}
	c := r.Conditions
	if now, err := s.Ledger.Now(ctx); err == nil && s.Judge != nil {
		if current, err := s.ruled(ctx, Facts{s.byName[r.Operation].Descriptor, r.Actor, r.Plan, r.Reason, now}); err == nil {
			c = c.Tightened(current)
		}
	}
	return c.Approvers, nil
}

// Deny ends a held request: one person's no is enough. In Slack that is an
// approver's; at the terminal it takes no passphrase.
func (s *Service) Deny(ctx context.Context, id string, v Verdict) (Request, error) {
	err := s.mayDecide(v)
	switch {
	case err != nil || v.Way == WayTerminal:
	case v.Way == WayElicitation: // a client that declines may have shown no prompt
		err = errNobody()
	default:
		_, err = s.vouch(ctx, v.Way, v.By, nil)
	}
	if err != nil {
		return Request{}, s.refused(ctx, id, v, err)
	}
	var r Request
	err = s.change(ctx, id, func(ctx context.Context, tx Tx, now time.Time, held Request) (err error) {
		if held.At(now).State != StateHeld {
			return closed(held.At(now))
		}
		a := v.approval(AssuranceNone, now)
		held.Denial, held.Why = &a, "denied by "+v.By.String()
		if a.Note != "" {
			held.Why += ": " + a.Note
		}
		r, err = s.put(ctx, tx, held, EventDenied, v.By, v.detail(AssuranceNone))
		return err
	})
	if err != nil {
		return Request{}, s.refused(ctx, id, v, err)
	}
	return r, nil
}

// Cancel withdraws a request whose deciding step has not started: for its
// requester, for an approver in Slack, or for somebody at the host's terminal.
// Cancelling twice is fine.
func (s *Service) Cancel(ctx context.Context, id string, by Actor) (Request, error) {
	switch {
	case s.ReadOnly:
		return Request{}, ErrReadOnly()
	case !by.Operates():
		return Request{}, errReader()
	}
	may := by.Door == DoorTerminal
	var doubt error // why an approver could not be told from others
	if by.Door == DoorSlack && slices.Contains(s.Ways, WaySlack) {
		_, doubt = s.vouch(ctx, WaySlack, by, nil)
		may = doubt == nil
	}
	var r Request
	err := s.change(ctx, id, func(ctx context.Context, tx Tx, now time.Time, old Request) (err error) {
		switch at := old.At(now); {
		case by.Key() != old.Actor.Key() && KindOf(doubt) == Unavailable:
			return doubt
		case by.Key() != old.Actor.Key() && !may:
			return Errorf(Forbidden, "%s was asked for by %s; only they or an approver can withdraw it", id, old.Actor)
		case at.State == StateCancelled:
			r = old
			return nil
		case at.State.Open() && at.State != StateUncertain && old.Decided():
			return Errorf(Conflict, "%s has started; it cannot be withdrawn any more", id)
		case !at.State.Open() || at.State == StateUncertain:
			return closed(at)
		}
		old.Why = "withdrawn by " + by.String()
		if c, ok := old.Copy(); ok {
			old.Why += "; its safety copy, " + c.String() + ", stays"
		}
		r, err = s.put(ctx, tx, old, EventCancelled, by, nil)
		return err
	})
	return r, err
}

// MaySettle tells why a request cannot be settled here, before anybody is asked.
func (s *Service) MaySettle(ctx context.Context, r Request) error {
	ours, err := s.Account(ctx)
	if err != nil {
		return err
	}
	now, err := s.Ledger.Now(ctx)
	if err != nil {
		return err
	}
	return r.maySettle(ours, now)
}

// maySettle lets what is uncertain be settled, and what is left running for an account
// that this one was called before, as it may be: its owner's e-mail address is all
// that an account has, and whoever has another does not follow it.
func (r Request) maySettle(ours Account, now time.Time) error {
	switch {
	case !r.Account.sees(ours):
		return errAccount(r, ours)
	case r.State == StateUncertain, r.Account != ours && r.left(now):
		return nil
	case r.Account != ours && r.State == StateRunning:
		return Errorf(Conflict, "%s is running for another account (%s); it can be settled when the time of its step is over", r.ID, r.Account)
	}
	return Errorf(Conflict, "%s is %s; only an uncertain request can be settled", r.ID, r.At(now).State)
}

// Settle records what a person says of an uncertain request, or of the uncertain one
// of several targets: [StateDone] or [StateFailed]. It sends nothing, so a request of
// which other targets are left ends as failed, and says how many. It is said at the
// terminal, with the passphrase, whatever confirms.
func (s *Service) Settle(ctx context.Context, id string, v Verdict, to State) (Request, error) {
	if to != StateDone && to != StateFailed {
		return Request{}, Errorf(Invalid, "a request is settled as done or as failed, not as %q", Clean(string(to), 20))
	}
	assurance, _, err := s.prove(ctx, v, settles, nil)
	if err != nil {
		return Request{}, s.refused(ctx, id, v, err)
	}
	var r Request
	err = s.changeOf(ctx, id, Account.sees, func(ctx context.Context, tx Tx, now time.Time, old Request, ours Account) (err error) {
		if err := old.maySettle(ours, now); err != nil {
			return err
		}
		if old.State == StateRunning {
			old.Why = "nobody follows it: it belongs to " + old.Account.String() + ", and vpsguard works for " + ours.String()
			if old, err = s.put(ctx, tx, old, EventLost, itself, map[string]string{"lost": old.Why}); err != nil {
				return err
			}
		}
		switch {
		case to == StateDone && !old.Steps[old.Current()].decides():
			return Errorf(Conflict, "what %s is about was never sent; it can only be settled as failed", id)
		case v.Digest != old.Plan.Digest:
			return Errorf(Stale, "what you were shown is not %s", id).WithHint("Look at it again.")
		}
		old.Why = "settled as " + string(to) + " by " + v.By.String()
		if note := Clean(v.Note, 500); note != "" {
			old.Why += ": " + note
		}
		i := old.Current()
		old.Steps = slices.Clone(old.Steps)
		old.Steps[i].State = map[State]StepState{StateDone: StepDone, StateFailed: StepFailed}[to]
		detail := v.detail(assurance)
		old.Steps[i].names(detail)
		detail["as"] = string(to)
		if to == StateDone {
			if err := s.unmade(ctx, tx, old, i); err != nil {
				return err
			}
		}
		ends := to
		if old.Current() < len(old.Steps) { // the rest of several is never sent
			ends = StateFailed
		}
		if tally := old.tally(true); tally != "" {
			old.Why += "; " + tally
		}
		r, err = s.putAs(ctx, tx, old, EventSettled, ends, v.By, detail)
		if err == nil && to == StateDone && r.Effect == Overwrite {
			err = s.outdate(ctx, tx, r)
		}
		return err
	})
	return r, err
}

// Closed says truly why a request cannot be decided any more, for doors that need
// not ask who wants to; nil where it still can.
func Closed(st Standing) error {
	if st.Request.State == StateHeld {
		return nil
	}
	return closed(st.Request)
}

// closed says truly why a request cannot be decided.
func closed(r Request) error {
	switch r.State {
	case StateExpired:
		return Errorf(Expired, "%s expired on %s: %s", r.ID, Stamp(r.EndedAt), r.Why).WithHint("It can be asked for again.")
	case StateStale:
		return Errorf(Stale, "%s is stale: %s", r.ID, r.Why).WithHint("It can be asked for again.")
	case StateApproved, StateRunning, StateDone, StateFailed, StateUncertain:
		by := "at once, since nothing is destroyed"
		if n := len(r.Approvals); n > 0 {
			last := r.Approvals[n-1]
			by = "by " + last.By.String() + " on " + Stamp(last.At)
		}
		return Errorf(Conflict, "%s was approved already, %s; it is %s", r.ID, by, r.State)
	default:
		return Errorf(Conflict, "%s is %s: %s", r.ID, r.State, r.Why)
	}
}

func says(ways []Way) string {
	out := ""
	for i, w := range ways {
		if i > 0 {
			out += " or "
		}
		out += w.Says()
	}
	return out
}

// ErrReadOnly refuses what a read-only process does not do.
func ErrReadOnly() error {
	return Errorf(Forbidden, "this vpsguard is read-only; it decides and runs nothing").WithHint("Use one that is not.")
}

func (v Verdict) approval(a Assurance, now time.Time) Approval {
	by := v.By
	by.Name = Clean(by.Name, 80)
	return Approval{By: by, Way: v.Way, Assurance: a, Digest: v.Digest, Note: Clean(v.Note, 500), Proof: v.Proof, At: now}
}

func (v Verdict) detail(a Assurance) map[string]string {
	d := map[string]string{"way": string(v.Way), "assurance": string(a), "shown": v.Digest, "note": Clean(v.Note, 500)}
	v.proves(d)
	return d
}

// proves adds what the door has as proof to a record's detail.
func (v Verdict) proves(detail map[string]string) {
	for k, p := range v.Proof {
		detail["proof_"+k] = p
	}
}

// refused records that a decision was refused, and gives the reason back. A
// record that cannot be written takes nothing away from the refusal.
func (s *Service) refused(ctx context.Context, id string, v Verdict, why error) error {
	e := Public(why)
	_ = s.Ledger.Change(ctx, func(ctx context.Context, tx Tx) error {
		if _, err := tx.Request(ctx, id); err != nil {
			return err
		}
		detail := map[string]string{"way": string(v.Way), "kind": string(e.Kind), "why": e.Message}
		v.proves(detail)
		return tx.Append(ctx, RecordBody{Event: EventRefused, By: v.By, Request: id, Digest: v.Digest, Detail: detail})
	})
	return why
}
