package slackfake

import (
	"regexp"
	"slices"
	"strings"
)

var validTS = regexp.MustCompile(`^\d{10}\.\d{6}$`)

// conversation finds the channel of a call as the app sees it.
func (f *Fake) conversation(id string) (*Channel, string) {
	if c := f.channels[id]; c != nil && (!c.Private && !c.Direct || c.has(Bot)) {
		return c, ""
	}
	return nil, "channel_not_found"
}

// place finds the channel a call wants to write to. A user's id means the
// conversation with that user.
func (f *Fake) place(in args) (*Channel, string) {
	id := in.str("channel")
	if u := f.users[id]; u != nil {
		return f.direct(u), ""
	}
	c, code := f.conversation(id)
	switch {
	case code != "":
		return nil, code
	case c.Archived:
		return nil, "is_archived"
	case !c.has(Bot) && !slices.Contains(f.scopes, "chat:write.public"):
		return nil, "not_in_channel"
	case c.Restricted:
		return nil, "restricted_action"
	}
	return c, ""
}

func (f *Fake) direct(u *User) *Channel {
	id := "D" + u.ID
	c := f.channels[id]
	if c == nil {
		c = &Channel{ID: id, Name: "directmessage", Direct: true, Members: []string{u.ID, Bot}}
		f.channels[id] = c
	}
	return c
}

func (f *Fake) chatPostMessage(in args) answer {
	c, code := f.place(in)
	if code != "" {
		return fail(code)
	}
	what := "chat.postMessage in " + c.ID
	body, wrong := f.readContent(in, what)
	if wrong != nil {
		return wrong
	}
	if !body.hasText && len(body.blocks) == 0 {
		return fail("no_text")
	}
	if long := body.totalled(); long != nil {
		f.violate("too-long", "%s: the blocks together", what)
		return long
	}
	parent := in.str("thread_ts")
	if parent != "" {
		up := f.message(c.ID, parent)
		switch {
		case !validTS.MatchString(parent):
			return fail("invalid_arguments")
		case up == nil:
			// Not documented for this method; an answer that nobody finds is an error here.
			f.violate("thread-of-nothing", "%s: no message %s", what, parent)
			return fail("thread_not_found")
		case up.Parent != "":
			f.violate("reply-to-a-reply", "%s: %s is a reply itself", what, parent)
			parent = up.Parent
		}
	}
	m := f.post(c.ID, Bot, parent, body)
	m.Broadcast = parent != "" && in.yes("reply_broadcast")
	m.UnfurlLinks, m.UnfurlMedia = in.maybe("unfurl_links"), in.maybe("unfurl_media")
	return answer{"ok": true, "channel": c.ID, "ts": m.TS, "message": copyJSON(m.json())}
}

// post adds a message. The lock is held.
func (f *Fake) post(channel, from, parent string, body content) *Message {
	m := &Message{
		Channel: channel, TS: f.ts(), Parent: parent, From: from, Text: body.text, Blocks: body.blocks,
		At: f.o.Now(), Versions: 1, Metadata: body.metadata, f: f,
	}
	f.messages = append(f.messages, m)
	return m
}

// revise changes a message and keeps what it was. The lock is held.
func (f *Fake) revise(m *Message, body content) {
	old := *m
	old.history = nil
	m.history = append(m.history, old)
	m.Versions++
	m.Edited = f.o.Now()
	if body.given || body.hasText {
		// A text without blocks removes the blocks.
		m.Blocks = body.blocks
	}
	if body.hasText {
		m.Text = body.text
	}
	if body.metadata != nil {
		m.Metadata = body.metadata
	}
}

func (a args) maybe(key string) *bool {
	if a[key] == nil {
		return nil
	}
	v := a.yes(key)
	return &v
}

// own finds the message of a call that only its poster may make.
func (f *Fake) own(in args, refusal string) (*Message, string) {
	c, code := f.conversation(in.str("channel"))
	if code != "" {
		return nil, code
	}
	ts := in.str("ts")
	if !validTS.MatchString(ts) {
		return nil, "message_not_found"
	}
	m := f.message(c.ID, ts)
	switch {
	case m == nil:
		if slices.ContainsFunc(f.ephemerals, func(e *Message) bool { return e.TS == ts }) {
			f.violate("ephemeral-edited", "an ephemeral message (%s) cannot be updated or deleted", ts)
		}
		return nil, "message_not_found"
	case m.From != Bot:
		return nil, refusal
	case c.Archived:
		return nil, "is_archived"
	case !c.has(Bot) && !slices.Contains(f.scopes, "chat:write.public"):
		return nil, "not_in_channel"
	}
	return m, ""
}

func (f *Fake) chatUpdate(in args) answer {
	m, code := f.own(in, "cant_update_message")
	if code != "" {
		return fail(code)
	}
	what := "chat.update of " + m.TS
	body, wrong := f.readContent(in, what)
	switch {
	case wrong != nil:
		return wrong
	case !body.hasText && !body.given:
		return fail("no_text")
	case !body.hasText:
		f.violate("no-text", "%s: without a text the old one stays for screen readers", what)
	case chars(body.text) > maxUpdateText:
		f.violate("too-long", "%s: a text of %d characters", what, chars(body.text))
		return fail("msg_too_long")
	}
	if long := body.totalled(); long != nil {
		f.violate("too-long", "%s: the blocks together", what)
		return long
	}
	if w := f.o.EditWindow; w > 0 && f.o.Now().Sub(m.At) > w {
		return fail("edit_window_closed")
	}
	f.revise(m, body)
	return answer{"ok": true, "channel": m.Channel, "ts": m.TS, "text": m.Text, "message": copyJSON(m.json())}
}

func (f *Fake) chatDelete(in args) answer {
	m, code := f.own(in, "cant_delete_message")
	if code != "" {
		return fail(code)
	}
	m.deleted = true
	return answer{"ok": true, "channel": m.Channel, "ts": m.TS}
}

func (f *Fake) chatPostEphemeral(in args) answer {
	if f.channels[in.str("channel")] == nil {
		return fail("channel_not_found")
	}
	c, code := f.place(in)
	if code != "" {
		return fail(code)
	}
	if !c.has(in.str("user")) {
		return fail("user_not_in_channel")
	}
	what := "chat.postEphemeral in " + c.ID
	body, wrong := f.readContent(in, what)
	if wrong != nil {
		return wrong
	}
	if !body.hasText && len(body.blocks) == 0 {
		return fail("no_text")
	}
	if long := body.totalled(); long != nil {
		f.violate("too-long", "%s: the blocks together", what)
		return long
	}
	m := f.whisper(c.ID, in.str("user"), in.str("thread_ts"), body)
	return answer{"ok": true, "message_ts": m.TS}
}

// whisper adds a message that only one person sees. The lock is held.
func (f *Fake) whisper(channel, to, parent string, body content) *Message {
	m := &Message{
		Channel: channel, TS: f.ts(), Parent: parent, From: Bot, To: to, Text: body.text,
		Blocks: body.blocks, At: f.o.Now(), Versions: 1, f: f,
	}
	f.ephemerals = append(f.ephemerals, m)
	return m
}

func (f *Fake) chatPermalink(in args) answer {
	c, code := f.conversation(in.str("channel"))
	if code != "" {
		return fail(code)
	}
	ts := in.str("message_ts")
	if f.message(c.ID, ts) == nil {
		return fail("message_not_found")
	}
	link := "https://example.slack.com/archives/" + c.ID + "/p" + strings.ReplaceAll(ts, ".", "")
	return answer{"ok": true, "channel": c.ID, "permalink": link}
}
