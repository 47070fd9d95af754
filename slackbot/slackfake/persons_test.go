package slackfake_test

import (
	"fmt"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

func TestEverybodyCanTryAndThePayloadSaysWhoItWas(t *testing.T) {
	f, api := serve(t, slackfake.Options{})
	r, _ := dial(t, f, api)
	f.AddUser(slackfake.User{ID: "UX", Team: "T0OTHER", Stranger: true})
	f.AddUser(slackfake.User{ID: "UB", Bot: true})
	f.ChangeChannel(slackfake.Ops, func(c *slackfake.Channel) { c.ExtShared = true })
	_, ts, err := api.PostMessage(slackfake.Ops, card("restore")...)
	require.NoError(t, err)
	m := f.Message(slackfake.Ops, ts)

	p := sent(t, r, f.User("UX").Click(m, "approve"))
	user, _ := p["user"].(map[string]any)
	assert.Equal(t, "T0OTHER", user["team_id"])
	p = sent(t, r, f.User("UX").Mention(slackfake.Ops, "", "hi"))
	assert.Equal(t, true, p["is_ext_shared_channel"])
	event, _ := p["event"].(map[string]any)
	assert.Equal(t, "T0OTHER", event["user_team"])
	p = sent(t, r, f.User("UB").Mention(slackfake.Ops, ts, "approve"))
	event, _ = p["event"].(map[string]any)
	assert.Equal(t, "BUB", event["bot_id"])
	assert.Equal(t, ts, event["thread_ts"])
	p = sent(t, r, f.User("UX").Slash(slackfake.Ops, "/vps", "server list"))
	assert.Equal(t, "T0OTHER", p["team_id"])
	assert.NotContains(t, p, "is_enterprise_install")

	f.Kick(slackfake.Ops, slackfake.Bot)
	out := f.User(slackfake.Ada).Mention(slackfake.Ops, "", "anybody?").Wait()
	assert.Equal(t, "not_in_channel", out.Error)
}

func TestMenusShortcutsAndInputsThatTellAtOnce(t *testing.T) {
	f, api := serve(t, slackfake.Options{Enterprise: "E0GROUP"})
	r, _ := dial(t, f, api)
	ada := f.User(slackfake.Ada)
	option := slack.NewOptionBlockObject("801", plain("before-update"), nil)
	menu := slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, plain("Which"), "which", option)
	_, ts, err := api.PostMessage(slackfake.Ops, slack.MsgOptionText("which?", false),
		slack.MsgOptionBlocks(slack.NewActionBlock("pick", menu)))
	require.NoError(t, err)
	m := f.Message(slackfake.Ops, ts)
	p := sent(t, r, ada.Choose(m, "which", "before-update"))
	actions, _ := p["actions"].([]any)
	first, _ := actions[0].(map[string]any)
	chosen, _ := first["selected_option"].(map[string]any)
	assert.Equal(t, "801", chosen["value"])
	assert.Equal(t, false, p["is_enterprise_install"])

	p = sent(t, r, ada.MessageShortcut(m, "ask_about"))
	assert.Equal(t, []any{"message_action", "ask_about", ts}, []any{p["type"], p["callback_id"], p["message_ts"]})
	p = sent(t, r, ada.Shortcut("open_vps"))

	view := modal()
	server := slack.NewInputBlock("server", plain("Server"), nil, slack.NewPlainTextInputBlockElement(nil, "server"))
	server.DispatchAction = true
	view.Blocks.BlockSet = append(view.Blocks.BlockSet, server)
	_, err = api.OpenView(str(p["trigger_id"]), view)
	require.NoError(t, err)
	v, _ := f.View(slackfake.Ada)
	assert.Nil(t, ada.Fill(v, slackfake.Values{"name": {"name": "web-01"}}), "the app is not told of that one")
	p = sent(t, r, ada.Fill(v, slackfake.Values{"server": {"server": "web-02"}}))
	assert.Equal(t, "block_actions", p["type"])
	_, err = api.UpdateView(view, "", "", v.ID)
	require.NoError(t, err)
	p = sent(t, r, ada.Submit(v, nil))
	b := fmt.Sprint(p["view"])
	assert.Contains(t, b, "web-01", "what was filled in stays where block and action do")
	assert.Contains(t, b, "web-02")
	out := ada.Submit(v, nil).Wait()
	assert.Equal(t, "the view is closed", out.Error)
}

func TestWordsToOnePersonGoIntoTheirConversation(t *testing.T) {
	f := slackfake.New(slackfake.Options{})
	_, got := call(t, f, "chat.postMessage", url.Values{"channel": {slackfake.Ada}, "text": {"psst"}})
	assert.Equal(t, "DU1", got["channel"])
	assert.Len(t, f.Messages("DU1"), 1)
}

func TestAThousandPressAtOnce(t *testing.T) {
	const n = 1000
	f, api := serve(t, slackfake.Options{})
	app(t, f, api, acks)
	app(t, f, api, acks)
	_, ts, err := api.PostMessage(slackfake.Ops, card("restore")...)
	require.NoError(t, err)
	m := f.Message(slackfake.Ops, ts)
	for i := range n {
		f.AddUser(slackfake.User{ID: fmt.Sprintf("U9%04d", i)})
	}
	began := time.Now()
	var work sync.WaitGroup
	for i := range n {
		work.Go(func() {
			out := f.User(fmt.Sprintf("U9%04d", i)).Click(m, "approve").Wait()
			assert.True(t, out.Acked)
		})
	}
	work.Wait()
	t.Logf("%d clicks, each acknowledged by slack-go: %v", n, time.Since(began))
	assert.Empty(t, f.Violations())
}
