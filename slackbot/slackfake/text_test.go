package slackfake_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

func TestTextAsPeopleSeeIt(t *testing.T) {
	f := slackfake.New(slackfake.Options{})
	f.AddGroup(slackfake.Group{ID: "S1", Handle: "oncall"})
	for _, row := range []struct {
		text, seen string
		live       []string
	}{
		{"a &lt;b&gt; &amp; c", "a <b> & c", nil},
		{"<@U1> in <#C1>, <!subteam^S1>", "@ada in #ops, @oncall", []string{"@U1", "#C1", "!subteam^S1"}},
		{"<!channel> <!here|here>", "@channel here", []string{"!channel", "!here|here"}},
		{"<https://evil.example|Approve>", "Approve (https://evil.example)", []string{"https://evil.example|Approve"}},
		{"<https://ok.example>", "https://ok.example", []string{"https://ok.example"}},
		{"until <!date^1773460800^{date_short} {time}|later>", "until Mar 14, 2026 04:00", nil},
		{"2 < 3 and 4 > 1", "2 < 3 and 4 > 1", nil},
		{"&lt;!channel&gt;", "<!channel>", nil},
	} {
		f.Pass(time.Second)
		m := f.Message(slackfake.Ops, post(t, f, slackfake.Ops, row.text))
		assert.Equal(t, row.seen, m.String())
		assert.Equal(t, row.seen, m.Aloud())
		assert.Equal(t, row.live, m.Live(), row.text)
	}
	f.Pass(time.Second)
	m := f.Message(slackfake.Ops, post(t, f, slackfake.Ops, "<!date^1773460800^{time}|x>"))
	assert.Equal(t, "00:00", m.As(slackfake.Grace), "in New York")
}

func TestBlocksAsPeopleSeeThem(t *testing.T) {
	f := slackfake.New(slackfake.Options{})
	_, got := call(t, f, "chat.postMessage", url.Values{"channel": {slackfake.Ops}, "text": {"all in words"}, "blocks": {`[
		{"type":"header","text":{"type":"plain_text","text":"Restore <web-01>"}},
		{"type":"section","text":{"type":"mrkdwn","text":"by <@U1>"},"accessory":{"type":"button","text":{"type":"plain_text","text":"Details"}}},
		{"type":"section","fields":[{"type":"plain_text","text":"<@U1>"},{"type":"mrkdwn","text":"&amp;"}]},
		{"type":"divider"},
		{"type":"context","elements":[{"type":"mrkdwn","text":"a"},{"type":"plain_text","text":"b"}]},
		{"type":"rich_text","elements":[{"type":"rich_text_preformatted","elements":[{"type":"text","text":"reason"}]}]},
		{"type":"table","rows":[[{"type":"raw_text","text":"id"},{"type":"raw_text","text":"age"}],[{"type":"raw_text","text":"801"},{"type":"raw_text","text":"3 h"}]]},
		{"type":"actions","elements":[{"type":"button","action_id":"x","text":{"type":"plain_text","text":"Deny…"}},
			{"type":"static_select","placeholder":{"type":"plain_text","text":"More"},"options":[{"text":{"type":"plain_text","text":"A"},"value":"a"}]}]}
	]`}})
	require.Equal(t, true, got["ok"], got)
	m := f.Messages(slackfake.Ops)[0]
	assert.Equal(t, `# Restore <web-01>
by @ada [Details]
| <@U1>
| &
---
a · b
reason
id | age
801 | 3 h
[Deny…] <A>`, m.String())
	assert.Equal(t, "all in words", m.Aloud())
	assert.Equal(t, []string{"@U1"}, m.Live(), "plain_text is never live")
	assert.Panics(t, func() { f.User(slackfake.Ada).Click(m, "no such button") })
	assert.Panics(t, func() { f.User("U404") })
}
