package policy_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
)

func TestARestoreFromTheCallToTheUndo(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	r := h.file(s, agent, "restore_snapshot", restore801)

	require.Equal(t, policy.StateHeld, r.State)
	assert.Equal(t, policy.CopySnapshot, r.Plan.SafetyCopy)
	assert.Contains(t, r.Plan.Losses[0], "everything written to web-server-01 since 2025-01-15 18:30 UTC, 2 days 4 hours ago")
	assert.True(t, holds(r.Plan.Notes, "newer recovery points that exist (1): backup 501"), r.Plan.Notes)
	assert.True(t, holds(r.Plan.Warnings, "not the newest good recovery point"), r.Plan.Warnings)
	assert.True(t, holds(r.Plan.Warnings, "crash-consistent"), r.Plan.Warnings)
	h.pass(s, time.Minute)
	require.Empty(t, h.fake.Mutations(), "nothing is sent before a person agreed")

	h.approve(s, r, ada)
	h.work(s)
	assert.Equal(t, 1, h.fake.Sent(vpsfake.Create), "the safety copy comes first")
	assert.Zero(t, h.destroyed(), "and it must be complete before the overwrite")
	h.pass(s, 5*time.Minute)
	assert.Equal(t, 1, h.fake.Count(vpsfake.Overwrite))
	assert.Equal(t, policy.StateRunning, h.get(r.ID).State)
	h.pass(s, 10*time.Minute)

	done := h.get(r.ID)
	require.Equal(t, policy.StateDone, done.State, done.Why)
	require.NotNil(t, done.Undo)
	assert.Equal(t, int64(802), done.Undo.ID)
	assert.Equal(t, []string{
		"request.held", "request.approved", "operation.started", "operation.accepted", "operation.observed", "operation.copied",
		"operation.started", "operation.accepted", "operation.observed", "operation.done",
	}, h.events(r.ID))
	assert.Contains(t, h.fake.ServerData(web), "801")
	h.sound()
}

func TestTwoActorsFileTheSameRestoreAndOneRuns(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	first := h.file(s, agent, "restore_snapshot", restore801)
	second := h.file(s, other, "restore_snapshot", restore801)
	require.NotEqual(t, first.ID, second.ID)
	h.approve(s, first, ada)
	h.approve(s, second, ada)
	h.work(s)
	st, err := s.Show(context.Background(), second.ID)
	require.NoError(t, err)
	assert.Equal(t, []string{first.ID}, st.WaitsFor)
	h.pass(s, 20*time.Minute)
	assert.Equal(t, policy.StateDone, h.get(first.ID).State, h.get(first.ID).Why)
	assert.Equal(t, policy.StateStale, h.get(second.ID).State)
	assert.Contains(t, h.get(second.ID).Why, "overwritten by "+first.ID)
	assert.Equal(t, 1, h.fake.Sent(vpsfake.Overwrite))
	h.sound()
}

func TestWhatWaitsOnAServerThatIsOverwrittenIsStale(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	first := h.file(s, agent, "restore_snapshot", restore801)
	held := h.file(s, other, "restore_snapshot", restore801)
	h.approve(s, first, ada)
	h.pass(s, 5*time.Minute)
	require.Equal(t, 1, h.fake.Sent(vpsfake.Overwrite))
	got := h.get(held.ID)
	assert.Equal(t, policy.StateStale, got.State, "as soon as VPS.org has accepted the overwrite")
	_, err := s.Decide(context.Background(), held.ID, yes(held, ada))
	says(t, err, policy.Stale, "overwritten by "+first.ID)
	later := h.file(s, other, "restore_snapshot", `"server":"12345","snapshot_id":798,"reason":"x"`)
	h.pass(s, 15*time.Minute)
	assert.Equal(t, policy.StateHeld, h.get(later.ID).State, "what was planned after it is not")
	h.sound()
}

func TestTheVeryFirstRequestsOfALedgerOutdateNothing(t *testing.T) {
	h := newHouse(t)
	h.bare = true // so that nothing is recorded before they are planned
	s := h.service()
	first := h.file(s, agent, "restore_snapshot", restore801+`,"safety_copy":false`)
	h.file(s, other, "delete_snapshot", delete798)
	require.Zero(t, first.Planned)
	require.NoError(t, s.SetPassphrase(context.Background(), ada, "", passwords))
	h.approve(s, first, ada)
	h.pass(s, 10*time.Minute)
	assert.Equal(t, policy.StateDone, h.get(first.ID).State, h.get(first.ID).Why)
}

func TestAnOverwriteThatWasRefusedOutdatesNothing(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	first := h.file(s, agent, "restore_snapshot", restore801+`,"safety_copy":false`)
	second := h.file(s, other, "restore_snapshot", restore801+`,"safety_copy":false`)
	h.fake.Inject(vpsfake.Fault{Name: vpsfake.Conflict, Method: "POST", Times: 1})
	h.approve(s, first, ada)
	h.pass(s, time.Minute)
	require.Equal(t, policy.StateFailed, h.get(first.ID).State)
	h.approve(s, second, ada)
	h.pass(s, 10*time.Minute)
	assert.Equal(t, policy.StateDone, h.get(second.ID).State)
	h.sound()
}

func TestTwoDeletesThatWouldTakeTheLastTwoPoints(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	for _, id := range []int64{501, 499, 495} {
		h.fake.DeleteBackupBehindTheBack(id)
	}
	a := h.file(s, agent, "delete_snapshot", delete801)
	b := h.file(s, agent, "delete_snapshot", delete798)
	require.False(t, a.Plan.LastGood)
	require.False(t, b.Plan.LastGood)
	h.approve(s, a, ada)
	h.approve(s, b, ada)
	h.pass(s, time.Minute)
	assert.Equal(t, policy.StateDone, h.get(a.ID).State)
	assert.Equal(t, policy.StateStale, h.get(b.ID).State)
	assert.Contains(t, h.get(b.ID).Why, "last good recovery point")
	assert.Equal(t, 1, h.fake.Sent(vpsfake.Delete))

	again := h.file(s, agent, "delete_snapshot", delete798)
	assert.True(t, again.Plan.LastGood)
	assert.True(t, holds(again.Plan.Losses, "LAST good recovery point"))
	h.sound()
}

func TestTheNameOfASafetyCopyCannotBeTaken(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	for _, name := range []string{"pre-restore-7f3k9c", "PRE-RESTORE-x"} {
		_, err := call(s, agent, "create_snapshot", fmt.Sprintf(`"server":"12345","name":%q`, name))
		says(t, err, policy.Invalid, "safety copies")
	}
	r := h.file(s, agent, "restore_snapshot", restore801)
	// Somebody makes one of that very name at VPS.org itself.
	planted := h.fake.AddSnapshot(vpsfake.Point{ServerID: web, Name: "pre-restore-" + r.ID[3:], Status: "completed"})
	h.approve(s, r, ada)
	h.pass(s, 20*time.Minute)
	done := h.get(r.ID)
	require.Equal(t, policy.StateDone, done.State, done.Why)
	assert.NotEqual(t, planted, done.Undo.ID, "the copy is known by the id in the answer")
	h.sound()
}

func TestOnlyTheSameAccountDecidesAndRuns(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	r := h.file(s, agent, "restore_snapshot", restore801)
	for name, change := range map[string]func(*policy.Config){
		"a process with another account": func(c *policy.Config) {
			c.Account = func(context.Context) (policy.Account, error) {
				return policy.Account{URL: h.url, Owner: "else@example.test"}, nil
			}
		},
		"a read-only process": func(c *policy.Config) { c.ReadOnly = true },
	} {
		t.Run(name, func(t *testing.T) {
			foreign := h.service(change)
			_, err := foreign.Decide(context.Background(), r.ID, yes(r, ada))
			says(t, err, policy.Forbidden)
			_, err = foreign.Deny(context.Background(), r.ID, yes(r, ada))
			says(t, err, policy.Forbidden)
			_, err = foreign.Cancel(context.Background(), r.ID, ada)
			says(t, err, policy.Forbidden)
			_, err = foreign.Advance(context.Background(), r.ID)
			says(t, err, policy.Forbidden)
			assert.Equal(t, policy.StateHeld, h.get(r.ID).State)
		})
	}
	h.approve(s, r, ada)
	foreign := h.service(func(c *policy.Config) { c.ReadOnly = true })
	_, err := foreign.Advance(context.Background(), r.ID)
	says(t, err, policy.Forbidden)
	assert.Empty(t, h.fake.Mutations())
	_, err = call(foreign, agent, "create_snapshot", `"server":"12345","name":"x"`)
	says(t, err, policy.Forbidden, "read-only")
	for _, d := range foreign.Catalogue() {
		assert.Equal(t, policy.Read, d.Effect, d.Name)
	}
}

func TestWhatMakesAnApprovedRequestStale(t *testing.T) {
	for name, change := range map[string]func(*house){
		"the server was renamed":            func(h *house) { h.fake.RenameServer(web, "web-server-02") },
		"the snapshot is gone":              func(h *house) { h.fake.DeleteSnapshotBehindTheBack(801) },
		"the snapshot's status changed":     func(h *house) { h.fake.SetSnapshotStatus(801, "error") },
		"another server took the name":      func(h *house) { h.fake.AddServer(777, "web-server-01") },
		"the server is gone":                func(h *house) { h.fake.RemoveServer(web) },
		"the slots for its copy are filled": func(h *house) { fill(h, 3) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			s := h.service()
			r := h.file(s, agent, "restore_snapshot", restore801)
			h.approve(s, r, ada)
			change(h)
			h.pass(s, time.Minute)
			got := h.get(r.ID)
			assert.Equal(t, policy.StateStale, got.State)
			assert.NotEmpty(t, got.Why)
			assert.Empty(t, h.fake.Mutations())
			h.sound()
		})
	}
}

func fill(h *house, n int) {
	for i := range n {
		h.fake.AddSnapshot(vpsfake.Point{ServerID: web, Name: fmt.Sprint("fill-", i), Status: "completed"})
	}
}

func TestTheWorldMovesBetweenTheCopyAndTheOverwrite(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	r := h.file(s, agent, "restore_snapshot", restore801)
	h.approve(s, r, ada)
	h.work(s)
	h.fake.SetSnapshotStatus(801, "error")
	h.pass(s, 6*time.Minute)
	got := h.get(r.ID)
	assert.Equal(t, policy.StateStale, got.State)
	assert.Contains(t, got.Why, "its safety copy")
	assert.Zero(t, h.destroyed())
	h.sound()
}

func TestBothClocks(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	r := h.file(s, agent, "restore_snapshot", restore801)
	h.clock.Advance(30 * time.Minute)
	_, err := s.Decide(context.Background(), r.ID, yes(r, ada))
	says(t, err, policy.Expired, "nobody confirmed it")
	assert.Equal(t, policy.StateExpired, h.get(r.ID).State, "the deadline counts before anybody records it")

	r = h.file(s, agent, "restore_snapshot", restore801)
	h.approve(s, r, ada)
	h.fake.Inject(vpsfake.Fault{Name: vpsfake.Error500, Method: "GET", Times: 100000})
	h.pass(s, 9*time.Minute)
	assert.Equal(t, policy.StateApproved, h.get(r.ID).State, "reads that fail leave it approved")
	h.pass(s, 2*time.Minute)
	h.fake.Heal()
	h.pass(s, 2*time.Minute)
	assert.Equal(t, policy.StateExpired, h.get(r.ID).State)
	assert.Empty(t, h.fake.Mutations())
	h.sound()
}

func TestADenialEndsItAndHoldsAgainstPrograms(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	r := h.file(s, agent, "restore_snapshot", restore801)
	v := yes(r, ada)
	v.Note = "not during the sale"
	_, err := s.Deny(context.Background(), r.ID, v)
	require.NoError(t, err)
	assert.Equal(t, policy.StateDenied, h.get(r.ID).State)
	assert.Contains(t, h.get(r.ID).Why, "not during the sale")
	_, err = s.Decide(context.Background(), r.ID, yes(r, ada))
	says(t, err, policy.Conflict, "denied")

	for _, who := range []policy.Actor{agent, other} {
		_, err = call(s, who, "restore_snapshot", restore801)
		says(t, err, policy.Forbidden, r.ID)
		_, err = call(s, who, "restore_snapshot", restore801+`,"safety_copy":false`)
		says(t, err, policy.Forbidden, r.ID)
	}
	message := anyone
	message.ByMessage = true
	_, err = call(s, message, "restore_snapshot", restore801)
	says(t, err, policy.Forbidden, r.ID)              // a message may be a program's
	h.file(s, anyone, "restore_snapshot", restore801) // a person may
	h.clock.Advance(10*time.Minute + time.Second)
	h.file(s, agent, "restore_snapshot", restore801)
	h.sound()
}

func TestACallThatIsSentAgainDoublesNothing(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	a := h.file(s, agent, "restore_snapshot", restore801)
	b := h.file(s, agent, "restore_snapshot", `"server":"12345","snapshot_id":801,"reason":"other words"`)
	assert.Equal(t, a.ID, b.ID, "the reason and the way the server is named do not count")
	c := h.file(s, agent, "restore_snapshot", restore801+`,"safety_copy":false`)
	assert.NotEqual(t, a.ID, c.ID)

	const create = `"server":"web-server-01","name":"before"`
	x := h.file(s, agent, "create_snapshot", create)
	y := h.file(s, agent, "create_snapshot", create)
	assert.Equal(t, x.ID, y.ID)
	assert.Equal(t, 1, h.fake.Sent(vpsfake.Create))
	h.pass(s, 5*time.Minute)
	require.Equal(t, policy.StateDone, h.get(x.ID).State)
	h.sound()
}

func TestLimitsOnWhatWaits(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	for i := range 30 {
		id := h.fake.AddBackup(vpsfake.Point{ServerID: web, Type: "automatic", Status: "completed"})
		_, err := call(s, agent, "delete_backup", fmt.Sprintf(`"server":"12345","backup_id":%d,"reason":"x"`, id))
		if i < 5 {
			require.NoError(t, err)
		} else {
			says(t, err, policy.Conflict, "5 of your requests")
		}
		_, err = call(s, anyone, "delete_backup", fmt.Sprintf(`"server":"12345","backup_id":%d,"reason":"x"`, id))
		if i < 25 {
			require.NoError(t, err)
		} else {
			says(t, err, policy.Conflict, "25 of your requests")
		}
	}
	h.clock.Advance(31 * time.Minute)
	h.file(s, agent, "restore_snapshot", restore801) // what expired does not count
}

func TestSafetyCopies(t *testing.T) {
	t.Run("a copy that fails ends the request, and nothing is overwritten", func(t *testing.T) {
		h := newHouse(t)
		s := h.service()
		r := h.file(s, agent, "restore_snapshot", restore801)
		h.fake.Inject(vpsfake.Fault{Name: vpsfake.CreateSticks, Method: "POST", Times: 1})
		h.approve(s, r, ada)
		h.pass(s, 35*time.Minute)
		got := h.get(r.ID)
		assert.Equal(t, policy.StateFailed, got.State)
		assert.Contains(t, got.Why, "nothing was overwritten")
		assert.Zero(t, h.destroyed())
		h.sound()
	})
	t.Run("a copy that vanishes is an outcome of its own", func(t *testing.T) {
		h := newHouse(t)
		s := h.service()
		r := h.file(s, agent, "restore_snapshot", restore801)
		h.fake.Inject(vpsfake.Fault{Name: vpsfake.CreateVanishes, Method: "POST", Times: 1})
		h.approve(s, r, ada)
		h.pass(s, 6*time.Minute)
		assert.Equal(t, policy.StateFailed, h.get(r.ID).State)
		assert.Contains(t, h.get(r.ID).Why, "vanished")
		assert.Zero(t, h.destroyed())
	})
	t.Run("full snapshot slots make it a backup", func(t *testing.T) {
		h := newHouse(t)
		s := h.service()
		fill(h, 3)
		r := h.file(s, agent, "restore_snapshot", restore801)
		assert.Equal(t, policy.CopyBackup, r.Plan.SafetyCopy)
		h.approve(s, r, ada)
		h.pass(s, 20*time.Minute)
		done := h.get(r.ID)
		require.Equal(t, policy.StateDone, done.State, done.Why)
		assert.Equal(t, "backup", done.Undo.Kind)
	})
	t.Run("a full server says so at planning, and there is a way without", func(t *testing.T) {
		h := newHouse(t)
		s := h.service()
		fill(h, 3)
		for range 9 {
			h.fake.AddBackup(vpsfake.Point{ServerID: web, Type: "manual", Status: "completed"})
		}
		_, err := call(s, agent, "restore_snapshot", restore801)
		says(t, err, policy.Conflict, "no slot for a safety copy", "without a safety copy")
		r := h.file(s, agent, "restore_snapshot", restore801+`,"safety_copy":false`)
		assert.True(t, holds(r.Plan.Losses, "NO WAY BACK"))
		h.approve(s, r, ada)
		h.pass(s, 10*time.Minute)
		assert.Equal(t, policy.StateDone, h.get(r.ID).State)
		assert.Nil(t, h.get(r.ID).Undo)
	})
	t.Run("an undo that is gone is not offered", func(t *testing.T) {
		h := newHouse(t)
		s := h.service()
		r := h.file(s, agent, "restore_snapshot", restore801)
		h.approve(s, r, ada)
		h.pass(s, 6*time.Minute)
		h.fake.DeleteSnapshotBehindTheBack(802)
		h.pass(s, 10*time.Minute)
		done := h.get(r.ID)
		assert.Equal(t, policy.StateDone, done.State)
		assert.Nil(t, done.Undo)
		assert.Contains(t, done.Why, "no undo")
	})
}
