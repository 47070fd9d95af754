package policy

import (
	"context"
	"slices"
	"strings"
	"time"
)

// answered records what VPS.org said to a step, if that still matters.
func (s *Service) answered(ctx context.Context, id string, fence int64, a Answer, failure error) error {
	switch KindOf(failure) {
	case "":
	case Invalid, NotFound, Forbidden, Conflict, Unavailable:
		// It was turned away, or never left: it did not happen.
	default:
		return s.lost(ctx, id, fence, Public(failure).Message)
	}
	return s.change(ctx, id, func(ctx context.Context, tx Tx, now time.Time, r Request) error {
		i := r.Current()
		if i == len(r.Steps) || r.Fence != fence || !r.State.Open() || !unanswered(r.Steps[i].State) {
			return tx.Append(ctx, late(id, a, failure))
		}
		if failure != nil {
			return s.failIn(ctx, tx, r, Public(failure).Message)
		}
		r.Steps = slices.Clone(r.Steps)
		step := &r.Steps[i]
		step.AnswerAt, step.Note = now, a.Message
		step.PointID, step.PointName = a.PointID, a.Name
		if a.Done {
			return s.doneIn(ctx, tx, r, now, Sight{View: Finished, Note: a.Message})
		}
		step.State = StepAccepted
		r.DueAt = now.Add(s.PollEvery)
		event := EventAccepted
		if r.State == StateUncertain {
			event = EventObserved
		}
		overwrites := step.Effect == Overwrite
		r, err := s.put(ctx, tx, r, event, itself, step.names(map[string]string{"step": step.Name, "said": a.Message}))
		if err == nil && overwrites {
			err = s.outdate(ctx, tx, r)
		}
		return err
	})
}

// outdate ends what waits on a server that r has overwritten: it was planned,
// and perhaps approved, for data that is gone.
func (s *Service) outdate(ctx context.Context, tx Tx, r Request) error {
	others, err := openOn(ctx, tx, r)
	if err != nil {
		return err
	}
	for _, o := range others {
		if (o.State == StateHeld || o.State == StateApproved) && o.Planned < r.Begun {
			if err := s.staleIn(ctx, tx, o, "the server was overwritten by "+r.ID+" since this was planned"); err != nil {
				return err
			}
		}
	}
	return nil
}

func unanswered(s StepState) bool { return s == StepStarted || s == StepUncertain }

func late(id string, a Answer, failure error) RecordBody {
	said := a.Message
	if failure != nil {
		said = Public(failure).Message
	}
	return RecordBody{Event: EventLate, By: itself, Request: id, Detail: map[string]string{"said": said}}
}

// lost notes that a step's answer will not come. It is never sent again.
func (s *Service) lost(ctx context.Context, id string, fence int64, why string) error {
	return s.change(ctx, id, func(ctx context.Context, tx Tx, now time.Time, r Request) error {
		i := r.Current()
		if i == len(r.Steps) || r.Fence != fence || r.State != StateRunning || r.Steps[i].State != StepStarted {
			return nil
		}
		return s.loseIn(ctx, tx, r, now, "its answer was lost: "+why)
	})
}

// loseIn makes the current step uncertain, and the request too if that step decides.
func (s *Service) loseIn(ctx context.Context, tx Tx, r Request, now time.Time, why string) error {
	i := r.Current()
	r.Steps = slices.Clone(r.Steps)
	step := &r.Steps[i]
	step.State, step.LostAt, step.Note = StepUncertain, now, why
	r.DueAt, r.LeaseBy = now.Add(s.PollEvery), time.Time{}
	event := EventObserved
	if step.decides() {
		event, r.Why = EventLost, why
	}
	if tally := r.tally(true); tally != "" {
		r.Why = tally + ": " + why
	}
	_, err := s.put(ctx, tx, r, event, itself, step.names(map[string]string{"step": step.Name, "lost": why}))
	return err
}

// failIn ends a request whose current step did not happen.
func (s *Service) failIn(ctx context.Context, tx Tx, r Request, why string) error {
	i := r.Current()
	r.Steps = slices.Clone(r.Steps)
	step := &r.Steps[i]
	step.State, step.Note = StepFailed, why
	r.Why = why
	if tally := r.tally(true); tally != "" {
		r.Why = tally + ": " + why
	} else if !step.decides() {
		r.Why = "the safety copy failed, so nothing was overwritten: " + why +
			"; it can be asked for again, also without a safety copy, and then there is no way back"
	} else if c, ok := r.Copy(); ok {
		r.Why += "; its safety copy, " + c.String() + ", stays"
	}
	_, err := s.put(ctx, tx, r, EventFailed, itself, step.names(map[string]string{"step": step.Name}))
	return err
}

// doneIn completes the current step, and the request if it was the last.
func (s *Service) doneIn(ctx context.Context, tx Tx, r Request, now time.Time, sight Sight) error {
	i := r.Current()
	r.Steps = slices.Clone(r.Steps)
	step := &r.Steps[i]
	step.State = StepDone
	if sight.Note != "" {
		step.Note = sight.Note
	}
	if err := s.unmade(ctx, tx, r, i); err != nil {
		return err
	}
	detail := step.names(map[string]string{"step": step.Name, "saw": sight.Note})
	if i < len(r.Steps)-1 {
		event := EventCopied
		if step.decides() {
			event = EventStepped
		}
		if r.State == StateUncertain { // after an uncertainty nothing more is sent
			event = EventFailed
			r.Why = r.tally(true) + "; it stopped because the answer about " + step.about() + " was lost: " + sight.Note
		}
		_, within := s.clocks(r.Conditions)
		r.StartBy, r.DueAt, r.LeaseBy = now.Add(within), now, time.Time{}
		_, err := s.put(ctx, tx, r, event, itself, detail)
		return err
	}
	r.Why, r.Undo = sight.Note, sight.Undo
	if tally := r.tally(true); tally != "" {
		r.Why = tally
	}
	r, err := s.put(ctx, tx, r, EventDone, itself, detail)
	if err == nil && r.Effect == Overwrite {
		err = s.outdate(ctx, tx, r)
	}
	return err
}

// unmade ends what still waits for a recovery point to be complete that a step of r
// has deleted.
func (s *Service) unmade(ctx context.Context, tx Tx, r Request, i int) error {
	if r.Steps[i].Effect != Delete {
		return nil
	}
	gone := r.Steps[i].Point
	if gone == nil {
		gone = r.Plan.Target
	}
	others, err := openOn(ctx, tx, r)
	if err != nil || gone == nil {
		return err
	}
	for _, o := range others {
		if o.Effect != Create || !o.Decided() {
			continue
		}
		making := o.Steps[o.Current()]
		if making.PointID == 0 || !gone.Is(Point{Kind: making.Makes, ID: making.PointID}) {
			continue
		}
		if err := s.failIn(ctx, tx, o, gone.short()+" was deleted by "+r.ID+" before it was complete"); err != nil {
			return err
		}
	}
	return nil
}

// watch looks at a step that was sent, and draws the conclusion.
func (s *Service) watch(ctx context.Context, r Request, now time.Time) (time.Duration, error) {
	if wait := s.tooSoon(r, now); wait > 0 {
		return wait, nil
	}
	op, ok := s.byName[r.Operation]
	if !ok || op.Look == nil {
		return 0, Errorf(Internal, "this version cannot watch %s", r.Operation)
	}
	step := r.Steps[r.Current()]
	var next time.Duration
	sight, failure := op.Look(ctx, Permit{request: r, step: r.Current(), ok: true})
	if failure != nil { // reading tells nothing now; the deadlines go on
		sight = Sight{View: Pending}
	}
	if step.State == StepUncertain && step.Effect == Overwrite && now.Sub(step.StartedAt) > evidenceWithin {
		sight.Seen = false // by now it may be another's
	}
	err := s.change(ctx, r.ID, func(ctx context.Context, tx Tx, now time.Time, fresh Request) error {
		if fresh.Rev != r.Rev {
			next = again
			return nil
		}
		var err error
		next, err = s.conclude(ctx, tx, fresh, now, learned(fresh.Steps[fresh.Current()], sight), sight)
		return err
	})
	if err == nil && failure != nil {
		err = failure
	}
	return next, err
}

// learned gives the step with what a look added to it.
func learned(step Step, sight Sight) Step {
	step.Seen = step.Seen || sight.Seen
	if step.PointID == 0 && sight.PointID != 0 {
		step.PointID, step.PointName = sight.PointID, sight.Name
		if step.State == StepUncertain {
			step.State = StepAccepted // the new one carries our mark: it happened
		}
	}
	if sight.Seen && step.State == StepUncertain {
		step.State = StepAccepted
	}
	return step
}

// conclude decides what a sight means for the current step.
func (s *Service) conclude(ctx context.Context, tx Tx, r Request, now time.Time, step Step, sight Sight) (time.Duration, error) {
	i := r.Current()
	if step.State == StepUncertain && sight.View == Absent && sight.Note != "" && now.Sub(step.LostAt) >= s.SettleWithin {
		step.Note = sight.Note // for whoever has to settle it
	}
	news := step != r.Steps[i]
	r.Steps = slices.Clone(r.Steps)
	r.Steps[i] = step
	late := now.Sub(step.StartedAt) >= step.Within
	// No sign of a create proves, after a while, that it did not happen. A delete
	// may be late, and an overwrite leaves no sign.
	gone := step.State == StepUncertain && step.Effect == Create && now.Sub(step.LostAt) >= s.SettleWithin
	switch {
	case sight.View == Finished, sight.View == Unwatchable && step.State == StepAccepted:
		return again, s.doneIn(ctx, tx, r, now, sight)
	case sight.View == Broken:
		return again, s.failIn(ctx, tx, r, sight.Note)
	case sight.View == Absent && gone:
		return again, s.failIn(ctx, tx, r, strings.TrimSpace("its answer was lost, and no sign of it was found. "+sight.Note))
	case late && step.Effect == Overwrite && r.State == StateRunning:
		return again, s.loseIn(ctx, tx, r, now, "it was accepted, but was not seen to end within "+Span(step.Within))
	case late && step.Effect == Create && step.State == StepAccepted:
		return again, s.failIn(ctx, tx, r, strings.TrimSpace("it was accepted, but was not complete after "+Span(step.Within)+". "+sight.Note))
	case news:
		r.DueAt = now.Add(s.PollEvery)
		_, err := s.put(ctx, tx, r, EventObserved, itself, step.names(map[string]string{"step": step.Name, "saw": sight.Note}))
		return s.PollEvery, err
	case r.State == StateUncertain && late:
		return max(s.PollEvery, rarely), nil
	}
	return s.PollEvery, nil
}

// evidenceWithin is how long after its start a restore whose answer was lost is
// taken for the one that makes the server restore; VPS.org needs at least five
// minutes for one, and refuses another meanwhile.
const evidenceWithin = 5 * time.Minute

// rarely is how often an old uncertain request is looked at.
const rarely = 5 * time.Minute

// tooSoon keeps one process from looking at one step more often than needed,
// however many nudges there are.
func (s *Service) tooSoon(r Request, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	step, every := r.Steps[r.Current()], s.PollEvery
	if r.State == StateUncertain && now.Sub(step.StartedAt) >= step.Within {
		every = max(every, rarely)
	}
	// A look right after the answer could see the time before it.
	last := s.looked[r.ID]
	for _, t := range []time.Time{step.AnswerAt, step.LostAt} {
		if t.After(last) {
			last = t
		}
	}
	if wait := every - now.Sub(last); wait > 0 && wait <= every {
		return wait
	}
	s.looked[r.ID] = now
	return 0
}

func (s *Service) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.looked, id)
}
