package slackbot

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
)

// fields are the inputs of a modal, by block.
func fields(v slack.ModalViewRequest) map[string]*slack.InputBlock {
	out := map[string]*slack.InputBlock{}
	for _, b := range v.Blocks.BlockSet {
		if in, ok := b.(*slack.InputBlock); ok {
			out[in.BlockID] = in
		}
	}
	return out
}

func TestModalsAreAsTheyWere(t *testing.T) {
	for name, r := range kinds() {
		st := standing(inState(r, policy.StateHeld))
		for which, v := range map[string]slack.ModalViewRequest{"approve": ours().approveModal(st, "key"), "deny": ours().denyModal(st, "key")} {
			checkOpened(t, v)
			golden(t, "modal/"+which+"_"+name, v)
			assert.Equal(t, "key", v.PrivateMetadata)
		}
	}
}

func TestWhatHasToBeTyped(t *testing.T) {
	for _, row := range []struct {
		what, kind string
		edit       func(*policy.Request)
		label      string
		hint       string
	}{
		{"an overwrite", "overwrite_snapshot", nil, "Type the server's name to approve: web-12345", "Exactly"},
		{"the last good one", "delete_last_good", nil, "Type the server's name to approve: web-12345", "Exactly"},
		{"another delete", "delete", nil, "", ""},
		{"several at once", "prune", nil, "Type the server's name to approve: web-12345", "Exactly"},
		{"a create that a rule holds", "create", nil, "Type the server's name to approve: web-12345", "Exactly"},
		{"two of one name", "overwrite_snapshot", func(r *policy.Request) { r.Plan.Server.Alone = false }, "Type the server's id to approve: 12345", "other servers have this name"},
		{"servers that cannot be read", "overwrite_snapshot", func(r *policy.Request) { r.Plan.Server.Alone, r.Plan.Server.Status = false, "" }, "Type the server's id to approve: 12345", "it is not known whether other servers have this name"},
		{"a name that is not plain", "overwrite_snapshot", func(r *policy.Request) { r.Plan.Server.Name = "wеb-1" }, "Type the server's id to approve: 12345", "characters that look like others"},
	} {
		r := inState(kinds()[row.kind], policy.StateHeld)
		if row.edit != nil {
			row.edit(&r)
		}
		v := ours().approveModal(standing(r), "key")
		checkOpened(t, v)
		in := fields(v)
		require.Contains(t, in, fieldNote, row.what)
		assert.True(t, in[fieldNote].Optional)
		if row.label == "" {
			assert.NotContains(t, in, fieldTyped, row.what)
			continue
		}
		require.Contains(t, in, fieldTyped, row.what)
		assert.Equal(t, row.label, in[fieldTyped].Label.Text, row.what)
		assert.Contains(t, in[fieldTyped].Hint.Text, row.hint, row.what)
		assert.False(t, in[fieldTyped].Optional)
		e, ok := in[fieldTyped].Element.(*slack.PlainTextInputBlockElement)
		require.True(t, ok)
		assert.Empty(t, e.InitialValue)
		assert.Nil(t, e.Placeholder, "what is to be typed stands nowhere in the field")
	}
}

func TestTheModalShowsTheWholePlan(t *testing.T) {
	r := kinds()["overwrite_snapshot"]
	for i := range 40 {
		r.Plan.Losses = append(r.Plan.Losses, fmt.Sprintf("loss %d %s end of loss %d", i, strings.Repeat("x", 900), i))
		r.Plan.Warnings = append(r.Plan.Warnings, fmt.Sprintf("warning %d", i))
		r.Plan.Notes = append(r.Plan.Notes, fmt.Sprintf("note %d", i))
	}
	r.Plan.Losses = append(r.Plan.Losses, strings.Repeat("long ", 2000)+"the very end")
	v := ours().approveModal(standing(r), "key")
	checkOpened(t, v)
	shown := seenView(t, v)
	for i := range 40 {
		assert.Contains(t, shown, fmt.Sprintf("end of loss %d", i))
		assert.Contains(t, shown, fmt.Sprintf("warning %d", i))
		assert.Contains(t, shown, fmt.Sprintf("note %d", i))
	}
	assert.Contains(t, strings.ReplaceAll(shown, "\n", ""), "the very end")
	assert.NotContains(t, shown, "…")
	assert.NotContains(t, shown, " more")
	assert.Equal(t, viewApprove, v.CallbackID)
	assert.Equal(t, "Approve", v.Submit.Text)
}

func TestWhatCannotBeShownWholeCannotBeApproved(t *testing.T) {
	long := func(n, words int) func(*policy.Request) {
		return func(r *policy.Request) {
			for range n {
				r.Plan.Losses = append(r.Plan.Losses, strings.Repeat("loss ", words))
			}
		}
	}
	for _, row := range []struct {
		what string
		edit func(*policy.Request)
	}{
		{"too many bytes", long(90, 570)},
		{"too many blocks", long(120, 300)},
		{"one loss that is endless", func(r *policy.Request) { r.Plan.Losses = []string{strings.Repeat("loss ", 100_000)} }},
		{"a name that no field takes", func(r *policy.Request) { r.Plan.Server.Name = strings.Repeat("n", 300) }},
		{"Slack does not count", func(r *policy.Request) { r.Conditions.Ways = []policy.Way{policy.WayTerminal} }},
		{"denied meanwhile", func(r *policy.Request) { *r = inState(*r, policy.StateDenied) }},
		{"expired meanwhile", func(r *policy.Request) { *r = inState(*r, policy.StateExpired) }},
		{"done meanwhile", func(r *policy.Request) { *r = inState(*r, policy.StateDone) }},
	} {
		r := kinds()["overwrite_snapshot"]
		row.edit(&r)
		v := ours().approveModal(standing(r), "key")
		checkOpened(t, v)
		assert.Equal(t, viewTold, v.CallbackID, row.what)
		assert.Nil(t, v.Submit, row.what)
		assert.Empty(t, fields(v), row.what)
	}
	v := ours().denyModal(standing(inState(kinds()["delete"], policy.StateDenied)), "key")
	assert.Equal(t, viewTold, v.CallbackID)
	assert.Contains(t, seenView(t, v), "wrong server")
}

func TestToldSaysAnything(t *testing.T) {
	for _, row := range []struct{ title, text string }{
		{"", ""}, {"Approved", "It is approved.\nIt starts now."}, {strings.Repeat("é", 99), strings.Repeat("ü ", 9000)}, {"x", strings.Repeat("line\n", 500)},
	} {
		v := ours().told(row.title, row.text)
		checkOpened(t, v)
		assert.NotEmpty(t, v.Title.Text)
	}
}

// shownForm is a descriptor with one argument of each sort.
var shownForm = policy.Descriptor{
	Name: "undo_thing", Title: "Undo a thing with a long title", Noun: "thing", Verb: "undo", Effect: policy.Overwrite,
	Arguments: []policy.Argument{
		{Name: "server", Type: policy.String, Required: true, Max: 200, Of: "server", About: "Id or exact name"},
		{Name: "thing_id", Type: policy.Integer, Required: true, Min: 1, Of: "thing", About: "Its id"},
		{Name: "reason", Type: policy.String, Required: true, Max: 20, About: "Why, for whoever confirms"},
		{Name: "safety_copy", Type: policy.Boolean, Default: true, About: "Copy first"},
		{Name: "limit", Type: policy.Integer, Min: 1, Max: 100, Default: 20},
		{Name: "status", Type: policy.String, Enum: []string{"active", "stopped"}, Default: "active"},
	},
}

func TestTheFormForWhatIsMissing(t *testing.T) {
	v := ours().askModal(shownForm, nil, "key")
	checkOpened(t, v)
	golden(t, "modal/ask", v)
	assert.Len(t, fields(v), 5)

	v = ours().askModal(shownForm, map[string]any{"server": "web-01", "thing_id": int64(5)}, "key")
	checkOpened(t, v)
	assert.Len(t, fields(v), 3)
	assert.Contains(t, seenView(t, v), "Server: web-01\nThing id: 5")
}

func TestReadingTheForm(t *testing.T) {
	typed := func(s string) map[string]blockValue {
		return map[string]blockValue{"fill:reason": {Value: s}, "fill:limit": {Value: s}}
	}
	chosen := func(name, s string) map[string]blockValue {
		return map[string]blockValue{"pick:" + name: {SelectedOption: slack.OptionBlockObject{Value: s}}}
	}
	good := map[string]map[string]blockValue{
		"ask:server": chosen("server", "12345"), "ask:thing_id": chosen("thing_id", "801"), "ask:reason": typed(" roll\nback "),
		"ask:safety_copy": chosen("safety_copy", "no"), "ask:limit": typed(""), "ask:status": chosen("status", "stopped"),
	}
	given, wrong := readAsk(shownForm, good)
	assert.Empty(t, wrong)
	assert.Equal(t, map[string]any{"server": "12345", "thing_id": int64(801), "reason": "roll back", "safety_copy": false, "status": "stopped"}, given)
	raw, err := json.Marshal(given)
	require.NoError(t, err)
	_, err = policy.ParseArguments(shownForm, raw)
	require.NoError(t, err, "what is read is what the gate takes")

	for _, row := range []struct {
		what, block string
		value       map[string]blockValue
	}{
		{"left empty", "ask:reason", typed("  ")},
		{"nothing chosen", "ask:server", chosen("server", "")},
		{"not a number", "ask:limit", typed("many")},
		{"too small", "ask:limit", typed("0")},
		{"too large", "ask:limit", typed("101")},
		{"too long", "ask:reason", typed(strings.Repeat("é", 21))},
		{"not one of them", "ask:status", chosen("status", "gone")},
		{"neither yes nor no", "ask:safety_copy", chosen("safety_copy", "maybe")},
	} {
		values := map[string]map[string]blockValue{}
		for k, v := range good {
			values[k] = v
		}
		values[row.block] = row.value
		_, wrong := readAsk(shownForm, values)
		assert.Len(t, wrong, 1, row.what)
		assert.NotEmpty(t, wrong[row.block], row.what)
	}
	given, wrong = readAsk(shownForm, map[string]map[string]blockValue{"ask:reason": typed("é")})
	assert.Empty(t, wrong, "what was not in the form was given before")
	assert.Equal(t, map[string]any{"reason": "é"}, given)
}
