package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// TestStories plays testdata/story/*.txt, each with the whole program in one
// bubble of testing/synctest: the ledger on SQLite with its queue, both doors,
// VPS.org and Slack, on one clock that passes in no time.
//
// A line is a step. What is indented below it, or stands behind the ">" of one
// that only looks, must be seen then, in this order; "..." stands for anything
// within a line, and what follows "no:" must not be seen. rq_1 is the request that
// was filed first. "&" at the end of a line does not wait: the next step is done
// at the same moment. "#" begins a comment.
//
//	with NAME=value                  a setting, without its prefix; before all else
//	rules>                           the operator's rules, indented below it: first before
//	                                 all else, later a new file, and the signal to read it
//	slack U1 C2> /vps …              a command, in C1 unless said
//	say U1> …                        a message, which begins a thread
//	mention U1 thread> …             a message to the app, in a channel or that thread
//	click U2 rq_1 C2> Approve        a button of a card, of the newest in C1 unless said,
//	click U2 only> Restore, …        of the newest of what only they see,
//	look> …  click U2 seen> …        of a card as it was when they looked
//	submit U2> name note="…"         the form that they have open
//	fill U1> server=… reason="…"     a form for what was missing; from menus, the first match
//	mcp other> tool name=value …     another program than the usual one calls a tool
//	terminal ada> approve rq_1       or deny, cancel: somebody at the host's terminal
//	wait 31m                         and stop, start: of the program
//	drift> rename server …           at VPS.org, behind everybody's back
//	next create> create-fails        a fault of VPS.org's
//	slack down                       and up; vpsorg down, and up
//	fault twice interactive          a fault of Slack's, of a method or a delivery
//	group S1> U1 U2                  the members; person U2> guest, deleted, member
//
// Those that only look: card, cards (how many), aloud (what screen readers read),
// thread, only U1 (what only they were shown in the last step), newest U1, view U1,
// views U1 U2, options U1 argument> typed, state, ready (what /readyz says), audit
// (verified each time), vps.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/story/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		steps := readStory(t, string(raw))
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			play(t, steps)
		})
	}
}

// step is one line of a story, with what must be seen after it.
type beat struct {
	line     int
	text     string
	verb     string
	words    []string // between the verb and the ">"
	rest     string   // behind it
	meantime bool     // the next step does not wait
	want     []string
	body     string // what is indented below "rules>", as it stands there
}

// wait is how long a "wait" waits.
func (s beat) wait(t *testing.T) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s.words[0])
	require.NoError(t, err, "line %d", s.line)
	return d
}

func readStory(t *testing.T, text string) (steps []beat) {
	t.Helper()
	for i, l := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(l)
		switch {
		case trimmed == "" || l[0] == '#':
		case l[0] == ' ':
			require.NotEmpty(t, steps, "line %d: indented below nothing", i+1)
			last := &steps[len(steps)-1]
			if last.verb == "rules" {
				last.body += strings.TrimPrefix(l, "  ") + "\n"
				continue
			}
			last.want = append(last.want, trimmed)
		default:
			s := beat{line: i + 1, text: trimmed}
			l, s.meantime = strings.CutSuffix(trimmed, " &")
			head, rest, _ := strings.Cut(l, ">")
			words := strings.Fields(head)
			s.verb, s.words, s.rest = words[0], words[1:], strings.TrimSpace(rest)
			steps = append(steps, s)
		}
	}
	return steps
}

// play plays a story. Settings come first.
func play(t *testing.T, steps []beat) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var env []string
		for len(steps) > 0 && steps[0].verb == "with" {
			env = append(env, "VPSGUARD_"+strings.Join(steps[0].words, " "))
			steps = steps[1:]
		}
		var file string
		if len(steps) > 0 && steps[0].verb == "rules" {
			file, steps = steps[0].body, steps[1:]
		}
		g := newStage(t, env, file)
		defer func() {
			if t.Failed() {
				t.Log("the program's log:\n" + g.told(g.log.String()))
			}
		}()
		used := map[string]bool{}
		for _, s := range steps {
			g.step = s
			used[s.verb] = true
			if look := looks[s.verb]; look != nil {
				g.look(look(g, s))
				continue
			}
			do := deeds[s.verb]
			if do == nil {
				g.fail("there is no step %q", s.verb)
			}
			g.before()
			got := do(g, s)
			if !s.meantime {
				g.end()
			}
			if len(s.want) > 0 {
				g.expect(got)
			}
		}
		assert.True(t, used["audit"] && used["vps"], "each story ends with what the record holds and what VPS.org has seen")
		assert.Empty(t, g.slack.Violations(), "what an app must not do on Slack")
		g.lively()
	})
}

// lively checks that nothing that people or programs wrote has become markup that
// Slack acts on: only approvers are mentioned, only cards are linked to.
func (g *stage) lively() {
	ours := regexp.MustCompile(`^(@U2|!subteam\^S1|https?://[a-z0-9.]+/archives/C[0-9]/p[0-9]+(\?[^|]*)?\|Its card)$`)
	check := func(all []slackfake.Message) {
		for _, m := range all {
			for _, markup := range m.Live() {
				if m.From == slackfake.Bot {
					assert.Regexp(g.t, ours, markup, "live markup in:\n%s", g.told(m.String()))
				}
			}
		}
	}
	for _, c := range []string{"C1", "C2", "C3"} {
		for _, m := range g.slack.Messages(c) {
			check(g.slack.Thread(c, m.TS))
		}
	}
	for _, u := range everybody {
		check(g.slack.Ephemerals(u))
	}
}

var everybody = []string{"U1", "U2", "U3", "U4", "U5", "U6", "U7", "U08"}

// before remembers what people had been told before a step.
func (g *stage) before() {
	if len(g.pending) > 0 {
		return
	}
	for _, u := range everybody {
		g.heard[u] = len(g.slack.Ephemerals(u))
	}
}

// end waits until a step, and those that were done along with it, have had their
// effect.
func (g *stage) end() {
	g.pass(settle)
	for _, d := range g.pending {
		out := d.Wait()
		assert.Empty(g.t, out.Error, "line %d: %s: what the person saw", g.step.line, d.What)
	}
	g.pending = nil
}

func (g *stage) fail(format string, args ...any) {
	g.t.Helper()
	g.t.Fatalf("line %d: %s\n%s", g.step.line, g.step.text, fmt.Sprintf(format, args...))
}

// look checks what somebody sees.
func (g *stage) look(shown string) {
	g.t.Helper()
	if g.step.rest != "" {
		g.step.want = append([]string{g.step.rest}, g.step.want...)
	}
	if len(g.step.want) == 0 {
		g.t.Errorf("line %d: %s: nothing is expected of:\n%s", g.step.line, g.step.text, g.told(shown))
		return
	}
	g.expect(shown)
}

// expect checks that the wanted lines are in what is shown, in order.
func (g *stage) expect(shown string) {
	g.t.Helper()
	shown = g.told(shown)
	left := shown
	for _, want := range g.step.want {
		if (want == "nothing" || want == "closed") && len(g.step.want) == 1 {
			require.Equal(g.t, want, shown, "line %d: %s", g.step.line, g.step.text)
			continue
		}
		if unwanted, ok := strings.CutPrefix(want, "no: "); ok {
			if pattern(unwanted).MatchString(shown) {
				g.t.Errorf("line %d: %s\nThis must not be seen: %s\nThis is:\n%s", g.step.line, g.step.text, unwanted, shown)
			}
			continue
		}
		at := pattern(want).FindStringIndex(left)
		if at == nil {
			g.t.Errorf("line %d: %s\nNot seen: %s\nIn what is:\n%s", g.step.line, g.step.text, want, shown)
			return
		}
		left = left[at[1]:]
	}
}

// pattern makes a wanted line a pattern within a line.
func pattern(want string) *regexp.Regexp {
	parts := strings.Split(want, "...")
	for i, p := range parts {
		parts[i] = regexp.QuoteMeta(strings.TrimSpace(p))
	}
	return regexp.MustCompile(strings.Join(parts, ".*"))
}

// pairs reads name=value words; a value with blanks stands in quotes. What has
// no name is given for "".
func pairs(text string) [][2]string {
	var out [][2]string
	for _, m := range regexp.MustCompile(`(?:(\w+)=)?(?:"([^"]*)"|(\S+))`).FindAllStringSubmatch(text, -1) {
		out = append(out, [2]string{m[1], m[2] + m[3]})
	}
	return out
}

// looks are the steps that only look.
var looks = map[string]func(*stage, beat) string{
	"card":   func(g *stage, s beat) string { return g.card(s.words).String() },
	"aloud":  func(g *stage, s beat) string { return g.card(s.words).Aloud() },
	"thread": (*stage).replies,
	"cards": func(g *stage, s beat) string {
		channel, _ := place(s.words)
		return fmt.Sprint(len(g.posts(channel)))
	},
	"only": func(g *stage, s beat) string {
		all := g.slack.Ephemerals(s.words[0])[g.heard[s.words[0]]:]
		if len(all) == 0 {
			return "nothing"
		}
		var out []string
		for _, m := range all {
			if m.Parent != "" {
				out = append(out, "(in the thread)")
			}
			out = append(out, m.String())
		}
		return strings.Join(out, "\n\n")
	},
	// The newest of what only they see, also where it took the place of something.
	"newest": func(g *stage, s beat) string {
		all := g.slack.Ephemerals(s.words[0])
		return all[len(all)-1].String()
	},
	"view": func(g *stage, s beat) string {
		v, ok := g.slack.View(s.words[0])
		if !ok {
			return "closed"
		}
		return v.String()
	},
	// What each of these people has on the screen, whoever it is.
	"views": func(g *stage, s beat) string {
		var out []string
		for _, u := range s.words {
			v, ok := g.slack.View(u)
			if !ok {
				out = append(out, "closed")
			}
			for _, wrong := range v.Errors {
				out = append(out, "wrong: "+wrong)
			}
		}
		slices.Sort(out)
		return strings.Join(out, "\n")
	},
	"options": func(g *stage, s beat) string {
		g.step.rest = ""
		v := g.open(s.words[0])
		out := g.slack.User(s.words[0]).Type(v, "pick:"+s.words[1], s.rest).Wait()
		var lines []string
		for _, o := range out.Options {
			lines = append(lines, o.Value+": "+o.Text)
		}
		return strings.Join(append(lines, fmt.Sprintf("%d in all", len(lines))), "\n")
	},
	"state": func(g *stage, _ beat) string {
		var out []string
		for i, r := range g.requests() {
			out = append(out, fmt.Sprintf("rq_%d %s", i+1, r.State))
		}
		return strings.Join(append(out, fmt.Sprintf("%d in all", len(out))), "\n")
	},
	"ready": func(g *stage, _ beat) string {
		var out []string
		for part, says := range g.readiness(g.t.Context()) {
			out = append(out, part+": "+says)
		}
		slices.Sort(out)
		return strings.Join(out, "\n")
	},
	"audit": (*stage).audit,
	"vps": func(g *stage, _ beat) string {
		var out []string
		for _, m := range g.vps.Mutations() {
			out = append(out, string(m.Effect)+" "+strings.TrimPrefix(m.Path, vpsfake.BasePath))
		}
		if len(out) == 0 {
			return "0 mutations, data live"
		}
		return fmt.Sprintf("%d mutations, data %s\n%s", len(out), g.vps.ServerData(12345), strings.Join(out, "\n"))
	},
}

// replies are those below a card, or in the thread that people talk in.
func (g *stage) replies(s beat) string {
	root := g.root
	if len(s.words) > 0 || root.TS == "" {
		root = g.card(s.words)
	}
	var out []string
	for _, m := range g.slack.Thread(root.Channel, root.TS) {
		if m.Parent != "" && m.From == slackfake.Bot {
			out = append(out, m.String())
		}
	}
	if len(out) == 0 {
		return "nothing"
	}
	return strings.Join(out, "\n\n")
}

// audit shows the record, a line an event, once the whole of it is verified.
func (g *stage) audit(beat) string {
	_, err := g.ledger.Verify(g.t.Context(), nil)
	require.NoError(g.t, err, "the chain of the record")
	records, err := g.ledger.Records(g.t.Context(), 1, 10_000)
	require.NoError(g.t, err)
	var out []string
	for _, rec := range records {
		b, err := rec.Parse()
		require.NoError(g.t, err)
		line := fmt.Sprintf("%s %s by %s %s", b.Request, b.Event, b.By.Door, b.By.Subject)
		if b.To != "" {
			line += fmt.Sprintf(", %s", b.To)
		}
		for _, k := range slices.Sorted(mapKeys(b.Detail)) {
			line += " " + k + "=" + b.Detail[k]
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

func mapKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// open is the form that somebody has on the screen.
func (g *stage) open(user string) slackfake.View {
	v, ok := g.slack.View(user)
	if !ok {
		g.fail("%s has no form open; only they see:\n%v", user, g.slack.Ephemerals(user))
	}
	return v
}

// deeds are the steps that do something. What they give is what is seen at once.
var deeds = map[string]func(*stage, beat) string{
	"slack": (*stage).command,
	"say": func(g *stage, s beat) string {
		m := g.slack.User(s.words[0]).Say(g.where(s), g.thread(s), s.rest)
		if m.Parent == "" {
			g.root = m
		}
		return ""
	},
	"mention": func(g *stage, s beat) string {
		g.later(g.slack.User(s.words[0]).Mention(g.where(s), g.thread(s), g.real(s.rest)))
		return ""
	},
	"look": func(g *stage, s beat) string { g.seen = g.card(s.words); return "" },
	"click": func(g *stage, s beat) string {
		var on slackfake.Surface
		switch {
		case slices.Contains(s.words, "seen"):
			on = g.seen
		case slices.Contains(s.words, "only"):
			all := g.slack.Ephemerals(s.words[0])
			on = all[len(all)-1]
		default:
			on = g.card(s.words[1:])
		}
		for _, b := range on.Buttons() {
			if strings.HasPrefix(b.Text, s.rest) || strings.HasPrefix(b.Label, s.rest) {
				g.later(g.slack.User(s.words[0]).ClickIn(on, b.Block, b.Action))
				return ""
			}
		}
		g.fail("no button says so in:\n%s", g.told(on.String()))
		return ""
	},
	"submit": func(g *stage, s beat) string {
		v := g.open(s.words[0])
		values := slackfake.Values{}
		for _, p := range pairs(s.rest) {
			field := "typed"
			if p[0] != "" {
				field = p[0]
			}
			values[field] = map[string]any{field: p[1]}
		}
		g.later(g.slack.User(s.words[0]).Submit(v, values))
		return ""
	},
	"fill": (*stage).fill,
	"wait": func(g *stage, s beat) string {
		g.pass(s.wait(g.t))
		return ""
	},
	"mcp":   (*stage).tool,
	"drift": (*stage).drift,
	"next": func(g *stage, s beat) string {
		// next create> create-sticks, next delete 2> conflict
		fault := vpsfake.Fault{Name: s.rest, Method: "POST", Times: 1}
		fault.Match = pathEnds(map[string]string{"restore": "/restore/", "create": "/", "delete": "/"}[s.words[0]])
		if s.words[0] == "delete" {
			fault.Method = "DELETE"
		}
		if len(s.words) > 1 {
			n, err := strconv.Atoi(s.words[1])
			require.NoError(g.t, err)
			fault.After = n - 1
		}
		g.vps.Inject(fault)
		return ""
	},
	"terminal": func(g *stage, s beat) string {
		words := strings.Fields(s.rest)
		r := g.request(words[1])
		v := policy.Verdict{
			By: atHost(s.words[0]), Way: policy.WayTerminal, Digest: r.Plan.Digest, Typed: r.Plan.Server.Typed(), Secret: testPassphrase,
		}
		var err error
		switch words[0] {
		case "approve":
			_, err = g.service.Decide(g.t.Context(), r.ID, v)
		case "deny":
			_, err = g.service.Deny(g.t.Context(), r.ID, v)
		case "cancel":
			_, err = g.service.Cancel(g.t.Context(), r.ID, v.By)
		}
		if err != nil {
			return policy.Public(err).Message
		}
		return "ok"
	},
	"rules": func(g *stage, s beat) string {
		g.rules(s.body)
		g.hangup <- syscall.SIGHUP
		return ""
	},
	"fault": func(g *stage, s beat) string {
		// fault twice interactive, fault refused chat.update is_archived; once, but for refusals
		w := append(s.words, "")
		f := slackfake.Fault{Name: w[0], Method: w[1], Code: w[2], Times: 1, RetryAfter: 20 * time.Second}
		if f.Name == slackfake.Refused {
			f.Times = 0
		}
		g.slack.Inject(f)
		return ""
	},
	"vpsorg": func(g *stage, s beat) string {
		if s.words[0] == "down" {
			g.vps.Inject(vpsfake.Fault{Name: vpsfake.Error500})
		} else {
			g.vps.Heal()
		}
		return ""
	},
	"stop":  func(g *stage, _ beat) string { g.stop(); return "" },
	"start": func(g *stage, _ beat) string { g.start(); return "" },
	"group": func(g *stage, s beat) string {
		g.slack.ChangeGroup(s.words[0], func(o *slackfake.Group) { o.Users = strings.Fields(s.rest) })
		return ""
	},
	"person": func(g *stage, s beat) string {
		g.slack.ChangeUser(s.words[0], func(u *slackfake.User) {
			u.Guest, u.Deleted = s.rest == "guest", s.rest == "deleted"
		})
		return ""
	},
}

// command types a slash command, or turns Slack off and on.
func (g *stage) command(s beat) string {
	switch s.words[0] {
	case "down":
		g.slack.Inject(slackfake.Fault{Name: slackfake.Error500})
		g.slack.Inject(slackfake.Fault{Name: slackfake.NotDelivered})
	case "up":
		g.slack.Heal()
	default:
		name, text, _ := strings.Cut(g.real(s.rest), " ")
		g.later(g.slack.User(s.words[0]).Slash(g.where(s), name, text))
	}
	return ""
}

func (g *stage) later(d *slackfake.Delivery) { g.pending = append(g.pending, d) }

func (g *stage) where(s beat) string {
	if slices.Contains(s.words, "thread") {
		return g.root.Channel
	}
	channel, _ := place(s.words[1:])
	return channel
}

func (g *stage) thread(s beat) string {
	if slices.Contains(s.words, "thread") {
		return g.root.TS
	}
	return ""
}

// fill fills in a form for what was missing, and submits it. In a menu the first
// option that is offered for the text is taken.
func (g *stage) fill(s beat) string {
	u := g.slack.User(s.words[0])
	v := g.open(s.words[0])
	for _, p := range pairs(s.rest) {
		block, value := "ask:"+p[0], p[1]
		raw, err := json.Marshal(v.Blocks)
		require.NoError(g.t, err)
		action := "fill:" + p[0]
		if strings.Contains(string(raw), `"pick:`+p[0]+`"`) {
			action = "pick:" + p[0]
			if p[0] != "safety_copy" {
				out := u.Type(v, action, value).Wait()
				if len(out.Options) == 0 {
					g.fail("nothing is offered for %q", value)
				}
				value = out.Options[0].Value
			}
		}
		u.Fill(v, slackfake.Values{block: {action: value}})
	}
	g.later(u.Submit(v, nil))
	return ""
}

// tool calls a tool. What comes of it is its text, and its structured content, a
// line a value.
func (g *stage) tool(s beat) string {
	words := pairs(g.real(s.rest))
	args := map[string]any{}
	for _, p := range words[1:] {
		args[p[0]] = p[1]
		if n, err := strconv.Atoi(p[1]); err == nil && p[0] != "server" {
			args[p[0]] = n
		}
		if p[1] == "true" || p[1] == "false" {
			args[p[0]] = p[1] == "true"
		}
	}
	var call mcp.CallToolRequest
	call.Params.Name, call.Params.Arguments = words[0][1], args
	agent := g.agent(append(s.words, "claude")[0])
	got, err := agent.CallTool(g.t.Context(), call)
	if err != nil {
		return err.Error()
	}
	keepsPromise(g.t, agent, call.Params.Name, got)
	var text string
	for _, c := range got.Content {
		if c, ok := c.(mcp.TextContent); ok {
			text += c.Text
		}
	}
	raw, err := json.Marshal(got.StructuredContent)
	require.NoError(g.t, err)
	var content map[string]any
	require.NoError(g.t, json.Unmarshal(raw, &content))
	return text + "\n" + strings.Join(flat("", content), "\n")
}

// flat names each value below v by its path.
func flat(path string, v any) (out []string) {
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			out = append(out, flat(strings.TrimPrefix(path+"."+k, "."), v[k])...)
		}
	case []any:
		for _, x := range v {
			out = append(out, flat(path, x)...)
		}
	default:
		out = append(out, fmt.Sprintf("%s: %v", path, v))
	}
	return out
}

// drift changes something at VPS.org behind everybody's back.
func (g *stage) drift(s beat) string {
	words := strings.Fields(s.rest)
	id, _ := strconv.ParseInt(words[len(words)-1], 10, 64)
	switch strings.Join(words[:2], " ") {
	case "rename server":
		g.vps.RenameServer(12345, words[2])
	case "delete snapshot":
		g.vps.DeleteSnapshotBehindTheBack(id)
	case "delete backup":
		g.vps.DeleteBackupBehindTheBack(id)
	case "new snapshot":
		g.vps.AddSnapshot(vpsfake.Point{ServerID: 12345, Name: words[2]})
	case "new backups":
		for range id {
			g.vps.AddBackup(vpsfake.Point{ServerID: 12345, Type: "automatic"})
		}
	case "new snapshots":
		for i := range id {
			g.vps.AddSnapshot(vpsfake.Point{ServerID: 12345, Name: fmt.Sprint("weekly-", i+1)})
		}
	case "new server":
		g.vps.AddServer(777, words[2])
	case "snapshot fails":
		g.vps.SetSnapshotStatus(id, "failed")
	default:
		g.fail("VPS.org does not drift so")
	}
	return ""
}

// pathEnds matches requests by the end of their path; "/" is any but a restore's.
func pathEnds(end string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		restore := strings.HasSuffix(r.URL.Path, "/restore/")
		return restore == (end == "/restore/")
	}
}
