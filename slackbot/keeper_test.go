package slackbot

import (
	"context"
	"encoding/json"
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

func TestEveryFaultOfAPostHeals(t *testing.T) {
	for _, name := range slackfake.FaultNames()[:14] {
		for _, times := range []int{1, 3} {
			t.Run(fmt.Sprint(name, " ", times), func(t *testing.T) {
				inBotWorld(t, func(w *botWorld) {
					p := w.start()
					code := ""
					if name == slackfake.Refused {
						code = "internal_error"
					}
					w.slack.Inject(slackfake.Fault{Name: name, Method: "chat.postMessage", Times: times, RetryAfter: 7 * time.Second, Code: code})
					r := p.callRestore()
					w.until(2*time.Minute, "a card that is right", func() bool { return w.right(slackfake.Ops, r.ID) })
					pressable := 0
					for _, m := range w.cards(slackfake.Ops, r.ID) {
						if len(m.Buttons()) > 0 {
							pressable++
						}
					}
					assert.Equal(t, 1, pressable, "what nobody can ever change again has no buttons")
					assert.LessOrEqual(t, len(w.cards(slackfake.Ops, r.ID)), 1+times)
					if !strings.HasSuffix(name, "-acted") {
						assert.Len(t, w.cards(slackfake.Ops, r.ID), 1)
					}
					_, err := p.svc.Cancel(context.Background(), r.ID, botAgent)
					require.NoError(t, err)
					w.settled(r.ID, slackfake.Ops)
				})
			})
		}
	}
}

func TestEveryFaultOfAnEditHeals(t *testing.T) {
	for _, name := range slackfake.FaultNames()[:14] {
		t.Run(name, func(t *testing.T) {
			inBotWorld(t, func(w *botWorld) {
				p := w.start()
				w.slack.Inject(slackfake.Fault{Name: name, Method: "chat.update", Times: 3, RetryAfter: 20 * time.Second, Code: "internal_error"})
				r := p.callRestore()
				w.until(3*time.Minute, "a card that is right", func() bool { return w.right(slackfake.Ops, r.ID) })
				assert.Len(t, w.cards(slackfake.Ops, r.ID), 1)
				w.slack.Inject(slackfake.Fault{Name: name, Method: "chat.update", Times: 3, RetryAfter: 20 * time.Second, Code: "internal_error"})
				_, err := p.svc.Cancel(context.Background(), r.ID, botAgent)
				require.NoError(t, err)
				w.until(3*time.Minute, "a card that is right", func() bool { return w.right(slackfake.Ops, r.ID) })
				assert.Len(t, w.cards(slackfake.Ops, r.ID), 1)
			})
		})
	}
}

func TestTheEndIsToldAtMostOnceWhateverBecomesOfThePost(t *testing.T) {
	for _, name := range slackfake.FaultNames()[:14] {
		t.Run(name, func(t *testing.T) {
			inBotWorld(t, func(w *botWorld) {
				p := w.start()
				r := p.callRestore()
				m := w.card(slackfake.Ops, r.ID)
				w.slack.Inject(slackfake.Fault{Name: name, Method: "chat.postMessage", Times: 1, RetryAfter: 20 * time.Second, Code: "team_access_not_granted"})
				_, err := p.svc.Cancel(context.Background(), r.ID, botAgent)
				require.NoError(t, err)
				time.Sleep(2 * time.Minute)
				assert.Contains(t, w.slack.Message(m.Channel, m.TS).Aloud(), "CANCELLED", "the card says it in any case")
				switch name {
				case slackfake.RateLimited, slackfake.Refused:
					assert.Len(t, w.endings(m), 1, "what was certainly not said is said")
				default:
					assert.LessOrEqual(t, len(w.endings(m)), 1)
				}
			})
		})
	}
}

func TestSlackIsDownForTenMinutes(t *testing.T) {
	for _, name := range []string{slackfake.Hang, slackfake.HangActed, slackfake.Reset, slackfake.Error500, slackfake.Error500Acted, slackfake.HTML} {
		t.Run(name, func(t *testing.T) {
			inBotWorld(t, func(w *botWorld) {
				p := w.start()
				before := p.callRestore()
				w.card(slackfake.Ops, before.ID)
				w.slack.Inject(slackfake.Fault{Name: name})
				during := p.call("delete_snapshot", `{"server":"web-server-01","snapshot_id":798,"reason":"old"}`)
				_, err := p.svc.Cancel(context.Background(), before.ID, botAgent)
				require.NoError(t, err)
				time.Sleep(10 * time.Minute)
				w.slack.Heal()
				w.until(time.Minute, "both cards right", func() bool { return w.right(slackfake.Ops, before.ID) && w.right(slackfake.Ops, during.ID) })
				assert.LessOrEqual(t, len(w.slack.Messages(slackfake.Ops)), 2+2, "nothing is posted again and again")
				p.approveAtTerminal(during.ID)
				w.until(time.Minute, "done", func() bool { return w.get(during.ID).State == policy.StateDone })
				w.settled(during.ID, slackfake.Ops)
			})
		})
	}
}

func TestATokenThatIsRevokedAndHealed(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		before := p.callRestore()
		w.card(slackfake.Ops, before.ID)
		w.slack.RevokeToken("token_revoked")
		during := p.call("delete_snapshot", `{"server":"web-server-01","snapshot_id":798,"reason":"old"}`)
		_, err := p.svc.Cancel(context.Background(), before.ID, botAgent)
		require.NoError(t, err)
		time.Sleep(10 * time.Minute)
		w.slack.RevokeToken("")
		w.settled(before.ID, slackfake.Ops)
		w.settled(during.ID, slackfake.Ops)
		assert.Len(t, w.cards(slackfake.Ops, during.ID), 1)
	})
}

func TestAMessageThatCannotBeEditedFromTheStart(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		w.slack.Inject(slackfake.Fault{Name: slackfake.Refused, Method: "chat.update", Code: "edit_window_closed"})
		r := p.callRestore()
		w.until(20*time.Second, "a whole card", func() bool {
			cs := w.cards(slackfake.Ops, r.ID)
			return len(cs) == 2 && len(cs[1].Buttons()) == 3
		})
		time.Sleep(time.Minute)
		m := w.cards(slackfake.Ops, r.ID)[1]
		assert.NotContains(t, m.Text, "<@U2>")
		v := w.form(slackfake.Grace, m, "Approve")
		require.Empty(t, w.slack.User(slackfake.Grace).Submit(v, botTyped).Wait().Errors)
		w.until(5*time.Minute, "done", func() bool { return w.get(r.ID).State == policy.StateDone })
		w.until(20*time.Second, "the end", func() bool { return len(w.endings(m)) == 1 })
		time.Sleep(10 * time.Minute)
		assert.Len(t, w.endings(m), 1)
		assert.Len(t, w.cards(slackfake.Ops, r.ID), 2)
		// Its buttons are still there: whoever presses one is told what really is.
		w.slack.User(slackfake.Edsger).Press(m, "Approve").Wait()
		w.told(slackfake.Edsger, "Nothing was decided", "done")
	})
}

func TestAMessageThatCannotBeEditedAnyMore(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		r := p.callRestore()
		m := w.card(slackfake.Ops, r.ID)
		w.slack.Inject(slackfake.Fault{Name: slackfake.Refused, Method: "chat.update", Code: "edit_window_closed"})
		_, err := p.svc.Cancel(context.Background(), r.ID, botAgent)
		require.NoError(t, err)
		w.until(20*time.Second, "the end", func() bool { return len(w.endings(m)) == 1 })
		time.Sleep(time.Minute)
		assert.Len(t, w.endings(m), 1)
		assert.Len(t, w.slack.Messages(slackfake.Ops), 1)
	})
}

func TestAMessageThatSomebodyDeleted(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		r := p.callRestore()
		m := w.card(slackfake.Ops, r.ID)
		w.deleteMessage(m)
		p.approveAtTerminal(r.ID)
		w.until(5*time.Minute, "done", func() bool { return w.get(r.ID).State == policy.StateDone })
		w.settled(r.ID, slackfake.Ops)
		assert.Len(t, w.cards(slackfake.Ops, r.ID), 1)
	})
}

// deleteMessage deletes a message of the bot's as an administrator can.
func (w *botWorld) deleteMessage(m slackfake.Message) {
	w.Helper()
	c := newClient(clientOptions{Token: w.slack.BotToken(), URL: "http://slack.test/api/", HTTP: w.wires.slack.Client(), Now: time.Now})
	defer c.http.CloseIdleConnections()
	_, _, err := c.api.DeleteMessage(m.Channel, m.TS)
	require.NoError(w, err)
}

func TestAChannelThatIsArchivedOrLeft(t *testing.T) {
	for name, leave := range map[string]func(w *botWorld, c string){
		"archived": func(w *botWorld, c string) {
			w.slack.ChangeChannel(c, func(c *slackfake.Channel) { c.Archived = true })
		},
		"kicked": func(w *botWorld, c string) {
			w.slack.SetScopes("chat:write", "users:read", "usergroups:read", "commands")
			w.slack.Kick(c, slackfake.Bot)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBotWorld(t, func(w *botWorld) {
				p := w.start()
				w.slack.User(slackfake.Ada).Slash(botRoom, "/vps", botRestore).Wait()
				w.until(10*time.Second, "a card", func() bool { return len(w.slack.Messages(slackfake.Ops)) == 1 })
				id := botID(w.slack.Messages(slackfake.Ops)[0].Text)
				w.card(botRoom, id)
				leave(w, botRoom)
				_, err := p.svc.Cancel(context.Background(), id, w.get(id).Actor)
				require.NoError(t, err)
				w.settled(id, slackfake.Ops)
				calls := len(w.slack.Calls("chat.update"))
				time.Sleep(10 * time.Minute)
				assert.LessOrEqual(t, len(w.slack.Calls("chat.update")), calls+3, "what is gone is looked for now and then")
				assert.Len(t, w.endings(w.cards(slackfake.Ops, id)[0]), 1)
				time.Sleep(26 * time.Hour)
				calls = len(w.slack.Calls("chat.update"))
				time.Sleep(time.Hour)
				assert.Len(t, w.slack.Calls("chat.update"), calls, "and given up after a day")
			})
		})
		t.Run(name+" where people decide", func(t *testing.T) {
			inBotWorld(t, func(w *botWorld) {
				p := w.start()
				leave(w, slackfake.Ops)
				w.slack.User(slackfake.Ada).Slash(botRoom, "/vps", botRestore).Wait()
				w.until(10*time.Second, "a card", func() bool { return len(w.slack.Messages(botRoom)) == 1 })
				id := botID(w.slack.Messages(botRoom)[0].Text)
				w.card(botRoom, id)
				_, err := p.svc.Cancel(context.Background(), id, w.get(id).Actor)
				require.NoError(t, err)
				w.settled(id, botRoom)
			})
		})
		t.Run(name+" before it was asked", func(t *testing.T) {
			inBotWorld(t, func(w *botWorld) {
				w.start()
				leave(w, botRoom)
				w.slack.User(slackfake.Ada).Slash(botRoom, "/vps", botRestore).Wait()
				w.until(10*time.Second, "a card", func() bool { return len(w.slack.Messages(slackfake.Ops)) == 1 })
				id := botID(w.slack.Messages(slackfake.Ops)[0].Text)
				w.card(slackfake.Ops, id)
				w.told(slackfake.Ada, id, "Its card", "/archives/C1/p")
			})
		})
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

// botStep is 1, and more where there is little time.
func botStep() int {
	if testing.Short() {
		return 7
	}
	return 1
}

// A ledger that fails at the n-th write of the process, in both ways.
func TestEveryWriteMayFail(t *testing.T) {
	for _, happens := range []bool{false, true} {
		for n := 1; n <= 30; n += botStep() {
			t.Run(fmt.Sprint(n, " happens ", happens), func(t *testing.T) {
				inBotWorld(t, func(w *botWorld) {
					p := w.start()
					p.notes.set(func(b *botNotes) {
						b.fails = func(m int, put policy.Note) (bool, bool) { return m == n, happens }
					})
					w.throughALife(func() {})
				})
			})
		}
	}
}

// What was not written down before it was sent was not sent, and is sent yet.
func TestAWriteThatFailsBeforeAPostLosesNothing(t *testing.T) {
	for _, happens := range []bool{false, true} {
		for _, before := range []string{`"posts":1`, `"ended":true`} {
			t.Run(fmt.Sprint(before, " happens ", happens), func(t *testing.T) {
				inBotWorld(t, func(w *botWorld) {
					p := w.start()
					failed := 0
					p.notes.set(func(b *botNotes) {
						b.fails = func(_ int, put policy.Note) (bool, bool) {
							if strings.Contains(put.Doc, before) && failed == 0 {
								failed++
								return true, happens
							}
							return false, false
						}
					})
					r := p.callRestore()
					m := w.card(slackfake.Ops, r.ID)
					assert.Contains(t, w.slack.History(m.Channel, m.TS)[0].Text, "<@U2>", "approvers are mentioned all the same")
					_, err := p.svc.Cancel(context.Background(), r.ID, botAgent)
					require.NoError(t, err)
					w.settled(r.ID, slackfake.Ops)
					time.Sleep(time.Minute)
					assert.Len(t, w.endings(m), 1)
					assert.Equal(t, 1, failed)
				})
			})
		}
	}
}

// A process that is killed at the n-th write, before or after it; another follows.
func TestAProcessThatDiesAtAnyWriteIsFollowedByOneThatBringsItRight(t *testing.T) {
	for _, happens := range []bool{false, true} {
		for n := 1; n <= 30; n += botStep() {
			t.Run(fmt.Sprint(n, " happens ", happens), func(t *testing.T) {
				inBotWorld(t, func(w *botWorld) {
					p := w.start()
					var dead bool
					p.notes.set(func(b *botNotes) {
						b.fails = func(m int, put policy.Note) (bool, bool) {
							if m < n {
								return false, false
							}
							b.dead = true
							p.net.dead.Store(true)
							if m == n {
								return true, happens
							}
							return true, false
						}
					})
					w.throughALife(func() {
						if p.net.dead.Load() && !dead {
							dead = true
							p.kill()
							w.start()
						}
					})
				})
			})
		}
	}
}

// throughALife has Ada ask, Grace approve, and all of it end; again and again where
// it does not work, as people do. look is called all the time.
func (w *botWorld) throughALife(look func()) {
	w.Helper()
	step := func(what string, again func(), ok func() bool) {
		for range 4 {
			again()
			for range 20 * 10 {
				if look(); ok() {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
		}
		w.show()
		require.FailNow(w, "it did not come: "+what)
	}
	id := ""
	step("a card", func() {
		if len(w.slack.Messages(botRoom)) == 0 {
			w.slack.User(slackfake.Ada).Slash(botRoom, "/vps", botRestore)
		}
	}, func() bool {
		all, _, err := w.ledger.Requests(context.Background(), policy.Filter{})
		if err != nil || len(all) == 0 {
			return false
		}
		id = all[0].ID
		return w.right(botRoom, id) && w.right(slackfake.Ops, id)
	})
	step("an approval", func() {
		if w.get(id).State != policy.StateHeld {
			return
		}
		cs := w.cards(slackfake.Ops, id)
		w.slack.User(slackfake.Grace).Press(cs[len(cs)-1], "Approve")
		for range 50 {
			look()
			time.Sleep(100 * time.Millisecond)
			if v, ok := w.slack.View(slackfake.Grace); ok {
				w.slack.User(slackfake.Grace).Submit(v, botTyped)
				return
			}
		}
	}, func() bool { return w.get(id).State != policy.StateHeld })
	step("the end", func() {}, func() bool {
		time.Sleep(time.Second)
		return w.get(id).State == policy.StateDone && w.right(botRoom, id) && w.right(slackfake.Ops, id)
	})
	time.Sleep(time.Minute)
	look()
	assert.True(w, w.right(botRoom, id) && w.right(slackfake.Ops, id))
	all, _, err := w.ledger.Requests(context.Background(), policy.Filter{})
	require.NoError(w, err)
	assert.Len(w, all, 1, "one request")
	assert.Equal(w, 1, w.countRecords(policy.EventApproved))
	assert.Equal(w, 1, w.vps.Sent(vpsfake.Overwrite))
	assert.LessOrEqual(w, len(w.slack.Messages(botRoom))+len(w.slack.Messages(slackfake.Ops)), 3, "at most one was posted again")
	assert.Empty(w, w.waiting(heardScope(botAccount)), "no task is left")
	for _, n := range w.waiting(policy.ToldScope(botAccount)) {
		assert.True(w, n.DueAt.IsZero())
	}
	mentioned := false
	for _, c := range []string{botRoom, slackfake.Ops} {
		for _, m := range w.slack.Messages(c) {
			mentioned = mentioned || strings.Contains(w.slack.History(c, m.TS)[0].Text, "<@U2>")
		}
	}
	assert.True(w, mentioned, "approvers were mentioned")
}

func TestALeaseIsRespectedWhileItsProcessMayLive(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.make()
		r := p.callRestore()
		ctx := context.Background()
		n, err := w.ledger.Note(ctx, policy.ToldScope(botAccount), r.ID)
		require.NoError(t, err)
		raw, err := json.Marshal(shown{By: "another", Until: time.Now().Add(leaseFor)})
		require.NoError(t, err)
		n.Doc = string(raw)
		_, err = w.ledger.PutNote(ctx, n)
		require.NoError(t, err)
		wait, err := p.bot.Tell(ctx, r.ID)
		require.NoError(t, err)
		assert.InDelta(t, leaseFor, wait, float64(time.Second))
		assert.Empty(t, w.slack.Calls(""))
		start := time.Now()
		w.start()
		w.card(slackfake.Ops, r.ID)
		assert.Less(t, time.Since(start), 15*time.Second)
		assert.GreaterOrEqual(t, time.Since(start), leaseFor-time.Second)
	})
}

func TestWhoLostTheLeaseWritesNothing(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start(func(s *botSetup) { s.lazy = true })
		w.slack.Inject(slackfake.Fault{Name: slackfake.Slow, Delay: 2 * time.Second, Method: "chat.postMessage", Times: 1})
		r := p.callRestore()
		go func() { _, _ = p.bot.Tell(context.Background(), r.ID) }()
		time.Sleep(time.Second)
		ctx := context.Background()
		n, err := w.ledger.Note(ctx, policy.ToldScope(botAccount), r.ID)
		require.NoError(t, err)
		n.Doc = `{"by":"another","places":[{"channel":"C1","ts":"1700000000.000100","posts":1}]}`
		n, err = w.ledger.PutNote(ctx, n)
		require.NoError(t, err)
		time.Sleep(5 * time.Second)
		after, err := w.ledger.Note(ctx, n.Scope, n.Key)
		require.NoError(t, err)
		assert.Equal(t, n, after, "it is the other's")
	})
}

func TestNewsAfterTheEndAreNotTheEndOnceMore(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		r := p.callRestore()
		m := w.card(slackfake.Ops, r.ID)
		_, err := p.svc.Cancel(context.Background(), r.ID, botAgent)
		require.NoError(t, err)
		w.settled(r.ID, slackfake.Ops)
		require.NoError(t, w.ledger.Change(context.Background(), func(ctx context.Context, tx policy.Tx) error { return tx.Tell(ctx, r) }))
		time.Sleep(time.Minute)
		assert.Len(t, w.endings(m), 1)
	})
}

func TestALeaseOfAClockThatWasWrongDoesNotLastForEver(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		r := p.callRestore()
		w.card(slackfake.Ops, r.ID)
		n, err := w.ledger.Note(context.Background(), policy.ToldScope(botAccount), r.ID)
		require.NoError(t, err)
		s := shown{}
		require.NoError(t, s.read(n.Doc))
		s.By, s.Until = "dead", time.Now().Add(5*time.Hour)
		raw, err := json.Marshal(s)
		require.NoError(t, err)
		n.Doc, n.DueAt = string(raw), time.Now()
		_, err = w.ledger.PutNote(context.Background(), n)
		require.NoError(t, err)
		_, err = p.svc.Cancel(context.Background(), r.ID, botAgent)
		require.NoError(t, err)
		w.settled(r.ID, slackfake.Ops)
	})
}

// Two processes, one of which waits for Slack longer than its lease lasts: nothing is
// posted twice, and the older card does not come last.
func TestASlowSlackIsNotPostedToByTwoProcesses(t *testing.T) {
	for _, fault := range []slackfake.Fault{
		{Name: slackfake.RateLimited, RetryAfter: 25 * time.Second},
		{Name: slackfake.RateLimited, RetryAfter: 11 * time.Second},
	} {
		t.Run(fault.RetryAfter.String(), func(t *testing.T) {
			inBotWorld(t, func(w *botWorld) {
				p := w.start()
				w.start()
				fault.Method, fault.Times = "chat.postMessage", 2
				w.slack.Inject(fault)
				r := p.callRestore()
				w.until(2*time.Minute, "a card", func() bool { return w.right(slackfake.Ops, r.ID) })
				time.Sleep(2 * time.Minute)
				assert.Len(t, w.cards(slackfake.Ops, r.ID), 1)
			})
		})
	}
	t.Run("an edit", func(t *testing.T) {
		inBotWorld(t, func(w *botWorld) {
			p := w.start()
			w.start()
			r := p.callRestore()
			w.card(slackfake.Ops, r.ID)
			time.Sleep(5 * time.Second)
			w.slack.Inject(slackfake.Fault{Name: slackfake.Slow, Delay: 9500 * time.Millisecond, Method: "chat.update", Times: 1})
			p.approveAtTerminal(r.ID)
			w.until(10*time.Minute, "done", func() bool { return w.get(r.ID).State == policy.StateDone })
			w.settled(r.ID, slackfake.Ops)
			time.Sleep(time.Minute)
			assert.True(t, w.right(slackfake.Ops, r.ID))
		})
	})
}

// A stop lets a post that is under way end, so that the next process finds it.
func TestAStopWhileACardIsPosted(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		w.slack.Inject(slackfake.Fault{Name: slackfake.Slow, Delay: time.Second, Method: "chat.postMessage", Times: 1})
		r := p.callRestore()
		time.Sleep(500 * time.Millisecond)
		p.stop()
		start := time.Now()
		w.start()
		w.settled(r.ID, slackfake.Ops)
		assert.Less(t, time.Since(start), 4*time.Second, "it left no lease behind")
		assert.Len(t, w.cards(slackfake.Ops, r.ID), 1)
	})
}

func TestWhatCannotBeShownIsGivenUpInTheEnd(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start(func(s *botSetup) { s.lazy = true })
		w.slack.ChangeChannel(slackfake.Ops, func(c *slackfake.Channel) { c.Restricted = true })
		r := p.callRestore()
		tell := func() time.Duration {
			wait, err := p.bot.Tell(context.Background(), r.ID)
			require.NoError(t, err)
			return wait
		}
		assert.Equal(t, reopenAfter, tell())
		assert.Contains(t, p.bot.Trouble(), "cards cannot be posted in "+slackfake.Ops)
		_, err := p.svc.Cancel(context.Background(), r.ID, botAgent)
		require.NoError(t, err)
		assert.Zero(t, tell(), "nothing was shown, so nothing is to be put right")
		time.Sleep(time.Hour)
		calls := len(w.slack.Calls(""))
		assert.Zero(t, tell())
		assert.Len(t, w.slack.Calls(""), calls)
		assert.Empty(t, w.waiting(policy.ToldScope(botAccount)), "nobody looks at it any more")
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
