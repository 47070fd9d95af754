package slackbot

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/vpsguard/vpsguard/policy"
)

// call is a command that somebody has typed.
type call struct {
	text    string
	who     who
	from    origin
	answer  string // a response_url, or ""
	trigger string // opens a form, or ""
}

// typed does what somebody typed. What changes something is written down first.
func (b *Bot) typed(ctx context.Context, c call) {
	cmd, err := b.grammar.parse(c.text)
	changes := err == nil && !cmd.Help && len(cmd.Missing) == 0 && cmd.Operation.Effect != policy.Read
	if !changes {
		b.spawn(func(ctx context.Context) {
			if err == nil {
				err = b.look(ctx, c, cmd)
			}
			b.refuse(ctx, c, err)
		})
		return
	}
	args, err := cmd.arguments()
	if err != nil {
		b.spawn(func(ctx context.Context) { b.refuse(ctx, c, err) })
		return
	}
	b.later(ctx, &task{Do: doCall, Who: c.who, From: c.from, Operation: cmd.Operation.Name, Arguments: args, answer: c.answer})
}

// later writes a task down and does it after the acknowledgement.
func (b *Bot) later(ctx context.Context, t *task) {
	n, err := b.hear(ctx, t)
	b.spawn(func(ctx context.Context) {
		if err == nil {
			err = b.work(ctx, n, t)
		}
		if err != nil {
			b.tellCaller(ctx, t, b.face.refusal(b.public(ctx, t, err)))
		}
	})
}

// look answers what changes nothing: help, lists, requests, and commands that
// are not complete.
func (b *Bot) look(ctx context.Context, c call, cmd command) error {
	actor, err := b.actor(ctx, c.who, c.from)
	if err != nil {
		return err
	}
	if cmd.Help {
		return b.say(ctx, c, b.face.helpMessage(b.grammar.helpOn(cmd.Topic).lines()))
	}
	if len(cmd.Missing) > 0 {
		return b.ask(ctx, c, cmd.Operation, cmd.Given)
	}
	return b.read(ctx, c, actor, cmd.Operation, cmd.Given, false)
}

// read calls an operation that only reads, and shows what it found to the caller
// alone. again replaces the message that the call came from.
func (b *Bot) read(ctx context.Context, c call, actor policy.Actor, d policy.Descriptor, given map[string]any, again bool) error {
	raw, err := json.Marshal(given)
	if err != nil {
		return err
	}
	out, err := b.Gate.Call(ctx, policy.Call{Actor: actor, Operation: d.Name, Arguments: raw, Place: c.from.String()})
	if err != nil {
		return err
	}
	if out.Standing != nil {
		return b.say(ctx, c, b.face.card(*out.Standing, cardOptions{Buttons: true, Key: out.Standing.Request.ID, ByMessage: byMessage(*out.Standing)}))
	}
	o := listOptions{Actions: b.actions()}
	if out.Listing.Next != "" {
		next := maps.Clone(given)
		if next == nil {
			next = map[string]any{}
		}
		next[policy.CursorArgument.Name] = out.Listing.Next
		if o.NextKey, err = b.keepForm(ctx, form{Kind: formPage, Operation: d.Name, Given: next, From: c.from}); err != nil {
			return err
		}
	}
	m := b.face.listing(d, *out.Listing, o)
	if again && c.answer != "" {
		return b.client.respond(ctx, c.answer, m, true)
	}
	return b.say(ctx, c, m)
}

func byMessage(st policy.Standing) bool {
	o, _ := readOrigin(st.Request.Place)
	return o.ByMessage
}

// actions are the operations that rows of lists offer.
func (b *Bot) actions() []policy.Descriptor {
	return slices.DeleteFunc(b.Gate.Catalogue(), func(d policy.Descriptor) bool { return !d.Effect.Destroys() })
}

// ask opens a form for what is missing. A message cannot open one; then a button
// does.
func (b *Bot) ask(ctx context.Context, c call, d policy.Descriptor, given map[string]any) error {
	key, err := b.keepForm(ctx, form{Kind: formAsk, Operation: d.Name, Given: given, From: c.from, User: c.who.User})
	if err != nil {
		return err
	}
	if c.trigger == "" {
		return b.say(ctx, c, b.face.unfinished(d, b.grammar.example(d), key))
	}
	_, err = b.client.openView(ctx, c.trigger, b.face.askModal(d, given, key))
	return err
}

// do does a task.
func (b *Bot) do(ctx context.Context, t *task) error {
	actor, err := b.actor(ctx, t.Who, t.From)
	if err != nil {
		return err
	}
	switch t.Do {
	case doCall:
		return b.callFor(ctx, actor, t)
	case doDecide, doDeny:
		v := policy.Verdict{By: actor, Way: policy.WaySlack, Digest: t.Digest, Typed: t.Typed, Note: t.Note, Proof: t.Proof}
		if t.Do == doDecide {
			_, err = b.Gate.Decide(ctx, t.Request, v)
		} else {
			_, err = b.Gate.Deny(ctx, t.Request, v)
		}
	case doCancel:
		_, err = b.Gate.Cancel(ctx, t.Request, actor)
	default:
		err = policy.Errorf(policy.Internal, "an unknown kind of task: %s", t.Do)
	}
	b.poke(t.Request) // also where it was refused: what the card shows may be old
	return err
}

// callFor makes a call that changes something. What comes of it is told by the
// request's card; the caller alone is told what the card does not say.
func (b *Bot) callFor(ctx context.Context, actor policy.Actor, t *task) error {
	if err := b.ownOnly(ctx, actor, t); err != nil {
		return err
	}
	out, err := b.Gate.Call(ctx, policy.Call{Actor: actor, Operation: t.Operation, Arguments: t.Arguments, Place: t.From.String()})
	if err != nil {
		return err
	}
	if out.Standing == nil {
		return policy.Errorf(policy.Internal, "a call that changes something found no request")
	}
	st := *out.Standing
	for range int(leaseFor / time.Second) {
		wait, err := b.Tell(ctx, st.Request.ID)
		if err != nil {
			b.Log.WarnContext(ctx, "a card is not up to date yet", "request", st.Request.ID, "error", err)
		}
		if err != nil || wait == 0 || wait >= tryAgain || b.isShown(ctx, st.Request, t.From) {
			break
		}
		_ = sleepFor(ctx, min(wait, time.Second)) // somebody else is at it
	}
	if !st.Again && b.isShown(ctx, st.Request, t.From) {
		return nil
	}
	b.tellCaller(ctx, t, b.face.elsewhere(st, b.whereabouts(ctx, st.Request, t.From)))
	return nil
}

// ownOnly lets a message withdraw only what its writer has asked for: programs can
// write in people's names, and what approvers may do takes more than a text.
func (b *Bot) ownOnly(ctx context.Context, actor policy.Actor, t *task) error {
	d, err := b.operation(t.Operation)
	if err != nil || !t.From.ByMessage || d.Noun != nounRequest {
		return err
	}
	args, err := policy.ParseArguments(d, t.Arguments)
	if err != nil {
		return err
	}
	for _, a := range d.Arguments {
		id, err := policy.ParseRequestID(args.Text(a.Name))
		if err != nil {
			return err
		}
		st, err := b.show(ctx, id)
		if err != nil {
			return err
		}
		if st.Request.Actor.Key() != actor.Key() {
			return policy.Errorf(policy.Forbidden, "a message withdraws only what you have asked for yourself").
				WithHint("Press Cancel on the card, or use the command %s.", Command)
		}
	}
	return nil
}

// places are where a request is shown.
func (b *Bot) places(ctx context.Context, r policy.Request) []*place {
	n, err := b.Notes.Note(ctx, policy.ToldScope(r.Account), r.ID)
	if err != nil {
		return nil
	}
	var s shown
	if s.read(n.Doc) != nil {
		return nil
	}
	return slices.DeleteFunc(s.Places, func(p *place) bool { return p.TS == "" || p.Closed != "" })
}

// isShown tells whether a request is shown where somebody has asked.
func (b *Bot) isShown(ctx context.Context, r policy.Request, from origin) bool {
	return slices.ContainsFunc(b.places(ctx, r), func(p *place) bool { return p.Channel == from.Channel && p.Thread == from.Thread })
}

// whereabouts is a link to a card of a request, to one in the same channel if
// there is one.
func (b *Bot) whereabouts(ctx context.Context, r policy.Request, from origin) (link string) {
	for _, p := range b.places(ctx, r) {
		if link == "" || p.Channel == from.Channel {
			if l, err := b.client.permalink(ctx, p.Channel, p.TS); err == nil {
				link = l
			}
		}
	}
	return link
}

// say answers the caller alone.
func (b *Bot) say(ctx context.Context, c call, m message) error {
	if c.answer != "" {
		return b.client.respond(ctx, c.answer, m, false)
	}
	return b.client.ephemeral(ctx, c.from.Channel, c.from.Thread, c.who.User, m)
}

// refuse tells the caller what went wrong, if anything did.
func (b *Bot) refuse(ctx context.Context, c call, err error) {
	if err == nil {
		return
	}
	t := &task{Who: c.who, From: c.from, answer: c.answer}
	b.tellCaller(ctx, t, b.face.refusal(b.public(ctx, t, err)))
}

// tellCaller answers whoever wanted a task done, alone.
func (b *Bot) tellCaller(ctx context.Context, t *task, m message) {
	ctx, cancel := context.WithTimeout(ctx, taskTooOld)
	defer cancel()
	err := b.say(ctx, call{who: t.Who, from: t.From, answer: t.answer}, m)
	if err != nil && t.answer != "" { // it has an end, and a number of uses
		err = b.say(ctx, call{who: t.Who, from: t.From}, m)
	}
	var e *slackError
	for errors.As(err, &e) && e.Code == codeRateLimited && sleepFor(ctx, max(e.After, time.Second)) == nil {
		err = b.say(ctx, call{who: t.Who, from: t.From}, m) // many are told at once
	}
	if gone(err) || slices.Contains(placeCodes, slackCode(err)) { // not there: then in private
		_, err = b.client.post(ctx, t.Who.User, "", m)
	}
	if err != nil {
		b.Log.WarnContext(ctx, "somebody could not be answered", append(t.about(), "error", err)...)
	}
}

// actor is who called. A message proves less than a command.
func (b *Bot) actor(ctx context.Context, w who, from origin) (policy.Actor, error) {
	a, err := b.People.Actor(ctx, w.Team, w.Enterprise, w.User)
	if err == nil && from.ByMessage {
		a.Vouched, a.ByMessage = "a message in Slack in their name", true
	}
	return a, err
}

// public is what people are told of an error; what is inside goes to the log.
func (b *Bot) public(ctx context.Context, t *task, err error) *policy.Error {
	e := said(err)
	if e.Kind == policy.Internal || e.Kind == policy.Unavailable || e.Kind == policy.Uncertain {
		b.Log.WarnContext(ctx, "a call failed", append(t.about(), "kind", e.Kind, "error", err)...)
	}
	return e
}
