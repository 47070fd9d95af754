package slackfake_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// bubble runs f with a workspace and so many connections of slack-go in a bubble whose
// time is the workspace's.
func bubble(t *testing.T, o slackfake.Options, connections int, run func(t *testing.T, f *slackfake.Fake)) {
	synctest.Test(t, func(t *testing.T) {
		o.Now = time.Now
		f, wire := slackfake.New(o), slackfake.NewWire()
		f.SetURL("http://slack.test")
		server := &http.Server{Handler: f, ReadHeaderTimeout: time.Minute}
		go func() { _ = server.Serve(wire) }()
		client := wire.Client()
		api := slack.New(f.BotToken(), slack.OptionAPIURL("http://slack.test/api/"), slack.OptionAppLevelToken(f.AppToken()),
			slack.OptionHTTPClient(client))
		ctx, cancel := context.WithCancel(t.Context())
		for range connections {
			c := socketmode.New(api, socketmode.OptionDialer(&websocket.Dialer{NetDialContext: wire.DialContext}))
			go func() { _ = c.RunContext(ctx) }()
			go func() {
				for {
					select {
					case e := <-c.Events:
						acks(c, e)
					case <-ctx.Done():
						return
					}
				}
			}()
		}
		require.NoError(t, f.AwaitSockets(ctx, connections))
		run(t, f)
		cancel()
		f.Close()
		client.CloseIdleConnections()
		require.NoError(t, server.Close())
		synctest.Wait()
	})
}

// refreshes does what Slack does every few hours every 5 s, for a minute, while a
// person types 10 commands a second, and returns how many failed.
func refreshes(t *testing.T, connections int) (failed int) {
	bubble(t, slackfake.Options{}, connections, func(t *testing.T, f *slackfake.Fake) {
		end := time.Now().Add(time.Minute)
		next := time.Now().Add(5 * time.Second)
		for i := 0; time.Now().Before(end); i++ {
			if !time.Now().Before(next) {
				next = next.Add(5 * time.Second)
				f.Sockets()[0].Disconnect("refresh_requested")
			}
			if !f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", fmt.Sprint(i)).Wait().Acked {
				failed++
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
	return failed
}

func TestARefreshEveryFiveSecondsForAMinuteInABubble(t *testing.T) {
	assert.Zero(t, refreshes(t, 2), "two connections lose nothing")
	assert.Positive(t, refreshes(t, 1), "with one, what was typed while it was away is lost")
}

func TestPingsKeepAConnectionForHours(t *testing.T) {
	bubble(t, slackfake.Options{}, 1, func(t *testing.T, f *slackfake.Fake) {
		time.Sleep(3 * time.Hour)
		assert.Equal(t, 1, f.Sockets()[0].Number, "slack-go gives up after 30 s without a ping")
	})
}
