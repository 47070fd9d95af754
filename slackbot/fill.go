package slackbot

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/vpsguard/vpsguard/policy"
)

// maxNumber is the largest integer that an argument can hold.
const maxNumber = 1<<53 - 1

// fill assigns words to arguments. Words without a name go to the required
// arguments in order, the reason excepted, and then to the optional ones that
// [takesPlace] tells. The reason goes to the description where there is no other
// place for it.
func (g *grammar) fill(d policy.Descriptor, words []word, l line) (map[string]any, error) {
	given := map[string]any{}
	var must, may []policy.Argument
	for _, a := range d.Arguments {
		switch {
		case a.Name == reasonName:
		case a.Required:
			must = append(must, a)
		case takesPlace(a):
			may = append(may, a)
		}
	}
	for i, w := range words {
		a, err := g.argument(d, w, &must, &may)
		if err != nil {
			return nil, err
		}
		if a.Name == "" {
			return nil, g.tooMany(d, words[i:], given, l)
		}
		if _, twice := given[a.Name]; twice {
			return nil, g.twice(d, a.Name)
		}
		if given[a.Name], err = g.value(d, a, w.text); err != nil {
			return nil, err
		}
	}
	return given, g.giveReason(d, given, l)
}

// takesPlace tells whether an optional argument can be given without its name:
// where it names a thing, or is one of a few words. The others, such as the size
// of a page, are given by name.
func takesPlace(a policy.Argument) bool {
	return !a.Required && (a.Of != "" || len(a.Enum) > 0) && a.Name != reasonName
}

// takesPosition tells whether a list takes any word without a name.
func takesPosition(d policy.Descriptor) bool { return slices.ContainsFunc(d.Arguments, takesPlace) }

// oneOf tells whether a typed word is one of an argument's few.
func oneOf(a policy.Argument, typed string) bool {
	return slices.ContainsFunc(a.Enum, func(e string) bool { return strings.EqualFold(e, typed) })
}

// argument finds the one that a word is for, by its name or its place, and
// takes the place; none where no place is left.
func (g *grammar) argument(d policy.Descriptor, w word, must, may *[]policy.Argument) (policy.Argument, error) {
	if w.name != "" {
		return g.named(d, w.name)
	}
	if len(*must) > 0 {
		a := (*must)[0]
		*must = (*must)[1:]
		return a, nil
	}
	i := -1
	if !w.quoted {
		i = slices.IndexFunc(*may, func(a policy.Argument) bool { return oneOf(a, w.text) })
	}
	if i < 0 {
		i = slices.IndexFunc(*may, func(a policy.Argument) bool { return len(a.Enum) == 0 })
	}
	if i < 0 {
		return policy.Argument{}, nil
	}
	a := (*may)[i]
	*may = slices.Delete(slices.Clone(*may), i, i+1)
	return a, nil
}

// named finds an argument by its name.
func (g *grammar) named(d policy.Descriptor, name string) (policy.Argument, error) {
	for _, a := range d.Arguments {
		if sameName(name, a.Name) {
			return a, nil
		}
	}
	if slices.Contains(approvals, strings.ToLower(name)) {
		return policy.Argument{}, policy.Errorf(policy.Invalid, "a text never approves").
			WithHint("Leave %s= out, and press Approve… on the card that appears.", policy.Clean(name, 40))
	}
	names := make([]string, 0, len(d.Arguments))
	for _, a := range d.Arguments {
		names = append(names, a.Name)
	}
	hint := "It takes " + strings.Join(names, ", ") + "."
	if near := nearestName(d, name); near != "" {
		hint = "Did you mean " + near + "=? " + hint
	}
	return policy.Argument{}, policy.Errorf(policy.Invalid, "`%s` has no argument %q", g.phrase(d), policy.Clean(name, 40)).WithHint("%s", hint)
}

func (g *grammar) twice(d policy.Descriptor, name string) error {
	return policy.Errorf(policy.Invalid, "%s is given twice", name).WithHint("Say it once. Example: %s", g.example(d))
}

// tooMany refuses words that have no place. Where a reason is still to be given,
// that is most likely what they are.
func (g *grammar) tooMany(d policy.Descriptor, words []word, given map[string]any, l line) error {
	err := policy.Errorf(policy.Invalid, "`%s` has no place for %q", g.phrase(d), policy.Clean(words[0].raw(), 40))
	var names []string
	for _, a := range d.Arguments {
		if _, ok := given[a.Name]; !ok && a.Name != reasonName {
			names = append(names, a.Name+"=")
		}
	}
	switch a, ok := reasonOf(d); {
	case ok && a.Name == reasonName && !l.why:
		said := make([]string, 0, len(words))
		for _, w := range words {
			said = append(said, w.raw())
		}
		again := maps.Clone(given)
		again[reasonName] = strings.Join(said, " ")
		example := g.canonical(d, again)
		if policy.Clean(example, 200) != example {
			example = g.example(d)
		}
		return err.WithHint("Put the reason after %s, as in: %s", because, example)
	case len(names) > 0:
		return err.WithHint("By name it takes %s; text with spaces needs quotes. Example: %s", strings.Join(names, ", "), g.example(d))
	default:
		return err.WithHint("Text with spaces needs quotes. Example: %s", g.example(d))
	}
}

// reasonOf is the argument that takes a reason.
func reasonOf(d policy.Descriptor) (policy.Argument, bool) {
	for _, name := range []string{reasonName, aboutName} {
		if i := slices.IndexFunc(d.Arguments, func(a policy.Argument) bool { return a.Name == name && a.Type == policy.String }); i >= 0 {
			return d.Arguments[i], true
		}
	}
	return policy.Argument{}, false
}

// giveReason puts the reason where it belongs. One that says nothing was not
// given.
func (g *grammar) giveReason(d policy.Descriptor, given map[string]any, l line) error {
	if !l.why {
		return nil
	}
	a, ok := reasonOf(d)
	if !ok {
		return policy.Errorf(policy.Invalid, "`%s` takes no reason", g.phrase(d)).
			WithHint("Leave out %q and what follows it; if it is part of a name, put the name in quotes.", because)
	}
	if _, twice := given[a.Name]; twice || l.twice {
		return g.twice(d, a.Name)
	}
	if l.reason != "" {
		given[a.Name] = l.reason
	}
	return nil
}

// value reads a word as the type of its argument. Nothing is rounded or guessed;
// what a value may be beyond its type is checked behind the gate.
func (g *grammar) value(d policy.Descriptor, a policy.Argument, typed string) (any, error) {
	wanted := ""
	switch a.Type {
	case policy.Integer:
		digits := typed
		if a.Of != "" { // an id, as people write numbers of things
			digits = strings.TrimPrefix(typed, "#")
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err == nil && n <= maxNumber && strconv.FormatInt(n, 10) == digits && n >= 0 {
			return n, nil
		}
		wanted = "a whole number"
	case policy.Boolean:
		switch strings.ToLower(typed) {
		case "true", "yes", "on":
			return true, nil
		case "false", "no", "off":
			return false, nil
		}
		wanted = "yes or no"
	case policy.String:
		return typed, nil
	}
	return nil, policy.Errorf(policy.Invalid, "%s must be %s, not %q", a.Name, wanted, policy.Clean(typed, 40)).
		WithHint("Example: %s", g.example(d))
}
