package slackbot

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/vpsguard/vpsguard/policy"
)

// ackBy is how long anything may take before it is acknowledged. Slack waits 3 s.
const ackBy = 2 * time.Second

// lateAfter is how old a message may be that calls the app: Slack keeps events
// that it could not deliver, and somebody else may have acted since.
const lateAfter = 5 * time.Minute

// What the catalogue calls things that the door has ways of its own for.
const (
	ofServer    = "server"
	nounRequest = "request"
	verbShow    = "show"
	verbList    = "list"
	argReason   = "reason"
)

// Payloads are read by our own types, which take what is needed and pass over
// the rest: a block of a kind that a library does not know must not make a
// person's click unreadable.

type slashCommand struct {
	Text        string `json:"text"`
	TeamID      string `json:"team_id"`
	Enterprise  string `json:"enterprise_id"`
	UserID      string `json:"user_id"`
	UserName    string `json:"user_name"`
	ChannelID   string `json:"channel_id"`
	ResponseURL string `json:"response_url"`
	TriggerID   string `json:"trigger_id"`
}

func (c slashCommand) who() who {
	return who{Team: c.TeamID, Enterprise: c.Enterprise, User: c.UserID, Name: c.UserName}
}

type identified struct {
	ID string `json:"id"`
}

type interaction struct {
	Type string `json:"type"`
	User struct {
		ID     string `json:"id"`
		TeamID string `json:"team_id"`
		Name   string `json:"name"`
	} `json:"user"`
	Team        identified `json:"team"`
	Enterprise  identified `json:"enterprise"`
	TriggerID   string     `json:"trigger_id"`
	ResponseURL string     `json:"response_url"`
	Channel     identified `json:"channel"`
	Container   struct {
		ChannelID string `json:"channel_id"`
		MessageTS string `json:"message_ts"`
		ThreadTS  string `json:"thread_ts"`
		Ephemeral bool   `json:"is_ephemeral"`
	} `json:"container"`
	Message struct {
		ThreadTS string `json:"thread_ts"`
	} `json:"message"`
	Actions []struct {
		ActionID string `json:"action_id"`
		Value    string `json:"value"`
	} `json:"actions"`
	View struct {
		ID         string `json:"id"`
		CallbackID string `json:"callback_id"`
		Metadata   string `json:"private_metadata"`
		State      struct {
			Values map[string]map[string]blockValue `json:"values"`
		} `json:"state"`
	} `json:"view"`
	// Of a menu that asks for its options.
	ActionID string `json:"action_id"`
	Value    string `json:"value"`
}

func (i interaction) who() who {
	team := i.User.TeamID // of the person, not of the place
	if team == "" {
		team = i.Team.ID
	}
	return who{Team: team, Enterprise: i.Enterprise.ID, User: i.User.ID, Name: i.User.Name}
}

// from is where an answer to a button goes.
func (i interaction) from() origin {
	o := origin{Channel: i.Container.ChannelID, Thread: i.Container.ThreadTS}
	if o.Channel == "" {
		o.Channel = i.Channel.ID
	}
	if o.Thread == "" {
		o.Thread = i.Message.ThreadTS
	}
	if o.Thread == i.Container.MessageTS { // the card itself began the thread
		o.Thread = ""
	}
	return o
}

type eventCallback struct {
	TeamID     string `json:"team_id"`
	Enterprise string `json:"enterprise_id"`
	EventTime  int64  `json:"event_time"`
	Event      struct {
		Type     string `json:"type"`
		Subtype  string `json:"subtype"`
		User     string `json:"user"`
		UserTeam string `json:"user_team"`
		Team     string `json:"team"`
		BotID    string `json:"bot_id"`
		Text     string `json:"text"`
		Channel  string `json:"channel"`
		TS       string `json:"ts"`
		ThreadTS string `json:"thread_ts"`
	} `json:"event"`
}

// receive is what both transports deliver to. What comes back is acknowledged;
// all that takes longer goes on by itself.
func (b *Bot) receive(ctx context.Context, d delivery) json.RawMessage {
	b.board.received(b.Now())
	ctx, cancel := context.WithTimeout(ctx, ackBy)
	defer cancel()
	read := func(v any) bool {
		err := json.Unmarshal(d.Body, v)
		if err != nil {
			b.Log.WarnContext(ctx, "something from Slack could not be read", "kind", d.Kind, "error", err)
		}
		return err == nil
	}
	switch d.Kind {
	case kindCommand:
		var c slashCommand
		if read(&c) {
			b.typed(ctx, call{
				text: c.Text, who: c.who(), from: origin{Channel: c.ChannelID}, answer: c.ResponseURL, trigger: c.TriggerID,
			})
		}
	case kindEvent:
		var e eventCallback
		if read(&e) {
			b.mentioned(ctx, e)
		}
	case kindOptions:
		var i interaction
		if read(&i) {
			return b.offer(ctx, i)
		}
	case kindInteraction:
		var i interaction
		if !read(&i) {
			break
		}
		switch i.Type {
		case "block_actions":
			b.pressed(ctx, i)
		case "view_submission":
			return b.submitted(ctx, i)
		}
	}
	return nil
}

// mentioned takes a message that names the app as a command. It is shown as "by
// a message in somebody's name": programs can write in people's names.
func (b *Bot) mentioned(ctx context.Context, e eventCallback) {
	ev := e.Event
	if ev.Type != "app_mention" || ev.BotID != "" || ev.Subtype != "" || ev.User == "" {
		return
	}
	team := ev.UserTeam
	if team == "" {
		team = ev.Team
	}
	if team == "" {
		team = e.TeamID
	}
	c := call{
		text: afterMention(ev.Text), who: who{Team: team, Enterprise: e.Enterprise, User: ev.User},
		from: origin{Channel: ev.Channel, Thread: ev.ThreadTS, ByMessage: true},
	}
	now, err := b.Notes.Now(ctx)
	if err != nil {
		b.spawn(func(ctx context.Context) { b.refuse(ctx, c, err) })
		return
	}
	if said := sentAt(ev.TS); now.Sub(said) > lateAfter {
		b.spawn(func(ctx context.Context) {
			b.refuse(ctx, c, policy.Errorf(policy.Expired, "your message reached vpsguard late, %s; nothing was done", policy.Ago(said, now)).
				WithHint("If you still want it, say it again."))
		})
		return
	}
	b.typed(ctx, c)
}

// afterMention is what follows the first mention of somebody in a text.
func afterMention(text string) string {
	if _, after, ok := strings.Cut(text, "<@"); ok {
		if _, rest, ok := strings.Cut(after, ">"); ok {
			return strings.TrimLeft(rest, " ,:")
		}
	}
	return text
}

// sentAt reads a message's time out of its ts.
func sentAt(ts string) time.Time {
	whole, _, _ := strings.Cut(ts, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}
