package rules_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/rules"
)

// everybody is who could approve: Slack users with their groups, and the terminal.
var everybody = func() (out [][]string) {
	for _, user := range []string{"U01", "U02", "U03", "W04"} {
		for _, groups := range [][]string{nil, {"S01"}, {"S02"}, {"S01", "S02"}} {
			out = append(out, append([]string{user}, groups...))
		}
	}
	return append(out, []string{"terminal"})
}()

// may tells whether somebody is on every list.
func may(c policy.Conditions, who []string) bool {
	for _, list := range c.Approvers {
		if !slices.ContainsFunc(who, func(id string) bool { return slices.Contains(list, id) }) {
			return false
		}
	}
	return true
}

// weaker says in which field a asks for less than b; "" where in none.
func weaker(a, b policy.Conditions) string {
	longer := func(a, b time.Duration) bool { return b != 0 && (a == 0 || a > b) }
	switch {
	case a.Approvals < b.Approvals:
		return "approvals"
	case a.Delay < b.Delay:
		return "delay"
	case longer(a.ApproveWithin, b.ApproveWithin):
		return "approve_within"
	case longer(a.StartWithin, b.StartWithin):
		return "start_within"
	case b.NotRequester && !a.NotRequester:
		return "not_requester"
	case b.SafetyCopy && !a.SafetyCopy:
		return "safety_copy"
	case b.Refused != "" && a.Refused == "":
		return "refused"
	case len(b.Rules) > len(a.Rules) || !slices.Equal(b.Rules, a.Rules[:len(b.Rules)]):
		return "rules"
	}
	for _, who := range everybody {
		if may(a, who) && !may(b, who) {
			return fmt.Sprintf("approvers: %v", who)
		}
	}
	return ""
}

// aCondition draws a condition that type-checks; some fail while running.
func aCondition(t *rapid.T, depth int) string {
	if depth > 0 && rapid.Bool().Draw(t, "joined") {
		op := rapid.SampledFrom([]string{"&&", "||"}).Draw(t, "op")
		return fmt.Sprintf("(%s %s %s)", aCondition(t, depth-1), op, aCondition(t, depth-1))
	}
	text := rapid.SampledFrom([]string{"server.name", "operation.name", "actor.subject", "target.status", "request.reason", "server.location"})
	number := rapid.SampledFrom([]string{"server.id", "target.size_mb", "server.free_snapshot_slots", "target.id"})
	word := rapid.SampledFrom([]string{"prod-", "web", "a", "", "restore_snapshot", "U07"})
	cmp := rapid.SampledFrom([]string{"<", "<=", "==", "!=", ">", ">="})
	switch rapid.IntRange(0, 7).Draw(t, "sort") {
	case 0:
		return fmt.Sprintf("%s.startsWith(%q)", text.Draw(t, "text"), word.Draw(t, "word"))
	case 1:
		return fmt.Sprintf("%s %s %d", number.Draw(t, "number"), cmp.Draw(t, "cmp"), rapid.IntRange(-1, 5).Draw(t, "n"))
	case 2:
		return fmt.Sprintf("!%s.contains(%q)", text.Draw(t, "text"), word.Draw(t, "word"))
	case 3:
		return fmt.Sprintf("operation.effect %s %q", rapid.SampledFrom([]string{"==", "!="}).Draw(t, "cmp"), rapid.SampledFrom([]string{"read", "create", "overwrite", "delete"}).Draw(t, "effect"))
	case 4:
		return fmt.Sprintf("target.age %s duration(%q)", cmp.Draw(t, "cmp"), rapid.SampledFrom([]string{"0s", "50h", "720h"}).Draw(t, "age"))
	case 5:
		return fmt.Sprintf("now %s timestamp(%q)", cmp.Draw(t, "cmp"), rapid.SampledFrom([]string{"2026-11-21T12:00:00Z", "2027-01-01T00:00:00Z"}).Draw(t, "at"))
	case 6:
		return rapid.SampledFrom([]string{"target.newest", "target.last_recovery_point", "request.safety_copy", "has(target.expires_at)", "true", "false"}).Draw(t, "flag")
	default:
		return fmt.Sprintf("100 / %s > 1", number.Draw(t, "number"))
	}
}

// anOutcome draws what follows, so that it is valid.
func anOutcome(t *rapid.T) string {
	if rapid.IntRange(0, 9).Draw(t, "denies") == 0 {
		return "deny: " + rapid.SampledFrom([]string{"No.", "Ask in #ops.", `"Not: now"`}).Draw(t, "sentence")
	}
	var keys []string
	add := func(label, format string, g *rapid.Generator[string]) {
		if rapid.Bool().Draw(t, label) {
			keys = append(keys, fmt.Sprintf(format, g.Draw(t, label)))
		}
	}
	if rapid.Bool().Draw(t, "approvers") {
		ids := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"U01", "U02", "U03", "W04", "S01", "S02", "terminal"}), 1, 4, rapid.ID).Draw(t, "ids")
		keys = append(keys, "approvers: ["+strings.Join(ids, ", ")+"]")
	} else {
		add("approvals", "approvals: %s", rapid.SampledFrom([]string{"1", "2", "3", "10"}))
	}
	add("delay", "delay: %s", rapid.SampledFrom([]string{"1s", "10m", "24h"}))
	add("approve", "approve_within: %s", rapid.SampledFrom([]string{"1m", "30m", "24h"}))
	add("start", "start_within: %s", rapid.SampledFrom([]string{"1m", "10m", "24h"}))
	add("requester", "not_requester: %s", rapid.Just("true"))
	add("copy", "safety_copy: %s", rapid.Just("required"))
	return "hold: {" + strings.Join(keys, ", ") + "}"
}

// aFile draws a valid file as its head and its rules.
func aFile(t *rapid.T) (head string, list []string) {
	head = "version: 1\n"
	if rapid.Bool().Draw(t, "people") {
		head += "people:\n  - {name: Ada, slack: [U01, U02], terminal: ada}\n  - {name: Grace, slack: U07}\n"
	}
	for i := range rapid.IntRange(1, 6).Draw(t, "rules") {
		list = append(list, fmt.Sprintf("  - name: rule %d\n    when: |\n      %s\n    %s\n", i, aCondition(t, 2), anOutcome(t)))
	}
	return head, list
}

func theFacts(t *rapid.T) policy.Facts {
	what := rapid.SampledFrom([]func(*policy.Facts){
		func(*policy.Facts) {}, deleting, creating, doing("delete_backup", policy.Delete), func(f *policy.Facts) { deleting(f); lastGood(f) },
	}).Draw(t, "what")
	f := restore(what)
	f.Actor.Subject = "T01:" + rapid.SampledFrom([]string{"U01", "U02", "U07"}).Draw(t, "who")
	if rapid.Bool().Draw(t, "agent") {
		agent(&f)
	}
	f.Plan.Server.Name = rapid.SampledFrom([]string{"prod-web-01", "web", "a"}).Draw(t, "server")
	f.Plan.Server.ID = rapid.Int64Range(-1, 5).Draw(t, "id")
	f.Plan.Known.FreeSnapshots = rapid.Int64Range(0, 5).Draw(t, "free")
	f.Plan.Known.Newest = rapid.Bool().Draw(t, "newest")
	f.Now = rapid.SampledFrom([]time.Time{noon, noon.AddDate(0, 2, 0), {}}).Draw(t, "now")
	return f
}

// TestRulesOnlyTighten: no valid file makes a decision weaker than none, nor than
// itself without its last rule.
func TestRulesOnlyTighten(t *testing.T) {
	matched, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		head, list := aFile(t)
		facts := theFacts(t)
		judged := func(list []string) policy.Conditions {
			text := head
			if len(list) > 0 {
				text += "rules:\n" + strings.Join(list, "")
			}
			r, err := rules.Parse("f.yaml", []byte(text))
			if err != nil { // people may make a list too short for what it takes
				t.Skip(err.Error())
			}
			return r.Judge(facts)
		}
		whole, less := judged(list), judged(list[:len(list)-1])
		assert.Empty(t, weaker(whole, policy.Conditions{}), "than nothing")
		assert.Empty(t, weaker(whole, less), "than without the last rule: %+v, %+v", whole, less)
		assert.GreaterOrEqual(t, whole.Approvals, min(len(whole.Approvers), 1), "a list takes somebody who is on it")
		if len(whole.Rules) > 0 {
			matched++
		}
		if whole.Refused != "" {
			refused++
		}
	})
	t.Logf("%d files matched, %d refused", matched, refused)
}

// TestReadsAreNeverJudged: no file hides anything.
func TestReadsAreNeverJudged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		head, list := aFile(t)
		r, err := rules.Parse("f.yaml", []byte(head+"rules:\n"+strings.Join(list, "")))
		if err != nil {
			t.Skip(err.Error())
		}
		f := theFacts(t)
		reading(&f)
		assert.Equal(t, policy.Conditions{Hash: r.Hash()}, r.Judge(f))
	})
}

// FuzzParse looks for panics, errors without a place and files that do not judge.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/wrong/*.yaml", "examples/*.yaml", "testdata/*.yaml"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := rules.Parse("f.yaml", raw)
		if err != nil {
			assert.Equal(t, policy.Invalid, policy.KindOf(err))
			assert.Regexp(t, position, err.Error())
			assert.NotContains(t, err.Error(), "\n")
			return
		}
		for _, facts := range []policy.Facts{restore(), restore(deleting, lastGood), restore(creating, agent), {}} {
			c := r.Judge(facts)
			assert.Empty(t, weaker(c, policy.Conditions{}))
			assert.Len(t, r.Explain(facts), len(r.Names()))
		}
	})
}
