package policy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/policytest"
)

const (
	ours   = "[vpsguard rq_7f3k9c abcdefgh]"
	pruned = `"server":"web-server-01","keep":2,"reason":"slots"`
)

// old adds snapshots that vpsguard made, from n months ago on, and gives their ids,
// the oldest first.
func (h *house) old(n int) (ids []int64) {
	for i := range n {
		ids = append(ids, h.fake.AddSnapshot(vpsfake.Point{
			ServerID: web, Name: fmt.Sprint("old-", i), Description: ours, CreatedAt: policytest.Start.Add(-time.Duration(n-i+1) * 30 * 24 * time.Hour),
		}))
	}
	return ids
}

// prune is an approved prune of so many snapshots: two newer ones stay.
func (h *house) prune(s *policy.Service, n int) (policy.Request, []int64) {
	ids := h.old(n)
	r := h.file(s, agent, "prune_snapshots", pruned)
	require.Equal(h.tb, ids, targets(r))
	h.approve(s, r, ada)
	return r, ids
}

func targets(r policy.Request) (ids []int64) {
	for _, t := range r.Plan.Targets {
		ids = append(ids, t.ID)
	}
	return ids
}

func steps(r policy.Request) (out []policy.StepState) {
	for _, s := range r.Steps {
		out = append(out, s.State)
	}
	return out
}

// at calls f right before the n-th step of any request is sent, from 1 on.
func (h *house) at(n int, f func(policy.Permit)) {
	seen := 0
	h.sent.check = func(p policy.Permit) {
		if seen++; seen == n {
			f(p)
		}
	}
}

// between calls f when VPS.org has answered the n-th step, and before the next.
func (h *house) between(n int, f func()) {
	seen := 0
	h.sent.after = func(policy.Permit) {
		if seen++; seen == n {
			f()
		}
	}
}

func (h *house) left(ids []int64) (left []int64) {
	for _, id := range ids {
		if h.fake.HasSnapshot(id) {
			left = append(left, id)
		}
	}
	return left
}

func TestAPruneFromTheCallToTheEnd(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	ids := h.old(3)
	r := h.file(s, agent, "prune_snapshots", pruned)
	require.Equal(t, policy.StateHeld, r.State)
	assert.Equal(t, ids, targets(r), "the oldest first")
	assert.Nil(t, r.Plan.Target)
	assert.Equal(t, "delete 3 snapshots of web-server-01 (12345), keeping the 2 newest good ones", r.Plan.Summary)
	for _, w := range []policy.Way{policy.WaySlack, policy.WayTerminal} {
		assert.True(t, r.Plan.MustType(w), "several at once always take typing")
	}
	h.pass(s, time.Minute)
	require.Empty(t, h.fake.Mutations(), "nothing is sent before a person agreed")

	h.approve(s, r, ada)
	h.work(s)
	done := h.get(r.ID)
	require.Equal(t, policy.StateDone, done.State, done.Why)
	assert.Equal(t, "all 3 were deleted", done.Why)
	assert.Empty(t, h.left(ids))
	assert.True(t, h.fake.HasSnapshot(801) && h.fake.HasSnapshot(798))
	assert.Equal(t, []string{
		"request.held", "request.approved", "operation.started", "operation.stepped",
		"operation.started", "operation.stepped", "operation.started", "operation.done",
	}, h.events(r.ID))
	var named []string
	for _, rec := range h.ledger.Records() {
		if b, err := rec.Parse(); err == nil && b.Event == policy.EventStarted {
			named = append(named, b.Detail["target"])
		}
	}
	assert.Equal(t, []string{`snapshot 802 "old-0"`, `snapshot 803 "old-1"`, `snapshot 804 "old-2"`}, named, "each with its record, by name")
	h.sound()
}

func TestWhatAPruneDeletesIsFixedWhenItIsPlanned(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	r, ids := h.prune(s, 3)
	more := h.fake.AddSnapshot(vpsfake.Point{ServerID: web, Name: "older", Description: ours, CreatedAt: policytest.Start.Add(-300 * 24 * time.Hour)})
	h.work(s)
	assert.Equal(t, policy.StateDone, h.get(r.ID).State, h.get(r.ID).Why)
	assert.Empty(t, h.left(ids))
	assert.True(t, h.fake.HasSnapshot(more), "a new candidate is not looked at")
	h.sound()
}

func TestThePlansOfWhatHasOneTargetHaveTheDigestsThatTheyAlwaysHad(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	r := h.file(s, agent, "delete_snapshot", delete798)
	assert.NotContains(t, string(mustJSON(t, r.Plan)), "targets")
	assert.NotContains(t, string(mustJSON(t, r.Steps)), `"point"`)
}

func TestTheWorldMovesBeforeAPruneBegins(t *testing.T) {
	for name, c := range map[string]struct {
		change func(h *house, ids []int64)
		says   string
	}{
		"one is gone":           {func(h *house, ids []int64) { h.fake.DeleteSnapshotBehindTheBack(ids[1]) }, "is not there any more"},
		"one is no longer good": {func(h *house, ids []int64) { h.fake.SetSnapshotStatus(ids[2], "error") }, "changed"},
		"a newer one is gone, so that one would be among the newest": {func(h *house, _ []int64) { h.fake.DeleteSnapshotBehindTheBack(801) }, "would stay now: it is one of the 2 newest good ones"},
		"a newer one is no longer good":                              {func(h *house, _ []int64) { h.fake.SetSnapshotStatus(798, "error") }, "would stay now"},
		"the server has another name":                                {func(h *house, _ []int64) { h.fake.RenameServer(web, "web-server-02") }, "web-server-01"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			s := h.service()
			r, ids := h.prune(s, 3)
			c.change(h, ids)
			h.pass(s, time.Minute)
			got := h.get(r.ID)
			assert.Equal(t, policy.StateStale, got.State)
			assert.Contains(t, got.Why, c.says)
			assert.Empty(t, h.fake.Mutations())
			h.sound()
		})
	}
}

// Once something was deleted, that it stopped is no longer that nothing happened.
func TestTheWorldMovesBetweenTwoDeletes(t *testing.T) {
	judge := func(c *policy.Config, now *policy.Conditions) {
		c.Judge = func(context.Context, policy.Facts) (policy.Conditions, error) { return *now, nil }
	}
	for name, c := range map[string]struct {
		change func(h *house, ids []int64, rules *policy.Conditions)
		says   string
	}{
		"the next is gone":           {func(h *house, ids []int64, _ *policy.Conditions) { h.fake.DeleteSnapshotBehindTheBack(ids[2]) }, "is not there any more"},
		"one after the next is gone": {func(h *house, ids []int64, _ *policy.Conditions) { h.fake.DeleteSnapshotBehindTheBack(ids[4]) }, "is not there any more"},
		"the next changed":           {func(h *house, ids []int64, _ *policy.Conditions) { h.fake.SetSnapshotStatus(ids[2], "error") }, "it stopped before snapshot 804"},
		"a newer one is gone":        {func(h *house, _ []int64, _ *policy.Conditions) { h.fake.DeleteSnapshotBehindTheBack(801) }, "would stay now"},
		"the rules forbid it":        {func(_ *house, _ []int64, r *policy.Conditions) { r.Refused = "change freeze" }, "change freeze"},
		"the rules take more people": {func(_ *house, _ []int64, r *policy.Conditions) { r.Approvals = 2 }, "ask for more"},
		"a restore of one is asked":  {restoreOf, "it would have to wait for"},
		"the server is renamed":      {func(h *house, _ []int64, _ *policy.Conditions) { h.fake.RenameServer(web, "x") }, "web-server-01"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			rules := &policy.Conditions{}
			s := h.service(func(config *policy.Config) { judge(config, rules) })
			r, ids := h.prune(s, 5)
			h.between(2, func() { c.change(h, ids, rules) })
			h.pass(s, 30*time.Minute)
			got := h.get(r.ID)
			require.Equal(t, policy.StateFailed, got.State, got.Why)
			assert.Contains(t, got.Why, "2 of 5 deleted, 3 not touched; it stopped before snapshot 804: ")
			assert.Contains(t, got.Why, c.says)
			assert.Equal(t, 2, h.fake.Sent(vpsfake.Delete), "nothing more is sent")
			assert.Equal(t, []policy.StepState{policy.StepDone, policy.StepDone, policy.StepWaiting, policy.StepWaiting, policy.StepWaiting}, steps(got))
			h.sound()
		})
	}
}

// restoreOf files a restore that uses the last of the targets.
func restoreOf(h *house, ids []int64, _ *policy.Conditions) {
	h.file(h.service(), other, "restore_snapshot", fmt.Sprintf(`"server":"12345","snapshot_id":%d,"reason":"x"%s`, ids[4], noCopy))
}

func TestAPruneThatIsTurnedAwayInTheMiddle(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	r, ids := h.prune(s, 4)
	h.fake.Inject(vpsfake.Fault{Name: vpsfake.Conflict, Method: http.MethodDelete, After: 1, Times: 1})
	h.pass(s, 30*time.Minute)
	got := h.get(r.ID)
	require.Equal(t, policy.StateFailed, got.State)
	assert.Contains(t, got.Why, "1 of 4 deleted, snapshot 803 was not, 2 not touched: VPS.org does not allow")
	assert.Equal(t, []policy.StepState{policy.StepDone, policy.StepFailed, policy.StepWaiting, policy.StepWaiting}, steps(got))
	assert.Equal(t, 2, h.fake.Sent(vpsfake.Delete))
	assert.Equal(t, ids[1:], h.left(ids))
	h.sound()
}

func TestALostAnswerEndsAPrune(t *testing.T) {
	for fault, happened := range map[string]bool{vpsfake.ResetActed: true, vpsfake.Error500Acted: true, vpsfake.Reset: false, vpsfake.Error500: false} {
		t.Run(fault, func(t *testing.T) {
			h := newHouse(t)
			s := h.service()
			r, ids := h.prune(s, 4)
			h.fake.Inject(vpsfake.Fault{Name: fault, Method: http.MethodDelete, After: 1, Times: 1})
			h.work(s)
			got := h.get(r.ID)
			require.Equal(t, policy.StateUncertain, got.State)
			assert.Contains(t, got.Why, "1 of 4 deleted, of snapshot 803 it is not known, 2 not touched: its answer was lost")
			h.pass(s, time.Hour)
			got = h.get(r.ID)
			assert.Equal(t, 2, h.fake.Sent(vpsfake.Delete), "what comes after it is never sent")
			if happened {
				assert.Equal(t, policy.StateFailed, got.State)
				assert.Contains(t, got.Why, "2 of 4 deleted, 2 not touched; it stopped because the answer about snapshot 803 was lost")
				assert.Equal(t, ids[2:], h.left(ids))
			} else {
				assert.Equal(t, policy.StateUncertain, got.State, "that it is still there proves nothing")
				assert.Equal(t, ids[1:], h.left(ids))
			}
			h.sound()
		})
	}
}

func TestALostAnswerAboutTheLastOfAPrune(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	r, _ := h.prune(s, 3)
	h.fake.Inject(vpsfake.Fault{Name: vpsfake.ResetActed, Method: http.MethodDelete, After: 2, Times: 1})
	h.work(s)
	require.Equal(t, policy.StateUncertain, h.get(r.ID).State)
	h.pass(s, time.Minute)
	got := h.get(r.ID)
	assert.Equal(t, policy.StateDone, got.State, "all are gone")
	assert.Equal(t, "all 3 were deleted", got.Why)
	assert.Equal(t, 3, h.fake.Sent(vpsfake.Delete))
	h.sound()
}

func TestSettlingOneOfAPrune(t *testing.T) {
	for _, c := range []struct {
		after int // deletes before the one whose answer is lost
		as    policy.State
		ends  policy.State
		says  string
	}{
		{1, policy.StateDone, policy.StateFailed, "settled as done by Ada (terminal): I looked; 2 of 4 deleted, 2 not touched"},
		{1, policy.StateFailed, policy.StateFailed, "settled as failed by Ada (terminal): I looked; 1 of 4 deleted, snapshot 803 was not, 2 not touched"},
		{0, policy.StateFailed, policy.StateFailed, "0 of 4 deleted, snapshot 802 was not, 3 not touched"},
		{3, policy.StateDone, policy.StateDone, "all 4 were deleted"},
		{3, policy.StateFailed, policy.StateFailed, "3 of 4 deleted, snapshot 805 was not"},
	} {
		t.Run(fmt.Sprintf("number %d as %s", c.after+1, c.as), func(t *testing.T) {
			h := newHouse(t)
			s := h.service()
			r, _ := h.prune(s, 4)
			h.fake.Inject(vpsfake.Fault{Name: vpsfake.Reset, Method: http.MethodDelete, After: c.after, Times: 1})
			h.pass(s, 30*time.Minute)
			require.Equal(t, policy.StateUncertain, h.get(r.ID).State)
			_, err := s.Cancel(context.Background(), r.ID, ada)
			says(t, err, policy.Conflict)
			v := yes(r, ada)
			v.Note = "I looked"
			got, err := s.Settle(context.Background(), r.ID, v, c.as)
			require.NoError(t, err)
			assert.Equal(t, c.ends, got.State)
			assert.Contains(t, got.Why, c.says)
			h.pass(s, time.Hour)
			assert.Equal(t, c.after+1, h.fake.Sent(vpsfake.Delete), "settling sends nothing, and frees nothing to be sent")
			assert.Equal(t, c.ends, h.get(r.ID).State)
			h.sound()
		})
	}
}

func TestAnotherProcessGoesOnWithAPrune(t *testing.T) {
	h := newHouse(t)
	first, second := h.service(), h.service()
	r, ids := h.prune(first, 4)
	// The first dies when it has recorded the second delete as done: it reads the
	// world for the third and never comes to it.
	ctx, die := context.WithCancel(context.Background())
	h.between(2, die)
	_, err := first.Advance(ctx, r.ID)
	require.Error(t, err)
	require.Equal(t, policy.StateRunning, h.get(r.ID).State)
	require.Equal(t, []policy.StepState{policy.StepDone, policy.StepDone, policy.StepWaiting, policy.StepWaiting}, steps(h.get(r.ID)))
	h.pass(second, time.Minute)
	assert.Equal(t, policy.StateDone, h.get(r.ID).State, h.get(r.ID).Why)
	assert.Equal(t, 4, h.fake.Sent(vpsfake.Delete))
	assert.Empty(t, h.left(ids))
	h.sound()
}

func TestAProcessThatDiesWithinADeleteOfAPruneEndsIt(t *testing.T) {
	for name, acted := range map[string]bool{"before it was sent": false, "after it was": true} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			s := h.service()
			r, ids := h.prune(s, 4)
			if acted {
				h.at(2, func(policy.Permit) { h.ledger.FailCommits(3, 0) })
			} else {
				h.between(1, func() { // the record of what was done commits, that of the next start is lost
					h.sent.check = func(policy.Permit) { t.Error("sent without knowing that it was recorded") }
					next := func(r *http.Request) {
						h.before.Store(nil)
						h.ledger.FailCommits(1, policytest.CommitLost)
					}
					h.before.Store(&next)
				})
			}
			_, _ = s.Advance(context.Background(), r.ID)
			h.sent.check = nil
			require.Equal(t, policy.StepStarted, h.get(r.ID).Steps[1].State)
			h.pass(h.service(), time.Hour)
			got := h.get(r.ID)
			if acted {
				assert.Equal(t, policy.StateFailed, got.State)
				assert.Contains(t, got.Why, "2 of 4 deleted, 2 not touched")
				assert.Equal(t, 2, h.fake.Sent(vpsfake.Delete))
			} else {
				assert.Equal(t, policy.StateUncertain, got.State, "nobody can know")
				assert.Equal(t, 1, h.fake.Sent(vpsfake.Delete))
			}
			assert.NotEmpty(t, h.left(ids))
			h.sound()
		})
	}
}

func TestTheClockRunsOutBetweenTwoDeletes(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	r, _ := h.prune(s, 3)
	h.between(1, func() { h.fake.Inject(vpsfake.Fault{Name: vpsfake.Error500, Method: http.MethodGet}) })
	h.pass(s, 5*time.Minute)
	require.Equal(t, policy.StateRunning, h.get(r.ID).State, "reads that fail leave it as it is")
	h.pass(s, 6*time.Minute)
	h.fake.Heal()
	h.pass(s, time.Minute)
	got := h.get(r.ID)
	assert.Equal(t, policy.StateFailed, got.State)
	assert.Contains(t, got.Why, "1 of 3 deleted, 2 not touched; it stopped before snapshot 803: its next step could not start by")
	assert.Equal(t, 1, h.fake.Sent(vpsfake.Delete))
	h.sound()
}

func TestWithdrawingAPrune(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	r, ids := h.prune(s, 3)
	_, err := s.Cancel(context.Background(), r.ID, agent)
	require.NoError(t, err, "before the first delete")
	h.pass(s, time.Minute)
	assert.Len(t, h.left(ids), 3)

	r = h.file(s, agent, "prune_snapshots", pruned)
	h.approve(s, r, ada)
	h.between(1, func() {
		for _, who := range []policy.Actor{agent, ada} {
			_, err := s.Cancel(context.Background(), r.ID, who)
			says(t, err, policy.Conflict, "has started")
		}
	})
	h.work(s)
	assert.Equal(t, policy.StateDone, h.get(r.ID).State)
	h.sound()
}

func TestADeniedPruneHoldsAgainstProgramsHoweverItIsAsked(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	h.old(4)
	r := h.file(s, agent, "prune_snapshots", pruned)
	_, err := s.Deny(context.Background(), r.ID, yes(r, ada))
	require.NoError(t, err)
	for _, who := range []policy.Actor{agent, other} {
		for _, args := range []string{
			pruned, `"server":"12345","keep":3,"reason":"x"`, `"server":"12345","keep":1,"older_than":"7d","reason":"x"`,
			`"server":"12345","keep":1,"include_foreign":true,"reason":"x"`,
		} {
			_, err = call(s, who, "prune_snapshots", args)
			says(t, err, policy.Forbidden, r.ID)
		}
	}
	one := fmt.Sprintf(`"server":"12345","snapshot_id":%d,"reason":"x"`, r.Plan.Targets[1].ID)
	_, err = call(s, agent, "delete_snapshot", one)
	says(t, err, policy.Forbidden, r.ID)
	h.file(s, agent, "delete_snapshot", delete801) // was not among them
	// Nor where others would go by now.
	for _, id := range targets(r) {
		h.fake.DeleteSnapshotBehindTheBack(id)
	}
	h.old(3)
	_, err = call(s, agent, "prune_snapshots", `"server":"12345","keep":3,"reason":"x"`)
	says(t, err, policy.Forbidden, "exactly this", r.ID)
	h.file(s, anyone, "prune_snapshots", pruned) // a person may
	h.clock.Advance(10*time.Minute + time.Second)
	h.file(s, agent, "prune_snapshots", pruned)
	h.sound()
}

func TestWhatWasDeniedAloneIsNotPrunedAmongOthers(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	ids := h.old(3)
	r := h.file(s, agent, "delete_snapshot", fmt.Sprintf(`"server":"12345","snapshot_id":%d,"reason":"x"`, ids[1]))
	_, err := s.Deny(context.Background(), r.ID, yes(r, ada))
	require.NoError(t, err)
	_, err = call(s, other, "prune_snapshots", pruned)
	says(t, err, policy.Forbidden, "a person denied to delete something of this", r.ID)
	h.clock.Advance(10*time.Minute + time.Second)
	h.file(s, agent, "prune_snapshots", pruned)
	h.sound()
}

func TestAPruneThatIsAskedAgain(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	h.old(3)
	r := h.file(s, agent, "prune_snapshots", pruned)
	again := h.file(s, agent, "prune_snapshots", `"server":"12345","keep":2,"include_foreign":false,"reason":"other words"`)
	assert.Equal(t, r.ID, again.ID)
	h.old(1)
	assert.Equal(t, r.ID, h.file(s, agent, "prune_snapshots", pruned).ID, "another candidate does not make it another wish")
	assert.NotEqual(t, r.ID, h.file(s, agent, "prune_snapshots", `"server":"12345","keep":1,"reason":"x"`).ID)
	assert.NotEqual(t, r.ID, h.file(s, other, "prune_snapshots", pruned).ID)

	// Even where there is nothing left to plan.
	h.approve(s, r, ada)
	h.fake.Inject(vpsfake.Fault{Name: vpsfake.Reset, Method: http.MethodDelete, Times: 1})
	h.work(s)
	for _, p := range r.Plan.Targets {
		h.fake.DeleteSnapshotBehindTheBack(p.ID)
	}
	assert.Equal(t, r.ID, h.file(s, agent, "prune_snapshots", pruned).ID)
}

func TestTwoPrunesRace(t *testing.T) {
	h := newHouse(t)
	a, b := h.service(), h.service()
	ids := h.old(3)
	x := h.file(a, agent, "prune_snapshots", pruned)
	y := h.file(a, other, "prune_snapshots", `"server":"12345","keep":1,"include_foreign":true,"reason":"x"`)
	require.Len(t, y.Plan.Targets, 4)
	h.approve(a, x, ada)
	h.approve(a, y, ada)
	meet(h, "/backups/", 2) // both have read the same world
	var both sync.WaitGroup
	both.Go(func() { _, _ = a.Advance(context.Background(), x.ID) })
	both.Go(func() { _, _ = b.Advance(context.Background(), y.ID) })
	both.Wait()
	h.before.Store(nil)
	h.pass(a, 5*time.Minute)
	ends := map[policy.State]int{h.get(x.ID).State: 1}
	ends[h.get(y.ID).State]++
	assert.Equal(t, map[policy.State]int{policy.StateDone: 1, policy.StateStale: 1}, ends, "one runs whole, the other not at all")
	assert.Empty(t, h.left(ids))
	assert.True(t, h.fake.HasSnapshot(801))
	h.sound()
}

func TestADeleteOfOneOfThemRaces(t *testing.T) {
	h := newHouse(t)
	a, b := h.service(), h.service()
	ids := h.old(3)
	x := h.file(a, agent, "prune_snapshots", pruned)
	y := h.file(a, agent, "delete_snapshot", fmt.Sprintf(`"server":"12345","snapshot_id":%d,"reason":"x"`, ids[1]))
	h.approve(a, x, ada)
	h.approve(a, y, ada)
	meet(h, "/backups/", 2)
	var both sync.WaitGroup
	both.Go(func() { _, _ = a.Advance(context.Background(), x.ID) })
	both.Go(func() { _, _ = b.Advance(context.Background(), y.ID) })
	both.Wait()
	h.before.Store(nil)
	h.pass(a, 5*time.Minute)
	ends := map[policy.State]int{h.get(x.ID).State: 1}
	ends[h.get(y.ID).State]++
	assert.Equal(t, map[policy.State]int{policy.StateDone: 1, policy.StateStale: 1}, ends)
	for _, m := range h.fake.Mutations() {
		assert.True(t, m.Acted, "none was sent for what was gone: %s", m.Path)
	}
	h.sound()
}

func TestNothingElseStartsWhileAPruneRuns(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	r, _ := h.prune(s, 3)
	var filed []policy.Request
	h.between(1, func() {
		h.sent.after = nil
		filed = append(filed,
			h.file(h.service(), other, "create_backup", `"server":"12345","description":"x"`),
			h.file(h.service(), other, "delete_snapshot", delete798),
		)
		h.approve(s, filed[1], ada)
		for _, f := range filed {
			_, err := h.service().Advance(context.Background(), f.ID)
			require.NoError(t, err)
			assert.Equal(t, policy.StateApproved, h.get(f.ID).State)
			st, err := s.Show(context.Background(), f.ID)
			require.NoError(t, err)
			assert.Equal(t, []string{r.ID}, st.WaitsFor)
		}
	})
	h.work(s)
	require.Len(t, filed, 2)
	assert.Equal(t, policy.StateDone, h.get(r.ID).State, h.get(r.ID).Why)
	h.pass(s, 6*time.Minute)
	for _, f := range filed {
		assert.Equal(t, policy.StateDone, h.get(f.ID).State, h.get(f.ID).Why)
	}
	h.sound()
}

func TestAPruneWaitsForEverything(t *testing.T) {
	for name, begin := range map[string]func(h *house, s *policy.Service) policy.Request{
		"a create": func(h *house, s *policy.Service) policy.Request {
			return h.file(s, other, "create_snapshot", `"server":"12345","name":"new"`)
		},
		"a restore": func(h *house, s *policy.Service) policy.Request {
			r := h.file(s, other, "restore_backup", `"server":"12345","backup_id":501,"reason":"x","safety_copy":false`)
			h.approve(s, r, ada)
			h.work(s)
			return r
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			s := h.service()
			h.old(2)
			r := h.file(s, agent, "prune_snapshots", pruned)
			o := begin(h, s)
			require.Equal(t, policy.StateRunning, h.get(o.ID).State)
			h.pass(s, time.Second)
			if name == "a restore" { // the approval is for data that is overwritten by now
				assert.Equal(t, policy.StateStale, h.get(r.ID).State)
				_, err := call(s, agent, "prune_snapshots", pruned)
				says(t, err, policy.Conflict, "is being restored")
				return
			}
			h.approve(s, r, ada)
			h.pass(s, 3*time.Minute)
			assert.Equal(t, policy.StateApproved, h.get(r.ID).State)
			assert.Zero(t, h.destroyed())
			_, err := call(s, other, "prune_snapshots", pruned)
			says(t, err, policy.Conflict, "still being made")
			h.pass(s, 3*time.Minute)
			assert.Equal(t, policy.StateDone, h.get(o.ID).State)
			assert.Equal(t, policy.StateDone, h.get(r.ID).State, h.get(r.ID).Why)
			h.sound()
		})
	}
}

// TestCreatesDoNotPushInBeforeAnApprovedPrune: a program that makes one after the other would
// have it expire.
func TestCreatesDoNotPushInBeforeAnApprovedPrune(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	h.old(2)
	r := h.file(s, agent, "prune_snapshots", pruned)
	running := h.file(s, other, "create_backup", `"server":"12345","description":"first"`)
	h.approve(s, r, ada)
	h.pass(s, time.Minute)
	late := h.file(s, other, "create_backup", `"server":"12345","description":"second"`)
	assert.Equal(t, policy.StateApproved, late.State)
	st, err := s.Show(context.Background(), late.ID)
	require.NoError(t, err)
	assert.Contains(t, st.WaitsFor, r.ID)
	h.pass(s, 6*time.Minute)
	assert.Equal(t, policy.StateDone, h.get(running.ID).State)
	assert.Equal(t, policy.StateDone, h.get(r.ID).State, h.get(r.ID).Why)
	h.pass(s, 6*time.Minute)
	assert.Equal(t, policy.StateDone, h.get(late.ID).State)
	h.sound()
}

// TestWhatARuleDelaysKeepsNobodyFromCopying a server meanwhile, for hours.
func TestWhatARuleDelaysKeepsNobodyFromCopying(t *testing.T) {
	for op, args := range map[string]string{"prune_snapshots": pruned, "restore_snapshot": restore801 + noCopy} {
		h := newHouse(t)
		s := h.service(judge(policy.Conditions{Delay: time.Hour}))
		h.old(2)
		r := h.file(s, agent, op, args)
		h.approve(s, r, ada)
		h.pass(s, time.Minute)
		require.Equal(t, policy.StateApproved, h.get(r.ID).State, op)
		made := h.file(s, other, "create_backup", `"server":"12345","description":"before that"`)
		assert.Equal(t, policy.StateRunning, made.State, op)
		h.pass(s, 54*time.Minute)
		assert.Equal(t, policy.StateDone, h.get(made.ID).State, op)
		h.pass(s, 20*time.Minute)
		assert.Equal(t, policy.StateDone, h.get(r.ID).State, h.get(r.ID).Why)
		h.sound()
	}
}

// A create whose answer was lost shows nowhere, and may still come.
func TestAPruneWaitsForWhatCannotBeSeen(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	h.old(2)
	r := h.file(s, agent, "prune_snapshots", pruned)
	h.fake.Inject(vpsfake.Fault{Name: vpsfake.Reset, Method: http.MethodPost, Times: 1})
	o := h.file(s, other, "create_backup", `"server":"12345","description":"x"`)
	require.Equal(t, policy.StateUncertain, o.State)
	h.approve(s, r, ada)
	h.pass(s, time.Minute)
	assert.Equal(t, policy.StateApproved, h.get(r.ID).State)
	st, err := s.Show(context.Background(), r.ID)
	require.NoError(t, err)
	assert.Equal(t, []string{o.ID}, st.WaitsFor)
	h.pass(s, 3*time.Minute)
	assert.Equal(t, policy.StateFailed, h.get(o.ID).State)
	assert.Equal(t, policy.StateDone, h.get(r.ID).State)
	h.sound()
}

func TestAnUncertainPruneDoesNotKeepAServerFromBeingCopied(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	r, _ := h.prune(s, 3)
	h.fake.Inject(vpsfake.Fault{Name: vpsfake.Reset, Method: http.MethodDelete, After: 1, Times: 1})
	h.work(s)
	require.Equal(t, policy.StateUncertain, h.get(r.ID).State)
	created := h.file(s, other, "create_backup", `"server":"12345","description":"x"`)
	assert.Equal(t, policy.StateRunning, created.State)
}

func TestNothingDeletesAnOpenRequestsPoint(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	ids := h.old(3)
	r := h.file(s, agent, "prune_snapshots", pruned)
	uses := h.file(s, other, "restore_snapshot", fmt.Sprintf(`"server":"12345","snapshot_id":%d,"reason":"x"`, ids[2]))
	h.approve(s, r, ada)
	h.pass(s, 5*time.Minute)
	assert.Equal(t, policy.StateApproved, h.get(r.ID).State)
	assert.Zero(t, h.destroyed())
	st, err := s.Show(context.Background(), r.ID)
	require.NoError(t, err)
	assert.Equal(t, []string{uses.ID}, st.WaitsFor)
	_, err = s.Cancel(context.Background(), uses.ID, other)
	require.NoError(t, err)
	h.pass(s, time.Minute)
	assert.Equal(t, policy.StateDone, h.get(r.ID).State)
	h.sound()
}

// perPoint is a rule book that asks by what a rule would see of one target.
func perPoint(h *house, of func(policy.Facts) policy.Conditions) *policy.Service {
	return h.service(func(c *policy.Config) {
		c.Judge = func(_ context.Context, f policy.Facts) (policy.Conditions, error) { return of(f), nil }
	})
}

func TestRulesJudgeEachOfAPrune(t *testing.T) {
	for name, c := range map[string]struct {
		of   func(policy.Facts) policy.Conditions
		says string // where it is refused
		held func(policy.Conditions) bool
	}{
		"a name that is to stay": {func(f policy.Facts) (c policy.Conditions) {
			if f.Plan.Target.Name == "old-1" {
				c.Refused = "keep it"
			}
			return c
		}, "snapshot 803: keep it", nil},
		"two people for the youngest": {func(f policy.Facts) (c policy.Conditions) {
			if f.Now.Sub(f.Plan.Target.CreatedAt) < 61*24*time.Hour {
				c.Approvals, c.Delay, c.Rules = 2, time.Minute, []string{"young"}
			}
			return c
		}, "", func(c policy.Conditions) bool {
			return c.Approvals == 2 && c.Delay == time.Minute && slices.Contains(c.Rules, "young")
		}},
		"a rule on the delete of one": {func(f policy.Facts) (c policy.Conditions) {
			if f.Operation.Name == "delete_snapshot" {
				c.Approvals = 3
			}
			return c
		}, "", func(c policy.Conditions) bool { return c.Approvals == 3 }},
		"a rule on the operation itself": {func(f policy.Facts) (c policy.Conditions) {
			if f.Operation.Verb == "prune" {
				c.NotRequester = true
			}
			return c
		}, "", func(c policy.Conditions) bool { return c.NotRequester }},
		"approvers who are not the same": {func(f policy.Facts) (c policy.Conditions) {
			c.Approvers, c.Rules = [][]string{{map[bool]string{true: "U1", false: "U2"}[f.Plan.Target.Name == "old-0"]}}, []string{"theirs"}
			return c
		}, "what the rules ask for different targets leaves too few people", nil},
		"fewer approvers for one than another takes": {func(f policy.Facts) (c policy.Conditions) {
			if f.Plan.Target.Name == "old-0" {
				c.Approvers = [][]string{{"U1"}}
			} else {
				c.Approvals = 2
			}
			return c
		}, "too few people", nil},
		"two at the terminal, where there may be anybody": {func(policy.Facts) policy.Conditions {
			return policy.Conditions{Approvals: 2, Approvers: [][]string{{policy.EntryTerminal}}}
		}, "", func(c policy.Conditions) bool { return c.Approvals == 2 }},
		"the terminal for one and somebody in Slack for another": {func(f policy.Facts) policy.Conditions {
			return policy.Conditions{Approvers: [][]string{{map[bool]string{true: "U1", false: policy.EntryTerminal}[f.Plan.Target.Name == "old-0"]}}}
		}, "too few people", nil},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			s := perPoint(h, func(f policy.Facts) policy.Conditions {
				assert.NotNil(t, f.Plan.Target)
				assert.Empty(t, f.Plan.Targets)
				return c.of(f)
			})
			h.old(3)
			r, err := call(s, agent, "prune_snapshots", pruned)
			if c.says != "" {
				says(t, err, policy.Forbidden, c.says)
				return
			}
			require.NoError(t, err)
			assert.True(t, c.held(r.Conditions), "%+v", r.Conditions)
		})
	}
}

// TestAPruneIsNeverHeldForLessThanEachOfItsDeletes: whatever rules ask of deleting one,
// or refuse, they ask of pruning it among others.
func TestAPruneIsNeverHeldForLessThanEachOfItsDeletes(t *testing.T) {
	entries := rapid.SampledFrom([]string{"U1", "U2", "S1", "S2", "terminal"})
	draw := rapid.Custom(func(t *rapid.T) policy.Conditions {
		c := policy.Conditions{
			Approvals: rapid.IntRange(0, 3).Draw(t, "people"), NotRequester: rapid.Bool().Draw(t, "other"),
			Delay:         time.Duration(rapid.IntRange(0, 2).Draw(t, "delay")) * time.Minute,
			ApproveWithin: time.Duration(rapid.IntRange(0, 2).Draw(t, "approve")) * time.Minute,
			StartWithin:   time.Duration(rapid.IntRange(0, 2).Draw(t, "start")) * time.Minute,
			Rules:         []string{rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "rule")},
		}
		if rapid.IntRange(0, 3).Draw(t, "listed") == 0 {
			c.Approvers = [][]string{rapid.SliceOfNDistinct(entries, 1, 4, rapid.ID).Draw(t, "list")}
		}
		if rapid.IntRange(0, 15).Draw(t, "refuses") == 0 {
			c.Refused = "no"
		}
		return c
	})
	held, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		h := newHouse(t)
		ids := h.old(rapid.IntRange(1, 4).Draw(t, "old"))
		asked := map[string]policy.Conditions{}
		for _, id := range ids {
			for _, op := range []string{"delete_snapshot", "prune_snapshots"} {
				asked[fmt.Sprint(op, id)] = draw.Draw(t, op)
			}
		}
		s := perPoint(h, func(f policy.Facts) policy.Conditions { return asked[fmt.Sprint(f.Operation.Name, f.Plan.Target.ID)] })
		foresee := func(op, args string) (policy.Conditions, error) {
			_, c, err := s.Foresee(context.Background(), policy.Call{Actor: agent, Operation: op, Arguments: json.RawMessage("{" + args + "}")})
			return c, err
		}
		whole, err := foresee("prune_snapshots", pruned)
		if err != nil {
			require.Equal(t, policy.Forbidden, policy.KindOf(err))
			refused++
			return
		}
		held++
		for _, id := range ids {
			one, err := foresee("delete_snapshot", fmt.Sprintf(`"server":"12345","snapshot_id":%d,"reason":"x"`, id))
			require.NoError(t, err, "what is refused alone is refused among others")
			require.Equal(t, whole, whole.Tightened(one), "deleting %d alone asks for nothing that the prune does not", id)
		}
	})
	t.Logf("%d held, %d refused", held, refused)
}

func TestARuleThatComesToBindOneOfAPrune(t *testing.T) {
	h := newHouse(t)
	strict := false
	s := perPoint(h, func(f policy.Facts) (c policy.Conditions) {
		if strict && f.Plan.Target.Name == "old-2" {
			c.Approvals = 2
		}
		return c
	})
	h.old(3)
	r := h.file(s, agent, "prune_snapshots", pruned)
	strict = true
	h.approve(s, r, ada)
	assert.Equal(t, policy.StateHeld, h.get(r.ID).State, "when it is decided")
	strict = false
	x := h.file(s, other, "prune_snapshots", pruned)
	h.approve(s, x, ada)
	strict = true
	h.pass(s, time.Minute)
	assert.Equal(t, policy.StateStale, h.get(x.ID).State, "and when it starts")
	assert.Zero(t, h.destroyed())
}

// What it has freed itself is no change: a rule on free slots sees those that were
// free when people agreed.
func TestAPruneDoesNotBringARuleOnItself(t *testing.T) {
	h := newHouse(t)
	s := perPoint(h, func(f policy.Facts) (c policy.Conditions) {
		if f.Plan.Known.FreeSnapshots > 0 {
			c.Approvals = 2
		}
		return c
	})
	r, _ := h.prune(s, 3)
	h.pass(s, time.Minute)
	assert.Equal(t, policy.StateDone, h.get(r.ID).State, h.get(r.ID).Why)
}

func TestBackupsArePrunedToo(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	for i := range 3 {
		h.fake.AddBackup(vpsfake.Point{ServerID: web, Description: "x " + ours, CreatedAt: policytest.Start.Add(-time.Duration(40+i) * 24 * time.Hour)})
	}
	r := h.file(s, agent, "prune_backups", `"server":"12345","keep":2,"older_than":"36h","reason":"x"`)
	require.Equal(t, []int64{504, 503}, targets(r), "499 and 502 are the newest two manual ones")
	h.approve(s, r, ada)
	h.work(s)
	assert.Equal(t, policy.StateDone, h.get(r.ID).State)
	assert.True(t, h.fake.HasBackup(501) && h.fake.HasBackup(495) && h.fake.HasBackup(499) && h.fake.HasBackup(502))
	h.sound()
}

func TestAPruneOfFifteen(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	ids := h.old(20)
	r := h.file(s, agent, "prune_snapshots", pruned)
	assert.Equal(t, ids[:15], targets(r))
	assert.True(t, holds(r.Plan.Warnings, "20 could go; these are the 15 oldest"), r.Plan.Warnings)
	h.approve(s, r, ada)
	h.work(s)
	assert.Equal(t, policy.StateDone, h.get(r.ID).State, "in one go")
	assert.Equal(t, 15, h.fake.Sent(vpsfake.Delete))
	h.sound()
}

func TestALateAnswerToADeleteOfAPruneIsNotTakenForTheNext(t *testing.T) {
	h := newHouse(t)
	slow, quick := h.service(), h.service()
	r, ids := h.prune(slow, 3)
	seen := 0
	h.sent.after = func(policy.Permit) {
		if seen++; seen != 1 {
			return
		}
		h.clock.Advance(62 * time.Second) // the lease is over
		h.pass(quick, time.Minute)
		require.Equal(t, policy.StateFailed, h.get(r.ID).State, "found gone, and nothing after it was sent")
	}
	_, err := slow.Advance(context.Background(), r.ID)
	require.NoError(t, err)
	got := h.get(r.ID)
	assert.Equal(t, policy.StateFailed, got.State)
	assert.Contains(t, got.Why, "1 of 3 deleted, 2 not touched")
	assert.Contains(t, h.events(r.ID), "operation.answered_late")
	assert.Len(t, h.left(ids), 2)
	h.sound()
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	return raw
}
