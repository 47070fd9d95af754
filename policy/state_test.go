package policy

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

// copied is a safety copy that is complete.
var copied = Step{StepPlan: StepPlan{Name: StepSafetyCopy}, State: StepDone}

// Every state × event, written down a second time: what is not here is refused.
func TestEveryStateAndEvent(t *testing.T) {
	allowed := map[State]map[Event]State{
		"":             {EventHeld: StateHeld, EventAllowed: StateApproved},
		StateHeld:      {EventSupported: StateHeld, EventApproved: StateApproved, EventDenied: StateDenied, EventCancelled: StateCancelled, EventExpired: StateExpired, EventStale: StateStale},
		StateApproved:  {EventStarted: StateRunning, EventCancelled: StateCancelled, EventExpired: StateExpired, EventStale: StateStale},
		StateRunning:   {EventStarted: StateRunning, EventAccepted: StateRunning, EventObserved: StateRunning, EventCopied: StateRunning, EventStepped: StateRunning, EventDone: StateDone, EventFailed: StateFailed, EventLost: StateUncertain, EventCancelled: StateCancelled, EventStale: StateStale},
		StateUncertain: {EventObserved: StateUncertain, EventDone: StateDone, EventFailed: StateFailed, EventSettled: StateDone},
	}
	for _, from := range append([]State{""}, States()...) {
		for _, e := range Events() {
			r := Request{State: from, Steps: []Step{copied, {State: StepWaiting}}}
			err := r.move(e)
			to, ok := allowed[from][e]
			if !ok {
				assert.Equal(t, Conflict, KindOf(err), "%q by %s", from, e)
				assert.Equal(t, from, r.State, "a refused event changes nothing")
				continue
			}
			assert.NoError(t, err, "%q by %s", from, e)
			assert.Equal(t, to, r.State, "%q by %s", from, e)
		}
	}
}

func TestNothingIsCalledBackOnceTheDecidingStepMayHaveBeenSent(t *testing.T) {
	for _, last := range []StepState{StepStarted, StepAccepted, StepUncertain, StepDone, StepFailed} {
		for _, e := range []Event{EventCancelled, EventStale} {
			r := Request{State: StateRunning, Steps: []Step{copied, {State: last}}}
			assert.Error(t, r.move(e), "%s while %s", e, last)
			r = Request{State: StateRunning, Steps: []Step{{State: last}, {State: StepWaiting}}}
			assert.Error(t, r.move(e), "%s while the first of several is %s", e, last)
		}
	}
}

// The stored approvals are counted again where a step starts, and the floor
// holds there whatever the stored conditions say.
func TestWhatCountsAsMet(t *testing.T) {
	agreed := func(who, digest string, w Way, a Assurance) Approval {
		return Approval{By: Actor{Door: DoorTerminal, Subject: who}, Way: w, Assurance: a, Digest: digest}
	}
	one := agreed("ada", "d", WayTerminal, Local)
	terminal := []Way{WayTerminal}
	for _, c := range []struct {
		name  string
		needs int
		given []Approval
		force []Way
		met   bool
	}{
		{"nobody agreed, and the stored conditions ask for nobody", 0, nil, terminal, false},
		{"one person agreed", 1, []Approval{one}, terminal, true},
		{"one person twice is one", 2, []Approval{one, one}, terminal, false},
		{"two people are two", 2, []Approval{one, agreed("grace", "d", WayTerminal, Local)}, terminal, true},
		{"to another plan", 1, []Approval{agreed("ada", "other", WayTerminal, Local)}, terminal, false},
		{"without proof", 1, []Approval{agreed("ada", "d", WayTerminal, AssuranceNone)}, terminal, false},
		{"with less proof than the way gives", 1, []Approval{agreed("ada", "d", WayTerminal, Claimed)}, terminal, false},
		{"in a way that the request does not take", 1, []Approval{agreed("ada", "d", WaySlack, Verified)}, []Way{WaySlack}, false},
		{"in a way that does not count where it starts", 1, []Approval{one}, []Way{WaySlack}, false},
	} {
		for _, e := range []Effect{Overwrite, Delete, "", "unknown"} {
			r := Request{Effect: e, Plan: Plan{Digest: "d"}, Approvals: c.given, Conditions: Conditions{Approvals: c.needs, Ways: terminal}}
			assert.Equal(t, c.met, new(Service).met(r, c.force), "%s, %q", c.name, e)
		}
	}
}

func TestOpenStatesAreThoseThatSomethingLeadsOutOf(t *testing.T) {
	for _, s := range States() {
		assert.Equal(t, len(moves[s]) > 0, s.Open(), s)
		assert.Equal(t, s.Open(), slices.Contains(OpenStates(), s), s)
	}
}
