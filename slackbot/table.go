package slackbot

import (
	"fmt"
	"slices"
	"strings"

	"github.com/slack-go/slack"

	"github.com/vpsguard/vpsguard/policy"
)

// listOptions say what a listing offers.
type listOptions struct {
	Actions []policy.Descriptor // what can be asked for a row, as data
	Rev     string              // tells one version of the message from the next; may be empty
	NextKey string              // value of the button for the next page
}

const (
	rowLine  = 200 // code points of a row
	listRows = 21  // as many rows with buttons of their own fit into a message
)

// listing shows rows, each with what can be asked for it. A row is a section of
// its own: tables are not shown by all clients, and hold no buttons in them.
func (f face) listing(d policy.Descriptor, l policy.Listing, o listOptions) message {
	s := &sheet{id: "list." + o.Rev, most: cardLine}
	title := policy.Clean(l.Title, mostHeader)
	if title == "" {
		title = capital(policy.Clean(d.Title, mostHeader))
	}
	s.head(f.label() + title)
	for _, line := range l.Lines[:min(len(l.Lines), 4)] {
		s.plain(policy.Clean(line, cardLine))
	}
	if len(l.Rows) > listRows {
		s.denseRows(l.Rows)
	} else {
		for _, row := range l.Rows {
			s.row(row, o.Actions)
		}
	}
	shown := fmt.Sprintf("%d of %d", len(l.Rows), l.Total)
	if len(l.Rows) == 0 {
		s.plain("Nothing to show.")
	}
	s.plain(shown)
	if l.Next != "" && o.NextKey != "" {
		s.buttons(button(actPage, o.NextKey, "Next page", shorten("Next page of "+title, mostButton)))
	}
	return fitMessage(message{Text: f.listText(title, l, shown), Blocks: s.blocks})
}

// row is one row with its buttons. They are neutral: each opens a form.
func (s *sheet) row(row policy.Row, actions []policy.Descriptor) {
	text := policy.Clean(row.Text, rowLine)
	if text == "" {
		text = "(nothing is known of this one)"
	}
	section := slack.NewSectionBlock(literal(text), nil, nil, slack.SectionBlockOptionBlockID(s.next()))
	s.put(section)
	if row.Request != "" {
		section.Accessory = slack.NewAccessory(button(actShow, row.Request, "Show", "Show request "+row.Request))
		return
	}
	if row.Point == nil || row.Server.ID == 0 {
		return
	}
	var out []*slack.ButtonBlockElement
	for _, a := range actions {
		about := slices.ContainsFunc(a.Arguments, func(x policy.Argument) bool { return x.Of == row.Point.Kind })
		if a.Effect.Destroys() && a.Noun == row.Point.Kind && about && len(out) < 5 {
			does := capital(a.Verb)
			r := policy.Request{Plan: policy.Plan{Server: row.Server, Target: row.Point}}
			out = append(out, button(actRow+a.Verb, rowValue(row.Point.Kind, row.Server.ID, row.Point.ID), does+"…", aloud(does, r)))
		}
	}
	s.buttons(out...)
}

// denseRows are rows of a page that is too long for buttons.
func (s *sheet) denseRows(rows []policy.Row) {
	var b strings.Builder
	size, n := 0, 0
	for _, row := range rows {
		line := "• " + policy.Clean(row.Text, 100) + "\n"
		if size += len([]rune(line)); size > 3*mostRun { // as much as leaves room for the rest of the message
			break
		}
		b.WriteString(line)
		n++
	}
	s.plain(b.String())
	if more := len(rows) - n; more > 0 {
		s.plain(fmt.Sprintf("and %d more rows", more))
	}
	s.plain(fmt.Sprintf("Buttons are shown on pages of up to %d rows.", listRows))
}

// listText is a listing for those who have only text.
func (f face) listText(title string, l policy.Listing, shown string) string {
	lines := []string{mrk(f.label()+title, 200)}
	for _, line := range l.Lines[:min(len(l.Lines), 4)] {
		lines = append(lines, "• "+mrk(line, 250))
	}
	left := mostText - 1600
	for i, row := range l.Rows {
		line := "• " + mrk(row.Text, 150)
		if left -= len([]rune(line)) + 1; left < 0 {
			lines = append(lines, fmt.Sprintf("• and %d more rows", len(l.Rows)-i))
			break
		}
		lines = append(lines, line)
	}
	if len(l.Rows) == 0 {
		lines = append(lines, "Nothing to show.")
	}
	return strings.Join(append(lines, shown), "\n")
}
