package slackbot

import (
	"context"
	"encoding/json"
	"runtime/debug"
	"strings"
	"time"

	"github.com/vpsguard/vpsguard/policy"
)

const (
	// taskLease is how long a task that was written down belongs to the process
	// that heard it. Then another does it: all tasks may be done twice.
	taskLease = 8 * time.Second
	// taskTooOld is when what a process that died has heard is not done any more:
	// whoever pressed then has seen for long that nothing happened.
	taskTooOld = 2 * time.Minute
	// taskTakes is how long a task may take.
	taskTakes = 50 * time.Second
)

// accountWithin is how long a command waits to hear whose servers these are: a process
// that has just started may not know yet, and VPS.org may not answer.
const accountWithin = 300 * time.Millisecond

// What a task does.
const (
	doCall   = "call"
	doDecide = "decide"
	doDeny   = "deny"
	doCancel = "cancel"
)

// task is something that a person wants changed. It is written down before it is
// acknowledged, and done once it is; a process that dies between the two is
// followed by one that does it. Doing it twice changes nothing more: calls that
// repeat each other are one request, and a request is decided once.
type task struct {
	Do   string    `json:"do"`
	At   time.Time `json:"at"`
	Who  who       `json:"who"`
	From origin    `json:"from"` // where the answer goes

	Request string `json:"request,omitempty"`
	Digest  string `json:"digest,omitempty"`
	Typed   string `json:"typed,omitempty"`
	Note    string `json:"note,omitempty"`
	// Proof is what Slack has signed, for the record.
	Proof map[string]string `json:"proof,omitempty"`

	Operation string          `json:"operation,omitempty"`
	Arguments json.RawMessage `json:"arguments,omitempty"`

	answer string // a response_url: never written down
}

// about are the keys of a line in the log that is about a task.
func (t *task) about() []any {
	team := t.Who.Enterprise
	if team == "" {
		team = t.Who.Team
	}
	out := []any{"door", policy.DoorSlack, "actor", policy.Clean(team+":"+t.Who.User, 120)}
	if t.Request != "" {
		out = append(out, "request", policy.Clean(t.Request, 20))
	}
	if t.Operation != "" {
		out = append(out, "operation", policy.Clean(t.Operation, 40))
	}
	return out
}

// who is the signed identity of a person.
type who struct {
	Team       string `json:"team"`
	Enterprise string `json:"enterprise,omitempty"`
	User       string `json:"user"`
	Name       string `json:"name,omitempty"` // proves nothing
}

// origin is where somebody called from.
type origin struct {
	Channel   string `json:"c"`
	Thread    string `json:"t,omitempty"`
	ByMessage bool   `json:"m,omitempty"` // by a message in somebody's name
}

func (o origin) String() string {
	raw, err := json.Marshal(o)
	if err != nil {
		panic(err) // two texts and a bool
	}
	return string(raw)
}

// readOrigin reads what [origin.String] wrote.
func readOrigin(s string) (o origin, ok bool) {
	if s == "" || json.Unmarshal([]byte(s), &o) != nil {
		return origin{}, false
	}
	return o, o.Channel != ""
}

// heardScope is the scope of the tasks that wait.
func heardScope(a policy.Account) string {
	return "heard" + strings.TrimPrefix(policy.ToldScope(a), "told")
}

// hear writes a task down. Only then may it be acknowledged.
func (b *Bot) hear(ctx context.Context, t *task) (policy.Note, error) {
	if b.ReadOnly {
		return policy.Note{}, policy.ErrReadOnly()
	}
	quick, cancel := context.WithTimeout(ctx, accountWithin)
	defer cancel()
	account, err := b.Account(quick)
	switch {
	case err != nil && quick.Err() != nil:
		return policy.Note{}, policy.Errorf(policy.Unavailable, "VPS.org has not said yet whose account this is; nothing was done").
			WithHint("Try again in a minute.").Because(err)
	case err != nil:
		return policy.Note{}, err
	}
	if t.At, err = b.Notes.Now(ctx); err != nil {
		return policy.Note{}, err
	}
	raw, err := json.Marshal(t)
	if err != nil {
		return policy.Note{}, err
	}
	n := policy.Note{Scope: heardScope(account), Key: b.random(20), DueAt: t.At.Add(taskLease)}
	n.Doc = b.client.seal(n.Scope+"\n"+n.Key, raw)
	stored, err := b.Notes.PutNote(ctx, n)
	if err != nil && b.enter(n.Key) { // it may be there all the same, and the person is told that it is not
		n.Rev = 1
		b.spawn(func(ctx context.Context) {
			defer b.leave(n.Key)
			b.crossOff(ctx, n)
		})
	}
	return stored, err
}

// work does a task that was written down, and crosses it off.
func (b *Bot) work(ctx context.Context, n policy.Note, t *task) error {
	if !b.enter(n.Key) {
		return nil // this process is at it
	}
	err := b.try(ctx, t)
	if policy.KindOf(err) == policy.Unavailable && ctx.Err() != nil {
		b.leave(n.Key)
		return nil //nolint:nilerr // this process ends; the next one does it, or says that it did not
	}
	if dropped := b.drop(context.WithoutCancel(ctx), n); dropped == nil {
		b.leave(n.Key)
	} else {
		b.Log.WarnContext(ctx, "a task could not be crossed off; trying again", append(t.about(), "error", dropped)...)
		b.spawn(func(ctx context.Context) {
			defer b.leave(n.Key)
			b.crossOff(ctx, n)
		})
	}
	return err
}

// try does a task. It is not tried again if it panics.
func (b *Bot) try(ctx context.Context, t *task) (err error) {
	ctx, cancel := context.WithTimeout(ctx, taskTakes)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			b.Log.ErrorContext(ctx, "a task panicked", append(t.about(), "do", t.Do, "panic", policy.PanicText(p), "stack", string(debug.Stack()))...)
			err = policy.Errorf(policy.Internal, "something went wrong inside vpsguard").WithHint("Look whether it was done before you do it again.")
		}
	}()
	return b.do(ctx, t)
}

// drop removes the note of a task, whoever has changed it meanwhile.
func (b *Bot) drop(ctx context.Context, n policy.Note) error {
	for {
		err := b.Notes.DropNote(ctx, n)
		if policy.KindOf(err) != policy.Conflict {
			return err
		}
		fresh, err := b.Notes.Note(ctx, n.Scope, n.Key)
		if err != nil {
			return err
		}
		n.Rev = fresh.Rev
	}
}

// crossOff drops a task whose person was told that nothing was done, or that it
// was, as soon as the ledger lets it. Until then this process does not do it again.
func (b *Bot) crossOff(ctx context.Context, n policy.Note) {
	for {
		if err := b.drop(ctx, n); err == nil || policy.KindOf(err) == policy.NotFound {
			return
		}
		if sleepFor(ctx, time.Second) != nil {
			return
		}
	}
}

// leftBehind does what processes that died have written down.
func (b *Bot) leftBehind(ctx context.Context, account policy.Account) error {
	now, err := b.Notes.Now(ctx)
	if err != nil {
		return err
	}
	due, err := b.Notes.Notes(ctx, heardScope(account), now.Add(taskLease/2), 100)
	if err != nil {
		return err
	}
	for _, n := range due {
		ours := b.isAt(n.Key) // then no other process takes it
		if !ours && n.DueAt.After(now) {
			continue
		}
		n.DueAt = now.Add(taskLease)
		n, err := b.Notes.PutNote(ctx, n)
		if err != nil || ours {
			continue // or somebody else has taken it
		}
		b.spawn(func(ctx context.Context) { b.catchUp(ctx, n, now) })
	}
	return nil
}

// tooOld tells whoever pressed or typed what is so: a process that died may have
// done it, and had no time to cross it off.
func (b *Bot) tooOld(ctx context.Context, t *task, now time.Time) {
	if t.Request != "" {
		if st, err := b.show(ctx, t.Request); err == nil {
			st.Note = "vpsguard stopped while it was told what you pressed, " + policy.Ago(t.At, now) + "; nothing more is done about that now"
			b.again(t.Request)
			b.tellCaller(ctx, t, b.face.elsewhere(st, ""))
			return
		}
	}
	err := policy.Errorf(policy.Uncertain, "vpsguard stopped while it worked on what you typed or pressed, %s; whether that was filed is not said here", policy.Ago(t.At, now)).
		WithHint("Look with %s request list before you do it again. Nothing more is done now.", Command)
	b.tellCaller(ctx, t, b.face.refusal(err))
}

func (b *Bot) catchUp(ctx context.Context, n policy.Note, now time.Time) {
	var t task
	raw, err := b.client.sealed(n.Scope+"\n"+n.Key, n.Doc)
	if err == nil {
		err = json.Unmarshal(raw, &t)
	}
	switch {
	case err != nil: // nobody but this app wrote it, or it did not
		b.Log.ErrorContext(ctx, "a task in the ledger is not one of this app's, or cannot be read; it is not done", "error", err)
		_ = b.Notes.DropNote(ctx, n)
		return
	case now.Sub(t.At) > taskTooOld:
		_ = b.Notes.DropNote(ctx, n)
		b.tooOld(ctx, &t, now)
		return
	default:
		err = b.work(ctx, n, &t)
	}
	if err != nil {
		b.tellCaller(ctx, &t, b.face.refusal(b.public(ctx, &t, err)))
	}
}
