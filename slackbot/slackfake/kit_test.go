package slackfake_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// serve starts a workspace on a real port and returns a client of it.
func serve(t testing.TB, o slackfake.Options) (*slackfake.Fake, *slack.Client) {
	t.Helper()
	f := slackfake.New(o)
	server := httptest.NewServer(f)
	t.Cleanup(func() { f.Close(); server.Close() })
	f.SetURL(server.URL)
	return f, slack.New(f.BotToken(), slack.OptionAPIURL(server.URL+"/api/"), slack.OptionAppLevelToken(f.AppToken()))
}

// within is a context that ends before the test run does.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// app is a Socket Mode app on slack-go. handle is called for each event; it
// acknowledges by itself.
func app(t testing.TB, f *slackfake.Fake, api *slack.Client, handle func(*socketmode.Client, socketmode.Event)) {
	t.Helper()
	before := len(f.Sockets())
	client := socketmode.New(api)
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Add(2)
	go func() {
		defer work.Done()
		_ = client.RunContext(ctx)
	}()
	go func() {
		defer work.Done()
		for {
			select {
			case e := <-client.Events:
				handle(client, e)
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() { cancel(); work.Wait() })
	require.NoError(t, f.AwaitSockets(within(t), before+1))
}

// acks acknowledges everything without a payload.
func acks(c *socketmode.Client, e socketmode.Event) {
	if e.Request != nil && e.Request.EnvelopeID != "" {
		_ = c.Ack(*e.Request)
	}
}

// rules are the names of the violations so far.
func rules(f *slackfake.Fake) []string {
	out := []string{}
	for _, v := range f.Violations() {
		out = append(out, v.Rule)
	}
	return out
}

func decode(t testing.TB, b []byte) map[string]any {
	t.Helper()
	var m map[string]any
	require.NoError(t, json.Unmarshal(b, &m))
	return m
}

func plain(s string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, s, false, false)
}

func mrkdwn(s string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.MarkdownType, s, false, false)
}

// card is a message with a button.
func card(text string) []slack.MsgOption {
	deny := slack.NewButtonBlockElement("deny", "r1", plain("Deny…"))
	deny.Style = slack.StyleDanger
	return []slack.MsgOption{
		slack.MsgOptionText(text, false),
		slack.MsgOptionBlocks(
			slack.NewSectionBlock(mrkdwn("*"+text+"*"), nil, nil, slack.SectionBlockOptionBlockID("what")),
			slack.NewActionBlock("decide", slack.NewButtonBlockElement("approve", "r1", plain("Approve…")), deny),
		),
	}
}

// modal is a view with a name to type.
func modal() slack.ModalViewRequest {
	name := slack.NewPlainTextInputBlockElement(nil, "name")
	note := slack.NewInputBlock("note", plain("Note"), nil, slack.NewPlainTextInputBlockElement(nil, "note"))
	note.Optional = true
	return slack.ModalViewRequest{
		Type: slack.VTModal, CallbackID: "approval", PrivateMetadata: "r1", NotifyOnClose: true,
		Title: plain("Approve"), Submit: plain("Approve"), Close: plain("Cancel"),
		Blocks: slack.Blocks{BlockSet: []slack.Block{
			slack.NewInputBlock("name", plain("Server's name"), nil, name), note,
		}},
	}
}
