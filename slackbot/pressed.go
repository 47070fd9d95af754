package slackbot

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vpsguard/vpsguard/policy"
)

// pressed does what a button asks for. Buttons that open a form open it; those
// that change something are written down first.
func (b *Bot) pressed(ctx context.Context, i interaction) {
	for _, a := range i.Actions {
		if handle := b.buttons()[a.ActionID]; handle != nil {
			handle(ctx, i, a.Value)
			continue
		}
		if verb, ok := strings.CutPrefix(a.ActionID, actRow); ok {
			b.opens(i, func(ctx context.Context, c call, _ policy.Actor) error { return b.askAboutRow(ctx, c, verb, a.Value) })
		}
	}
}

// buttons are what the buttons do, by action id.
func (b *Bot) buttons() map[string]func(context.Context, interaction, string) {
	return map[string]func(context.Context, interaction, string){
		actApprove: func(_ context.Context, i interaction, id string) { b.openDecision(i, id, formApprove) },
		actDeny:    func(_ context.Context, i interaction, id string) { b.openDecision(i, id, formDeny) },
		actCancel: func(ctx context.Context, i interaction, id string) {
			b.later(ctx, &task{Do: doCancel, Who: i.who(), From: i.from(), Request: id, answer: i.ResponseURL})
		},
		actAgain:       func(ctx context.Context, i interaction, id string) { b.askAgain(ctx, i, id, false) },
		actAgainNoCopy: func(ctx context.Context, i interaction, id string) { b.askAgain(ctx, i, id, true) },
		actUndo:        func(ctx context.Context, i interaction, id string) { b.undo(ctx, i, id) },
		actShow: func(_ context.Context, i interaction, id string) {
			b.opens(i, func(ctx context.Context, c call, actor policy.Actor) error { return b.showRequest(ctx, c, actor, id) })
		},
		actPage: func(_ context.Context, i interaction, key string) {
			b.opens(i, func(ctx context.Context, c call, actor policy.Actor) error {
				f, err := b.recall(ctx, key, formPage)
				if err != nil {
					return err
				}
				d, err := b.operation(f.Operation)
				if err != nil {
					return err
				}
				return b.read(ctx, c, actor, d, f.Given, true)
			})
		},
		actForm: func(_ context.Context, i interaction, key string) {
			b.opens(i, func(ctx context.Context, c call, _ policy.Actor) error {
				f, err := b.recall(ctx, key, formAsk)
				if err != nil {
					return err
				}
				d, err := b.operation(f.Operation)
				if err != nil {
					return err
				}
				c.from = f.From
				return b.ask(ctx, c, d, f.Given)
			})
		},
	}
}

// opens runs what only looks or opens a form, for a person of this workspace.
func (b *Bot) opens(i interaction, do func(context.Context, call, policy.Actor) error) {
	c := call{who: i.who(), from: i.from(), answer: i.ResponseURL, trigger: i.TriggerID}
	b.spawn(func(ctx context.Context) {
		actor, err := b.actor(ctx, c.who, c.from)
		if err == nil {
			err = do(ctx, c, actor)
		}
		b.refuse(ctx, c, err)
	})
}

// openDecision opens the form in which a person approves or denies. Whoever may
// not is told so now; whoever may is asked once more when the form is submitted.
func (b *Bot) openDecision(i interaction, id, kind string) {
	b.opens(i, func(ctx context.Context, c call, actor policy.Actor) error {
		st, err := b.show(ctx, id)
		if err != nil {
			return err
		}
		if b.ReadOnly {
			return policy.ErrReadOnly()
		}
		if st.Request.State != policy.StateHeld {
			b.again(id) // the card that was pressed is old
			return b.say(ctx, c, b.face.tooLate(st))
		}
		quick, cancel := context.WithTimeout(ctx, time.Second) // the trigger lives for three
		defer cancel()
		if err := b.People.Seems(quick, actor); policy.KindOf(err) == policy.Forbidden {
			return err
		}
		key, err := b.keepForm(ctx, form{
			Kind: kind, Request: id, Digest: st.Request.Plan.Digest, User: i.User.ID, From: i.from(), Message: i.Container.MessageTS,
		})
		if err != nil {
			return err
		}
		v := b.face.approveModal(st, key)
		if kind == formDeny {
			v = b.face.denyModal(st, key)
		}
		_, err = b.client.openView(ctx, i.TriggerID, v)
		return err
	})
}

// show tells how a request of this account stands. Others on the same ledger are
// none of this door's business.
func (b *Bot) show(ctx context.Context, id string) (policy.Standing, error) {
	st, err := b.Gate.Show(ctx, id)
	if err != nil {
		return policy.Standing{}, err
	}
	account, err := b.Account(ctx)
	if err != nil {
		return policy.Standing{}, err
	}
	if st.Request.Account != account {
		return policy.Standing{}, policy.Errorf(policy.NotFound, "there is no request %s", policy.Clean(id, 30))
	}
	return st, nil
}

// askAgain files what a request wanted once more, as a new request of whoever
// pressed.
func (b *Bot) askAgain(ctx context.Context, i interaction, id string, noCopy bool) {
	b.files(ctx, i, id, func(r policy.Request) (string, map[string]any, error) {
		args := map[string]any{}
		d := json.NewDecoder(strings.NewReader(string(r.Arguments)))
		d.UseNumber()
		if err := d.Decode(&args); err != nil {
			return "", nil, policy.Errorf(policy.Internal, "what %s was asked with cannot be read", id).Because(err)
		}
		if noCopy {
			args[policy.StepSafetyCopy] = false
		}
		if _, has := args[argReason]; has { // whoever presses has not said what it says
			args[argReason] = policy.Clean("asked again after "+id+"; the reason then: "+r.Reason, 500)
		}
		return r.Operation, args, nil
	})
}

// undo asks for the restore of the safety copy that a request has taken.
func (b *Bot) undo(ctx context.Context, i interaction, id string) {
	b.files(ctx, i, id, func(r policy.Request) (string, map[string]any, error) {
		if r.Undo == nil {
			return "", nil, policy.Errorf(policy.Conflict, "%s has no safety copy that could be restored", id)
		}
		all := b.Gate.Catalogue()
		n := slices.IndexFunc(all, func(d policy.Descriptor) bool { return d.Effect == policy.Overwrite && d.Noun == r.Undo.Kind })
		if n < 0 {
			return "", nil, policy.Errorf(policy.Forbidden, "this vpsguard cannot restore a %s", r.Undo.Kind)
		}
		args := about(all[n], r.Plan.Server.ID, *r.Undo)
		for _, a := range all[n].Arguments {
			if a.Name == argReason {
				args[a.Name] = "undo of " + id
			}
		}
		return all[n].Name, args, nil
	})
}

// about are the arguments that name a server and one of its recovery points.
func about(d policy.Descriptor, server int64, p policy.Point) map[string]any {
	args := map[string]any{}
	for _, a := range d.Arguments {
		switch a.Of {
		case ofServer:
			args[a.Name] = strconv.FormatInt(server, 10)
		case p.Kind:
			args[a.Name] = p.ID
		}
	}
	return args
}

// files files a new request that is made from an old one.
func (b *Bot) files(ctx context.Context, i interaction, id string, from func(policy.Request) (string, map[string]any, error)) {
	t := &task{Do: doCall, Who: i.who(), From: i.from(), answer: i.ResponseURL}
	err := func() error {
		st, err := b.show(ctx, id)
		if err != nil {
			return err
		}
		name, args, err := from(st.Request)
		if err != nil {
			return err
		}
		t.Operation = name
		t.Arguments, err = json.Marshal(args)
		return err
	}()
	if err == nil {
		b.later(ctx, t)
		return
	}
	b.spawn(func(ctx context.Context) { b.tellCaller(ctx, t, b.face.refusal(b.public(ctx, t, err))) })
}

// askAboutRow opens the form for what a row of a list offers.
func (b *Bot) askAboutRow(ctx context.Context, c call, verb, value string) error {
	kind, server, id, ok := readRow(value)
	all := b.Gate.Catalogue()
	n := slices.IndexFunc(all, func(d policy.Descriptor) bool { return d.Verb == verb && d.Noun == kind && d.Effect.Destroys() })
	if !ok || n < 0 {
		return policy.Errorf(policy.Invalid, "this button is of another version; nothing was done").WithHint("List again.")
	}
	return b.ask(ctx, c, all[n], about(all[n], server, policy.Point{Kind: kind, ID: id}))
}

// readRow reads what [rowValue] wrote.
func readRow(value string) (kind string, server, point int64, ok bool) {
	parts := strings.Fields(value)
	if len(parts) != 3 {
		return "", 0, 0, false
	}
	server, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return "", 0, 0, false
	}
	point, err = strconv.ParseInt(parts[2], 10, 64)
	return parts[0], server, point, err == nil
}

func (b *Bot) showRequest(ctx context.Context, c call, actor policy.Actor, id string) error {
	all := b.Gate.Catalogue()
	n := slices.IndexFunc(all, func(d policy.Descriptor) bool { return d.Noun == nounRequest && d.Verb == verbShow })
	if n < 0 {
		return policy.Errorf(policy.NotFound, "requests cannot be shown here")
	}
	given := map[string]any{}
	for _, a := range all[n].Arguments {
		if a.Required {
			given[a.Name] = id
		}
	}
	return b.read(ctx, c, actor, all[n], given, false)
}
