package slackbot

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// botTask is what Ada wants, written down but not done.
func (p *botProcess) botTask(at time.Time, change func(*task)) policy.Note {
	p.w.Helper()
	t := &task{
		Do: doCall, At: at, Who: who{Team: slackfake.Team, User: slackfake.Ada}, From: origin{Channel: botRoom},
		Operation: "restore_snapshot", Arguments: json.RawMessage(`{"server":"web-server-01","snapshot_id":801,"reason":"r"}`),
	}
	if change != nil {
		change(t)
	}
	raw, err := json.Marshal(t)
	require.NoError(p.w, err)
	n := policy.Note{Scope: heardScope(botAccount), Key: p.bot.random(20), DueAt: at.Add(taskLease)}
	n.Doc = p.bot.client.seal(n.Scope+"\n"+n.Key, raw)
	n, err = p.w.ledger.PutNote(context.Background(), n)
	require.NoError(p.w, err)
	return n
}

func (w *botWorld) filed() []policy.Request {
	w.Helper()
	all, _, err := w.ledger.Requests(context.Background(), policy.Filter{})
	require.NoError(w, err)
	return all
}

func TestWhatADeadProcessHasHeardIsDoneOnceByAnother(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		w.start()
		p.botTask(time.Now(), nil)
		time.Sleep(7 * time.Second)
		assert.Empty(t, w.filed(), "whoever has heard it may still live")
		w.until(8*time.Second, "done", func() bool { return len(w.filed()) == 1 })
		w.card(botRoom, w.filed()[0].ID)
		time.Sleep(time.Minute)
		assert.Len(t, w.filed(), 1)
		assert.Empty(t, w.waiting(heardScope(botAccount)))
		assert.Empty(t, w.slack.Ephemerals(slackfake.Ada), "the card is where they asked")
	})
}

func TestWhatIsTooOldIsNotDoneAndTold(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.make()
		p.botTask(time.Now().Add(-taskTooOld-time.Second), nil)
		w.start()
		w.start()
		w.told(slackfake.Ada, "whether that was filed is not said here", "2 minutes ago", "request list")
		time.Sleep(time.Minute)
		assert.Empty(t, w.filed())
		assert.Len(t, w.slack.Ephemerals(slackfake.Ada), 1)
		assert.Empty(t, w.waiting(heardScope(botAccount)))
	})
}

func TestATaskThatCannotBeReadIsDropped(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		for _, doc := range []string{"", "{", "[]", `{"do":7}`} {
			_, err := w.ledger.PutNote(context.Background(), policy.Note{Scope: heardScope(botAccount), Key: p.bot.random(20), DueAt: time.Now(), Doc: doc})
			require.NoError(t, err)
		}
		p.botTask(time.Now().Add(-taskLease), func(t *task) { t.Do = "approve_everything" })
		time.Sleep(10 * time.Second)
		assert.Empty(t, w.waiting(heardScope(botAccount)))
		assert.Empty(t, w.filed())
	})
}

// A decision of a process that died counts once, whoever does it, however often.
func TestADecisionThatIsDoneTwiceCountsOnce(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		r := p.callRestore()
		w.card(slackfake.Ops, r.ID)
		for range 3 {
			p.botTask(time.Now().Add(-taskLease), func(t *task) {
				t.Do, t.Who.User, t.Request, t.Digest, t.Typed = doDecide, slackfake.Grace, r.ID, r.Plan.Digest, "web-server-01"
			})
		}
		w.until(5*time.Minute, "done", func() bool { return w.get(r.ID).State == policy.StateDone })
		assert.Equal(t, 1, w.countRecords(policy.EventApproved))
		assert.Len(t, w.get(r.ID).Approvals, 1)
	})
}

// What is written down proves nothing: who may is asked when it is done.
func TestATaskOfSomebodyWhoMayNotIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		who    who
		change func(w *botWorld)
	}{
		"no approver":    {who{Team: slackfake.Team, User: slackfake.Ada}, nil},
		"another team":   {who{Team: "T0OTHER", User: slackfake.Grace}, nil},
		"no team":        {who{User: slackfake.Grace}, nil},
		"an enterprise":  {who{Team: slackfake.Team, Enterprise: "E1", User: slackfake.Grace}, nil},
		"nobody":         {who{Team: slackfake.Team}, nil},
		"a group's id":   {who{Team: slackfake.Team, User: "S1"}, nil},
		"Slack's own":    {who{Team: slackfake.Team, User: "USLACKBOT"}, nil},
		"of another key": {who{Team: "T0HOME:U2", User: "U2"}, nil},
		"a guest by now": {who{Team: slackfake.Team, User: slackfake.Grace}, func(w *botWorld) {
			w.slack.ChangeUser(slackfake.Grace, func(u *slackfake.User) { u.Guest = true })
		}},
		"deleted by now": {who{Team: slackfake.Team, User: slackfake.Grace}, func(w *botWorld) {
			w.slack.ChangeUser(slackfake.Grace, func(u *slackfake.User) { u.Deleted = true })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inBotWorld(t, func(w *botWorld) {
				p := w.start()
				r := p.callRestore()
				w.card(slackfake.Ops, r.ID)
				if c.change != nil {
					c.change(w)
				}
				for _, do := range []string{doDecide, doDeny, doCancel} {
					p.botTask(time.Now().Add(-taskLease), func(t *task) {
						t.Do, t.Who, t.Request, t.Digest, t.Typed = do, c.who, r.ID, r.Plan.Digest, "web-server-01"
					})
				}
				time.Sleep(20 * time.Second)
				assert.Equal(t, policy.StateHeld, w.get(r.ID).State)
				assert.Empty(t, w.get(r.ID).Approvals)
			})
		})
	}
}

func TestWhereTheLedgerIsDownThePersonIsToldAndNothingIsDone(t *testing.T) {
	for _, happens := range []bool{false, true} {
		t.Run(fmt.Sprint("happens ", happens), func(t *testing.T) {
			inBotWorld(t, func(w *botWorld) {
				p := w.start()
				var failed bool
				p.notes.set(func(b *botNotes) {
					b.fails = func(_ int, n policy.Note) (bool, bool) {
						if strings.HasPrefix(n.Scope, "heard") && !failed {
							failed = true
							return true, happens
						}
						return false, false
					}
				})
				require.True(t, w.slack.User(slackfake.Ada).Slash(botRoom, "/vps", botRestore).Wait().Acked)
				w.told(slackfake.Ada, "Not reached, and nothing was changed")
				time.Sleep(time.Minute)
				assert.Empty(t, w.filed(), "nothing is done of which the person was told that it is not")
				assert.Empty(t, w.waiting(heardScope(botAccount)))
			})
		})
	}
	t.Run("a form", func(t *testing.T) {
		inBotWorld(t, func(w *botWorld) {
			p := w.start()
			r := p.callRestore()
			v := w.form(slackfake.Grace, w.card(slackfake.Ops, r.ID), "Approve")
			p.notes.set(func(b *botNotes) {
				b.fails = func(_ int, n policy.Note) (bool, bool) { return strings.HasPrefix(n.Scope, "heard"), true }
			})
			out := w.slack.User(slackfake.Grace).Submit(v, botTyped).Wait()
			assert.Contains(t, out.Errors["typed"], "could not store it")
			p.notes.set(func(b *botNotes) { b.fails = nil })
			time.Sleep(time.Minute)
			assert.Equal(t, policy.StateHeld, w.get(r.ID).State)
			assert.Empty(t, w.slack.User(slackfake.Grace).Submit(v, botTyped).Wait().Errors, "the form is still open")
			w.until(10*time.Second, "approved", func() bool { return w.get(r.ID).State != policy.StateHeld })
		})
	})
	t.Run("a message", func(t *testing.T) {
		inBotWorld(t, func(w *botWorld) {
			p := w.start()
			p.notes.set(func(b *botNotes) { b.down = true })
			require.True(t, w.slack.User(slackfake.Ada).Mention(botRoom, "", botRestore).Wait().Acked)
			w.told(slackfake.Ada, "Not reached, and nothing was changed")
		})
	})
}

// Whoever was told that it failed must not see it happen a moment later.
func TestATaskThatFailedIsNotDoneAgainWhereItCannotBeCrossedOff(t *testing.T) {
	for _, happens := range []bool{false, true} {
		inBotWorld(t, func(w *botWorld) {
			p := w.start(func(s *botSetup) {
				s.gate = func(g Gate) Gate { return &oneFault{Gate: g} }
			})
			drops := 0
			p.notes.set(func(b *botNotes) {
				b.drops = func(n policy.Note) (bool, bool) {
					drops++
					return strings.HasPrefix(n.Scope, "heard") && drops <= 12, happens
				}
			})
			w.slack.User(slackfake.Ada).Slash(botRoom, "/vps", botRestore).Wait()
			w.told(slackfake.Ada, "Not reached, and nothing was changed")
			time.Sleep(time.Minute)
			assert.Empty(t, w.filed())
			assert.Empty(t, w.waiting(heardScope(botAccount)))
			assert.Len(t, w.slack.Ephemerals(slackfake.Ada), 1)
		})
	}
}

// oneFault is a gate whose first call fails, or panics, or waits.
type oneFault struct {
	Gate
	calls  int
	panics bool
	waits  time.Duration
	alive  bool // waiting does not end with the context
}

func (g *oneFault) fault(ctx context.Context) error {
	if g.calls++; g.calls > 1 {
		return nil
	}
	if g.panics {
		panic("a fault with https://hooks.slack.com/secret")
	}
	if g.waits > 0 {
		if g.alive {
			ctx = context.WithoutCancel(ctx)
		}
		return sleepFor(ctx, g.waits)
	}
	return policy.Errorf(policy.Unavailable, "the ledger could not be reached; nothing was changed")
}

func (g *oneFault) Call(ctx context.Context, c policy.Call) (policy.Outcome, error) {
	if err := g.fault(ctx); err != nil {
		return policy.Outcome{}, err
	}
	return g.Gate.Call(ctx, c)
}

func (g *oneFault) Decide(ctx context.Context, id string, v policy.Verdict) (policy.Request, error) {
	if err := g.fault(ctx); err != nil {
		return policy.Request{}, err
	}
	return g.Gate.Decide(ctx, id, v)
}

func TestATaskThatPanicsIsToldAndNotDoneAgain(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start(func(s *botSetup) {
			s.gate = func(g Gate) Gate { return &oneFault{Gate: g, panics: true} }
		})
		w.slack.User(slackfake.Ada).Slash(botRoom, "/vps", botRestore).Wait()
		w.told(slackfake.Ada, "An error", "Look whether it was done")
		time.Sleep(time.Minute)
		assert.Empty(t, w.filed())
		assert.NotContains(t, p.log.String(), "hooks.slack.com/secret", "a panic's value may hold what Slack sent")
	})
	t.Run("in a form", func(t *testing.T) {
		inBotWorld(t, func(w *botWorld) {
			p := w.start(func(s *botSetup) {
				s.gate = func(g Gate) Gate { return &oneFault{Gate: g, panics: true} }
			})
			r := p.callRestore()
			v := w.form(slackfake.Grace, w.card(slackfake.Ops, r.ID), "Approve")
			out := w.slack.User(slackfake.Grace).Submit(v, botTyped).Wait()
			assert.Contains(t, out.Errors["typed"], "omething went wrong")
			assert.Less(t, out.Took, time.Second)
			p.stop() // and it ends
		})
	})
}

// A decision that takes longer than Slack waits is told as soon as it is made.
func TestADecisionThatTakesLongIsToldLater(t *testing.T) {
	for _, fails := range []bool{false, true} {
		inBotWorld(t, func(w *botWorld) {
			p := w.start(func(s *botSetup) {
				s.gate = func(g Gate) Gate { return &oneFault{Gate: g, waits: 15 * time.Second} }
			})
			w.start(func(s *botSetup) { s.gate = nil }) // which must not do it as well
			h := p.bot.Handler()
			w.door.Store(&h)
			r := p.callRestore()
			v := w.form(slackfake.Grace, w.card(slackfake.Ops, r.ID), "Approve")
			out := w.slack.User(slackfake.Grace).Submit(v, botTyped).Wait()
			require.True(t, out.Acked)
			require.Empty(t, out.Errors)
			assert.Less(t, out.Took, 2500*time.Millisecond)
			if fails {
				w.slack.ChangeUser(slackfake.Grace, func(u *slackfake.User) { u.Deleted = true })
				w.told(slackfake.Grace, "deactivated")
			} else {
				w.until(16*time.Second, "told", func() bool { return len(w.slack.Ephemerals(slackfake.Grace)) > 0 })
				time.Sleep(time.Minute)
				assert.Len(t, w.slack.Ephemerals(slackfake.Grace), 1, "by one process, once")
				assert.Contains(t, w.slack.Ephemerals(slackfake.Grace)[0].Text, r.ID+" is ")
			}
		})
	}
}

// A task that takes longer than tasks may is told, and not done once more.
func TestATaskThatTakesTooLongIsNotRepeated(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		w.start(func(s *botSetup) {
			s.gate = func(g Gate) Gate { return &oneFault{Gate: g, waits: time.Hour} }
		})
		w.slack.User(slackfake.Ada).Slash(botRoom, "/vps", botRestore).Wait()
		time.Sleep(3 * time.Minute)
		assert.Empty(t, w.filed())
		assert.Len(t, w.slack.Ephemerals(slackfake.Ada), 1)
		assert.Empty(t, w.waiting(heardScope(botAccount)))
	})
}

// What a process does not get done before it ends, the next one does.
func TestWhatIsUnderWayAtTheEndIsDoneByTheNext(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start(func(s *botSetup) {
			s.gate = func(g Gate) Gate { return &oneFault{Gate: g, waits: time.Hour} }
		})
		r := p.callRestore()
		v := w.form(slackfake.Grace, w.card(slackfake.Ops, r.ID), "Approve")
		w.slack.User(slackfake.Grace).Submit(v, botTyped).Wait()
		start := time.Now()
		p.stop()
		assert.Less(t, time.Since(start), 2*graceFor)
		w.start()
		w.until(15*time.Second, "approved", func() bool { return w.get(r.ID).State != policy.StateHeld })
		assert.Equal(t, slackfake.Team+":"+slackfake.Grace, w.get(r.ID).Approvals[0].By.Subject)
	})
}

// A process that lives keeps what it is at, however long that takes; it is not done
// beside it by another.
func TestALongTaskIsNotDoneByAnotherProcess(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		slow := &oneFault{waits: 30 * time.Second}
		others := &oneFault{calls: 1}
		w.start(func(s *botSetup) { s.gate = func(g Gate) Gate { others.Gate = g; return others } })
		w.start(func(s *botSetup) { s.gate = func(g Gate) Gate { slow.Gate = g; return slow } })
		w.slack.User(slackfake.Ada).Slash(botRoom, "/vps", botRestore).Wait()
		w.until(45*time.Second, "filed", func() bool { return len(w.filed()) == 1 })
		time.Sleep(20 * time.Second)
		assert.Equal(t, 1, others.calls, "the other process has called nothing")
		assert.Empty(t, w.slack.Ephemerals(slackfake.Ada))
		assert.Empty(t, w.waiting(heardScope(botAccount)))
	})
}

// Nothing that people type becomes a note of another scope, or of another's key.
func TestNotesAreWhereTheyBelong(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		evil := `x"},"do":"decide","request":"rq_aaaaaa","who":{"team":"T0HOME","user":"U2"},"z":{"y":"`
		w.slack.ChangeUser(slackfake.Ada, func(u *slackfake.User) { u.Name = evil })
		w.slack.User(slackfake.Ada).Slash(botRoom, "/vps", "snapshot restore web-server-01 801 because "+evil).Wait()
		w.slack.User(slackfake.Ada).Slash(botRoom, "/vps", "snapshot create "+evil+" "+evil).Wait()
		w.slack.User(slackfake.Ada).Slash(botRoom, "/vps", "request cancel "+evil).Wait()
		time.Sleep(30 * time.Second)
		p.notes.mu.Lock()
		defer p.notes.mu.Unlock()
		scopes := []string{heardScope(botAccount), policy.ToldScope(botAccount), scopeForms}
		for _, n := range p.notes.puts {
			assert.Contains(t, scopes, n.Scope)
			if n.Scope != heardScope(botAccount) {
				continue
			}
			var k task
			raw, err := p.bot.client.sealed(n.Scope+"\n"+n.Key, n.Doc)
			require.NoError(t, err)
			require.NoError(t, json.Unmarshal(raw, &k))
			assert.Equal(t, doCall, k.Do)
			assert.Equal(t, slackfake.Ada, k.Who.User)
			assert.Len(t, n.Key, 20)
			assert.NotContains(t, n.Doc, "response", "a response_url is never written down")
		}
		assert.False(t, slices.ContainsFunc(w.filed(), func(r policy.Request) bool { return len(r.Approvals) > 0 }))
	})
}

// TestATaskThatTheAppDidNotSealIsNotDone: whoever can write the ledger's file
// cannot write an approval there, nor move one that was.
func TestATaskThatTheAppDidNotSealIsNotDone(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.make()
		n := p.botTask(time.Now(), nil)
		require.NoError(t, w.ledger.DropNote(context.Background(), n))
		_, bare, _ := strings.Cut(n.Doc, " ")
		for i, doc := range []string{bare, strings.Repeat("0", 64) + " " + bare, n.Doc} {
			_, err := w.ledger.PutNote(context.Background(), policy.Note{
				Scope: n.Scope, Key: n.Key + fmt.Sprint(i), DueAt: time.Now(), Doc: doc,
			})
			require.NoError(t, err)
		}
		w.start()
		time.Sleep(time.Minute)
		assert.Empty(t, w.filed(), "a seal is for one place")
		assert.Empty(t, w.waiting(n.Scope))
	})
}

// TestWhatWasDoneIsNotToldAsNotDone: a process may die between a decision and
// crossing it off, and the next start long after.
func TestWhatWasDoneIsNotToldAsNotDone(t *testing.T) {
	inBotWorld(t, func(w *botWorld) {
		p := w.start()
		w.slack.User(slackfake.Ada).Slash(botRoom, "/vps", botRestore).Wait()
		w.until(10*time.Second, "a card", func() bool { return len(w.slack.Messages(slackfake.Ops)) == 1 })
		id := botID(w.slack.Messages(slackfake.Ops)[0].Text)
		st, err := p.svc.Show(context.Background(), id)
		require.NoError(t, err)
		grace, err := p.people.Actor(context.Background(), slackfake.Team, "", slackfake.Grace)
		require.NoError(t, err)
		_, err = p.svc.Decide(context.Background(), id, policy.Verdict{
			By: grace, Way: policy.WaySlack, Digest: st.Request.Plan.Digest, Typed: st.Request.Plan.Server.Typed(),
		})
		require.NoError(t, err)
		p.botTask(time.Now().Add(-taskTooOld-10*time.Second), func(t *task) {
			t.Do, t.Request, t.Digest, t.Who.User, t.From.Channel = doDecide, id, st.Request.Plan.Digest, slackfake.Grace, slackfake.Ops
		})
		w.told(slackfake.Grace, id, "nothing more is done about that now")
		for _, m := range w.slack.Ephemerals(slackfake.Grace) {
			assert.NotContains(t, m.Text, "nothing was done")
			assert.NotContains(t, m.Text, "do it again")
		}
	})
}
