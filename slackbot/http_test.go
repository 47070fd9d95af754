package slackbot

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// transportRun is what a test's receiver got, and what it answers.
type transportRun struct {
	mu     sync.Mutex
	got    []delivery
	answer receiver
}

func (k *transportRun) receive(ctx context.Context, d delivery) json.RawMessage {
	k.mu.Lock()
	k.got = append(k.got, d)
	answer := k.answer
	k.mu.Unlock()
	if answer == nil {
		return nil
	}
	return answer(ctx, d)
}

func (k *transportRun) all() []delivery {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]delivery(nil), k.got...)
}

func (k *transportRun) last(t testing.TB) delivery {
	t.Helper()
	all := k.all()
	require.NotEmpty(t, all)
	return all[len(all)-1]
}

// httpKit is a door with request URLs, in front of a test's receiver.
type httpKit struct {
	transportRun
	log    transportLog
	in     *intake
	server *httptest.Server
}

func newHTTPKit(t testing.TB, now func() time.Time, secrets ...string) *httpKit {
	t.Helper()
	k := &httpKit{}
	k.in = newIntake(context.Background(), intakeOptions{Now: now, Log: k.log.logger()})
	k.server = httptest.NewServer(newHTTP(httpOptions{Secrets: secrets, Intake: k.in, Now: now, Log: k.log.logger()}, k.receive))
	t.Cleanup(k.server.Close)
	return k
}

// urls are where Slack posts to.
func (k *httpKit) urls() *slackfake.Receiver {
	return &slackfake.Receiver{
		Commands: k.server.URL + pathCommands, Interactions: k.server.URL + pathInteractions,
		Options: k.server.URL + pathOptions, Events: k.server.URL + pathEvents,
	}
}

// transportFake is a workspace on a real port.
func transportFake(t testing.TB, o slackfake.Options) (*slackfake.Fake, *slack.Client) {
	t.Helper()
	f := slackfake.New(o)
	server := httptest.NewServer(f)
	t.Cleanup(func() { f.Close(); server.Close() })
	f.SetURL(server.URL)
	return f, slack.New(f.BotToken(), slack.OptionAPIURL(server.URL+"/api/"), slack.OptionAppLevelToken(f.AppToken()))
}

// slackAndHTTP are a workspace and a door that know each other, both on the fake's clock.
func slackAndHTTP(t testing.TB) (*slackfake.Fake, *slack.Client, *httpKit) {
	t.Helper()
	f, api := transportFake(t, slackfake.Options{Limits: slackfake.NoLimits()})
	k := newHTTPKit(t, f.Now, slackfake.DefaultSecret)
	f.SetReceiver(k.urls())
	return f, api, k
}

// post signs a body and sends it. change may be nil.
func (k *httpKit) post(t testing.TB, path, kind, body string, at time.Time, change func(*http.Request)) (int, string, http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, k.server.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	r.Header = slackfake.Sign(slackfake.DefaultSecret, at, []byte(body))
	r.Header.Set("Content-Type", kind)
	if change != nil {
		change(r)
	}
	resp, err := k.server.Client().Do(r)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(b), resp.Header
}

// transportCard is a message with a button and a menu with type-ahead.
func transportCard(t testing.TB, f *slackfake.Fake, api *slack.Client) slackfake.Message {
	t.Helper()
	says := func(s string) *slack.TextBlockObject {
		return slack.NewTextBlockObject(slack.PlainTextType, s, false, false)
	}
	_, ts, err := api.PostMessage(slackfake.Ops, slack.MsgOptionText("restore web-01?", false), slack.MsgOptionBlocks(
		slack.NewActionBlock("decide", slack.NewButtonBlockElement("approve", "r1", says("Approve")),
			slack.NewOptionsSelectBlockElement(slack.OptTypeExternal, says("Server"), "server"))))
	require.NoError(t, err)
	return f.Message(slackfake.Ops, ts)
}

const someOptions = `{"options":[{"text":{"type":"plain_text","text":"web-01"},"value":"1"}]}`

// everyKind does one thing of each kind and looks at what arrived.
func everyKind(t *testing.T, f *slackfake.Fake, api *slack.Client, k *transportRun, via string) {
	k.answer = func(_ context.Context, d delivery) json.RawMessage {
		switch d.Kind {
		case kindCommand:
			return json.RawMessage(`{"response_type":"ephemeral","text":"hello"}`)
		case kindOptions:
			return json.RawMessage(someOptions)
		default:
			return nil
		}
	}
	ada := f.User(slackfake.Ada)
	card := transportCard(t, f, api)

	d := ada.Slash(slackfake.Ops, "/vps", `snapshot create web-01 because "50% & more"`)
	require.True(t, d.Wait().Acked)
	got := k.last(t)
	assert.Equal(t, []any{kindCommand, via, false}, []any{got.Kind, got.Via, got.Retry})
	var fields map[string]string
	require.NoError(t, json.Unmarshal(got.Body, &fields))
	assert.Equal(t, `snapshot create web-01 because "50% & more"`, fields["text"])
	assert.Equal(t, slackfake.Ada, fields["user_id"])
	assert.JSONEq(t, string(d.Payload()), string(got.Body))
	require.Len(t, f.Ephemerals(slackfake.Ada), 1)
	assert.Equal(t, "hello", f.Ephemerals(slackfake.Ada)[0].Text)

	d = ada.Click(card, "approve")
	require.True(t, d.Wait().Acked)
	got = k.last(t)
	assert.Equal(t, kindInteraction, got.Kind)
	assert.JSONEq(t, string(d.Payload()), string(got.Body))

	d = ada.Type(card, "server", "web")
	assert.Equal(t, []slackfake.Option{{Text: "web-01", Value: "1"}}, d.Wait().Options)
	assert.Equal(t, kindOptions, k.last(t).Kind)

	d = ada.Mention(slackfake.Ops, card.TS, "server list")
	require.True(t, d.Wait().Acked)
	got = k.last(t)
	assert.Equal(t, kindEvent, got.Kind)
	assert.JSONEq(t, string(d.Payload()), string(got.Body))
	head, err := headOf(d.Payload())
	require.NoError(t, err)
	assert.Equal(t, "event:"+head.EventID, got.Key)

	keys := map[string]bool{}
	for _, d := range k.all() {
		keys[d.Key] = true
	}
	assert.Len(t, keys, 4)
	assert.Empty(t, f.Violations())
}

func TestEveryKindOverHTTP(t *testing.T) {
	f, api, k := slackAndHTTP(t)
	everyKind(t, f, api, &k.transportRun, viaHTTP)
	require.NoError(t, f.VerifyURL(t.Context()))
	assert.Len(t, k.all(), 4, "a challenge is no delivery")
}

func TestAMenusQuestionAtTheOtherAddress(t *testing.T) {
	k := newHTTPKit(t, time.Now, slackfake.DefaultSecret)
	form := url.Values{"payload": {`{"type":"block_suggestion","value":"web"}`}}.Encode()
	now := time.Now()
	for _, path := range []string{pathInteractions, pathOptions} {
		status, _, _ := k.post(t, path, contentForm, form, now, nil)
		assert.Equal(t, http.StatusOK, status)
		assert.Equal(t, kindOptions, k.last(t).Kind)
	}
	assert.Len(t, k.all(), 1, "in the same second it is the same request")
	k.post(t, pathOptions, contentForm, form, now.Add(time.Second), nil)
	assert.Len(t, k.all(), 2, "who types the same again asks again")
	k.post(t, pathOptions, contentForm, url.Values{"payload": {`{"type":"block_actions"}`}}.Encode(), now, nil)
	assert.Equal(t, kindInteraction, k.last(t).Kind)
}

func TestAReplayRunsNothingAndGetsTheSameAnswer(t *testing.T) {
	f, _, k := slackAndHTTP(t)
	k.answer = func(_ context.Context, d delivery) json.RawMessage {
		b, _ := json.Marshal(map[string]any{"text": len(k.all())})
		return b
	}
	ada := f.User(slackfake.Ada)
	for i, act := range []func() *slackfake.Delivery{
		func() *slackfake.Delivery { return ada.Slash(slackfake.Ops, "/vps", "x") },
		func() *slackfake.Delivery { return ada.Mention(slackfake.Ops, "", "x") },
	} {
		d := act()
		require.True(t, d.Wait().Acked)
		status, err := d.Replay(t.Context())
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, status)
		f.Pass(4 * time.Minute)
		_, err = d.Replay(t.Context())
		require.NoError(t, err)
		assert.Len(t, k.all(), i+1)
	}

	body := url.Values{"command": {"/vps"}, "trigger_id": {"1.2.3"}}.Encode()
	_, first, _ := k.post(t, pathCommands, contentForm, body, f.Now(), nil)
	_, again, _ := k.post(t, pathCommands, contentForm, body, f.Now(), nil)
	assert.Equal(t, first, again)
	_, again, _ = k.post(t, pathCommands, contentForm, body, f.Now().Add(time.Second), nil)
	assert.Equal(t, first, again, "also if it is signed anew")
	_, other, _ := k.post(t, pathCommands, contentForm, body+"4", f.Now(), nil)
	assert.NotEqual(t, first, other)

	f.Inject(slackfake.Fault{Name: slackfake.Twice})
	n := len(k.all())
	require.True(t, ada.Slash(slackfake.Ops, "/vps", "twice").Wait().Acked)
	f.Close() // waits for the second
	assert.Len(t, k.all(), n+1)
}

func TestAnEventThatComesAgainIsKnown(t *testing.T) {
	bubbleHTTP(t, nil, func(t *testing.T, f *slackfake.Fake, k *httpKit, _ *slackfake.Wire) {
		f.Inject(slackfake.Fault{Name: slackfake.LoseAck, Times: 1})
		out := f.User(slackfake.Ada).Mention(slackfake.Ops, "", "x").Wait()
		assert.True(t, out.Acked)
		assert.Equal(t, 2, out.Attempts)
		require.Len(t, k.all(), 1)
		assert.False(t, k.last(t).Retry)

		f.Inject(slackfake.Fault{Name: slackfake.NotDelivered, Times: 1})
		out = f.User(slackfake.Ada).Mention(slackfake.Ops, "", "x").Wait()
		assert.Equal(t, 2, out.Attempts)
		require.Len(t, k.all(), 2)
		assert.True(t, k.last(t).Retry, "the first was never seen here")
	})
}

func TestWhoSignsAndWhoDoesNot(t *testing.T) {
	f, _ := transportFake(t, slackfake.Options{})
	const older = "0123456789abcdef0123456789abcdef"
	k := newHTTPKit(t, f.Now, slackfake.DefaultSecret, older)
	for _, row := range []struct {
		name   string
		secret string
		skew   time.Duration
		ok     bool
	}{
		{"the new secret", slackfake.DefaultSecret, 0, true},
		{"the old secret", older, 0, true},
		{"another", "ffff", 0, false},
		{"300 s ahead", "", 300 * time.Second, true},
		{"301 s ahead", "", 301 * time.Second, false},
		{"300 s behind", "", -300 * time.Second, true},
		{"301 s behind", "", -301 * time.Second, false},
	} {
		r := k.urls()
		r.Secret, r.Skew = row.secret, row.skew
		f.SetReceiver(r)
		n := len(k.all())
		out := f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", row.name).Wait()
		assert.Equal(t, row.ok, out.Acked, row.name)
		assert.Equal(t, row.ok, len(k.all()) == n+1, row.name)
	}
	for _, r := range slackfake.SignatureCorpus(f.Now()) {
		status, body, _ := k.post(t, pathCommands, contentForm, r.Body, f.Now(), func(q *http.Request) {
			q.Header = r.Header()
			q.Header.Set("Content-Type", contentForm)
		})
		if r.Valid {
			assert.Equal(t, http.StatusOK, status, r.Name)
		} else {
			assert.Equal(t, http.StatusUnauthorized, status, r.Name)
			assert.Equal(t, "unauthorized\n", body, "no detail")
		}
	}
	assert.Contains(t, k.log.String(), "the signature is of no secret known here")
	for _, secret := range []string{slackfake.DefaultSecret, older, "web-01"} {
		assert.NotContains(t, k.log.String(), secret)
	}
	lines := strings.Count(k.log.String(), "refused a request")
	for range 100 {
		k.post(t, pathCommands, contentForm, "x", time.Unix(0, 0), nil)
	}
	assert.LessOrEqual(t, strings.Count(k.log.String(), "refused a request"), max(lines, 20), "strangers do not fill the log")
}

func TestWhatIsTurnedAway(t *testing.T) {
	k := newHTTPKit(t, time.Now, slackfake.DefaultSecret)
	now := time.Now()
	for _, row := range []struct {
		name, path, kind, body string
		status                 int
		noRetry                string
	}{
		{"a command as JSON", pathCommands, contentJSON, `{"command":"/vps"}`, 415, ""},
		{"an interaction as JSON", pathInteractions, contentJSON, `{}`, 415, ""},
		{"options as JSON", pathOptions, contentJSON, `{}`, 415, ""},
		{"an event as a form", pathEvents, contentForm, `payload={}`, 415, "1"},
		{"no type", pathEvents, "", `{}`, 415, "1"},
		{"a type with a charset", pathEvents, contentJSON + "; charset=utf-8", `{"type":"x"}`, 200, ""},
		{"no command", pathCommands, contentForm, "text=x", 400, ""},
		{"a broken form", pathCommands, contentForm, "command=%2Fvps&text=%zz", 400, ""},
		{"no payload", pathInteractions, contentForm, "x=y", 400, ""},
		{"a payload that is no object", pathInteractions, contentForm, "payload=[]", 400, ""},
		{"half a payload", pathInteractions, contentForm, `payload={"type":"x"`, 400, ""},
		{"an event that is no JSON", pathEvents, contentJSON, "x", 400, "1"},
		{"a verification without a challenge", pathEvents, contentJSON, `{"type":"url_verification"}`, 400, "1"},
		{"elsewhere", "/slack/", contentForm, "x", 404, ""},
		{"1 MiB", pathCommands, contentForm, "command=x&text=" + strings.Repeat("x", 1<<20-15), 200, ""},
		{"a byte more", pathCommands, contentForm, "command=x&text=" + strings.Repeat("x", 1<<20-14), 413, ""},
		{"an event of a byte more", pathEvents, contentJSON, strings.Repeat(" ", 1<<20+1), 413, "1"},
		{"a look at the certificate", pathCommands, contentForm, "ssl_check=1&token=x", 200, ""},
	} {
		n := len(k.all())
		status, body, header := k.post(t, row.path, row.kind, row.body, now, nil)
		assert.Equal(t, row.status, status, row.name)
		assert.Equal(t, row.noRetry, header.Get("X-Slack-No-Retry"), row.name)
		if status != http.StatusOK {
			assert.NotEmpty(t, body, row.name)
			assert.Len(t, k.all(), n, row.name)
		}
	}
	assert.Len(t, k.all(), 2)
	status, _, _ := k.post(t, pathCommands, contentForm, "ssl_check=1&token=x", now, func(r *http.Request) { r.Header.Del(signatureHeader) })
	assert.Equal(t, http.StatusOK, status, "it is not signed")
	status, _, _ = k.post(t, pathCommands, contentForm, "ssl_check=1&command=%2Fvps", now, func(r *http.Request) { r.Header.Del(signatureHeader) })
	assert.Equal(t, http.StatusUnauthorized, status)
	status, _, _ = k.post(t, pathEvents, contentJSON, `{"type":"url_verification","challenge":"c"}`, now, func(r *http.Request) { r.Header.Del(signatureHeader) })
	assert.Equal(t, http.StatusUnauthorized, status)
	for _, path := range []string{pathCommands, pathEvents} {
		status, _, header := k.post(t, path, contentForm, "", now, func(r *http.Request) { r.Method = http.MethodGet })
		assert.Equal(t, http.StatusMethodNotAllowed, status)
		assert.Equal(t, http.MethodPost, header.Get("Allow"))
	}
}

func TestAPanicIsShownAsAnError(t *testing.T) {
	f, _, k := slackAndHTTP(t)
	k.answer = func(_ context.Context, d delivery) json.RawMessage { panic("hush") }
	out := f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "x").Wait()
	assert.Equal(t, slackfake.DispatchFailed, out.Error)
	d := f.User(slackfake.Ada).Mention(slackfake.Ops, "", "x")
	assert.Equal(t, 1, d.Wait().Attempts, "Slack is asked not to try again")
	assert.Contains(t, k.log.String(), "a receiver panicked")
	assert.NotContains(t, k.log.String(), "hush")
}

func TestNoRoomIsAnErrorAndMayComeAgain(t *testing.T) {
	f, _, k := slackAndHTTP(t)
	k.in.drain(0, 0)
	out := f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "x").Wait()
	assert.Equal(t, slackfake.DispatchFailed, out.Error)
	status, _, header := k.post(t, pathEvents, contentJSON, `{"event_id":"Ev1"}`, f.Now(), nil)
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Empty(t, header.Get("X-Slack-No-Retry"))
}

// bubbleHTTP has a door on one wire and a workspace on another, in a bubble.
func bubbleHTTP(t *testing.T, answer receiver, run func(t *testing.T, f *slackfake.Fake, k *httpKit, wire *slackfake.Wire)) {
	synctest.Test(t, func(t *testing.T) {
		wire, k := slackfake.NewWire(), &httpKit{}
		k.answer = answer
		client := wire.Client()
		f := slackfake.New(slackfake.Options{Now: time.Now, Client: client})
		f.SetURL("http://slack.test")
		k.in = newIntake(t.Context(), intakeOptions{Now: time.Now, Log: k.log.logger()})
		h := newHTTP(httpOptions{Secrets: []string{slackfake.DefaultSecret}, Intake: k.in, Now: time.Now, Log: k.log.logger()}, k.receive)
		server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
		go func() { _ = server.Serve(wire) }()
		k.server = &httptest.Server{URL: "http://vpsguard.test"}
		f.SetReceiver(k.urls())
		run(t, f, k, wire)
		assert.Zero(t, k.in.drain(time.Hour, 0))
		f.Close()
		client.CloseIdleConnections()
		require.NoError(t, server.Close())
		synctest.Wait()
	})
}

func TestOverHTTPNobodyWaitsForASlowReceiver(t *testing.T) {
	blocks := func(ctx context.Context, _ delivery) json.RawMessage {
		time.Sleep(time.Minute)
		assert.NoError(t, ctx.Err(), "the connection's end is not the work's")
		return json.RawMessage(`{"text":"late"}`)
	}
	bubbleHTTP(t, blocks, func(t *testing.T, f *slackfake.Fake, k *httpKit, _ *slackfake.Wire) {
		var work sync.WaitGroup
		for range 50 {
			work.Go(func() {
				out := f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "x").Wait()
				assert.True(t, out.Acked)
				assert.Equal(t, answerWithin, out.Took)
			})
		}
		work.Wait()
		assert.Empty(t, f.Violations())
		assert.Empty(t, f.Ephemerals(slackfake.Ada))
	})
}

func TestABodyThatDoesNotArriveIsNotWaitedFor(t *testing.T) {
	bubbleHTTP(t, nil, func(t *testing.T, _ *slackfake.Fake, _ *httpKit, wire *slackfake.Wire) {
		conn, err := wire.DialContext(t.Context(), "", "")
		require.NoError(t, err)
		_, err = io.WriteString(conn, "POST /slack/commands HTTP/1.1\r\nHost: x\r\nContent-Type: "+contentForm+"\r\nContent-Length: 100\r\n\r\ncomm")
		require.NoError(t, err)
		began := time.Now()
		b, err := io.ReadAll(conn)
		require.NoError(t, err)
		assert.True(t, bytes.HasPrefix(b, []byte("HTTP/1.1 408 ")), string(b))
		assert.Equal(t, answerWithin, time.Since(began))
	})
}
