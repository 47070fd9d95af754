package slackfake_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

func TestFaultsOfAnswersComeInPairs(t *testing.T) {
	for _, row := range []struct {
		name  string
		posts int
	}{
		{slackfake.InternalError, 0},
		{slackfake.InternalErrorActed, 1},
		{slackfake.Error500, 0},
		{slackfake.Error500Acted, 1},
		{slackfake.Reset, 0},
		{slackfake.ResetActed, 1},
		{slackfake.CutJSON, 0},
		{slackfake.CutJSONActed, 1},
		{slackfake.HTML, 0},
		{slackfake.HTMLActed, 1},
		{slackfake.RateLimited, 0},
		{slackfake.Refused, 0},
	} {
		f, api := serve(t, slackfake.Options{})
		f.Inject(slackfake.Fault{Name: row.name, Method: "chat.postMessage", Times: 1, Code: "edit_window_closed", RetryAfter: 7 * time.Second})
		_, err := api.AuthTest()
		require.NoError(t, err, "another method")
		_, _, err = api.PostMessage(slackfake.Ops, slack.MsgOptionText("x", false))
		require.Error(t, err, row.name)
		assert.Len(t, f.Messages(slackfake.Ops), row.posts, row.name)
		assert.Len(t, f.Calls("chat.postMessage"), 1, row.name)
		switch row.name {
		case slackfake.RateLimited:
			var limited *slack.RateLimitedError
			require.ErrorAs(t, err, &limited)
			assert.Equal(t, 7*time.Second, limited.RetryAfter)
		case slackfake.Refused:
			assert.EqualError(t, err, "edit_window_closed")
		case slackfake.InternalError, slackfake.InternalErrorActed:
			assert.EqualError(t, err, "internal_error")
		}
		f.Pass(time.Second)
		_, _, err = api.PostMessage(slackfake.Ops, slack.MsgOptionText("x", false))
		require.NoError(t, err, "once only")
	}
}

func TestAHangingAnswerEndsWithTheCall(t *testing.T) {
	f, api := serve(t, slackfake.Options{})
	f.Inject(slackfake.Fault{Name: slackfake.HangActed, After: 1})
	require.NotEmpty(t, slackfake.FaultNames())
	_, err := api.AuthTest()
	require.NoError(t, err, "the first passes")
	done := make(chan error)
	go func() { _, err := api.AuthTest(); done <- err }()
	require.NoError(t, f.Await(within(t), func() bool { return len(f.Calls("auth.test")) == 2 }))
	f.Close()
	assert.Error(t, <-done)
}

func TestASlowAnswerTakesItsTimeOnTheFakesClock(t *testing.T) {
	f, api := serve(t, slackfake.Options{})
	asked := make(chan bool, 1)
	f.Inject(slackfake.Fault{Name: slackfake.Slow, Delay: time.Hour, Times: 1, Match: func(c slackfake.Call) bool {
		asked <- true
		return c.Args["text"] == "x"
	}})
	done := make(chan error)
	go func() { _, _, err := api.PostMessage(slackfake.Ops, slack.MsgOptionText("x", false)); done <- err }()
	<-asked
	for {
		select {
		case err := <-done:
			require.NoError(t, err)
			assert.Len(t, f.Messages(slackfake.Ops), 1)
			return
		default:
			f.Pass(time.Hour)
		}
	}
}

func TestFaultsOfDeliveries(t *testing.T) {
	f, api := serve(t, slackfake.Options{})
	a, _ := dial(t, f, api)
	b, _ := dial(t, f, api)
	ada := f.User(slackfake.Ada)

	f.Inject(slackfake.Fault{Name: slackfake.Twice, Times: 1})
	d := ada.Slash(slackfake.Ops, "/vps", "twice")
	ea, eb := a.read(), b.read()
	assert.Equal(t, ea["envelope_id"], eb["envelope_id"])
	a.ack(ea)
	b.ack(eb)
	assert.True(t, d.Wait().Acked)

	f.Inject(slackfake.Fault{Name: slackfake.LoseAck, Times: 1, Method: slackfake.EventsAPI})
	d = ada.Mention(slackfake.Ops, "", "lost")
	first, second := b, a // in turn: a, b for the one above, then b
	ea = first.read()
	first.ack(ea)
	first.write("what comes after the acknowledgement, to know that it was read")
	require.NoError(t, f.Await(within(t), func() bool { return len(f.Violations()) == 1 }))
	f.Pass(3 * time.Second)
	again := second.read()
	assert.Equal(t, ea["payload"], again["payload"])
	second.ack(again)
	assert.True(t, d.Wait().Acked)

	f.Inject(slackfake.Fault{Name: slackfake.DropConnection, Times: 1})
	d = ada.Slash(slackfake.Ops, "/vps", "drop")
	assert.Len(t, f.Sockets(), 1)
	left := map[int]raw{1: a, 2: b}[f.Sockets()[0].Number]
	left.ack(left.read())
	assert.True(t, d.Wait().Acked)
	assert.Equal(t, []string{"malformed-ack"}, rules(f), "of the test's own; a lost acknowledgement is not the app's fault")
	assert.Panics(t, func() { f.Inject(slackfake.Fault{Name: "gremlins"}) })
}

func TestARevokedTokenEndsCallsAndHealingRemovesFaults(t *testing.T) {
	f := slackfake.New(slackfake.Options{})
	f.Inject(slackfake.Fault{Name: slackfake.Refused, Code: "fatal_error"})
	_, got := call(t, f, "auth.test", url.Values{})
	assert.Equal(t, "fatal_error", got["error"])
	f.Heal()
	_, got = call(t, f, "auth.test", url.Values{})
	assert.Equal(t, true, got["ok"])
}
