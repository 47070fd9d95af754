package slackbot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

func plainWords(s string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, s, false, false)
}

// note is a message with a block.
func note(text string) message {
	return message{Text: text, Blocks: []slack.Block{slack.NewSectionBlock(plainWords(text), nil, nil)}}
}

func modalOf(title string) slack.ModalViewRequest {
	return slack.ModalViewRequest{
		Type: slack.VTModal, Title: plainWords(title), Close: plainWords("Close"),
		Blocks: slack.Blocks{BlockSet: []slack.Block{slack.NewSectionBlock(plainWords(title), nil, nil)}},
	}
}

// inPayload is a value of what Slack delivered.
func inPayload(t *testing.T, d *slackfake.Delivery, key string) string {
	t.Helper()
	var m map[string]any
	require.NoError(t, json.Unmarshal(d.Payload(), &m))
	return fmt.Sprint(m[key])
}

func TestAMessageIsPostedAnsweredAndReplaced(t *testing.T) {
	bubbleDesk(t, unlimited(), nil, func(t *testing.T, d *desk) {
		ts, err := d.c.post(t.Context(), slackfake.Ops, "", note("a &lt;plan&gt;"))
		require.NoError(t, err)
		answer, err := d.c.post(t.Context(), slackfake.Ops, ts, message{Text: "in its thread"})
		require.NoError(t, err)
		require.NoError(t, d.c.update(t.Context(), slackfake.Ops, ts, message{Text: "decided"}))
		require.NoError(t, d.c.ephemeral(t.Context(), slackfake.Ops, ts, slackfake.Ada, note("only for you")))
		link, err := d.c.permalink(t.Context(), slackfake.Ops, ts)
		require.NoError(t, err)
		assert.Contains(t, link, slackfake.Ops)

		m := d.fake.Messages(slackfake.Ops)[0]
		assert.Equal(t, "decided", m.Text)
		assert.Empty(t, m.Blocks, "the old blocks are gone")
		assert.Equal(t, []any{}, d.fake.Calls("chat.update")[0].Args["blocks"], "and nothing relies on Slack removing them by itself")
		require.NotNil(t, m.UnfurlLinks)
		require.NotNil(t, m.UnfurlMedia)
		assert.False(t, *m.UnfurlLinks || *m.UnfurlMedia)
		require.NoError(t, d.c.update(t.Context(), slackfake.Ops, ts, note("again")))
		assert.Len(t, d.fake.Messages(slackfake.Ops)[0].Blocks, 1)
		assert.Equal(t, "a &lt;plan&gt;", d.fake.Calls("chat.postMessage")[0].Args["text"], "what the renderer escaped is not escaped again")
		assert.Equal(t, answer, d.fake.Thread(slackfake.Ops, ts)[1].TS)
		assert.Equal(t, slackfake.Ada, d.fake.Ephemerals(slackfake.Ada)[0].To)
		assert.Empty(t, d.fake.Violations())
		assert.Empty(t, d.log.String())
	})
}

func TestWithoutATextNothingIsSent(t *testing.T) {
	d := realDesk(t, unlimited())
	silent := message{Blocks: note("x").Blocks}
	_, err := d.c.post(t.Context(), slackfake.Ops, "", silent)
	for _, err := range []error{
		err, d.c.update(t.Context(), slackfake.Ops, "1.1", silent),
		d.c.ephemeral(t.Context(), slackfake.Ops, "", slackfake.Ada, silent),
		d.c.respond(t.Context(), "https://hooks.slack.com/x", silent, false),
	} {
		assert.Equal(t, policy.Internal, policy.KindOf(err))
		assert.Equal(t, notSent, reached(err))
		assert.Equal(t, policy.Internal, said(err).Kind)
	}
	assert.Zero(t, d.calls(""))
}

func TestPostsGoOneASecondInAChannel(t *testing.T) {
	bubbleDesk(t, slackfake.Options{}, nil, func(t *testing.T, d *desk) {
		d.fake.AddChannel(slackfake.Channel{ID: "C2", Members: []string{slackfake.Bot}})
		began := time.Now()
		var work sync.WaitGroup
		for i := range 20 {
			for _, channel := range []string{slackfake.Ops, "C2"} {
				work.Go(func() {
					_, err := d.c.post(t.Context(), channel, "", note(fmt.Sprint(i)))
					assert.NoError(t, err)
				})
			}
		}
		work.Wait()
		assert.Len(t, d.fake.Messages(slackfake.Ops), 20)
		assert.Len(t, d.fake.Messages("C2"), 20, "channels do not wait for each other")
		assert.Equal(t, 19*1050*time.Millisecond, time.Since(began))
		assert.Equal(t, 40, d.calls("chat.postMessage"), "none was turned away")
	})
}

func TestUpdatesStayWithinFiftyAMinute(t *testing.T) {
	bubbleDesk(t, slackfake.Options{}, nil, func(t *testing.T, d *desk) {
		ts, err := d.c.post(t.Context(), slackfake.Ops, "", note("x"))
		require.NoError(t, err)
		began := time.Now()
		for range 10 {
			require.NoError(t, d.c.update(t.Context(), slackfake.Ops, ts, note("y")))
		}
		assert.Zero(t, time.Since(began), "a few at once")
		for range 190 {
			require.NoError(t, d.c.update(t.Context(), slackfake.Ops, ts, note("y")))
		}
		for _, c := range d.fake.Calls("") {
			assert.Empty(t, c.Error)
		}
		assert.Equal(t, 190*1500*time.Millisecond, time.Since(began))
	})
}

func TestAPauseHoldsForAllWhoPostThere(t *testing.T) {
	bubbleDesk(t, slackfake.Options{}, nil, func(t *testing.T, d *desk) {
		d.fake.AddChannel(slackfake.Channel{ID: "C2", Members: []string{slackfake.Bot}})
		d.fake.Inject(slackfake.Fault{
			Name: slackfake.RateLimited, Method: "chat.postMessage", RetryAfter: 30 * time.Second, Times: 1,
			Match: func(c slackfake.Call) bool { return c.Args["channel"] == slackfake.Ops },
		})
		began := time.Now()
		var work sync.WaitGroup
		for range 5 {
			work.Go(func() {
				_, err := d.c.post(t.Context(), slackfake.Ops, "", note("x"))
				assert.NoError(t, err)
				assert.GreaterOrEqual(t, time.Since(began), 30*time.Second)
			})
		}
		time.Sleep(time.Second)
		_, err := d.c.post(t.Context(), "C2", "", note("x"))
		assert.NoError(t, err)
		assert.Equal(t, time.Second, time.Since(began), "elsewhere nobody waits")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = d.c.post(ctx, slackfake.Ops, "", note("late"))
		assert.Equal(t, notSent, reached(err), "nobody waits longer than they can")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, policy.Unavailable, said(err).Kind)
		assert.Contains(t, said(err).Hint, "Ask again in 2")
		work.Wait()
		assert.Less(t, time.Since(began), 36*time.Second)
		assert.Len(t, d.fake.Messages(slackfake.Ops), 5)
		assert.Equal(t, 7, d.calls("chat.postMessage"), "one turned away, five posted, one elsewhere")
		assert.Contains(t, d.log.String(), "retry_after=30s")
	})
}

func TestSlackIsNotAskedForEver(t *testing.T) {
	bubbleDesk(t, unlimited(), nil, func(t *testing.T, d *desk) {
		d.fake.Inject(slackfake.Fault{Name: slackfake.RateLimited, RetryAfter: time.Second})
		_, err := d.c.post(t.Context(), slackfake.Ops, "", note("x"))
		assert.Equal(t, codeRateLimited, slackCode(err))
		assert.Equal(t, notSent, reached(err))
		assert.Equal(t, sendAttempts, d.calls("chat.postMessage"))
		assert.Equal(t, sendAttempts, strings.Count(d.log.String(), "slack asks for a pause"))
	})
}

// lostAnswers are all ways not to learn what became of a call.
var lostAnswers = []string{
	slackfake.InternalError, slackfake.Error500, slackfake.Reset, slackfake.Hang, slackfake.CutJSON, slackfake.HTML,
}

func TestAPostWhoseAnswerIsLostIsNotSentAgain(t *testing.T) {
	for _, fault := range lostAnswers {
		for _, acted := range []int{0, 1} {
			name := fault + strings.Repeat("-acted", acted)
			t.Run(name, func(t *testing.T) {
				bubbleDesk(t, unlimited(), nil, func(t *testing.T, d *desk) {
					d.fake.Inject(slackfake.Fault{Name: name, Method: "chat.postMessage", Times: 1})
					_, err := d.c.post(t.Context(), slackfake.Ops, "", note("x"))
					assert.Equal(t, maybeSent, reached(err))
					assert.Equal(t, policy.Unavailable, said(err).Kind)
					assert.Equal(t, 1, d.calls("chat.postMessage"))
					assert.Len(t, d.fake.Messages(slackfake.Ops), acted)
				})
			})
			t.Run("update "+name, func(t *testing.T) {
				bubbleDesk(t, unlimited(), nil, func(t *testing.T, d *desk) {
					ts, err := d.c.post(t.Context(), slackfake.Ops, "", note("x"))
					require.NoError(t, err)
					d.fake.Inject(slackfake.Fault{Name: name, Method: "chat.update", Times: 1})
					require.NoError(t, d.c.update(t.Context(), slackfake.Ops, ts, note("y")), "an update can be done twice")
					assert.Equal(t, "y", d.fake.Messages(slackfake.Ops)[0].Text)
					assert.Equal(t, 2, d.calls("chat.update"))
					d.fake.Inject(slackfake.Fault{Name: name, Method: "chat.update"})
					assert.Equal(t, maybeSent, reached(d.c.update(t.Context(), slackfake.Ops, ts, note("z"))))
					assert.Equal(t, 4, d.calls("chat.update"))
				})
			})
		}
	}
}

func TestWhatWasCertainlyNotSent(t *testing.T) {
	d := realDesk(t, unlimited())
	d.fake.AddChannel(slackfake.Channel{ID: "C3", Members: []string{slackfake.Bot}, Archived: true})
	d.fake.AddChannel(slackfake.Channel{ID: "C4"})
	for channel, why := range map[string]string{"C0NONE": "channel_not_found", "C3": "is_archived", "C4": "not_in_channel"} {
		_, err := d.c.post(t.Context(), channel, "", note("x"))
		assert.Equal(t, notSent, reached(err))
		assert.Equal(t, why, slackCode(err))
		assert.Equal(t, policy.Conflict, said(err).Kind)
		assert.True(t, gone(d.c.update(t.Context(), channel, "1.1", note("x"))))
	}
	d.fake.RevokeToken("token_revoked")
	_, err := d.c.post(t.Context(), slackfake.Ops, "", note("x"))
	assert.Equal(t, notSent, reached(err))
	assert.True(t, lockedOut(err))
	assert.False(t, gone(err))

	closed := httptest.NewServer(nil)
	closed.Close()
	c := newClient(clientOptions{Token: "xoxb-1", URL: closed.URL + "/api/", Now: time.Now})
	_, err = c.post(t.Context(), slackfake.Ops, "", note("x"))
	assert.Equal(t, notSent, reached(err), "no connection")
	assert.Equal(t, codeNoConnection, slackCode(err))
	assert.Equal(t, notSent, reached(c.respond(t.Context(), closed.URL+"/r", note("x"), false)))
	_, err = newClient(clientOptions{URL: "http://no such host/", Now: time.Now}).who(t.Context())
	require.Error(t, err)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = d.c.post(ended, "C9", "", note("x"))
	assert.Equal(t, notSent, reached(err))
	require.ErrorIs(t, err, context.Canceled)
}

// A transport that does not tell of its connections is not trusted to have sent nothing.
func TestATransportThatTellsNothingMayHaveSent(t *testing.T) {
	h := &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) { return nil, errors.New("seed-secret") })}
	c := newClient(clientOptions{Token: "xoxb-1", HTTP: h, Now: time.Now})
	_, err := c.post(t.Context(), slackfake.Ops, "", note("x"))
	assert.Equal(t, maybeSent, reached(err))
	assert.NotContains(t, err.Error(), "seed-secret")
	assert.Equal(t, maybeSent, reached(errors.New("another")))
	assert.Equal(t, wasSent, reached(nil))
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestStatusesProveWhatTheySay(t *testing.T) {
	for status, want := range map[int]sending{
		400: notSent, 403: notSent, 404: notSent, 408: maybeSent, 413: notSent, 429: notSent,
		302: maybeSent, 307: maybeSent, 500: maybeSent, 502: maybeSent, 503: maybeSent,
	} {
		err := asSlackError("chat.postMessage", slack.StatusCodeError{Code: status, Status: "seed-secret"}, false)
		assert.Equal(t, want, reached(err), "%d", status)
		assert.NotContains(t, err.Error(), "seed-secret")
	}
	strange := asSlackError("x", slack.SlackErrorResponse{Err: "<!channel> xoxb-seed", Needed: "<https://evil>"}, false)
	assert.Equal(t, "x: unreadable_answer", strange.Error(), "what is no code is not repeated")
	assert.Equal(t, maybeSent, strange.Fate)
	strange = asSlackError("x", slack.SlackErrorResponse{Err: "missing_scope", Needed: "<https://evil>"}, false)
	assert.Equal(t, "x: missing_scope", strange.Error())
	strange = asSlackError("x", slack.SlackErrorResponse{Err: "missing_scope", Needed: "users:read"}, false)
	assert.Equal(t, "x: missing_scope (needs users:read)", strange.Error())
}

func TestAMessageThatCannotBeUpdatedAnyMore(t *testing.T) {
	bubbleDesk(t, slackfake.Options{EditWindow: time.Hour}, nil, func(t *testing.T, d *desk) {
		ts, err := d.c.post(t.Context(), slackfake.Ops, "", note("x"))
		require.NoError(t, err)
		theirs := d.fake.User(slackfake.Ada).Say(slackfake.Ops, "", "hello").TS
		for ts, why := range map[string]string{ts: "edit_window_closed", theirs: "cant_update_message", "1700000000.000001": "message_not_found"} {
			time.Sleep(2 * time.Hour)
			err := d.c.update(t.Context(), slackfake.Ops, ts, note("y"))
			assert.Equal(t, why, slackCode(err))
			assert.True(t, gone(err))
			assert.Equal(t, policy.Conflict, said(err).Kind)
		}
		assert.False(t, gone(nil))
		assert.False(t, gone(d.c.update(t.Context(), slackfake.Ops, ts, message{Text: strings.Repeat("x", 5000)})), "that is our fault")
	})
}

func TestAFormIsOpenedFilledAndClosed(t *testing.T) {
	d := realDesk(t, unlimited())
	p := d.fake.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "")
	trigger := inPayload(t, p, "trigger_id")
	id, err := d.c.openView(t.Context(), trigger, modalOf("One moment"))
	require.NoError(t, err)
	require.NoError(t, d.c.updateView(t.Context(), id, "", modalOf("A plan")))
	assert.Equal(t, policy.Stale, said(d.c.updateView(t.Context(), id, "another", modalOf("A plan"))).Kind)
	assert.Equal(t, policy.Stale, said(d.c.updateView(t.Context(), "V0NONE", "", modalOf("A plan"))).Kind)
	for _, trigger := range []string{trigger, "1.2.3"} {
		_, err = d.c.openView(t.Context(), trigger, modalOf("Again"))
		assert.Equal(t, policy.Expired, said(err).Kind)
		assert.Equal(t, notSent, reached(err))
	}
	_, err = d.c.openView(t.Context(), "", modalOf("Again"))
	assert.Equal(t, notSent, reached(err))
	assert.Equal(t, policy.Internal, said(err).Kind)
}

func TestAFormIsNotWaitedForWhenItsTriggerIsOver(t *testing.T) {
	bubbleDesk(t, unlimited(), nil, func(t *testing.T, d *desk) {
		d.fake.Inject(slackfake.Fault{Name: slackfake.RateLimited, Method: "views.open", RetryAfter: 5 * time.Second})
		began := time.Now()
		_, err := d.c.openView(t.Context(), "1.2.3", modalOf("x"))
		assert.Equal(t, "Ask again in 5 seconds.", said(err).Hint)
		assert.Zero(t, time.Since(began))
	})
}

func TestAResponseURLLeadsToSlackOrNowhere(t *testing.T) {
	var sent []string
	h := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		sent = append(sent, r.URL.Host)
		return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("ok")), Header: http.Header{}}, nil
	})}
	c := newClient(clientOptions{Token: "xoxb-1", URL: "http://127.0.0.1:81/api/", HTTP: h, Now: time.Now})
	for address, ok := range map[string]bool{
		"https://hooks.slack.com/commands/T1/2/3":     true,
		"https://hooks.slack-gov.com/actions/T1/2/3":  true,
		"http://127.0.0.1:81/response/T1/R1":          true,
		"http://hooks.slack.com/commands/T1/2/3":      false,
		"https://hooks.slack.com:8443/commands/":      false,
		"https://hooks.slack.com.evil.example/x":      false,
		"https://hooks.slack.com@evil.example/x":      false,
		"https://evil.example@hooks.slack.com/x":      false,
		"https://evil.example/hooks.slack.com":        false,
		"https://slack.com/x":                         false,
		"http://127.0.0.1:82/response/T1/R1":          false,
		"https://127.0.0.1:81/response/T1/R1":         false,
		"http://169.254.169.254/latest":               false,
		"//hooks.slack.com/x":                         false,
		"file:///etc/passwd":                          false,
		"https://hooks.slack.com\\@evil.example/seed": false,
		"": false,
		"https://hooks.slack.com%2eevil.example/x": false,
	} {
		sent = nil
		err := c.respond(t.Context(), address, note("x"), false)
		if ok {
			assert.NoError(t, err, address)
			assert.Len(t, sent, 1)
			continue
		}
		assert.Equal(t, notSent, reached(err), address)
		assert.Empty(t, sent, address)
		assert.NotContains(t, err.Error(), "evil")
	}
	sent = nil
	public := newClient(clientOptions{Token: "xoxb-1", HTTP: h, Now: time.Now})
	assert.Error(t, public.respond(t.Context(), "http://127.0.0.1:81/response/T1/R1", note("x"), false))
	assert.Error(t, public.respond(t.Context(), "http://slack.com/x", note("x"), false))
	assert.Empty(t, sent)
}

func TestAResponseURLWorksFiveTimes(t *testing.T) {
	d := realDesk(t, unlimited())
	p := d.fake.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "")
	address := inPayload(t, p, "response_url")
	for range slackfake.ResponseURLUses {
		require.NoError(t, d.c.respond(t.Context(), address, note("here"), false))
	}
	assert.Len(t, d.fake.Ephemerals(slackfake.Ada), slackfake.ResponseURLUses)
	assert.Empty(t, d.fake.Messages(slackfake.Ops), "nobody else sees it")
	assert.Empty(t, d.fake.Violations())
	err := d.c.respond(t.Context(), address, note("here"), false)
	assert.Equal(t, "used_url", slackCode(err))
	assert.Equal(t, policy.Expired, said(err).Kind)
	for _, fault := range lostAnswers {
		if fault == slackfake.Hang {
			continue // 10 s in real time
		}
		d.fake.Inject(slackfake.Fault{Name: fault, Method: "response_url", Times: 1})
		err := d.c.respond(t.Context(), address, note("here"), false)
		assert.Equal(t, maybeSent, reached(err), fault)
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	var elsewhere int
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer evil.Close()
	server := httptest.NewServer(http.RedirectHandler(evil.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	c := newClient(clientOptions{Token: "xoxb-seed", URL: server.URL + "/api/", HTTP: server.Client(), Now: time.Now})
	_, err := c.post(t.Context(), slackfake.Ops, "", note("x"))
	assert.Equal(t, maybeSent, reached(err))
	assert.Equal(t, maybeSent, reached(c.respond(t.Context(), server.URL+"/r", note("x"), false)))
	assert.Zero(t, elsewhere)
	assert.Nil(t, server.Client().CheckRedirect, "the caller's client is not changed")
}

func TestAnAnswerWithoutEndIsCut(t *testing.T) {
	var sent int
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"ok":true,"x":"`))
		for block := make([]byte, 1<<20); sent < 64<<20; sent += len(block) {
			for i := range block {
				block[i] = 'x'
			}
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	c := newClient(clientOptions{Token: "xoxb-1", URL: server.URL, HTTP: server.Client(), Now: time.Now})
	_, err := c.who(t.Context())
	assert.Equal(t, codeUnreadable, slackCode(err))
	server.Close()
	assert.Less(t, sent, 32<<20)
}

// Whatever goes wrong, neither the error nor the log holds a secret, and what people
// are told holds no internal text.
func TestNoSecretIsInAnErrorOrALog(t *testing.T) {
	const token = "xoxb-seed-token-1"
	o := unlimited()
	o.BotToken = token
	names := append([]string{slackfake.RateLimited, slackfake.Refused}, slackfake.Error500Acted)
	for _, fault := range append(names, lostAnswers...) {
		t.Run(fault, func(t *testing.T) {
			bubbleDesk(t, o, []string{"S0SEED", slackfake.Ada}, func(t *testing.T, d *desk) {
				address := "http://slack.test/response/T0HOME/seed-response-url"
				d.fake.Inject(slackfake.Fault{Name: fault, Code: "<seed-internal>", RetryAfter: time.Minute})
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				m := note("seed-message")
				var all []error
				keep := func(err error) {
					require.Error(t, err)
					all = append(all, err)
				}
				_, err := d.c.post(ctx, slackfake.Ops, "", m)
				keep(err)
				keep(d.c.update(ctx, slackfake.Ops, "1700000000.000001", m))
				keep(d.c.ephemeral(ctx, slackfake.Ops, "", slackfake.Ada, m))
				keep(d.c.respond(ctx, address, m, true))
				_, err = d.c.openView(ctx, "seed-trigger", modalOf("seed-message"))
				keep(err)
				keep(d.c.updateView(ctx, "V1", "", modalOf("seed-message")))
				_, err = d.c.permalink(ctx, slackfake.Ops, "1.1")
				keep(err)
				_, err = d.people.Actor(ctx, slackfake.Team, "", slackfake.Ada)
				keep(err)
				keep(d.people.Vouch(ctx, d.actor(slackfake.Grace)))
				for _, err := range all {
					public := said(err)
					var inner *slackError
					require.ErrorAs(t, err, &inner)
					for _, text := range []string{
						err.Error(), fmt.Sprintf("%+v %#v", *inner, inner), fmt.Sprintf("%+v", errors.Unwrap(err)), public.Error(), public.Message, public.Hint,
					} {
						for _, secret := range []string{"xoxb", "seed", "response/", "slack.test", "Bearer"} {
							assert.NotContains(t, text, secret)
						}
					}
				}
				assert.NotContains(t, d.log.String(), "seed")
				assert.NotContains(t, d.log.String(), "xoxb")
			})
		})
	}
}

func TestWhatIsSaidOfEachFailure(t *testing.T) {
	for _, row := range []struct {
		code    string
		reached sending
		kind    policy.Kind
		hint    string
	}{
		{"invalid_auth", notSent, policy.Unavailable, "VPSGUARD_SLACK_BOT_TOKEN"},
		{"missing_scope", notSent, policy.Unavailable, "vpsguard doctor"},
		{"not_in_channel", notSent, policy.Conflict, "/invite"},
		{"is_archived", notSent, policy.Conflict, "another channel"},
		{"edit_window_closed", notSent, policy.Conflict, ""},
		{"expired_trigger_id", notSent, policy.Expired, "again"},
		{"trigger_expired", notSent, policy.Expired, "again"},
		{"hash_conflict", notSent, policy.Stale, "again"},
		{"used_url", notSent, policy.Expired, "again"},
		{"invalid_blocks", notSent, policy.Internal, "log"},
		{"internal_error", maybeSent, policy.Unavailable, "before you try again"},
		{codeNoConnection, notSent, policy.Unavailable, "Try again"},
		{"something_new", notSent, policy.Unavailable, "Try again"},
	} {
		e := said(&slackError{Method: "chat.postMessage", Code: row.code, Fate: row.reached})
		assert.Equal(t, row.kind, e.Kind, row.code)
		assert.Contains(t, e.Hint, row.hint, row.code)
		assert.Contains(t, e.Message, row.code)
		assert.NotContains(t, e.Message, "chat.postMessage")
	}
	assert.Nil(t, said(nil))
	assert.Equal(t, policy.Stale, said(policy.Errorf(policy.Stale, "x")).Kind, "what is said already stays")
	assert.Equal(t, policy.Internal, said(errors.New("x")).Kind)
}

func TestQueuesThatStandIdleAreForgotten(t *testing.T) {
	now := time.Now()
	l := newLimiter(func() time.Time { return now })
	for i := range 10 * maxLanes {
		require.NoError(t, l.wait(t.Context(), "chat.postMessage", fmt.Sprint("C", i), patient))
		if i%100 == 99 {
			now = now.Add(2 * time.Second)
		}
	}
	assert.LessOrEqual(t, len(l.lanes), maxLanes+100)
	l.pause("chat.postMessage", "C1", time.Hour)
	for i := range maxLanes {
		now = now.Add(2 * time.Second)
		require.NoError(t, l.wait(t.Context(), "chat.postMessage", fmt.Sprint("D", i), patient))
	}
	assert.Positive(t, l.paused("chat.postMessage", "C1"), "but no pause")
}
