package slackbot

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/policytest"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

func TestEveryPresserIsToldWhatReallyIs(t *testing.T) {
	for _, end := range everyEnd {
		t.Run(end.name, func(t *testing.T) {
			inBotWorld(t, func(w *botWorld) {
				p := w.start()
				r := p.callRestore()
				old := w.card(slackfake.Ops, r.ID)
				// Ada is no approver.
				w.slack.User(slackfake.Ada).Press(old, "Approve").Wait()
				w.told(slackfake.Ada, "Not allowed", "not one of those who may confirm", "grace or edsger")
				w.slack.Forget(slackfake.Ada)
				w.slack.User(slackfake.Ada).Press(old, "Deny").Wait()
				w.told(slackfake.Ada, "not one of those who may confirm")
				w.slack.User(slackfake.Ada).Press(old, "Cancel").Wait()
				w.told(slackfake.Ada, "only they or an approver can withdraw it")
				require.Equal(t, policy.StateHeld, w.get(r.ID).State)

				end.do(w, p, r.ID)
				w.until(10*time.Minute, string(end.last), func() bool { return w.get(r.ID).State == end.last })
				for _, u := range []string{slackfake.Ada, slackfake.Grace} {
					for _, says := range []string{"Approve", "Deny"} {
						w.slack.Forget(u)
						require.True(t, w.slack.User(u).Press(old, says).Wait().Acked)
						w.told(u, "Nothing was decided", r.ID, string(end.last))
					}
				}
				_, open := w.slack.View(slackfake.Grace)
				assert.False(t, open)
				w.slack.Forget(slackfake.Grace)
				w.slack.User(slackfake.Grace).Press(old, "Cancel").Wait()
				if end.last == policy.StateCancelled {
					time.Sleep(5 * time.Second) // twice is fine
				} else {
					w.told(slackfake.Grace, r.ID)
				}
				assert.Equal(t, end.last, w.get(r.ID).State)
			})
		})
	}
}

func TestWhileItRunsItCanBeCancelledUntilTheStepThatDecides(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		r := p.callRestore()
		old := w.card(slackfake.Ops, r.ID)
		p.approveAtTerminal(r.ID)
		w.until(time.Minute, "running", func() bool { return w.get(r.ID).State == policy.StateRunning && w.right(slackfake.Ops, r.ID) })
		w.slack.User(slackfake.Grace).Press(old, "Approve").Wait()
		w.told(slackfake.Grace, "Nothing was decided", "running", "Ada")
		m := w.cards(slackfake.Ops, r.ID)[0]
		assert.Equal(t, []string{"Cancel"}, botButtons(m))
		w.slack.User(slackfake.Grace).Press(m, "Cancel").Wait()
		w.until(10*time.Second, "cancelled", func() bool { return w.get(r.ID).State == policy.StateCancelled })
		w.settled(r.ID, slackfake.Ops)
	})
}

func TestAskAgainAndUndo(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		r := p.callRestore()
		w.card(slackfake.Ops, r.ID)
		time.Sleep(31 * time.Minute)
		w.settled(r.ID, slackfake.Ops)
		w.slack.User(slackfake.Ada).Press(w.cards(slackfake.Ops, r.ID)[0], "Ask again").Wait()
		w.until(10*time.Second, "a fresh one", func() bool { return len(w.filed()) == 2 })
		again := w.filed()[0]
		assert.Equal(t, policy.StateHeld, again.State)
		assert.Equal(t, slackfake.Team+":"+slackfake.Ada, again.Actor.Subject)
		v := w.form(slackfake.Grace, w.card(slackfake.Ops, again.ID), "Approve")
		require.Empty(t, w.slack.User(slackfake.Grace).Submit(v, botTyped).Wait().Errors)
		w.until(5*time.Minute, "done", func() bool { return w.get(again.ID).State == policy.StateDone })
		w.settled(again.ID, slackfake.Ops)
		w.slack.User(slackfake.Ada).Press(w.cards(slackfake.Ops, again.ID)[0], "Undo").Wait()
		w.until(10*time.Second, "an undo", func() bool { return len(w.filed()) == 3 })
		undo := w.filed()[0]
		assert.Equal(t, policy.StateHeld, undo.State)
		assert.Equal(t, w.get(again.ID).Undo.ID, undo.Plan.Target.ID)
		assert.Equal(t, "undo of "+again.ID, undo.Reason)
	})
}

func TestWhoCanDoNothingIsToldSo(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		r := p.callRestore()
		card := w.card(slackfake.Ops, r.ID)
		for i, u := range []slackfake.User{
			{ID: "U11", Guest: true},
			{ID: "U12", SingleChannelGuest: true},
			{ID: "U13", Stranger: true},
			{ID: "U14", Team: "T0OTHER"},
			{ID: "U15", Deleted: true},
			{ID: "U16", Bot: true},
			{ID: "U17", Hidden: true},
		} {
			w.slack.AddUser(u)
			w.slack.ChangeChannel(botRoom, func(c *slackfake.Channel) { c.Members = append(c.Members, u.ID) })
			w.slack.ChangeChannel(slackfake.Ops, func(c *slackfake.Channel) { c.Members = append(c.Members, u.ID) })
			who := w.slack.User(u.ID)
			for _, text := range []string{"server list", "help", botRestore, "snapshot restore", "request cancel " + r.ID} {
				w.slack.Forget(u.ID)
				who.Slash(botRoom, "/vps", text).Wait()
				w.told(u.ID, "Not allowed")
			}
			for _, says := range []string{"Approve", "Deny", "Cancel"} {
				w.slack.Forget(u.ID)
				who.Press(card, says).Wait()
				w.told(u.ID, "Not allowed")
			}
			_, open := w.slack.View(u.ID)
			assert.False(t, open, i)
		}
		assert.Len(t, w.filed(), 1)
		assert.Equal(t, policy.StateHeld, w.get(r.ID).State)
	})
}

func TestTextsReactionsAndMentionsApproveNothing(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		r := p.callRestore()
		m := w.card(slackfake.Ops, r.ID)
		for _, text := range []string{
			"approve " + r.ID, "request approve " + r.ID, "yes", "approve_request " + r.ID, "decide " + r.ID + " web-server-01",
			"request deny " + r.ID, "requests approve " + r.ID + " web-server-01",
		} {
			w.slack.User(slackfake.Grace).Mention(slackfake.Ops, m.TS, text).Wait()
			w.slack.User(slackfake.Grace).Slash(slackfake.Ops, "/vps", text).Wait()
		}
		w.slack.Event(map[string]any{"type": "reaction_added", "user": slackfake.Grace, "reaction": "+1", "item": map[string]any{"type": "message", "channel": m.Channel, "ts": m.TS}}).Wait()
		time.Sleep(time.Minute)
		assert.Equal(t, policy.StateHeld, w.get(r.ID).State)
		assert.Empty(t, w.get(r.ID).Approvals)
	})
}

func TestAMessageThatComesLateIsNotDone(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		old := time.Now().Add(-lateAfter - time.Minute)
		for n, ts := range []string{fmt.Sprintf("%d.000100", old.Unix()), "", "x", "99999999999999999999.1"} {
			raw, err := json.Marshal(map[string]any{
				"team_id": slackfake.Team, "type": "event_callback",
				"event": map[string]any{"type": "app_mention", "user": slackfake.Ada, "text": "<@U0VPSGUARD> " + botRestore, "channel": botRoom, "ts": ts},
			})
			require.NoError(t, err)
			assert.Nil(t, p.bot.receive(context.Background(), delivery{Kind: kindEvent, Body: raw}))
			w.until(10*time.Second, "told", func() bool { return len(w.slack.Ephemerals(slackfake.Ada)) == n+1 })
			assert.Contains(t, w.slack.Ephemerals(slackfake.Ada)[n].Text, "Too late")
		}
		assert.Empty(t, w.filed())
	})
}

func TestBotsAndEditsAreNotHeard(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		ts := fmt.Sprintf("%d.000100", time.Now().Unix())
		for _, more := range []map[string]any{
			{"bot_id": "B1"}, {"subtype": "message_changed"}, {"user": ""}, {"type": "message"},
		} {
			event := map[string]any{"type": "app_mention", "user": slackfake.Ada, "text": "<@U0VPSGUARD> " + botRestore, "channel": botRoom, "ts": ts}
			for k, v := range more {
				event[k] = v
			}
			raw, err := json.Marshal(map[string]any{"team_id": slackfake.Team, "type": "event_callback", "event": event})
			require.NoError(t, err)
			assert.Nil(t, p.bot.receive(context.Background(), delivery{Kind: kindEvent, Body: raw}))
		}
		time.Sleep(10 * time.Second)
		assert.Empty(t, w.filed())
		assert.Empty(t, w.slack.Ephemerals(slackfake.Ada))
	})
}

// What goes wrong between here and Slack is said in words that help.
func TestAFormThatCannotBeOpenedIsExplained(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		r := p.callRestore()
		m := w.card(slackfake.Ops, r.ID)
		w.slack.Inject(slackfake.Fault{Name: slackfake.Refused, Method: "views.open", Code: "expired_trigger_id", Times: 1})
		w.slack.User(slackfake.Grace).Press(m, "Approve").Wait()
		w.told(slackfake.Grace, "Too late", "within the 3 seconds", "Press the button again")
	})
}

func TestWhateverPeopleAndServersAreCalledIsNoMarkup(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		const evil = "<!channel> <https://evil.example|Approve> *bold* `x` & \u202e"
		w.slack.ChangeUser(slackfake.Ada, func(u *slackfake.User) { u.Name, u.RealName = evil, evil })
		w.vps.RenameServer(12345, evil)
		p := w.start()
		w.slack.User(slackfake.Ada).Slash(botRoom, "/vps", "snapshot restore 12345 801 because "+evil).Wait()
		w.until(10*time.Second, "filed", func() bool { return len(w.filed()) == 1 })
		id := w.filed()[0].ID
		m := w.card(slackfake.Ops, id)
		w.slack.User(slackfake.Ada).Slash(botRoom, "/vps", "snapshot restore 12345 801 because "+evil).Wait()
		w.told(slackfake.Ada, "repeats a request")
		w.slack.User(slackfake.Ada).Mention(botRoom, "", "snapshot restore "+evil).Wait()
		w.slack.User(slackfake.Ada).Mention(botRoom, "", evil).Wait()
		w.slack.User(slackfake.Ada).Slash(botRoom, "/vps", evil).Wait()
		w.slack.User(slackfake.Ada).Slash(botRoom, "/vps", "snapshot restore '"+evil+"' 801 because x").Wait()
		v := w.form(slackfake.Grace, m, "Deny")
		w.slack.User(slackfake.Grace).Submit(v, slackfake.Values{"note": {"note": evil}}).Wait()
		w.settled(id, slackfake.Ops, botRoom)
		w.slack.User(slackfake.Ada).Press(m, "Approve").Wait()
		w.told(slackfake.Ada, "Nothing was decided")
		time.Sleep(10 * time.Second)
		seen := 0
		for _, c := range p.w.slack.Calls("") {
			raw, err := json.Marshal(c.Args)
			require.NoError(t, err)
			walkStrings(c.Args, "", func(at, s string) {
				if strings.HasSuffix(at, "mrkdwn") || strings.HasSuffix(at, ".text!") {
					seen++
					assert.NotRegexp(t, `<!(channel|here|everyone|subteam)`, s)
					assert.NotContains(t, s, "<https://evil")
					assert.NotContains(t, s, "\u202e")
				}
			})
			assert.NotEmpty(t, raw)
		}
		assert.Greater(t, seen, 15)
	})
}

// walkStrings visits the strings of a call: at ends in ".text!" for a message's text
// and in "mrkdwn" for what is markup in blocks.
func walkStrings(v any, at string, visit func(at, s string)) {
	switch v := v.(type) {
	case map[string]any:
		if v["type"] == "mrkdwn" {
			visit(at+"mrkdwn", fmt.Sprint(v["text"]))
			return
		}
		for k, x := range v {
			walkStrings(x, at+"."+k, visit)
		}
	case []any:
		for _, x := range v {
			walkStrings(x, at, visit)
		}
	case string:
		if at == ".text" {
			at += "!"
		}
		visit(at, v)
	}
}

func TestAProcessEndsWhateverIsUnderWay(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		w.slack.Inject(slackfake.Fault{Name: slackfake.Hang})
		p.callRestore()
		w.slack.User(slackfake.Ada).Slash(botRoom, "/vps", botRestore)
		w.slack.User(slackfake.Ada).Slash(botRoom, "/vps", "server list")
		time.Sleep(time.Second)
		start := time.Now()
		p.stop()
		assert.Less(t, time.Since(start), 30*time.Second)
		assert.Empty(t, p.bot.busy)
	})
}

// The whole door over real sockets, as it runs.
func TestAStoryOverSocketMode(t *testing.T) {
	f := slackfake.New(slackfake.Options{Now: time.Now, Limits: slackfake.NoLimits()})
	web := httptest.NewServer(f)
	f.SetURL(web.URL)
	ledger := policytest.NewMemory(time.Now)
	people := NewPeople(PeopleOptions{Token: f.BotToken(), URL: web.URL + "/api/", Approvers: []string{slackfake.Grace}, Now: time.Now})
	random := func(b []byte) {
		for i := range b {
			b[i] = byte(time.Now().UnixNano() >> (i % 5))
		}
	}
	account := func(context.Context) (policy.Account, error) { return policytest.Account, nil }
	gate, err := policy.NewService(policy.Config{
		Ledger: ledger, Account: account, Random: random, Ways: []policy.Way{policy.WaySlack, policy.WayTerminal}, Passphrase: botHash{},
		Vouch:         people.Vouches,
		ApproveWithin: 30 * time.Minute, StartWithin: 10 * time.Minute, CallTimeout: time.Second, PollEvery: time.Second, SettleWithin: time.Minute,
	})
	require.NoError(t, err)
	b, err := New(Options{
		Gate: gate, Notes: ledger, Account: account, People: people, Channel: slackfake.Ops, AppToken: f.AppToken(), Now: time.Now, Random: random,
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { b.Run(ctx); close(ended) }()
	defer func() {
		cancel()
		<-ended
		f.Close()
		web.Close()
	}()
	wait, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	require.NoError(t, f.AwaitSockets(wait, 2))
	require.NoError(t, ledger.Change(ctx, func(ctx context.Context, tx policy.Tx) error {
		r := policytest.Request("rq_7f3k9c", func(r *policy.Request) {
			r.FiledAt, r.ApproveBy, r.DueAt = time.Now(), time.Now().Add(time.Hour), time.Now().Add(time.Hour)
		})
		r, err := tx.Put(ctx, r, policytest.Held(r))
		if err != nil {
			return err
		}
		return tx.Tell(ctx, r)
	}))
	require.NoError(t, f.Await(wait, func() bool {
		ms := f.Messages(slackfake.Ops)
		return len(ms) == 1 && len(ms[0].Buttons()) == 3
	}))
	m := f.Messages(slackfake.Ops)[0]
	require.True(t, f.User(slackfake.Grace).Press(m, "Deny").Wait().Acked)
	require.NoError(t, f.Await(wait, func() bool { _, ok := f.View(slackfake.Grace); return ok }))
	v, _ := f.View(slackfake.Grace)
	require.True(t, f.User(slackfake.Grace).Submit(v, nil).Wait().Acked)
	r, err := ledger.Request(ctx, "rq_7f3k9c")
	require.NoError(t, err)
	assert.Equal(t, policy.StateDenied, r.State)
	require.NoError(t, f.Await(wait, func() bool {
		return len(f.Thread(m.Channel, m.TS)) == 2 && len(f.Message(m.Channel, m.TS).Buttons()) == 0
	}))
	assert.Empty(t, f.Violations())
}

// fuzzBot is a door to one held request, with a Slack that says yes to everything.
func fuzzBot(t testing.TB) (*Bot, *policytest.Memory) {
	ledger := policytest.NewMemory(time.Now)
	people := NewPeople(PeopleOptions{Token: "xoxb-1", URL: "http://127.0.0.1:1/api/", Approvers: []string{"U2"}, Now: time.Now, HTTP: &http.Client{Transport: cannedSlack{}}})
	for _, method := range []string{"users.info", "chat.postEphemeral", "chat.postMessage C1", "chat.postMessage U2", "chat.update"} {
		people.c.limits.lanes[method] = &lane{rate: rate.NewLimiter(rate.Inf, 1)} // nothing to wait for
	}
	people.home = identity{Team: slackfake.Team, BotUser: "U0"}
	n := byte(0)
	random := func(b []byte) {
		for i := range b {
			n++
			b[i] = n
		}
	}
	account := func(context.Context) (policy.Account, error) { return policytest.Account, nil }
	service, err := policy.NewService(policy.Config{
		Ledger: ledger, Account: account, Random: random, Ways: []policy.Way{policy.WaySlack},
		Vouch: people.Vouches,
	})
	if err != nil {
		t.Fatal(err)
	}
	err = ledger.Change(context.Background(), func(ctx context.Context, tx policy.Tx) error {
		r := policytest.Request("rq_7f3k9c", func(r *policy.Request) { r.ApproveBy = time.Now().Add(time.Hour) })
		_, err := tx.Put(ctx, r, policytest.Held(r))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := New(Options{
		Gate: &wordyGate{Gate: service}, Notes: ledger, Account: account, People: people, Channel: slackfake.Ops, Secrets: []string{"s"}, Now: time.Now, Random: random,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b, ledger
}

// cannedSlack says yes to everything, and knows everybody.
type cannedSlack struct{}

func (cannedSlack) RoundTrip(r *http.Request) (*http.Response, error) {
	user := "U2"
	if r.Body != nil {
		if err := r.ParseForm(); err == nil && r.PostForm.Get("user") != "" {
			user = r.PostForm.Get("user")
		}
	}
	raw, err := json.Marshal(map[string]any{
		"ok": true, "ts": "1700000000.000100", "message_ts": "1700000000.000100", "channel": "C1", "permalink": "https://example.slack.com/archives/C1/p1",
		"view": map[string]any{"id": "V1"}, "user": map[string]any{"id": user, "team_id": slackfake.Team, "name": "grace"},
		"team_id": slackfake.Team, "user_id": "U0",
	})
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(raw)), Request: r}, nil
}

// wordyGate knows an operation that overwrites.
type wordyGate struct{ Gate }

func (c *wordyGate) Catalogue() []policy.Descriptor {
	return append(c.Gate.Catalogue(), policy.Descriptor{
		Name: "restore_snapshot", Title: "Restore", Noun: "snapshot", Verb: "restore", Effect: policy.Overwrite,
		Arguments: []policy.Argument{{Name: "server", Type: policy.String, Required: true, Max: 200, Of: "server"}},
	})
}

// fuzzOne delivers something and looks whether the door is still sound.
func fuzzOne(t *testing.T, b *Bot, ledger *policytest.Memory, d delivery) {
	start := time.Now()
	ack := b.receive(context.Background(), d)
	if took := time.Since(start); took > answerWithin {
		t.Fatalf("it took %v", took)
	}
	if len(ack) > 0 && !json.Valid(ack) || len(ack) >= largestAck {
		t.Fatalf("an acknowledgement of %d bytes", len(ack))
	}
	b.jobs.Wait()
	r, err := ledger.Request(context.Background(), "rq_7f3k9c")
	if err != nil || r.State != policy.StateHeld && r.State != policy.StateCancelled || len(r.Approvals) > 0 || r.Denial != nil {
		t.Fatalf("something was decided: %v %v", r, err)
	}
	if len(b.busy) > 0 {
		t.Fatalf("still at %v", b.busy)
	}
}

func FuzzInteraction(f *testing.F) {
	kinds := []string{kindCommand, kindInteraction, kindOptions, kindEvent}
	for i := range kinds {
		for _, body := range []string{
			"", "{}", "null", "[]", `"x"`, `{"type":"block_actions","actions":[{}]}`, `{"type":"view_submission"}`,
			string(botPress("U2", actApprove, "rq_7f3k9c").Body), string(botPress("U2", actCancel, "rq_7f3k9c").Body),
			string(botPress("U2", actAgain, "rq_7f3k9c").Body), string(botPress("U2", actRow+"restore", "snapshot 1 2").Body),
			string(botSubmission("U2", formApprove, "k", botTypedIn).Body), string(botSubmission("U2", formAsk, "k", nil).Body),
			`{"team_id":"T0HOME","user_id":"U2","channel_id":"C1","text":"request cancel rq_7f3k9c"}`,
			`{"team_id":"T0HOME","event":{"type":"app_mention","user":"U2","text":"<@U0> help","channel":"C1","ts":"1700000000.000100"}}`,
			`{"type":"block_suggestion","action_id":"pick:server","value":"x","user":{"id":"U2"},"view":{"private_metadata":"k"}}`,
			`{"type":"view_submission","view":{"state":{"values":{"typed":{"typed":{"selected_option":null}}}}}}`,
		} {
			f.Add(byte(i), []byte(body))
		}
	}
	b, ledger := fuzzBot(f)
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		fuzzOne(t, b, ledger, delivery{Kind: kinds[int(kind)%len(kinds)], Body: body})
	})
}

func FuzzCommandText(f *testing.F) {
	for _, text := range []string{
		"", "help", "server list", botRestore, "snapshot restore", "request cancel rq_7f3k9c", "request show rq_7f3k9c", "request approve rq_7f3k9c",
		`snapshot restore "web 1`, "snapshot restore server=x", "<!channel>", strings.Repeat("a ", 5000), "\x00\xff", "because because because",
	} {
		f.Add(text, true)
		f.Add(text, false)
	}
	b, ledger := fuzzBot(f)
	f.Fuzz(func(t *testing.T, text string, mention bool) {
		d := delivery{Kind: kindCommand}
		var body any = map[string]string{"team_id": slackfake.Team, "user_id": "U2", "channel_id": "C1", "text": text, "response_url": "https://evil.example/x"}
		if mention {
			d.Kind = kindEvent
			body = map[string]any{"team_id": slackfake.Team, "event": map[string]any{
				"type": "app_mention", "user": "U2", "channel": "C1", "text": "<@U0> " + text, "ts": fmt.Sprintf("%d.000001", time.Now().Unix()),
			}}
		}
		raw, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		d.Body = raw
		fuzzOne(t, b, ledger, d)
	})
}
