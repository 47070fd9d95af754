package rules_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/rules"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// restore is the restore of a snapshot over a production server, from Slack.
func restore(changes ...func(*policy.Facts)) policy.Facts {
	size := int64(20480)
	f := policy.Facts{
		Operation: policy.Descriptor{Name: "restore_snapshot", Noun: "snapshot", Verb: "restore", Effect: policy.Overwrite},
		Actor:     policy.Actor{Door: policy.DoorSlack, Subject: "T01:U07", Name: "Grace"},
		Plan: policy.Plan{
			Server: policy.Server{ID: 12345, Name: "prod-web-01", Status: "running", Alone: true},
			Target: &policy.Point{
				Kind: "snapshot", ID: 801, Name: "before-upgrade", CreatedAt: noon.Add(-50 * time.Hour), SizeMB: &size, Status: "completed",
			},
			SafetyCopy: policy.CopySnapshot,
			Known:      policy.Known{Location: "fra1", FreeSnapshots: 3, FreeBackups: 7},
			Operation:  "restore_snapshot", Effect: policy.Overwrite,
		},
		Reason: "the upgrade broke it", Now: noon,
	}
	for _, change := range changes {
		change(&f)
	}
	return f
}

func doing(name string, effect policy.Effect) func(*policy.Facts) {
	return func(f *policy.Facts) {
		verb, noun, _ := strings.Cut(name, "_")
		f.Operation = policy.Descriptor{Name: name, Noun: noun, Verb: verb, Effect: effect}
		f.Plan.Operation, f.Plan.Effect = name, effect
		switch effect {
		case policy.Create, policy.Read:
			f.Plan.Target = nil
		default:
			f.Plan.Target.Kind = noun
		}
		if effect != policy.Overwrite {
			f.Plan.SafetyCopy = ""
		}
	}
}

var (
	deleting = doing("delete_snapshot", policy.Delete)
	creating = doing("create_snapshot", policy.Create)
	reading  = doing("list_snapshots", policy.Read)
)

func lastGood(f *policy.Facts) { f.Plan.LastGood = true }

func agent(f *policy.Facts) {
	f.Actor = policy.Actor{Door: policy.DoorMCP, Subject: "token:ci-agent", Name: "ci", Client: "ada"}
}

func on(server string) func(*policy.Facts) {
	return func(f *policy.Facts) { f.Plan.Server.Name = server }
}

func at(stamp string) func(*policy.Facts) {
	return func(f *policy.Facts) {
		now, err := time.Parse(time.RFC3339, stamp)
		if err != nil {
			panic(err)
		}
		f.Now = now
	}
}

func free(slots int64) func(*policy.Facts) {
	return func(f *policy.Facts) { f.Plan.Known.FreeSnapshots = slots }
}

func parsed(t testing.TB, file string) *rules.Rules {
	t.Helper()
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	r, err := rules.Parse(file, raw)
	require.NoError(t, err)
	return r
}

// written makes rules from the text of one condition and one outcome.
func written(t testing.TB, when, follows string) *rules.Rules {
	t.Helper()
	r, err := rules.Parse("rules.yaml", fmt.Appendf(nil, "version: 1\nrules:\n  - name: it\n    when: |\n      %s\n    %s\n", when, follows))
	require.NoError(t, err)
	return r
}

const (
	prodRestores = "production restores take two people"
	lastCopy     = "the last good copy takes two people"
	freeze       = "christmas freeze"
	slots        = "agents ask before filling slots"
	wait         = "deletes wait, so that they can be called back"
)

// TestTheRulesOfTheIssue reads like the rules: who does what, when, and what follows.
func TestTheRulesOfTheIssue(t *testing.T) {
	r := parsed(t, "testdata/issue.yaml")
	assert.Equal(t, []string{prodRestores, lastCopy, freeze, slots, wait}, r.Names())
	two := policy.Conditions{Approvals: 2, Approvers: [][]string{{"S0123ABCD"}}, NotRequester: true, Rules: []string{prodRestores}}
	denied := `the rule "christmas freeze" refuses this: Change freeze until 3 January. Ask in #incident-command for an exception.`
	frozen := func(c policy.Conditions) policy.Conditions { c.Refused = denied; return c }
	for _, row := range []struct {
		name  string
		facts policy.Facts
		want  policy.Conditions
	}{
		{"a production restore takes two of the group, not who asks", restore(), two},
		{"a restore elsewhere is the floor's business", restore(on("staging-web-01")), policy.Conditions{}},
		{"a name that only contains prod- is elsewhere", restore(on("web-prod-01")), policy.Conditions{}},
		{"a delete on production is no overwrite, but waits", restore(deleting), policy.Conditions{Approvals: 1, Delay: 10 * time.Minute, Rules: []string{wait}}},
		{"the last good copy takes two people, and waits", restore(deleting, lastGood), policy.Conditions{Approvals: 2, Delay: 10 * time.Minute, Rules: []string{lastCopy, wait}}},
		{"restoring from the last good copy deletes nothing", restore(lastGood, on("a")), policy.Conditions{}},
		{"a minute before the freeze", restore(creating, at("2026-12-19T23:59:59Z")), policy.Conditions{}},
		{"as the freeze begins", restore(creating, at("2026-12-20T00:00:00Z")), policy.Conditions{Refused: denied, Rules: []string{freeze}}},
		{"in the freeze, by a clock elsewhere", restore(creating, at("2026-12-20T03:00:00+02:00")), policy.Conditions{Refused: denied, Rules: []string{freeze}}},
		{"a minute before its end", restore(creating, at("2027-01-02T23:59:59Z")), policy.Conditions{Refused: denied, Rules: []string{freeze}}},
		{"as it ends", restore(creating, at("2027-01-03T00:00:00Z")), policy.Conditions{}},
		{"looking is never frozen", restore(reading, at("2026-12-24T18:00:00Z")), policy.Conditions{}},
		{"what destroys and calls itself a read is judged", restore(deleting, func(f *policy.Facts) { f.Operation.Effect = policy.Read }), policy.Conditions{Approvals: 1, Delay: 10 * time.Minute, Rules: []string{wait}}},
		{"what says of itself nothing is judged", restore(at("2026-12-24T18:00:00Z"), func(f *policy.Facts) { f.Operation.Effect, f.Plan.Effect = "", "" }), policy.Conditions{Refused: denied, Rules: []string{freeze}}},
		{"in the freeze the other rules are still told", restore(deleting, at("2026-12-24T18:00:00Z")), frozen(policy.Conditions{Approvals: 1, Delay: 10 * time.Minute, Rules: []string{freeze, wait}})},
		{"an agent asks before the last slot", restore(creating, agent, free(1)), policy.Conditions{Approvals: 1, Rules: []string{slots}}},
		{"an agent takes what is not the last slot", restore(creating, agent, free(2)), policy.Conditions{}},
		{"a person takes the last slot", restore(creating, free(1)), policy.Conditions{}},
		{"a backup is no snapshot", restore(doing("create_backup", policy.Create), agent, free(1)), policy.Conditions{}},
	} {
		row.want.Hash = r.Hash()
		assert.Equal(t, row.want, r.Judge(row.facts), row.name)
	}
}

func TestStrictestFieldByField(t *testing.T) {
	file := func(holds ...string) *rules.Rules {
		text := "version: 1\npeople: [{name: Ada, slack: [U01, U05]}]\nrules:\n"
		for i, h := range holds {
			text += fmt.Sprintf("  - {name: r%d, when: 'true', %s}\n", i+1, h)
		}
		r, err := rules.Parse("f.yaml", []byte(text))
		require.NoError(t, err, text)
		return r
	}
	byAda := func(f *policy.Facts) { f.Actor.Subject = "T01:U05" }
	for _, row := range []struct {
		name  string
		holds []string
		facts policy.Facts
		want  policy.Conditions
	}{
		{"an empty hold is one person", []string{"hold: {}"}, restore(), policy.Conditions{Approvals: 1}},
		{"most approvals", []string{"hold: {approvals: 2}", "hold: {approvals: 3}", "hold: {}"}, restore(), policy.Conditions{Approvals: 3}},
		{"longest delay, shortest clocks", []string{
			"hold: {delay: 10m, approve_within: 20m, start_within: 3m}", "hold: {delay: 1h, approve_within: 5m, start_within: 4m}", "hold: {}",
		}, restore(), policy.Conditions{Approvals: 1, Delay: time.Hour, ApproveWithin: 5 * time.Minute, StartWithin: 3 * time.Minute}},
		{"what any asks", []string{"hold: {not_requester: true}", "hold: {safety_copy: required}"}, restore(), policy.Conditions{Approvals: 1, NotRequester: true, SafetyCopy: true}},
		{"who is on both lists", []string{"hold: {approvers: [U01, U02, U03]}", "hold: {approvers: [U03, U02, terminal]}"}, restore(), policy.Conditions{Approvals: 1, Approvers: [][]string{{"U02", "U03"}}}},
		{"nobody is on both lists", []string{"hold: {approvers: [U01]}", "hold: {approvers: [U02, terminal]}"}, restore(), policy.Conditions{
			Approvals: 1, Approvers: [][]string{{"U01"}, {"U02", "terminal"}}, Refused: `nobody may approve this: the rules "r1" and "r2" name no approver in common`,
		}},
		{"the two that do not go together", []string{"hold: {approvers: [U01, U02]}", "hold: {approvers: [U01]}", "hold: {approvers: [U02]}"}, restore(), policy.Conditions{
			Approvals: 1, Approvers: [][]string{{"U01", "U02"}, {"U01"}, {"U02"}}, Refused: `nobody may approve this: the rules "r2" and "r3" name no approver in common`,
		}},
		{"three, of which any two go together", []string{"hold: {approvers: [U01, U02]}", "hold: {approvers: [U02, U03]}", "hold: {approvers: [U03, U01]}"}, restore(), policy.Conditions{
			Approvals: 1, Approvers: [][]string{{"U01", "U02"}, {"U02", "U03"}, {"U03", "U01"}}, Refused: `nobody may approve this: the rules "r1", "r2" and "r3" name no approver in common`,
		}},
		{"a group may hold whoever is named", []string{"hold: {approvers: [S01]}", "hold: {approvers: [U02, terminal]}"}, restore(), policy.Conditions{Approvals: 1, Approvers: [][]string{{"U02"}, {"S01"}}}},
		{"but no terminal", []string{"hold: {approvers: [S01]}", "hold: {approvers: [terminal]}"}, restore(), policy.Conditions{
			Approvals: 1, Approvers: [][]string{{"S01"}, {"terminal"}}, Refused: `nobody may approve this: the rules "r1" and "r2" name no approver in common`,
		}},
		{"groups stay lists of their own", []string{"hold: {approvers: [S01]}", "hold: {approvers: [S02, terminal]}", "hold: {approvers: [S01]}"}, restore(), policy.Conditions{Approvals: 1, Approvers: [][]string{{"S01"}, {"S02", "terminal"}}}},
		{"fewer than it takes", []string{"hold: {approvers: [U02, U03]}", "hold: {approvers: [U03, U04]}", "hold: {approvals: 2}"}, restore(), policy.Conditions{
			Approvals: 2, Approvers: [][]string{{"U03"}}, Refused: `this takes 2 people's approvals, and the rules that name approvers ("r1", "r2") leave only 1: those they name`,
		}},
		{"only the one who asked", []string{"hold: {approvers: [U01], not_requester: true}"}, restore(byAda), policy.Conditions{
			Approvals: 1, Approvers: [][]string{{"U01"}}, NotRequester: true,
			Refused: `this takes one person's approval, and the rules that name approvers ("r1") leave only 0: those they name, without who asked`,
		}},
		{"the first that denies", []string{"deny: First.", "hold: {}", "deny: Second."}, restore(), policy.Conditions{Approvals: 1, Refused: `the rule "r1" refuses this: First.`}},
	} {
		r := file(row.holds...)
		row.want.Hash, row.want.Rules = r.Hash(), r.Names()
		assert.Equal(t, row.want, r.Judge(row.facts), row.name)
	}
}

// TestWhatConditionsSee has a condition that holds and one that does not for each variable.
func TestWhatConditionsSee(t *testing.T) {
	never := func(f *policy.Facts) { f.Plan.Target.SizeMB = nil; f.Plan.Target.CreatedAt = time.Time{} }
	backup := func(f *policy.Facts) {
		f.Plan.Target.Kind, f.Plan.Known.BackupType, f.Plan.Known.Newest = "backup", "manual", true
		f.Plan.Known.ExpiresAt = noon.Add(time.Hour)
	}
	for when, f := range map[string]policy.Facts{
		`operation.name == "restore_snapshot" && operation.noun == "snapshot" && operation.verb == "restore"`: restore(),
		`operation.effect == "overwrite"`: restore(),
		`actor.by_message`:                restore(func(f *policy.Facts) { f.Actor.ByMessage = true }),
		`!actor.by_message`:               restore(),
		`actor.door == "slack" && actor.subject == "T01:U07" && actor.name == "Grace" && actor.role == "" && actor.agent == ""`:   restore(),
		`actor.agent == "ci-agent" && actor.subject.endsWith(":ci-agent") && !has(actor.role)`:                                    restore(agent),
		`server.id == 12345 && server.name == "prod-web-01" && server.status == "running" && server.location == "fra1"`:           restore(),
		`server.free_snapshot_slots == 3 && server.free_backup_slots == 7`:                                                        restore(),
		`target.kind == "snapshot" && target.id == 801 && target.name == "before-upgrade" && target.status == "completed"`:        restore(),
		`target.age == duration("50h") && target.size_mb == 20480 && has(target.size_mb) && has(target.age)`:                      restore(),
		`target.size_mb == -1 && !has(target.size_mb) && target.age == duration("0s") && !has(target.age)`:                        restore(never),
		`!has(target.expires_at) && target.expires_at > now + duration("8760h") && target.expires_at - now > duration("1h")`:      restore(),
		`has(target.expires_at) && target.expires_at - now == duration("1h") && target.backup_type == "manual" && target.newest`:  restore(backup),
		`target.kind == "" && !has(target.id) && target.id == 0 && target.name == "" && target.size_mb == -1 && !has(target.age)`: restore(creating),
		`target.last_recovery_point`: restore(deleting, lastGood),
		`request.reason.lowerAscii().contains("upgrade") && request.safety_copy`: restore(),
		`!request.safety_copy`: restore(func(f *policy.Facts) { f.Plan.SafetyCopy = policy.NoCopy }),
		`now.getHours() == 12 && now.getHours("Europe/Berlin") == 13 && now == timestamp("2026-11-21T12:00:00Z")`:                               restore(at("2026-11-21T14:00:00+02:00")),
		`[operation.verb, operation.noun].exists(w, w == "snapshot") && ["a", "prod-web-01"].exists_one(n, n == server.name)`:                   restore(),
		`[dyn(server), dyn(operation)].all(x, has(x.name) && x.name != "") && dyn(server).name == "prod-web-01" && type(server) != type(actor)`: restore(),
	} {
		r := written(t, when, "hold: {}")
		assert.Equal(t, []string{"it"}, r.Judge(f).Rules, "%v", r.Explain(f))
		assert.Empty(t, r.Judge(f).Refused, when)
		not := written(t, "!("+when+")", "hold: {}")
		assert.Empty(t, not.Judge(f).Rules, when)
		assert.Empty(t, not.Judge(f).Refused, when)
	}
}

func TestAFailingConditionRefuses(t *testing.T) {
	long := func(f *policy.Facts) { f.Reason = strings.Repeat("a", 300_000) }
	for when, row := range map[string]struct {
		facts policy.Facts
		says  string
	}{
		`1 / (server.id - 12345) == 1`:                                       {restore(), "its condition failed with division by zero"},
		`server.name.substring(20) == "x"`:                                   {restore(), "its condition failed with index out of range: 20"},
		`timestamp(request.reason) < now`:                                    {restore(), "its condition failed with"},
		`dyn(server).nam == "x"`:                                             {restore(), "its condition failed with no such field: nam"},
		`request.reason.matches("(a*)*b")`:                                   {restore(long), "its condition takes too long"},
		`request.reason.split("").exists(c, request.reason.contains(c + c))`: {restore(func(f *policy.Facts) { f.Reason = strings.Repeat("ab", 900) }), "its condition takes too long"},
	} {
		r := written(t, when, "hold: {approvals: 2}")
		c := r.Judge(row.facts)
		assert.Contains(t, c.Refused, `the rule "it" could not be judged, so this is refused: `+row.says, when)
		assert.Equal(t, []string{"it"}, c.Rules)
		m := r.Explain(row.facts)[0]
		assert.False(t, m.Matched)
		assert.Contains(t, m.Failed, row.says)
		assert.Empty(t, r.Judge(restore(reading)).Refused, "looking is never refused")
	}
}

// TestNoConditionRunsAway tries to be slow or large within the limits.
func TestNoConditionRunsAway(t *testing.T) {
	x := "[server.name]"
	for range 12 {
		x += ".map(x, x + x)"
	}
	for _, when := range []string{
		x + `.size() > 0`,
		`[[server.name]].map(x, x+x)` + strings.Repeat(".map(x, x+x)", 40) + `[0].size() > 3`,
		`"` + strings.Repeat("a", 3000) + `".replace("", server.name).replace("", server.name).size() > 1`,
		`server.name.matches("((a{100}){100}){100}")`,
		`[1,2,3,4,5,6,7,8,9].all(a, [1,2,3,4,5,6,7,8,9].all(b, [1,2,3,4,5,6,7,8,9].all(c, a + b + c > 0)))`,
		strings.Repeat("(", 200) + "true" + strings.Repeat(")", 200),
		strings.Repeat("!", 3000) + "true",
		`vpsguard.Server{name: "x"}.name == "x"`,
		`google.protobuf.Any{} == google.protobuf.Any{}`,
	} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			r, err := rules.Parse("f.yaml", fmt.Appendf(nil, "version: 1\nrules:\n  - name: it\n    when: |\n      %s\n    hold: {}\n", when))
			if err == nil {
				r.Judge(restore())
			}
		}()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			require.Fail(t, "it runs away", when)
		}
	}
}

func TestExplain(t *testing.T) {
	r := parsed(t, "testdata/issue.yaml")
	got := r.Explain(restore(deleting))
	assert.Equal(t, []rules.Match{
		{Name: prodRestores, Position: "testdata/issue.yaml:5:5", Outcome: "held for 2 people's approvals of S0123ABCD, not the one who asked"},
		{Name: lastCopy, Position: "testdata/issue.yaml:8:5", Outcome: "held for 2 people's approvals"},
		{Name: freeze, Position: "testdata/issue.yaml:11:5", Outcome: "refused: Change freeze until 3 January. Ask in #incident-command for an exception."},
		{Name: slots, Position: "testdata/issue.yaml:14:5", Outcome: "held for one person's approval"},
		{Name: wait, Matched: true, Position: "testdata/issue.yaml:17:5", Outcome: "held for one person's approval; runs 10 minutes after the last approval"},
	}, got)
	for _, m := range r.Explain(restore(reading, at("2026-12-24T18:00:00Z"))) {
		assert.False(t, m.Matched, "a read is never judged")
	}
	all := written(t, "true", "hold: {approvals: 3, approvers: [U01, U02, S01], approve_within: 1h, start_within: 5m, safety_copy: required}")
	assert.Equal(t, "held for 3 people's approvals of U01, U02 or S01; approved within 1 hour; started within 5 minutes; with a safety copy", all.Explain(restore())[0].Outcome)
}

func TestPerson(t *testing.T) {
	r, err := rules.Parse("p.yaml", []byte(`version: 1
people:
  - {name: Ada, slack: [U01, W01], terminal: ada, agents: [ci-agent, "stdio:ada (uid 1000)"]}
  - {name: Grace, slack: U02, terminal: ["grace (uid 1001)", uid 1002], agents: ["a:b", "oidc:https://login.example.com#00u1:x"]}
`))
	require.NoError(t, err)
	for _, row := range []struct {
		actor policy.Actor
		want  string
		why   string
	}{
		{policy.Actor{Door: policy.DoorSlack, Subject: "T01:U01"}, "Ada", "the id behind the team"},
		{policy.Actor{Door: policy.DoorSlack, Subject: "E01:W01"}, "Ada", "the id behind the enterprise"},
		{policy.Actor{Door: policy.DoorSlack, Subject: "U01"}, "", "no team signed it"},
		{policy.Actor{Door: policy.DoorSlack, Subject: "T01:U99", Name: "Ada"}, "", "a name proves nothing"},
		{policy.Actor{Door: policy.DoorTerminal, Subject: "ada (uid 1000)"}, "Ada", "the user's name"},
		{policy.Actor{Door: policy.DoorTerminal, Subject: "ada"}, "Ada", "the whole"},
		{policy.Actor{Door: policy.DoorTerminal, Subject: "ada (uid 1000) (uid 5)"}, "", "somebody else's odd name"},
		{policy.Actor{Door: policy.DoorTerminal, Subject: "grace (uid 1001)"}, "Grace", "the whole"},
		{policy.Actor{Door: policy.DoorTerminal, Subject: "grace (uid 1)"}, "", "another user of that name"},
		{policy.Actor{Door: policy.DoorTerminal, Subject: "uid 1002"}, "Grace", "a user without a name"},
		{policy.Actor{Door: policy.DoorMCP, Subject: "token:ci-agent"}, "Ada", "behind the last colon"},
		{policy.Actor{Door: policy.DoorMCP, Subject: "ci-agent"}, "Ada", "exactly"},
		{policy.Actor{Door: policy.DoorMCP, Subject: "stdio:ada (uid 1000)"}, "Ada", "exactly"},
		{policy.Actor{Door: policy.DoorMCP, Subject: "a:b"}, "Grace", "exactly, with a colon"},
		{policy.Actor{Door: policy.DoorMCP, Subject: "x:a:b"}, "", "not behind the last colon"},
		{policy.Actor{Door: policy.DoorMCP, Subject: "loopback", Client: "ci-agent", Name: "ci-agent"}, "", "what a client calls itself never counts"},
		{policy.Actor{Door: policy.DoorMCP, Subject: "x:ada"}, "", "identities belong to their door"},
		{policy.Actor{}, "", "nobody"},
		{policy.Actor{Door: policy.DoorMCP, Subject: "oidc:https://login.example.com#00u1:x"}, "Grace", "exactly, whoever vouches"},
		{policy.Actor{Door: policy.DoorMCP, Subject: "oidc:https://login.example.com#x:ci-agent"}, "", "a subject that was chosen to look like a token's name"},
		{policy.Actor{Door: policy.DoorMCP, Subject: "oidc:https://login.example.com:8443#ci-agent"}, "", "nor with a port"},
		{policy.Actor{Door: policy.DoorMCP, Subject: "token:new", Person: "Grace"}, "Grace", "the token was made for her"},
		{policy.Actor{Door: policy.DoorMCP, Subject: "token:ci-agent", Person: "Ada"}, "Ada", "both say so"},
		{policy.Actor{Door: policy.DoorMCP, Subject: "token:ci-agent", Person: "Grace"}, "", "they contradict each other"},
		{policy.Actor{Door: policy.DoorMCP, Subject: "token:new", Person: "grace"}, "", "nobody has that name: not another person"},
	} {
		assert.Equal(t, row.want, r.Person(row.actor), "%v: %s", row.actor, row.why)
	}
}

func TestIdentitiesAreOnePersons(t *testing.T) {
	for _, pair := range [][2]string{
		{"slack: U01", "slack: [U02, U01]"},
		{"terminal: ada", "terminal: ada (uid 1000)"},
		{"agents: [ci]", "agents: ['token:ci']"},
		{"agents: ['x:ci', 'y:ci']", "agents: [ci]"},
	} {
		for _, order := range [][2]string{pair, {pair[1], pair[0]}} {
			text := fmt.Sprintf("version: 1\npeople:\n  - {name: Ada, %s}\n  - {name: Grace, %s}\n", order[0], order[1])
			_, err := rules.Parse("p.yaml", []byte(text))
			assert.ErrorContains(t, err, "an identity is one person's", text)
			assert.ErrorContains(t, err, "p.yaml:4:", text)
		}
	}
	_, err := rules.Parse("p.yaml", []byte("version: 1\npeople:\n  - {name: Ada, agents: ['x:ci']}\n  - {name: Grace, agents: ['y:ci']}\n"))
	assert.NoError(t, err, "no agent is both")
}

func TestFilesThatAreFine(t *testing.T) {
	for name, text := range map[string]string{
		"no rules":                "version: 1\n",
		"an empty list":           "version: 1\nrules: []\npeople: []\n",
		"with a header":           "# ours\n---\nversion: 1\n",
		"from Windows":            "\uFEFFversion: 1\r\nrules:\r\n  - name: x\r\n    when: |\r\n      true &&\r\n      false\r\n    hold: {}\r\n",
		"a condition that always": "version: 1\nrules: [{name: x, when: true, deny: No.}]\n",
	} {
		r, err := rules.Parse("f.yaml", []byte(text))
		require.NoError(t, err, name)
		assert.Len(t, r.Hash(), 64)
		assert.Equal(t, r.Hash(), r.Judge(restore()).Hash, "also where nothing matches")
		assert.Empty(t, r.Person(restore().Actor))
	}
}

func TestChannelsInSentences(t *testing.T) {
	for written, want := range map[string]string{
		"Ask in #ops.":                 "Ask in #ops.",
		"Ask in #ops. # not said":      "Ask in #ops. # not said", // from the channel on, all is text
		"Ask the boss. # not said":     "Ask the boss.",
		`"Ask in #ops." #not said`:     "Ask in #ops.",
		">\n      Ask\n      in #ops.": "Ask in #ops.",
	} {
		r, err := rules.Parse("f.yaml", []byte("version: 1\nrules:\n  - name: x\n    deny: "+written+"\n    when: true\n"))
		require.NoError(t, err, written)
		assert.Equal(t, `the rule "x" refuses this: `+want, r.Judge(restore()).Refused)
	}
	for _, cut := range []string{
		"    deny: Ask\n      in #ops.\n    when: true\n",
		"    deny: No.\n    when: operation.effect == \"delete\" #|| true\n",
	} {
		_, err := rules.Parse("f.yaml", []byte("version: 1\nrules:\n  - name: x\n"+cut))
		assert.ErrorContains(t, err, "f.yaml:5:", cut)
		assert.ErrorContains(t, err, "YAML takes what begins with # for a comment", cut)
	}
	_, err := rules.Parse("f.yaml", []byte("version: 1\nrules:\n  - name: x\n    #ours\n    deny: No. # why\n    #theirs\n    when: true # always\n"))
	assert.NoError(t, err, "comments that are")
}

func TestJudgesConcurrently(t *testing.T) {
	r := parsed(t, "testdata/issue.yaml")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 200 {
				if i%2 == 0 {
					assert.Equal(t, 2, r.Judge(restore()).Approvals)
				} else {
					assert.Equal(t, []string{slots}, r.Judge(restore(creating, agent, free(0))).Rules)
				}
			}
		})
	}
	all.Wait()
}

// TestTheDocumentationNamesEveryVariable keeps the package's own words whole.
func TestTheDocumentationNamesEveryVariable(t *testing.T) {
	raw, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	table := rules.Reference()
	assert.Contains(t, table, "| `server.free_snapshot_slots` | int | how many more snapshots it can have |\n")
	assert.Contains(t, table, "| `target.age` | duration | ")
	assert.Contains(t, table, "| `now` | timestamp | ")
	for line := range strings.Lines(table) {
		if name, _, ok := strings.Cut(strings.TrimPrefix(line, "| `"), "` |"); ok {
			_, field, _ := strings.Cut(name, ".")
			assert.Contains(t, string(raw), field)
		}
	}
}
