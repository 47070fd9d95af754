package slackfake

import (
	"fmt"
	"strings"
)

// common fills in what every payload of a person's act has. The lock is held.
func (f *Fake) common(kind string, u *User) map[string]any {
	m := map[string]any{
		"type": kind, "api_app_id": App, "token": "unused",
		"team":       map[string]any{"id": Team, "domain": "example"},
		"user":       map[string]any{"id": u.ID, "username": u.Name, "name": u.Name, "team_id": u.Team},
		"enterprise": nil,
	}
	if f.o.Enterprise != "" {
		// Slack leaves it out now and then; so it is only there where it matters.
		m["is_enterprise_install"] = false
		m["enterprise"] = map[string]any{"id": f.o.Enterprise, "name": "Example Group"}
	}
	return m
}

// slash is the payload of a command. The lock is held.
func (f *Fake) slash(u *User, c *Channel, command, text string) map[string]any {
	name := c.Name
	if c.Private {
		name = "privategroup"
	}
	m := map[string]any{
		"token": "unused", "team_id": u.Team, "team_domain": "example", "channel_id": c.ID, "channel_name": name,
		"user_id": u.ID, "user_name": u.Name, "command": command, "text": text, "api_app_id": App,
		"response_url": f.responseURL(c.ID, u.ID, "", nil), "trigger_id": f.trigger(u.ID, nil),
	}
	if f.o.Enterprise != "" {
		m["enterprise_id"], m["enterprise_name"], m["is_enterprise_install"] = f.o.Enterprise, "Example Group", "false"
	}
	return m
}

// event is the payload of an event. The lock is held.
func (f *Fake) event(inner map[string]any) map[string]any {
	now := f.o.Now()
	if inner["event_ts"] == nil {
		inner["event_ts"] = f.ts()
	}
	return map[string]any{
		"token": "unused", "team_id": Team, "api_app_id": App, "event": inner, "type": "event_callback",
		"event_id": f.id("Ev"), "event_time": now.Unix(), "is_ext_shared_channel": false,
		"authorizations": []map[string]any{{
			"enterprise_id": nil, "team_id": Team, "user_id": Bot, "is_bot": true, "is_enterprise_install": false,
		}},
	}
}

// Event sends an event to the app, such as {"type": "tokens_revoked", …}.
func (f *Fake) Event(inner map[string]any) *Delivery {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dispatch(EventsAPI, fmt.Sprint(inner["type"]), f.event(copyJSON(inner)), nil)
}

// actedIn is the payload of an act in a message or a view. The lock is held.
func (f *Fake) actedIn(kind string, u *User, on Surface) (payload map[string]any, m *Message, v *view) {
	payload = f.common(kind, u)
	switch on := on.(type) {
	case Message:
		m = f.real(on)
		c := f.mustChannel(m.Channel)
		payload["channel"] = map[string]any{"id": c.ID, "name": c.Name}
		container := map[string]any{
			"type": "message", "message_ts": m.TS, "channel_id": m.Channel, "is_ephemeral": m.To != "",
		}
		if m.Parent != "" {
			container["thread_ts"] = m.Parent
		}
		payload["container"] = container
		if m.To == "" {
			payload["message"] = copyJSON(m.json())
		}
		payload["response_url"] = f.responseURL(m.Channel, u.ID, m.Parent, m)
	case View:
		v = f.views[on.ID]
		payload["container"] = map[string]any{"type": "view", "view_id": v.ID}
		payload["view"] = v.json()
	}
	return payload, m, v
}

// real finds the message that a snapshot shows. The lock is held.
func (f *Fake) real(m Message) *Message {
	where := f.messages
	if m.To != "" {
		where = f.ephemerals
	}
	for _, x := range where {
		if x.TS == m.TS && x.Channel == m.Channel {
			return x
		}
	}
	panic(fmt.Sprintf("slackfake: there never was a message %s in %s", m.TS, m.Channel))
}

// deed is one entry of the actions of block_actions.
func (s spot) deed(now string) map[string]any {
	m := map[string]any{"action_id": s.action, "block_id": s.block, "type": s.kind, "action_ts": now}
	for _, key := range []string{"text", "value", "style", "url", "placeholder"} {
		if s.element[key] != nil && s.element[key] != "" {
			m[key] = s.element[key]
		}
	}
	return m
}

// chosen is the value of an element when a person has given it value, a string or a
// []string. offered are the options of a type-ahead menu.
func (s spot) chosen(value any, offered []map[string]any) map[string]any {
	out := map[string]any{"type": s.kind}
	one, _ := value.(string)
	switch s.kind {
	case "plain_text_input", "number_input", "email_text_input", "url_text_input":
		out["value"] = nil
		if one != "" {
			out["value"] = one
		}
	case "static_select", "external_select", "radio_buttons", "overflow":
		out["selected_option"] = s.optionOf(one, offered)
	case "checkboxes", "multi_static_select", "multi_external_select":
		many, _ := value.([]string)
		if one != "" {
			many = []string{one}
		}
		list := []any{}
		for _, x := range many {
			list = append(list, s.optionOf(x, offered))
		}
		out["selected_options"] = list
	case "users_select":
		out["selected_user"] = one
	case "conversations_select":
		out["selected_conversation"] = one
	case "channels_select":
		out["selected_channel"] = one
	case "datepicker":
		out["selected_date"] = one
	case "timepicker":
		out["selected_time"] = one
	default:
		panic(fmt.Sprintf("slackfake: nothing can be chosen in a %s", s.kind))
	}
	return out
}

// optionOf finds the option with that value or, failing that, that text.
func (s spot) optionOf(want string, offered []map[string]any) any {
	if want == "" {
		return nil
	}
	all := append(objects(s.element["options"]), grouped(s.element)...)
	if strings.Contains(s.kind, "external") {
		all = offered
	}
	for _, match := range []func(map[string]any) string{
		func(o map[string]any) string { return text(o, "value") },
		func(o map[string]any) string { return text(o, "text", "text") },
	} {
		for _, o := range all {
			if match(o) == want {
				return o
			}
		}
	}
	panic(fmt.Sprintf("slackfake: %q is not offered in %s; of a type-ahead menu only what Type has shown", want, s.action))
}
