package slackbot

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/vpsguard/vpsguard/policy"
)

// helpPage is help that fits one screen, to be rendered.
type helpPage struct {
	Commands []helpLine // by noun, in the order of the catalogue
	Notes    []string   // a sentence each
}

// helpLine is one command.
type helpLine struct {
	Noun    string
	Usage   string   // /vps snapshot restore <server> <snapshot_id>
	About   string   // Restore a snapshot
	Example string   // only where help was asked for on a noun
	Named   []string // and what else it takes by name
}

// help shows every command once.
func (g *grammar) help() helpPage {
	var p helpPage
	for _, noun := range g.nouns() {
		for _, d := range g.of(noun) {
			p.Commands = append(p.Commands, helpLine{Noun: noun, Usage: g.usage(d), About: d.Title})
		}
	}
	p.Notes = g.notes(g.catalogue, true)
	return p
}

// helpOn shows the commands of a noun with all that they take and an example;
// all commands where there is no such noun.
func (g *grammar) helpOn(noun string) helpPage {
	all := g.of(noun)
	if len(all) == 0 {
		return g.help()
	}
	p := helpPage{Notes: g.notes(all, false)}
	for _, d := range all {
		l := helpLine{Noun: noun, Usage: g.usage(d), About: d.Title, Example: g.example(d)}
		for _, a := range d.Arguments {
			if !a.Required && !takesPlace(a) {
				l.Named = append(l.Named, a.Name+"=")
			}
		}
		p.Commands = append(p.Commands, l)
	}
	return p
}

// notes are what holds for some commands, in a sentence each; with more, also
// where the rest is told.
func (g *grammar) notes(some []policy.Descriptor, more bool) (out []string) {
	var told, held []string
	named := false
	for _, d := range some {
		if _, ok := reasonOf(d); ok && !slices.Contains(told, d.Verb) {
			told = append(told, d.Verb)
		}
		if d.Effect.Destroys() && !slices.Contains(held, d.Verb) {
			held = append(held, d.Verb)
		}
		named = named || slices.ContainsFunc(d.Arguments, func(a policy.Argument) bool { return !a.Required && !takesPlace(a) })
	}
	if len(told) > 0 {
		out = append(out, fmt.Sprintf("because <text> at the end says why (%s).", strings.Join(told, ", ")))
	}
	if named {
		note := `Anything else by name, as limit=5; spaces need "quotes".`
		if more {
			note += fmt.Sprintf(" More: %s help %s", g.command, some[0].Noun)
		}
		out = append(out, note)
	}
	if len(held) > 0 {
		last := len(held) - 1
		which := held[last]
		if last > 0 {
			which = strings.Join(held[:last], ", ") + " or " + which
		}
		out = append(out, fmt.Sprintf("No %s happens until a person confirms it on the card.", which))
	}
	return out
}

// nouns are those of the catalogue, in its order.
func (g *grammar) nouns() (out []string) {
	for _, d := range g.catalogue {
		if !slices.Contains(out, d.Noun) {
			out = append(out, d.Noun)
		}
	}
	return out
}

// of gives the operations of a noun.
func (g *grammar) of(noun string) (out []policy.Descriptor) {
	for _, d := range g.catalogue {
		if d.Noun == noun {
			out = append(out, d)
		}
	}
	return out
}

// String is the page as plain text.
func (p helpPage) String() string {
	width := 0
	for _, c := range p.Commands {
		width = max(width, utf8.RuneCountInString(c.Usage))
	}
	var b strings.Builder
	for i, c := range p.Commands {
		if i > 0 && (p.Commands[i-1].Noun != c.Noun) {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%-*s  %s\n", width, c.Usage, c.About)
		if c.Example != "" {
			fmt.Fprintf(&b, "  %s\n", c.Example)
		}
		if len(c.Named) > 0 {
			fmt.Fprintf(&b, "  by name: %s\n", strings.Join(c.Named, " "))
		}
	}
	for i, n := range p.Notes {
		if i == 0 && len(p.Commands) > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(n + "\n")
	}
	return b.String()
}

// usage is a command with the arguments that need no name: <required> and
// [optional]. The reason has its own place at the end.
func (g *grammar) usage(d policy.Descriptor) string {
	out := g.phrase(d)
	for _, a := range d.Arguments {
		if a.Required && a.Name != reasonName {
			out += " <" + a.Name + ">"
		}
	}
	for _, a := range d.Arguments {
		if takesPlace(a) {
			out += " [" + a.Name + "]"
		}
	}
	return out
}

// samples are the values of examples, by the argument's name.
var samples = map[string]any{
	"server": "web-server-01", "name": "before-upgrade", "request_id": "rq_7f3k9c", reasonName: "the upgrade broke login",
	"keep": int64(3),
}

// example is one command as somebody would type it: all that is required, and
// the first thing that can narrow a list.
func (g *grammar) example(d policy.Descriptor) string {
	given := map[string]any{}
	narrowed := false
	for _, a := range d.Arguments {
		if !a.Required && (narrowed || !takesPlace(a) || len(a.Enum) > 0) {
			continue
		}
		narrowed = narrowed || !a.Required
		given[a.Name] = cmp.Or(samples[a.Name], samples[a.Of], sample(a))
	}
	return g.canonical(d, given)
}

// sample is a value of the right type for an argument that has none of its own.
func sample(a policy.Argument) any {
	switch {
	case len(a.Enum) > 0:
		return a.Enum[0]
	case a.Type == policy.Integer:
		return int64(801)
	case a.Type == policy.Boolean:
		return true
	default:
		return "some-" + strings.ReplaceAll(a.Name, "_", "-")
	}
}

// canonical is a command as it can be typed again, with quotes where needed. It
// is what a person types: Slack's own escapes are not in it.
func (g *grammar) canonical(d policy.Descriptor, given map[string]any) string {
	out := g.phrase(d)
	placed := true // whether the next place is the next argument's
	write := func(a policy.Argument) {
		v, ok := given[a.Name]
		switch {
		case !ok:
			placed = false
		case placed && !bare(a):
			out += " " + typed(v)
		default:
			out += " " + a.Name + "=" + typed(v)
		}
	}
	for _, a := range d.Arguments {
		if a.Required && a.Name != reasonName {
			write(a)
		}
	}
	for _, a := range d.Arguments {
		if a.Required || a.Name == reasonName {
			continue
		}
		before := placed
		placed = before && takesPlace(a) && len(a.Enum) == 0 && !anyOf(d, typed(given[a.Name]))
		write(a)
		if !takesPlace(a) || len(a.Enum) > 0 {
			placed = before
		}
	}
	if reason, ok := given[reasonName].(string); ok && reason != "" {
		out += " " + because + " " + spoken(reason)
	}
	return out
}

// bare tells whether an argument is a number of which nobody could tell what it is.
func bare(a policy.Argument) bool { return a.Type == policy.Integer && a.Of == "" }

// anyOf tells whether a word would be read as one of the few of some argument.
func anyOf(d policy.Descriptor, typed string) bool {
	return slices.ContainsFunc(d.Arguments, func(a policy.Argument) bool { return oneOf(a, typed) })
}

// typed is a value as a word.
func typed(value any) string {
	switch v := value.(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case bool:
		return strconv.FormatBool(v)
	case string:
		name, _, named := strings.Cut(v, "=")
		w := word{text: v}
		first, _ := utf8.DecodeRuneInString(v)
		if v == "" || strings.ContainsFunc(v, isGap) || closers[first] != "" || w.is(because) || helpWord(w) || named && (name == "" || nameLike(name)) {
			return quote(v)
		}
		return v
	default:
		return ""
	}
}

// spoken is a reason as it is written behind the keyword.
func spoken(reason string) string {
	if phrase(letters(reason)) == reason {
		return reason
	}
	return quote(reason)
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
