package slackbot

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/vpsguard/vpsguard/policy"
)

// listVerb is what a noun alone means.
const listVerb = "list"

// grammar understands what people type, from the catalogue alone. It decides
// nothing and looks nothing up: whatever it understands goes to the gate as a
// call like any other.
type grammar struct {
	command   string // such as /vps
	catalogue []policy.Descriptor
}

// newGrammar makes the grammar of a catalogue for a slash command.
func newGrammar(command string, catalogue []policy.Descriptor) *grammar {
	return &grammar{command, catalogue}
}

// command is an understood text.
type command struct {
	Help      bool              // help was asked for, or nothing was said
	Topic     string            // the noun that help was asked for; may be empty
	Operation policy.Descriptor // what was meant
	Given     map[string]any    // by the argument's name: string, int64 or bool
	Missing   []policy.Argument // required ones that were not given, in order
}

// arguments are what was given, for [policy.Call].
func (c command) arguments() (json.RawMessage, error) {
	if c.Given == nil {
		return json.RawMessage("{}"), nil
	}
	return json.Marshal(c.Given)
}

// parse understands a text, as Slack hands it over. Its errors are [policy.Error]s
// of kind [policy.Invalid] that say what would be right. What values may be is
// checked behind the gate.
func (g *grammar) parse(text string) (command, error) {
	l, err := readLine(text)
	if err != nil {
		return command{}, err
	}
	if len(l.words) > 0 && l.words[0].is(g.command) { // typed once more, as after a mention
		l.words = l.words[1:]
	}
	if topic, ok := g.helpAsked(l); ok {
		return command{Help: true, Topic: topic}, nil
	}
	d, used, err := g.operation(l)
	if err != nil {
		return command{}, err
	}
	given, err := g.fill(d, l.words[used:], l)
	if err != nil {
		return command{}, err
	}
	c := command{Operation: d, Given: given}
	for _, a := range d.Arguments {
		if _, ok := given[a.Name]; a.Required && !ok {
			c.Missing = append(c.Missing, a)
		}
	}
	return c, nil
}

// helpAsked tells whether a text asks for help, and on which noun: it is empty,
// or begins with a word for help, or ends with one right behind the command.
func (g *grammar) helpAsked(l line) (topic string, ok bool) {
	if len(l.words) == 0 {
		return "", !l.why
	}
	last := len(l.words) - 1
	if !helpWord(l.words[0]) && (last < 1 || last > 2 || l.why || !helpWord(l.words[last])) {
		return "", false
	}
	for _, w := range l.words {
		for _, d := range g.catalogue {
			if match(strings.ToLower(w.raw()), d.Noun) > 0 {
				return d.Noun, true
			}
		}
	}
	return "", true
}

func helpWord(w word) bool {
	return slices.ContainsFunc([]string{"help", "?", "-h", "--help"}, w.is)
}

// reading is one way to understand the first words of a text.
type reading struct {
	d    policy.Descriptor
	used int // how many words it takes
	sure int // how exactly they were written
}

// operation finds out which operation is meant, and how many words say so: noun
// and verb in either order, the operation's own name, a noun alone for its
// list, or a verb that only one noun has.
func (g *grammar) operation(l line) (policy.Descriptor, int, error) {
	first, second := head(l.words, 0), head(l.words, 1)
	for _, d := range g.catalogue {
		if sameName(first, d.Name) {
			return d, 1, nil
		}
	}
	found := g.both(first, second)
	if len(found) == 0 {
		if err := g.verdict(first, second); err != nil {
			return policy.Descriptor{}, 0, err
		}
		found = g.alone(first, second)
	}
	switch len(found) {
	case 0:
		return policy.Descriptor{}, 0, g.unknown(l, first, second)
	case 1:
		return found[0].d, found[0].used, nil
	}
	said := first
	if found[0].used == 2 {
		said += " " + second
	}
	names := make([]string, 0, len(found))
	for _, r := range found[:min(len(found), 6)] {
		names = append(names, "`"+g.phrase(r.d)+"`")
	}
	return policy.Descriptor{}, 0, policy.Errorf(policy.Invalid, "%q may mean several commands", policy.Clean(said, 40)).
		WithHint("Write one of %s. Example: %s", strings.Join(names, ", "), g.example(found[0].d))
}

// head is a word of the command itself, in lower case; "" where there is none.
func head(words []word, i int) string {
	if i >= len(words) || words[i].quoted || words[i].name != "" {
		return ""
	}
	return strings.ToLower(words[i].text)
}

// both reads the first two words as noun and verb, in either order.
func (g *grammar) both(first, second string) (found []reading) {
	for _, d := range g.catalogue {
		for _, w := range [][2]string{{first, second}, {second, first}} {
			if noun, verb := match(w[0], d.Noun), match(w[1], d.Verb); noun > 0 && verb > 0 {
				found = append(found, reading{d, 2, noun + verb})
				break
			}
		}
	}
	return surest(found)
}

// alone reads the first word as a noun that stands for its list, or as a verb.
// Behind a noun in the singular no other word may stand: it would be a verb
// that does not exist. Behind a verb no noun may.
func (g *grammar) alone(first, second string) (found []reading) {
	isNoun := slices.ContainsFunc(g.catalogue, func(d policy.Descriptor) bool { return match(second, d.Noun) > 1 })
	for _, d := range g.catalogue {
		noun, verb := match(first, d.Noun), match(first, d.Verb)
		listed := second == "" || first == d.Noun+"s" && takesPosition(d) && !g.nearVerb(second, d.Noun)
		switch {
		case noun > 0 && d.Verb == listVerb && listed:
			found = append(found, reading{d, 1, noun})
		case verb > 0 && !isNoun:
			found = append(found, reading{d, 1, verb})
		}
	}
	return surest(found)
}

// nearVerb tells whether a word looks like a mistyped verb of a noun.
func (g *grammar) nearVerb(typed, noun string) bool {
	return slices.ContainsFunc(g.catalogue, func(d policy.Descriptor) bool {
		return d.Noun == noun && missed(typed, d.Verb) < far
	})
}

// match tells how exactly a typed word is one of the catalogue: 2 in full, also
// in the plural, 1 for its beginning, 0 not at all.
func match(typed, name string) int {
	switch {
	case typed == name, typed == name+"s":
		return 2
	case typed != "" && strings.HasPrefix(name, typed):
		return 1
	default:
		return 0
	}
}

// surest leaves the readings of the words that were written most exactly.
func surest(found []reading) []reading {
	most := 0
	for _, r := range found {
		most = max(most, r.sure)
	}
	return slices.DeleteFunc(found, func(r reading) bool { return r.sure < most })
}

// Words of a decision. They are known only to say that a text decides nothing.
var (
	approvals = []string{
		"approve", "approved", "confirm", "confirmed", "yes", "y", "ok", "okay", "accept", "agree", "allow", "lgtm",
		":+1:", ":thumbsup:", ":white_check_mark:", ":heavy_check_mark:",
	}
	denials = []string{"deny", "denied", "reject", "refuse", "decline", "no", "n", ":-1:", ":thumbsdown:", ":x:"}
)

// verdict refuses a text that looks like a decision, alone or on a noun.
func (g *grammar) verdict(first, second string) error {
	said := first
	if slices.ContainsFunc(g.catalogue, func(d policy.Descriptor) bool { return match(first, d.Noun) > 0 }) {
		said = second
	}
	switch {
	case slices.Contains(approvals, said):
		return policy.Errorf(policy.Invalid, "a text never approves").WithHint("Press Approve… on the card of the request.")
	case slices.Contains(denials, said):
		return policy.Errorf(policy.Invalid, "a text never approves or denies").WithHint("Press Deny on the card of the request.")
	}
	return nil
}

// unknown is the answer to a text that is no command: the nearest one, and one
// example.
func (g *grammar) unknown(l line, first, second string) error {
	said := ""
	for _, w := range l.words[:min(len(l.words), 2)] {
		said += " " + w.raw()
	}
	if said == "" {
		said = because
	}
	err := policy.Errorf(policy.Invalid, "there is no command %q", policy.Clean(said, 60))
	if verbs, d := g.verbs(first); len(verbs) > 0 && !g.nearVerb(second, d.Noun) {
		return err.WithHint("`%s %s` goes on with: %s. Example: %s", g.command, d.Noun, strings.Join(verbs, ", "), g.example(d))
	}
	if d, ok := g.nearest(first, second); ok {
		return err.WithHint("Did you mean `%s`? Example: %s", g.phrase(d), g.example(d))
	}
	return err.WithHint("`%s help` shows all commands.", g.command)
}

// verbs gives the verbs of a noun, and its first operation.
func (g *grammar) verbs(noun string) (verbs []string, first policy.Descriptor) {
	for _, d := range g.catalogue {
		if match(noun, d.Noun) < 2 {
			continue
		}
		if len(verbs) == 0 {
			first = d
		}
		verbs = append(verbs, d.Verb)
	}
	return verbs, first
}

// phrase is a command without arguments, as it is typed.
func (g *grammar) phrase(d policy.Descriptor) string { return g.command + " " + d.Noun + " " + d.Verb }
