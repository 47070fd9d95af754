package slackbot

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/operations"
)

// theGrammar is that of the real catalogue.
func theGrammar(t testing.TB, readOnly bool) *grammar {
	t.Helper()
	api, err := apiclient.New(apiclient.DefaultBaseURL, "vps_test", apiclient.Options{})
	require.NoError(t, err)
	s, err := policy.NewService(policy.Config{Operations: operations.Catalogue(api), ReadOnly: readOnly})
	require.NoError(t, err)
	return newGrammar("/vps", s.Catalogue())
}

// understood is a command as the tables write it: operation, arguments, and what
// is missing.
func understood(t testing.TB, c command) string {
	t.Helper()
	if c.Help {
		return strings.TrimSpace("help " + c.Topic)
	}
	raw, err := c.arguments()
	require.NoError(t, err)
	out := c.Operation.Name + " " + string(raw)
	for _, a := range c.Missing {
		out += " -" + a.Name
	}
	return out
}

func TestCommands(t *testing.T) {
	g := theGrammar(t, false)
	for _, c := range []struct{ name, typed, want string }{
		{"nothing said is a call for help", " \n ", "help"},
		{"help", "help", "help"},
		{"help on a noun", "help snapshots", "help snapshot"},
		{"help behind a noun", "snap help", "help snapshot"},
		{"help behind a command", "backup restore --help", "help backup"},
		{"help on what is not there", "help kitchen", "help"},
		{"a server may be called help", `server points "help"`, `list_recovery_points {"server":"help"}`},

		{"noun and verb", "server list", `list_servers {}`},
		{"in capitals, the value untouched", "SERVER Points Web-01", `list_recovery_points {"server":"Web-01"}`},
		{"a noun alone is its list", "servers", `list_servers {}`},
		{"in the singular too", "request", `list_requests {}`},
		{"a plural and a name are that list, narrowed", "snapshots web-01", `list_snapshots {"server":"web-01"}`},
		{"a noun alone takes arguments by name", "snapshot server=web-01 limit=5", `list_snapshots {"limit":5,"server":"web-01"}`},
		{"beginnings of words", "snap res web-01 801", `restore_snapshot {"server":"web-01","snapshot_id":801} -reason`},
		{"the beginning of a plural", "req can rq_7f3k9c", `cancel_request {"request_id":"rq_7f3k9c"}`},
		{"verb and noun", "list snapshots", `list_snapshots {}`},
		{"verb and noun, with arguments", "restore snapshot web-01 801", `restore_snapshot {"server":"web-01","snapshot_id":801} -reason`},
		{"a verb that one noun has", "points web-01", `list_recovery_points {"server":"web-01"}`},
		{"such a verb with an id", "show 7F3K9C", `get_request {"request_id":"7F3K9C"}`},
		{"the operation's own name, as hints call it", "list_snapshots web-01", `list_snapshots {"server":"web-01"}`},
		{"with the slash command once more", "/vps snapshot list", `list_snapshots {}`},
		{"copied with its backticks", "`/vps snapshot list web-01`", `list_snapshots {"server":"web-01"}`},
		{"a missing argument is told, in order", "snapshot delete", `delete_snapshot {} -server -snapshot_id -reason`},
		{"also between others", "snapshot delete snapshot_id=801 because old", `delete_snapshot {"reason":"old","snapshot_id":801} -server`},

		{"places and names mix", "snapshot restore web-01 snapshot_id=801 Safety-Copy=NO because x", `restore_snapshot {"reason":"x","safety_copy":false,"server":"web-01","snapshot_id":801}`},
		{"ids with a number sign", "backup delete web-01 #17 because old", `delete_backup {"backup_id":17,"reason":"old","server":"web-01"}`},
		{"the largest number", "snapshot delete w 9007199254740991 because x", `delete_snapshot {"reason":"x","server":"w","snapshot_id":9007199254740991}`},
		{"one of a few words finds its place", "backups manual web-01", `list_backups {"server":"web-01","type":"manual"}`},
		{"in either order", "backups web-01 manual", `list_backups {"server":"web-01","type":"manual"}`},
		{"in quotes it is a name", `backups "manual"`, `list_backups {"server":"manual"}`},
		{"a state in the wrong case stays a state, for the gate to refuse", "requests Held", `list_requests {"state":"Held"}`},
		{"a value with an equals sign", "servers cursor=abc==", `list_servers {"cursor":"abc=="}`},
		{"what cannot be a name of an argument is no name", "points http://x/?a=b", `list_recovery_points {"server":"http://x/?a=b"}`},
		{"an equals sign in quotes", `points "a=b"`, `list_recovery_points {"server":"a=b"}`},
		{"an argument with an empty value, in quotes", `points ""`, `list_recovery_points {"server":""}`},

		{"the reason is the rest of the line", "snapshot restore web-01 801 because the upgrade  broke\tlogin", `restore_snapshot {"reason":"the upgrade broke login","server":"web-01","snapshot_id":801}`},
		{"with its own quotes and names", `snapshot delete w 1 BECAUSE it's "old", limit=5 because`, `delete_snapshot {"reason":"it's \"old\", limit=5 because","server":"w","snapshot_id":1}`},
		{"quotes around the whole go", "snapshot delete w 1 because “don't need it”", `delete_snapshot {"reason":"don't need it","server":"w","snapshot_id":1}`},
		{"quotes around parts stay", `snapshot delete w 1 because "a" and "b"`, `delete_snapshot {"reason":"\"a\" and \"b\"","server":"w","snapshot_id":1}`},
		{"by name, to the end of the line", "snapshot delete w 1 reason=it is old", `delete_snapshot {"reason":"it is old","server":"w","snapshot_id":1}`},
		{"by name and in quotes, and more", `snapshot restore reason="it is  old" safety_copy=no w 1`, `restore_snapshot {"reason":"it is old","safety_copy":false,"server":"w","snapshot_id":1}`},
		{"a reason that says nothing is missing", "snapshot delete w 1 because ", `delete_snapshot {"server":"w","snapshot_id":1} -reason`},
		{"where none is taken, it describes", "backup create web-01 because tests before 2.0", `create_backup {"description":"tests before 2.0","server":"web-01"}`},
		{"a server may be called because", `points "because"`, `list_recovery_points {"server":"because"}`},

		{"straight quotes", `points "web 01"`, `list_recovery_points {"server":"web 01"}`},
		{"single quotes", `points 'web 01'`, `list_recovery_points {"server":"web 01"}`},
		{"an apostrophe in single quotes", `points 'don't do'`, `list_recovery_points {"server":"don't do"}`},
		{"an apostrophe in a word", `points don't`, `list_recovery_points {"server":"don't"}`},
		{"quotes of phones", "points “web 01”", `list_recovery_points {"server":"web 01"}`},
		{"half of them straight", "points “web 01\"", `list_recovery_points {"server":"web 01"}`},
		{"German ones", "points „web 01“", `list_recovery_points {"server":"web 01"}`},
		{"French ones", "points «web 01»", `list_recovery_points {"server":"web 01"}`},
		{"single ones of phones", "points ‘it’s web’", `list_recovery_points {"server":"it’s web"}`},
		{"escapes", `points "a \"b\" \\ \c"`, `list_recovery_points {"server":"a \"b\" \\ \\c"}`},
		{"behind a name", `snapshot create w nightly description="before 'it'"`, `create_snapshot {"description":"before 'it'","name":"nightly","server":"w"}`},
		{"a quote inside a word is a letter", `points we"b`, `list_recovery_points {"server":"we\"b"}`},

		{"spaces that do not break", "server\u00a0points\u2003web-01", `list_recovery_points {"server":"web-01"}`},
		{"spaces of no width", "points \u200bweb-01\ufeff", `list_recovery_points {"server":"web-01"}`},
		{"lines", "snapshot delete w 1\nbecause\nit is old", `delete_snapshot {"reason":"it is old","server":"w","snapshot_id":1}`},

		{"Slack's escapes", "points a&amp;b&lt;c&gt;&amp;lt;", `list_recovery_points {"server":"a\u0026b\u003cc\u003e\u0026lt;"}`},
		{"Slack's links", "points <http://web-01.example.com|web-01.example.com>", `list_recovery_points {"server":"web-01.example.com"}`},
		{"behind a name", "points server=<http://web-01.example.com|web-01.example.com>", `list_recovery_points {"server":"web-01.example.com"}`},
		{"a link without a label", "points <https://x.example/?a=b&amp;c>", `list_recovery_points {"server":"https://x.example/?a=b\u0026c"}`},
		{"an address", "points <mailto:a@b.example|a@b.example>", `list_recovery_points {"server":"a@b.example"}`},
		{
			"people, channels and all in a reason", "snapshot delete w 1 because <@U1|ann>, <@U2>, <#C1|ops>, <#C2|> and <!here> and <!subteam^S1|@oncall> agree",
			`delete_snapshot {"reason":"@ann, @U2, #ops, #C2 and @here and @oncall agree","server":"w","snapshot_id":1}`,
		},
		{"a number that Slack took for a channel", "snapshot delete w <#C1|801> because x", `delete_snapshot {"reason":"x","server":"w","snapshot_id":801}`},
		{"somebody's name cannot be a keyword or a quote", "snapshot delete <@U1|x because \" limit=5> 1 because y", `delete_snapshot {"reason":"y","server":"@x because \" limit=5","snapshot_id":1}`},
		{"what only looks like markup", "points a<b", `list_recovery_points {"server":"a\u003cb"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := g.parse(c.typed)
			require.NoError(t, err)
			assert.Equal(t, c.want, understood(t, got))
		})
	}
}

func TestWhatIsRefused(t *testing.T) {
	g := theGrammar(t, false)
	for _, c := range []struct{ name, typed, message, hint string }{
		{"a typo in both words", "snapshto lst", `there is no command "snapshto lst"`, "Did you mean `/vps snapshot list`? Example: /vps snapshot list web-server-01"},
		{"in the verb", "snapshot retsore web-01 801", `there is no command "snapshot retsore"`, "Did you mean `/vps snapshot restore`? Example: /vps snapshot restore web-server-01 801 because the upgrade broke login"},
		{"letters exchanged in a short word", "snapshot lsit", `there is no command "snapshot lsit"`, "Did you mean `/vps snapshot list`?"},
		{"behind a plural", "snapshots lst", `there is no command "snapshots lst"`, "Did you mean `/vps snapshot list`?"},
		{"in the noun alone", "bakcups", `there is no command "bakcups"`, "Did you mean `/vps backup list`?"},
		{"in the verb alone", "pionts web-01", `there is no command "pionts web-01"`, "Did you mean `/vps server points`? Example: /vps server points web-server-01"},
		{"in the other order", "lst snapshto", `there is no command "lst snapshto"`, "Did you mean `/vps snapshot list`?"},
		{"another word for it", "snapshot rollback web-01 801", `there is no command "snapshot rollback"`, "Did you mean `/vps snapshot restore`?"},
		{"a verb that the noun has not", "show snapshot 801", `there is no command "show snapshot"`, ""},
		{"a noun and something else", "server web-01", `there is no command "server web-01"`, "`/vps server` goes on with: list, points. Example: /vps server list"},
		{"nothing near", "make coffee", `there is no command "make coffee"`, ""},
		{"nothing near at all", "xyzzy", `there is no command "xyzzy"`, "`/vps help` shows all commands."},
		{"only a reason", "because I can", `there is no command "because"`, "`/vps help` shows all commands."},
		{"words in other scripts", "показать серверы", `there is no command "показать серверы"`, "`/vps help` shows all commands."},
		{"words that hide", "\u202exyzzy\x1b[31m ok", `there is no command "xyzzy[31m ok"`, ""},
		{"a short form of several nouns", "s list", `"s list" may mean several commands`, "Write one of `/vps server list`, `/vps snapshot list`. Example: /vps server list"},
		{"a verb of several nouns", "restore web-01 801", `"restore" may mean several commands`, "Write one of `/vps snapshot restore`, `/vps backup restore`."},
		{"a noun or a verb", "re", `"re" may mean several commands`, "`/vps snapshot restore`, `/vps backup restore`, `/vps request list`"},

		{"a text that would approve", "approve rq_7f3k9c", "a text never approves", "Press Approve… on the card of the request."},
		{"a plain yes", "Yes please", "a text never approves", "Approve…"},
		{"an emoji", ":+1:", "a text never approves", "Approve…"},
		{"behind a noun", "request confirm rq_7f3k9c", "a text never approves", "Approve…"},
		{"as an argument", "snapshot delete w 1 confirm=yes", "a text never approves", "Leave confirm= out, and press Approve… on the card that appears."},
		{"a text that would deny", "deny rq_7f3k9c", "a text never approves or denies", "Press Deny on the card of the request."},

		{"a place and a name", "snapshot restore web-01 801 server=web-02", "server is given twice", "Say it once. Example: /vps snapshot restore"},
		{"a name and a place", "snapshot restore server=web-02 801", "server is given twice", ""},
		{"a name twice", "servers limit=1 limit=2", "limit is given twice", ""},
		{"two reasons", `snapshot delete w 1 reason="a" because b`, "reason is given twice", ""},
		{"two reasons by name", `snapshot delete w 1 reason="a" reason="b"`, "reason is given twice", ""},
		{"two descriptions", `backup create w description=x because y`, "description is given twice", ""},
		{"an optional one twice", "backups manual type=manual", "type is given twice", ""},
		{"no such argument", "snapshot restore serber=web-01 801", "`/vps snapshot restore` has no argument \"serber\"", "Did you mean server=? It takes server, snapshot_id, reason, safety_copy."},
		{"half of a name", "snapshot restore web-01 id=801", "`/vps snapshot restore` has no argument \"id\"", "Did you mean snapshot_id=?"},
		{"nothing near either", "servers foo=bar", "`/vps server list` has no argument \"foo\"", "It takes status, location, limit, cursor."},
		{"no reason taken", "servers because I want", "`/vps server list` takes no reason", `Leave out "because" and what follows it`},
		{"a reason without its word", "snapshot restore web-01 801 the upgrade broke login", "`/vps snapshot restore` has no place for \"the\"", "Put the reason after because, as in: /vps snapshot restore web-01 801 because the upgrade broke login"},
		{"a long reason without its word", "snapshot restore w 1 " + strings.Repeat("x ", 90), "`/vps snapshot restore` has no place for \"x\"", "as in: /vps snapshot restore web-server-01 801 because the upgrade broke login"},
		{"a word too many", "snapshot restore web-01 801 802 because x", "`/vps snapshot restore` has no place for \"802\"", "By name it takes safety_copy=; text with spaces needs quotes."},
		{"a filter without its name", "server list active", "`/vps server list` has no place for \"active\"", "By name it takes status=, location=, limit=, cursor="},
		{"a word too many where nothing is left", "request cancel rq_7f3k9c now", "`/vps request cancel` has no place for \"now\"", "Example: /vps request cancel rq_7f3k9c"},
		{"a gap before the equals sign", "servers limit =5", `there is no value right behind "="`, "without spaces around the ="},
		{"a gap behind it", "servers limit= 5", `there is no value right behind "limit="`, ""},

		{"a fraction", "snapshot restore web-01 1.5 because x", `snapshot_id must be a whole number, not "1.5"`, "Example: /vps snapshot restore web-server-01 801 because"},
		{"a sign", "snapshot restore web-01 +801", `snapshot_id must be a whole number, not "+801"`, ""},
		{"a negative one", "snapshot restore web-01 -801", `snapshot_id must be a whole number, not "-801"`, ""},
		{"leading zeros", "snapshot restore web-01 0801", `snapshot_id must be a whole number, not "0801"`, ""},
		{"another base", "snapshot restore web-01 0x321", `snapshot_id must be a whole number, not "0x321"`, ""},
		{"digits of another script", "snapshot restore web-01 ٨٠١", `snapshot_id must be a whole number, not "٨٠١"`, ""},
		{"more than JSON carries", "snapshot restore web-01 9007199254740992", `snapshot_id must be a whole number, not "9007199254740992"`, ""},
		{"a number sign before what is no id", "servers limit=#5", `limit must be a whole number, not "#5"`, ""},
		{"places exchanged", "snapshot restore 801 web-01", `snapshot_id must be a whole number, not "web-01"`, ""},
		{"a long word that hides", "snapshot restore w 1\u202e" + strings.Repeat("x", 100), `snapshot_id must be a whole number, not "1` + strings.Repeat("x", 38) + `…"`, ""},
		{"neither yes nor no", "snapshot restore w 1 safety_copy=maybe", `safety_copy must be yes or no, not "maybe"`, ""},

		{"a quote that stays open", `points "web 01`, `the quote " before "web 01" is not closed`, `Close it with ", followed by a space or the end.`},
		{"one of phones", "points “web 01", "the quote “ before \"web 01\" is not closed", "Close it with ”"},
		{"one that closes too early", `points "web"01 x"`, `something follows the closing quote of "web"`, "Put a space behind it"},
		{"too long", strings.Repeat("ß", 4001), "the text is longer than 4000 characters", ""},
		{"too many words", strings.Repeat("a ", 101), "the command has more than 100 words", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := g.parse(c.typed)
			require.Error(t, err)
			e := policy.Public(err)
			assert.Equal(t, policy.Invalid, e.Kind)
			assert.Equal(t, c.message, e.Message)
			assert.Contains(t, e.Hint, c.hint)
			assert.NotEmpty(t, e.Hint)
		})
	}
}

func TestALongReasonIsNotSplit(t *testing.T) {
	g := theGrammar(t, false)
	c, err := g.parse("snapshot delete w 1 because " + strings.Repeat("x ", 300))
	require.NoError(t, err)
	assert.Len(t, c.Given[reasonName], 599, "how long it may be is the gate's to say")
}

func TestAReadOnlyCatalogue(t *testing.T) {
	g := theGrammar(t, true)
	_, err := g.parse("snapshot restore web-01 801 because x")
	e := policy.Public(err)
	assert.Equal(t, `there is no command "snapshot restore"`, e.Message)
	assert.Equal(t, "`/vps snapshot` goes on with: list. Example: /vps snapshot list web-server-01", e.Hint)
	c, err := g.parse("list web-01")
	require.Error(t, err, "%v", c)
}

// A word in full is that word, also where it begins another.
func TestExactWordsWin(t *testing.T) {
	g := newGrammar("/vps", []policy.Descriptor{
		{Name: "a", Noun: "backup", Verb: "list"}, {Name: "b", Noun: "backuplan", Verb: "list"}, {Name: "c", Noun: "backup", Verb: "listen"},
	})
	for typed, want := range map[string]string{"backup list": "a", "backup": "a", "backuplan list": "b", "backup liste": "c"} {
		c, err := g.parse(typed)
		require.NoError(t, err, typed)
		assert.Equal(t, want, c.Operation.Name, typed)
	}
	_, err := g.parse("back list")
	require.Error(t, err)
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"list", "list", 0},
		{"lst", "list", 1},
		{"lisst", "list", 1},
		{"lost", "list", 1},
		{"lsit", "list", 1},
		{"", "list", 4},
		{"snapshto", "snapshot", 1},
		{"ß", "s", 1},
		{"restore", "delete", 5},
		{strings.Repeat("x", 41), "list", far}, // nobody's time is spent on it
	} {
		assert.Equal(t, c.want, distance(c.a, c.b), "%s, %s", c.a, c.b)
		assert.Equal(t, c.want, distance(c.b, c.a), "%s, %s", c.b, c.a)
	}
}

// Every command works in both orders, in the plural and by its name.
func TestEveryOperationCanBeSaid(t *testing.T) {
	g := theGrammar(t, false)
	for _, d := range g.catalogue {
		for _, typed := range []string{
			d.Noun + " " + d.Verb, d.Verb + " " + d.Noun, d.Verb + " " + d.Noun + "s", strings.ToUpper(d.Noun + "s " + d.Verb),
			d.Name, strings.ReplaceAll(d.Name, "_", "-"), d.Noun[:3] + " " + d.Verb[:3],
		} {
			c, err := g.parse(typed)
			require.NoError(t, err, typed)
			assert.Equal(t, d.Name, c.Operation.Name, typed)
		}
	}
}

func TestNoOperationHasAWordOfADecision(t *testing.T) {
	for _, d := range theGrammar(t, false).catalogue {
		for _, w := range slices.Concat(approvals, denials) {
			assert.Zero(t, match(w, d.Verb)+match(w, d.Noun), "%s would read as %s", w, d.Name)
		}
	}
}

// escaped is what Slack makes of what people type.
func escaped(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

// again checks that the canonical form of a command is understood as the same.
func again(t require.TestingT, g *grammar, c command) {
	line := g.canonical(c.Operation, c.Given)
	if utf8.RuneCountInString(escaped(line)) > maxTyped {
		return
	}
	back, err := g.parse(escaped(line))
	require.NoError(t, err, line)
	require.Equal(t, c.Operation.Name, back.Operation.Name, line)
	require.Equal(t, c.Given, back.Given, line)
	require.Equal(t, c.Missing, back.Missing, line)
	require.Equal(t, line, g.canonical(back.Operation, back.Given))
}

func TestCanonicalCommands(t *testing.T) {
	g := theGrammar(t, false)
	for _, c := range []struct{ name, typed, want string }{
		{"short forms are written out", "snap res w #801 because x", "/vps snapshot restore w 801 because x"},
		{"the reason comes last", `snapshot restore reason="x y" safety_copy=no w 801`, "/vps snapshot restore w 801 safety_copy=false because x y"},
		{"what is out of place has its name", "snapshot restore snapshot_id=801", "/vps snapshot restore snapshot_id=801"},
		{"one of a few words has its name", "backups manual w limit=5", "/vps backup list w type=manual limit=5"},
		{"a server that is called like one", "backups server=manual", "/vps backup list server=manual"},
		{"a word of the grammar is quoted", `points "because"`, `/vps server points "because"`},
		{"and one of help", `points "help"`, `/vps server points "help"`},
		{"spaces are quoted", `points web\01 limit=1 cursor="a \"b\" \\"`, `/vps server points web\01 limit=1 cursor="a \"b\" \\"`},
		{"quotes that wrap a whole reason", `snapshot delete w 1 reason="\"x\""`, `/vps snapshot delete w 1 because "\"x\""`},
		{"quotes inside a reason", `snapshot delete w 1 because "a" and "b"`, `/vps snapshot delete w 1 because "a" and "b"`},
		{"a description has its name", "backup create w because it grows", `/vps backup create w description="it grows"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := g.parse(c.typed)
			require.NoError(t, err)
			assert.Equal(t, c.want, g.canonical(got.Operation, got.Given))
			again(t, g, got)
		})
	}
}

func TestWhatWasUnderstoodCanBeTypedAgain(t *testing.T) {
	g := theGrammar(t, false)
	texts := rapid.OneOf(
		rapid.SampledFrom([]string{
			"web-01", "because", "help", "manual", "Held", "a=b", "=", "x=", "don't", `"`, `\`, `\"`, `say "x"`, "'a' b", "“a” b", "“x”",
			"&lt;", "<@U1|x>", "yes", "reason=x", "#801", "a  b", " a", "\u00a0", "`", "limit=5", "-h", "?", "/vps",
		}),
		rapid.StringOfN(rapid.SampledFrom([]rune(`ab01 "'\“”„‘’«»=&<>#|@-_`+"\u00a0\n`")), 0, 20, -1),
		rapid.String(),
	)
	rapid.Check(t, func(t *rapid.T) {
		c := command{Operation: rapid.SampledFrom(g.catalogue).Draw(t, "operation"), Given: map[string]any{}}
		for _, a := range c.Operation.Arguments {
			switch {
			case !rapid.Bool().Draw(t, a.Name+" given"):
				if a.Required {
					c.Missing = append(c.Missing, a)
				}
			case a.Type == policy.Integer:
				c.Given[a.Name] = rapid.Int64Range(0, maxNumber).Draw(t, a.Name)
			case a.Type == policy.Boolean:
				c.Given[a.Name] = rapid.Bool().Draw(t, a.Name)
			case a.Name == reasonName:
				c.Given[a.Name] = rapid.Map(texts, func(s string) string { return "x" + spaced(s) }).Draw(t, a.Name)
				if rapid.Bool().Draw(t, "bare") {
					c.Given[a.Name] = spaced("y" + c.Given[a.Name].(string))[2:] // nothing before what was drawn
				}
				if c.Given[a.Name] == "" {
					delete(c.Given, a.Name)
					c.Missing = append(c.Missing, a)
				}
			default:
				c.Given[a.Name] = texts.Draw(t, a.Name)
			}
		}
		again(t, g, c)
	})
}

func FuzzCommand(f *testing.F) {
	for _, s := range []string{
		"", "help snapshot", "snapshot restore web-01 801 because the upgrade broke login", `snapshot create w n description="a \"b\""`,
		"points <http://x|x> server=“a b” limit=5", "snapshto lst", "approve rq_7f3k9c", "s list", "snapshot restore 1 2 3 reason='x' y",
		"points &lt;@U1&gt; <!date^1^x|y>", "because", "=", "\x00\xff\u202e", "servers limit=99999999999999999999", "`/vps`", "< |>",
	} {
		f.Add(s, false)
		f.Add(s, true)
	}
	both := map[bool]*grammar{false: theGrammar(f, false), true: theGrammar(f, true)}
	f.Fuzz(func(t *testing.T, text string, readOnly bool) {
		g := both[readOnly]
		c, err := g.parse(text)
		if err != nil {
			var e *policy.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, policy.Invalid, e.Kind)
			assert.LessOrEqual(t, utf8.RuneCountInString(e.Message+e.Hint), 400)
			assert.False(t, strings.ContainsFunc(e.Message+e.Hint, func(r rune) bool {
				return unicode.IsControl(r) || unicode.Is(unicode.Cf, r)
			}), "%q %q", e.Message, e.Hint)
			assert.NotEmpty(t, e.Message)
			assert.NotEmpty(t, e.Hint)
			return
		}
		if c.Help {
			return
		}
		raw, err := c.arguments()
		require.NoError(t, err)
		var back map[string]any
		require.NoError(t, json.Unmarshal(raw, &back))
		assert.ElementsMatch(t, slices.Collect(maps.Keys(c.Given)), slices.Collect(maps.Keys(back)))
		again(t, g, c)
	})
}
