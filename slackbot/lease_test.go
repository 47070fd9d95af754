package slackbot

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/policytest"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

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

// A stop waits for no turns: what has not begun is for the next process, at once.
func TestAStopWhileCardsWaitForTheirTurn(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		const many = 12
		for i := range many {
			_, err := p.svc.Call(context.Background(), policy.Call{
				Actor: policytest.Agent(fmt.Sprint("os:agent", i)), Operation: "restore_snapshot",
				Arguments: json.RawMessage(`{"server":"web-server-01","snapshot_id":801,"reason":"the upgrade broke login"}`),
			})
			require.NoError(t, err)
		}
		time.Sleep(2500 * time.Millisecond) // one is posted a second
		start := time.Now()
		p.stop()
		assert.Less(t, time.Since(start), time.Second)
		shown := len(w.slack.Messages(slackfake.Ops))
		assert.Positive(t, shown)
		assert.Less(t, shown, many, "others waited")
		start = time.Now()
		w.start()
		w.until(time.Minute, "all cards", func() bool { return len(w.waiting(policy.ToldScope(botAccount))) == 0 })
		assert.Less(t, time.Since(start), 30*time.Second, "it left no leases behind")
		assert.Len(t, w.slack.Messages(slackfake.Ops), many)
		for _, m := range w.slack.Messages(slackfake.Ops) {
			assert.NotEmpty(t, m.Buttons())
		}
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
