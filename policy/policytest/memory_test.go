package policytest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/policytest"
)

func TestMemoryIsALedger(t *testing.T) {
	policytest.Ledger(t, func(_ *testing.T, now func() time.Time) policytest.Subject {
		m := policytest.NewMemory(now)
		return policytest.Subject{
			Open:    func(*testing.T) policy.Ledger { return m },
			Records: func(*testing.T) []policy.Record { return m.Records() },
			Nudges:  func(*testing.T) int { return len(m.Nudges()) },
			Told:    func(*testing.T) int { return len(m.Told()) },
		}
	})
}

func file(t *testing.T, m *policytest.Memory, id string) error {
	t.Helper()
	return m.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
		r, err := tx.Put(ctx, policytest.Request(id), policy.RecordBody{Event: policy.EventHeld})
		if err != nil {
			return err
		}
		return tx.Nudge(ctx, r, r.DueAt)
	})
}

func TestMemoryFailsInPairs(t *testing.T) {
	m := policytest.NewMemory(policytest.NewClock().Now)
	m.FailNextCommit()
	m.FailCommits(1, policytest.CommitLost)
	require.NoError(t, m.Change(t.Context(), func(context.Context, policy.Tx) error { return nil }), "there is nothing to commit")
	for _, c := range []struct {
		id     string
		stored bool
	}{{"rq_222222", false}, {"rq_333333", true}} {
		assert.Equal(t, policy.Unavailable, policy.KindOf(file(t, m, c.id)), "to the caller both look alike")
		_, err := m.Request(t.Context(), c.id)
		assert.Equal(t, c.stored, err == nil, c.id)
	}
	require.NoError(t, file(t, m, "rq_444444"), "then it works again")
	m.FailCommits(9, policytest.CommitFailed)
	m.Heal()
	require.NoError(t, file(t, m, "rq_555555"))
}

func TestMemoryHandsOutNudgesInOrder(t *testing.T) {
	m := policytest.NewMemory(policytest.NewClock().Now)
	require.NoError(t, m.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
		for i, id := range []string{"c", "a", "b", "a", "d"} {
			at := policytest.Start.Add([]time.Duration{3, 1, 2, 3, 4}[i] * time.Minute)
			if err := tx.Nudge(ctx, policytest.Request(id), at); err != nil {
				return err
			}
		}
		return nil
	}))
	assert.Empty(t, m.TakeDue(policytest.Start))
	assert.Equal(t, []string{"a", "b", "c"}, m.TakeDue(policytest.Start.Add(3*time.Minute)))
	assert.Empty(t, m.TakeDue(policytest.Start.Add(3*time.Minute)))
	assert.Equal(t, []string{"d"}, m.TakeDue(policytest.Start.Add(time.Hour)))
}

func TestMemoryGivesAtMostAThousandRequests(t *testing.T) {
	m := policytest.NewMemory(policytest.NewClock().Now)
	for i := range 1001 {
		require.NoError(t, file(t, m, fmt.Sprintf("rq_%06d", i)))
	}
	for _, limit := range []int{0, 5000} {
		found, total, err := m.Requests(t.Context(), policy.Filter{Limit: limit})
		require.NoError(t, err)
		assert.Len(t, found, 1000)
		assert.Equal(t, 1001, total)
	}
}

func TestMemoryFailsToKeepNotes(t *testing.T) {
	m := policytest.NewMemory(policytest.NewClock().Now)
	put := func(n policy.Note) error { _, err := m.PutNote(t.Context(), n); return err }
	n := policy.Note{Scope: "scope", Key: "key"}
	for _, c := range []struct {
		fault policytest.Fault
		do    func() error
		rev   int64 // that is stored afterwards
	}{
		{policytest.CommitFailed, func() error { return put(n) }, 0},
		{policytest.CommitLost, func() error { return put(n) }, 1},
		{policytest.CommitFailed, func() error { n.Rev = 1; return m.DropNote(t.Context(), n) }, 1},
		{policytest.CommitLost, func() error { return m.DropNote(t.Context(), n) }, 0},
	} {
		m.FailCommits(1, c.fault)
		assert.Equal(t, policy.Unavailable, policy.KindOf(c.do()), "to the caller both look alike")
		stored, _ := m.Note(t.Context(), "scope", "key")
		assert.Equal(t, c.rev, stored.Rev)
	}
}

func TestMemoryHandsOutWhatDoorsAreTold(t *testing.T) {
	m := policytest.NewMemory(policytest.NewClock().Now)
	tell := func(ids ...string) error {
		return m.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
			for _, id := range ids {
				if err := tx.Tell(ctx, policytest.Request(id)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	m.FailNextCommit()
	require.Error(t, tell("a"), "it is a commit like any other")
	require.NoError(t, tell("b", "a", "b"))
	require.NoError(t, tell("b", "c"))
	assert.Len(t, m.Told(), 4, "once for each request and change")
	assert.Equal(t, policytest.Nudge{ID: "b", Account: policytest.Account, At: policytest.Start}, m.Told()[0])
	assert.Equal(t, []string{"b", "a", "c"}, m.TakeTold())
	assert.Empty(t, m.TakeTold())
}
