package slackfake

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// The faults of answers. A name with "-acted" does what its twin does, but after the
// call was carried out.
const (
	InternalError      = "internal-error" // 200, ok false, internal_error
	InternalErrorActed = "internal-error-acted"
	Error500           = "error-500"
	Error500Acted      = "error-500-acted"
	Reset              = "reset" // the connection is reset
	ResetActed         = "reset-acted"
	Hang               = "hang" // no answer until the client gives up
	HangActed          = "hang-acted"
	CutJSON            = "cut-json" // half an object, correctly sent
	CutJSONActed       = "cut-json-acted"
	HTML               = "html" // 200 with a page
	HTMLActed          = "html-acted"

	// Turned away, nothing done.
	RateLimited = "rate-limited" // 429 with RetryAfter
	Refused     = "refused"      // 200, ok false, Code

	// Carried out, but not as usual.
	Slow = "slow" // answers after Delay on the Fake's clock
)

// The faults of deliveries to the app.
const (
	LoseAck        = "lose-ack"        // the acknowledgement gets lost; Slack thinks there was none
	DropConnection = "drop-connection" // the socket ends as the envelope is sent
	Twice          = "twice"           // delivered twice, on two sockets where there are two
	NotDelivered   = "not-delivered"   // never reaches the app
)

const acted = "-acted"

var callFaults = []string{
	InternalError, InternalErrorActed, Error500, Error500Acted, Reset, ResetActed, Hang, HangActed,
	CutJSON, CutJSONActed, HTML, HTMLActed, RateLimited, Refused, Slow,
}

var deliveryFaults = []string{LoseAck, DropConnection, Twice, NotDelivered}

// FaultNames returns the names of all faults.
func FaultNames() []string { return append(slices.Clone(callFaults), deliveryFaults...) }

// Fault is something that goes wrong with the calls or deliveries it matches. All
// conditions must hold; those left empty match everything.
type Fault struct {
	Name string
	// Method is one of the Web API, "response_url", or the kind of a delivery:
	// "slash_commands", "interactive", "events_api".
	Method string
	// Match sees a call's arguments, or a delivery's payload under "payload".
	Match func(Call) bool
	// After is how many matching ones pass untouched first.
	After int
	// Times is how often it happens, 0 for always.
	Times int

	// Code is the error of refused.
	Code string
	// RetryAfter is what rate-limited tells; 0 means 1 s.
	RetryAfter time.Duration
	// Delay is how long slow waits.
	Delay time.Duration
}

// Inject adds a fault. Where several match, the one injected first happens. An
// unknown name panics.
func (f *Fake) Inject(fault Fault) {
	if !slices.Contains(FaultNames(), fault.Name) {
		panic(fmt.Sprintf("slackfake: no fault is called %q", fault.Name))
	}
	if fault.Times <= 0 {
		fault.Times = -1
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, &fault)
}

// Heal removes all faults.
func (f *Fake) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = nil
}

// due finds the fault for a call or a delivery and counts it. The lock is held.
func (f *Fake) due(c Call, names []string) *Fault {
	for _, x := range f.faults {
		if x.Times == 0 || !slices.Contains(names, x.Name) ||
			x.Method != "" && x.Method != c.Method || x.Match != nil && !x.Match(c) {
			continue
		}
		if x.After > 0 {
			x.After--
			continue
		}
		if x.Times > 0 {
			x.Times--
		}
		return x
	}
	return nil
}

// happened splits a fault's name.
func (x *Fault) happened() (name string, afterActing bool) {
	return strings.CutSuffix(x.Name, acted)
}
