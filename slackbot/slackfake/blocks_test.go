package slackfake_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// u is n characters of two bytes each, which count as n.
func u(n int) string { return strings.Repeat("ü", n) }

// times repeats a piece of JSON with %d in it.
func times(n int, piece string) string {
	out := make([]string, n)
	for i := range out {
		out[i] = strings.ReplaceAll(piece, "%d", fmt.Sprint(i))
	}
	return strings.Join(out, ",")
}

func TestEachLimitOfBlockKitHoldsToTheCharacter(t *testing.T) {
	button := func(more string) string {
		return `{"type":"actions","elements":[{"type":"button","text":{"type":"plain_text","text":"x"}` + more + `}]}`
	}
	confirm := func(title, text, yes int) string {
		return fmt.Sprintf(`,"confirm":{"title":{"type":"plain_text","text":%q},"text":{"type":"mrkdwn","text":%q},`+
			`"confirm":{"type":"plain_text","text":%q},"deny":{"type":"plain_text","text":"no"}}`, u(title), u(text), u(yes))
	}
	sel := func(options string) string {
		return `{"type":"section","text":{"type":"mrkdwn","text":"x"},"accessory":{"type":"static_select","options":[` + options + `]}}`
	}
	const option = `{"text":{"type":"plain_text","text":"o%d"},"value":"%d"}`
	for _, row := range []struct {
		what  string
		make  func(n int) string
		limit int
		at    string
	}{
		{"blocks", func(n int) string { return times(n, `{"type":"divider"}`) }, 50, "/blocks"},
		{"section text", func(n int) string { return `{"type":"section","text":{"type":"mrkdwn","text":"` + u(n) + `"}}` }, 3000, "/blocks/0/text/text"},
		{"fields", func(n int) string {
			return `{"type":"section","fields":[` + times(n, `{"type":"plain_text","text":"x"}`) + `]}`
		}, 10, "/blocks/0/fields"},
		{"a field", func(n int) string {
			return `{"type":"section","fields":[{"type":"plain_text","text":"` + u(n) + `"}]}`
		}, 2000, "/blocks/0/fields/0/text"},
		{"actions", func(n int) string {
			return `{"type":"actions","elements":[` + times(n, `{"type":"button","text":{"type":"plain_text","text":"x"},"action_id":"a%d"}`) + `]}`
		}, 25, "/blocks/0/elements"},
		{"context", func(n int) string {
			return `{"type":"context","elements":[` + times(n, `{"type":"mrkdwn","text":"x"}`) + `]}`
		}, 10, "/blocks/0/elements"},
		{"header", func(n int) string { return `{"type":"header","text":{"type":"plain_text","text":"` + u(n) + `"}}` }, 150, "/blocks/0/text/text"},
		{"button text", func(n int) string {
			return `{"type":"actions","elements":[{"type":"button","text":{"type":"plain_text","text":"` + u(n) + `"}}]}`
		}, 75, "/blocks/0/elements/0/text/text"},
		{"button value", func(n int) string { return button(`,"value":"` + u(n) + `"`) }, 2000, "/blocks/0/elements/0/value"},
		{"button label", func(n int) string { return button(`,"accessibility_label":"` + u(n) + `"`) }, 75, "/blocks/0/elements/0/accessibility_label"},
		{"action_id", func(n int) string { return button(`,"action_id":"` + u(n) + `"`) }, 255, "/blocks/0/elements/0/action_id"},
		{"block_id", func(n int) string { return `{"type":"divider","block_id":"` + u(n) + `"}` }, 255, "/blocks/0/block_id"},
		{"confirm title", func(n int) string { return button(confirm(n, 1, 1)) }, 100, "/blocks/0/elements/0/confirm/title/text"},
		{"confirm text", func(n int) string { return button(confirm(1, n, 1)) }, 300, "/blocks/0/elements/0/confirm/text/text"},
		{"confirm button", func(n int) string { return button(confirm(1, 1, n)) }, 30, "/blocks/0/elements/0/confirm/confirm/text"},
		{"options", func(n int) string { return sel(times(n, option)) }, 100, "/blocks/0/accessory/options"},
		{"option text", func(n int) string {
			return sel(`{"text":{"type":"plain_text","text":"` + u(n) + `"},"value":"v"}`)
		}, 75, "/blocks/0/accessory/options/0/text/text"},
		{"option value", func(n int) string {
			return sel(`{"text":{"type":"plain_text","text":"o"},"value":"` + u(n) + `"}`)
		}, 75, "/blocks/0/accessory/options/0/value"},
		{"overflow", func(n int) string {
			return `{"type":"actions","elements":[{"type":"overflow","options":[` + times(n, option) + `]}]}`
		}, 5, "/blocks/0/elements/0/options"},
		{"markdown", func(n int) string {
			return `{"type":"markdown","text":"x"},{"type":"markdown","text":"` + u(n-1) + `"}`
		}, 12_000, "/blocks/1/text"},
	} {
		assert.Empty(t, slackfake.CheckMessage([]byte("["+row.make(row.limit)+"]")), row.what)
		got := slackfake.CheckMessage([]byte("[" + row.make(row.limit+1) + "]"))
		if assert.Len(t, got, 1, row.what) {
			assert.Contains(t, got[0], "[json-pointer:"+row.at+"]", row.what)
		}
	}
}

func TestBlocksThatSlackRefuses(t *testing.T) {
	for _, row := range []struct{ what, blocks, says string }{
		{"an unknown block", `{"type":"marquee"}`, "unsupported type: marquee [json-pointer:/blocks/0/type]"},
		{"no block", `"x"`, "must provide an object [json-pointer:/blocks/0]"},
		{"an empty section", `{"type":"section"}`, "missing required field: text or fields [json-pointer:/blocks/0]"},
		{"an empty text", `{"type":"section","text":{"type":"mrkdwn","text":""}}`, "must be more than 0 characters [json-pointer:/blocks/0/text/text]"},
		{"a header in mrkdwn", `{"type":"header","text":{"type":"mrkdwn","text":"x"}}`, "unsupported type: mrkdwn [json-pointer:/blocks/0/text/type]"},
		{"emoji in mrkdwn", `{"type":"section","text":{"type":"mrkdwn","text":"x","emoji":true}}`, "invalid additional property: emoji [json-pointer:/blocks/0/text]"},
		{"an unknown property", `{"type":"divider","colour":"red"}`, "invalid additional property: colour [json-pointer:/blocks/0]"},
		{"a style of one's own", `{"type":"actions","elements":[{"type":"button","style":"warning","text":{"type":"plain_text","text":"x"}}]}`, "must be one of primary, danger [json-pointer:/blocks/0/elements/0/style]"},
		{"no elements", `{"type":"actions","elements":[]}`, "no less than 1 items allowed [json-pointer:/blocks/0/elements]"},
		{"the same block twice", `{"type":"divider","block_id":"a"},{"type":"divider","block_id":"a"}`, "`block_id` already exists: a [json-pointer:/blocks/1/block_id]"},
		{
			"the same action twice in a block", `{"type":"actions","elements":[` +
				`{"type":"button","action_id":"a","text":{"type":"plain_text","text":"x"}},{"type":"button","action_id":"a","text":{"type":"plain_text","text":"y"}}]}`,
			"`action_id` already exists in this block: a [json-pointer:/blocks/0/elements/1/action_id]",
		},
		{"an alert in a message", `{"type":"alert","text":{"type":"mrkdwn","text":"x"}}`, "unsupported type: alert [json-pointer:/blocks/0/type]"},
		{"an input as an action", `{"type":"actions","elements":[{"type":"plain_text_input","action_id":"a"}]}`, "unsupported type: plain_text_input [json-pointer:/blocks/0/elements/0/type]"},
		{"a button as an input", `{"type":"input","label":{"type":"plain_text","text":"x"},"element":{"type":"button","text":{"type":"plain_text","text":"x"}}}`, "unsupported type: button [json-pointer:/blocks/0/element/type]"},
		{"a menu without options", `{"type":"actions","elements":[{"type":"static_select"}]}`, "missing required field: options or option_groups [json-pointer:/blocks/0/elements/0]"},
		{"two tables", `{"type":"table","rows":[[{}]]},{"type":"table","rows":[[{}]]}`, "only one table is allowed [json-pointer:/blocks/1]"},
		{"empty rich text", `{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":""}]}]}`, "must be more than 0 characters [json-pointer:/blocks/0/elements/0/elements/0/text]"},
		{"null", `{"type":"section","text":null}`, "must not be null [json-pointer:/blocks/0/text]"},
	} {
		got := slackfake.CheckMessage([]byte("[" + row.blocks + "]"))
		assert.Contains(t, got, row.says, row.what)
	}
	same := `{"type":"actions","elements":[{"type":"button","action_id":"a","text":{"type":"plain_text","text":"x"}}]}`
	assert.Empty(t, slackfake.CheckMessage([]byte("["+same+","+same+"]")), "in two blocks an action may have the same name")
}

func TestViewsThatSlackRefuses(t *testing.T) {
	view := func(change func(map[string]any)) []byte {
		v := map[string]any{
			"type": "modal", "title": map[string]any{"type": "plain_text", "text": "T"},
			"submit": map[string]any{"type": "plain_text", "text": "S"}, "blocks": []any{map[string]any{"type": "divider"}},
		}
		change(v)
		b, err := json.Marshal(v)
		require.NoError(t, err)
		return b
	}
	caption := func(key string, n int) func(map[string]any) {
		return func(v map[string]any) { v[key] = map[string]any{"type": "plain_text", "text": u(n)} }
	}
	input := map[string]any{
		"type": "input", "label": map[string]any{"type": "plain_text", "text": "x"},
		"element": map[string]any{"type": "plain_text_input", "action_id": "a"},
	}
	for _, row := range []struct {
		change func(map[string]any)
		says   string // "" for nothing
	}{
		{func(map[string]any) {}, ""},
		{caption("title", 24), ""},
		{caption("title", 25), "must be less than 25 characters [json-pointer:/view/title/text]"},
		{caption("submit", 25), "must be less than 25 characters [json-pointer:/view/submit/text]"},
		{caption("close", 25), "must be less than 25 characters [json-pointer:/view/close/text]"},
		{func(v map[string]any) { v["private_metadata"] = u(3000) }, ""},
		{func(v map[string]any) { v["private_metadata"] = u(3001) }, "must be less than 3001 characters [json-pointer:/view/private_metadata]"},
		{func(v map[string]any) { v["callback_id"] = u(256) }, "must be less than 256 characters [json-pointer:/view/callback_id]"},
		{func(v map[string]any) { v["blocks"] = nil }, "missing required field: blocks [json-pointer:/view]"},
		{func(v map[string]any) { delete(v, "title") }, "missing required field: title [json-pointer:/view]"},
		{func(v map[string]any) { v["type"] = "home" }, "must be modal [json-pointer:/view/type]"},
		{func(v map[string]any) { v["blocks"] = []any{input}; delete(v, "submit") }, "missing required field: submit [json-pointer:/view]"},
		{func(v map[string]any) { v["blocks"] = []any{input} }, ""},
		{func(v map[string]any) {
			v["blocks"] = []any{map[string]any{"type": "alert", "text": map[string]any{"type": "plain_text", "text": "!"}}}
		}, ""},
		{func(v map[string]any) { v["blocks"] = repeat(map[string]any{"type": "divider"}, 100) }, ""},
		{func(v map[string]any) { v["blocks"] = repeat(map[string]any{"type": "divider"}, 101) }, "no more than 100 items allowed [json-pointer:/view/blocks]"},
	} {
		got := slackfake.CheckView(view(row.change))
		if row.says == "" {
			assert.Empty(t, got)
		} else {
			assert.Contains(t, got, row.says)
		}
	}
}

func repeat(v any, n int) []any {
	out := make([]any, n)
	for i := range out {
		out[i] = v
	}
	return out
}

func TestTheErrorsNameWhatIsWrong(t *testing.T) {
	f, api := serve(t, slackfake.Options{})
	_, got := call(t, f, "chat.postMessage", url.Values{
		"channel": {slackfake.Ops}, "text": {"x"}, "blocks": {"[" + times(51, `{"type":"divider"}`) + "]"},
	})
	assert.Equal(t, "invalid_blocks", got["error"])
	assert.Equal(t, []any{"no more than 50 items allowed [json-pointer:/blocks]"}, got["errors"])
	assert.Equal(t, map[string]any{"messages": []any{"[ERROR] no more than 50 items allowed [json-pointer:/blocks]"}}, got["response_metadata"])
	assert.Equal(t, []string{"invalid-blocks"}, rules(f))

	f.Pass(time.Second)
	_, got = call(t, f, "chat.postMessage", url.Values{
		"channel": {slackfake.Ops}, "text": {"x"}, "blocks": {"[" + times(5, `{"type":"section","text":{"type":"plain_text","text":"`+u(2600)+`"}}`) + "]"},
	})
	assert.Equal(t, "msg_blocks_too_long", got["error"], "each is short enough, all together are not")

	v := modal()
	v.Title = plain(u(25))
	_, err := api.OpenView("1.2.3", v)
	var refused slack.SlackErrorResponse
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, "invalid_arguments", refused.Err)
	assert.Equal(t, []string{"[ERROR] must be less than 25 characters [json-pointer:/view/title/text]"}, refused.ResponseMetadata.Messages)

	big := modal()
	for range 90 {
		big.Blocks.BlockSet = append(big.Blocks.BlockSet, slack.NewSectionBlock(plain(u(3000)), nil, nil))
	}
	_, err = api.OpenView("1.2.3", big)
	assert.EqualError(t, err, "view_too_large")
}
