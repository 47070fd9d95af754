package slackfake_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/slackevents"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// receiver is an app with request URLs, on slack-go. It keeps what came in.
type receiver struct {
	mu       sync.Mutex
	requests []*http.Request
	bodies   []string
	answer   func(w http.ResponseWriter, r *http.Request, body string)
}

func (a *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(b))
	a.mu.Lock()
	a.requests, a.bodies = append(a.requests, r), append(a.bodies, string(b))
	answer := a.answer
	a.mu.Unlock()
	if answer != nil {
		answer(w, r, string(b))
	}
}

func (a *receiver) last() (*http.Request, string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.requests[len(a.requests)-1], a.bodies[len(a.bodies)-1]
}

func (a *receiver) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.requests)
}

func receive(t testing.TB, f *slackfake.Fake, answer func(http.ResponseWriter, *http.Request, string)) *receiver {
	t.Helper()
	a := &receiver{answer: answer}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	f.SetReceiver(&slackfake.Receiver{
		Commands: server.URL + "/commands", Interactions: server.URL + "/interactions",
		Events: server.URL + "/events", Options: server.URL + "/options",
	})
	return a
}

func TestHTTPDeliveriesAsSlackGoReadsThem(t *testing.T) {
	f, api := serve(t, slackfake.Options{Now: time.Now})
	a := receive(t, f, func(w http.ResponseWriter, r *http.Request, body string) {
		v, err := slack.NewSecretsVerifier(r.Header, slackfake.DefaultSecret)
		assert.NoError(t, err)
		_, _ = v.Write([]byte(body))
		assert.NoError(t, v.Ensure())
	})
	ada := f.User(slackfake.Ada)
	require.True(t, ada.Slash(slackfake.Ops, "/vps", `snapshot create web-01 because "50% & more"`).Wait().Acked)
	r, _ := a.last()
	assert.Equal(t, "/commands", r.URL.Path)
	assert.Equal(t, "application/x-www-form-urlencoded", r.Header.Get("Content-Type"))
	cmd, err := slack.SlashCommandParse(r)
	require.NoError(t, err)
	assert.Equal(t, `snapshot create web-01 because "50% & more"`, cmd.Text)
	assert.Equal(t, []string{slackfake.Team, slackfake.Ops, "ops", slackfake.Ada, "ada", "/vps", slackfake.App},
		[]string{cmd.TeamID, cmd.ChannelID, cmd.ChannelName, cmd.UserID, cmd.UserName, cmd.Command, cmd.APIAppID})

	_, ts, err := api.PostMessage(slackfake.Ops, card("restore web-01")...)
	require.NoError(t, err)
	require.True(t, ada.Press(f.Message(slackfake.Ops, ts), "Approve…").Wait().Acked)
	r, _ = a.last()
	assert.Equal(t, "/interactions", r.URL.Path)
	in, err := slack.InteractionCallbackParse(r)
	require.NoError(t, err)
	assert.Equal(t, slack.InteractionTypeBlockActions, in.Type)
	assert.Equal(t, []string{"approve", "decide", "r1"},
		[]string{in.ActionCallback.BlockActions[0].ActionID, in.ActionCallback.BlockActions[0].BlockID, in.ActionCallback.BlockActions[0].Value})
	assert.Equal(t, ts, in.Message.Timestamp)
	assert.Equal(t, ts, in.Container.MessageTs)
	assert.Equal(t, slackfake.Team, in.User.TeamID)

	_, err = api.OpenView(in.TriggerID, modal())
	require.NoError(t, err)
	v, _ := f.View(slackfake.Ada)
	require.True(t, ada.Submit(v, slackfake.Values{"name": {"name": "web-01"}}).Wait().Acked)
	r, _ = a.last()
	in, err = slack.InteractionCallbackParse(r)
	require.NoError(t, err)
	assert.Equal(t, "web-01", in.View.State.Values["name"]["name"].Value)
	assert.Equal(t, []string{"approval", "r1", v.ID}, []string{in.View.CallbackID, in.View.PrivateMetadata, in.View.ID})

	require.True(t, ada.Mention(slackfake.Ops, ts, "server list").Wait().Acked)
	r, body := a.last()
	assert.Equal(t, "application/json", r.Header.Get("Content-Type"))
	e, err := slackevents.ParseEvent([]byte(body), slackevents.OptionNoVerifyToken())
	require.NoError(t, err)
	mention, ok := e.InnerEvent.Data.(*slackevents.AppMentionEvent)
	require.True(t, ok)
	assert.Equal(t, "<@"+slackfake.Bot+"> server list", mention.Text)
	assert.Equal(t, ts, mention.ThreadTimeStamp)
	assert.Empty(t, f.Violations())
}

func TestEventsAreRetriedOverHTTPAndCommandsAreNot(t *testing.T) {
	f, _ := serve(t, slackfake.Options{})
	a := receive(t, f, func(w http.ResponseWriter, r *http.Request, _ string) {
		if r.Header.Get("X-Slack-Retry-Num") != "3" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	ada := f.User(slackfake.Ada)
	d := ada.Mention(slackfake.Ops, "", "x")
	for i, wait := range []time.Duration{0, time.Minute, 5 * time.Minute} {
		require.NoError(t, f.Await(within(t), func() bool { return len(f.Violations()) >= i+1 }))
		f.Pass(wait)
		require.NoError(t, f.Await(within(t), func() bool { return a.count() == i+2 || len(f.Violations()) > i+1 }))
	}
	out := d.Wait()
	assert.True(t, out.Acked)
	assert.Equal(t, []string{"http_error", "http_error", "http_error"}, out.Retries)
	r, _ := a.last()
	assert.Equal(t, "http_error", r.Header.Get("X-Slack-Retry-Reason"))
	a.mu.Lock()
	assert.Empty(t, a.requests[0].Header.Get("X-Slack-Retry-Num"))
	a.mu.Unlock()

	out = ada.Slash(slackfake.Ops, "/vps", "x").Wait()
	assert.Equal(t, slackfake.DispatchFailed, out.Error)
	assert.Equal(t, 1, out.Attempts)

	b := receive(t, f, func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.Header().Set("X-Slack-No-Retry", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	assert.Equal(t, 1, ada.Mention(slackfake.Ops, "", "x").Wait().Attempts)
	assert.Equal(t, 1, b.count())
}

func TestSlowAnswersOverHTTPAreTooLate(t *testing.T) {
	f, _ := serve(t, slackfake.Options{})
	arrived, hungUp := make(chan bool), make(chan bool)
	receive(t, f, func(_ http.ResponseWriter, r *http.Request, _ string) {
		arrived <- true
		<-r.Context().Done()
		close(hungUp)
	})
	d := f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "x")
	<-arrived
	f.Pass(3 * time.Second)
	assert.Equal(t, slackfake.OperationTimeout, d.Wait().Error)
	assert.Equal(t, []string{"no-ack"}, rules(f))
	<-hungUp // Slack does not wait for it
}

func TestWhatAnHTTPAnswerSays(t *testing.T) {
	f, _ := serve(t, slackfake.Options{})
	for _, row := range []struct{ kind, body, ephemeral, channel string }{
		{"text/plain", "hello", "hello", ""},
		{"application/json", `{"response_type":"ephemeral","text":"hello"}`, "hello", ""},
		{"application/json", `{"response_type":"in_channel","text":"hello"}`, "", "hello"},
		{"text/plain", `{"response_type":"in_channel","text":"hello"}`, `{"response_type":"in_channel","text":"hello"}`, ""},
		{"", "", "", ""},
	} {
		ephemerals, messages := len(f.Ephemerals(slackfake.Ada)), len(f.Messages(slackfake.Ops))
		receive(t, f, func(w http.ResponseWriter, _ *http.Request, _ string) {
			w.Header().Set("Content-Type", row.kind)
			_, _ = io.WriteString(w, row.body)
		})
		require.True(t, f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "x").Wait().Acked)
		got := ""
		if all := f.Ephemerals(slackfake.Ada); len(all) > ephemerals {
			got = all[len(all)-1].String()
		}
		assert.Equal(t, row.ephemeral, got, row)
		got = ""
		if all := f.Messages(slackfake.Ops); len(all) > messages {
			got = all[len(all)-1].String()
		}
		assert.Equal(t, row.channel, got, row)
	}
}

func TestTypeAheadMenus(t *testing.T) {
	f, api := serve(t, slackfake.Options{})
	a := receive(t, f, func(w http.ResponseWriter, r *http.Request, _ string) {
		if r.URL.Path == "/options" {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"options":[{"text":{"type":"plain_text","text":"web-01"},"value":"12345"}]}`)
		}
	})
	menu := slack.NewOptionsSelectBlockElement(slack.OptTypeExternal, plain("Server"), "server")
	view := modal()
	view.Blocks.BlockSet = []slack.Block{slack.NewInputBlock("server", plain("Server"), nil, menu)}
	ada := f.User(slackfake.Ada)
	d := ada.Slash(slackfake.Ops, "/vps", "snapshot restore")
	require.True(t, d.Wait().Acked)
	_, err := api.OpenView(str(decode(t, d.Payload())["trigger_id"]), view)
	require.NoError(t, err)
	v, _ := f.View(slackfake.Ada)
	assert.Empty(t, ada.Type(v, "server", "we").Wait().Options, "three characters at least")
	assert.Equal(t, 1, a.count())
	assert.Panics(t, func() { ada.Submit(v, slackfake.Values{"server": {"server": "web-01"}}) }, "nobody has seen that option")
	out := ada.Type(v, "server", "web").Wait()
	assert.Equal(t, []slackfake.Option{{Text: "web-01", Value: "12345"}}, out.Options)
	r, _ := a.last()
	assert.Equal(t, "/options", r.URL.Path)
	in, err := slack.InteractionCallbackParse(r)
	require.NoError(t, err)
	assert.Equal(t, slack.InteractionTypeBlockSuggestion, in.Type)
	assert.Equal(t, "web", in.Value)
	d = ada.Submit(v, slackfake.Values{"server": {"server": "web-01"}})
	require.True(t, d.Wait().Acked)
	assert.Contains(t, string(d.Payload()), `"selected_option":{"text":{"text":"web-01","type":"plain_text"},"value":"12345"}`)
}

func TestASignedRequestCanBeReplayed(t *testing.T) {
	f, _ := serve(t, slackfake.Options{})
	a := receive(t, f, nil)
	d := f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "x")
	require.True(t, d.Wait().Acked)
	status, err := d.Replay(within(t))
	require.NoError(t, err)
	assert.Equal(t, 200, status)
	require.Equal(t, 2, a.count())
	assert.Equal(t, a.bodies[0], a.bodies[1])
	assert.Equal(t, a.requests[0].Header["X-Slack-Signature"], a.requests[1].Header["X-Slack-Signature"])

	a.answer = func(w http.ResponseWriter, _ *http.Request, body string) {
		m := decode(t, []byte(body))
		_, _ = io.WriteString(w, str(m["challenge"]))
	}
	require.NoError(t, f.VerifyURL(within(t)))
	a.answer = func(w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(401) }
	require.ErrorContains(t, f.VerifyURL(within(t)), "401")
	f.Inject(slackfake.Fault{Name: slackfake.Twice, Times: 1})
	arrived := make(chan bool, 2)
	a.answer = func(http.ResponseWriter, *http.Request, string) { arrived <- true }
	require.True(t, f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "x").Wait().Acked)
	<-arrived
	<-arrived
}
