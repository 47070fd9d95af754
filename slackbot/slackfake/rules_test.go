package slackfake_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// sent does what a person does and returns the payload that the app gets; it is
// acknowledged.
func sent(t testing.TB, r raw, d *slackfake.Delivery) map[string]any {
	t.Helper()
	e := r.read()
	r.ack(e)
	require.True(t, d.Wait().Acked)
	m, ok := e["payload"].(map[string]any)
	require.True(t, ok)
	return m
}

func str(v any) string { s, _ := v.(string); return s }

func TestATriggerWorksOnceAndForThreeSeconds(t *testing.T) {
	f, api := serve(t, slackfake.Options{})
	r, _ := dial(t, f, api)
	ada := f.User(slackfake.Ada)
	trigger := func() string { return str(sent(t, r, ada.Slash(slackfake.Ops, "/vps", "x"))["trigger_id"]) }

	id := trigger()
	f.Pass(3 * time.Second)
	_, err := api.OpenView(id, modal())
	require.NoError(t, err, "in time to the last moment")
	_, err = api.OpenView(id, modal())
	assert.EqualError(t, err, "exchanged_trigger_id")
	id = trigger()
	f.Pass(3*time.Second + 1)
	_, err = api.OpenView(id, modal())
	assert.EqualError(t, err, "expired_trigger_id")
	_, err = api.OpenView("1.2.3", modal())
	assert.EqualError(t, err, "invalid_trigger_id")
	assert.Equal(t, []string{"trigger-reused", "trigger-late"}, rules(f))
}

func TestModalsLieOnEachOther(t *testing.T) {
	f, api := serve(t, slackfake.Options{})
	r, _ := dial(t, f, api)
	ada := f.User(slackfake.Ada)
	first, err := api.OpenView(str(sent(t, r, ada.Slash(slackfake.Ops, "/vps", "x"))["trigger_id"]), modal())
	require.NoError(t, err)

	push := func() (*slack.ViewResponse, error) {
		v, _ := f.View(slackfake.Ada)
		d := ada.Submit(v, slackfake.Values{"name": {"name": "web-01"}})
		e := r.read()
		defer func() {
			r.write(map[string]any{"envelope_id": e["envelope_id"], "payload": errorsFor("name")})
			d.Wait()
		}()
		p, _ := e["payload"].(map[string]any)
		return api.PushView(str(p["trigger_id"]), modal())
	}
	second, err := push()
	require.NoError(t, err)
	assert.Equal(t, first.View.ID, second.View.PreviousViewID)
	third, err := push()
	require.NoError(t, err)
	assert.Equal(t, first.View.ID, third.View.RootViewID)
	_, err = push()
	assert.EqualError(t, err, "push_limit_reached")
	require.Len(t, f.Views(slackfake.Ada), 3)

	v, _ := f.View(slackfake.Ada)
	closed := sent(t, r, ada.CloseView(v))
	assert.Equal(t, "view_closed", closed["type"])
	assert.Len(t, f.Views(slackfake.Ada), 2)

	stale := second.View.Hash
	updated, err := api.UpdateView(modal(), "", stale, second.View.ID)
	require.NoError(t, err)
	_, err = api.UpdateView(modal(), "", stale, second.View.ID)
	assert.EqualError(t, err, "hash_conflict")
	_, err = api.UpdateView(modal(), "", updated.View.Hash, second.View.ID)
	require.NoError(t, err)
	_, err = api.UpdateView(modal(), "", "", v.ID)
	assert.EqualError(t, err, "not_found", "it is closed")

	_, err = api.OpenView(str(sent(t, r, ada.Slash(slackfake.Ops, "/vps", "x"))["trigger_id"]), modal())
	require.NoError(t, err)
	assert.Len(t, f.Views(slackfake.Ada), 1, "a new one takes the place of all")
}

func errorsFor(block string) map[string]any {
	return map[string]any{"response_action": "errors", "errors": map[string]string{block: "no"}}
}

func TestAnswersToASubmission(t *testing.T) {
	f, api := serve(t, slackfake.Options{})
	r, _ := dial(t, f, api)
	ada := f.User(slackfake.Ada)
	view := func(title string) map[string]any {
		b, err := json.Marshal(modal())
		require.NoError(t, err)
		m := decode(t, b)
		m["title"] = map[string]any{"type": "plain_text", "text": title}
		return m
	}
	for _, row := range []struct {
		what    string
		payload any
		open    []string // titles of what is open then
		err     string
		rule    string
	}{
		{"nothing", nil, nil, "", ""},
		{"clear", map[string]any{"response_action": "clear"}, nil, "", ""},
		{"update", map[string]any{"response_action": "update", "view": view("Done")}, []string{"Done"}, "", ""},
		{"push", map[string]any{"response_action": "push", "view": view("More")}, []string{"Approve", "More"}, "", ""},
		{"errors", errorsFor("name"), []string{"Approve"}, "", ""},
		{"errors for no block", errorsFor("nobody"), []string{"Approve"}, slackfake.TroubleConnecting, "malformed-answer"},
		{"a view that is wrong", map[string]any{"response_action": "update", "view": view(u(25))}, []string{"Approve"}, slackfake.TroubleConnecting, "invalid-view"},
		{"an unknown action", map[string]any{"response_action": "explode"}, []string{"Approve"}, slackfake.TroubleConnecting, "malformed-answer"},
	} {
		before := len(f.Violations())
		_, err := api.OpenView(str(sent(t, r, ada.Slash(slackfake.Ops, "/vps", "x"))["trigger_id"]), modal())
		require.NoError(t, err)
		v, _ := f.View(slackfake.Ada)
		d := ada.Submit(v, slackfake.Values{"name": {"name": "web-01"}})
		e := r.read()
		r.write(map[string]any{"envelope_id": e["envelope_id"], "payload": row.payload})
		out := d.Wait()
		assert.True(t, out.Acked, row.what)
		assert.Equal(t, row.err, out.Error, row.what)
		var open []string
		for _, v := range f.Views(slackfake.Ada) {
			open = append(open, v.Title)
		}
		assert.Equal(t, row.open, open, row.what)
		if row.rule == "" {
			assert.Len(t, f.Violations(), before, row.what)
		} else {
			assert.Equal(t, row.rule, rules(f)[before], row.what)
		}
		for _, v := range f.Views(slackfake.Ada) {
			if d := ada.CloseView(v); d != nil {
				r.ack(r.read())
				d.Wait()
			}
		}
	}
}

// respond posts JSON to a response_url and returns status and error.
func respond(t testing.TB, url, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewBufferString(body))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	var got struct{ Error string }
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&got))
	return resp.StatusCode, got.Error
}

func TestAResponseURLWorksFiveTimesInThirtyMinutes(t *testing.T) {
	f, api := serve(t, slackfake.Options{})
	r, _ := dial(t, f, api)
	f.Kick(slackfake.Ops, slackfake.Bot) // it works where the app is not
	ask := func() string {
		return str(sent(t, r, f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "x"))["response_url"])
	}
	url := ask()
	for range 4 {
		status, _ := respond(t, url, `{"response_type":"ephemeral","text":"to you"}`)
		require.Equal(t, 200, status)
	}
	status, _ := respond(t, url, `{"response_type":"in_channel","text":"to all"}`)
	require.Equal(t, 200, status)
	status, code := respond(t, url, `{"response_type":"ephemeral","text":"x"}`)
	assert.Equal(t, 404, status)
	assert.Equal(t, "used_url", code)
	assert.Len(t, f.Ephemerals(slackfake.Ada), 4)
	assert.Empty(t, f.Ephemerals(slackfake.Grace))
	assert.Len(t, f.Messages(slackfake.Ops), 1)

	url = ask()
	f.Pass(30*time.Minute + 1)
	_, code = respond(t, url, `{"response_type":"ephemeral","text":"x"}`)
	assert.Equal(t, "expired_url", code)
	_, code = respond(t, ask(), `{"text":"x","replace_original":true}`)
	assert.Empty(t, code)
	assert.Equal(t, []string{
		"response-url-used-up", "response-url-late", "replace-without-original", "no-response-type",
	}, rules(f))

	err := slack.PostWebhook(ask(), &slack.WebhookMessage{Text: "x", ResponseType: slack.ResponseTypeEphemeral})
	require.NoError(t, err)
	_, _, err = api.PostMessage("", slack.MsgOptionResponseURL(ask(), slack.ResponseTypeInChannel), slack.MsgOptionText("by slack-go", false))
	require.NoError(t, err)
	assert.Equal(t, "by slack-go", f.Messages(slackfake.Ops)[1].String())
}

func TestAnEphemeralIsReplacedThroughItsButton(t *testing.T) {
	f, api := serve(t, slackfake.Options{})
	r, _ := dial(t, f, api)
	_, err := api.PostEphemeral(slackfake.Ops, slackfake.Ada, card("really?")...)
	require.NoError(t, err)
	m := f.Ephemerals(slackfake.Ada)[0]
	p := sent(t, r, f.User(slackfake.Ada).Press(m, "Deny…"))
	assert.Nil(t, p["message"], "Slack does not show ephemerals to apps")
	container, _ := p["container"].(map[string]any)
	assert.Equal(t, true, container["is_ephemeral"])
	_, code := respond(t, str(p["response_url"]), `{"replace_original":true,"text":"denied"}`)
	require.Empty(t, code)
	assert.Equal(t, "denied", f.Ephemerals(slackfake.Ada)[0].String())
	_, code = respond(t, str(p["response_url"]), `{"delete_original":true}`)
	require.Empty(t, code)
	assert.Empty(t, f.Ephemerals(slackfake.Ada))
}
