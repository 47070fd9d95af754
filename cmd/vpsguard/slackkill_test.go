//go:build unix

package main

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// rightWithin is how long after a restart cards may be wrong.
const rightWithin = 15 * time.Second

// slackScene is a process with a Slack, and the means to kill it at an exact moment:
// VPS.org and Slack live in the test, go on, and hold back what the process waits
// for.
type slackScene struct {
	*scene
	f    *slackfake.Fake
	logs *lines // of the process that runs now
	back time.Time
}

func newSlackScene(t *testing.T) *slackScene {
	t.Helper()
	s := &slackScene{scene: &scene{t: t, killed: make(chan struct{})}}
	s.scene.world = newWorld(t, vpsfake.Options{
		Now:         func() time.Time { return time.Now().Add(time.Duration(s.late.Load())) },
		CreateTakes: longTime, RestoreTakes: longTime,
		OnMutation: s.arrived.do, AfterMutation: s.answered.do,
	})
	s.f = s.withSlack(t, slackfake.Options{})
	s.service, s.ledger = s.scene.world.service(t)
	s.start()
	require.NoError(t, s.f.AwaitSockets(t.Context(), 2))
	return s
}

// start starts a process, and the time in which everything has to be right again.
func (s *slackScene) start() {
	s.back = time.Now()
	cmd, log := spawn(s.t, s.env, "serve")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.victim, s.logs = cmd, log
}

// restart kills the process unless it is dead, has Slack and VPS.org answer again,
// and starts the next.
func (s *slackScene) restart() {
	s.kill()
	s.f.Heal()
	s.fake.Heal()
	s.start()
}

// sees waits for something to be so in Slack.
func (s *slackScene) sees(what string, ok func() bool) {
	s.t.Helper()
	watch(s.t, s.f, s.logs, what, ok)
}

// held asks for a restore and waits for its card.
func (s *slackScene) held() slackfake.Message {
	s.t.Helper()
	id, card := asksFor(s.t, s.f, s.logs)
	s.id = id
	return card
}

// submits approves in the form, and does not wait for an answer.
func (s *slackScene) submits(card slackfake.Message) *slackfake.Delivery {
	s.t.Helper()
	grace := s.f.User(slackfake.Grace)
	form := opens(s.t, s.f, s.logs, grace, card)
	return grace.Submit(form, typed("web-server-01"))
}

// heard waits until a task that does something is written down.
func (s *slackScene) heard(does string) {
	s.t.Helper()
	account := policy.Account{URL: s.envOf("VPSGUARD_API_URL"), Owner: "ops@example.com"}
	scope := "heard" + strings.TrimPrefix(policy.ToldScope(account), "told")
	require.True(s.t, assertEventually(func() bool {
		notes, err := s.ledger.Notes(s.t.Context(), scope, time.Now().Add(time.Hour), 10)
		return err == nil && slices.ContainsFunc(notes, func(n policy.Note) bool { return strings.Contains(n.Doc, `"do":"`+does+`"`) })
	}), "a task is written down")
}

func (s *slackScene) envOf(name string) (value string) {
	for _, v := range s.env {
		if rest, ok := strings.CutPrefix(v, name+"="); ok {
			value = rest
		}
	}
	return value
}

// right waits until the cards of the request are right: exactly one with these
// buttons that says so, and no other with any. It says how long that took.
func (s *slackScene) right(state string, buttons ...string) slackfake.Message {
	s.t.Helper()
	if buttons == nil {
		buttons = []string{}
	}
	var live []slackfake.Message
	s.t.Cleanup(func() {
		if s.t.Failed() {
			st, err := s.service.Show(context.Background(), s.id)
			raw, _ := json.Marshal(st.Request)
			n, _ := s.ledger.Note(context.Background(), policy.ToldScope(st.Request.Account), s.id)
			s.t.Logf("the ledger says, %v: %s\nshown: %+v", err, raw, n)
		}
	})
	s.sees("cards say "+state, func() bool {
		live = nil
		for _, m := range cards(s.f, s.id) {
			if strings.Contains(m.Text, state) {
				live = append(live, m)
			}
		}
		return len(live) == 1 && strings.Join(says(live[0]), "|") == strings.Join(buttons, "|")
	})
	took := time.Since(s.back)
	s.t.Logf("cards are right %v after the restart: %s %v", took.Round(time.Millisecond), state, buttons)
	assert.Less(s.t, took, rightWithin)
	for _, m := range cards(s.f, s.id) {
		if m.TS != live[0].TS {
			assert.Empty(s.t, says(m), "a dead card has live buttons:\n%s", m)
		}
	}
	return live[0]
}

var heldButtons = []string{"Approve…", "Deny…", "Cancel"}

// carriedOut lets everything complete and checks that it has happened once.
func (s *slackScene) carriedOut() {
	s.t.Helper()
	s.finishes()
	s.back = time.Now() // what follows is no restart any more, but as quick
	card := s.right("DONE", "Undo (restore the safety copy)")
	s.sees("its thread says so", func() bool { return len(s.f.Thread(slackfake.Ops, card.TS)) > 1 })
	assert.Len(s.t, s.f.Thread(slackfake.Ops, card.TS), 2, "once")
}

func TestKilledAtEachStepOfADecisionInSlack(t *testing.T) {
	t.Parallel()
	hangs := func(method string) slackfake.Fault { return slackfake.Fault{Name: slackfake.Hang, Method: method} }
	for name, story := range map[string]func(*slackScene){
		"a command was recorded and not acknowledged": func(s *slackScene) {
			s.f.Inject(slackfake.Fault{Name: slackfake.LoseAck, Method: slackfake.SlashCommands})
			s.f.Inject(hangs("users.info"))
			s.f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "snapshot restore web-server-01 801 because the upgrade broke login")
			s.heard("call")
			s.restart()
			s.sees("a card is there", func() bool { return len(s.f.Messages(slackfake.Ops)) > 0 })
			s.id = requestID.FindString(s.f.Messages(slackfake.Ops)[0].String())
			s.right("APPROVAL NEEDED", heldButtons...)
		},
		"a command was acknowledged and not filed": func(s *slackScene) {
			s.f.Inject(hangs("users.info"))
			out := s.f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "snapshot restore web-server-01 801 because the upgrade broke login").Wait()
			require.True(s.t, out.Acked)
			s.restart()
			s.sees("a card is there", func() bool { return len(s.f.Messages(slackfake.Ops)) > 0 })
			s.id = requestID.FindString(s.f.Messages(slackfake.Ops)[0].String())
			s.right("APPROVAL NEEDED", heldButtons...)
		},
		"a decision was recorded and not acknowledged": func(s *slackScene) {
			card := s.held()
			grace := s.f.User(slackfake.Grace)
			form := opens(s.t, s.f, s.logs, grace, card)
			s.f.Inject(slackfake.Fault{Name: slackfake.LoseAck, Method: slackfake.Interactive})
			s.f.Inject(hangs("users.info"))
			grace.Submit(form, typed("web-server-01"))
			s.heard("decide")
			s.restart()
			s.right("RUNNING", "Cancel")
			s.carriedOut()
		},
		"a decision was acknowledged and not in the ledger": func(s *slackScene) {
			card := s.held()
			grace := s.f.User(slackfake.Grace)
			form := opens(s.t, s.f, s.logs, grace, card)
			s.f.Inject(hangs("users.info"))
			out := grace.Submit(form, typed("web-server-01")).Wait()
			require.True(s.t, out.Acked)
			require.Empty(s.t, out.Errors)
			assert.Equal(s.t, policy.StateHeld, s.until("", in(policy.StateHeld)).State, "nothing is decided yet")
			s.restart()
			s.right("RUNNING", "Cancel")
			s.carriedOut()
		},
		"it was approved and not started": func(s *slackScene) {
			card := s.held()
			grace := s.f.User(slackfake.Grace)
			form := opens(s.t, s.f, s.logs, grace, card)
			s.fake.Inject(vpsfake.Fault{Name: vpsfake.Hang})
			require.Empty(s.t, grace.Submit(form, typed("web-server-01")).Wait().Errors)
			s.until("it is approved", in(policy.StateApproved))
			s.restart()
			s.right("RUNNING", "Cancel")
			s.carriedOut()
		},
		"the safety copy was being taken": func(s *slackScene) {
			card := s.held()
			require.Empty(s.t, s.submits(card).Wait().Errors)
			s.until("the copy is accepted", step(0, policy.StepAccepted))
			s.restart()
			s.right("RUNNING", "Cancel")
			s.carriedOut()
		},
		"VPS.org was restoring": func(s *slackScene) {
			card := s.held()
			require.Empty(s.t, s.submits(card).Wait().Errors)
			s.until("the copy is accepted", step(0, policy.StepAccepted))
			s.passes()
			s.until("the restore is accepted", step(1, policy.StepAccepted))
			s.restart()
			s.right("RUNNING")
			s.until("the restore was seen", func(r policy.Request) bool { return r.Steps[1].Seen })
			s.passes()
			s.until("the restore is done", in(policy.StateDone))
			s.back = time.Now()
			s.right("DONE", "Undo (restore the safety copy)")
			r := s.until("", in(policy.StateDone))
			s.truth(r, 1, 1)
		},
		"it ended while nobody ran": func(s *slackScene) {
			card := s.held()
			require.Empty(s.t, s.submits(card).Wait().Errors)
			s.until("the copy is accepted", step(0, policy.StepAccepted))
			s.passes()
			s.until("the restore was seen", func(r policy.Request) bool { return len(r.Steps) == 2 && r.Steps[1].Seen })
			s.kill()
			s.passes()
			s.restart()
			s.right("DONE", "Undo (restore the safety copy)")
			s.truth(s.until("", in(policy.StateDone)), 1, 1)
		},
		"a card was posted and that was not written down": func(s *slackScene) {
			s.f.Inject(slackfake.Fault{Name: slackfake.HangActed, Method: "chat.postMessage"})
			require.True(s.t, s.f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "snapshot restore web-server-01 801 because x").Wait().Acked)
			s.sees("a card is there", func() bool { return len(s.f.Messages(slackfake.Ops)) == 1 })
			s.id = requestID.FindString(s.f.Messages(slackfake.Ops)[0].String())
			s.restart()
			s.sees("another card is there", func() bool { return len(cards(s.f, s.id)) == 2 })
			s.sees("it has buttons", func() bool { return len(says(cards(s.f, s.id)[1])) == 3 })
			took := time.Since(s.back)
			s.t.Logf("a card is right %v after the restart", took)
			assert.Less(s.t, took, rightWithin)
			assert.Empty(s.t, says(cards(s.f, s.id)[0]), "nobody can press what nobody can change")
			card := cards(s.f, s.id)[1]
			require.Empty(s.t, s.submits(card).Wait().Errors)
			s.finishes()
			s.sees("it is done", func() bool { return strings.Contains(s.f.Message(slackfake.Ops, card.TS).Text, "DONE") })
			assert.Empty(s.t, says(cards(s.f, s.id)[0]))
		},
		"a card was changed and that was not written down": func(s *slackScene) {
			card := s.held()
			s.f.Inject(slackfake.Fault{Name: slackfake.HangActed, Method: "chat.update"})
			require.Empty(s.t, s.submits(card).Wait().Errors)
			s.sees("the card changes", func() bool { return !strings.Contains(s.f.Message(slackfake.Ops, card.TS).Text, "APPROVAL NEEDED") })
			s.restart()
			s.right("RUNNING", "Cancel")
			s.carriedOut()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSlackScene(t)
			story(s)
			said, wrong, code := vpsguard(t, s.env, "audit", "verify")
			assert.Equal(t, 0, code, said+wrong)
			for _, v := range s.f.Violations() {
				// What died acknowledges nothing, and breaks off what it was sending.
				if v.Rule != "no-ack" && !strings.HasSuffix(v.Detail, "request_timeout") {
					t.Error(v)
				}
			}
		})
	}
}
