package rules_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
)

func because(reason string) func(*policy.Facts) {
	return func(f *policy.Facts) { f.Reason = reason }
}

func aged(d time.Duration) func(*policy.Facts) {
	return func(f *policy.Facts) { f.Plan.Target.CreatedAt = f.Now.Add(-d) }
}

func bare(f *policy.Facts) { f.Plan.SafetyCopy = policy.NoCopy }

func backups(f *policy.Facts) { doing("delete_backup", policy.Delete)(f) }

// TestExamples plays a day with each of the three files.
func TestExamples(t *testing.T) {
	type row struct {
		name    string
		facts   policy.Facts
		rules   []string
		refused string
	}
	// 21 November 2026 is a Saturday; the 23rd a Monday.
	monday, evening := at("2026-11-23T11:00:00Z"), at("2026-11-23T18:30:00Z")
	for file, rows := range map[string][]row{
		"small-team.yaml": {
			{"any restore with a way back", restore(on("blog-01")), nil, ""},
			{"a restore without one", restore(on("blog-01"), bare), []string{"restores keep a way back"}, ""},
			{"the shop", restore(on("shop-01")), []string{"the shop takes a second person"}, ""},
			{"an old snapshot", restore(deleting), []string{wait}, ""},
			{"the last good one", restore(deleting, lastGood), []string{lastCopy, wait}, ""},
			{"an agent's snapshot", restore(creating, agent), nil, ""},
			{"an agent's last snapshot", restore(creating, agent, free(1)), []string{slots}, ""},
		},
		"agency.yaml": {
			{"a restore for acme", restore(on("acme-web-01"), monday), []string{"acme is for the acme team"}, ""},
			{"acme's database", restore(on("acme-db-02"), monday), []string{"acme is for the acme team", "databases take two people and keep a way back"}, ""},
			{"in the evening", restore(on("acme-web-01"), evening), []string{"acme is for the acme team", "outside office hours the on-call group decides"}, ""},
			{"on a Saturday", restore(on("initech-web-01")), []string{"outside office hours the on-call group decides"}, ""},
			{"an agent on staging", restore(on("staging-web-01"), creating, agent, monday), nil, ""},
			{"an agent elsewhere", restore(on("initech-web-01"), creating, agent, monday), []string{"agents ask before anything on client servers"}, ""},
			{"after the handover", restore(on("globex-web-01"), creating, at("2027-03-01T09:00:00Z")), []string{"globex is for the globex team", "globex is frozen until the handover"}, `the rule "globex is frozen until the handover" refuses this: Globex is being handed over. Ask Mina in #globex-handover.`},
		},
		"regulated.yaml": {
			{"a snapshot", restore(creating, agent), nil, ""},
			{"a restore", restore(because("CHG004711: rollback")), []string{"OPS-1 four eyes", "OPS-4 no restore without a way back"}, ""},
			{"a restore for no reason", restore(), []string{"OPS-1 four eyes", "OPS-4 no restore without a way back", "OPS-5 change number"}, `the rule "OPS-5 change number" refuses this: The reason has to name an approved change, such as CHG004711.`},
			{"an agent's restore", restore(agent, because("CHG004711")), []string{"OPS-1 four eyes", "OPS-4 no restore without a way back", "OPS-7 agents"}, `the rule "OPS-7 agents" refuses this: Agents do not restore or delete here. Ask a person of the change group to.`},
			{"a young backup", restore(backups, aged(89*24*time.Hour), because("CHG004711")), []string{"OPS-1 four eyes", "OPS-3 retention"}, `the rule "OPS-3 retention" refuses this: Backups are kept for 90 days. Exceptions are in the retention policy, section 4.`},
			{"an old backup", restore(backups, aged(90*24*time.Hour), because("CHG004711")), []string{"OPS-1 four eyes"}, ""},
			{"at Christmas", restore(creating, at("2026-12-24T12:00:00Z")), []string{"OPS-6 year end freeze"}, `the rule "OPS-6 year end freeze" refuses this: Year end freeze until 3 January. The Head of Operations decides on exceptions.`},
		},
	} {
		r := parsed(t, filepath.Join("examples", file))
		seen := map[string]bool{}
		for _, row := range rows {
			c := r.Judge(row.facts)
			assert.Equal(t, row.rules, c.Rules, "%s: %s", file, row.name)
			assert.Equal(t, row.refused, c.Refused, "%s: %s", file, row.name)
			for _, name := range c.Rules {
				seen[name] = true
			}
		}
		for _, name := range r.Names() {
			assert.True(t, seen[name] || name == "OPS-2 the last good copy", "%s: nothing shows the rule %q", file, name)
		}
	}
	c := parsed(t, "examples/regulated.yaml").Judge(restore(deleting, lastGood, because("CHG004711")))
	require.Empty(t, c.Refused)
	assert.Equal(t, [][]string{{"U03OPS00001", "U03SEC00001"}, {"S03CHANGE01", "terminal"}}, c.Approvers)
	c = parsed(t, "examples/agency.yaml").Judge(restore(on("acme-web-01")))
	assert.Equal(t, [][]string{{"S02ACME0001"}, {"S02ONCALL03", "terminal"}}, c.Approvers)
}
