package slackfake

import (
	"context"
	"encoding/json"
	"time"
)

// The kinds of deliveries, as the envelopes of Socket Mode call them.
const (
	SlashCommands = "slash_commands"
	Interactive   = "interactive"
	EventsAPI     = "events_api"
)

// Errors that a person sees, or that end an event.
const (
	// OperationTimeout: the app did not acknowledge in time.
	OperationTimeout = "operation_timeout"
	// DispatchFailed: there is no app, or it answered with an error.
	DispatchFailed = "dispatch_failed"
	// TroubleConnecting: the app's answer to a submission made no sense.
	TroubleConnecting = "We had some trouble connecting. Try again?"
)

// eventRetries are the waits before an event is sent again.
var eventRetries = []time.Duration{0, time.Minute, 5 * time.Minute}

// Delivery is something on its way to the app because of what a person did.
type Delivery struct {
	// Kind is SlashCommands, Interactive or EventsAPI.
	Kind string
	// What says in a few words what it is: "/vps help", "block_actions approve".
	What string

	f       *Fake
	payload json.RawMessage
	// accepts is whether the acknowledgement may carry an answer, and reply what takes
	// it, with the lock held.
	accepts bool
	options bool // a request for the options of a menu
	reply   func(d *Delivery, body json.RawMessage)

	envelope string
	signed   *signedRequest // the last one sent over HTTP
	sent     time.Time
	attempt  int
	socket   *socket
	reached  bool // the app may have seen it
	loseAck  bool
	stop     func() bool
	over     bool
	done     chan struct{}
	out      Outcome
}

// Outcome is how a delivery ended.
type Outcome struct {
	// Acked tells whether the app acknowledged in time, Took how long that took.
	Acked bool
	Took  time.Duration
	// Error is what the person sees instead, "" for nothing.
	Error string
	// Errors are what the app or the client had against a submission, by block.
	Errors map[string]string
	// Options are what a menu shows after typing.
	Options []Option
	// Confirmed is the question that was asked before and answered with yes.
	Confirmed string
	// Attempts is how often it was sent.
	Attempts int
	// Retries are the reasons of the attempts after the first.
	Retries []string
}

// Option is a choice in a menu.
type Option struct{ Group, Text, Description, Value string }

// Wait waits until the delivery was acknowledged or given up, which with a Clock that
// nobody moves may be never.
func (d *Delivery) Wait() Outcome {
	<-d.done
	d.f.mu.Lock()
	defer d.f.mu.Unlock()
	return d.out
}

// Done is closed when the delivery has ended.
func (d *Delivery) Done() <-chan struct{} { return d.done }

// Payload returns what was sent, as JSON.
func (d *Delivery) Payload() json.RawMessage { return d.payload }

// Deliveries returns all there have been, in order.
func (f *Fake) Deliveries() []*Delivery {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*Delivery(nil), f.delivered...)
}

// dispatch sends something to the app. The lock is held.
func (f *Fake) dispatch(kind, what string, payload map[string]any, more func(*Delivery)) *Delivery {
	b, err := json.Marshal(payload)
	if err != nil {
		panic(err)
	}
	d := &Delivery{
		Kind: kind, What: what, f: f, payload: b, envelope: f.id("e"), done: make(chan struct{}),
		sent: f.o.Now(), accepts: kind == SlashCommands,
	}
	if more != nil {
		more(d)
	}
	f.delivered = append(f.delivered, d)
	f.pending[d.envelope] = d
	d.send("")
	return d
}

// answered is a Delivery that ended before it began, in the client. The lock is held.
func (f *Fake) answered(kind, what string, out Outcome) *Delivery {
	d := &Delivery{Kind: kind, What: what, f: f, done: make(chan struct{}), out: out, over: true}
	close(d.done)
	f.delivered = append(f.delivered, d)
	return d
}

// send makes an attempt. reason is why it is not the first. The lock is held.
func (d *Delivery) send(reason string) {
	f := d.f
	if d.over || f.ctx.Err() != nil {
		d.finish("closed")
		return
	}
	d.out.Attempts++
	if reason != "" {
		d.attempt++
		d.out.Retries = append(d.out.Retries, reason)
	}
	if d.stop != nil && d.Kind == EventsAPI {
		d.stop() // each attempt has its own time
		d.stop = nil
	}
	if d.stop == nil {
		attempt := d.attempt
		d.stop = f.o.AfterFunc(AckWithin, func() { d.timeout(attempt) })
	}
	fault := ""
	if x := f.due(Call{At: f.o.Now(), Method: d.Kind, Args: map[string]any{"payload": d.payload}}, deliveryFaults); x != nil {
		fault = x.Name
	}
	switch {
	case fault == NotDelivered:
	case f.receiver != nil:
		d.overHTTP(reason, fault)
	default:
		d.overSocket(reason, fault)
	}
}

// overSocket puts the envelope on one connection. The lock is held.
func (d *Delivery) overSocket(reason, fault string) {
	f := d.f
	s := f.pick(d.socket)
	if s == nil {
		d.failed(DispatchFailed, "no_connection")
		return
	}
	d.socket, d.reached, d.loseAck = s, true, fault == LoseAck
	if fault == DropConnection {
		d.reached = false
		s.close()
		return
	}
	s.sendJSON(d.envelopeJSON(reason))
	if fault == Twice {
		f.pick(s).sendJSON(d.envelopeJSON("timeout"))
	}
}

func (d *Delivery) envelopeJSON(reason string) map[string]any {
	m := map[string]any{
		"envelope_id": d.envelope, "type": d.Kind, "payload": d.payload, "accepts_response_payload": d.accepts,
	}
	if d.Kind == EventsAPI || reason != "" {
		m["retry_attempt"], m["retry_reason"] = max(d.attempt, btoi(reason != "")), reason
	}
	return m
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// acknowledge takes an acknowledgement's answer, nil for none. The lock is held.
func (d *Delivery) acknowledge(body json.RawMessage) {
	if d.over {
		return
	}
	d.out.Acked, d.out.Took = true, d.f.o.Now().Sub(d.sent)
	if d.reply != nil {
		d.reply(d, body)
	}
	d.finish("")
}

// failed ends an attempt that did not work; events are tried again. The lock is held.
func (d *Delivery) failed(sees, reason string) {
	if d.over {
		return
	}
	if d.Kind != EventsAPI || d.attempt >= len(eventRetries) {
		d.finish(sees)
		return
	}
	if d.stop != nil {
		d.stop()
		d.stop = nil
	}
	wait := eventRetries[d.attempt]
	again := func() {
		d.f.mu.Lock()
		defer d.f.mu.Unlock()
		d.send(reason)
	}
	d.f.o.AfterFunc(wait, again)
}

// timeout is called when an attempt has not been acknowledged in time.
func (d *Delivery) timeout(attempt int) {
	d.f.mu.Lock()
	defer d.f.mu.Unlock()
	if d.over || d.attempt != attempt && d.Kind == EventsAPI {
		return
	}
	if d.reached && !d.loseAck && (d.socket == nil || !d.socket.closed) {
		d.f.violate("no-ack", "%s was not acknowledged within %v", d.What, AckWithin)
	}
	d.stop = nil
	d.failed(OperationTimeout, "timeout")
}

// finish ends the delivery. The lock is held.
func (d *Delivery) finish(sees string) {
	if d.over {
		return
	}
	if d.stop != nil {
		d.stop()
	}
	d.over = true
	if sees != "" {
		d.out.Error = sees
	}
	delete(d.f.pending, d.envelope)
	close(d.done)
	d.f.notify()
}

// notify wakes those who wait in Await. The lock is held.
func (f *Fake) notify() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// Await waits until cond holds, which is looked at again whenever something happened
// here. cond may use the Fake. The error is the context's.
func (f *Fake) Await(ctx context.Context, cond func() bool) error {
	for {
		f.mu.Lock()
		changed := f.changed
		f.mu.Unlock()
		if cond() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// empty tells whether an acknowledgement's payload says nothing.
func empty(b json.RawMessage) bool {
	s := string(b)
	return s == "" || s == "null" || s == "{}" || s == `""`
}
