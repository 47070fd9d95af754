package policy_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
)

const restore798 = `"server":"web-server-01","snapshot_id":798,"reason":"worse","safety_copy":false`

// of is a process that knows the account by an owner.
func (h *house) of(owner string, change ...func(*policy.Config)) *policy.Service {
	return h.service(append(change, func(c *policy.Config) {
		c.Account = func(context.Context) (policy.Account, error) { return policy.Account{URL: h.url, Owner: owner}, nil }
	})...)
}

// dies starts a restore that nobody hears of again, as its process dies.
func (h *house) dies(s *policy.Service) policy.Request {
	r := h.file(s, agent, "restore_snapshot", restore801+`,"safety_copy":false`)
	h.approve(s, r, ada)
	sent, never := make(chan struct{}), make(chan struct{})
	h.sent.check = func(policy.Permit) { h.sent.check = nil; close(sent); <-never }
	go func() { _, _ = s.Advance(context.Background(), r.ID) }()
	<-sent
	return r
}

// TestAnOwnersNewAddressFreesNothing: an account is known by its owner's e-mail address
// alone. What was begun under the old one holds up its server as before, and somebody
// at the terminal can end it.
func TestAnOwnersNewAddressFreesNothing(t *testing.T) {
	for name, now := range map[string]string{"another address": "new@example.test", "a token that may not read it": ""} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			r := h.dies(h.service())
			s := h.of(now)
			second := h.file(s, agent, "restore_snapshot", restore798)
			h.approve(s, second, ada)
			h.pass(s, 2*time.Minute)
			st, err := s.Show(context.Background(), second.ID)
			require.NoError(t, err)
			assert.Equal(t, []string{r.ID}, st.WaitsFor)
			assert.Equal(t, policy.StateApproved, st.Request.State)

			says(t, s.MaySettle(context.Background(), h.get(r.ID)), policy.Conflict, "running for another account", "when the time of its step is over")
			_, err = s.Settle(context.Background(), r.ID, yes(r, ada), policy.StateFailed)
			says(t, err, policy.Conflict, "running for another account")
			_, err = s.Cancel(context.Background(), r.ID, ada)
			says(t, err, policy.Forbidden, "belongs to another account", "the same account by another e-mail address", "settle")

			h.pass(s, 3*time.Hour)
			assert.Equal(t, policy.StateRunning, h.get(r.ID).State, "nobody else follows it")
			assert.Equal(t, policy.StateExpired, h.get(second.ID).State)
			require.NoError(t, s.MaySettle(context.Background(), h.get(r.ID)))
			settled, err := s.Settle(context.Background(), r.ID, yes(r, ada), policy.StateFailed)
			require.NoError(t, err)
			assert.Equal(t, policy.StateFailed, settled.State)
			assert.Equal(t, []string{"operation.lost", "request.settled"}, h.events(r.ID)[len(h.events(r.ID))-2:])

			third := h.file(s, agent, "restore_snapshot", restore798)
			h.approve(s, third, ada)
			h.pass(s, 10*time.Minute)
			assert.Equal(t, policy.StateDone, h.get(third.ID).State, h.get(third.ID).Why)
		})
	}
}

// TestWhatWasLeftBeforeItWasSentIsSettledAsFailed: nobody can say that it is done.
func TestWhatWasLeftBeforeItWasSentIsSettledAsFailed(t *testing.T) {
	h := newHouse(t)
	old := h.service()
	r := h.file(old, agent, "restore_snapshot", restore801)
	h.approve(old, r, ada)
	_, err := old.Advance(context.Background(), r.ID) // its safety copy is under way
	require.NoError(t, err)
	require.Equal(t, policy.StateRunning, h.get(r.ID).State)
	s := h.of("new@example.test")
	h.pass(s, 3*time.Hour)
	_, err = s.Settle(context.Background(), r.ID, yes(r, ada), policy.StateDone)
	says(t, err, policy.Conflict, "was never sent; it can only be settled as failed")
	assert.Equal(t, policy.StateRunning, h.get(r.ID).State)
	_, err = s.Settle(context.Background(), r.ID, yes(r, ada), policy.StateFailed)
	require.NoError(t, err)
	assert.Equal(t, policy.StateFailed, h.get(r.ID).State)
	assert.Zero(t, h.destroyed())
}

// TestAnotherApisServersAreOthers: ids mean nothing there.
func TestAnotherApisServersAreOthers(t *testing.T) {
	h := newHouse(t)
	r := h.dies(h.service())
	s := h.service(func(c *policy.Config) {
		c.Account = func(context.Context) (policy.Account, error) {
			return policy.Account{URL: "https://else.example.test/api", Owner: "ops@example.test"}, nil
		}
	})
	second := h.file(s, agent, "restore_snapshot", restore798)
	st, err := s.Show(context.Background(), second.ID)
	require.NoError(t, err)
	assert.Empty(t, st.Others)
	h.clock.Advance(3 * time.Hour)
	_, err = s.Settle(context.Background(), r.ID, yes(r, ada), policy.StateFailed)
	says(t, err, policy.Forbidden, "belongs to another account", "Use the API token of that account")
}
