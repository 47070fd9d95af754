package policy

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Every state × event, written down a second time: what is not here is refused.
func TestEveryStateAndEvent(t *testing.T) {
	allowed := map[State]map[Event]State{
		"":             {EventHeld: StateHeld, EventAllowed: StateApproved},
		StateHeld:      {EventSupported: StateHeld, EventApproved: StateApproved, EventDenied: StateDenied, EventCancelled: StateCancelled, EventExpired: StateExpired, EventStale: StateStale},
		StateApproved:  {EventStarted: StateRunning, EventCancelled: StateCancelled, EventExpired: StateExpired, EventStale: StateStale},
		StateRunning:   {EventStarted: StateRunning, EventAccepted: StateRunning, EventObserved: StateRunning, EventCopied: StateRunning, EventDone: StateDone, EventFailed: StateFailed, EventLost: StateUncertain, EventCancelled: StateCancelled, EventStale: StateStale},
		StateUncertain: {EventObserved: StateUncertain, EventDone: StateDone, EventFailed: StateFailed, EventSettled: StateDone},
	}
	for _, from := range append([]State{""}, States()...) {
		for _, e := range Events() {
			r := Request{State: from, Steps: []Step{{State: StepDone}, {State: StepWaiting}}}
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
			r := Request{State: StateRunning, Steps: []Step{{State: StepDone}, {State: last}}}
			assert.Error(t, r.move(e), "%s while %s", e, last)
		}
	}
}

func TestOpenStatesAreThoseThatSomethingLeadsOutOf(t *testing.T) {
	for _, s := range States() {
		assert.Equal(t, len(moves[s]) > 0, s.Open(), s)
		assert.Equal(t, s.Open(), slices.Contains(OpenStates(), s), s)
	}
}
