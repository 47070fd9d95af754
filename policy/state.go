package policy

// State is how a request stands.
type State string

// The states. The picture is in ARCHITECTURE.md; the table below is the law.
const (
	StateHeld      State = "held"      // waits for people
	StateApproved  State = "approved"  // may start
	StateRunning   State = "running"   // a step was started
	StateDone      State = "done"      // it happened
	StateFailed    State = "failed"    // it did not happen, or not all of it
	StateUncertain State = "uncertain" // an answer was lost; nobody knows
	StateStale     State = "stale"     // the world moved; nothing was destroyed
	StateExpired   State = "expired"   // a clock ran out
	StateDenied    State = "denied"    // a person said no
	StateCancelled State = "cancelled" // withdrawn
)

// States are all of them, in the order of a request's life.
func States() []State {
	return []State{
		StateHeld, StateApproved, StateRunning, StateUncertain, StateDone, StateFailed,
		StateStale, StateExpired, StateDenied, StateCancelled,
	}
}

// OpenStates are those that something can still come of.
func OpenStates() []State { return []State{StateHeld, StateApproved, StateRunning, StateUncertain} }

// Open tells whether something can still come of it.
func (s State) Open() bool {
	return s == StateHeld || s == StateApproved || s == StateRunning || s == StateUncertain
}

// Event is what moves a request.
type Event string

// The events, each also the name of its audit record.
const (
	EventHeld      Event = "request.held"
	EventAllowed   Event = "request.allowed"   // filed and approved at once: nothing is destroyed
	EventSupported Event = "request.supported" // one approval of several
	EventApproved  Event = "request.approved"
	EventDenied    Event = "request.denied"
	EventCancelled Event = "request.cancelled"
	EventExpired   Event = "request.expired"
	EventStale     Event = "request.stale"
	EventStarted   Event = "operation.started"
	EventAccepted  Event = "operation.accepted"
	EventObserved  Event = "operation.observed" // something was seen that must be remembered
	EventCopied    Event = "operation.copied"   // the safety copy is complete
	EventStepped   Event = "operation.stepped"  // one of several targets is done; the next may start
	EventDone      Event = "operation.done"
	EventFailed    Event = "operation.failed"
	EventLost      Event = "operation.lost"
	EventSettled   Event = "request.settled" // a person said what is so
)

// Events that are recorded and move no request.
const (
	EventRefused           Event = "approval.refused"
	EventRules             Event = "rules.loaded"
	EventLate              Event = "operation.answered_late" // an answer that changes nothing any more
	EventStateKey          Event = "state_key.made"          // what seals the forms of [WayElicitation]
	EventPassphraseSet     Event = "passphrase.set"
	EventPassphraseChanged Event = "passphrase.changed"
	EventPassphraseAsked   Event = "passphrase.asked"
	EventPassphraseRight   Event = "passphrase.accepted"
	EventTokenMade         Event = "token.made"
	EventTokenRevoked      Event = "token.revoked"
)

// Events are all of them.
func Events() []Event {
	return []Event{
		EventHeld, EventAllowed, EventSupported, EventApproved, EventDenied, EventCancelled, EventExpired,
		EventStale, EventStarted, EventAccepted, EventObserved, EventCopied, EventStepped, EventDone, EventFailed,
		EventLost, EventSettled,
	}
}

// moves is the one table: from a state, by an event, to a state. What is not
// here cannot happen. "" is a request that does not exist yet.
var moves = map[State]map[Event]State{
	"": {EventHeld: StateHeld, EventAllowed: StateApproved},
	StateHeld: {
		EventSupported: StateHeld, EventApproved: StateApproved, EventDenied: StateDenied,
		EventCancelled: StateCancelled, EventExpired: StateExpired, EventStale: StateStale,
	},
	StateApproved: {
		EventStarted: StateRunning, EventCancelled: StateCancelled, EventExpired: StateExpired, EventStale: StateStale,
	},
	StateRunning: {
		EventStarted: StateRunning, EventAccepted: StateRunning, EventObserved: StateRunning, EventCopied: StateRunning,
		EventStepped: StateRunning,
		EventDone:    StateDone, EventFailed: StateFailed, EventLost: StateUncertain,
		EventCancelled: StateCancelled, EventStale: StateStale, // both only before the deciding step
	},
	StateUncertain: {
		EventObserved: StateUncertain, EventDone: StateDone, EventFailed: StateFailed, EventSettled: StateDone, // or failed, as the person says
	},
}

// move is the one function that changes a request's state.
func (r *Request) move(e Event) error {
	to, ok := moves[r.State][e]
	late := r.State == StateRunning && r.Decided() && (e == EventCancelled || e == EventStale)
	if !ok || late {
		return Errorf(Conflict, "%s is %s; that cannot be done any more", r.ID, r.State)
	}
	r.State = to
	return nil
}
