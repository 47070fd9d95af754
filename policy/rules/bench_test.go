package rules_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy/rules"
)

// hundred is a file of 100 rules such as people write, a third of which match.
func hundred() []byte {
	conditions := []string{
		`operation.effect == "overwrite" && server.name.startsWith("prod-")`,
		`operation.effect == "delete" && target.last_recovery_point`,
		`operation.effect != "read" && now >= timestamp("2026-12-20T00:00:00Z") && now < timestamp("2027-01-03T00:00:00Z")`,
		`actor.door == "mcp" && operation.name == "create_snapshot" && server.free_snapshot_slots <= 1`,
		`operation.effect in ["overwrite", "delete"] && (target.age > duration("720h") || target.size_mb > 100000)`,
	}
	var b strings.Builder
	b.WriteString("version: 1\nrules:\n")
	for i := range 100 {
		fmt.Fprintf(&b, "  - name: rule %d\n    when: %s\n    hold: {approvals: 2, approvers: [S0123ABCD, U01], delay: 10m}\n", i, conditions[i%len(conditions)])
	}
	return []byte(b.String())
}

// BenchmarkDecision is held to 100 µs by issue 3, "The operator's rules".
func BenchmarkDecision(b *testing.B) {
	r, err := rules.Parse("hundred.yaml", hundred())
	require.NoError(b, err)
	f := restore()
	b.ReportAllocs()
	for b.Loop() {
		r.Judge(f)
	}
}

func BenchmarkParse(b *testing.B) {
	raw := hundred()
	for b.Loop() {
		_, err := rules.Parse("hundred.yaml", raw)
		require.NoError(b, err)
	}
}
