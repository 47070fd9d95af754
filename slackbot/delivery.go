package slackbot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net/url"
	"runtime/debug"
	"sync"
	"time"

	"github.com/vpsguard/vpsguard/policy"
)

// The kinds of deliveries.
const (
	kindCommand     = "command"
	kindInteraction = "interaction"
	kindOptions     = "options" // block_suggestion: what a type-ahead menu offers
	kindEvent       = "event"
)

// The ways by which Slack delivers.
const (
	viaSocket = "socket"
	viaHTTP   = "http"
)

// answerWithin is how long a receiver may take for its acknowledgement. Slack shows
// an error after 3 s; the rest is for the way.
const answerWithin = 2500 * time.Millisecond

// delivery is one thing that Slack delivered, whichever way it came.
type delivery struct {
	Kind string
	// Key is what makes it the same when it is delivered again.
	Key string
	// Body is one JSON object: a command's fields, all strings; an interaction's
	// payload as it came; an event with its callback around it.
	Body json.RawMessage
	// Retry tells that Slack says it has delivered it before.
	Retry bool
	Via   string
}

// receiver answers a delivery with what is acknowledged: nil for an empty
// acknowledgement. What it returns after answerWithin is dropped: then an empty
// acknowledgement has been given, and its work goes on. Its context belongs to the
// service and not to the connection, and ends when the service does.
type receiver func(ctx context.Context, d delivery) (ack json.RawMessage)

// intakeOptions are what an intake is made of.
type intakeOptions struct {
	Now func() time.Time
	Log *slog.Logger
	// Running is how many receivers run at a time; 256 if 0.
	Running int
	// Queued is how many deliveries wait for one; 1024 if 0. They are acknowledged in
	// time and worked on later.
	Queued int
	// Late is told of answers that came too late for their acknowledgement.
	Late func(d delivery, ack json.RawMessage)
}

// intake is where both transports bring what was delivered. It answers in time, runs
// nothing twice, bounds how much runs at once, and survives a receiver's panic.
type intake struct {
	o    intakeOptions
	seen *seen
	ctx  context.Context // of the receivers
	stop context.CancelFunc

	mu      sync.Mutex
	closed  bool
	running int
	queue   []intakeJob
	work    sync.WaitGroup // of all that run or wait
}

// intakeJob is a delivery that is to be received.
type intakeJob struct {
	d delivery
	r receiver
	x *sighting
}

// newIntake returns an intake whose receivers get the values of ctx. Its end does not
// reach them: drain ends an intake.
func newIntake(ctx context.Context, o intakeOptions) *intake {
	if o.Running == 0 {
		o.Running = 256
	}
	if o.Queued == 0 {
		o.Queued = 1024
	}
	in := &intake{o: o, seen: newSeen(o.Now)}
	in.ctx, in.stop = context.WithCancel(context.WithoutCancel(ctx))
	return in
}

// take has a delivery received, unless it was before, and waits for what is to be
// acknowledged. When the deadline of ctx passes first, that is nothing. When ctx is
// cancelled nobody waits any more, and the receiver goes on.
func (in *intake) take(ctx context.Context, d delivery, r receiver) (json.RawMessage, reception) {
	x, first := in.seen.meet(d.Key)
	if !first {
		in.o.Log.DebugContext(ctx, "delivered again", "kind", d.Kind, "via", d.Via, "retry", d.Retry)
	} else if !in.enter(intakeJob{d, r, x}) {
		in.seen.forget(x)
		in.o.Log.ErrorContext(ctx, "a delivery is not taken: too many are under way, or the program is stopping",
			"kind", d.Kind, "via", d.Via)
	}
	select {
	case <-x.settled:
	case <-ctx.Done():
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, fateGone
		}
		if in.seen.settle(x, fateAcked, nil) {
			in.o.Log.WarnContext(ctx, "acknowledged without an answer, as there was none in time", "kind", d.Kind, "via", d.Via)
		}
	}
	return x.ack, x.fate
}

// enter starts a job, or lets it wait. It tells whether there was room.
func (in *intake) enter(j intakeJob) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	switch {
	case in.closed, in.running >= in.o.Running && len(in.queue) >= in.o.Queued:
		return false
	case in.running >= in.o.Running:
		in.queue = append(in.queue, j)
	default:
		in.running++
		go in.run(j)
	}
	in.work.Add(1)
	return true
}

// run receives one delivery, and starts the next one that waits.
func (in *intake) run(j intakeJob) {
	done := fateBroken
	var ack json.RawMessage
	defer func() {
		if p := recover(); p != nil || done == fateBroken {
			in.o.Log.Error("a receiver panicked", "kind", j.d.Kind, "via", j.d.Via, "panic", policy.PanicText(p),
				"stack", string(debug.Stack()))
		}
		if !in.seen.settle(j.x, done, ack) && len(ack) > 0 {
			in.o.Log.Warn("an answer came too late for its acknowledgement and is dropped",
				"kind", j.d.Kind, "via", j.d.Via, "bytes", len(ack))
			if in.o.Late != nil {
				in.o.Late(j.d, ack)
			}
		}
		in.seen.close(j.x)
		in.leave()
	}()
	ack = j.r(in.ctx, j.d)
	done = fateAcked
}

// leave ends a job.
func (in *intake) leave() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.queue) == 0 {
		in.running--
	} else {
		next := in.queue[0]
		in.queue[0] = intakeJob{}
		in.queue = in.queue[1:]
		go in.run(next)
	}
	in.work.Done()
}

// drain takes nothing more, and waits until everything taken is done. After grace it
// ends the receivers' context and drops what still waits; last is how long they then
// have to return. It gives the number of receivers that have not.
func (in *intake) drain(grace, last time.Duration) (left int) {
	in.mu.Lock()
	in.closed = true
	in.mu.Unlock()
	defer in.stop()
	idle := make(chan struct{})
	go func() {
		in.work.Wait()
		close(idle)
	}()
	if closedWithin(idle, grace) {
		return 0
	}
	in.mu.Lock()
	dropped := in.queue
	in.queue = nil
	in.mu.Unlock()
	for _, j := range dropped {
		in.seen.forget(j.x)
		in.work.Done()
	}
	in.stop()
	closedWithin(idle, last)
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.running+len(dropped) > 0 {
		in.o.Log.Error("stopped before everything that was delivered was worked on",
			"running", in.running, "dropped", len(dropped))
	}
	return in.running
}

// closedWithin tells whether c was closed before the time was over.
func closedWithin(c <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c:
		return true
	case <-t.C:
		return false
	}
}

// commandForm is the body of a command that came as a form.
func commandForm(form url.Values) (json.RawMessage, error) {
	fields := make(map[string]string, len(form))
	for name := range form {
		fields[name] = form.Get(name)
	}
	return json.Marshal(fields)
}

// commandJSON is the body of a command that came as JSON. What is no string there,
// such as is_enterprise_install, is written as in a form.
func commandJSON(payload json.RawMessage) (json.RawMessage, error) {
	var in map[string]json.RawMessage
	if err := json.Unmarshal(payload, &in); err != nil || in == nil {
		return nil, errors.New("reading a command: it is no JSON object")
	}
	fields := make(map[string]string, len(in))
	for name, raw := range in {
		var s string
		if err := json.Unmarshal(raw, &s); err == nil {
			fields[name] = s // "" for null
			continue
		}
		fields[name] = string(raw)
	}
	return json.Marshal(fields)
}

// payloadHead is what is read of a payload here. The rest is the receiver's, so that
// nothing unknown in it can keep a delivery from being acknowledged.
type payloadHead struct {
	Type      string `json:"type"`
	TriggerID string `json:"trigger_id"`
	EventID   string `json:"event_id"`
	Challenge string `json:"challenge"`
}

// headOf reads the head of a JSON object. A field of another type counts as empty.
func headOf(payload json.RawMessage) (payloadHead, error) {
	var h payloadHead
	if !isJSONObject(payload) {
		return h, errors.New("reading a payload: it is no JSON object")
	}
	var mismatch *json.UnmarshalTypeError
	if err := json.Unmarshal(payload, &h); err != nil && !errors.As(err, &mismatch) {
		return h, errors.New("reading a payload: it is no JSON object")
	}
	return h, nil
}

// isJSONObject tells whether the text begins as a JSON object does.
func isJSONObject(b []byte) bool { return bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{")) }

// kind is that of an interaction.
func (h payloadHead) kind() string {
	if h.Type == "block_suggestion" {
		return kindOptions
	}
	return kindInteraction
}

// keyDigest makes a key of what is long or should not be told.
func keyDigest(what string, b []byte) string {
	sum := sha256.Sum256(b)
	return what + ":" + hex.EncodeToString(sum[:])
}

// eventKey is the key of an event, whichever way it comes.
func eventKey(id string) string { return "event:" + id }
