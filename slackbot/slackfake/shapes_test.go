package slackfake_test

import (
	"encoding/json"
	"net/url"
	"testing"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

func TestWhatSlackGoBuildsIsAccepted(t *testing.T) {
	button := slack.NewButtonBlockElement("a", "v", plain("A"))
	table := slack.NewTableBlock("t").AddRow(slack.NewTableRawTextCell("id"), slack.NewTableRawNumberCell(801))
	data := slack.NewDataTableBlock("points of web-01")
	data.Rows = [][]slack.DataTableCell{{slack.NewDataTableRawTextCell("id")}, {slack.NewDataTableRawNumberCell(801)}}
	text := slack.NewRichTextBlock("r", slack.NewRichTextSection(slack.NewRichTextSectionTextElement("reason", nil)))
	for _, b := range []slack.Block{
		slack.NewDividerBlock(),
		slack.NewHeaderBlock(plain("h")),
		slack.NewSectionBlock(mrkdwn("x"), nil, slack.NewAccessory(button)),
		slack.NewSectionBlock(nil, []*slack.TextBlockObject{mrkdwn("x"), plain("y")}, nil),
		slack.NewContextBlock("c", mrkdwn("x"), slack.NewImageBlockElement("https://x.example/y.png", "alt")),
		slack.NewActionBlock("b", button, slack.NewOverflowBlockElement("o", slack.NewOptionBlockObject("v", plain("o"), nil))),
		slack.NewImageBlock("https://x.example/y.png", "alt", "i", plain("t")),
		slack.NewMarkdownBlock("m", "# x"),
		slack.NewPlanBlock("plan"),
		slack.NewTaskCardBlock("t1", "copying").WithStatus(slack.TaskCardStatusInProgress),
		slack.NewCardBlock().WithTitle(mrkdwn("x")).WithActions(button),
		slack.NewCarouselBlock(slack.NewCardBlock().WithTitle(mrkdwn("x"))),
		text, table, data,
	} {
		raw, err := json.Marshal([]slack.Block{b})
		require.NoError(t, err)
		assert.Empty(t, slackfake.CheckMessage(raw), "%s", raw)
	}
}

// FuzzBlocks looks for JSON that panics, or that is accepted and cannot be shown.
func FuzzBlocks(f *testing.F) {
	f.Add(`[{"type":"section","text":{"type":"mrkdwn","text":"<@U1> <!date^1^{time}|x>"},"accessory":{"type":"button","text":{"type":"plain_text","text":"x"}}}]`)
	f.Add(`[{"type":"actions","elements":[{"type":"static_select","options":[{"text":{"type":"plain_text","text":"x"},"value":"v"}]}]}]`)
	f.Add(`[{"type":"input","label":{"type":"plain_text","text":"x"},"element":{"type":"external_select","action_id":"a"}}]`)
	f.Add(`[{"type":"rich_text","elements":[{"type":"rich_text_section","elements":[{"type":"text","text":"x"},{"type":"user","user_id":"U1"}]}]}]`)
	f.Add(`[{"type":"table","rows":[[{"type":"raw_text","text":"x"}]]},{"type":"header","text":{"type":"plain_text","text":"x"}}]`)
	f.Fuzz(func(t *testing.T, blocks string) {
		wrong := slackfake.CheckMessage([]byte(blocks))
		_ = slackfake.CheckView([]byte(`{"blocks":` + blocks + `}`))
		fake := slackfake.New(slackfake.Options{Limits: slackfake.NoLimits()})
		_, got := call(t, fake, "chat.postMessage", url.Values{"channel": {slackfake.Ops}, "text": {"x"}, "blocks": {blocks}})
		if ok := got["ok"] == true; ok && len(wrong) > 0 {
			t.Fatalf("accepted: %v", wrong)
		}
		for _, m := range fake.Messages(slackfake.Ops) {
			_, _, _, _ = m.String(), m.Aloud(), m.Live(), m.Buttons()
		}
	})
}
