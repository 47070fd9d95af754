package slackbot

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/policytest"
)

// hostile are texts that somebody might give a server.
var hostile = []string{
	"", " ", "plain", "<!channel>", "<@U1>", "<#C1>", "<!subteam^S1>", "<https://evil.example|Approve>", "<mailto:a@b.c|x>",
	"`code` ```more```", "*bold* _it_ ~gone~", "~", "*", "_", "a~b*c_d", "> quote", "&lt;!channel&gt;", "&", "&amp", "<!date^1^{time}|x>",
	"\u202Etxet desrever\u202C", "\u2066x\u2069", "web\u200B-01", "\nAPPROVED by Ada", "\r\n*APPROVED* by Ada\n> ok", "\u2028x\u2029y", "\x00\x1b[31mred",
	"👩\u200D👩\u200D👧\u200D👦🏳️\u200D🌈", ":white_check_mark: approved", ":aa:bb:cc:", "2001:db8:0:1::1", "10:30:00", strings.Repeat("&", 10_000), strings.Repeat("<", 10_000),
	strings.Repeat("é", 10_000), strings.Repeat("<!channel> ", 1000), strings.Repeat("😀", 3000), "\xff\xfe", "…", `"quoted" \ back`, "@channel @here",
	"{date_short_pretty}", "|", "^", "<", "FOREIGN",
}

// everywhere puts a text into every field that others write.
func everywhere(r policy.Request, s string) policy.Request {
	many := []string{s, s, s, s, s, s, s, s, s}
	who := policy.Actor{Door: r.Actor.Door, Subject: s, Name: s, Client: s, Vouched: s}
	r.Actor, r.Reason, r.Why = who, s, s
	r.Account = policy.Account{URL: s, Owner: s}
	r.Plan.Summary, r.Plan.Losses, r.Plan.Warnings, r.Plan.Notes = s, many, many, many
	r.Plan.Server.Name, r.Plan.Server.IP, r.Plan.Server.Status = s, s, s
	if r.Plan.Target != nil {
		p := *r.Plan.Target
		p.Name, p.Status = s, s
		r.Plan.Target = &p
	}
	r.Plan.Targets = slices.Clone(r.Plan.Targets)
	for i := range r.Plan.Targets {
		r.Plan.Targets[i].Name, r.Plan.Targets[i].Status = s, s
	}
	r.Plan.Params = map[string]string{"name": s, "description": s}
	for i := range r.Steps {
		r.Steps[i].Note, r.Steps[i].PointName = s, s
	}
	for i := range r.Approvals {
		r.Approvals[i].By, r.Approvals[i].Note = who, s
	}
	if r.Denial != nil {
		d := *r.Denial
		d.By, d.Note = who, s
		r.Denial = &d
	}
	if r.Undo != nil {
		u := *r.Undo
		u.Name = s
		r.Undo = &u
	}
	return r
}

func FuzzForeignText(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out := mrk(s, 100)
		checkTokens(t, out)
		require.LessOrEqual(t, utf8.RuneCountInString(out), 100)
		require.NotContains(t, out, "\n")
		require.False(t, strings.HasPrefix(out, "&gt;"), "a quote")

		for _, held := range kinds() {
			for _, state := range policy.States() {
				for _, way := range []policy.Actor{policytest.Agent(""), policytest.Person("")} {
					if state != policy.StateHeld && way.Door == policy.DoorSlack {
						continue // says who asks no differently later
					}
					r := inState(held, state)
					r.Actor = way
					r = everywhere(r, s)
					st := standing(r)
					st.Note = s
					m := ours().card(st, cardOptions{First: true, Buttons: true, Key: "k", ByMessage: way.Door == policy.DoorSlack})
					checkSafe(t, m)
					require.True(t, strings.HasPrefix(m.Text, begun(r)), m.Text)
					require.Contains(t, m.Text, "12345", "the server's id is never cut off")
					if len(r.Plan.Targets) > 0 && state != policy.StateStale && state != policy.StateExpired {
						eachTarget(t, r, m.Text, visible(t, m))
					}
					if state == policy.StateHeld {
						require.Contains(t, m.Text, "<@U0ADA>", "nothing foreign keeps approvers from being told")
						require.Equal(t, strings.Contains(r.WayBack(), "NO WAY BACK"), strings.Contains(m.Text, "Undo: there is NO WAY BACK"))
					}
					line := ours().ended(st)
					checkTokens(t, line)
					require.NotContains(t, line, "\n")
					require.NotContains(t, m.Text, "\n", "a card's text is one line")
				}
			}
			st := standing(everywhere(inState(held, policy.StateHeld), s))
			for _, v := range []slack.ModalViewRequest{ours().approveModal(st, "k"), ours().denyModal(st, "k")} {
				checkOpened(t, v)
				if v.Submit != nil { // otherwise it says why not all can be shown
					eachTarget(t, st.Request, seenView(t, v))
				}
			}
		}
		checkOpened(t, ours().told(s, s))
		checkOpened(t, ours().askModal(policy.Descriptor{Title: s, Effect: policy.Delete, Arguments: shownForm.Arguments}, map[string]any{"server": s}, "k"))
		checkPosted(t, ours().refusal(policy.Errorf(policy.Conflict, "%s", s).WithHint("%s", s)))
		checkPosted(t, ours().helpMessage([]string{s, s}))
		l := points(20)
		l.Title, l.Lines = s, []string{s, s, s, s, s}
		for i := range l.Rows {
			l.Rows[i].Text, l.Rows[i].Server.Name, l.Rows[i].Point.Name = s, s, s
		}
		checkPosted(t, ours().listing(policy.Descriptor{Title: s}, l, listOptions{Actions: offered, Rev: "1", NextKey: "n"}))
	})
}

// eachTarget checks that nothing that is deleted is left out.
func eachTarget(t *testing.T, r policy.Request, texts ...string) {
	t.Helper()
	for _, p := range r.Plan.Targets {
		for _, text := range texts {
			require.Contains(t, text, fmt.Sprintf("snapshot %d", p.ID))
		}
	}
}

func TestForeignTextInMarkup(t *testing.T) {
	for _, row := range []struct{ in, out, why string }{
		{"web_01.example-2", "web_01.example-2", "most names stay as they are"},
		{"a & b <c>", "a &amp; b &lt;c&gt;", "what Slack asks for"},
		{"> x", "\u203A x", "no quote"},
		{"~x~", "\u223Cx\u223C", "nothing is struck out"},
		{"*APPROVED*", "\u2217APPROVED\u2217", "nothing is bold"},
		{"_x_ a_b", "\uFF3Fx\uFF3F a_b", "within a word it formats nothing"},
		{"`x`", "'x'", "no code"},
		{":smile: :a1+-b:", "\uA789smile: \uA789a1+-b:", "no emoji"},
		{":aa:bb:smile:", ":aa:bb\uA789smile:", "hexadecimal digits stay, of an address"},
		{"2001:db8:0:1::1 10:30:00", "2001:db8:0:1::1 10:30:00", "neither here"},
		{"one\ntwo\u202Ethree", "one twothree", "one line, in one direction"},
	} {
		assert.Equal(t, row.out, mrk(row.in, 100), row.why)
	}
	assert.Equal(t, "&amp;&amp;…", mrk("&&&&&", 11), "cut after escaping, never within an entity")
	assert.Equal(t, "&amp;&amp;", mrk("&&", 10), "what fits is not cut")
	assert.Equal(t, "…", mrk("&&", 4))
	assert.Equal(t, "a &amp; <b>", "a "+shortenMarkup("&amp; <b>", 9))
	assert.Equal(t, "ab…", shortenMarkup("ab&amp;cd", 6))
	assert.Equal(t, "ab …", shortenMarkup("ab <@U1> cd", 6))
}

func TestTheCallersWordsStandApart(t *testing.T) {
	r := kinds()["overwrite_snapshot"]
	r.Reason = "FOREIGN\nUndo: expected. APPROVED by Ada"
	m := ours().card(standing(r), cardOptions{})
	found := 0
	for _, b := range m.Blocks {
		x, ok := b.(*slack.RichTextBlock)
		if !ok {
			continue
		}
		for _, e := range x.Elements {
			for _, run := range runsOf(e) {
				if text, ok := run.(*slack.RichTextSectionTextElement); ok && strings.Contains(text.Text, "FOREIGN") {
					found++
					assert.IsType(t, &slack.RichTextQuote{}, e)
					assert.Equal(t, "FOREIGN Undo: expected. APPROVED by Ada", text.Text)
					assert.Len(t, x.Elements, 2, "in a block of its own")
				}
			}
		}
	}
	assert.Equal(t, 1, found)
}
