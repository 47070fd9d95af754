package tools_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/vpsguard/vpsguard/policy"
)

func TestACallerIsToldWhenToComeBack(t *testing.T) {
	wait := time.Duration(0)
	h := build(t, func(s *setup) {
		s.tools.Wait = func(a policy.Actor) time.Duration {
			assert.Equal(t, "mcp:agent", a.Key())
			return wait
		}
	})
	d := h.http(t)
	assert.False(t, d.call("list_servers", `{}`).failed)
	wait = 1100 * time.Millisecond
	got := d.call("restore_snapshot", restore)
	assert.True(t, got.failed)
	assert.Contains(t, got.text, "you call too often; try again in 2 s")
	assert.Equal(t, "conflict", got.at("error", "kind"))
	wait = 0
	assert.Contains(t, d.call("list_requests", `{}`).raw, `"total":0`, "nothing was filed")
}
