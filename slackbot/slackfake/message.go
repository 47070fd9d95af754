package slackfake

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Message is a message as it is at the moment it was asked for.
type Message struct {
	Channel string
	TS      string
	// Parent is the ts of the message this is a reply to, "" in the channel itself.
	Parent string
	// From is the user who posted it.
	From string
	// To is the only person who sees it, "" where everyone does: an ephemeral message.
	To string
	// Text is what notifications and screen readers have; where there are no Blocks it
	// is also what is seen.
	Text string
	// Blocks are what is seen, decoded.
	Blocks []map[string]any
	// Broadcast replies are shown in the channel too.
	Broadcast bool
	// Typed is the command a person typed, where Slack showed it to the channel.
	Typed string
	// At is when it was posted, Edited when last changed, zero for never.
	At, Edited time.Time
	// Versions is how often it was written: 1 and one more for each change.
	Versions int
	// Metadata is what the app attached.
	Metadata map[string]any
	// UnfurlLinks and UnfurlMedia are as the app set them; nil means Slack decides.
	UnfurlLinks, UnfurlMedia *bool

	f       *Fake
	history []Message
	deleted bool
}

// Messages returns what stands in a channel, oldest first, without replies in threads
// but for those that were broadcast.
func (f *Fake) Messages(channel string) []Message {
	return f.Find(channel, func(*Message) bool { return true })
}

// Find returns those of [Fake.Messages] that match. It is for long runs, in which
// copying all of them takes too long; match is called under the fake's lock.
func (f *Fake) Find(channel string, match func(*Message) bool) []Message {
	return f.find(func(m *Message) bool { return m.Channel == channel && (m.Parent == "" || m.Broadcast) && match(m) })
}

// Thread returns a message and the replies to it, oldest first.
func (f *Fake) Thread(channel, ts string) []Message {
	return f.find(func(m *Message) bool { return m.Channel == channel && (m.TS == ts || m.Parent == ts) })
}

// Message returns one message as it now is. It panics if there is none.
func (f *Fake) Message(channel, ts string) Message {
	found := f.find(func(m *Message) bool { return m.Channel == channel && m.TS == ts })
	if len(found) == 0 {
		panic(fmt.Sprintf("slackfake: no message %s in %s", ts, channel))
	}
	return found[0]
}

// Ephemerals returns what only this user was shown, oldest first.
func (f *Fake) Ephemerals(user string) []Message {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Message
	for _, m := range f.ephemerals {
		if m.To == user && !m.deleted {
			out = append(out, *m)
		}
	}
	return out
}

// Forget makes a user's ephemeral messages vanish, as reloading the client does.
func (f *Fake) Forget(user string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ephemerals = slices.DeleteFunc(f.ephemerals, func(m *Message) bool { return m.To == user })
}

// History returns a message as it was at each time it was written.
func (f *Fake) History(channel, ts string) []Message {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.message(channel, ts)
	if m == nil {
		return nil
	}
	return append(slices.Clone(m.history), *m)
}

func (f *Fake) find(match func(*Message) bool) []Message {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Message
	for _, m := range f.messages {
		if !m.deleted && match(m) {
			out = append(out, *m)
		}
	}
	return out
}

// message finds a message that everyone in the channel sees. The lock is held.
func (f *Fake) message(channel, ts string) *Message {
	for _, m := range slices.Backward(f.messages) {
		if m.TS == ts && m.Channel == channel && !m.deleted {
			return m
		}
	}
	return nil
}

// json is the message as Slack shows it to apps.
func (m *Message) json() map[string]any {
	out := map[string]any{"type": "message", "ts": m.TS, "user": m.From, "text": m.Text, "team": Team}
	if m.From == Bot {
		out["bot_id"], out["app_id"] = BotID, App
	}
	if m.Blocks != nil {
		out["blocks"] = m.Blocks
	}
	if m.Parent != "" {
		out["thread_ts"], out["parent_user_id"] = m.Parent, Bot
	}
	if !m.Edited.IsZero() {
		out["edited"] = map[string]any{"user": m.From, "ts": fmt.Sprintf("%d.000000", m.Edited.Unix())}
	}
	if m.Metadata != nil {
		out["metadata"] = m.Metadata
	}
	return out
}

// content is what a message is made of, wherever it comes from.
type content struct {
	text     string
	hasText  bool
	blocks   []map[string]any
	given    bool // blocks were given, if only an empty list
	metadata map[string]any
}

// readContent reads and checks a message's text and blocks. what is for the list of
// violations. The lock is held.
func (f *Fake) readContent(in args, what string) (content, answer) {
	var c content
	c.text, c.hasText = in["text"].(string)
	c.hasText = strings.TrimSpace(c.text) != ""
	if in["text"] != nil && in["text"] != c.text {
		return c, fail("invalid_arguments")
	}
	if n := chars(c.text); n > maxText {
		f.violate("too-long", "%s: a text of %d characters", what, n)
		return c, fail("msg_too_long")
	}
	raw, given := in["blocks"]
	if raw == nil {
		given = false
	}
	if given {
		list, ok := raw.([]any)
		if !ok {
			return c, fail("invalid_blocks_format")
		}
		blocks, wrong := checkMessage(list)
		if len(wrong) > 0 {
			f.violate("invalid-blocks", "%s: %s", what, strings.Join(wrong, "; "))
			return c, wrong.answer("invalid_blocks")
		}
		c.blocks, c.given = blocks, true
	}
	if _, ok := in["attachments"].([]any); ok {
		f.violate("attachments", "%s: attachments are not supported here; use blocks", what)
	}
	c.metadata, _ = in["metadata"].(map[string]any)
	if !c.hasText && len(c.blocks) > 0 {
		f.violate("no-text", "%s: blocks without a text; screen readers and notifications have nothing", what)
	}
	for _, b := range c.blocks {
		if b["block_id"] == nil || b["block_id"] == "" {
			b["block_id"] = f.id("b")
		}
	}
	return c, nil
}

// totalled refuses blocks that are too long together. Slack documents no number:
// it refused about 13,200 characters of blocks, where a divider counts 125
// (slackapi/bolt-js issues 2509 and 2867). response_url has no such limit.
func (c content) totalled() answer {
	n := 0
	for _, b := range c.blocks {
		n += perBlock + textLength(b)
	}
	if n > maxBlocksText {
		return fail("msg_blocks_too_long")
	}
	return nil
}

const (
	// maxText is where Slack cuts a message's text. Here it is refused, because what
	// was cut off nobody notices.
	maxText       = 40_000
	maxUpdateText = 4000
	perBlock      = 125
	maxBlocksText = 13_200
)

// copyJSON copies what was decoded from JSON.
func copyJSON[T any](v T) T {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	var out T
	if err := json.Unmarshal(b, &out); err != nil {
		panic(err)
	}
	return out
}
