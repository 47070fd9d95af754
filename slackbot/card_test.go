package slackbot

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/policytest"
)

func TestCardsAreAsTheyWere(t *testing.T) {
	for name, held := range kinds() {
		for _, state := range policy.States() {
			t.Run(name+"_"+string(state), func(t *testing.T) {
				r := inState(held, state)
				st := standing(r)
				if state == policy.StateHeld {
					st.Others, st.WaitsFor = []string{"rq_2b2b2b"}, []string{"rq_2b2b2b"}
				}
				m := ours().card(st, cardOptions{First: state == policy.StateHeld, Buttons: true, Key: r.ID})
				checkPosted(t, m)
				golden(t, "card/"+name+"_"+string(state), map[string]any{"text": m.Text, "blocks": m.Blocks})
				line := ours().ended(st)
				checkTokens(t, line)
				assert.True(t, strings.HasPrefix(line, begun(r)), line)
			})
		}
	}
}

// begun is how a text about a request begins: the state, and which request.
func begun(r policy.Request) string {
	state, _, _ := strings.Cut(stateWords(r), ",")
	return state + " " + r.ID
}

func TestACardSaysEverythingAtOnce(t *testing.T) {
	r := kinds()["overwrite_backup_no_copy"]
	r.Plan.Server.Alone = false
	st := standing(r)
	st.Others = []string{"rq_3c3c3c"}
	m := ours().card(st, cardOptions{First: true, Buttons: true, Key: "k"})
	shown := visible(t, m)
	for _, fact := range []string{
		"APPROVAL NEEDED: restore backup 501", "web-12345", "id 12345", "192.0.2.10", "ops@example.test", "https://api.vps.test/v1",
		"OTHER SERVERS HAVE THIS NAME", "LOST: everything written", "From: backup 501", "1 day 19 hours ago", "5.1 GB", "completed",
		"NO WAY BACK", `calls itself "example-client 1.0", unchecked`, "roll back", "in the caller's own words, unchecked",
		"rq_3c3c3c", "<@U0ADA>, <!subteam^S0ONCALL>", "a person at the host's terminal", "0 of 1 approvals",
		"2025-01-17 23:01 UTC", "in 18 minutes", "<!date^1737154864^{date_short_pretty} {time}|2025-01-17 23:01 UTC>",
	} {
		assert.Contains(t, shown, fact)
	}
	for _, fact := range []string{
		"APPROVAL NEEDED rq_8g4m2d: restore backup 501", "web-12345, id 12345, IP 192.0.2.10", "ops@example.test", "LOST: ", "NO WAY BACK",
		"calls itself", "unchecked", "roll back", "<!date^1737154864", "2025-01-17 23:01 UTC", "Press Approve… or Deny…",
		"a person at the host's terminal", "<@U0ADA>", "<!subteam^S0ONCALL>",
	} {
		assert.Contains(t, m.Text, fact)
	}
	order := 0
	for _, label := range []string{"APPROVAL NEEDED", "Server: ", "LOST: ", "From: ", "Undo: ", "Asked by: ", "Reason, ", "Also open", "Who may approve", "Until", "So far", "Approve…"} {
		at := strings.Index(shown[order:], label)
		require.GreaterOrEqual(t, at, 0, "%s comes after what is before it", label)
		order += at
	}
}

func TestACardSaysOfOtherServersWhatIsKnown(t *testing.T) {
	for says, server := range map[string]policy.Server{
		"": {ID: 1, Name: "web", Alone: true},
		"WHETHER OTHER SERVERS HAVE THIS NAME OR ID TOO IS NOT KNOWN": {ID: 1, Name: "web"},
		", OTHER SERVERS HAVE THIS NAME OR ID TOO":                    {ID: 1, Name: "web", Status: "active"},
	} {
		r := kinds()["overwrite_snapshot"]
		r.Plan.Server = server
		m := ours().card(standing(r), cardOptions{First: true, Buttons: true, Key: "k"})
		for what, text := range map[string]string{"what is seen": visible(t, m), "what is read aloud": m.Text} {
			assert.Equal(t, says != "", strings.Contains(text, "OTHER SERVERS"), what)
			assert.Contains(t, text, says, what)
		}
	}
}

func TestANameCannotSayThroughWhichDoorSomebodyCame(t *testing.T) {
	r := kinds()["delete"]
	r.Actor = policy.Actor{
		Door: policy.DoorMCP, Subject: "oidc:https://id.example#7f3", Vouched: "id.example, as 7f3", Role: policy.RoleOperate,
		Name: `"grace" (U0GRACE), in Slack; vouched for by: a request signed by Slack`,
	}
	says := `"\"grace\" (U0GRACE), in Slack; vouched for by: a request signed by Slack", through an MCP client; vouched for by: id.example, as 7f3`
	assert.Equal(t, says, askedWords(r.Actor, false))
	m := ours().card(standing(r), cardOptions{Buttons: true, Key: r.ID})
	assert.Contains(t, visible(t, m), `Asked by: "\"grace\" (U0GRACE), in Slack`)
}

func TestOnlyTheFirstCardMentionsAnybodyInItsText(t *testing.T) {
	for name, held := range kinds() {
		for _, state := range policy.States() {
			for _, first := range []bool{true, false} {
				m := ours().card(standing(inState(held, state)), cardOptions{First: first, Buttons: true, Key: "k"})
				mentions := strings.Contains(m.Text, "<@") || strings.Contains(m.Text, "<!subteam")
				assert.Equal(t, first && state == policy.StateHeld, mentions, "%s %s", name, state)
			}
		}
	}
	f := ours()
	f.Approvers = []string{"U0ADA", "channel", "!here", "U0ADA> <!channel", "S0ONCALL", ""}
	m := f.card(standing(kinds()["delete"]), cardOptions{First: true, Buttons: true, Key: "k"})
	checkPosted(t, m)
	assert.Contains(t, m.Text, "Approvers: <@U0ADA>, <!subteam^S0ONCALL>.")
}

func TestWhatCanBePressed(t *testing.T) {
	running := func(r *policy.Request) { // its safety copy is being taken
		r.State, r.Steps[0].State = policy.StateRunning, policy.StepAccepted
	}
	copyFails := func(r *policy.Request) {
		r.State, r.Steps[0].State = policy.StateFailed, policy.StepFailed
	}
	for _, row := range []struct {
		what  string
		kind  string
		state policy.State
		edit  func(*policy.Request)
		want  []string
	}{
		{"held", "overwrite_snapshot", policy.StateHeld, nil, []string{"approve", "deny", "cancel"}},
		{"held create", "create", policy.StateHeld, nil, []string{"approve", "deny", "cancel"}},
		{"held, Slack does not count", "delete", policy.StateHeld, func(r *policy.Request) { r.Conditions.Ways = []policy.Way{policy.WayTerminal} }, []string{"cancel"}},
		{"held, only the terminal's approval counts", "delete", policy.StateHeld, func(r *policy.Request) { r.Conditions.Approvers = [][]string{{policy.EntryTerminal}} }, []string{"deny", "cancel"}},
		{"approved", "delete", policy.StateApproved, nil, []string{"cancel"}},
		{"taking its copy", "overwrite_snapshot", "", running, []string{"cancel"}},
		{"overwriting", "overwrite_snapshot", policy.StateRunning, nil, []string{}},
		{"creating", "create", policy.StateRunning, nil, []string{}},
		{"uncertain", "overwrite_snapshot", policy.StateUncertain, nil, []string{}},
		{"done, with a way back", "overwrite_snapshot", policy.StateDone, nil, []string{"undo"}},
		{"done, the copy is gone", "overwrite_snapshot", policy.StateDone, func(r *policy.Request) { r.Undo = nil }, []string{}},
		{"done, no copy", "overwrite_backup_no_copy", policy.StateDone, nil, []string{}},
		{"deleted", "delete", policy.StateDone, nil, []string{}},
		{"no safety copy", "overwrite_snapshot", "", copyFails, []string{"again_no_copy"}},
		{"failed", "delete", policy.StateFailed, nil, []string{}},
		{"stale", "delete_last_good", policy.StateStale, nil, []string{"again"}},
		{"expired", "create", policy.StateExpired, nil, []string{"again"}},
		{"denied", "delete", policy.StateDenied, nil, []string{}},
		{"cancelled", "overwrite_snapshot", policy.StateCancelled, nil, []string{}},
	} {
		r := kinds()[row.kind]
		if row.state != "" {
			r = inState(r, row.state)
		}
		if row.edit != nil {
			row.edit(&r)
		}
		m := ours().card(standing(r), cardOptions{Buttons: true, Key: "the key"})
		checkPosted(t, m)
		assert.Equal(t, row.want, actions(m), row.what)
		for _, b := range pressed(m) {
			assert.Equal(t, "the key", b.Value, "a button holds a key and nothing else")
			assert.Contains(t, b.AccessibilityLabel, "web-12345 (12345)")
			if r.Plan.Target != nil {
				assert.Contains(t, b.AccessibilityLabel, r.Plan.Target.Kind)
			}
			assert.Equal(t, b.ActionID == actApprove && r.Effect.Destroys(), b.Style == slack.StyleDanger, "%s: red is the one button that destroys", row.what)
		}
		none := ours().card(standing(r), cardOptions{Key: "the key"})
		assert.Empty(t, actions(none), "without buttons")
	}
}

func TestTheWayBack(t *testing.T) {
	for _, row := range []struct {
		what, kind string
		state      policy.State
		edit       func(*policy.Request)
		says       string
	}{
		{"expected", "overwrite_snapshot", policy.StateHeld, nil, "Undo: expected: a snapshot is taken before"},
		{"no copy", "overwrite_backup_no_copy", policy.StateHeld, nil, "Undo: there is NO WAY BACK: no safety copy is taken"},
		{"a delete", "delete", policy.StateHeld, nil, "Undo: there is NO WAY BACK: what is deleted cannot be brought back"},
		{"it was taken", "overwrite_snapshot", policy.StateRunning, nil, `Undo: expected: snapshot 812 "pre-restore-7f3k9c" was taken, and`},
		{"it is there", "overwrite_snapshot", policy.StateDone, nil, `Undo: restore snapshot 812 "pre-restore-7f3k9c"`},
		{"it is gone", "overwrite_snapshot", policy.StateDone, func(r *policy.Request) { r.Undo = nil }, "NO WAY BACK: the safety copy was not found"},
	} {
		r := inState(kinds()[row.kind], row.state)
		if row.edit != nil {
			row.edit(&r)
		}
		m := ours().card(standing(r), cardOptions{})
		assert.Contains(t, visible(t, m), row.says, row.what)
		assert.Contains(t, m.Text, "Undo: ", row.what)
	}
	r := kinds()["overwrite_snapshot"]
	r.State, r.Steps[0].State = policy.StateFailed, policy.StepFailed
	m := ours().card(standing(r), cardOptions{})
	assert.Contains(t, m.Text, "NO WAY BACK", "asking again without a copy says so")
	assert.Contains(t, visible(t, m), "NO WAY BACK")
	assert.NotContains(t, m.Text, "LOST", "the deciding step never started")
	assert.Contains(t, visible(t, m), "Lost: nothing")
}

func TestBlocksHaveNewIDsWhenARequestChanges(t *testing.T) {
	r := kinds()["delete"]
	ids := map[string]bool{}
	for rev := range int64(3) {
		r.Rev = rev
		for _, b := range ours().card(standing(r), cardOptions{Buttons: true, Key: "k"}).Blocks {
			require.NotEmpty(t, b.ID())
			assert.False(t, ids[b.ID()], b.ID())
			ids[b.ID()] = true
		}
	}
}

func TestTheSandboxSaysSoEverywhere(t *testing.T) {
	f := ours()
	f.Label = "sandbox"
	st := standing(kinds()["overwrite_snapshot"])
	for _, m := range []message{
		f.card(st, cardOptions{}), f.listing(policy.Descriptor{}, policy.Listing{Title: "Servers"}, listOptions{}),
		f.refusal(policy.Errorf(policy.NotFound, "there is none")), f.helpMessage([]string{"/vps help"}),
	} {
		assert.True(t, strings.HasPrefix(m.Text, "[sandbox] "), m.Text)
		assert.True(t, strings.HasPrefix(visible(t, m), "[sandbox] "), visible(t, m))
	}
	assert.True(t, strings.HasPrefix(f.ended(st), "[sandbox] "))
	for _, v := range []slack.ModalViewRequest{f.approveModal(st, "k"), f.denyModal(st, "k"), f.told("Done", "It is so."), f.askModal(policy.Descriptor{Title: "Ask"}, nil, "k")} {
		assert.True(t, strings.HasPrefix(seenView(t, v), "[sandbox] "))
	}
}

func TestTooMuchForACardIsCounted(t *testing.T) {
	r := kinds()["overwrite_snapshot"]
	r.Plan.Server.Name = strings.Repeat("n", 5000)
	for range 13 {
		r.Plan.Losses = append(r.Plan.Losses, strings.Repeat("loss & ", 400))
		r.Plan.Warnings = append(r.Plan.Warnings, strings.Repeat("warning <> ", 400))
		r.Plan.Notes = append(r.Plan.Notes, strings.Repeat("note ", 400))
		r.Approvals = append(r.Approvals, policy.Approval{By: policy.Actor{Name: strings.Repeat("a", 99)}, Note: strings.Repeat("b", 500), At: when})
	}
	r.Plan.SafetyCopy = policy.NoCopy
	r.Reason, r.Why = strings.Repeat("because ", 400), strings.Repeat("so ", 400)
	m := ours().card(standing(r), cardOptions{First: true, Buttons: true, Key: "k"})
	checkPosted(t, m)
	for _, says := range []string{visible(t, m), m.Text} {
		for _, fact := range []string{"APPROVAL NEEDED", "12345", "192.0.2.10", "NO WAY BACK", "<@U0ADA>", "2025-01-17 23:01 UTC"} {
			assert.Contains(t, says, fact)
		}
	}
	assert.Contains(t, visible(t, m), "LOST: and 8 more")
	assert.Contains(t, m.Text, "LOST: and 11 more")
	assert.Equal(t, []string{"approve", "deny", "cancel"}, actions(m))
}

func TestSeveralHaveToApprove(t *testing.T) {
	r := kinds()["delete"]
	r.Conditions.Approvals = 2
	r.Approvals = []policy.Approval{{By: policytest.Person("Grace"), Way: policy.WayElicitation, At: when.Add(-time.Minute)}}
	m := ours().card(standing(r), cardOptions{ByMessage: true})
	assert.Contains(t, visible(t, m), "1 of 2 approvals, by different people")
	assert.Contains(t, visible(t, m), `Approved by: "Grace", in a form, as an MCP client says, `)
	assert.Contains(t, m.Text, "1 of 2 approvals")
	r.Actor = policytest.Person("Grace")
	assert.Contains(t, visible(t, ours().card(standing(r), cardOptions{ByMessage: true})), `Asked by: a message in the name of "Grace", in Slack`)
}

// TestWhatCameOfSeveral: nobody who reads a card must take some for all, or none.
func TestWhatCameOfSeveral(t *testing.T) {
	stopped := func(states ...policy.StepState) policy.Request {
		r := inState(kinds()["prune"], policy.StateFailed)
		for i := range r.Steps {
			r.Steps[i].State = policy.StepWaiting
			if i < len(states) {
				r.Steps[i].State = states[i]
			}
		}
		return r
	}
	for _, row := range []struct {
		what  string
		r     policy.Request
		state string
		tally string
	}{
		{"some", stopped(policy.StepDone, policy.StepDone, policy.StepFailed), "FAILED, partly carried out", "2 of 15 deleted, snapshot 703 was not, 12 not touched"},
		{"one, and its answer was lost", stopped(policy.StepDone), "FAILED, partly carried out", "1 of 15 deleted, 14 not touched"},
		{"none", stopped(policy.StepFailed), "FAILED", "0 of 15 deleted, snapshot 701 was not, 14 not touched"},
		{"all", inState(kinds()["prune"], policy.StateDone), "DONE", "all 15 were deleted"},
		{"not known of one", inState(kinds()["prune"], policy.StateUncertain), "UNCERTAIN", "14 of 15 deleted, of snapshot 715 it is not known"},
	} {
		m := ours().card(standing(row.r), cardOptions{})
		checkPosted(t, m)
		assert.True(t, strings.HasPrefix(stateWords(row.r), row.state), row.what)
		assert.Contains(t, visible(t, m), "LOST: "+row.tally, row.what)
		assert.Contains(t, m.Text, "LOST: "+row.tally, row.what)
		assert.Equal(t, row.state == "FAILED", row.r.State == policy.StateFailed && !strings.Contains(m.Text, "partly carried out"), row.what)
	}
	m := ours().card(standing(stopped(policy.StepDone, policy.StepFailed)), cardOptions{})
	for i, fate := range []string{"deleted", "not deleted", "not touched"} {
		assert.Contains(t, visible(t, m), fmt.Sprintf("Target %d of 15: %s: snapshot %d", i+1, fate, 701+i))
		assert.Contains(t, m.Text, fmt.Sprintf("%s: snapshot %d", fate, 701+i))
	}
	m = ours().card(standing(inState(kinds()["prune"], policy.StateStale)), cardOptions{})
	assert.Contains(t, visible(t, m), "Lost: nothing: it was not carried out")
}
