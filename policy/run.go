package policy

import (
	"context"
	"errors"
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
		return 0, ErrReadOnly()
	}
	if !s.enter(id) {
		return s.PollEvery, nil // this process is at it
	}
	defer s.leave(id)
	for range 40 { // more than any request has steps
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
// nudged, and what a process that died left behind. The first that succeeds looks at
// all. It returns how many there were.
func (s *Service) Sweep(ctx context.Context) (int, error) {
	account, err := s.Account(ctx)
	if err != nil {
		return 0, err
	}
	now, err := s.Ledger.Now(ctx)
	if err != nil {
		return 0, err
	}
	f := Filter{Account: &account, States: OpenStates(), DueBy: now, NoTotal: true}
	if !s.swept.Load() { // a clock that was ahead may have put them off for a year
		f.DueBy = time.Time{}
	}
	due, err := all(ctx, s.Ledger, f)
	if err != nil {
		return 0, err
	}
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		errs []error
		slot = make(chan struct{}, 4)
	)
	for _, r := range slices.Backward(due) { // the oldest first
		slot <- struct{}{}
		all.Go(func() {
			defer func() { <-slot }()
			if err := s.safely(ctx, r.ID); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	all.Wait()
	if len(errs) == 0 {
		s.swept.Store(true)
	}
	return len(due), errors.Join(errs...)
}

// safely keeps a panic about one request from ending the others' sweep.
func (s *Service) safely(ctx context.Context, id string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = Errorf(Internal, "advancing %s failed", id).Because(errors.New("panic: " + PanicText(p)))
		}
	}()
	_, err = s.Advance(ctx, id)
	return err
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
		return 0, errAccount(r, account)
	}
	switch at := r.At(now); at.State {
	case StateExpired:
		return s.expire(ctx, id)
	case StateHeld:
		return r.ApproveBy.Sub(now), nil
	case StateApproved:
		if wait := r.NotBefore.Sub(now); wait > 0 {
			return wait, nil // a rule lets people call it back
		}
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
		if wait := r.Leased(now); wait > 0 {
			return wait, nil // whoever started it may still get its answer
		}
		return again, s.lost(ctx, r.ID, r.Fence, "the program ended before it had the answer")
	default:
		return s.watch(ctx, r, now)
	}
}

func errAccount(r Request, ours Account) error {
	e := Errorf(Forbidden, "%s belongs to another account (%s); this process neither decides nor runs it", r.ID, r.Account)
	if r.Account.sees(ours) {
		return e.WithHint("This one works for %s. Where that is the same account by another e-mail address, start all of vpsguard anew, ask again for what is wanted, and settle what was under way.", ours)
	}
	return e.WithHint("Use the API token of that account.")
}

// change runs f on a request of this account in one transaction.
func (s *Service) change(ctx context.Context, id string, f func(context.Context, Tx, time.Time, Request) error) error {
	return s.changeOf(ctx, id, func(a, ours Account) bool { return a == ours }, func(ctx context.Context, tx Tx, now time.Time, r Request, _ Account) error {
		return f(ctx, tx, now, r)
	})
}

// changeOf runs f on a request of an account that may be one's business in one
// transaction, and tells it whose account this process works on.
func (s *Service) changeOf(ctx context.Context, id string, mine func(a, ours Account) bool, f func(context.Context, Tx, time.Time, Request, Account) error) error {
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
		if !mine(r.Account, account) {
			return errAccount(r, account)
		}
		return f(ctx, tx, now, r, account)
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
	if err := tell(ctx, tx, r, from); err != nil {
		return r, err
	}
	if r.State.Open() {
		return r, nudgeSoon(ctx, tx, r, now)
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

// tell has doors show a request that has changed. Where its state has, they show
// the others on its server too: each names those that are open beside it, and
// those that it waits for.
func tell(ctx context.Context, tx Tx, r Request, from State) error {
	told := []Request{r}
	if r.State != from {
		others, err := openOn(ctx, tx, r)
		if err != nil {
			return err
		}
		told = append(told, slices.DeleteFunc(others, func(o Request) bool { return o.ID == r.ID })...)
	}
	for _, o := range told {
		if !o.Told() {
			continue
		}
		if err := tx.Tell(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// nudgeSoon nudges for what is due within a minute. What is due later is left
// to the sweep, so that jobs do not pile up behind requests that ended.
func nudgeSoon(ctx context.Context, tx Tx, r Request, now time.Time) error {
	if r.DueAt.Sub(now) > time.Minute {
		return nil
	}
	return tx.Nudge(ctx, r, r.DueAt)
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
