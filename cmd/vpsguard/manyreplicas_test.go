package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger/pgtest"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// onEach runs a test of several processes on each kind of database that they may share.
func onEach(t *testing.T, run func(*testing.T, *world)) {
	t.Helper()
	for name, use := range map[string]func(*testing.T, *world){
		"SQLite": func(*testing.T, *world) {},
		"PostgreSQL": func(t *testing.T, w *world) {
			w.env = append(w.env, "VPSGUARD_DATABASE="+pgtest.Database(t)) // the last one counts
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, fast())
			use(t, w)
			run(t, w)
		})
	}
}

// replicas starts some processes, and returns when they serve.
func (w *world) replicas(t *testing.T, n int) (all []*replica) {
	t.Helper()
	for range n {
		r := &replica{t: t, env: slices.Clone(w.env)}
		r.start()
		t.Cleanup(r.kill)
		all = append(all, r)
	}
	for _, r := range all {
		require.NotEmpty(t, r.address())
	}
	return all
}

// TestReplicasTakeAnyCall has one client call each of three in turn, in the session
// that the first has opened, or as one of those that have none.
func TestReplicasTakeAnyCall(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		replicas := w.replicas(t, 3)
		session := rawClient{}.greet(t, replicas[0].address())
		call := func(i int, name string, args map[string]any) toolAnswer {
			a, err := []rawClient{session, {}}[i%2].call(t.Context(), replicas[i%3].address(), name, args)
			if assert.NoError(t, err) && a.Error != nil {
				t.Errorf("%s: %+v", name, a.Error)
			}
			return a
		}
		restore := map[string]any{"server": "web-server-01", "snapshot_id": 801, "reason": "roll back"}
		var took []time.Duration
		// follows has one replica wait for a decision at another, and all of them asked
		// once it was made.
		follows := func(i int, id, state string, decide func()) {
			answered := make(chan time.Time, 1)
			go func() {
				a := call(i, "get_request", map[string]any{"request_id": id, "wait_seconds": 20})
				answered <- time.Now()
				assert.NotEqual(t, string(policy.StateHeld), a.Request.State)
			}()
			decide()
			decided := time.Now()
			for n := range 3 {
				a := call(n, "get_request", map[string]any{"request_id": id})
				assert.Contains(t, state, a.Request.State, "what was decided is known at once to whoever asks")
			}
			took = append(took, (<-answered).Sub(decided))
		}
		for i := range 12 {
			id := call(i, "restore_snapshot", restore).Request.ID
			assert.Equal(t, id, call(i+1, "restore_snapshot", restore).Request.ID, "a call that is sent again at another replica doubles nothing")
			follows(i+1, id, "cancelled", func() { call(i+2, "cancel_request", map[string]any{"request_id": id}) })
		}
		id := call(0, "restore_snapshot", restore).Request.ID
		service, _ := w.service(t)
		withPassphrase(t, service)
		follows(1, id, "approved running", func() { approve(t, service, id) })
		until(t, service, id, "it is done", in(policy.StateDone))
		t.Logf("another replica tells of a decision %s after it", spread(took))
	})
}

// TestAReplicaTakesTheFormOfADeadOne opens a form at one, and submits it at another.
func TestAReplicaTakesTheFormOfADeadOne(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		f := w.withSlack(t, slackfake.Options{})
		first := w.replicas(t, 1)[0]
		require.NoError(t, f.AwaitSockets(t.Context(), 2))
		id, card := asksFor(t, f, first.log)
		grace := f.User(slackfake.Grace)
		form := opens(t, f, first.log, grace, card)
		second := w.replicas(t, 1)[0]
		require.NoError(t, f.AwaitSockets(t.Context(), 4))
		first.kill()
		require.NoError(t, f.AwaitSockets(t.Context(), 2))
		out := grace.Submit(form, typed("web-server-01")).Wait()
		require.True(t, out.Acked, "%+v", out)
		require.Empty(t, out.Errors)
		service, _ := w.service(t)
		r := until(t, service, id, "it is done", in(policy.StateDone))
		assert.Len(t, r.Approvals, 1)
		assert.Equal(t, policy.Verified, r.Approvals[0].Assurance)
		watch(t, f, second.log, "its card says so", func() bool { return len(f.Thread(slackfake.Ops, card.TS)) == 2 })
		assert.Equal(t, "snapshot:801", w.fake.ServerData(12345))
	})
}

// two gives the services of two replicas with different settings on one ledger.
func (w *world) two(t *testing.T, one, other []string) (a, b *policy.Service) {
	t.Helper()
	env := w.env
	defer func() { w.env = env }()
	w.env = append(slices.Clone(env), one...)
	a, _ = w.service(t)
	_, err := a.Account(t.Context())
	require.NoError(t, err)
	w.env = append(slices.Clone(env), other...)
	b, _ = w.service(t)
	return a, b
}

// agree approves at the terminal of a replica, for somebody.
func agree(t *testing.T, s *policy.Service, id, who string) error {
	t.Helper()
	st, err := s.Show(t.Context(), id)
	require.NoError(t, err)
	_, err = s.Decide(t.Context(), id, policy.Verdict{
		By: atHost(who), Way: policy.WayTerminal, Digest: st.Request.Plan.Digest, Typed: st.Request.Plan.Server.Typed(), Secret: testPassphrase,
	})
	return err
}

// stays has a replica try to move a request on, in each way that it has, and checks
// that it stays as it is.
func stays(t *testing.T, w *world, s *policy.Service, id string, state policy.State) {
	t.Helper()
	_, _ = s.Advance(t.Context(), id)
	_, err := s.Sweep(t.Context())
	require.NoError(t, err)
	st, err := s.Show(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, state, st.Request.State, st.Request.Why)
	assert.Empty(t, w.fake.Mutations(), "nothing is sent")
}

func TestAReplicaOfAnotherAccountNeitherDecidesNorRuns(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		ours, theirs := w.two(t, nil, nil)
		withPassphrase(t, ours)
		w.fake.SetAccount("somebody@example.com") // behind the same address
		account, err := theirs.Account(t.Context())
		require.NoError(t, err)
		require.Equal(t, "somebody@example.com", account.Owner)
		id := hold(t, ours, "roll back")
		err = agree(t, theirs, id, "root")
		assert.Equal(t, policy.Forbidden, policy.KindOf(err))
		assert.ErrorContains(t, err, "belongs to another account")
		_, err = theirs.Deny(t.Context(), id, policy.Verdict{By: atHost("root"), Way: policy.WayTerminal})
		assert.ErrorContains(t, err, "belongs to another account")
		stays(t, w, theirs, id, policy.StateHeld)
		require.NoError(t, agree(t, ours, id, "root"))
		stays(t, w, theirs, id, policy.StateApproved)
		_, err = theirs.Cancel(t.Context(), id, atHost("root"))
		assert.ErrorContains(t, err, "belongs to another account")
		for range 2 { // the one that may takes it up, at the next look
			_, err = ours.Advance(t.Context(), id)
			require.NoError(t, err)
		}
		assert.Equal(t, 1, w.fake.Sent(vpsfake.Create))
	})
}

func TestAReplicaWithAWeakerConfirmLowersNothing(t *testing.T) {
	t.Parallel()
	slack := []string{
		"VPSGUARD_SLACK_BOT_TOKEN=xoxb-1", "VPSGUARD_SLACK_APP_TOKEN=xapp-1", "VPSGUARD_SLACK_CHANNEL=C1", "VPSGUARD_SLACK_APPROVERS=U2",
	}
	t.Run("what was to be confirmed in Slack is not confirmed at a terminal", func(t *testing.T) {
		t.Parallel()
		onEach(t, func(t *testing.T, w *world) {
			strict, weak := w.two(t, append(slices.Clone(slack), "VPSGUARD_CONFIRM=slack"), []string{"VPSGUARD_CONFIRM=terminal"})
			withPassphrase(t, weak)
			id := hold(t, strict, "roll back")
			err := agree(t, weak, id, "root")
			assert.Equal(t, policy.Forbidden, policy.KindOf(err))
			assert.ErrorContains(t, err, "was filed to be confirmed by an approver in Slack, not this way")
			stays(t, w, weak, id, policy.StateHeld)
		})
	})
	t.Run("what was confirmed at a terminal does not start where that does not count", func(t *testing.T) {
		t.Parallel()
		onEach(t, func(t *testing.T, w *world) {
			weak, strict := w.two(t, []string{"VPSGUARD_CONFIRM=terminal"}, append(slices.Clone(slack), "VPSGUARD_CONFIRM=slack"))
			withPassphrase(t, weak)
			id := hold(t, weak, "roll back")
			assert.Equal(t, policy.Forbidden, policy.KindOf(agree(t, strict, id, "root")), "that way does not count there")
			require.NoError(t, agree(t, weak, id, "root"))
			stays(t, w, strict, id, policy.StateApproved)
		})
	})
}

func TestAReplicaWithOlderRulesLowersNothing(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		file := filepath.Join(t.TempDir(), "rules.yaml")
		require.NoError(t, os.WriteFile(file, []byte(`version: 1
rules:
  - name: two people
    when: operation.effect == "overwrite"
    hold: {approvals: 2}
`), 0o600))
		now, old := w.two(t, []string{"VPSGUARD_POLICY_FILE=" + file}, nil)
		withPassphrase(t, now)

		id := hold(t, now, "filed where two are asked for")
		require.NoError(t, agree(t, old, id, "ada"))
		stays(t, w, old, id, policy.StateHeld)
		assert.Equal(t, policy.Conflict, policy.KindOf(agree(t, old, id, "ada")), "nobody counts twice")
		_, err := now.Cancel(t.Context(), id, atHost("ada"))
		require.NoError(t, err)

		id = hold(t, old, "filed where one is enough, decided where two are asked for")
		require.NoError(t, agree(t, now, id, "ada"))
		stays(t, w, old, id, policy.StateHeld)
		_, err = now.Cancel(t.Context(), id, atHost("ada"))
		require.NoError(t, err)

		id = hold(t, old, "filed and decided where one is enough, started where two are asked for")
		require.NoError(t, agree(t, old, id, "ada"))
		stays(t, w, now, id, policy.StateStale)
	})
}
