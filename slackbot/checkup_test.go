package slackbot

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

const goodSecret = "0123456789abcdef0123456789abcdef"

// ward is a workspace that a checkup finds nothing wrong with.
func ward(t *testing.T, o slackfake.Options) (*slackfake.Fake, CheckupOptions) {
	t.Helper()
	if o.Scopes == nil {
		o.Scopes = append([]string{"channels:read"}, neededScopes...)
	}
	d := realDesk(t, o)
	d.fake.AddGroup(slackfake.Group{ID: "S0OPS", Handle: "ops", Users: []string{slackfake.Ada, slackfake.Grace}, MembershipLocked: true})
	return d.fake, CheckupOptions{
		BotToken: d.fake.BotToken(), AppToken: d.fake.AppToken(), SigningSecret: goodSecret, Channel: slackfake.Ops,
		Approvers: []string{slackfake.Ada, "S0OPS"}, URL: d.fake.URL() + "/api", Now: time.Now,
	}
}

// about finds what was found about one thing.
func foundAbout(t *testing.T, all []Finding, what string) Finding {
	t.Helper()
	for _, f := range all {
		if f.What == what {
			return f
		}
	}
	t.Fatalf("nothing about %q in %+v", what, all)
	return Finding{}
}

func TestACheckupOfWhatIsWell(t *testing.T) {
	f, o := ward(t, slackfake.Options{})
	var lines []string
	for _, x := range Checkup(t.Context(), o) {
		assert.True(t, x.OK && !x.Warn && x.Fix == "", "%+v", x)
		lines = append(lines, x.What+": "+x.Found)
	}
	assert.Equal(t, []string{
		"bot token: works, as vpsguard in Example Ltd (T0HOME)",
		"clock: agrees with Slack's",
		"scopes: channels:read, commands, chat:write, app_mentions:read, users:read, usergroups:read",
		"app token: works, and nobody else uses it",
		"signing secret: well-formed",
		"channel: vpsguard is in #ops (C1)",
		"approver U1: ada",
		"approver S0OPS: @ops, members: 2",
	}, lines)
	assert.Empty(t, f.Messages(slackfake.Ops), "nothing is posted")
	require.NoError(t, f.AwaitSockets(t.Context(), 0), "and nothing left open")
	assert.Empty(t, f.Violations())
}

func TestEveryThingACheckupFinds(t *testing.T) {
	const fails, warns = false, true
	for _, row := range []struct {
		name, what, found string
		warn              bool
		change            func(*slackfake.Fake, *CheckupOptions)
	}{
		{"no bot token", "bot token", "not set", fails, func(_ *slackfake.Fake, o *CheckupOptions) { o.BotToken = "" }},
		{"another bot token", "bot token", "invalid_auth", fails, func(_ *slackfake.Fake, o *CheckupOptions) { o.BotToken = "xoxb-another" }},
		{"a revoked bot token", "bot token", "token_revoked", fails, func(f *slackfake.Fake, _ *CheckupOptions) { f.RevokeToken("token_revoked") }},
		{"the app token for the bot's", "bot token", "not_allowed_token_type", fails, func(_ *slackfake.Fake, o *CheckupOptions) { o.BotToken = o.AppToken }},
		{"Slack does not answer", "bot token", "could not be asked", fails, func(f *slackfake.Fake, _ *CheckupOptions) {
			f.Inject(slackfake.Fault{Name: slackfake.Error500, Method: "auth.test"})
		}},
		{"a scope is missing", "scopes", "missing: usergroups:read", fails, func(f *slackfake.Fake, _ *CheckupOptions) { f.SetScopes(neededScopes[:4]...) }},
		{"a scope too many", "scopes", "more than needed: chat:write.public, im:write", warns, func(f *slackfake.Fake, _ *CheckupOptions) {
			f.SetScopes(append([]string{"chat:write.public", "im:write"}, neededScopes...)...)
		}},
		{"no way in", "way in", "neither", fails, func(_ *slackfake.Fake, o *CheckupOptions) { o.AppToken, o.SigningSecret = "", "" }},
		{"a wrong app token", "app token", "invalid_auth", fails, func(_ *slackfake.Fake, o *CheckupOptions) { o.AppToken = "xapp-another" }},
		{"Socket Mode is off", "app token", "not_allowed_token_type", fails, func(f *slackfake.Fake, _ *CheckupOptions) { f.DisableSocketMode() }},
		{"Slack's own example of a secret", "signing secret", "does not look like one", fails, func(_ *slackfake.Fake, o *CheckupOptions) { o.SigningSecret = slackfake.DefaultSecret }},
		{"a secret with a line's end", "signing secret", "does not look like one", fails, func(_ *slackfake.Fake, o *CheckupOptions) { o.SigningSecret += "\n" }},
		{"no channel", "channel", "not set", fails, func(_ *slackfake.Fake, o *CheckupOptions) { o.Channel = "" }},
		{"an unknown channel", "channel", "does not exist", fails, func(_ *slackfake.Fake, o *CheckupOptions) { o.Channel = "C0NONE" }},
		{"an archived channel", "channel", "archived", fails, func(f *slackfake.Fake, _ *CheckupOptions) {
			f.ChangeChannel(slackfake.Ops, func(c *slackfake.Channel) { c.Archived = true })
		}},
		{"not in the channel", "channel", "not in C1", fails, func(f *slackfake.Fake, _ *CheckupOptions) { f.Kick(slackfake.Ops, slackfake.Bot) }},
		{"a shared channel", "channel", "shared with another company", warns, func(f *slackfake.Fake, _ *CheckupOptions) {
			f.ChangeChannel(slackfake.Ops, func(c *slackfake.Channel) { c.ExtShared = true })
		}},
		{"a channel that no scope shows", "channel", "cannot be told", warns, func(f *slackfake.Fake, _ *CheckupOptions) { f.SetScopes(neededScopes...) }},
		{"an unknown channel that no scope shows", "channel", "does not exist", fails, func(f *slackfake.Fake, o *CheckupOptions) {
			f.SetScopes(neededScopes...)
			o.Channel = "C0NONE"
		}},
		{"a private channel, with the scope for others", "channel", "cannot be told", warns, func(f *slackfake.Fake, o *CheckupOptions) {
			f.ChangeChannel(slackfake.Ops, func(c *slackfake.Channel) { c.Private = true })
		}},
		{"no approvers", "approvers", "empty", fails, func(_ *slackfake.Fake, o *CheckupOptions) { o.Approvers = nil }},
		{"an approver by name", "approver @ada", "neither", fails, func(_ *slackfake.Fake, o *CheckupOptions) { o.Approvers = []string{"@ada"} }},
		{"an unknown approver", "approver U0NONE", "nobody", fails, func(_ *slackfake.Fake, o *CheckupOptions) { o.Approvers = []string{"U0NONE"} }},
		{"an approver who is a guest", "approver U1", "guest", fails, func(f *slackfake.Fake, _ *CheckupOptions) {
			f.ChangeUser(slackfake.Ada, func(u *slackfake.User) { u.Guest = true })
		}},
		{"an approver who is gone", "approver U1", "deactivated", fails, func(f *slackfake.Fake, _ *CheckupOptions) {
			f.ChangeUser(slackfake.Ada, func(u *slackfake.User) { u.Deleted = true })
		}},
		{"an approver who is a bot", "approver " + slackfake.Bot, "a bot", fails, func(_ *slackfake.Fake, o *CheckupOptions) { o.Approvers = []string{slackfake.Bot} }},
		{"people cannot be read", "approver U1", "internal_error", fails, func(f *slackfake.Fake, _ *CheckupOptions) {
			f.Inject(slackfake.Fault{Name: slackfake.InternalError, Method: "users.info"})
		}},
		{"an unknown group", "approver S0NONE", "no user group", fails, func(_ *slackfake.Fake, o *CheckupOptions) { o.Approvers = []string{"S0NONE"} }},
		{"a disabled group", "approver S0OPS", "disabled", fails, func(f *slackfake.Fake, _ *CheckupOptions) {
			f.ChangeGroup("S0OPS", func(g *slackfake.Group) { g.Disabled = true })
		}},
		{"an empty group", "approver S0OPS", "no members", fails, func(f *slackfake.Fake, _ *CheckupOptions) {
			f.ChangeGroup("S0OPS", func(g *slackfake.Group) { g.Users = nil })
		}},
		{"a group that anyone may edit", "approver S0OPS", "anyone who may edit", warns, func(f *slackfake.Fake, _ *CheckupOptions) {
			f.ChangeGroup("S0OPS", func(g *slackfake.Group) { g.MembershipLocked = false })
		}},
		{"a group in the rules that is gone", "approver S0GONE", "no user group", fails, func(_ *slackfake.Fake, o *CheckupOptions) { o.Ruled = []string{"S0GONE", slackfake.Ada} }},
		{"somebody in the rules who is gone", "approver U0NONE", "nobody", fails, func(_ *slackfake.Fake, o *CheckupOptions) { o.Ruled = []string{"U0NONE"} }},
		{"groups cannot be read", "approver S0OPS", "missing_scope", fails, func(f *slackfake.Fake, _ *CheckupOptions) { f.SetScopes("users:read") }},
		{"a clock that is a bit fast", "clock", "2 minutes ahead", warns, func(_ *slackfake.Fake, o *CheckupOptions) { o.Now = off(2*time.Minute + 30*time.Second) }},
		{"a clock that is too slow", "clock", "10 minutes behind", fails, func(_ *slackfake.Fake, o *CheckupOptions) { o.Now = off(-10*time.Minute - 30*time.Second) }},
		{"a clock that is too fast", "clock", "1 day ahead", fails, func(_ *slackfake.Fake, o *CheckupOptions) { o.Now = off(24 * time.Hour) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			f, o := ward(t, slackfake.Options{})
			row.change(f, &o)
			all := Checkup(t.Context(), o)
			x := foundAbout(t, all, row.what)
			assert.Equal(t, row.warn, x.OK, "%+v", x)
			assert.Equal(t, row.warn, x.Warn)
			assert.Contains(t, x.Found, row.found)
			assert.NotEmpty(t, x.Fix)
			for _, secret := range []string{o.BotToken, o.AppToken, strings.TrimSpace(o.SigningSecret)} {
				if secret != "" {
					assert.NotContains(t, fmt.Sprintf("%+v", all), secret)
				}
			}
			assert.NoError(t, f.AwaitSockets(t.Context(), 0))
		})
	}
}

func off(d time.Duration) func() time.Time { return func() time.Time { return time.Now().Add(d) } }

func TestAGroupOfAFreePlan(t *testing.T) {
	_, o := ward(t, slackfake.Options{FreePlan: true})
	x := foundAbout(t, Checkup(t.Context(), o), "approver S0OPS")
	assert.False(t, x.OK)
	assert.Contains(t, x.Fix, "paid")
}

func TestACheckupSaysWhatNamesAnApprover(t *testing.T) {
	_, o := ward(t, slackfake.Options{})
	o.Approvers, o.Ruled = append(o.Approvers, "S0GONE", "U0NONE"), []string{slackfake.Ada, "S0GONE", "S0LOST", "U0LOST"}
	all := Checkup(t.Context(), o)
	for what, names := range map[string]string{
		"S0GONE": "VPSGUARD_SLACK_APPROVERS", "U0NONE": "VPSGUARD_SLACK_APPROVERS", "S0LOST": "the rule file", "U0LOST": "the rule file",
	} {
		assert.Contains(t, foundAbout(t, all, "approver "+what).Fix, names, what)
	}
	assert.Len(t, slices.DeleteFunc(all, func(f Finding) bool { return !strings.HasPrefix(f.What, "approver ") }), 6, "each is told once")
}

func TestOthersOnTheSameAppToken(t *testing.T) {
	f, o := ward(t, slackfake.Options{})
	api := slack.New(o.BotToken, slack.OptionAPIURL(o.URL+"/"), slack.OptionAppLevelToken(o.AppToken))
	for range 2 {
		go func() { _ = socketmode.New(api).RunContext(t.Context()) }()
	}
	require.NoError(t, f.AwaitSockets(t.Context(), 2))
	x := foundAbout(t, Checkup(t.Context(), o), "app token")
	assert.True(t, x.OK && x.Warn)
	assert.Contains(t, x.Found, "beside this one: 2")
}

// slack-go opens the next socket at once where one is accepted and ends: doctor does
// not let it.
func TestASocketThatEndsAtOnceIsNotTriedForEver(t *testing.T) {
	up := websocket.Upgrader{}
	for name, link := range map[string]http.HandlerFunc{
		"refused": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) },
		"told to go": func(w http.ResponseWriter, r *http.Request) {
			if conn, err := up.Upgrade(w, r, nil); err == nil {
				_ = conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"disconnect","reason":"too_many_websockets"}`))
				conn.Close()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var opened atomic.Int32
			var server *httptest.Server
			server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/api/apps.connections.open" {
					opened.Add(1)
					_, _ = fmt.Fprintf(w, `{"ok":true,"url":"ws%s/link?ticket=seed-ticket"}`, strings.TrimPrefix(server.URL, "http"))
					return
				}
				link(w, r)
			}))
			defer server.Close()
			all := Checkup(t.Context(), CheckupOptions{AppToken: "xapp-1", URL: server.URL + "/api/", Now: time.Now})
			x := foundAbout(t, all, "app token")
			assert.False(t, x.OK)
			assert.Contains(t, x.Found, "no websocket")
			assert.NotContains(t, fmt.Sprint(all), "seed-ticket")
			assert.LessOrEqual(t, opened.Load(), int32(10))
		})
	}
}

func TestATokenOfAPersonIsRefused(t *testing.T) {
	for body, want := range map[string]string{
		`{"ok":true,"team_id":"T1","user_id":"U1"}`:                                    "a person's token",
		`{"ok":true,"team_id":"E1","enterprise_id":"E1","user_id":"U1","bot_id":"B1"}`: "whole organisation",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
		x := foundAbout(t, Checkup(t.Context(), CheckupOptions{BotToken: "xoxb-1", URL: server.URL, Now: time.Now}), "bot token")
		assert.Contains(t, x.Found, want)
		assert.NotEmpty(t, x.Fix)
		server.Close()
	}
}
