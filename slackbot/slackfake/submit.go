package slackfake

import (
	"encoding/json"
	"fmt"
	"slices"
)

// Values are what a person fills in, by block_id and action_id: a string, or a
// []string where several can be chosen. For a menu it is the option's value or its
// text.
type Values map[string]map[string]any

// Submit fills a modal in and submits it. What the client itself refuses, such as a
// required input without a value, is in the Outcome's Errors and never sent.
func (p Person) Submit(on View, values Values) *Delivery {
	f := p.f
	f.mu.Lock()
	defer f.mu.Unlock()
	what := "view_submission " + on.CallbackID
	v := f.views[on.ID]
	switch {
	case v == nil:
		panic(fmt.Sprintf("slackfake: there never was a view %q", on.ID))
	case v.closed:
		return f.answered(Interactive, what, Outcome{Error: "the view is closed"})
	case v.Submit == "":
		panic(fmt.Sprintf("slackfake: nothing to submit in:\n%s", v.Title))
	}
	f.enter(v, values)
	if errs := v.refusals(); len(errs) > 0 {
		return f.answered(Interactive, what, Outcome{Error: "the client refuses", Errors: errs})
	}
	v.Errors = nil
	u := f.mustUser(p.id)
	payload := f.common("view_submission", u)
	payload["view"], payload["response_urls"] = v.json(), []any{}
	payload["trigger_id"] = f.trigger(u.ID, v)
	return f.dispatch(Interactive, what, payload, func(d *Delivery) {
		d.accepts = true
		d.reply = func(d *Delivery, body json.RawMessage) { f.replySubmission(d, v, body) }
	})
}

// Fill fills an input in without submitting. Only an input with dispatch_action tells
// the app, and only then is there a Delivery.
func (p Person) Fill(on View, values Values) *Delivery {
	f := p.f
	f.mu.Lock()
	v := f.views[on.ID]
	if v == nil || v.closed {
		f.mu.Unlock()
		panic(fmt.Sprintf("slackfake: no view %q is open", on.ID))
	}
	f.enter(v, values)
	var tell *spot
	for _, s := range interactive(v.Blocks) {
		if _, given := values[s.block][s.action]; given && s.input != nil && s.input["dispatch_action"] == true {
			tell = &s
		}
	}
	f.mu.Unlock()
	if tell == nil {
		return nil
	}
	return p.act(on, *tell, func() map[string]any { return v.values[tell.block][tell.action] })
}

// enter puts values into a view. The lock is held.
func (f *Fake) enter(v *view, values Values) {
	spots := interactive(v.Blocks)
	for blockID, actions := range values {
		for action, value := range actions {
			i := slices.IndexFunc(spots, func(s spot) bool { return s.block == blockID && s.action == action })
			if i < 0 {
				panic(fmt.Sprintf("slackfake: there is no %q in block %q of the view %q", action, blockID, v.Title))
			}
			v.values[blockID][action] = spots[i].chosen(value, f.offered[spots[i].offer(v.View)])
		}
	}
}

// refusals are what a client does not let through.
func (v *view) refusals() map[string]string {
	out := map[string]string{}
	for _, s := range interactive(v.Blocks) {
		if s.input == nil {
			continue
		}
		given := v.values[s.block][s.action]
		value, _ := given["value"].(string)
		full := value != ""
		for _, key := range []string{
			"selected_option", "selected_user", "selected_channel", "selected_conversation", "selected_date", "selected_time",
		} {
			full = full || given[key] != nil && given[key] != ""
		}
		many, _ := given["selected_options"].([]any)
		full = full || len(many) > 0
		least, _ := s.element["min_length"].(float64)
		most, limited := s.element["max_length"].(float64)
		if !limited {
			most = 3000
		}
		switch n := float64(chars(value)); {
		case !full && s.input["optional"] != true:
			out[s.block] = "Please complete this required field."
		case s.kind == "plain_text_input" && full && n < least:
			out[s.block] = fmt.Sprintf("This entry has to be at least %v characters long", least)
		case s.kind == "plain_text_input" && n > most:
			out[s.block] = fmt.Sprintf("This entry cannot be longer than %v characters", most)
		}
	}
	return out
}

// CloseView closes a modal with its button; the one below, if any, is then on top. The
// app learns of it where the view has notify_on_close, else there is no Delivery.
func (p Person) CloseView(on View) *Delivery {
	f := p.f
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.views[on.ID]
	if v == nil || v.closed {
		return nil
	}
	v.closed = true
	cleared := v.clearOnClose
	if cleared {
		f.clear(v.User)
	}
	f.notify()
	if !v.notifyOnClose {
		return nil
	}
	payload := f.common("view_closed", f.mustUser(p.id))
	payload["view"], payload["is_cleared"] = v.json(), cleared
	return f.dispatch(Interactive, "view_closed "+v.CallbackID, payload, nil)
}

// clear closes all modals of a user. The lock is held.
func (f *Fake) clear(user string) {
	for _, v := range f.stack(user) {
		v.closed = true
	}
}

// replySlash takes the answer to a command. The lock is held.
func (f *Fake) replySlash(d *Delivery, channel, user string, body json.RawMessage) {
	if body == nil {
		return
	}
	var in args
	if err := json.Unmarshal(body, &in); err != nil {
		f.violate("malformed-answer", "%s: %v", d.What, err)
		return
	}
	if out := f.say(&responseURL{channel: channel, user: user}, in, "the answer to "+d.What); out.code() != "" {
		d.out.Error = out.code()
	}
}

// replySubmission takes the answer to a submission. The lock is held.
func (f *Fake) replySubmission(d *Delivery, v *view, body json.RawMessage) {
	if body == nil {
		v.closed = true
		return
	}
	var in struct {
		Action string            `json:"response_action"`
		Errors map[string]string `json:"errors"`
		View   any               `json:"view"`
	}
	err := json.Unmarshal(body, &in)
	bad := func(why string) {
		f.violate("malformed-answer", "%s: %s", d.What, why)
		d.out.Error = TroubleConnecting
	}
	switch {
	case err != nil:
		bad(err.Error())
	case in.Action == "clear":
		f.clear(v.User)
	case in.Action == "errors":
		f.takeErrors(d, v, in.Errors, bad)
	case in.Action == "update" || in.Action == "push":
		m, wrong := f.readView(in.View, "the answer to "+d.What)
		switch {
		case wrong != nil:
			d.out.Error = TroubleConnecting
		case in.Action == "update":
			f.fill(v, m)
		case len(f.stack(v.User)) >= maxStack:
			bad("push_limit_reached")
		default:
			f.show(v.User, m, v)
		}
	default:
		bad(fmt.Sprintf("response_action %q", in.Action))
	}
}

// takeErrors shows what an app has against a submission. The lock is held.
func (f *Fake) takeErrors(d *Delivery, v *view, errs map[string]string, bad func(string)) {
	if len(errs) == 0 {
		bad("errors without any")
		return
	}
	for id, says := range errs {
		if !slices.ContainsFunc(v.Blocks, func(b map[string]any) bool {
			return text(b, "block_id") == id && text(b, "type") == "input"
		}) {
			bad(fmt.Sprintf("an error for %q, which is no input block of the view", id))
			return
		}
		if says == "" || chars(says) > 2000 {
			bad(fmt.Sprintf("the error for %q has %d characters", id, chars(says)))
			return
		}
	}
	v.Errors, d.out.Errors = errs, errs
}

// replyOptions takes the options of a menu. The lock is held.
func (f *Fake) replyOptions(d *Delivery, key string, body json.RawMessage) {
	var in map[string]any
	if body == nil || json.Unmarshal(body, &in) != nil {
		f.violate("malformed-answer", "%s: no options", d.What)
		d.out.Error = "no options"
		return
	}
	c := newCheck(false)
	shape{
		fields: map[string]rule{"options": list(0, 100, option(false)), "option_groups": list(0, 100, optionGroup)},
		either: []string{"options", "option_groups"}, xor: true,
	}.check(c, in, "")
	if len(c.problems) > 0 {
		f.violate("invalid-options", "%s: %v", d.What, c.problems)
		d.out.Error = "invalid options"
		return
	}
	add := func(group string, list []map[string]any) {
		for _, o := range list {
			d.out.Options = append(d.out.Options, Option{
				Group: group, Text: text(o, "text", "text"), Value: text(o, "value"), Description: text(o, "description", "text"),
			})
		}
	}
	add("", objects(in["options"]))
	for _, g := range objects(in["option_groups"]) {
		add(text(g, "label", "text"), objects(g["options"]))
	}
	f.offered[key] = append(objects(in["options"]), grouped(in)...)
}
