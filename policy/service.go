package policy

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a [Service] is made of. All functions may be called concurrently.
type Config struct {
	Operations []Operation
	Ledger     Ledger
	// Account tells whose servers this process works on. It may fail while the
	// API cannot be reached; then nothing is filed, decided or run.
	Account func(context.Context) (Account, error)
	// Ways are those that count here. None means that nothing can be confirmed.
	Ways []Way
	// ReadOnly refuses everything but reads: nothing is filed, approved or run.
	ReadOnly bool
	// Judge gives the operator's conditions; nil where there are no rules. The
	// floor holds whatever it says.
	Judge func(context.Context, Facts) (Conditions, error)
	// Vouch asks a door's own people, live, whether an actor may confirm by a
	// way, and which entries of [Conditions].Approvers they are for certain. It fails
	// where it cannot tell whether they are on a list. Where it is nil, nobody may but
	// at the terminal.
	Vouch func(ctx context.Context, w Way, by Actor, among [][]string) (as []string, err error)
	// Person names whom the operator says that an identity is; "" where nothing is
	// said. nil where there are no rules.
	Person func(Actor) string
	// Passphrase checks a passphrase against its stored hash, slowly.
	Passphrase PassphraseHash
	// StateKey seals the forms of [WayElicitation]: 32 bytes, the same in every
	// process on the ledger. nil means that the ledger keeps one.
	StateKey []byte
	// HostNow, where set, tells the time to what only reads VPS.org while the ledger
	// cannot, so that it knows how old things are. Nothing is decided by it.
	HostNow func() time.Time
	// Random fills with uniform random bytes.
	Random func([]byte)

	ApproveWithin time.Duration // from filing to the last approval; 30 min
	StartWithin   time.Duration // from the last approval to the start; 10 min
	CallTimeout   time.Duration // of one call to VPS.org; 30 s
	PollEvery     time.Duration // how often an accepted step is looked at; 10 s
	SettleWithin  time.Duration // how long a create whose answer was lost is looked for; 2 min
}

// PassphraseHash is a slow hash.
type PassphraseHash interface {
	Hash(passphrase string) (string, error)
	Matches(hash, passphrase string) bool
}

// Facts are what rules judge.
type Facts struct {
	Operation Descriptor
	Actor     Actor
	Plan      Plan
	Reason    string
	Now       time.Time
}

// mostPlace is how long [Call].Place may be, in bytes.
const mostPlace = 500

// Service is the one way for every call. It keeps no state that matters: any
// number of services, in any number of processes, work on one ledger.
type Service struct {
	Config
	catalogue []Descriptor
	byName    map[string]Operation

	swept atomic.Bool // every open request was looked at since the start

	mu     sync.Mutex
	busy   map[string]bool      // requests that this process is advancing
	looked map[string]time.Time // when this process last looked at a step
}

// NewService checks the configuration. It fails with [Invalid] where an
// operation is not whole, so that a mistake stops start-up.
func NewService(c Config) (*Service, error) {
	s := &Service{Config: c, byName: map[string]Operation{}, busy: map[string]bool{}, looked: map[string]time.Time{}}
	if n := len(c.StateKey); n != 0 && n != keyBytes {
		return nil, Errorf(Invalid, "the key for forms has %d bytes, not %d", n, keyBytes)
	}
	for _, op := range append(slices.Clone(c.Operations), s.requestCalls()...) {
		acts := op.Plan != nil && op.Apply != nil && op.Look != nil
		switch {
		case !op.Effect.Valid():
			return nil, Errorf(Invalid, "operation %s has the effect %q", op.Name, op.Effect)
		case s.byName[op.Name].Name != "":
			return nil, Errorf(Invalid, "operation %s is there twice", op.Name)
		case (op.Answer != nil) == acts, op.Effect == Read && op.Answer == nil, op.Effect.Destroys() && !acts:
			return nil, Errorf(Invalid, "operation %s is not whole", op.Name)
		}
		s.byName[op.Name] = op
		s.catalogue = append(s.catalogue, op.Descriptor)
	}
	for _, op := range s.byName {
		if one := s.byName[op.Each]; op.Each != "" && (one.Effect != op.Effect || one.Plan == nil) {
			return nil, Errorf(Invalid, "operation %s does to several what %q, of another effect, does to one", op.Name, op.Each)
		}
	}
	return s, nil
}

// Catalogue is what can be called, in a stable order: the operations, then the
// calls on requests. A read-only process offers reads only.
func (s *Service) Catalogue() []Descriptor {
	return slices.DeleteFunc(slices.Clone(s.catalogue), func(d Descriptor) bool { return s.ReadOnly && d.Effect != Read })
}

// Call is how everything that is not a decision comes in. Its errors are made
// for people, see [Public].
func (s *Service) Call(ctx context.Context, c Call) (Outcome, error) {
	op, ok := s.byName[c.Operation]
	if !ok {
		return Outcome{}, Errorf(NotFound, "there is no operation %q", Clean(c.Operation, 40))
	}
	args, err := ParseArguments(op.Descriptor, c.Arguments)
	switch {
	case err != nil:
		return Outcome{}, err
	case len(c.Place) > mostPlace:
		return Outcome{}, Errorf(Internal, "a door described where it was called in %d bytes", len(c.Place))
	}
	c.At, err = s.Ledger.Now(ctx)
	if err != nil && op.Effect == Read && s.HostNow != nil {
		c.At, err = s.HostNow(), nil
	}
	if err != nil {
		return Outcome{}, err
	}
	if op.Effect != Read && (s.ReadOnly || !c.Actor.Operates()) {
		if c.Answer != nil { // to a form from before: refused like this call, and recorded
			_, _, _ = s.formAnswered(ctx, c, args)
		}
		if s.ReadOnly {
			return Outcome{}, Errorf(Forbidden, "this vpsguard is read-only; it cannot %s", c.Operation).
				WithHint("Ask the operator; reads work.")
		}
		return Outcome{}, errReader()
	}
	if op.Answer != nil {
		return op.Answer(ctx, c, args)
	}
	r, again, note, err := s.filed(ctx, op, c, args)
	if err != nil {
		return Outcome{}, err
	}
	form, err := s.form(ctx, c, args, r)
	if err != nil { // it waits all the same
		note = "no form can be shown now: " + Public(err).Message
	}
	wait := args.Flag("wait", false)
	if r.State == StateApproved && !r.Effect.Destroys() {
		if wait && c.News != nil { // what comes next may take as long as VPS.org does
			c.News(Standing{Request: r.For(c.Actor), Now: c.At})
		}
		// Nobody is asked, so the caller may as well see it start. What goes wrong
		// here is told by the request, and a worker was nudged as well.
		_, _ = s.Advance(context.WithoutCancel(ctx), r.ID)
	}
	if wait {
		s.awaitEnd(ctx, c, r.ID, maxWait)
	}
	out, err := s.outcome(ctx, c, r.ID, again)
	if err == nil {
		out.Standing.Note, out.Standing.Form = note, form
	}
	return out, err
}

// Foresee plans a call and judges it as [Service.Call] would, and files nothing. It
// gives all that rules judge of it: of several targets, each by itself.
func (s *Service) Foresee(ctx context.Context, c Call) ([]Facts, Conditions, error) {
	op, ok := s.byName[c.Operation]
	if !ok || op.Plan == nil {
		return nil, Conditions{}, Errorf(NotFound, "there is no operation %q that changes something", Clean(c.Operation, 40))
	}
	args, err := ParseArguments(op.Descriptor, c.Arguments)
	if err != nil {
		return nil, Conditions{}, err
	}
	now, err := s.Ledger.Now(ctx)
	if err != nil {
		return nil, Conditions{}, err
	}
	account, err := s.Account(ctx)
	if err != nil {
		return nil, Conditions{}, err
	}
	plan, err := op.Plan(ctx, PlanInput{Arguments: args, Now: now})
	if err != nil {
		return nil, Conditions{}, err
	}
	f := Facts{op.Descriptor, c.Actor, plan.sealed(account, op.Descriptor, now), args.Text("reason"), now}
	conditions, err := s.conditions(ctx, f)
	return s.each(f), conditions, err
}

// outcome tells the caller how a request stands, as far as they may see it.
func (s *Service) outcome(ctx context.Context, c Call, id string, again bool) (Outcome, error) {
	st, err := s.Show(ctx, id)
	if err != nil {
		return Outcome{}, err
	}
	st.Request, st.Again = st.Request.For(c.Actor), again
	return Outcome{Standing: &st}, nil
}
