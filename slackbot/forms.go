package slackbot

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/vpsguard/vpsguard/policy"
)

// What a form is about.
const (
	formApprove = "approve"
	formDeny    = "deny"
	formAsk     = "ask"
	formPage    = "page"
)

// formLives is how long what a form is about is remembered. A request waits no
// longer than a day.
const formLives = 24 * time.Hour

// form is what a form, or a button, is about. In Slack there is a key to it and
// nothing else, so that nothing in a payload has to be believed.
type form struct {
	Kind    string `json:"kind"`
	User    string `json:"user,omitempty"` // whom it was shown
	From    origin `json:"from"`
	Message string `json:"message,omitempty"` // ts of the card

	Request string `json:"request,omitempty"`
	Digest  string `json:"digest,omitempty"` // of the plan that it shows

	Operation string         `json:"operation,omitempty"`
	Given     map[string]any `json:"given,omitempty"`
}

const scopeForms = "form"

// keepForm remembers what a form is about, and gives the key to it.
func (b *Bot) keepForm(ctx context.Context, f form) (string, error) {
	now, err := b.Notes.Now(ctx)
	if err != nil {
		return "", err
	}
	raw, err := json.Marshal(f)
	if err != nil {
		return "", err
	}
	n := policy.Note{Scope: scopeForms, Key: b.random(26), DueAt: now.Add(formLives), Doc: string(raw)}
	_, err = b.Notes.PutNote(ctx, n)
	return n.Key, err
}

// recall gives what a form of some kinds is about.
func (b *Bot) recall(ctx context.Context, key string, kinds ...string) (form, error) {
	var f form
	n, err := b.Notes.Note(ctx, scopeForms, key)
	if err != nil && policy.KindOf(err) != policy.NotFound {
		return f, err
	}
	if err == nil {
		d := json.NewDecoder(strings.NewReader(n.Doc))
		d.UseNumber()
		err = d.Decode(&f)
	}
	for _, kind := range kinds {
		if err == nil && f.Kind == kind {
			return f, nil
		}
	}
	return f, policy.Errorf(policy.Expired, "this form or button is too old; nothing was done").WithHint("Begin again.")
}

// forgetForms drops what nobody will come back to.
func (b *Bot) forgetForms(ctx context.Context) error {
	now, err := b.Notes.Now(ctx)
	if err != nil {
		return err
	}
	due, err := b.Notes.Notes(ctx, scopeForms, now, 100)
	for _, n := range due {
		if failed := b.Notes.DropNote(ctx, n); err == nil && policy.KindOf(failed) != policy.Conflict {
			err = failed
		}
	}
	return err
}

// submitted takes a form. What is wrong is shown in it; otherwise it closes. A
// decision is in the ledger before its form closes, unless that takes longer
// than Slack waits: then the person is told as soon as it is.
func (b *Bot) submitted(ctx context.Context, i interaction) json.RawMessage {
	t, wrong, err := b.readForm(ctx, i)
	block := lastInput(i)
	switch {
	case err != nil:
		return inForm(map[string]string{block: b.sentence(ctx, &task{Who: i.who()}, err)})
	case len(wrong) > 0:
		return inForm(wrong)
	}
	if t.Request != "" { // what is decided already need not be written down to be told
		defer b.inTurn(ctx, t.Request)()
		if st, err := b.Gate.Show(ctx, t.Request); err == nil && st.Request.State != policy.StateHeld {
			late := *t
			late.Digest = "" // it is to be refused and recorded, whatever a clock says then
			b.spawn(func(ctx context.Context) { _ = b.do(ctx, &late) })
			return inForm(map[string]string{block: b.sentence(ctx, t, policy.Closed(st))})
		}
	}
	n, err := b.hear(ctx, t)
	if err != nil {
		return inForm(map[string]string{block: b.sentence(ctx, t, err)})
	}
	done := make(chan error, 1)
	b.spawn(func(ctx context.Context) { done <- b.work(ctx, n, t) })
	select {
	case err := <-done:
		if err != nil {
			return inForm(map[string]string{block: b.sentence(ctx, t, err)})
		}
	case <-ctx.Done():
		b.spawn(func(ctx context.Context) { b.tellLate(ctx, t, <-done) })
	}
	return nil
}

// turnLasts is how long somebody waits for others who decide on the same request.
const turnLasts = time.Second

// inTurn lets those who decide on one request do so one after the other, so that
// whoever comes too late can be told so without the ledger's being written. It does
// not wait for ever: the ledger keeps them apart in any case.
func (b *Bot) inTurn(ctx context.Context, id string) (leave func()) {
	b.mu.Lock()
	if b.turns == nil {
		b.turns = map[string]*turn{}
	}
	q := b.turns[id]
	if q == nil {
		q = &turn{free: make(chan struct{}, 1)}
		b.turns[id] = q
	}
	q.waiting++
	b.mu.Unlock()
	t := time.NewTimer(turnLasts)
	defer t.Stop()
	mine := false
	select {
	case q.free <- struct{}{}:
		mine = true
	case <-t.C:
	case <-ctx.Done():
	}
	return func() {
		if mine {
			<-q.free
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if q.waiting--; q.waiting == 0 {
			delete(b.turns, id)
		}
	}
}

// turn is the queue of those who decide on one request.
type turn struct {
	free    chan struct{}
	waiting int
}

// missed tells somebody alone what was wrong with a form whose acknowledgement had to
// be given before that was known.
func (b *Bot) missed(d delivery, ack json.RawMessage) {
	var i interaction
	var answer struct {
		Errors map[string]string `json:"errors"`
	}
	if d.Kind != kindInteraction || json.Unmarshal(d.Body, &i) != nil || json.Unmarshal(ack, &answer) != nil || len(answer.Errors) == 0 {
		return
	}
	b.spawn(func(ctx context.Context) {
		f, err := b.recall(ctx, i.View.Metadata, formApprove, formDeny, formAsk)
		if err != nil {
			b.Log.WarnContext(ctx, "somebody could not be answered", append((&task{Who: i.who()}).about(), "error", err)...)
			return
		}
		for _, text := range answer.Errors {
			b.tellCaller(ctx, &task{Who: i.who(), From: f.From}, b.face.refusal(policy.Errorf(policy.Conflict, "%s", text)))
		}
	})
}

// readForm makes a task of a form that was submitted.
func (b *Bot) readForm(ctx context.Context, i interaction) (t *task, wrong map[string]string, err error) {
	f, err := b.recall(ctx, i.View.Metadata, formApprove, formDeny, formAsk)
	if err != nil {
		return nil, nil, err
	}
	if f.User != "" && f.User != i.User.ID || f.Kind != i.View.CallbackID {
		return nil, nil, policy.Errorf(policy.Forbidden, "this form was opened for somebody else; nothing was done").WithHint("Open it yourself.")
	}
	t = &task{Who: i.who(), From: f.From, Request: f.Request, Digest: f.Digest}
	values := i.View.State.Values
	switch f.Kind {
	case formApprove:
		t.Do, t.Typed, t.Note = doDecide, entered(values, fieldTyped), entered(values, fieldNote)
	case formDeny:
		t.Do, t.Note = doDeny, entered(values, fieldNote)
	default:
		d, err := b.operation(f.Operation)
		if err != nil {
			return nil, nil, err
		}
		given, wrong := b.readAsked(d, f, values)
		if len(wrong) > 0 {
			return nil, wrong, nil
		}
		raw, err := json.Marshal(given)
		if err != nil {
			return nil, nil, err
		}
		t.Do, t.Operation, t.Arguments = doCall, d.Name, raw
		return t, nil, nil
	}
	t.Proof = map[string]string{
		"team": t.Who.Team, "user": t.Who.User, "action": "view_submission " + f.Kind, "channel": f.From.Channel,
		"message_ts": f.Message, "view": i.View.ID, "plan": f.Digest,
	}
	return t, nil, nil
}

// readAsked reads a form for what was missing, with what was given before.
func (b *Bot) readAsked(d policy.Descriptor, f form, values map[string]map[string]blockValue) (map[string]any, map[string]string) {
	given, wrong := readAsk(d, values)
	for name, value := range f.Given {
		if _, filled := given[name]; !filled {
			given[name] = value
		}
	}
	return given, wrong
}

// entered is what was typed into a field that is named like its block.
func entered(values map[string]map[string]blockValue, field string) string {
	return strings.TrimSpace(values[field][field].Value)
}

// lastInput is the block below which what is wrong with a whole form is shown:
// any that Slack gives back is there, and the name to type is looked at first.
func lastInput(i interaction) string {
	values := i.View.State.Values
	if _, ok := values[fieldTyped]; ok {
		return fieldTyped
	}
	return slices.Max(append(slices.Collect(maps.Keys(values)), ""))
}

// tellLate tells what came of a form that closed before it was known.
func (b *Bot) tellLate(ctx context.Context, t *task, err error) {
	if err != nil {
		b.tellCaller(ctx, t, b.face.refusal(b.public(ctx, t, err)))
		return
	}
	if t.Request == "" {
		return // its card tells
	}
	if st, err := b.Gate.Show(ctx, t.Request); err == nil {
		b.tellCaller(ctx, t, b.face.elsewhere(st, ""))
	}
}

// sentence is an error as one text, for a form.
func (b *Bot) sentence(ctx context.Context, t *task, err error) string {
	e := b.public(ctx, t, err)
	if e.Hint == "" {
		return capital(e.Message)
	}
	return capital(e.Message) + ". " + e.Hint
}

// inForm is the acknowledgement that shows, by block, what is wrong with a form.
func inForm(wrong map[string]string) json.RawMessage {
	for block, text := range wrong {
		wrong[block] = policy.Clean(text, 400)
	}
	raw, err := json.Marshal(struct {
		Action string            `json:"response_action"`
		Errors map[string]string `json:"errors"`
	}{"errors", wrong})
	if err != nil {
		panic(err) // texts only
	}
	return raw
}
