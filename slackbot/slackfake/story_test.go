package slackfake_test

import (
	"testing"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slackevents"
	"github.com/slack-go/slack/socketmode"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// approver is a small app: /vps posts a card, Approve… opens a modal, its submission
// changes the card.
func approver(t testing.TB, api *slack.Client) func(*socketmode.Client, socketmode.Event) {
	return func(c *socketmode.Client, e socketmode.Event) {
		switch data := e.Data.(type) {
		case slack.SlashCommand:
			_ = c.Ack(*e.Request)
			_, _, err := api.PostMessage(data.ChannelID, card("restore web-01, asked by <@"+data.UserID+">")...)
			assert.NoError(t, err)
		case slackevents.EventsAPIEvent:
			_ = c.Ack(*e.Request)
			mention, ok := data.InnerEvent.Data.(*slackevents.AppMentionEvent)
			if !ok {
				return
			}
			parent := mention.ThreadTimeStamp
			if parent == "" {
				parent = mention.TimeStamp
			}
			_, _, err := api.PostMessage(mention.Channel, slack.MsgOptionText("heard you", false), slack.MsgOptionTS(parent))
			assert.NoError(t, err)
		case slack.InteractionCallback:
			interact(t, api, c, e, data)
		}
	}
}

func interact(t testing.TB, api *slack.Client, c *socketmode.Client, e socketmode.Event, in slack.InteractionCallback) {
	switch in.Type {
	case slack.InteractionTypeBlockActions:
		v := modal()
		v.PrivateMetadata = in.Channel.ID + " " + in.Message.Timestamp
		_, err := api.OpenView(in.TriggerID, v)
		assert.NoError(t, err)
		_ = c.Ack(*e.Request)
	case slack.InteractionTypeViewSubmission:
		if typed := in.View.State.Values["name"]["name"].Value; typed != "web-01" {
			_ = c.Ack(*e.Request, slack.NewErrorsViewSubmissionResponse(map[string]string{"name": "that is not its name"}))
			return
		}
		_ = c.Ack(*e.Request)
		channel, ts := in.View.PrivateMetadata[:2], in.View.PrivateMetadata[3:]
		_, _, _, err := api.UpdateMessage(channel, ts, slack.MsgOptionText("approved by <@"+in.User.ID+">", false))
		assert.NoError(t, err)
	default:
		_ = c.Ack(*e.Request)
	}
}

func TestAStoryOverSocketMode(t *testing.T) {
	f, api := serve(t, slackfake.Options{})
	app(t, f, api, approver(t, api))

	out := f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "snapshot restore web-01").Wait()
	require.True(t, out.Acked, out)
	require.NoError(t, f.Await(within(t), func() bool { return len(f.Messages(slackfake.Ops)) == 1 }))
	m := f.Messages(slackfake.Ops)[0]
	assert.Equal(t, "*restore web-01, asked by @ada*\n[Approve…] [Deny…]", m.String())
	assert.Equal(t, "restore web-01, asked by @ada", m.Aloud())

	grace := f.User(slackfake.Grace)
	require.True(t, grace.Press(m, "Approve").Wait().Acked)
	v, open := f.View(slackfake.Grace)
	require.True(t, open)
	assert.Equal(t, "= Approve =\nServer's name: <plain_text_input>\nNote (optional): <plain_text_input>\n[Approve]", v.String())

	out = grace.Submit(v, nil).Wait()
	assert.Equal(t, map[string]string{"name": "Please complete this required field."}, out.Errors, "the client asks for it")
	assert.False(t, out.Acked)
	out = grace.Submit(v, slackfake.Values{"name": {"name": "web-02"}}).Wait()
	assert.Equal(t, map[string]string{"name": "that is not its name"}, out.Errors)
	v, open = f.View(slackfake.Grace)
	require.True(t, open, "it stays open")
	assert.Contains(t, v.String(), "! name: that is not its name")

	f.Pass(1e9)
	require.True(t, grace.Submit(v, slackfake.Values{"name": {"name": "web-01"}}).Wait().Acked)
	_, open = f.View(slackfake.Grace)
	assert.False(t, open)
	require.NoError(t, f.Await(within(t), func() bool { return f.Message(m.Channel, m.TS).Versions == 2 }))
	assert.Equal(t, "approved by @grace", f.Message(m.Channel, m.TS).String())
	assert.Empty(t, f.Message(m.Channel, m.TS).Buttons())
	assert.Len(t, f.History(m.Channel, m.TS), 2)

	require.True(t, f.User(slackfake.Ada).Mention(slackfake.Ops, m.TS, "snapshot list web-01").Wait().Acked)
	require.NoError(t, f.Await(within(t), func() bool { return len(f.Thread(m.Channel, m.TS)) == 3 }))
	assert.Equal(t, "heard you", f.Thread(m.Channel, m.TS)[2].String())
	assert.Len(t, f.Messages(slackfake.Ops), 1, "the rest is in the thread")
	assert.Empty(t, f.Violations())
}
