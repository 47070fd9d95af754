package slackbot

import (
	"fmt"
	"strings"
	"testing"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/assert"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/policytest"
)

// offered are what rows offer, and what they do not.
var offered = []policy.Descriptor{
	{Name: "a", Noun: "snapshot", Verb: "restore", Effect: policy.Overwrite, Arguments: []policy.Argument{{Of: "snapshot"}}},
	{Name: "b", Noun: "snapshot", Verb: "delete", Effect: policy.Delete, Arguments: []policy.Argument{{Of: "snapshot"}}},
	{Name: "e", Noun: "snapshot", Verb: "prune", Effect: policy.Delete, Arguments: []policy.Argument{{Of: "server"}}}, // not of one row
	{Name: "c", Noun: "snapshot", Verb: "create", Effect: policy.Create},
	{Name: "d", Noun: "backup", Verb: "restore", Effect: policy.Overwrite},
}

func points(n int) policy.Listing {
	l := policy.Listing{Title: "Snapshots of web-12345 (12345)", Total: 57, Next: "20", Lines: []string{"2 of 5 snapshot slots used"}}
	for i := range n {
		p := policytest.Point(int64(800 + i))
		l.Rows = append(l.Rows, policy.Row{
			Text: fmt.Sprintf("%d %s, completed, 2048 MB, 2 days 4 hours ago", p.ID, p.Name), Server: policytest.Server(12345), Point: &p,
		})
	}
	return l
}

func TestListingsAreAsTheyWere(t *testing.T) {
	requests := policy.Listing{Title: "Requests", Total: 1, Rows: []policy.Row{{
		Text: "rq_7f3k9c held restore snapshot 801", Request: "rq_7f3k9c", Server: policytest.Server(12345), Point: points(1).Rows[0].Point,
	}}}
	for name, l := range map[string]policy.Listing{"points": points(3), "requests": requests, "empty": {Title: "Servers"}} {
		m := ours().listing(policy.Descriptor{}, l, listOptions{Actions: offered, Rev: "1", NextKey: "next"})
		checkPosted(t, m)
		golden(t, "list/"+name, map[string]any{"text": m.Text, "blocks": m.Blocks})
	}
}

func TestRowsOfferWhatTheCatalogueHas(t *testing.T) {
	m := ours().listing(policy.Descriptor{}, points(20), listOptions{Actions: offered, NextKey: "next"})
	checkPosted(t, m)
	all := pressed(m)
	assert.Len(t, all, 41)
	assert.Equal(t, "row_restore", all[0].ActionID)
	assert.Equal(t, "Restore…", all[0].Text.Text)
	assert.Equal(t, "snapshot 12345 800", all[0].Value)
	assert.Equal(t, "Restore, snapshot 800, server web-12345 (12345)", all[0].AccessibilityLabel)
	assert.Equal(t, "row_delete", all[1].ActionID)
	for _, b := range all {
		assert.Equal(t, slack.StyleDefault, b.Style, "a row's button only opens a form")
	}
	assert.Equal(t, "page", all[40].ActionID)
	assert.Equal(t, "next", all[40].Value)
	assert.Contains(t, m.Text, "20 of 57")
	assert.Equal(t, 20, strings.Count(m.Text, "completed"))

	l := points(2)
	l.Next = ""
	l.Rows[0].Point = nil
	l.Rows[1].Server = policy.Server{}
	assert.Empty(t, actions(ours().listing(policy.Descriptor{}, l, listOptions{Actions: offered, NextKey: "next"})))
}

func TestALongPageStillFits(t *testing.T) {
	for _, n := range []int{20, 21, 22, 50, 100, 500} {
		l := points(n)
		l.Lines = []string{"a", "b", "c", "d", "e"}
		for i := range l.Rows {
			l.Rows[i].Text = strings.Repeat("&", 100)
		}
		m := ours().listing(policy.Descriptor{}, l, listOptions{Actions: offered, NextKey: "next"})
		checkPosted(t, m)
		assert.Contains(t, visible(t, m), fmt.Sprintf("%d of 57", n))
		assert.Contains(t, m.Text, fmt.Sprintf("%d of 57", n))
		assert.Contains(t, m.Text, "more rows")
		assert.Contains(t, actions(m), "page")
		assert.NotContains(t, visible(t, m), "parts are not shown")
	}
}

func TestRefusalsSayWhatWouldBeRight(t *testing.T) {
	for _, k := range []policy.Kind{
		policy.Invalid, policy.NotFound, policy.Forbidden, policy.Conflict, policy.Expired, policy.Stale, policy.Unavailable,
		policy.Uncertain, policy.Internal, "other",
	} {
		m := ours().refusal(policy.Errorf(k, "there is no snapshot %d", 801).WithHint("list them first"))
		checkPosted(t, m)
		assert.Contains(t, m.Text, "There is no snapshot 801. List them first.")
		assert.Contains(t, visible(t, m), "There is no snapshot 801.")
	}
	checkPosted(t, ours().refusal(nil))
	checkPosted(t, ours().refusal(&policy.Error{}))
}

func TestHelpFits(t *testing.T) {
	for _, n := range []int{0, 1, 30, 500} {
		var lines []string
		for i := range n {
			lines = append(lines, fmt.Sprintf("/vps thing%d SERVER ID a reason of <any> & length", i))
		}
		m := ours().helpMessage(lines)
		checkPosted(t, m)
		assert.Contains(t, m.Text, "What /vps can do")
	}
}
