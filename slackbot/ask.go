package slackbot

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"github.com/vpsguard/vpsguard/policy"
)

// blockValue is what a person filled in, as Slack gives it back.
type blockValue = slack.BlockAction

// askModal is a form for the arguments of a call that were not given.
func (f face) askModal(d policy.Descriptor, given map[string]any, key string) slack.ModalViewRequest {
	s := &sheet{id: "ask", most: cardLine}
	s.head(f.label() + d.Title)
	for _, a := range d.Arguments {
		if v, ok := given[a.Name]; ok {
			s.fact(capital(spokenName(a.Name)), fmt.Sprint(v))
		}
	}
	s.flush()
	if d.Effect.Destroys() {
		s.plain("Nothing is overwritten or deleted before a person has approved it.")
	}
	for _, a := range d.Arguments {
		if _, ok := given[a.Name]; !ok && asksFor(a) {
			s.input(fieldAsk+a.Name, capital(spokenName(a.Name)), policy.Clean(a.About, mostLabel), askElement(a), !a.Required)
		}
	}
	submit := map[policy.Effect]string{policy.Read: "Show", policy.Create: "Create"}[d.Effect]
	if submit == "" {
		submit = "Ask for approval"
	}
	title := policy.Clean(d.Title, mostTitle)
	if title == "" {
		title = "vpsguard"
	}
	return f.modal(viewAsk, title, submit, "Back", key, s)
}

// asksFor tells whether a form has a field for an argument: not for those that
// page through lists, which buttons do, nor for those that wait, which cards do.
func asksFor(a policy.Argument) bool {
	return a.Required || a.Name != policy.LimitArgument.Name && a.Name != policy.CursorArgument.Name && !strings.HasPrefix(a.Name, "wait")
}

// askElement is the field for an argument: a menu where there is something to
// choose from.
func askElement(a policy.Argument) slack.BlockElement {
	switch {
	case a.Of != "":
		least := 0
		e := slack.NewOptionsSelectBlockElement(slack.OptTypeExternal, literal("Choose, or type to search"), actPick+a.Name)
		e.MinQueryLength = &least
		return e
	case a.Type == policy.Boolean:
		yes, no := choice("yes"), choice("no")
		e := slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, nil, actPick+a.Name, yes, no)
		if d, ok := a.Default.(bool); ok && d {
			return e.WithInitialOption(yes)
		} else if ok {
			return e.WithInitialOption(no)
		}
		return e
	case len(a.Enum) > 0:
		e := slack.NewOptionsSelectBlockElement(slack.OptTypeStatic, nil, actPick+a.Name)
		for _, v := range a.Enum {
			o := choice(v)
			if e.Options = append(e.Options, o); a.Default == v {
				e.InitialOption = o
			}
		}
		return e
	case a.Type == policy.Integer:
		e := slack.NewNumberInputBlockElement(nil, actFill+a.Name, false)
		e.MinValue = strconv.FormatInt(a.Min, 10)
		if a.Max > 0 {
			e.MaxValue = strconv.FormatInt(a.Max, 10)
		}
		return e
	default:
		e := slack.NewPlainTextInputBlockElement(nil, actFill+a.Name)
		if a.Max > 0 {
			e.MaxLength = int(min(a.Max, mostSection))
		}
		return e
	}
}

func choice(v string) *slack.OptionBlockObject {
	return slack.NewOptionBlockObject(v, literal(v), nil)
}

// readAsk reads a form of askModal that was submitted: the arguments it holds,
// and what is wrong, by block. Fields that were not in the form are not missed.
func readAsk(d policy.Descriptor, values map[string]map[string]blockValue) (map[string]any, map[string]string) {
	given, wrong := map[string]any{}, map[string]string{}
	for _, a := range d.Arguments {
		block := fieldAsk + a.Name
		fields, shown := values[block]
		if !shown {
			continue
		}
		text := strings.TrimSpace(strings.NewReplacer("\r", " ", "\n", " ", "\t", " ").Replace(
			fields[actFill+a.Name].Value + fields[actPick+a.Name].SelectedOption.Value))
		switch v, problem := askValue(a, text); {
		case text == "" && a.Required:
			wrong[block] = "This is needed."
		case text == "":
		case problem != "":
			wrong[block] = problem
		default:
			given[a.Name] = v
		}
	}
	return given, wrong
}

// askValue reads one field.
func askValue(a policy.Argument, text string) (any, string) {
	switch a.Type {
	case policy.Integer:
		n, err := strconv.ParseInt(text, 10, 64)
		switch {
		case err != nil:
			return nil, "A whole number is needed."
		case n < a.Min:
			return nil, fmt.Sprintf("At least %d.", a.Min)
		case a.Max > 0 && n > a.Max:
			return nil, fmt.Sprintf("At most %d.", a.Max)
		}
		return n, ""
	case policy.Boolean:
		if text != "yes" && text != "no" {
			return nil, "Yes or no."
		}
		return text == "yes", ""
	default:
		switch {
		case a.Max > 0 && int64(utf8.RuneCountInString(text)) > a.Max:
			return nil, fmt.Sprintf("At most %d characters.", a.Max)
		case len(a.Enum) > 0 && !slices.Contains(a.Enum, text):
			return nil, "One of: " + strings.Join(a.Enum, ", ") + "."
		}
		return text, ""
	}
}
