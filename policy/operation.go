package policy

import (
	"context"
	"time"
)

// Effect says what an operation does to the world. The zero value is refused.
type Effect string

const (
	// Read changes nothing.
	Read Effect = "read"
	// Create adds something and destroys nothing.
	Create Effect = "create"
	// Overwrite replaces a server's data. It always takes a person.
	Overwrite Effect = "overwrite"
	// Delete removes a recovery point for good. It always takes a person.
	Delete Effect = "delete"
)

// Destroys tells whether an effect needs a person. An unknown effect does.
func (e Effect) Destroys() bool { return e != Read && e != Create }

// Valid tells whether the effect is one of the four.
func (e Effect) Valid() bool {
	return e == Read || e == Create || e == Overwrite || e == Delete
}

// Descriptor is an operation as doors see it: data, and nothing that acts.
type Descriptor struct {
	Name       string     // verb_noun, the MCP tool's name
	Title      string     // for people
	Summary    string     // one or two sentences for a model
	Noun, Verb string     // for Slack's grammar
	Effect     Effect     // what it does
	Idempotent bool       // calling again changes nothing more
	Each       string     // where it has several targets: the operation that does the same to one; rules on that one bind it too
	Arguments  []Argument // in the order of Slack's positional arguments
	Rows       string     // for lists: the key of the rows in structured results
	Record     []Field    // for lists: what one row holds
	Detail     []Field    // for lists: what stands beside the rows
}

// Field describes one value of a structured result, for output schemas.
type Field struct {
	Name     string
	Type     string // string, integer, boolean, object
	Optional bool
}

// Operation is a descriptor with its hands. Nothing outside this package calls
// Apply. All functions may be called concurrently.
type Operation struct {
	Descriptor

	// Answer answers at once. Set for reads and calls on requests, and then
	// the other three are nil. It never changes anything at VPS.org.
	Answer func(ctx context.Context, c Call, a Arguments) (Outcome, error)

	// Plan says what would happen. It only reads, and reads afresh. Where it
	// cannot be done now, the plan that comes with the error still names the
	// server, the target and the parameters once they are known, so that a call
	// that repeats an open request is recognised.
	Plan func(ctx context.Context, in PlanInput) (Plan, error)

	// Apply sends one step, once. An [Error] of kind [Uncertain], and any
	// error that is not an [Error], means that it may have happened.
	Apply func(ctx context.Context, p Permit) (Answer, error)

	// Look reads how a step that was sent stands. It only reads.
	Look func(ctx context.Context, p Permit) (Sight, error)
}

// PlanInput is what a plan is made from.
type PlanInput struct {
	Arguments Arguments
	Now       time.Time
	// Again is the request that is being planned again before a step; nil the
	// first time. What the request itself has done must not count as a change, and
	// where it has several targets, they stay those that it has.
	Again *Request
}

// Permit is the right to send or watch one step of one request. Only this
// package can make one that [Permit.Valid] accepts, in the course of starting a
// step; an operation without a valid permit must not act.
type Permit struct {
	request Request
	step    int
	ok      bool
}

// Valid tells whether the permit was made by this package.
func (p Permit) Valid() bool { return p.ok }

// Request is a copy of the request as it stood when the permit was made.
func (p Permit) Request() Request { return p.request }

// Step is the step that the permit is for.
func (p Permit) Step() Step { return p.request.Steps[p.step] }

// Target is the recovery point that the step is about; nil where there is none.
func (p Permit) Target() *Point {
	if several := p.request.Plan.Targets; len(several) > 0 { // those are what the digest covers
		return &several[p.step].Point
	}
	return p.request.Plan.Target
}

// Answer is what VPS.org said to a step.
type Answer struct {
	Done    bool   // nothing is left to watch
	PointID int64  // the recovery point that was made
	Name    string // its name, where it has one
	Message string // what VPS.org said, cleaned
}

// View says how a step stands, as far as reading tells.
type View string

const (
	// Pending means that it goes on, or that nothing can be said yet.
	Pending View = "pending"
	// Finished means that it is proven to have happened, whole.
	Finished View = "finished"
	// Broken means that it is proven to have ended without its effect.
	Broken View = "broken"
	// Absent means that no sign of it is there. That proves nothing about an overwrite.
	Absent View = "absent"
	// Unwatchable means that the token may not read what would tell.
	Unwatchable View = "unwatchable"
)

// Sight is what [Operation.Look] saw.
type Sight struct {
	View    View
	Seen    bool   // the effect was seen to begin
	PointID int64  // the recovery point that was made, where it was found
	Name    string // its name, where it has one
	Note    string // one sentence for people
	Undo    *Point // after a restore: the safety copy that is still there
}
