package slackbot

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/policytest"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name string, v any) {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	require.NoError(t, e.Encode(v))
	path := filepath.Join("testdata", name+".json")
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "run: make golden")
	assert.Equal(t, string(want), b.String(), "if this is meant: make golden")
}

// ours is a face with two who approve: a person and a group.
func ours() face {
	return face{Command: "/vps", Approvers: []string{"U0ADA", "S0ONCALL"}}
}

// when is a moment in the life of the requests of these tests.
var when = policytest.Start.Add(12 * time.Minute)

func standing(r policy.Request) policy.Standing {
	return policy.Standing{Request: r, Now: when, Agreed: len(r.Approvals)}
}

func blocksJSON(t testing.TB, m message) []byte {
	t.Helper()
	raw, err := json.Marshal(m.Blocks)
	require.NoError(t, err)
	return raw
}

// weight counts as Slack seems to: see mostTogether.
func weight(v any) (n int) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if s, ok := x.(string); ok && k == "text" {
				n += utf8.RuneCountInString(s)
			} else {
				n += weight(x)
			}
		}
	case []any:
		for _, x := range v {
			n += weight(x)
		}
	}
	return n
}

// checkPosted checks what holds for every message, and that slack-go reads it
// as it was written.
func checkPosted(t testing.TB, m message) {
	t.Helper()
	raw := checkSafe(t, m)
	var back slack.Blocks
	require.NoError(t, json.Unmarshal(raw, &back))
	again, err := json.Marshal(back)
	require.NoError(t, err)
	require.JSONEq(t, string(raw), string(again))
}

// checkSafe checks that Slack takes a message, and acts on nothing foreign in it.
func checkSafe(t testing.TB, m message) []byte {
	t.Helper()
	raw := blocksJSON(t, m)
	require.Empty(t, slackfake.CheckMessage(raw), "%.3000s", raw)
	var items []any
	require.NoError(t, json.Unmarshal(raw, &items))
	require.LessOrEqual(t, weight(items)+blockWeight*len(items), 13_200, "too long together")
	require.NotEmpty(t, strings.TrimSpace(m.Text))
	require.LessOrEqual(t, utf8.RuneCountInString(m.Text), mostText)
	checkTokens(t, m.Text)
	checkMarkup(t, items)
	return raw
}

// checkOpened checks what holds for every modal.
func checkOpened(t testing.TB, v slack.ModalViewRequest) {
	t.Helper()
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	require.Empty(t, slackfake.CheckView(raw), "%.3000s", raw)
	require.LessOrEqual(t, len(raw), 250_000)
	var m map[string]any
	require.NoError(t, json.Unmarshal(raw, &m))
	checkMarkup(t, m["blocks"])
}

var (
	angles = regexp.MustCompile(`<[^<>]*>?|>`)
	made   = regexp.MustCompile(`^(?:<@U0ADA>|<!subteam\^S0ONCALL>|` +
		`<!date\^-?\d+\^\{date_short_pretty\} \{time\}\|-?\d{4,}-\d\d-\d\d \d\d:\d\d UTC>)$`)
	entity = regexp.MustCompile(`&(?:amp|lt|gt);`)
)

// checkTokens finds markup that is not ours, and halves of it.
func checkTokens(t testing.TB, s string) {
	t.Helper()
	for _, token := range angles.FindAllString(s, -1) {
		require.Regexp(t, made, token, "in %q", s)
	}
	require.NotContains(t, entity.ReplaceAllString(s, ""), "&", "half an entity in %q", s)
	require.NotContains(t, s, "`")
}

// checkMarkup finds all mrkdwn in blocks, which holds nothing foreign.
func checkMarkup(t testing.TB, v any) {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		switch v["type"] {
		case "mrkdwn":
			s, _ := v["text"].(string)
			checkTokens(t, s)
			require.Equal(t, true, v["verbatim"], "Slack adds no links: %q", s)
			require.NotContains(t, s, "FOREIGN")
		case "plain_text":
			require.Equal(t, false, v["emoji"])
		case "user", "usergroup", "link", "broadcast", "channel", "emoji":
			require.Fail(t, "live rich text", "%v", v)
		}
		for _, x := range v {
			checkMarkup(t, x)
		}
	case []any:
		for _, x := range v {
			checkMarkup(t, x)
		}
	}
}

// visible is a message as people see it; aloud is what screen readers have.
func visible(t testing.TB, m message) string {
	t.Helper()
	var b strings.Builder
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if s, ok := v["text"].(string); ok {
				b.WriteString(s)
				if v["type"] != "text" {
					b.WriteString("\n")
				}
			}
			for _, k := range []string{"text", "elements", "accessory", "label", "hint", "element"} {
				walk(v[k])
			}
			if id, ok := v["block_id"]; ok && id != "" {
				b.WriteString("\n")
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	var items []any
	require.NoError(t, json.Unmarshal(blocksJSON(t, m), &items))
	walk(items)
	return b.String()
}

func seenView(t testing.TB, v slack.ModalViewRequest) string {
	t.Helper()
	return visible(t, message{Blocks: v.Blocks.BlockSet})
}

func pressed(m message) (out []*slack.ButtonBlockElement) {
	for _, b := range m.Blocks {
		out = append(out, buttonsOf(b)...)
	}
	return out
}

func actions(m message) []string {
	out := []string{}
	for _, b := range pressed(m) {
		out = append(out, b.ActionID)
	}
	return out
}

// kinds are the sorts of requests there are, each held and not yet looked at.
func kinds() map[string]policy.Request {
	size := int64(5120)
	backup := policy.Point{
		Kind: "backup", ID: 501, Name: "Automatic daily backup", SizeMB: &size, Status: "completed",
		CreatedAt: policytest.Start.Add(-43 * time.Hour).Truncate(time.Second),
	}
	server := policytest.Server(12345)
	removal := func(last bool) policy.Request {
		return policytest.Request("rq_7f3k9c", func(r *policy.Request) {
			p := policytest.Point(801)
			r.Operation, r.Effect = "delete_snapshot", policy.Delete
			r.Plan.Operation, r.Plan.Effect, r.Plan.SafetyCopy, r.Plan.LastGood = r.Operation, policy.Delete, "", last
			r.Plan.Summary = fmt.Sprintf("delete %s of %s", p, server)
			r.Plan.Losses = []string{p.String() + " from 2025-01-15 18:31 UTC, 2 days 4 hours ago (2048 MB), is gone for good"}
			r.Plan.Notes = []string{"nothing remains"}
			if last {
				r.Plan.Losses = append(r.Plan.Losses, "it is the LAST good recovery point of web-12345: nothing is left to restore from")
			} else {
				r.Plan.Notes[0] = `what remains (1): snapshot 802 "nightly-802" (completed, 1 day ago)`
			}
			steps(r, policy.StepPlan{Name: r.Operation, Effect: policy.Delete, Within: 10 * time.Minute})
		})
	}
	return map[string]policy.Request{
		"overwrite_snapshot": policytest.Request("rq_7f3k9c", func(r *policy.Request) {
			r.Plan.Warnings = []string{"the server is running, so the safety copy will be crash-consistent"}
			r.Plan.Notes = []string{"VPS.org stops the server by itself; it is down until the restore is over, which takes 5-15 minutes"}
			r.Plan.Steps[0].Makes, r.Steps[0].Makes = "snapshot", "snapshot"
		}),
		"overwrite_backup_no_copy": policytest.Request("rq_8g4m2d", func(r *policy.Request) {
			r.Operation, r.Plan.Operation = "restore_backup", "restore_backup"
			r.Plan.Target, r.Plan.SafetyCopy = &backup, policy.NoCopy
			r.Plan.Summary = fmt.Sprintf("restore %s over %s", backup, server)
			r.Plan.Losses = []string{
				"everything written to web-12345 since 2025-01-16 03:31 UTC, 1 day 19 hours ago, is overwritten",
				"there is NO WAY BACK: no safety copy is taken first",
			}
			steps(r, policy.StepPlan{Name: r.Operation, Effect: policy.Overwrite, Within: time.Hour})
		}),
		"delete":           removal(false),
		"prune":            pruning(15), // the most that go at once
		"delete_last_good": removal(true),
		"create": policytest.Request("rq_9h5n3e", func(r *policy.Request) {
			r.Operation, r.Effect = "create_snapshot", policy.Create
			r.Plan.Operation, r.Plan.Effect, r.Plan.SafetyCopy, r.Plan.Target, r.Plan.Losses = r.Operation, policy.Create, "", nil, nil
			r.Plan.Summary = `take a snapshot named "before-update" of web-12345 (12345)`
			r.Plan.Params = map[string]string{"name": "before-update", "description": "before 2.4"}
			r.Conditions.Approvals = 0
			steps(r, policy.StepPlan{Name: r.Operation, Effect: policy.Create, Makes: "snapshot", Within: time.Hour})
		}),
	}
}

// pruning is a request to delete so many snapshots.
func pruning(n int) policy.Request {
	return policytest.Request("rq_4k5m6n", func(r *policy.Request) {
		server := policytest.Server(12345)
		r.Operation, r.Effect = "prune_snapshots", policy.Delete
		r.Plan.Operation, r.Plan.Effect, r.Plan.SafetyCopy, r.Plan.Target = r.Operation, policy.Delete, "", nil
		r.Plan.Summary = fmt.Sprintf("delete %d snapshots of %s, keeping the 2 newest good ones", n, server)
		r.Plan.Losses = []string{fmt.Sprintf("%d snapshots, each named here, are gone for good (%d MB together)", n, 2048*n)}
		r.Plan.Warnings = []string{"the API token may not read the server, so whether it is being restored is not known"}
		r.Plan.Notes = []string{"one after the other, the oldest first; the first that fails, or whose answer is lost, ends it"}
		var plans []policy.StepPlan
		for i := range n {
			p := policytest.Point(int64(701 + i))
			p.CreatedAt = p.CreatedAt.AddDate(0, i-n, 0)
			r.Plan.Targets = append(r.Plan.Targets, policy.Target{Point: p})
			plans = append(plans, policy.StepPlan{Name: r.Operation, Effect: policy.Delete, Point: &p, Within: 10 * time.Minute})
		}
		steps(r, plans...)
	})
}

func steps(r *policy.Request, plans ...policy.StepPlan) {
	r.Plan.Steps, r.Steps = plans, nil
	for _, p := range plans {
		r.Steps = append(r.Steps, policy.Step{StepPlan: p, State: policy.StepWaiting})
	}
}

// inState is a request further on in its life.
func inState(r policy.Request, s policy.State) policy.Request {
	at := policytest.Start.Add(5 * time.Minute)
	ada := policy.Actor{Door: policy.DoorSlack, Subject: "T1/U0ADA", Name: "Ada", Vouched: "Slack"}
	approved := r.Conditions.Approvals > 0
	r.State, r.Rev = s, 4
	r.Steps = append([]policy.Step{}, r.Steps...)
	last := &r.Steps[len(r.Steps)-1]
	answered := func(state policy.StepState) {
		for i := range r.Steps {
			r.Steps[i].State = policy.StepDone
			if r.Steps[i].Makes != "" {
				r.Steps[i].PointID, r.Steps[i].PointName = 812, "pre-restore-7f3k9c"
			}
		}
		last.State = state
	}
	switch s {
	case policy.StateHeld:
		r.Rev, approved = 1, false
		if r.Conditions.Approvals == 0 { // a rule may hold creates too
			r.Conditions.Approvals = 2
		}
	case policy.StateApproved:
		r.StartBy = at.Add(10 * time.Minute)
	case policy.StateRunning:
		answered(policy.StepAccepted)
	case policy.StateUncertain:
		answered(policy.StepUncertain)
		last.Note = "the connection broke before there was an answer"
		r.Why = "an answer was lost"
	case policy.StateDone:
		answered(policy.StepDone)
		r.Why = "the server was restoring and is now active"
		if c, ok := r.Copy(); ok {
			r.Undo = &c
		}
	case policy.StateFailed:
		r.Steps[0].State = policy.StepFailed
		r.Why = "VPS.org refused it: too many snapshots"
	case policy.StateStale:
		r.Why = "its size changed since it was approved"
	case policy.StateExpired:
		approved, r.Why = false, "nobody confirmed it by 2025-01-17 23:01 UTC"
	case policy.StateDenied:
		approved, r.Why = false, "denied by Ada (slack): wrong server"
		r.Denial = &policy.Approval{By: ada, Way: policy.WaySlack, Note: "wrong server", At: at}
	case policy.StateCancelled:
		approved, r.Why = false, "withdrawn by agent (mcp)"
	}
	if approved {
		r.Approvals = []policy.Approval{{By: ada, Way: policy.WaySlack, Assurance: policy.Verified, At: at, Note: "checked with the team"}}
	}
	if !s.Open() {
		r.EndedAt = at.Add(3 * time.Minute)
	}
	return r
}
