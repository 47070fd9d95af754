package slackfake

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Person is somebody at a Slack client. What they do is sent off before the call
// returns; [Delivery.Wait] tells how it ended.
type Person struct {
	f  *Fake
	id string
}

// User returns the person with that id.
func (f *Fake) User(id string) Person {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mustUser(id)
	return Person{f: f, id: id}
}

// ID returns the person's id.
func (p Person) ID() string { return p.id }

// Slash types a command into a channel: Slash("C1", "/vps", "server list"). There is
// no way to do that in a thread.
func (p Person) Slash(channel, command, text string) *Delivery {
	f := p.f
	f.mu.Lock()
	defer f.mu.Unlock()
	u, c := f.mustUser(p.id), f.mustChannel(channel)
	payload := f.slash(u, c, command, text)
	return f.dispatch(SlashCommands, strings.TrimSpace(command+" "+text), payload, func(d *Delivery) {
		d.reply = func(d *Delivery, body json.RawMessage) { f.replySlash(d, c.ID, u.ID, body) }
	})
}

// Say writes a message without mentioning the app, which does not learn of it.
// parent is the ts of the message it replies to, "" for none.
func (p Person) Say(channel, parent, text string) Message {
	f := p.f
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mustUser(p.id)
	f.mustChannel(channel)
	m := f.post(channel, p.id, parent, content{text: text, hasText: true})
	f.notify()
	return *m
}

// Mention writes a message that begins with the app's name. Slack tells the app only
// if it is in the channel.
func (p Person) Mention(channel, parent, text string) *Delivery {
	f := p.f
	f.mu.Lock()
	defer f.mu.Unlock()
	u, c := f.mustUser(p.id), f.mustChannel(channel)
	m := f.post(channel, p.id, parent, content{text: "<@" + Bot + "> " + text, hasText: true})
	what := "app_mention " + text
	if !c.has(Bot) {
		return f.answered(EventsAPI, what, Outcome{Error: "not_in_channel"})
	}
	inner := map[string]any{
		"type": "app_mention", "user": u.ID, "text": m.Text, "ts": m.TS, "channel": c.ID, "event_ts": m.TS,
		"team": u.Team, "client_msg_id": f.id("m"),
	}
	if u.Bot {
		inner["bot_id"] = "B" + u.ID
		delete(inner, "client_msg_id")
	}
	if parent != "" {
		inner["thread_ts"], inner["parent_user_id"] = parent, Bot
	}
	payload := f.event(inner)
	if u.Team != Team {
		inner["user_team"], inner["source_team"] = u.Team, u.Team
	}
	if c.ExtShared {
		payload["is_ext_shared_channel"] = true
	}
	return f.dispatch(EventsAPI, what, payload, nil)
}

// Click presses the button with that action_id, which has to be the only one.
func (p Person) Click(on Surface, action string) *Delivery { return p.ClickIn(on, "", action) }

// ClickIn presses the button with that action_id in a block.
//
// A Message is what the person had on the screen: a button that the app has taken
// away meanwhile can still be pressed, as on a client that is a moment behind.
func (p Person) ClickIn(on Surface, blockID, action string) *Delivery {
	return p.act(on, locate(on, blockID, action), nil)
}

// Press presses the button that says so, or the first that begins so.
func (p Person) Press(on Surface, says string) *Delivery {
	all := on.Buttons()
	i := slices.IndexFunc(all, func(b Button) bool { return b.Text == says })
	if i < 0 {
		i = slices.IndexFunc(all, func(b Button) bool { return strings.HasPrefix(b.Text, says) })
	}
	if i < 0 {
		panic(fmt.Sprintf("slackfake: no button says %q in:\n%s", says, on))
	}
	return p.ClickIn(on, all[i].Block, all[i].Action)
}

// Choose picks an option, by its value or its text, in a menu outside of an input
// block.
func (p Person) Choose(on Surface, action, value string) *Delivery {
	s := locate(on, "", action)
	return p.act(on, s, func() map[string]any { return s.chosen(value, p.f.offered[s.offer(on)]) })
}

// offer is the key of Fake.offered.
func (s spot) offer(on Surface) string {
	id := ""
	switch on := on.(type) {
	case Message:
		id = on.Channel + on.TS
	case View:
		id = on.ID
	}
	return id + " " + s.block + " " + s.action
}

// act sends block_actions.
func (p Person) act(on Surface, s spot, choose func() map[string]any) *Delivery {
	f := p.f
	f.mu.Lock()
	defer f.mu.Unlock()
	what := "block_actions " + s.action
	if v, ok := on.(View); ok && (f.views[v.ID] == nil || f.views[v.ID].closed) {
		return f.answered(Interactive, what, Outcome{Error: "the view is closed"})
	}
	u := f.mustUser(p.id)
	payload, m, v := f.actedIn("block_actions", u, on)
	deed := s.deed(f.ts())
	if choose != nil {
		for key, x := range choose() {
			deed[key] = x
		}
	}
	if v != nil && choose != nil {
		v.values[s.block][s.action] = choose()
		payload["view"] = v.json()
	}
	values := map[string]any{}
	if m != nil && choose != nil {
		values[s.block] = map[string]any{s.action: choose()}
	}
	if v == nil {
		payload["state"] = map[string]any{"values": values}
	}
	payload["trigger_id"] = f.trigger(u.ID, v)
	payload["actions"] = []map[string]any{deed}
	d := f.dispatch(Interactive, what, payload, nil)
	if c, ok := s.element["confirm"].(map[string]any); ok {
		d.out.Confirmed = text(c, "title", "text") + ": " + text(c, "text", "text")
	}
	return d
}

// Type types into a menu that asks the app for its options. They are in the Outcome,
// and can be chosen from then on.
func (p Person) Type(on Surface, action, query string) *Delivery {
	s := locate(on, "", action)
	if !strings.Contains(s.kind, "external_select") {
		panic(fmt.Sprintf("slackfake: %s is a %s and has its own options", action, s.kind))
	}
	f := p.f
	f.mu.Lock()
	defer f.mu.Unlock()
	least := 3
	if n, ok := s.element["min_query_length"].(float64); ok {
		least = int(n)
	}
	what := "block_suggestion " + action
	if chars(query) < least {
		return f.answered(Interactive, what, Outcome{})
	}
	u := f.mustUser(p.id)
	payload, _, _ := f.actedIn("block_suggestion", u, on)
	delete(payload, "response_url")
	payload["action_id"], payload["block_id"], payload["value"] = s.action, s.block, query
	return f.dispatch(Interactive, what, payload, func(d *Delivery) {
		d.accepts, d.options = true, true
		d.reply = func(d *Delivery, body json.RawMessage) { f.replyOptions(d, s.offer(on), body) }
	})
}

// Shortcut starts a global shortcut.
func (p Person) Shortcut(callbackID string) *Delivery {
	f := p.f
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.mustUser(p.id)
	payload := f.common("shortcut", u)
	payload["callback_id"], payload["action_ts"], payload["trigger_id"] = callbackID, f.ts(), f.trigger(u.ID, nil)
	return f.dispatch(Interactive, "shortcut "+callbackID, payload, nil)
}

// MessageShortcut starts a shortcut from the menu of a message.
func (p Person) MessageShortcut(m Message, callbackID string) *Delivery {
	f := p.f
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.mustUser(p.id)
	payload, on, _ := f.actedIn("message_action", u, m)
	delete(payload, "container")
	payload["callback_id"], payload["action_ts"], payload["trigger_id"] = callbackID, f.ts(), f.trigger(u.ID, nil)
	payload["message_ts"], payload["message"] = on.TS, copyJSON(on.json())
	return f.dispatch(Interactive, "message_action "+callbackID, payload, nil)
}
