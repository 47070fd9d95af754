package slackbot

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// botSubmission is a signed submission with whatever in it.
func botSubmission(user, callback, metadata string, values map[string]map[string]any) delivery {
	raw, err := json.Marshal(map[string]any{
		"type": "view_submission", "team": map[string]any{"id": slackfake.Team}, "user": map[string]any{"id": user, "team_id": slackfake.Team},
		"view": map[string]any{"id": "V1", "callback_id": callback, "private_metadata": metadata, "state": map[string]any{"values": values}},
	})
	if err != nil {
		panic(err)
	}
	return delivery{Kind: kindInteraction, Body: raw}
}

func botPress(user, action, value string) delivery {
	raw, err := json.Marshal(map[string]any{
		"type": "block_actions", "team": map[string]any{"id": slackfake.Team}, "user": map[string]any{"id": user, "team_id": slackfake.Team},
		"trigger_id": "123.456.abc", "channel": map[string]any{"id": botRoom}, "container": map[string]any{"channel_id": botRoom, "message_ts": "1700000000.000100"},
		"actions": []any{map[string]any{"action_id": action, "value": value}},
	})
	if err != nil {
		panic(err)
	}
	return delivery{Kind: kindInteraction, Body: raw}
}

var botTypedIn = map[string]map[string]any{
	"typed": {"typed": map[string]any{"type": "plain_text_input", "value": "web-server-01"}},
	"note":  {"note": map[string]any{"type": "plain_text_input", "value": "fine"}},
}

// botGarbage are lookup keys that nobody was given.
func botGarbage(of string) []string {
	return []string{
		"", " ", "x", "rq_../../x", "rq_aaaaaa", "' OR 1=1 --", "\"; DROP TABLE note; --", "\x00\xff", strings.Repeat("a", 10<<10),
		"form", "told", "%s%s%n", "<!channel>", "null", "{}", `{"kind":"approve"}`, of + " ", " " + of, strings.ToUpper(of), of + "\x00", of[:len(of)-1],
	}
}

func botErrors(t *testing.T, ack json.RawMessage) map[string]string {
	t.Helper()
	var a struct {
		Action string            `json:"response_action"`
		Errors map[string]string `json:"errors"`
	}
	require.NotEmpty(t, ack, "it was not taken")
	require.NoError(t, json.Unmarshal(ack, &a))
	assert.Equal(t, "errors", a.Action)
	return a.Errors
}

// botForm opens a form for a person without Slack, and gives its key.
func (p *botProcess) botForm(r policy.Request, user, kind string, change func(*form)) string {
	p.w.Helper()
	f := form{Kind: kind, User: user, From: origin{Channel: slackfake.Ops}, Request: r.ID, Digest: r.Plan.Digest}
	if change != nil {
		change(&f)
	}
	key, err := p.bot.keepForm(context.Background(), f)
	require.NoError(p.w, err)
	return key
}

func TestNothingInAPayloadIsBelievedButWhoSentIt(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		r := p.callRestore()
		other := p.call("delete_snapshot", `{"server":"web-server-01","snapshot_id":798,"reason":"old"}`)
		w.card(slackfake.Ops, r.ID)
		mine, deny := p.botForm(r, slackfake.Grace, formApprove, nil), p.botForm(r, slackfake.Grace, formDeny, nil)
		ask := p.botForm(r, slackfake.Grace, formAsk, func(f *form) { f.Operation = "delete_snapshot" })
		page := p.botForm(r, slackfake.Grace, formPage, nil)
		told, err := w.ledger.Note(context.Background(), policy.ToldScope(botAccount), r.ID)
		require.NoError(t, err)
		cases := map[string]delivery{
			"somebody else's":        botSubmission(slackfake.Edsger, formApprove, mine, botTypedIn),
			"somebody else's denial": botSubmission(slackfake.Edsger, formDeny, deny, botTypedIn),
			"of another kind":        botSubmission(slackfake.Grace, formApprove, deny, botTypedIn),
			"of another kind, 2":     botSubmission(slackfake.Grace, formDeny, mine, botTypedIn),
			"a question":             botSubmission(slackfake.Grace, formApprove, ask, botTypedIn),
			"a page":                 botSubmission(slackfake.Grace, formApprove, page, botTypedIn),
			"a page as a page":       botSubmission(slackfake.Grace, formPage, page, botTypedIn),
			"no callback":            botSubmission(slackfake.Grace, "", mine, botTypedIn),
			"a request's id":         botSubmission(slackfake.Grace, formApprove, r.ID, botTypedIn),
			"a note's key":           botSubmission(slackfake.Grace, formApprove, told.Key, botTypedIn),
			"another digest": botSubmission(slackfake.Grace, formApprove,
				p.botForm(r, slackfake.Grace, formApprove, func(f *form) { f.Digest = other.Plan.Digest }), botTypedIn),
			"no digest": botSubmission(slackfake.Grace, formApprove,
				p.botForm(r, slackfake.Grace, formApprove, func(f *form) { f.Digest = "" }), botTypedIn),
			"nothing typed": botSubmission(slackfake.Grace, formApprove, mine, map[string]map[string]any{"note": botTypedIn["note"]}),
			"typed elsewhere": botSubmission(slackfake.Grace, formApprove, mine, map[string]map[string]any{
				"note": botTypedIn["note"], "typed": {"other": botTypedIn["typed"]["typed"]},
			}),
			"another server": botSubmission(slackfake.Grace, formApprove, mine, map[string]map[string]any{
				"typed": {"typed": map[string]any{"type": "plain_text_input", "value": "web-server-02"}},
			}),
			"no approver": botSubmission(slackfake.Ada, formApprove, p.botForm(r, slackfake.Ada, formApprove, nil), botTypedIn),
			"a form of nobody, and no approver": botSubmission(slackfake.Ada, formApprove,
				p.botForm(r, "", formApprove, nil), botTypedIn),
			"no user": botSubmission("", formApprove, p.botForm(r, "", formApprove, nil), botTypedIn),
		}
		for n, key := range botGarbage(mine) {
			cases[fmt.Sprint("garbage ", n)] = botSubmission(slackfake.Grace, formApprove, key, botTypedIn)
		}
		for name, d := range cases {
			errs := botErrors(t, p.bot.receive(context.Background(), d))
			assert.Len(t, errs, 1, name)
			for block, says := range errs {
				assert.NotEmpty(t, says, name)
				assert.LessOrEqual(t, len([]rune(says)), 400, name)
				assert.Contains(t, []string{"typed", "note"}, block, name)
			}
			require.Equal(t, policy.StateHeld, w.get(r.ID).State, name)
			require.Equal(t, policy.StateHeld, w.get(other.ID).State, name)
		}
		time.Sleep(20 * time.Second)
		require.Empty(t, w.get(r.ID).Approvals)
		assert.Nil(t, p.bot.receive(context.Background(), botSubmission(slackfake.Grace, formApprove, mine, botTypedIn)), "the same with what is right")
		w.until(5*time.Second, "approved", func() bool { return len(w.get(r.ID).Approvals) == 1 })
		assert.Equal(t, "fine", w.get(r.ID).Approvals[0].Note)
	})
}

func TestButtonsWithGarbageDoNothingAndAreAnswered(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		r := p.callRestore()
		w.card(slackfake.Ops, r.ID)
		page := p.botForm(r, slackfake.Grace, formPage, func(f *form) { f.Operation = "approve_request" })
		actions := []string{
			actApprove, actDeny, actCancel, actAgain, actAgainNoCopy, actUndo, actShow, actPage, actForm, actRow + "restore", actRow + "delete", actRow + "create", actRow,
		}
		for _, action := range actions {
			for n, value := range append(botGarbage(r.ID), page, "snapshot 12345 x", "server 12345 801", "snapshot 9223372036854775808 1") {
				before := len(w.slack.Ephemerals(slackfake.Grace))
				assert.Nil(t, p.bot.receive(context.Background(), botPress(slackfake.Grace, action, value)))
				w.until(150*time.Second, fmt.Sprint("an answer to ", action, " ", n), func() bool {
					return len(w.slack.Ephemerals(slackfake.Grace)) > before
				})
			}
		}
		assert.Nil(t, p.bot.receive(context.Background(), botPress(slackfake.Grace, "unknown", r.ID)), "which is nobody's")
		time.Sleep(20 * time.Second)
		require.Len(t, w.filed(), 1)
		assert.Equal(t, policy.StateHeld, w.get(r.ID).State)
		for _, m := range w.slack.Ephemerals(slackfake.Grace) {
			assert.NotRegexp(t, `<!(channel|here|everyone|subteam)`, m.Text)
		}
	})
}

// A process shows and files nothing of another account's requests, which may lie in
// the same ledger.
func TestRequestsOfAnotherAccountAreNotThere(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		theirs := w.make(func(s *botSetup) {
			s.account = func(context.Context) (policy.Account, error) {
				return policy.Account{URL: botAccount.URL, Owner: "somebody@else.example"}, nil
			}
		})
		r := theirs.callRestore()
		p := w.start()
		for n, action := range []string{actApprove, actDeny, actCancel, actAgain, actAgainNoCopy, actUndo, actShow} {
			p.bot.receive(context.Background(), botPress(slackfake.Grace, action, r.ID))
			w.until(10*time.Second, action, func() bool { return len(w.slack.Ephemerals(slackfake.Grace)) == n+1 })
			assert.NotContains(t, w.slack.Ephemerals(slackfake.Grace)[n].String(), "web-server-01")
		}
		_, open := w.slack.View(slackfake.Grace)
		assert.False(t, open)
		assert.Len(t, w.filed(), 1)
		errs := botErrors(t, p.bot.receive(context.Background(), botSubmission(slackfake.Grace, formApprove, p.botForm(r, slackfake.Grace, formApprove, nil), botTypedIn)))
		assert.Contains(t, errs["typed"], "another account")
		assert.Equal(t, policy.StateHeld, w.get(r.ID).State)
	})
}

func TestAFormThatIsTooOld(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		r := p.callRestore()
		key := p.botForm(r, slackfake.Grace, formApprove, nil)
		time.Sleep(formLives + time.Minute)
		errs := botErrors(t, p.bot.receive(context.Background(), botSubmission(slackfake.Grace, formApprove, key, botTypedIn)))
		assert.Contains(t, errs["typed"], "too old")
		assert.Empty(t, w.waiting(scopeForms), "it is forgotten")
	})
}

// A thousand of one form at once, and once more later.
func TestAReplayedSubmissionCountsOnce(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		r := p.callRestore()
		w.card(slackfake.Ops, r.ID)
		key := p.botForm(r, slackfake.Grace, formApprove, nil)
		var all sync.WaitGroup
		var mu sync.Mutex
		taken, refused := 0, 0
		for range 100 {
			all.Go(func() {
				ack := p.bot.receive(context.Background(), botSubmission(slackfake.Grace, formApprove, key, botTypedIn))
				mu.Lock()
				defer mu.Unlock()
				if ack == nil {
					taken++
				} else {
					refused++
					assert.Contains(t, string(ack), r.ID+` was approved already, by \"grace\" (slack)`)
				}
			})
		}
		all.Wait()
		assert.Equal(t, 100, taken+refused)
		// Those whose form closed because it took too long are told beside it.
		w.until(2*time.Minute, "all are told", func() bool { return len(w.slack.Ephemerals(slackfake.Grace)) == taken-1 })
		for _, m := range w.slack.Ephemerals(slackfake.Grace) {
			assert.Contains(t, m.Text, r.ID[1:]+" was approved already")
		}
		w.until(5*time.Minute, "done", func() bool { return w.get(r.ID).State == policy.StateDone })
		assert.Equal(t, 1, w.countRecords(policy.EventApproved))
		assert.Contains(t, string(p.bot.receive(context.Background(), botSubmission(slackfake.Grace, formApprove, key, botTypedIn))), "it is done")
	})
}

// Whoever has a form open is told when they submit it what really is.
func TestAFormOfWhatWasDecidedElsewhere(t *testing.T) {
	for _, end := range everyEnd {
		t.Run(end.name, func(t *testing.T) {
			inBotWorld(t, func(w *botWorld) {
				p := w.start()
				r := p.callRestore()
				v := w.form(slackfake.Grace, w.card(slackfake.Ops, r.ID), "Approve")
				x := w.form(slackfake.Edsger, w.card(slackfake.Ops, r.ID), "Deny")
				end.do(w, p, r.ID)
				w.until(10*time.Minute, string(end.last), func() bool { return w.get(r.ID).State == end.last })
				for _, out := range []slackfake.Outcome{w.slack.User(slackfake.Grace).Submit(v, botTyped).Wait(), w.slack.User(slackfake.Edsger).Submit(x, nil).Wait()} {
					require.Len(t, out.Errors, 1)
					for _, says := range out.Errors {
						assert.Contains(t, says, string(end.last))
						assert.Contains(t, says, r.ID)
					}
				}
				assert.Equal(t, end.last, w.get(r.ID).State)
			})
		})
	}
}

func TestWhoLostTheRightMeanwhileIsRefused(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		w.slack.AddGroup(slackfake.Group{ID: "S0OPS", Handle: "oncall", Users: []string{slackfake.Grace}})
		p := w.start(func(s *botSetup) { s.approvers = []string{"S0OPS"} })
		r := p.callRestore()
		v := w.form(slackfake.Grace, w.card(slackfake.Ops, r.ID), "Approve")
		w.slack.ChangeGroup("S0OPS", func(g *slackfake.Group) { g.Users = nil })
		out := w.slack.User(slackfake.Grace).Submit(v, botTyped).Wait()
		assert.Contains(t, out.Errors["typed"], "You are not one of those who may confirm")
		assert.Contains(t, out.Errors["typed"], "@oncall")
		w.slack.ChangeGroup("S0OPS", func(g *slackfake.Group) { g.Users = []string{slackfake.Grace} })
		w.slack.Inject(slackfake.Fault{Name: slackfake.Refused, Method: "usergroups.users.list", Code: "missing_scope"})
		out = w.slack.User(slackfake.Grace).Submit(v, botTyped).Wait()
		assert.Contains(t, out.Errors["typed"], "could not be read", "fail closed")
		assert.Equal(t, policy.StateHeld, w.get(r.ID).State)
		assert.Equal(t, 2, w.countRecords(policy.EventRefused))
	})
}

func TestADeleteNeedsNothingTyped(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		r := p.call("delete_snapshot", `{"server":"web-server-01","snapshot_id":798,"reason":"old"}`)
		v := w.form(slackfake.Grace, w.card(slackfake.Ops, r.ID), "Approve")
		assert.Empty(t, w.slack.User(slackfake.Grace).Submit(v, nil).Wait().Errors)
		w.until(time.Minute, "done", func() bool { return w.get(r.ID).State == policy.StateDone })
		w.settled(r.ID, slackfake.Ops)
	})
}

func TestADenialIsOneNo(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		r := p.callRestore()
		v := w.form(slackfake.Grace, w.card(slackfake.Ops, r.ID), "Deny")
		assert.Empty(t, w.slack.User(slackfake.Grace).Submit(v, slackfake.Values{"note": {"note": "not <!channel> now"}}).Wait().Errors)
		assert.Equal(t, policy.StateDenied, w.get(r.ID).State, "before the form closes")
		w.settled(r.ID, slackfake.Ops)
		assert.Contains(t, w.cards(slackfake.Ops, r.ID)[0].String(), "now")
	})
}

func TestAFormForWhatIsMissing(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		key, err := p.bot.keepForm(context.Background(), form{
			Kind: formAsk, User: slackfake.Ada, From: origin{Channel: botRoom}, Operation: "delete_snapshot", Given: map[string]any{"server": "web-server-01"},
		})
		require.NoError(t, err)
		values := func(id, reason string) map[string]map[string]any {
			return map[string]map[string]any{
				"ask:snapshot_id": {"pick:snapshot_id": map[string]any{"selected_option": map[string]any{"value": id}}},
				"ask:reason":      {"fill:reason": map[string]any{"value": reason}},
			}
		}
		send := func(v map[string]map[string]any) map[string]string {
			return botErrors(t, p.bot.receive(context.Background(), botSubmission(slackfake.Ada, formAsk, key, v)))
		}
		assert.Equal(t, map[string]string{"ask:snapshot_id": "A whole number is needed.", "ask:reason": "This is needed."}, send(values("x", "")))
		assert.Equal(t, map[string]string{"ask:snapshot_id": "At least 1."}, send(values("-1", "r")))
		assert.Contains(t, send(values("801", strings.Repeat("ä", 501)))["ask:reason"], "At most 500")
		assert.Contains(t, send(values("4711", "r"))["ask:snapshot_id"], "4711", "what VPS.org says, below what was chosen")
		assert.Empty(t, w.filed())
		assert.Nil(t, p.bot.receive(context.Background(), botSubmission(slackfake.Ada, formAsk, key, values("801", "old"))))
		w.until(5*time.Second, "filed", func() bool { return len(w.filed()) == 1 })
		w.card(botRoom, w.filed()[0].ID)
		// The same once more files nothing new, and says so.
		assert.Nil(t, p.bot.receive(context.Background(), botSubmission(slackfake.Ada, formAsk, key, values("801", "old"))))
		w.told(slackfake.Ada, "repeats a request")
		assert.Len(t, w.filed(), 1)
	})
}
