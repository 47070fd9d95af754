package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Request is a planned call with its state: one row of the ledger. All times
// are UTC, whole milliseconds; a zero time means never.
type Request struct {
	ID  string `json:"id"`  // rq_ and six letters or digits that can be said aloud
	Rev int64  `json:"rev"` // counts changes; the compare-and-swap is on it
	Seq int64  `json:"seq"` // of the audit record that filed it; orders lists

	Actor     Actor           `json:"actor"`
	Person    string          `json:"person,omitempty"` // whom the rules in force said that is
	Account   Account         `json:"account"`
	Operation string          `json:"operation"`
	Effect    Effect          `json:"effect"`
	Arguments json.RawMessage `json:"arguments"`
	Reason    string          `json:"reason,omitempty"`
	Place     string          `json:"place,omitempty"` // [Call].Place
	Plan      Plan            `json:"plan"`
	Planned   int64           `json:"planned"` // head of the audit before the plan was read
	Mark      string          `json:"mark"`    // nonce in what we create, so that it can be found again; never shown

	Conditions Conditions `json:"conditions"`
	Approvals  []Approval `json:"approvals,omitempty"`
	Denial     *Approval  `json:"denial,omitempty"`

	State   State  `json:"state"`
	Why     string `json:"why,omitempty"` // how it came to this state, for people
	Steps   []Step `json:"steps"`
	Undo    *Point `json:"undo,omitempty"`  // the safety copy that was there after the restore
	Begun   int64  `json:"begun,omitempty"` // of the record that started the last overwriting or deleting step
	Fence   int64  `json:"fence"`           // counts starts; an answer of an older start changes nothing
	Purpose string `json:"purpose"`         // what it wants, for duplicates
	Aim     string `json:"aim"`             // the same without the safety copy, for denials

	FiledAt   time.Time `json:"filed_at"`
	ApproveBy time.Time `json:"approve_by,omitzero"`
	NotBefore time.Time `json:"not_before,omitzero"` // the end of a rule's delay
	StartBy   time.Time `json:"start_by,omitzero"`
	LeaseBy   time.Time `json:"lease_by,omitzero"` // until then the process that started a step may still get its answer
	DueAt     time.Time `json:"due_at,omitzero"`   // when somebody should look at it next
	EndedAt   time.Time `json:"ended_at,omitzero"`
}

// StepState says how one step stands.
type StepState string

const (
	// StepWaiting means that it was not sent.
	StepWaiting StepState = "waiting"
	// StepStarted means that it may have been sent, and no answer is recorded.
	StepStarted StepState = "started"
	// StepAccepted means that VPS.org accepted it; it is being watched.
	StepAccepted StepState = "accepted"
	// StepDone means that it happened.
	StepDone StepState = "done"
	// StepFailed means that it did not happen.
	StepFailed StepState = "failed"
	// StepUncertain means that its answer was lost.
	StepUncertain StepState = "uncertain"
)

// Step is one thing that is sent to VPS.org, at most once.
type Step struct {
	StepPlan
	State     StepState `json:"state"`
	StartedAt time.Time `json:"started_at,omitzero"`
	AnswerAt  time.Time `json:"answer_at,omitzero"`
	LostAt    time.Time `json:"lost_at,omitzero"`
	Seen      bool      `json:"seen,omitempty"`     // its effect was seen to begin
	PointID   int64     `json:"point_id,omitempty"` // the recovery point that it made
	PointName string    `json:"point_name,omitempty"`
	Note      string    `json:"note,omitempty"`
}

// StepSafetyCopy is the one step that is not named after its operation.
const StepSafetyCopy = "safety_copy"

// Current is the index of the first step that is not done; len(Steps) where all are.
func (r Request) Current() int {
	return slices.IndexFunc(append(slices.Clone(r.Steps), Step{}), func(s Step) bool { return s.State != StepDone })
}

// Decided tells whether the first step that overwrites, deletes or creates for good
// may have been sent. Until then a request can be withdrawn.
func (r Request) Decided() bool {
	i := slices.IndexFunc(r.Steps, Step.decides)
	return i >= 0 && r.Steps[i].State != StepWaiting
}

// decides tells whether a step is what was asked for, not the safety copy before it.
func (s Step) decides() bool { return s.Name != StepSafetyCopy }

// Copy is the safety copy that the request has made, or may have made.
func (r Request) Copy() (Point, bool) {
	for _, s := range r.Steps {
		if s.Name == StepSafetyCopy && s.PointID != 0 {
			return Point{Kind: string(r.Plan.SafetyCopy), ID: s.PointID, Name: s.PointName, CreatedAt: s.StartedAt}, true
		}
	}
	return Point{}, false
}

// WayBack says whether there is a way back, for people; "" where none is needed.
// It is expected, never promised.
func (r Request) WayBack() string {
	copied := r.Plan.SafetyCopy == CopySnapshot || r.Plan.SafetyCopy == CopyBackup
	switch {
	case r.Undo != nil:
		return "restore " + r.Undo.String() + ", the safety copy that was there after the restore"
	case !r.Effect.Destroys():
		return ""
	case r.Effect == Delete:
		return "there is NO WAY BACK: what is deleted cannot be brought back"
	case !copied:
		return "there is NO WAY BACK: no safety copy is taken"
	case r.State == StateDone:
		return "there is NO WAY BACK: the safety copy was not found after the restore"
	}
	switch c, begun := r.Copy(); {
	case begun && r.Steps[0].State == StepDone:
		return fmt.Sprintf("expected: %s was taken, and is looked for again afterwards", c)
	default:
		return fmt.Sprintf("expected: a %s is taken before anything is overwritten, and looked for again afterwards", r.Plan.SafetyCopy)
	}
}

// Told tells whether doors show the request to people unasked: where it was
// asked for in Slack, or can be confirmed there.
func (r Request) Told() bool {
	return r.Actor.Door == DoorSlack || slices.Contains(r.Conditions.Ways, WaySlack)
}

// For gives the request as an actor may see it. People see all of it, since they
// decide. A program sees of another's request what is going to happen, and not what
// the other wrote beside that: it could be a secret, and it could be meant to
// talk the reader into something.
func (r Request) For(a Actor) Request {
	if a.Door == DoorTerminal || a.Door == DoorSlack || a.Key() == r.Actor.Key() {
		return r
	}
	r.Reason, r.Arguments, r.Place = "", nil, ""
	return r
}

// Uses tells whether the request needs a recovery point that it does not delete.
func (r Request) Uses(p Point) bool {
	if c, ok := r.Copy(); ok && c.Is(p) {
		return true
	}
	return r.Effect == Overwrite && r.Plan.Target != nil && r.Plan.Target.Is(p)
}

// At gives the request as its clocks say: what is past its deadline reads as
// expired, whether or not somebody has recorded it yet.
func (r Request) At(now time.Time) Request {
	switch {
	case r.State == StateHeld && !now.Before(r.ApproveBy):
		r.State, r.EndedAt = StateExpired, r.ApproveBy
		r.Why = "nobody confirmed it by " + Stamp(r.ApproveBy)
	case r.State == StateApproved && !now.Before(r.StartBy):
		r.State, r.EndedAt = StateExpired, r.StartBy
		r.Why = "it was approved, but could not start by " + Stamp(r.StartBy)
		if r.Conditions.Approvals == 0 {
			r.Why = "it could not start by " + Stamp(r.StartBy)
		}
	}
	return r
}

// String is for people: id, what, state.
func (r Request) String() string { return fmt.Sprintf("%s %s: %s", r.ID, r.Plan.Summary, r.State) }

// longestLease is how long a step may wait for its answer at most: a call takes ten
// minutes where VPSGUARD_API_TIMEOUT is the longest that there may be, see start.go.
const longestLease = 2*10*time.Minute + time.Second

// Leased is for how long whoever started a step may still get its answer; 0 where that
// is over. One that ends later than any was taken by a clock that was ahead, and is over.
func (r Request) Leased(now time.Time) time.Duration {
	if left := r.LeaseBy.Sub(now); left <= longestLease {
		return max(left, 0)
	}
	return 0
}

// left tells whether nobody follows a running request any more whose account is not
// that of any process: the time of its step is over, whoever could have started it.
func (r Request) left(now time.Time) bool {
	i := r.Current()
	if r.State != StateRunning || i == len(r.Steps) || r.Leased(now) > 0 {
		return false
	}
	step := r.Steps[i]
	if step.State == StepWaiting {
		return !now.Before(r.StartBy)
	}
	return !now.Before(step.StartedAt.Add(step.Within))
}

// blockedBy tells whether r must not start a step while the open request o is
// as it is: nothing starts while an overwrite on the server runs or is
// uncertain, an overwrite waits for everything that runs, and nothing deletes a
// recovery point that an open request uses. Deletes go one after the other, lest
// each counts on what the other takes away. What has several targets runs alone: it
// waits for everything, and everything for it, while it runs. A create does not push
// in before either of these that people have approved and that may start: one after
// the other could keep it waiting until it expires.
func (r Request) blockedBy(o Request, now time.Time) bool {
	if o.ID == r.ID || !o.Account.sees(r.Account) || o.Plan.Server.ID != r.Plan.Server.ID || !o.State.Open() {
		return false
	}
	overwrites := func(e Effect) bool { return e.Destroys() && e != Delete }
	several := func(r Request) bool { return len(r.Plan.Targets) > 0 }
	switch busy := o.State == StateRunning || o.State == StateUncertain; {
	case busy && (overwrites(o.Effect) || overwrites(r.Effect)):
		return true
	case busy && several(r), o.State == StateRunning && several(o):
		return true
	case busy && o.Effect == Delete && r.Effect == Delete:
		return true
	case o.State == StateApproved && !o.NotBefore.After(now) && (overwrites(o.Effect) || several(o)) && r.Effect == Create:
		return true
	}
	return r.Effect == Delete && slices.ContainsFunc(r.Plan.points(), o.Uses)
}

// idLetters can be said aloud without being mistaken: no 0 o 1 l.
const idLetters = "23456789abcdefghijkmnpqrstuvwxyz"

// NewID makes n letters that can be said aloud from random bytes; it is uniform
// for any source of uniform bytes, since there are 32 letters.
func NewID(random []byte) string {
	var b strings.Builder
	for _, x := range random {
		b.WriteByte(idLetters[int(x)%len(idLetters)])
	}
	return b.String()
}

// ParseRequestID accepts an id as people type it: any case, with or without
// "rq_" and blanks around.
func ParseRequestID(s string) (string, error) {
	id := strings.TrimPrefix(strings.ToLower(strings.TrimSpace(s)), "rq_")
	if len(id) != 6 || strings.Trim(id, idLetters) != "" {
		return "", Errorf(Invalid, "%q is not the id of a request", Clean(s, 30)).
			WithHint("Ids look like rq_7f3k9c; list_requests shows them.")
	}
	return "rq_" + id, nil
}
