//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
)

// newPrune has a prune held that is to delete three snapshots, one after the other.
func newPrune(t *testing.T) *scene {
	t.Helper()
	s := setScene(t)
	for i := range 2 {
		s.fake.AddSnapshot(vpsfake.Point{ServerID: 12345, Name: fmt.Sprint("old-", i), CreatedAt: vpsfake.DocumentationTime.Add(-time.Duration(i+1) * 9000 * time.Hour)})
	}
	out, err := s.service.Call(t.Context(), policy.Call{
		Actor: overStdio("claude-code"), Operation: "prune_snapshots",
		Arguments: json.RawMessage(`{"server":"web-server-01","keep":1,"include_foreign":true,"reason":"room"}`),
	})
	require.NoError(t, err)
	r := out.Standing.Request
	require.Equal(t, policy.StateHeld, r.State)
	require.Len(t, r.Steps, 3)
	s.id = r.ID
	return s
}

// nth tells the nth delete from others.
func nth(n int64) func(vpsfake.Mutation) bool {
	var seen atomic.Int64
	return func(m vpsfake.Mutation) bool { return m.Effect == vpsfake.Delete && seen.Add(1) == n }
}

// pruned checks what has to hold however often a process was killed: nothing was sent
// twice, nothing but the targets, each after its record; and how many are gone.
func (s *scene) pruned(r policy.Request, sent, gone int) {
	s.t.Helper()
	times := map[string]int{}
	for _, m := range s.fake.Mutations() {
		require.Equal(s.t, vpsfake.Delete, m.Effect)
		times[path.Base(m.Path)]++
	}
	for id, n := range times {
		assert.Equal(s.t, 1, n, "snapshot %s is deleted once", id)
	}
	assert.Len(s.t, times, sent)
	left := 0
	for _, target := range r.Plan.Targets {
		delete(times, fmt.Sprint(target.ID))
		if s.fake.HasSnapshot(target.ID) {
			left++
		}
	}
	assert.Empty(s.t, times, "nothing but the targets")
	assert.Equal(s.t, gone, len(r.Plan.Targets)-left)
	assert.True(s.t, s.fake.HasSnapshot(801), "what is kept stays")
	s.recorded(r, sent)
}

func TestKilledBetweenTheStepsOfAPrune(t *testing.T) {
	t.Parallel()
	for name, story := range map[string]func(*scene){
		"when the first was deleted, before the second was begun": func(s *scene) {
			s.reads.set(func(vpsfake.Mutation) { // the reads before the next step
				if st, err := s.service.Show(s.t.Context(), s.id); err == nil && st.Request.Steps[0].State == policy.StepDone {
					s.kill()
				}
			})
			s.begin()
			s.dead()
			r := s.until("", in(policy.StateRunning))
			assert.Equal(s.t, policy.StepWaiting, r.Steps[1].State)
			s.pruned(r, 1, 1)
			s.run()
			s.pruned(s.until("it goes on", in(policy.StateDone)), 3, 3)
		},
		"when the second had left and was lost": func(s *scene) {
			s.arrived.set(s.killOn(nth(2), true))
			s.begin()
			s.dead()
			s.run()
			r := s.until("nobody knows", in(policy.StateUncertain))
			s.pruned(r, 2, 1)
			s.settles("failed")
			r = s.until("it is settled", in(policy.StateFailed))
			assert.Contains(s.t, r.Why, "1 of 3 deleted, "+fmt.Sprintf("snapshot %d", r.Plan.Targets[1].ID)+" was not, 1 not touched")
			s.pruned(r, 2, 1)
		},
		"when the second was deleted and its answer was not there yet": func(s *scene) {
			s.answered.set(s.killOn(nth(2), false))
			s.begin()
			s.dead()
			s.run()
			r := s.until("it ends", in(policy.StateFailed))
			assert.Contains(s.t, r.Why, "2 of 3 deleted, 1 not touched", "after a lost answer nothing more is sent")
			s.pruned(r, 2, 2)
		},
		"when the last was deleted and its answer was not there yet": func(s *scene) {
			s.answered.set(s.killOn(nth(3), false))
			s.begin()
			s.dead()
			s.run()
			r := s.until("it is done", in(policy.StateDone))
			assert.Contains(s.t, r.Why, "all 3 were deleted")
			s.pruned(r, 3, 3)
		},
	} {
		t.Run(strings.ReplaceAll(name, "'", ""), func(t *testing.T) {
			t.Parallel()
			story(newPrune(t))
		})
	}
}
