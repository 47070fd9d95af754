package policy

import (
	"context"
	"slices"
	"strings"
	"time"
)

// file plans a call and makes it a request, or finds the open one that it repeats.
func (s *Service) file(ctx context.Context, op Operation, c Call, args Arguments) (r Request, again bool, err error) {
	account, err := s.Account(ctx)
	if err != nil {
		return r, false, err
	}
	planned, err := s.Ledger.Head(ctx)
	if err != nil {
		return r, false, err
	}
	plan, impossible := op.Plan(ctx, PlanInput{Arguments: args, Now: c.At})
	if plan.Server.ID == 0 && impossible != nil {
		return r, false, impossible
	}
	plan = plan.sealed(account, op.Descriptor, c.At)
	r = Request{
		Actor: c.Actor, Person: s.identify(c.Actor, "").person, Account: account, Operation: op.Name, Effect: op.Effect, Arguments: c.Arguments,
		Reason: args.Text("reason"), Place: c.Place, Plan: plan, Planned: planned, Mark: s.random(8),
		Purpose: plan.purpose(true), Aim: plan.purpose(false),
	}
	// A call that repeats an open request is told how that one stands, even
	// where the request itself is why it could not be asked for now.
	if old, ok, err := repeated(ctx, s.Ledger, r, c.At); err != nil || ok {
		return old, true, err
	}
	if impossible != nil {
		return r, false, impossible
	}
	if n := len(plan.Targets); n > 0 && (n != len(plan.Steps) || plan.Effect != Delete || plan.Target != nil) {
		return r, false, Errorf(Internal, "%s planned %d targets in %d steps", op.Name, n, len(plan.Steps))
	}
	r.Conditions, err = s.conditions(ctx, Facts{op.Descriptor, c.Actor, plan, r.Reason, c.At})
	if err != nil {
		return r, false, err
	}
	if len(r.Arguments) == 0 {
		r.Arguments = []byte("{}")
	}
	r.Actor.Name, r.Actor.Client = Clean(r.Actor.Name, 80), Clean(r.Actor.Client, 40)
	for _, p := range plan.Steps {
		r.Steps = append(r.Steps, Step{StepPlan: p, State: StepWaiting})
	}
	err = s.Ledger.Change(ctx, func(ctx context.Context, tx Tx) error {
		r, again, err = s.fileIn(ctx, tx, r)
		return err
	})
	return r, again, err
}

// judge gives the strictest of the floor and the rules, and what counts here; whether
// anything does is for who files, as another process may be the one that decides and runs.
func (s *Service) judge(ctx context.Context, f Facts) (Conditions, error) {
	c := floor(f.Plan.Effect)
	if s.Judge != nil {
		rules, err := s.ruled(ctx, f)
		if err != nil {
			return c, err
		}
		c = c.Tightened(rules)
	}
	switch {
	case c.Refused != "":
		return c, Errorf(Forbidden, "%s", c.Refused)
	case c.SafetyCopy && f.Plan.Effect == Overwrite && f.Plan.SafetyCopy == NoCopy:
		return c, Errorf(Forbidden, "the rules want a safety copy before this: %s", strings.Join(c.Asked(), "; ")).
			WithHint("Ask again with one.")
	case c.Approvals > 0:
		c.Ways = slices.Clone(s.Ways)
	}
	return c, nil
}

// conditions are those under which something may be asked for, with the ways by
// which somebody could agree to it.
func (s *Service) conditions(ctx context.Context, f Facts) (Conditions, error) {
	c, err := s.judge(ctx, f)
	if err == nil && c.Approvals > 0 {
		if c.Ways = c.by(f.Actor); len(c.reached(c.Ways)) == 0 {
			err = errNoWay()
		}
	}
	return c, err
}

func errNoWay() error {
	return Errorf(Forbidden, "this vpsguard is set up so that nobody can confirm this; it cannot be asked for").
		WithHint("The operator can name a way to confirm in VPSGUARD_CONFIRM.")
}

// fileIn puts the request, unless it repeats one or may not be asked now.
func (s *Service) fileIn(ctx context.Context, tx Tx, r Request) (Request, bool, error) {
	now, err := tx.Now(ctx)
	if err != nil {
		return r, false, err
	}
	if old, ok, err := repeated(ctx, tx, r, now); err != nil || ok {
		return old, true, err
	}
	if err := mayAsk(ctx, tx, r, now); err != nil {
		return r, false, err
	}
	for range 5 { // an id that is taken is drawn again
		r.ID = "rq_" + s.random(6)
		if _, err = tx.Request(ctx, r.ID); err != nil {
			break
		}
	}
	if KindOf(err) != NotFound {
		return r, false, err
	}
	r.FiledAt = now
	event := EventHeld
	approve, start := s.clocks(r.Conditions)
	if r.Conditions.Approvals == 0 {
		event = EventAllowed
		r.StartBy, r.DueAt = now.Add(start), now
	} else {
		r.ApproveBy = now.Add(approve)
		r.DueAt = r.ApproveBy
	}
	if err := r.move(event); err != nil {
		return r, false, err
	}
	detail := map[string]string{
		"operation": r.Operation, "plan": r.Plan.Summary, "reason": r.Reason, "account": r.Account.String(),
		"rules": strings.Join(r.Conditions.Rules, "; "), "rules_hash": r.Conditions.Hash,
	}
	if len(r.Plan.Targets) > 0 {
		detail["targets"] = r.Plan.named()
	}
	r, err = tx.Put(ctx, r, RecordBody{Event: event, By: r.Actor, To: r.State, Detail: detail})
	if err != nil {
		return r, false, err
	}
	if err := tell(ctx, tx, r, ""); err != nil {
		return r, false, err
	}
	return r, false, nudgeSoon(ctx, tx, r, now)
}

// repeated finds the request that a call repeats: one that is still open, or a
// create that ended within two minutes.
func repeated(ctx context.Context, from Reader, r Request, now time.Time) (Request, bool, error) {
	f := Filter{Account: &r.Account, Actor: r.Actor.Key(), Purpose: r.Purpose, States: OpenStates(), Limit: 20}
	found, _, err := from.Requests(ctx, f)
	if err == nil && r.Effect == Create {
		var ended []Request
		f.States, f.EndedAfter = []State{StateDone}, now.Add(-repeatWithin)
		ended, _, err = from.Requests(ctx, f)
		found = append(found, ended...)
	}
	if err != nil {
		return r, false, err
	}
	for _, old := range found {
		if o := old.At(now); o.State.Open() || o.State == StateDone {
			return o, true, nil
		}
	}
	return r, false, nil
}

// Limits on asking, so that neither people nor the ledger are worn down.
const (
	repeatWithin = 2 * time.Minute  // a create that ended is not made again
	denialHolds  = 10 * time.Minute // after a denial, no model asks again
	filedWithin  = 10 * time.Minute // what counts as lately
	maxWait      = 50 * time.Second // of one call; clients give up at 60 s
)

// limits are how much one actor may have open, and file lately.
type limits struct{ held, creates, lately int }

var (
	ofPrograms = limits{held: 5, creates: 10, lately: 40}
	ofPeople   = limits{held: 25, creates: 25, lately: 200}
)

func mayAsk(ctx context.Context, tx Tx, r Request, now time.Time) error {
	most := ofPeople
	if r.Actor.Door == DoorMCP {
		most = ofPrograms
	}
	if r.Actor.Door == DoorMCP || r.Actor.ByMessage {
		if err := denied(ctx, tx, r, now); err != nil {
			return err
		}
	}
	open, err := all(ctx, tx, Filter{Account: &r.Account, Actor: r.Actor.Key(), States: OpenStates(), NoTotal: true})
	if err != nil {
		return err
	}
	held, creates := 0, 0
	for _, o := range open {
		switch o = o.At(now); {
		case o.State == StateHeld:
			held++
		case o.State.Open() && o.Effect == Create:
			creates++
		}
	}
	waits := r.Conditions.Approvals > 0
	switch {
	case waits && held >= most.held:
		return Errorf(Conflict, "%d of your requests wait for confirmation already; that is the most", held).
			WithHint("Wait for a decision, or withdraw one.")
	case !waits && creates >= most.creates:
		return Errorf(Conflict, "%d of your creates are under way already; that is the most", creates).
			WithHint("Wait until one is complete.")
	}
	latest, _, err := tx.Requests(ctx, Filter{Account: &r.Account, Actor: r.Actor.Key(), Limit: most.lately, NoTotal: true})
	if err != nil || len(latest) < most.lately {
		return err
	}
	if first := latest[len(latest)-1].FiledAt; now.Sub(first) < filedWithin {
		return Errorf(Conflict, "you have filed %d requests within %s; that is the most", most.lately, Span(filedWithin)).
			WithHint("The next is taken %s.", Ago(first.Add(filedWithin), now))
	}
	return nil
}

// denied refuses a program what a person has denied lately, whoever asked then.
func denied(ctx context.Context, tx Tx, r Request, now time.Time) error {
	found, _, err := tx.Requests(ctx, Filter{
		Account: &r.Account, Aim: r.Aim, States: []State{StateDenied}, EndedAfter: now.Add(-denialHolds), Limit: 1, NoTotal: true,
	})
	what := "exactly this"
	if err == nil && len(found) == 0 && r.Effect == Delete { // nor among others, nor one of several
		found, err = all(ctx, tx, Filter{
			Account: &r.Account, ServerID: r.Plan.Server.ID, States: []State{StateDenied}, EndedAfter: now.Add(-denialHolds), NoTotal: true,
		})
		found = slices.DeleteFunc(found, func(o Request) bool { return !o.deletes(r.Plan.points()) })
		what = "to delete something of this"
	}
	if err != nil || len(found) == 0 {
		return err
	}
	hint := "Tell your user that it was denied, and stop here."
	if r.Actor.ByMessage {
		hint = "A message may be a program's; a person can ask again with a command."
	}
	until := found[0].EndedAt.Add(denialHolds)
	return Errorf(Forbidden, "a person denied %s %s (%s); it cannot be asked again by a program until %s",
		what, Ago(found[0].EndedAt, now), found[0].ID, Stamp(until)).WithHint("%s", hint)
}

func (s *Service) random(n int) string {
	b := make([]byte, n)
	s.Random(b)
	return NewID(b)
}
