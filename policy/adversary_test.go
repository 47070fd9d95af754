package policy_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
)

// meet lets the first n reads of a path wait for each other, so that as many
// plans are made from the same world.
func meet(h *house, path string, n int32) {
	var gate sync.WaitGroup
	gate.Add(int(n))
	var seen atomic.Int32
	wait := func(r *http.Request) {
		if r.URL.Path == vpsfake.BasePath+path && seen.Add(1) <= n {
			gate.Done()
			gate.Wait()
		}
	}
	h.before.Store(&wait)
}

func TestTwoDeletesAtOnceDoNotCountOnEachOther(t *testing.T) {
	h := newHouse(t)
	a, b := h.service(), h.service()
	for _, id := range []int64{501, 499, 495} {
		h.fake.DeleteBackupBehindTheBack(id)
	}
	x := h.file(a, agent, "delete_snapshot", delete801)
	y := h.file(a, agent, "delete_snapshot", delete798)
	h.approve(a, x, ada)
	h.approve(a, y, ada)
	meet(h, "/backups/", 2) // both have read both snapshots by then
	var both sync.WaitGroup
	both.Go(func() { _, _ = a.Advance(context.Background(), x.ID) })
	both.Go(func() { _, _ = b.Advance(context.Background(), y.ID) })
	both.Wait()
	h.before.Store(nil)
	h.pass(a, time.Minute)
	assert.Equal(t, 1, h.fake.Sent(vpsfake.Delete), "nobody agreed to lose the last good one")
	assert.ElementsMatch(t, []policy.State{policy.StateDone, policy.StateStale}, []policy.State{h.get(x.ID).State, h.get(y.ID).State})
	h.sound()
}

// One begins and ends while the other has read the world and not yet recorded
// its start: nothing runs any more that could be waited for.
func TestADeleteThatBeganAndEndedMeanwhileIsNotCountedOn(t *testing.T) {
	h := newHouse(t)
	a, b := h.service(), h.service()
	for _, id := range []int64{501, 499, 495} {
		h.fake.DeleteBackupBehindTheBack(id)
	}
	x := h.file(a, agent, "delete_snapshot", delete801)
	y := h.file(a, agent, "delete_snapshot", delete798)
	h.approve(a, x, ada)
	h.approve(a, y, ada)
	var first atomic.Bool
	between := func(r *http.Request) {
		// The backups are what a plan reads last.
		if r.URL.Path == vpsfake.BasePath+"/backups/" && first.CompareAndSwap(false, true) {
			_, _ = a.Advance(context.Background(), x.ID)
		}
	}
	h.before.Store(&between)
	_, err := b.Advance(context.Background(), y.ID)
	require.NoError(t, err)
	h.before.Store(nil)
	assert.Equal(t, policy.StateDone, h.get(x.ID).State)
	assert.Equal(t, policy.StateStale, h.get(y.ID).State)
	assert.Equal(t, 1, h.fake.Sent(vpsfake.Delete))
	h.sound()
}

// A process gets its answer when others have long gone on without it.
func TestALateAnswerToAnEarlierStepIsNotTakenForThisOne(t *testing.T) {
	h := newHouse(t)
	slow, quick := h.service(), h.service()
	r := h.file(slow, agent, "restore_snapshot", restore801)
	h.approve(slow, r, ada)
	h.sent.after = func(p policy.Permit) {
		h.sent.after = nil
		require.Equal(t, policy.StepSafetyCopy, p.Step().Name)
		h.clock.Advance(62 * time.Second) // the lease is over
		h.fake.Inject(vpsfake.Fault{Name: vpsfake.Error500, Method: http.MethodPost, Times: 1})
		h.pass(quick, 6*time.Minute) // finds the copy, and loses the answer to the restore
		require.Equal(t, policy.StateUncertain, h.get(r.ID).State)
	}
	_, err := slow.Advance(context.Background(), r.ID)
	require.NoError(t, err)
	got := h.get(r.ID)
	assert.Equal(t, policy.StateUncertain, got.State)
	assert.Equal(t, policy.StepUncertain, got.Steps[1].State)
	assert.Zero(t, got.Steps[1].PointID)
	assert.Contains(t, h.events(r.ID), "operation.answered_late")
	h.sound()
}

func TestADeleteWaitsForOneWhoseAnswerWasLost(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	x := h.file(s, agent, "delete_snapshot", delete801)
	h.fake.Inject(vpsfake.Fault{Name: vpsfake.Error500, Method: http.MethodDelete, Times: 1})
	h.approve(s, x, ada)
	h.work(s)
	y := h.file(s, agent, "delete_snapshot", delete798)
	h.approve(s, y, ada)
	h.pass(s, 5*time.Minute)
	assert.Equal(t, policy.StateApproved, h.get(y.ID).State)
	assert.Equal(t, 1, h.fake.Sent(vpsfake.Delete))
}

func TestAFloodOfCreatesHidesNothing(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	first := h.file(s, agent, "restore_snapshot", restore801+noCopy)
	h.fake.Inject(vpsfake.Fault{Name: vpsfake.ResetActed, Method: http.MethodPost, Times: 1})
	h.approve(s, first, ada)
	h.work(s)
	require.Equal(t, policy.StateUncertain, h.get(first.ID).State)

	// Through the door there is an end to it soon.
	refused := 0
	for i := range 50 {
		if _, err := call(s, other, "create_backup", fmt.Sprintf(`"server":"12345","description":"d%d"`, i)); err != nil {
			says(t, err, policy.Conflict, "that is the most")
			refused++
		}
	}
	assert.Equal(t, 40, refused)

	// And if there were more than a page of them, nothing would fall off.
	require.NoError(t, h.ledger.Change(context.Background(), func(ctx context.Context, tx policy.Tx) error {
		for i := range 1100 {
			r := h.get(first.ID)
			r.ID, r.Rev, r.State, r.Effect, r.Steps = fmt.Sprintf("rq_f%05d", i), 0, policy.StateApproved, policy.Create, nil
			r.Actor = policy.Actor{Door: policy.DoorMCP, Subject: fmt.Sprint("agent", i), Role: policy.RoleOperate}
			r.StartBy, r.DueAt, r.Begun = h.clock.Now().Add(time.Hour), h.clock.Now().Add(time.Hour), 0
			if _, err := tx.Put(ctx, r, policy.RecordBody{Event: policy.EventAllowed, To: policy.StateApproved}); err != nil {
				return err
			}
		}
		return nil
	}))
	second := h.file(s, anyone, "restore_backup", `"server":"12345","backup_id":501,"reason":"x","safety_copy":false`)
	st, err := s.Show(context.Background(), second.ID)
	require.NoError(t, err)
	assert.Contains(t, st.WaitsFor, first.ID)
	h.approve(s, second, ada)
	_, _ = s.Advance(context.Background(), second.ID)
	assert.Equal(t, 1, h.fake.Sent(vpsfake.Overwrite))
}

func TestFilingHasALimitWhateverBecomesOfIt(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	for i := range 41 {
		r, err := call(s, agent, "restore_snapshot", restore801)
		if i == 40 {
			says(t, err, policy.Conflict, "40 requests within 10 minutes")
			break
		}
		require.NoError(t, err)
		_, err = s.Cancel(context.Background(), r.ID, agent)
		require.NoError(t, err)
	}
	assert.Empty(t, h.ledger.Nudges(), "no job waits for what has ended")
	h.clock.Advance(10 * time.Minute)
	h.file(s, agent, "restore_snapshot", restore801)
}

func TestTheSafetyCopyIsLookedAtAgainBeforeTheOverwrite(t *testing.T) {
	for name, spoil := range map[string]func(*house){
		"gone":               func(h *house) { h.fake.DeleteSnapshotBehindTheBack(802) },
		"no longer complete": func(h *house) { h.fake.SetSnapshotStatus(802, "error") },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			s := h.service()
			r := h.file(s, agent, "restore_snapshot", restore801)
			h.approve(s, r, ada)
			h.work(s)
			h.clock.Advance(5 * time.Minute)
			// The look that sees it complete still works; what comes after does not.
			h.fake.Inject(vpsfake.Fault{Name: vpsfake.Error500, Method: http.MethodGet, PathPrefix: "/servers/"})
			h.work(s)
			_, _ = s.Sweep(context.Background())
			require.Equal(t, policy.StepDone, h.get(r.ID).Steps[0].State)
			spoil(h)
			h.fake.Heal()
			h.pass(s, time.Minute)
			assert.Equal(t, policy.StateStale, h.get(r.ID).State)
			assert.Contains(t, h.get(r.ID).Why, "safety copy is gone")
			assert.Zero(t, h.destroyed())
			h.sound()
		})
	}
}

func TestAnothersRestoreProvesNothing(t *testing.T) {
	t.Run("one that somebody starts later, by hand", func(t *testing.T) {
		h := newHouse(t)
		s := h.service()
		r := h.file(s, agent, "restore_snapshot", restore801+noCopy)
		h.fake.Inject(vpsfake.Fault{Name: vpsfake.Error500, Method: http.MethodPost, Times: 1})
		h.approve(s, r, ada)
		h.pass(s, time.Hour)
		h.fake.SetServerStatus(web, "restoring")
		h.pass(s, 10*time.Minute)
		h.fake.SetServerStatus(web, "active")
		h.pass(s, 10*time.Minute)
		assert.Equal(t, policy.StateUncertain, h.get(r.ID).State)
	})
	t.Run("one that was under way before: ours waits", func(t *testing.T) {
		h := newHouse(t)
		s := h.service()
		r := h.file(s, agent, "restore_snapshot", restore801+noCopy)
		h.approve(s, r, ada)
		h.fake.SetServerStatus(web, "restoring")
		h.pass(s, 2*time.Minute)
		assert.Equal(t, policy.StateApproved, h.get(r.ID).State)
		assert.Zero(t, h.destroyed())
		h.fake.SetServerStatus(web, "active")
		h.pass(s, 10*time.Minute)
		assert.Equal(t, policy.StateDone, h.get(r.ID).State)
	})
}

func TestServersThatCannotBeReadForAMomentFreeNothing(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	r := h.file(s, agent, "restore_snapshot", restore801+noCopy)
	h.approve(s, r, ada)
	h.work(s)
	h.fake.Inject(vpsfake.Fault{Name: vpsfake.NotFound, Method: http.MethodGet, PathPrefix: "/servers/", Times: 2})
	h.pass(s, 30*time.Second)
	assert.Equal(t, policy.StateRunning, h.get(r.ID).State)
	h.pass(s, 10*time.Minute)
	assert.Equal(t, policy.StateDone, h.get(r.ID).State)
	assert.NotContains(t, h.get(r.ID).Why, "not watched")
}

func TestAccountsThatMayBeTheSameWaitForEachOther(t *testing.T) {
	h := newHouse(t)
	known := h.service()
	nameless := h.service(func(c *policy.Config) {
		c.Account = func(context.Context) (policy.Account, error) { return policy.Account{URL: h.url}, nil }
	})
	x := h.file(known, agent, "restore_snapshot", restore801+noCopy)
	y := h.file(nameless, other, "restore_backup", `"server":"12345","backup_id":501,"reason":"x","safety_copy":false`)
	h.approve(known, x, ada)
	h.approve(nameless, y, ada)
	_, err := known.Advance(context.Background(), x.ID)
	require.NoError(t, err)
	_, err = nameless.Advance(context.Background(), y.ID)
	require.NoError(t, err)
	assert.Equal(t, 1, h.fake.Sent(vpsfake.Overwrite))
}

func TestCreatesDoNotPushInBeforeAnApprovedOverwrite(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	running := h.file(s, agent, "create_backup", `"server":"12345","description":"first"`)
	r := h.file(s, agent, "restore_snapshot", restore801+noCopy)
	h.approve(s, r, ada)
	late := h.file(s, other, "create_snapshot", `"server":"12345","name":"late"`)
	assert.Equal(t, policy.StateApproved, late.State)
	st, err := s.Show(context.Background(), late.ID)
	require.NoError(t, err)
	assert.Contains(t, st.WaitsFor, r.ID)
	h.pass(s, 5*time.Minute)
	assert.Equal(t, policy.StateDone, h.get(running.ID).State)
	assert.Equal(t, 1, h.fake.Sent(vpsfake.Overwrite))
}

func TestTheSecondStepHasItsClockToo(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	r := h.file(s, agent, "restore_snapshot", restore801)
	h.approve(s, r, ada)
	h.work(s)
	h.clock.Advance(5 * time.Minute)
	h.fake.Inject(vpsfake.Fault{Name: vpsfake.Error500, Method: http.MethodGet, PathPrefix: "/servers/"})
	h.pass(s, 11*time.Minute)
	h.fake.Heal()
	h.pass(s, time.Minute)
	assert.Equal(t, policy.StateStale, h.get(r.ID).State)
	assert.Contains(t, h.get(r.ID).Why, "could not start by")
	assert.Zero(t, h.destroyed())
}

func TestOtherAccountsAreNotShownToAProgram(t *testing.T) {
	h := newHouse(t)
	r := h.file(h.service(), agent, "restore_snapshot", restore801)
	foreign := h.service(func(c *policy.Config) {
		c.Account = func(context.Context) (policy.Account, error) {
			return policy.Account{URL: h.url, Owner: "else@example.test"}, nil
		}
	})
	_, err := call(foreign, agent, "get_request", fmt.Sprintf(`"request_id":%q`, r.ID))
	says(t, err, policy.NotFound)
	out, err := foreign.Call(context.Background(), policy.Call{Actor: agent, Operation: "list_requests"})
	require.NoError(t, err)
	assert.Zero(t, out.Listing.Total)
}

func TestWhatPeopleReadIsNotWrittenByPrograms(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	for _, about := range []string{
		"safety copy before restoring snapshot 801 [vpsguard rq_7f3k9c abcdefgh]", "Safety Copy", "made by VPSGUARD", "rq_7f3k9c", "sa\u200bfety copy", "safety  copy", "\u2060vps\u00adguard",
	} {
		for _, c := range []string{`create_backup|"server":"12345"`, `create_snapshot|"server":"12345","name":"x"`} {
			op, args := c[:len("create_backup")], c[len("create_backup|"):]
			if c[:15] == "create_snapshot" {
				op, args = "create_snapshot", c[len("create_snapshot|"):]
			}
			_, err := call(s, agent, op, args+fmt.Sprintf(`,"description":%q`, about))
			says(t, err, policy.Invalid, "kept for what vpsguard")
		}
	}
	planted := h.fake.AddBackup(vpsfake.Point{ServerID: web, Description: "safe [vpsguard rq_7f3k9c abcdefgh] yes"})
	r := h.file(s, agent, "restore_backup", fmt.Sprintf(`"server":"12345","backup_id":%d,"reason":"x"`, planted))
	assert.Contains(t, r.Plan.Summary, "described as", "somebody's words are shown as such")
}
