package slackbot

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

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
