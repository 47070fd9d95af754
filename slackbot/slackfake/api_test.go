package slackfake_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// call posts a form with the bot token and returns the answer.
func call(t testing.TB, f *slackfake.Fake, method string, form url.Values) (*http.Response, map[string]any) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/api/"+method, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Authorization", "Bearer "+f.BotToken())
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	resp := w.Result()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, decode(t, b)
}

func post(t testing.TB, f *slackfake.Fake, channel, text string) string {
	t.Helper()
	_, got := call(t, f, "chat.postMessage", url.Values{"channel": {channel}, "text": {text}})
	require.Equal(t, true, got["ok"], got)
	ts, _ := got["ts"].(string)
	require.Regexp(t, `^\d{10}\.\d{6}$`, ts)
	return ts
}

func TestCallsAreRefusedAsSlackDoes(t *testing.T) {
	const ops = slackfake.Ops
	f := slackfake.New(slackfake.Options{EditWindow: time.Hour})
	f.AddChannel(slackfake.Channel{ID: "CARCH", Archived: true, Members: []string{slackfake.Bot}})
	f.AddChannel(slackfake.Channel{ID: "COUT", Members: []string{slackfake.Ada}})
	f.AddChannel(slackfake.Channel{ID: "CPRIV", Private: true, Members: []string{slackfake.Ada}})
	f.AddChannel(slackfake.Channel{ID: "CANN", Restricted: true, Members: []string{slackfake.Bot}})
	f.AddUser(slackfake.User{ID: "UHID", Hidden: true})
	old := post(t, f, ops, "old")
	f.Pass(time.Hour + time.Second)
	mine, theirs := post(t, f, ops, "mine"), f.User(slackfake.Ada).Say(ops, "", "hers").TS
	_, got := call(t, f, "chat.postEphemeral", url.Values{"channel": {ops}, "user": {slackfake.Ada}, "text": {"psst"}})
	whispered, _ := got["message_ts"].(string)
	require.NotEmpty(t, whispered)
	f.Pass(time.Minute)

	long := strings.Repeat("ü", 4001)
	for _, row := range []struct {
		method string
		form   url.Values
		code   string
	}{
		{"chat.postMessage", url.Values{"channel": {"C9"}, "text": {"x"}}, "channel_not_found"},
		{"chat.postMessage", url.Values{"channel": {"CPRIV"}, "text": {"x"}}, "channel_not_found"},
		{"chat.postMessage", url.Values{"channel": {"COUT"}, "text": {"x"}}, "not_in_channel"},
		{"chat.postMessage", url.Values{"channel": {"CARCH"}, "text": {"x"}}, "is_archived"},
		{"chat.postMessage", url.Values{"channel": {"CANN"}, "text": {"x"}}, "restricted_action"},
		{"chat.postMessage", url.Values{"channel": {slackfake.Ada}}, "no_text"},
		{"chat.postMessage", url.Values{"channel": {slackfake.Ada}, "text": {"x"}, "blocks": {"{"}}, "invalid_blocks_format"},
		{"chat.postMessage", url.Values{"channel": {slackfake.Grace}, "text": {strings.Repeat("x", 40_001)}}, "msg_too_long"},
		{"chat.update", url.Values{"channel": {ops}, "ts": {mine}, "text": {long}}, "msg_too_long"},
		{"chat.update", url.Values{"channel": {ops}, "ts": {mine}}, "no_text"},
		{"chat.update", url.Values{"channel": {ops}, "ts": {"1.2"}, "text": {"x"}}, "message_not_found"},
		{"chat.update", url.Values{"channel": {ops}, "ts": {"1700000000.000001"}, "text": {"x"}}, "message_not_found"},
		{"chat.update", url.Values{"channel": {ops}, "ts": {theirs}, "text": {"x"}}, "cant_update_message"},
		{"chat.update", url.Values{"channel": {ops}, "ts": {whispered}, "text": {"x"}}, "message_not_found"},
		{"chat.update", url.Values{"channel": {ops}, "ts": {old}, "text": {"x"}}, "edit_window_closed"},
		{"chat.delete", url.Values{"channel": {ops}, "ts": {theirs}}, "cant_delete_message"},
		{"chat.postEphemeral", url.Values{"channel": {ops}, "user": {"U9"}, "text": {"x"}}, "user_not_in_channel"},
		{"users.info", url.Values{"user": {"U9"}}, "user_not_found"},
		{"users.info", url.Values{"user": {"UHID"}}, "user_not_visible"},
		{"usergroups.users.list", url.Values{"usergroup": {"S9"}}, "no_such_subteam"},
		{"conversations.info", url.Values{"channel": {"CPRIV"}}, "channel_not_found"},
		{"conversations.members", url.Values{"channel": {ops}, "cursor": {"x"}}, "invalid_cursor"},
		{"views.open", url.Values{"trigger_id": {"1.2.3"}, "view": {`{"type":"modal"}`}}, "invalid_arguments"},
		{"views.update", url.Values{"view_id": {"V9"}, "view": {"{}"}}, "not_found"},
		{"apps.connections.open", nil, "not_allowed_token_type"},
		{"chat.shout", nil, "unknown_method"},
	} {
		f.Pass(time.Second)
		_, got := call(t, f, row.method, row.form)
		assert.Equal(t, row.code, got["error"], "%s %.80v", row.method, row.form)
	}
	assert.Contains(t, rules(f), "ephemeral-edited")
	assert.Contains(t, rules(f), "unknown-method")
	require.Len(t, f.Ephemerals(slackfake.Ada), 1)
	assert.Equal(t, "psst", f.Ephemerals(slackfake.Ada)[0].String())
	f.Forget(slackfake.Ada)
	assert.Empty(t, f.Ephemerals(slackfake.Ada))
}

func TestTokensAndScopes(t *testing.T) {
	f, api := serve(t, slackfake.Options{Scopes: []string{"chat:write"}})
	who, err := api.AuthTest()
	require.NoError(t, err)
	assert.Equal(t, slackfake.Bot, who.UserID)
	assert.Equal(t, slackfake.Team, who.TeamID)

	_, err = api.GetUserInfo(slackfake.Ada)
	var refused slack.SlackErrorResponse
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, "missing_scope", refused.Err)
	_, got := call(t, f, "conversations.info", url.Values{"channel": {slackfake.Ops}})
	assert.Equal(t, "channels:read", got["needed"])
	assert.Equal(t, "chat:write", got["provided"])
	assert.Contains(t, rules(f), "missing-scope")

	for _, code := range []string{"token_revoked", "invalid_auth", "account_inactive"} {
		f.RevokeToken(code)
		_, err = api.AuthTest()
		assert.EqualError(t, err, code)
	}
	f.RevokeToken("")
	_, err = api.AuthTest()
	assert.NoError(t, err)
	w := httptest.NewRecorder()
	f.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/api/auth.test", nil))
	assert.JSONEq(t, `{"ok":false,"error":"not_authed"}`, w.Body.String())
	assert.Equal(t, "application/json; charset=utf-8", w.Header().Get("Content-Type"))
}

func TestOnePostASecondInAChannel(t *testing.T) {
	f := slackfake.New(slackfake.Options{})
	f.AddChannel(slackfake.Channel{ID: "C2", Members: []string{slackfake.Bot}})
	post(t, f, slackfake.Ops, "1")
	post(t, f, "C2", "another channel has its own")
	resp, got := call(t, f, "chat.postMessage", url.Values{"channel": {slackfake.Ops}, "text": {"2"}})
	assert.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
	assert.Equal(t, "1", resp.Header.Get("Retry-After"))
	assert.Equal(t, "ratelimited", got["error"])
	assert.Empty(t, f.Violations(), "being told is no sin")

	f.Pass(999 * time.Millisecond)
	_, got = call(t, f, "chat.postMessage", url.Values{"channel": {slackfake.Ops}, "text": {"2"}})
	assert.Equal(t, "ratelimited", got["error"])
	assert.Equal(t, []string{"retry-after-ignored"}, rules(f), "not waiting is")
	f.Pass(time.Millisecond)
	post(t, f, slackfake.Ops, "2")
	assert.Len(t, f.Messages(slackfake.Ops), 2)
	assert.Len(t, f.Calls("chat.postMessage"), 5)
}

func TestTheTiersHold(t *testing.T) {
	f := slackfake.New(slackfake.Options{Limits: map[string]slackfake.Limit{"users.info": {}}})
	f.AddGroup(slackfake.Group{ID: "S1", Handle: "oncall", Users: []string{slackfake.Grace}, MembershipLocked: true})
	ts := post(t, f, slackfake.Ops, "x")
	for _, row := range []struct {
		method string
		form   url.Values
		n      int
	}{
		{"chat.update", url.Values{"channel": {slackfake.Ops}, "ts": {ts}, "text": {"y"}}, 50},
		{"usergroups.users.list", url.Values{"usergroup": {"S1"}}, 20},
		{"chat.postEphemeral", url.Values{"channel": {slackfake.Ops}, "user": {slackfake.Ada}, "text": {"y"}}, 100},
		{"users.info", url.Values{"user": {slackfake.Ada}}, 500},
	} {
		for range row.n {
			_, got := call(t, f, row.method, row.form)
			require.Equal(t, true, got["ok"], "%s: %v", row.method, got)
		}
		resp, _ := call(t, f, row.method, row.form)
		if row.n == 500 {
			assert.Equal(t, 200, resp.StatusCode, "taken off by Options")
			continue
		}
		assert.Equal(t, "60", resp.Header.Get("Retry-After"), row.method)
	}
	f.Pass(time.Minute)
	_, got := call(t, f, "chat.update", url.Values{"channel": {slackfake.Ops}, "ts": {ts}, "text": {"y"}})
	assert.Equal(t, true, got["ok"])
}

func TestPeopleGroupsAndChannelsAsSlackGoReadsThem(t *testing.T) {
	f, api := serve(t, slackfake.Options{})
	f.AddUser(slackfake.User{ID: "UG", Guest: true})
	f.AddUser(slackfake.User{ID: "US", SingleChannelGuest: true})
	f.AddUser(slackfake.User{ID: "UX", Team: "T0OTHER", Stranger: true})
	f.AddUser(slackfake.User{ID: "UD", Deleted: true})
	f.AddUser(slackfake.User{ID: "UB", Bot: true})
	for id, want := range map[string]func(*slack.User) bool{
		slackfake.Ada: func(u *slack.User) bool {
			return u.TZ == "Europe/London" && u.TeamID == slackfake.Team && !u.IsRestricted && !u.IsStranger && !u.IsBot
		},
		"UG": func(u *slack.User) bool { return u.IsRestricted && !u.IsUltraRestricted },
		"US": func(u *slack.User) bool { return u.IsRestricted && u.IsUltraRestricted },
		"UX": func(u *slack.User) bool { return u.IsStranger && u.TeamID == "T0OTHER" },
		"UD": func(u *slack.User) bool { return u.Deleted },
		"UB": func(u *slack.User) bool { return u.IsBot },
	} {
		u, err := api.GetUserInfo(id)
		require.NoError(t, err)
		assert.True(t, want(u), "%+v", u)
	}

	f.AddGroup(slackfake.Group{ID: "S1", Handle: "oncall", Users: []string{slackfake.Grace}, MembershipLocked: true, IDP: true})
	f.AddGroup(slackfake.Group{ID: "S2", Disabled: true})
	groups, err := api.GetUserGroups(slack.GetUserGroupsOptionIncludeUsers(true))
	require.NoError(t, err)
	require.Len(t, groups, 1)
	assert.True(t, groups[0].IsMembershipLocked && groups[0].IsIDPGroup && !groups[0].IsEditingRestricted)
	members, err := api.GetUserGroupMembers("S1")
	require.NoError(t, err)
	assert.Equal(t, []string{slackfake.Grace}, members)
	f.ChangeGroup("S1", func(g *slackfake.Group) { g.Users = nil })
	members, err = api.GetUserGroupMembers("S1")
	require.NoError(t, err)
	assert.Empty(t, members)

	f.ChangeChannel(slackfake.Ops, func(c *slackfake.Channel) { c.ExtShared = true })
	c, err := api.GetConversationInfo(&slack.GetConversationInfoInput{ChannelID: slackfake.Ops})
	require.NoError(t, err)
	assert.True(t, c.IsExtShared && c.IsMember && !c.IsArchived)
	who, next, err := api.GetUsersInConversation(&slack.GetUsersInConversationParameters{ChannelID: slackfake.Ops, Limit: 3})
	require.NoError(t, err)
	assert.Len(t, who, 3)
	who, next, err = api.GetUsersInConversation(&slack.GetUsersInConversationParameters{ChannelID: slackfake.Ops, Limit: 3, Cursor: next})
	require.NoError(t, err)
	assert.Equal(t, []string{slackfake.Bot}, who)
	assert.Empty(t, next)

	f.Kick(slackfake.Ops, slackfake.Bot)
	_, _, err = api.PostMessage(slackfake.Ops, slack.MsgOptionText("x", false))
	assert.EqualError(t, err, "not_in_channel")
	_, _, _, err = api.JoinConversation(slackfake.Ops)
	require.NoError(t, err)
	f.Pass(time.Second)
	_, ts, err := api.PostMessage(slackfake.Ops, slack.MsgOptionText("x", false))
	require.NoError(t, err)
	link, err := api.GetPermalink(&slack.PermalinkParameters{Channel: slackfake.Ops, Ts: ts})
	require.NoError(t, err)
	assert.Contains(t, link, "/archives/C1/p")

	free := slackfake.New(slackfake.Options{FreePlan: true})
	_, got := call(t, free, "usergroups.users.list", url.Values{"usergroup": {"S1"}})
	assert.Equal(t, "plan_upgrade_required", got["error"])
}

func TestMessagesAsSlackGoWritesThem(t *testing.T) {
	f, api := serve(t, slackfake.Options{})
	_, ts, err := api.PostMessage(slackfake.Ops, append(card("50% of web+01 & more"),
		slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl())...)
	require.NoError(t, err)
	m := f.Message(slackfake.Ops, ts)
	assert.Equal(t, "50% of web+01 & more", m.Aloud())
	require.NotNil(t, m.UnfurlLinks)
	assert.False(t, *m.UnfurlLinks || *m.UnfurlMedia)
	assert.Equal(t, []slackfake.Button{
		{Block: "decide", Action: "approve", Text: "Approve…", Value: "r1"},
		{Block: "decide", Action: "deny", Text: "Deny…", Value: "r1", Style: "danger"},
	}, m.Buttons())

	_, _, _, err = api.UpdateMessage(slackfake.Ops, ts, slack.MsgOptionText("done", false))
	require.NoError(t, err)
	assert.Empty(t, f.Message(slackfake.Ops, ts).Blocks, "a text alone removes the blocks")
	_, _, err = api.DeleteMessage(slackfake.Ops, ts)
	require.NoError(t, err)
	assert.Empty(t, f.Messages(slackfake.Ops))
	assert.Empty(t, f.Violations())

	f.Pass(time.Second)
	_, _, err = api.PostMessage(slackfake.Ops, slack.MsgOptionBlocks(slack.NewSectionBlock(mrkdwn("no text"), nil, nil)))
	require.NoError(t, err, "Slack accepts it")
	assert.Equal(t, []string{"no-text"}, rules(f), "people with a screen reader do not")
	f.Pass(time.Second)
	_, _, err = api.PostMessage(slackfake.Ops, slack.MsgOptionText("x", false), slack.MsgOptionTS("1700000000.000001"))
	assert.EqualError(t, err, "thread_not_found")
}
