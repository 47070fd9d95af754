package slackbot

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

func TestWhatAnAgentAsksForIsShownWherePeopleDecide(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		r := p.callRestore()
		m := w.card(slackfake.Ops, r.ID)
		assert.Empty(t, w.slack.Messages(botRoom))
		history := w.slack.History(m.Channel, m.TS)
		require.Len(t, history, 2, "bare, then with buttons")
		assert.Empty(t, history[0].Buttons())
		assert.Contains(t, history[0].Text, "<@U2>")
		assert.NotContains(t, history[1].Text, "<@U2>", "approvers are mentioned once")
		assert.Equal(t, "Approve…", m.Buttons()[0].Text)

		v := w.form(slackfake.Grace, m, "Approve")
		require.Empty(t, w.slack.User(slackfake.Grace).Submit(v, botTyped).Wait().Errors)
		w.until(5*time.Minute, "done", func() bool { return w.get(r.ID).State == policy.StateDone })
		w.settled(r.ID, slackfake.Ops)
		time.Sleep(time.Hour)
		m = w.cards(slackfake.Ops, r.ID)[0]
		assert.Len(t, w.endings(m), 1)
		assert.Equal(t, []string{"Undo (restore the safety copy)"}, botButtons(m))
		assert.Equal(t, 1, w.vps.Sent(vpsfake.Overwrite))
		assert.Equal(t, map[string]string{
			"team": "T0HOME", "user": "U2", "action": "view_submission approve", "channel": "C1", "message_ts": m.TS,
			"view": v.ID, "plan": r.Plan.Digest,
		}, w.get(r.ID).Approvals[0].Proof)
	})
}

func botButtons(m slackfake.Message) []string {
	out := []string{}
	for _, b := range m.Buttons() {
		out = append(out, b.Text)
	}
	return out
}

// everyEnd are the ways in which a held request can change, each from another door.
var everyEnd = []struct {
	name string
	do   func(w *botWorld, p *botProcess, id string)
	last policy.State
}{
	{"approved at the terminal", func(w *botWorld, p *botProcess, id string) { p.approveAtTerminal(id) }, policy.StateDone},
	{"expired", func(*botWorld, *botProcess, string) { time.Sleep(31 * time.Minute) }, policy.StateExpired},
	{"cancelled by the agent", func(w *botWorld, p *botProcess, id string) {
		_, err := p.svc.Cancel(context.Background(), id, w.get(id).Actor)
		require.NoError(w, err)
	}, policy.StateCancelled},
	{"denied at the terminal", func(w *botWorld, p *botProcess, id string) {
		_, err := p.svc.Deny(context.Background(), id, policy.Verdict{By: botTerminal, Way: policy.WayTerminal, Digest: w.get(id).Plan.Digest, Note: "not now <!channel>"})
		require.NoError(w, err)
	}, policy.StateDenied},
	{"stale", func(w *botWorld, p *botProcess, id string) {
		w.vps.DeleteSnapshotBehindTheBack(801)
		p.approveAtTerminal(id)
	}, policy.StateStale},
	{"safety copy fails", func(w *botWorld, p *botProcess, id string) {
		w.vps.Inject(vpsfake.Fault{Name: vpsfake.CreateVanishes, Method: "POST", Times: 1})
		p.approveAtTerminal(id)
	}, policy.StateFailed},
}

func TestAllCopiesChangeTogetherFromEveryDoor(t *testing.T) {
	for _, end := range everyEnd {
		t.Run(end.name, func(t *testing.T) {
			inBotWorld(t, func(w *botWorld) {
				p := w.start()
				w.slack.User(slackfake.Ada).Slash(botRoom, "/vps", botRestore).Wait()
				w.until(10*time.Second, "a card", func() bool { return len(w.slack.Messages(botRoom)) == 1 })
				id := botID(w.slack.Messages(botRoom)[0].Text)
				w.card(botRoom, id)
				w.card(slackfake.Ops, id)
				assert.Empty(t, w.slack.Ephemerals(slackfake.Ada), "the card is where Ada is")

				end.do(w, p, id)
				w.until(10*time.Minute, string(end.last), func() bool { return w.get(id).State == end.last })
				w.settled(id, slackfake.Ops, botRoom)
				time.Sleep(10 * time.Minute)
				for _, c := range []string{slackfake.Ops, botRoom} {
					require.Len(t, w.cards(c, id), 1)
					assert.Len(t, w.endings(w.cards(c, id)[0]), 1)
					for _, old := range w.slack.History(c, w.cards(c, id)[0].TS)[1:] {
						assert.NotContains(t, old.Text, "<@U2>")
					}
				}
				assert.Equal(t, botButtons(w.cards(slackfake.Ops, id)[0]), botButtons(w.cards(botRoom, id)[0]))
			})
		})
	}
}

// botID finds the id of a request in a text.
func botID(text string) string {
	i := strings.Index(text, "rq_")
	return text[i : i+9]
}

func TestTheEndIsToldOnceHoweverOftenAndByHoweverMany(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		a := w.start(func(s *botSetup) { s.lazy = true })
		b := w.start(func(s *botSetup) { s.lazy = true })
		r := a.callRestore()
		storm := func() {
			var all sync.WaitGroup
			for i := range 50 {
				p := []*botProcess{a, b}[i%2]
				all.Go(func() {
					for range 30 {
						wait, err := p.bot.Tell(context.Background(), r.ID)
						assert.NoError(t, err)
						if wait == 0 {
							return
						}
						time.Sleep(wait)
					}
				})
			}
			all.Wait()
		}
		storm()
		m := w.card(slackfake.Ops, r.ID)
		assert.Equal(t, 2, m.Versions)
		_, err := a.svc.Cancel(context.Background(), r.ID, botAgent)
		require.NoError(t, err)
		storm()
		w.settled(r.ID, slackfake.Ops)
		m = w.card(slackfake.Ops, r.ID)
		assert.Equal(t, 3, m.Versions)
		assert.Len(t, w.endings(m), 1)
		assert.Len(t, w.slack.Calls("chat.postMessage"), 2)
	})
}

func TestNewsOfOneStateAreOneEdit(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		r := p.callRestore()
		m := w.card(slackfake.Ops, r.ID)
		time.Sleep(10 * time.Second)
		for i := range 10 { // each is news, and none changes the state
			require.NoError(t, w.ledger.Change(context.Background(), func(ctx context.Context, tx policy.Tx) error {
				held, err := tx.Request(ctx, r.ID)
				if err != nil {
					return err
				}
				held.Why = fmt.Sprint("look ", i)
				if held, err = tx.Put(ctx, held, policy.RecordBody{Event: policy.EventSupported, By: botAgent, From: held.State, To: held.State}); err != nil {
					return err
				}
				return tx.Tell(ctx, held)
			}))
			time.Sleep(280 * time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		m = w.slack.Message(m.Channel, m.TS)
		assert.LessOrEqual(t, m.Versions, 2+3)
		assert.Contains(t, m.String(), "look 9", "the last is shown")
	})
}

func TestOtherOpenRequestsAreOnBothCards(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		a := p.callRestore()
		w.card(slackfake.Ops, a.ID)
		b := p.call("delete_snapshot", `{"server":"web-server-01","snapshot_id":798,"reason":"old"}`)
		names := func(id, other string) func() bool {
			return func() bool {
				cs := w.slack.Messages(slackfake.Ops)
				return slices.ContainsFunc(cs, func(m slackfake.Message) bool {
					return botID(m.Text) == id && strings.Contains(m.String(), other)
				})
			}
		}
		w.until(10*time.Second, "b on a's", names(a.ID, b.ID))
		w.until(10*time.Second, "a on b's", names(b.ID, a.ID))
		_, err := p.svc.Cancel(context.Background(), b.ID, botAgent)
		require.NoError(t, err)
		w.until(10*time.Second, "b is gone from a's", func() bool { return !names(a.ID, b.ID)() })
	})
}

// News that come while a card is being posted must not be lost with the lease.
func TestNewsThatComeWhileACardIsPostedAreShown(t *testing.T) {
	for _, at := range []string{"chat.postMessage", "chat.update"} {
		for _, delay := range []time.Duration{0, time.Millisecond} {
			t.Run(fmt.Sprint(at, delay), func(t *testing.T) {
				inBotWorld(t, func(w *botWorld) {
					p := w.start()
					w.slack.Inject(slackfake.Fault{Name: slackfake.Slow, Delay: time.Second, Method: at, Times: 1})
					r := p.callRestore()
					time.Sleep(500*time.Millisecond + delay)
					_, err := p.svc.Cancel(context.Background(), r.ID, botAgent)
					require.NoError(t, err)
					w.settled(r.ID, slackfake.Ops)
				})
			})
		}
	}
}

// Whoever asked in a form has no response_url; where vpsguard cannot write in their
// channel, they are told in private.
func TestWhoAskedInAFormIsToldWhereTheCardIs(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		w.start()
		w.slack.SetScopes("chat:write", "users:read", "usergroups:read", "commands")
		w.slack.Kick(botRoom, slackfake.Bot)
		w.slack.User(slackfake.Ada).Slash(botRoom, "/vps", "snapshot delete").Wait()
		w.until(5*time.Second, "a form", func() bool { _, ok := w.slack.View(slackfake.Ada); return ok })
		v, _ := w.slack.View(slackfake.Ada)
		ada := w.slack.User(slackfake.Ada)
		ada.Type(v, "pick:server", "web").Wait()
		ada.Fill(v, slackfake.Values{"ask:server": {"pick:server": "12345"}})
		ada.Type(v, "pick:snapshot_id", "").Wait()
		ada.Submit(v, slackfake.Values{"ask:snapshot_id": {"pick:snapshot_id": "801"}, "ask:reason": {"fill:reason": "old"}}).Wait()
		w.until(10*time.Second, "a card", func() bool { return len(w.slack.Messages(slackfake.Ops)) == 1 })
		id := botID(w.slack.Messages(slackfake.Ops)[0].Text)
		w.until(15*time.Second, "Ada is told", func() bool {
			return slices.ContainsFunc(w.slack.Messages("D"+slackfake.Ada), func(m slackfake.Message) bool {
				return strings.Contains(m.Text, id) && strings.Contains(m.Text, "/archives/C1/p")
			})
		})
	})
}

func TestTheCallerIsNotToldWhatTheCardSays(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		w.start()
		w.start() // two processes, with a worker each
		for i := range 8 {
			text := fmt.Sprintf("snapshot create web-server-01 before-%d", i)
			if i%2 == 1 {
				text = fmt.Sprintf("backup create web-server-01 before-%d", i)
			}
			w.slack.User(slackfake.Ada).Slash(botRoom, "/vps", text).Wait()
			time.Sleep(20 * time.Second)
		}
		for _, m := range w.slack.Ephemerals(slackfake.Ada) {
			assert.NotContains(t, m.Text, "is running", "the card is there")
			assert.NotContains(t, m.Text, "is done")
			assert.NotContains(t, m.Text, "is approved")
		}
	})
}

func TestAReadOnlyProcessShowsNothing(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		writes := w.make()
		r := writes.callRestore()
		p := w.start(func(s *botSetup) { s.ReadOnly = true })
		_, err := p.bot.Tell(context.Background(), r.ID)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		assert.Empty(t, w.slack.Calls("chat.postMessage"))
	})
}

func TestAThreadKeepsWhatWasAskedInIt(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		root := w.slack.User(slackfake.Ada).Say(botRoom, "", "it is down")
		w.slack.User(slackfake.Ada).Mention(botRoom, root.TS, botRestore).Wait()
		w.until(10*time.Second, "a card in the thread", func() bool {
			th := w.slack.Thread(botRoom, root.TS)
			return len(th) == 3 && len(th[2].Buttons()) == 3
		})
		m := w.slack.Thread(botRoom, root.TS)[2]
		assert.Contains(t, m.String(), "a message in the name of \"ada\" (U1)")
		id := botID(m.Text)
		_, err := p.svc.Cancel(context.Background(), id, w.get(id).Actor)
		require.NoError(t, err)
		w.settled(id, slackfake.Ops)
		w.until(10*time.Second, "the end in the thread", func() bool { return len(w.slack.Thread(botRoom, root.TS)) == 4 })
		assert.Len(t, w.slack.Messages(botRoom), 1, "nothing outside of it")
		assert.Contains(t, w.slack.Thread(botRoom, root.TS)[2].Aloud(), "CANCELLED")
	})
}

// TestAwayForAMinute takes the app out of the channel for a while: what was asked
// meanwhile appears, and what was decided meanwhile is put right.
func TestAwayForAMinute(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		first := p.callRestore()
		w.card(slackfake.Ops, first.ID)
		w.slack.Kick(slackfake.Ops, slackfake.Bot)
		_, err := p.svc.Cancel(context.Background(), first.ID, botAgent)
		require.NoError(t, err)
		second := p.callRestore()
		time.Sleep(time.Minute)
		assert.NotEmpty(t, p.bot.Trouble())
		w.slack.ChangeChannel(slackfake.Ops, func(c *slackfake.Channel) { c.Members = append(c.Members, slackfake.Bot) })
		w.until(2*reopenAfter, "the second's card", func() bool { return len(w.cards(slackfake.Ops, second.ID)) == 1 })
		w.card(slackfake.Ops, second.ID)
		w.until(2*reopenAfter, "the first put right", func() bool { return len(w.cards(slackfake.Ops, first.ID)[0].Buttons()) == 0 })
		assert.Empty(t, p.bot.Trouble())
	})
}

// TestAfterAWeekend: a process that starts long after a request has ended puts its
// card right all the same.
func TestAfterAWeekend(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		r := p.callRestore()
		w.card(slackfake.Ops, r.ID)
		p.stop()
		_, err := p.svc.Cancel(context.Background(), r.ID, botAgent)
		require.NoError(t, err)
		time.Sleep(60 * time.Hour)
		w.start()
		w.settled(r.ID, slackfake.Ops)
		assert.Empty(t, w.cards(slackfake.Ops, r.ID)[0].Buttons())
	})
}
