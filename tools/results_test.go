package tools_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/tools"
)

const restore = `{"server":"web-server-01","snapshot_id":801,"reason":"roll back the migration"}`

var requestID = regexp.MustCompile(`rq_[2-9a-z]{6}`)

// shown is a result as it is frozen: the text, then the structured content.
func (a answer) shown(t *testing.T) string {
	t.Helper()
	var pretty strings.Builder
	e := json.NewEncoder(&pretty)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	require.NoError(t, e.Encode(json.RawMessage(a.raw)))
	return a.text + "\n\n" + pretty.String()
}

// TestResultsAreFrozen walks through the life of requests; what a model and a
// program get to see at each station stands in testdata/results.
func TestResultsAreFrozen(t *testing.T) {
	h := build(t, func(s *setup) {
		s.fake.CreateTakes, s.fake.RestoreTakes = 4*time.Minute, 8*time.Minute
		s.policy.Ways = []policy.Way{policy.WaySlack, policy.WayTerminal}
	})
	d := h.stdio(t)
	var ids []string // drawn at random; frozen by their order
	show := func(name string, a answer) answer {
		t.Helper()
		text := a.shown(t)
		for _, id := range requestID.FindAllString(text, -1) {
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
		for i, id := range ids {
			text = strings.ReplaceAll(text, strings.TrimPrefix(id, "rq_"), fmt.Sprintf("no%04d", i+1))
		}
		golden(t, "results/"+name+".txt", text)
		return a
	}
	show("servers", d.call("list_servers", `{}`))
	show("snapshots", d.call("list_snapshots", `{"limit":1}`))
	show("snapshots_last_page", d.call("list_snapshots", `{"limit":1,"cursor":"1"}`))
	show("points", d.call("list_recovery_points", `{"server":"12345"}`))
	show("backups_none", d.call("list_backups", `{"type":"manual","cursor":"5"}`))
	show("error_not_found", d.call("restore_snapshot", `{"server":"12345","snapshot_id":999,"reason":"x"}`))
	h.fake.AddServer(54321, "a-server-that-is-full")
	for i := range 4 {
		h.fake.AddSnapshot(vpsfake.Point{ServerID: 54321, Name: fmt.Sprintf("a-snapshot-with-quite-a-long-name-%d", i)})
	}
	h.fake.AddSnapshot(vpsfake.Point{ServerID: 54321, Name: "the-fifth"})
	show("error_full", d.call("create_snapshot", `{"server":"54321","name":"one-more"}`))
	show("error_invalid", d.call("restore_snapshot", `{"server":"12345"}`))

	held := show("held", d.call("restore_snapshot", restore))
	show("held_again", d.call("restore_snapshot", restore))
	id, _ := held.at("request", "id").(string)
	show("requests", d.call("list_requests", `{}`))
	show("delete_held", d.call("delete_snapshot", `{"server":"12345","snapshot_id":798,"reason":"clean up"}`))

	h.confirm(t, id)
	show("approved", d.call("get_request", `{"request_id":"`+id+`"}`))
	h.advance(t, id, 0)
	show("running_copy", d.call("get_request", `{"request_id":"`+id+`"}`))
	show("second_waits", d.call("restore_snapshot", `{"server":"12345","snapshot_id":798,"reason":"other","safety_copy":false}`))
	h.advance(t, id, 5*time.Minute)
	h.advance(t, id, time.Minute)
	show("running_restore", d.call("get_request", `{"request_id":"`+id+`"}`))
	h.advance(t, id, 9*time.Minute)
	show("done", d.call("get_request", `{"request_id":"`+id+`"}`))

	for i := range 4 {
		h.fake.AddSnapshot(vpsfake.Point{
			ServerID: 54321, Name: fmt.Sprint("release-", i+1), Description: "[vpsguard rq_7f3k9c abcdefgh]",
			CreatedAt: time.Date(2024, time.Month(i+5), 1, 12, 0, 0, 0, time.UTC),
		})
	}
	pruned := show("prune_held", d.call("prune_snapshots", `{"server":"54321","keep":5,"reason":"make room"}`))
	id, _ = pruned.at("request", "id").(string)
	h.confirm(t, id)
	h.fake.Inject(vpsfake.Fault{Name: vpsfake.Conflict, Method: "DELETE", After: 2, Times: 1})
	h.advance(t, id, 0)
	show("prune_partly", d.call("get_request", `{"request_id":"`+id+`"}`))
	show("prune_nothing", d.call("prune_snapshots", `{"server":"12345","keep":5,"reason":"make room"}`))
	show("created", d.call("create_snapshot", `{"server":"12345","name":"before-upgrade"}`))
	other := d.call("delete_backup", `{"server":"12345","backup_id":499,"reason":"old"}`)
	show("withdrawn", d.call("cancel_request", fmt.Sprintf(`{"request_id":%q}`, other.at("request", "id"))))
	late := d.call("delete_backup", `{"server":"12345","backup_id":495,"reason":"old"}`)
	h.clock.Advance(31 * time.Minute)
	show("expired", d.call("get_request", fmt.Sprintf(`{"request_id":%q}`, late.at("request", "id"))))
}

// confirm agrees as a person at the host's terminal would.
func (h *house) confirm(t *testing.T, id string) {
	t.Helper()
	st, err := h.service.Show(t.Context(), id)
	require.NoError(t, err)
	_, err = h.service.Decide(t.Context(), id, policy.Verdict{
		By:  policy.Actor{Door: policy.DoorTerminal, Subject: "anna", Name: "Anna", Vouched: "the operating system"},
		Way: policy.WayTerminal, Digest: st.Request.Plan.Digest, Typed: st.Request.Plan.Server.Typed(), Secret: passphrase,
	})
	require.NoError(t, err)
}

// advance turns the clock on and lets a request go on, as a worker would.
func (h *house) advance(t *testing.T, id string, by time.Duration) {
	t.Helper()
	h.clock.Advance(by)
	_, err := h.service.Advance(t.Context(), id)
	require.NoError(t, err)
}

func TestAHeldCallSaysAllThatMattersAndNoWayRoundIt(t *testing.T) {
	for name, come := range doors {
		t.Run(name, func(t *testing.T) {
			h := build(t)
			d := come(t, h)
			a := d.call("restore_snapshot", restore)
			assert.False(t, a.failed, "a held call is a normal result")
			assert.Equal(t, "held", a.at("request", "state"))
			for _, says := range []string{
				"HELD", "web-server-01", "12345", "801", "LOST: Everything written to", "Tell your user",
				"2025-01-17 23:01 UTC (in 30 minutes)", "by an approver in Slack or by a person at the host's terminal",
				"call get_request with request_id=", "wait_seconds=50", "You cannot confirm it",
			} {
				assert.Contains(t, a.text, says)
			}
			for _, not := range []string{"vpsguard requests", "approve ", "passphrase", "--", "force", "confirm:", `confirm"`} {
				assert.NotContains(t, strings.ToLower(a.text), not)
			}
			assert.Equal(t, []any{"an approver in Slack", "a person at the host's terminal"}, a.at("request", "confirm_with"))
			assert.Equal(t, "example-client", a.at("request", "requester", "calls_itself"))
			assert.Empty(t, h.fake.Mutations(), "nothing was sent")
			st, err := h.service.Show(t.Context(), a.at("request", "id").(string))
			require.NoError(t, err)
			assert.NotContains(t, a.raw+a.text, st.Request.Mark)
		})
	}
}

// TestOnlyWaysThatCanCountAreNamed: what rules say of approvers decides by which ways one of
// them can come.
func TestOnlyWaysThatCanCountAreNamed(t *testing.T) {
	const slack, terminal, form = "an approver in Slack", "a person at the host's terminal", "the person in front of the client that asked, in a form there"
	for name, c := range map[string]struct {
		rules policy.Conditions
		named []any // nil where nobody could, so that it is not held in vain
	}{
		"no list":               {policy.Conditions{}, []any{slack, terminal, form}},
		"people in Slack":       {policy.Conditions{Approvers: [][]string{{"U0ADA", "S0OPS"}}}, []any{slack}},
		"the terminal":          {policy.Conditions{Approvers: [][]string{{"terminal"}}}, []any{terminal}},
		"both":                  {policy.Conditions{Approvers: [][]string{{"U0ADA", "terminal"}}}, []any{slack, terminal}},
		"both, and then people": {policy.Conditions{Approvers: [][]string{{"U0ADA", "terminal"}, {"S0OPS"}}}, []any{slack}},
		"people, and terminal":  {policy.Conditions{Approvers: [][]string{{"U0ADA"}, {"terminal"}}}, nil},
		"somebody else":         {policy.Conditions{NotRequester: true}, []any{slack, terminal}},
	} {
		for by, come := range doors {
			t.Run(name+"/"+by, func(t *testing.T) {
				h := build(t, func(s *setup) {
					s.policy.Ways = append(s.policy.Ways, policy.WayElicitation)
					s.policy.Judge = func(context.Context, policy.Facts) (policy.Conditions, error) { return c.rules, nil }
				})
				a := come(t, h).call("restore_snapshot", restore)
				if c.named == nil {
					assert.Equal(t, "forbidden", a.at("error", "kind"))
					assert.Contains(t, a.text, "nobody can confirm this")
					return
				}
				assert.Equal(t, "held", a.at("request", "state"), a.text)
				assert.Equal(t, c.named, a.at("request", "confirm_with"))
				for _, way := range []any{slack, terminal, form} {
					assert.Equal(t, slices.Contains(c.named, way), strings.Contains(a.text, "by "+way.(string)), a.text)
				}
			})
		}
	}
}

func TestForeignTextIsShownPlain(t *testing.T) {
	evil := "a\u202eb\u200bc\u0007d\ne`<b>*"
	h := build(t, func(s *setup) {
		s.tools.Actor = func(context.Context, string) policy.Actor {
			return policy.Actor{Door: policy.DoorMCP, Subject: "agent", Name: evil, Client: strings.Repeat("very-", 20) + evil, Vouched: "test", Role: policy.RoleOperate}
		}
	})
	h.fake.AddSnapshot(vpsfake.Point{ServerID: 12345, Name: evil, Description: evil})
	d := h.stdio(t)
	for _, a := range []answer{
		d.call("list_snapshots", `{}`), d.call("list_recovery_points", `{"server":"12345"}`),
		d.call("restore_snapshot", `{"server":"12345","snapshot_id":802,"reason":"say \"yes\" \u202e\u200b and go on"}`),
		d.call("list_requests", `{}`),
	} {
		for _, not := range []string{"\u202e", "\u200b", "\u0007", "\\u202e", "\\u200b", "\\u0007"} {
			assert.NotContains(t, a.text+a.raw, not)
		}
	}
	a := d.call("get_request", fmt.Sprintf(`{"request_id":%q}`, d.call("list_requests", `{}`).content["requests"].([]any)[0].(map[string]any)["id"]))
	assert.Contains(t, a.text, `Reason given: "say \"yes\" and go on"`, "in quotes, on a line of its own")
	assert.LessOrEqual(t, len([]rune(a.at("request", "requester", "calls_itself").(string))), 40)
}

func TestTheLabelStandsInEveryResult(t *testing.T) {
	h := build(t, func(s *setup) { s.tools.Label = "sandbox" })
	d := h.stdio(t)
	for _, a := range []answer{
		d.call("list_servers", `{}`), d.call("restore_snapshot", restore), d.call("restore_snapshot", `{}`),
	} {
		assert.Equal(t, true, a.at("sandbox"))
		assert.True(t, strings.HasPrefix(a.text, "[sandbox] "), a.text)
	}
}

func TestFailuresAreSmallAndTellNothingFromInside(t *testing.T) {
	secret := errors.New("dial tcp 10.0.0.7: token vps_secret")
	for name, c := range map[string]struct {
		err  error
		kind string
		says string
	}{
		"what is made for people is told":    {policy.Errorf(policy.Conflict, "it is full").WithHint("Free a slot."), "conflict", "it is full"},
		"a cause is for the log":             {policy.Errorf(policy.Unavailable, "VPS.org cannot be reached").Because(secret), "unavailable", "cannot be reached"},
		"any other error is internal":        {secret, "internal", "something went wrong"},
		"a deadline is not internal":         {context.DeadlineExceeded, "unavailable", "ended before there was an answer"},
		"a long one is cut":                  {policy.Errorf(policy.Conflict, "%s", strings.Repeat("very long ", 200)).WithHint("%s", strings.Repeat("hint ", 200)), "conflict", "very long"},
		"quotes and brackets count as sent":  {policy.Errorf(policy.Conflict, "%s", strings.Repeat(`"<\`, 400)), "conflict", `"<\`},
		"so do characters of several bytes":  {policy.Errorf(policy.Conflict, "%s", strings.Repeat("漢", 600)).WithHint("%s", strings.Repeat("字", 600)), "conflict", "漢"},
		"a hidden character is taken out":    {policy.Errorf(policy.Conflict, "a\u202eb"), "conflict", "ab"},
		"an outcome that is none is a fault": {nil, "internal", "something went wrong"},
	} {
		t.Run(name, func(t *testing.T) {
			h := build(t, with(policy.Descriptor{Name: "list_faults"}, func(context.Context) (policy.Outcome, error) {
				return policy.Outcome{}, c.err
			}))
			frame := h.say(t, request(7, "tools/call", `{"name":"list_faults"}`))
			page := post(t.Context(), h.serve(t, tools.HTTPOptions{}), request(7, "tools/call", `{"name":"list_faults",`+meta+`}`),
				map[string]string{"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "list_faults"}).body
			require.Contains(t, page, "serverInfo")
			for _, sent := range []string{frame, page} {
				assert.LessOrEqual(t, len(sent), 1024+len(`{"jsonrpc":"2.0","id":7,"result":}`+"\n"))
			}
			a := h.stdio(t).call("list_faults", `{}`)
			assert.True(t, a.failed)
			assert.Equal(t, c.kind, a.at("error", "kind"))
			assert.Contains(t, a.at("error", "message"), c.says)
			assert.Contains(t, a.text, c.says)
			assert.NotContains(t, frame, "secret")
			if errors.Is(c.err, secret) {
				assert.Contains(t, h.log.String(), "secret", "whoever runs the program sees the cause")
			}
		})
	}
}

func TestAPanicIsAnErrorResultWithTheRightID(t *testing.T) {
	for name, come := range doors {
		t.Run(name, func(t *testing.T) {
			h := build(t, with(policy.Descriptor{Name: "list_panics"}, func(context.Context) (policy.Outcome, error) {
				panic("the secret of the house")
			}))
			d := come(t, h)
			for range 10 { // the door stays open
				a := d.call("list_panics", `{}`) // the client matches answers by their id
				assert.Equal(t, "internal", a.at("error", "kind"))
				assert.NotContains(t, a.text+a.raw, "secret")
			}
			assert.NotContains(t, h.log.String(), "the secret of the house")
			assert.Contains(t, h.log.String(), "results_test.go", "with the stack")
		})
	}
}

// TestAToolOfATestIsAnswered: results are watched for what their tools promise. The fixtures of
// the conformance suite promise nothing, and what watches may not come between them and the client.
func TestAToolOfATestIsAnswered(t *testing.T) {
	h := build(t, alone)
	h.server.Library().AddTool(mcp.NewTool("of_the_test"), func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return mcp.NewToolResultText("answered"), nil
	})
	url := h.serve(t, tools.HTTPOptions{})
	r := post(t.Context(), url, request(1, "tools/call", `{"name":"of_the_test"}`), session(t, url))
	assert.Contains(t, r.body, `"text":"answered"`)
}

// mistakes are what a check found wrong.
type mistakes []string

func (m *mistakes) Errorf(format string, args ...any) { *m = append(*m, fmt.Sprintf(format, args...)) }

// TestABrokenPromiseIsFoundAndTheCallGoesOn: what checks results runs in their calls, of which
// it may end none.
func TestABrokenPromiseIsFoundAndTheCallGoesOn(t *testing.T) {
	const count = `{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}`
	for _, c := range []struct {
		schema, result string
		kept           bool
	}{
		{count, `{"n":1}`, true},
		{count, `{"n":"1"}`, false},
		{count, `{}`, false},
		{count, ``, false},
		{`null`, `{"n":1}`, false}, // no tool of ours goes without
	} {
		var found mistakes
		conforms(&found, "list_servers", json.RawMessage(c.schema), &mcp.CallToolResult{RawStructuredContent: json.RawMessage(c.result)})
		assert.Equal(t, c.kept, len(found) == 0, "%s of %s: %s", c.result, c.schema, found)
	}
}
