package policy_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
)

const noCopy = `,"safety_copy":false`

func TestALostAnswerToARestore(t *testing.T) {
	for _, fault := range []string{vpsfake.Error500, vpsfake.Reset, vpsfake.CutJSON, vpsfake.HTML, vpsfake.Empty} {
		t.Run(fault+", but it happened: the restoring server proves it", func(t *testing.T) {
			h := newHouse(t)
			s := h.service()
			r := h.file(s, agent, "restore_snapshot", restore801+noCopy)
			h.fake.Inject(vpsfake.Fault{Name: fault + "-acted", Method: "POST", Times: 1})
			h.approve(s, r, ada)
			h.work(s)
			assert.Equal(t, policy.StateUncertain, h.get(r.ID).State)
			h.pass(s, 10*time.Minute)
			assert.Equal(t, policy.StateDone, h.get(r.ID).State)
			assert.Equal(t, 1, h.fake.Sent(vpsfake.Overwrite))
			h.sound()
		})
		t.Run(fault+", and it did not happen: absence proves nothing", func(t *testing.T) {
			h := newHouse(t)
			s := h.service()
			r := h.file(s, agent, "restore_snapshot", restore801+noCopy)
			h.fake.Inject(vpsfake.Fault{Name: fault, Method: "POST", Times: 1})
			h.approve(s, r, ada)
			h.pass(s, 3*time.Hour)
			assert.Equal(t, policy.StateUncertain, h.get(r.ID).State)
			assert.Equal(t, 1, h.fake.Sent(vpsfake.Overwrite))

			// It blocks the server until a person says what is so.
			next := h.file(s, other, "create_snapshot", `"server":"12345","name":"x"`)
			assert.Equal(t, policy.StateApproved, next.State)
			st, err := s.Show(context.Background(), next.ID)
			require.NoError(t, err)
			assert.Equal(t, []string{r.ID}, st.WaitsFor)

			_, err = s.Settle(context.Background(), r.ID, policy.Verdict{By: ada, Way: policy.WayTerminal, Secret: "wrong"}, policy.StateFailed)
			says(t, err, policy.Forbidden, "passphrase")
			_, err = s.Settle(context.Background(), r.ID, yes(r, ada), policy.StateStale)
			says(t, err, policy.Invalid)
			_, err = s.Settle(context.Background(), r.ID, yes(r, ada), policy.StateFailed)
			require.NoError(t, err)
			assert.Equal(t, policy.StateFailed, h.get(r.ID).State)
			h.work(s)
			assert.Equal(t, 1, h.fake.Sent(vpsfake.Overwrite), "settling sends nothing")
			h.sound()
		})
	}
}

// TestACreateWhosePointIsDeletedEndsAtOnce: people may delete what is still being made, such
// as a snapshot that sticks and takes a slot. Whoever waits for it is told.
func TestACreateWhosePointIsDeletedEndsAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		seen bool // that it was being made
		lost bool // the delete's answer, so that a person has to say
	}{
		"before anybody has seen it": {}, "that was seen": {seen: true}, "whose delete is settled": {lost: true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			s := h.service()
			made := h.file(s, agent, "create_snapshot", `"server":"web-server-01","name":"x"`)
			h.work(s)
			made = h.get(made.ID)
			require.Equal(t, policy.StepAccepted, made.Steps[0].State)
			id := made.Steps[0].PointID
			if c.seen {
				h.pass(s, 20*time.Second)
				require.True(t, h.get(made.ID).Steps[0].Seen)
			}
			other := h.file(s, agent, "create_backup", `"server":"web-server-01","description":"x"`)
			gone := h.file(s, agent, "delete_snapshot", fmt.Sprintf(`"server":"web-server-01","snapshot_id":%d,"reason":"it sticks"`, id))
			if c.lost {
				h.fake.Inject(vpsfake.Fault{Name: vpsfake.Error500, Method: "DELETE", Times: 1})
			}
			h.approve(s, gone, ada)
			_, err := s.Advance(context.Background(), gone.ID)
			require.NoError(t, err)
			if c.lost {
				require.Equal(t, policy.StateUncertain, h.get(gone.ID).State)
				assert.Equal(t, policy.StateRunning, h.get(made.ID).State, "nobody knows that it is gone")
				_, err = s.Settle(context.Background(), gone.ID, yes(gone, ada), policy.StateDone)
				require.NoError(t, err)
			}
			require.Equal(t, policy.StateDone, h.get(gone.ID).State, h.get(gone.ID).Why)
			got := h.get(made.ID)
			assert.Equal(t, policy.StateFailed, got.State)
			assert.Equal(t, fmt.Sprintf("snapshot %d was deleted by %s before it was complete", id, gone.ID), got.Why)
			assert.True(t, h.get(other.ID).State.Open(), "others go on")
			h.pass(s, 6*time.Minute)
			assert.Equal(t, policy.StateDone, h.get(other.ID).State, h.get(other.ID).Why)
			assert.Equal(t, 2, h.fake.Sent(vpsfake.Create), "nothing is made again")
			h.sound()
		})
	}
}

// TestTheTerminalSettlesWhateverConfirms: to say what is so agrees to nothing. It takes the
// passphrase, and no other way has it.
func TestTheTerminalSettlesWhateverConfirms(t *testing.T) {
	for name, ways := range map[string][]policy.Way{
		"Slack alone": {policy.WaySlack}, "forms alone": {policy.WayElicitation}, "nothing": nil, "all": {policy.WaySlack, policy.WayTerminal, policy.WayElicitation},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			s := h.service()
			r := h.file(s, agent, "restore_snapshot", restore801+noCopy)
			h.fake.Inject(vpsfake.Fault{Name: vpsfake.Error500, Method: "POST", Times: 1})
			h.approve(s, r, ada)
			h.work(s)
			require.Equal(t, policy.StateUncertain, h.get(r.ID).State)

			s = h.service(func(c *policy.Config) {
				c.Ways = ways
				c.Vouch = func(context.Context, policy.Way, policy.Actor, [][]string) ([]string, error) { return nil, nil }
			})
			slack := yes(r, policy.Actor{Door: policy.DoorSlack, Subject: "slack:T1:U1", Name: "Grace"})
			slack.Way = policy.WaySlack
			wrong := yes(r, ada)
			wrong.Secret = "wrong"
			foreign := yes(r, agent)
			for says, v := range map[string]policy.Verdict{
				"the passphrase is wrong": wrong, "that way of deciding does not count here": slack, "that way of deciding": foreign,
			} {
				_, err := s.Settle(context.Background(), r.ID, v, policy.StateFailed)
				require.ErrorContains(t, err, says)
				assert.Equal(t, policy.StateUncertain, h.get(r.ID).State)
			}
			got, err := s.Settle(context.Background(), r.ID, yes(r, ada), policy.StateFailed)
			require.NoError(t, err)
			assert.Equal(t, policy.StateFailed, got.State)
			assert.Len(t, got.Approvals, 1, "it is no approval")
			h.sound()
			if ways == nil || slices.Contains(ways, policy.WayTerminal) {
				return
			}
			held := h.file(s, agent, "delete_snapshot", delete801)
			_, err = s.Decide(context.Background(), held.ID, yes(held, ada))
			says(t, err, policy.Forbidden, "that way of deciding does not count here")
		})
	}
}

func TestALostAnswerToADelete(t *testing.T) {
	for fault, want := range map[string]policy.State{
		vpsfake.Error500Acted: policy.StateDone, vpsfake.ResetActed: policy.StateDone,
		// It may still happen: that it was there a while ago proves nothing.
		vpsfake.Error500: policy.StateUncertain, vpsfake.Reset: policy.StateUncertain,
	} {
		t.Run(fault, func(t *testing.T) {
			h := newHouse(t)
			s := h.service()
			r := h.file(s, agent, "delete_snapshot", delete801)
			h.fake.Inject(vpsfake.Fault{Name: fault, Method: "DELETE", Times: 1})
			h.approve(s, r, ada)
			h.work(s)
			assert.Equal(t, policy.StateUncertain, h.get(r.ID).State)
			h.pass(s, 3*time.Minute)
			assert.Equal(t, want, h.get(r.ID).State, h.get(r.ID).Why)
			assert.Equal(t, 1, h.fake.Sent(vpsfake.Delete))
			if want == policy.StateUncertain {
				assert.Contains(t, h.get(r.ID).Steps[0].Note, "was still there", "whoever settles it is told")
			}
			h.sound()
		})
	}
}

func TestALostAnswerToACreate(t *testing.T) {
	for fault, want := range map[string]policy.State{
		vpsfake.Error500Acted: policy.StateDone, vpsfake.HTMLActed: policy.StateDone,
		vpsfake.Error500: policy.StateFailed, vpsfake.CutJSON: policy.StateFailed,
	} {
		t.Run(fault, func(t *testing.T) {
			h := newHouse(t)
			s := h.service()
			h.fake.Inject(vpsfake.Fault{Name: fault, Method: "POST", Times: 1})
			r := h.file(s, agent, "create_backup", `"server":"12345","description":"before"`)
			assert.Equal(t, policy.StateUncertain, r.State)
			h.pass(s, 6*time.Minute)
			got := h.get(r.ID)
			assert.Equal(t, want, got.State, got.Why)
			assert.Equal(t, 1, h.fake.Sent(vpsfake.Create))
			if want == policy.StateDone {
				assert.Equal(t, int64(502), got.Steps[0].PointID, "found by its mark")
			}
			h.sound()
		})
	}
}

func TestALostAnswerToASafetyCopy(t *testing.T) {
	t.Run("a copy that is found by its mark is gone on with", func(t *testing.T) {
		h := newHouse(t)
		s := h.service()
		r := h.file(s, agent, "restore_snapshot", restore801)
		h.fake.Inject(vpsfake.Fault{Name: vpsfake.ResetActed, Method: "POST", Times: 1})
		h.approve(s, r, ada)
		h.work(s)
		got := h.get(r.ID)
		assert.Equal(t, policy.StateRunning, got.State)
		assert.Equal(t, policy.StepUncertain, got.Steps[0].State)
		h.pass(s, 20*time.Minute)
		done := h.get(r.ID)
		require.Equal(t, policy.StateDone, done.State, done.Why)
		assert.Equal(t, int64(802), done.Undo.ID)
		assert.Equal(t, 1, h.fake.Sent(vpsfake.Create))
		h.sound()
	})
	t.Run("a copy of which there is no sign ends it", func(t *testing.T) {
		h := newHouse(t)
		s := h.service()
		r := h.file(s, agent, "restore_snapshot", restore801)
		h.fake.Inject(vpsfake.Fault{Name: vpsfake.Reset, Method: "POST", Times: 1})
		h.approve(s, r, ada)
		h.pass(s, 4*time.Minute)
		assert.Equal(t, policy.StateFailed, h.get(r.ID).State)
		assert.Zero(t, h.destroyed())
		h.sound()
	})
}

func TestARestoreThatIsAcceptedAndNeverSeen(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	r := h.file(s, agent, "restore_snapshot", restore801+noCopy)
	h.fake.Inject(vpsfake.Fault{Name: vpsfake.RestoreVanishes, Method: "POST", Times: 1})
	h.approve(s, r, ada)
	h.pass(s, 30*time.Minute)
	assert.Equal(t, policy.StateRunning, h.get(r.ID).State, "an answer that says restoring is not proof")
	h.pass(s, 40*time.Minute)
	assert.Equal(t, policy.StateUncertain, h.get(r.ID).State)
}

func TestATokenThatMayNotReadServers(t *testing.T) {
	h := newHouse(t)
	h.fake.DenyServers(true)
	s := h.service()
	r := h.file(s, agent, "restore_snapshot", restore801)
	assert.Equal(t, "12345", r.Plan.Server.Typed(), "names cannot be known to be unique")
	h.approve(s, r, ada)
	h.pass(s, 10*time.Minute)
	done := h.get(r.ID)
	assert.Equal(t, policy.StateDone, done.State)
	assert.Contains(t, done.Why, "not watched")
	h.sound()
}

func TestAWriteThatIsTurnedAwayFails(t *testing.T) {
	for fault, kind := range map[string]string{
		vpsfake.Forbidden: "may not", vpsfake.Conflict: "does not allow", vpsfake.NotFound: "no such", vpsfake.Unauthorized: "token",
	} {
		t.Run(fault, func(t *testing.T) {
			h := newHouse(t)
			s := h.service()
			r := h.file(s, agent, "restore_snapshot", restore801+noCopy)
			h.fake.Inject(vpsfake.Fault{Name: fault, Method: "POST", Times: 1})
			h.approve(s, r, ada)
			h.pass(s, time.Minute)
			got := h.get(r.ID)
			assert.Equal(t, policy.StateFailed, got.State)
			assert.Contains(t, got.Why, kind)
			assert.Equal(t, 1, h.fake.Sent(vpsfake.Overwrite))
		})
	}
}

// The record before the act is durable before the act: whatever goes wrong with
// a commit, nothing is sent that is not recorded.
func TestCommitsThatFail(t *testing.T) {
	t.Run("the start cannot be recorded: nothing is sent, and it is tried again", func(t *testing.T) {
		h := newHouse(t)
		s := h.service()
		r := h.file(s, agent, "delete_snapshot", delete801)
		h.approve(s, r, ada)
		h.ledger.FailNextCommit()
		_, err := s.Advance(context.Background(), r.ID)
		says(t, err, policy.Unavailable)
		assert.Empty(t, h.fake.Mutations())
		h.pass(s, time.Minute)
		assert.Equal(t, policy.StateDone, h.get(r.ID).State)
		h.sound()
	})
	t.Run("the process dies between the record and the call: it is never sent", func(t *testing.T) {
		h := newHouse(t)
		s := h.service()
		r := h.file(s, agent, "restore_snapshot", restore801+noCopy)
		h.approve(s, r, ada)
		lostCommit(h)
		_, err := s.Advance(context.Background(), r.ID)
		require.Error(t, err)
		h.pass(h.service(), 2*time.Hour)
		assert.Equal(t, policy.StateUncertain, h.get(r.ID).State, "nobody can know")
		assert.Zero(t, h.fake.Sent(vpsfake.Overwrite))
		h.sound()
	})
	t.Run("the answer cannot be recorded: reading finds out", func(t *testing.T) {
		h := newHouse(t)
		s := h.service()
		r := h.file(s, agent, "delete_snapshot", delete801)
		h.approve(s, r, ada)
		h.sent.check = func(policy.Permit) { h.ledger.FailCommits(3, 0) }
		_, _ = s.Advance(context.Background(), r.ID)
		assert.Equal(t, policy.StateRunning, h.get(r.ID).State)
		h.pass(h.service(), 3*time.Minute)
		assert.Equal(t, policy.StateDone, h.get(r.ID).State)
		assert.Equal(t, 1, h.fake.Sent(vpsfake.Delete))
		h.sound()
	})
}

func TestAProcessThatWasHeldUpSendsNothing(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	r := h.file(s, agent, "delete_snapshot", delete801)
	h.approve(s, r, ada)
	slow := &slowLedger{Memory: h.ledger, clock: h.clock}
	_, err := h.service(func(c *policy.Config) { c.Ledger = slow }).Advance(context.Background(), r.ID)
	require.NoError(t, err)
	assert.Empty(t, h.fake.Mutations())
	assert.Equal(t, policy.StateFailed, h.get(r.ID).State)
	assert.Contains(t, h.get(r.ID).Why, "held up")
}

func TestAPanicWhileSendingIsALostAnswer(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	r := h.file(s, agent, "restore_snapshot", restore801+noCopy)
	h.approve(s, r, ada)
	h.sent.check = func(policy.Permit) { panic("secret internals") }
	_, err := s.Advance(context.Background(), r.ID)
	require.NoError(t, err)
	assert.Equal(t, policy.StateUncertain, h.get(r.ID).State)
	assert.NotContains(t, h.get(r.ID).Why, "secret")
}
