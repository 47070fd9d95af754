package slackbot

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"github.com/vpsguard/vpsguard/policy"
)

// sheet collects the blocks of a card or a modal. Facts are rich text: a bold
// label that is ours, and behind it text on which Slack does not act. Foreign
// text never begins a line and, cleaned, never makes one.
type sheet struct {
	id     string // block ids begin so; another one for each version of a message
	most   int    // code points of one fact; the rest is cut
	name   int    // the same of a name within one
	blocks []slack.Block
	run    []slack.RichTextSectionElement
	size   int
}

// next is the id of the block to come.
func (s *sheet) next() string {
	return fmt.Sprintf("%s.%d", shorten(s.id, mostID-10), len(s.blocks))
}

func (s *sheet) put(b slack.Block) { s.blocks = append(s.blocks, b) }

// bold and as are pieces of rich text; slack refuses empty ones.
func bold(text string) slack.RichTextSectionElement {
	return slack.NewRichTextSectionTextElement(text, &slack.RichTextSectionTextStyle{Bold: true})
}

func as(text string) slack.RichTextSectionElement {
	return slack.NewRichTextSectionTextElement(text, nil)
}

// fact adds a line. What is too long for one block goes on in the next.
func (s *sheet) fact(label, text string) {
	text = policy.Clean(text, s.most)
	if text == "" {
		return
	}
	label += ": "
	if s.size > 0 && s.size+len(label)+utf8.RuneCountInString(text)+1 > mostRun {
		s.flush()
	}
	if s.size > 0 {
		label = "\n" + label
	}
	s.add(bold(label), len(label))
	rest := []rune(text)
	for room := mostRun - s.size; len(rest) > room; room = mostRun {
		s.add(as(string(rest[:room])), room)
		s.flush()
		rest = rest[room:]
	}
	if len(rest) > 0 {
		s.add(as(string(rest)), len(rest))
	}
}

func (s *sheet) add(e slack.RichTextSectionElement, size int) {
	s.run = append(s.run, e)
	s.size += size
}

// facts adds a line for each text, at most so many, and says how many more there
// are; 0 is no limit.
func (s *sheet) facts(label string, texts []string, most int) {
	if most == 0 {
		most = len(texts)
	}
	for _, t := range texts[:min(most, len(texts))] {
		s.fact(label, t)
	}
	if more := len(texts) - most; more > 0 {
		s.fact(label, fmt.Sprintf("and %d more", more))
	}
}

// flush ends a block of facts.
func (s *sheet) flush() {
	if len(s.run) > 0 {
		s.put(slack.NewRichTextBlock(s.next(), slack.NewRichTextSection(s.run...)))
	}
	s.run, s.size = nil, 0
}

// quote sets somebody's words apart: with a label, and a bar along each line of
// them, however wide the window is. Written to look like a fact of the card, they
// still do not.
func (s *sheet) quote(label, words string, most int) {
	words = policy.Clean(words, most)
	if words == "" {
		return
	}
	s.flush()
	s.put(slack.NewRichTextBlock(s.next(),
		slack.NewRichTextSection(bold(label+":")),
		&slack.RichTextQuote{Type: slack.RTEQuote, Elements: []slack.RichTextSectionElement{as(words)}},
	))
}

// head is a header; it is cut at its end.
func (s *sheet) head(text string) {
	s.flush()
	if text = policy.Clean(text, mostHeader); text == "" {
		text = "vpsguard"
	}
	s.put(slack.NewHeaderBlock(literal(text), slack.HeaderBlockOptionBlockID(s.next())))
}

// markup adds mrkdwn. Nothing foreign may be in it.
func (s *sheet) markup(lines ...string) {
	s.flush()
	if len(lines) > 0 {
		text := &slack.TextBlockObject{Type: slack.MarkdownType, Text: strings.Join(lines, "\n"), Verbatim: true}
		s.put(slack.NewSectionBlock(text, nil, nil, slack.SectionBlockOptionBlockID(s.next())))
	}
}

// plain adds paragraphs of literal text, which may hold lines.
func (s *sheet) plain(text string) {
	s.flush()
	for rest := []rune(text); len(rest) > 0; {
		n := min(len(rest), mostRun)
		if t := strings.TrimSpace(string(rest[:n])); t != "" {
			s.put(slack.NewSectionBlock(literal(t), nil, nil, slack.SectionBlockOptionBlockID(s.next())))
		}
		rest = rest[n:]
	}
}

// buttons adds what can be pressed, if there is anything.
func (s *sheet) buttons(all ...*slack.ButtonBlockElement) {
	s.flush()
	elements := make([]slack.BlockElement, 0, len(all))
	for _, b := range all {
		elements = append(elements, b)
	}
	if len(elements) > 0 {
		s.put(slack.NewActionBlock(s.next(), elements...))
	}
}

// input adds a field. Its block id does not change with the version.
func (s *sheet) input(id, label, hint string, e slack.BlockElement, optional bool) {
	s.flush()
	in := slack.NewInputBlock(id, literal(label), nil, e)
	if hint != "" {
		in.Hint = literal(hint)
	}
	s.put(in.WithOptional(optional))
}

// button is one that a screen reader tells apart from its like on other cards.
func button(action, key, text, aloud string) *slack.ButtonBlockElement {
	b := slack.NewButtonBlockElement(action, key, literal(text))
	b.AccessibilityLabel = shorten(aloud, mostButton)
	return b
}

// asking guards a button against a slip of the finger.
func asking(b *slack.ButtonBlockElement, title, text, yes, no string) *slack.ButtonBlockElement {
	return b.WithConfirm(slack.NewConfirmationBlockObject(literal(title), literal(text), literal(yes), literal(no)))
}
