package slackbot

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/slack-go/slack"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/policytest"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// counting is a gate that counts what is called, by its name.
type counting struct {
	mu    sync.Mutex
	calls map[string]int
}

func (g *counting) Catalogue() []policy.Descriptor {
	name := policy.Argument{Name: "name", Type: policy.String, Required: true, Max: 50, About: "Its name"}
	return []policy.Descriptor{
		{Name: "list_things", Title: "List things", Noun: "thing", Verb: "list", Effect: policy.Read, Arguments: []policy.Argument{name}},
		{Name: "create_thing", Title: "Create a thing", Noun: "thing", Verb: "create", Effect: policy.Create, Arguments: []policy.Argument{name}},
	}
}

func (g *counting) Call(_ context.Context, c policy.Call) (policy.Outcome, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls[c.Operation+string(c.Arguments)]++
	if c.Operation == "list_things" {
		return policy.Outcome{Listing: &policy.Listing{Title: "Things"}}, nil
	}
	st := policy.Standing{Request: policytest.Request("rq_7f3k9c"), Now: policytest.Start}
	return policy.Outcome{Standing: &st}, nil
}

func (g *counting) Show(context.Context, string) (policy.Standing, error) {
	return policy.Standing{}, policy.Errorf(policy.NotFound, "there is none")
}

func (g *counting) Decide(context.Context, string, policy.Verdict) (policy.Request, error) {
	return policy.Request{}, policy.Errorf(policy.NotFound, "there is none")
}

func (g *counting) Deny(context.Context, string, policy.Verdict) (policy.Request, error) {
	return policy.Request{}, policy.Errorf(policy.NotFound, "there is none")
}

func (g *counting) Cancel(context.Context, string, policy.Actor) (policy.Request, error) {
	return policy.Request{}, policy.Errorf(policy.NotFound, "there is none")
}

// refreshed has Slack end the oldest connection every five seconds for so long while
// somebody types ten commands a second: help, lists and what changes something. It
// gives how many were typed, and what is wrong with the answers to them.
func refreshedBot(t *testing.T, connections int, lasts time.Duration) (typed int, wrong []string) {
	synctest.Test(t, func(t *testing.T) {
		f, line := slackfake.New(slackfake.Options{Now: time.Now, Limits: slackfake.NoLimits()}), slackfake.NewWire()
		f.SetURL("http://slack.test")
		server := &http.Server{Handler: f, ReadHeaderTimeout: time.Minute}
		go func() { _ = server.Serve(line) }()
		web := line.Client()
		gate := &counting{calls: map[string]int{}}
		b, err := New(Options{
			Gate: gate, Notes: policytest.NewMemory(time.Now), Channel: slackfake.Ops, AppToken: f.AppToken(), Now: time.Now,
			Account: func(context.Context) (policy.Account, error) { return policytest.Account, nil },
			People: NewPeople(PeopleOptions{
				Token: f.BotToken(), URL: "http://slack.test/api/", HTTP: web, Approvers: []string{slackfake.Grace}, Now: time.Now,
			}),
			Random: func(b []byte) { _, _ = rand.Read(b) },
		})
		require.NoError(t, err)
		api := slack.New("", slack.OptionAppLevelToken(f.AppToken()), slack.OptionAPIURL("http://slack.test/api/"), slack.OptionHTTPClient(web))
		ctx, cancel := context.WithCancel(t.Context())
		var listening sync.WaitGroup
		listening.Go(func() {
			assert.NoError(t, runSockets(ctx, socketOptions{
				API: api, Dialer: &websocket.Dialer{NetDialContext: line.DialContext}, Connections: connections,
				Intake: b.intake, Board: &b.board, Now: time.Now, Log: b.Log,
			}, b.receive))
		})
		require.NoError(t, f.AwaitSockets(ctx, connections))

		var sent []*slackfake.Delivery
		next, refreshes := time.Now().Add(5*time.Second), 0
		for end := time.Now().Add(lasts); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			if !time.Now().Before(next) {
				next = next.Add(5 * time.Second)
				for _, s := range f.Sockets() {
					if !s.Warned {
						s.Disconnect("refresh_requested")
						refreshes++
						break
					}
				}
			}
			text := fmt.Sprintf([]string{"thing create n%d", "thing list n%d", "help n%d"}[len(sent)%3], len(sent))
			sent = append(sent, f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", text))
		}
		for i, d := range sent {
			if out := d.Wait(); !out.Acked {
				wrong = append(wrong, fmt.Sprintf("%d %s: %+v", i, d.What, out))
			}
		}
		time.Sleep(time.Minute)
		typed = len(sent)
		if answers := len(f.Ephemerals(slackfake.Ada)); answers != typed {
			wrong = append(wrong, fmt.Sprintf("%d answers to %d commands", answers, typed))
		}
		for call, n := range gate.calls {
			if n != 1 {
				wrong = append(wrong, fmt.Sprintf("%s was called %d times", call, n))
			}
		}
		if n := len(gate.calls); n != typed-typed/3 {
			wrong = append(wrong, fmt.Sprintf("%d different calls", n))
		}
		for _, v := range f.Violations() {
			wrong = append(wrong, v.String())
		}
		t.Logf("%d connections: %d commands, %d refreshes, %d wrong", connections, typed, refreshes, len(wrong))
		cancel()
		listening.Wait()
		b.close()
		f.Close()
		web.CloseIdleConnections()
		require.NoError(t, server.Close())
		synctest.Wait()
	})
	return typed, wrong
}

// TestARefreshEveryFiveSecondsLosesNothing lasts a minute by a clock that does not
// wait, and an hour where VPSGUARD_TEST_LONG is set.
func TestARefreshEveryFiveSecondsLosesNothing(t *testing.T) {
	lasts := time.Minute
	if os.Getenv("VPSGUARD_TEST_LONG") != "" {
		lasts = time.Hour
	}
	typed, wrong := refreshedBot(t, 2, lasts)
	assert.Equal(t, int(lasts/(100*time.Millisecond)), typed)
	assert.Empty(t, wrong, "two connections lose nothing:\n%s", strings.Join(wrong, "\n"))
}

// TestOneConnectionWouldLose shows what the second is for.
func TestOneConnectionWouldLose(t *testing.T) {
	_, wrong := refreshedBot(t, 1, time.Minute)
	assert.NotEmpty(t, wrong)
}
