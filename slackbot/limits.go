package slackbot

import (
	"encoding/json"
	"fmt"
	"regexp"
	"unicode/utf8"

	"github.com/slack-go/slack"
)

// Slack's limits, in code points unless said otherwise (docs.slack.dev, Block
// Kit reference).
const (
	mostText        = 3800 // Slack cuts at 40,000, and refuses updates from 4,000 on
	mostBlocks      = 50
	mostModalBlocks = 100
	mostSection     = 3000
	mostHeader      = 150
	mostTitle       = 24 // also submit and close
	mostButton      = 75
	mostValue       = 2000
	mostID          = 255
	mostLabel       = 2000
	mostHolder      = 150 // of a placeholder
	mostOption      = 75
	mostMetadata    = 3000
	mostContext     = 10
	mostActions     = 25
	mostOptions     = 100

	// Slack refuses messages whose blocks are too long together, with
	// msg_blocks_too_long, and documents no number: about 13,200, where every
	// block counts 125 more (slackapi/bolt-js issues 2509 and 2867).
	mostTogether = 13_000
	blockWeight  = 125

	mostViewBytes = 240_000 // Slack: 250 kB

	// A run of rich text has no documented limit; this keeps to a section's.
	mostRun = 2900
)

// shorten cuts literal text.
func shorten(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:max(most-1, 0)]) + "…"
}

// openMarkup is an entity or a token that was cut off before its end.
var openMarkup = regexp.MustCompile(`(?:&[a-z]{0,4}|<[^<>]*)$`)

// shortenMarkup cuts mrkdwn, never within an entity or a token.
func shortenMarkup(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return openMarkup.ReplaceAllString(string([]rune(s)[:max(most-1, 0)]), "") + "…"
}

// fitMessage makes a message one that Slack takes. What the renderers make fits
// by itself; this is for what nobody has thought of. It takes from the longest
// texts first, which leaves state, server, counts and NO WAY BACK: all short.
func fitMessage(m message) message {
	m.Text = shortenMarkup(m.Text, mostText)
	m.Blocks = fitBlocks(m.Blocks, mostBlocks)
	for {
		var longest *string
		total := 0
		for _, b := range m.Blocks {
			total += blockWeight + pressedWeight(b)
			eachText(b, func(s *string, _, ours bool) {
				n := utf8.RuneCountInString(*s)
				total += n
				if !ours && (longest == nil || n > utf8.RuneCountInString(*longest)) {
					longest = s
				}
			})
		}
		if total <= mostTogether || longest == nil || utf8.RuneCountInString(*longest) < 100 {
			return m
		}
		*longest = shorten(*longest, utf8.RuneCountInString(*longest)*3/4)
	}
}

// pressedWeight counts the texts of a block's buttons.
func pressedWeight(b slack.Block) (n int) {
	for _, x := range buttonsOf(b) {
		n += utf8.RuneCountInString(x.Text.Text)
		if c := x.Confirm; c != nil {
			for _, t := range []*slack.TextBlockObject{c.Title, c.Text, c.Confirm, c.Deny} {
				n += utf8.RuneCountInString(t.Text)
			}
		}
	}
	return n
}

func buttonsOf(b slack.Block) (out []*slack.ButtonBlockElement) {
	switch b := b.(type) {
	case *slack.ActionBlock:
		for _, e := range b.Elements.ElementSet {
			if x, ok := e.(*slack.ButtonBlockElement); ok {
				out = append(out, x)
			}
		}
	case *slack.SectionBlock:
		if b.Accessory != nil && b.Accessory.ButtonElement != nil {
			out = append(out, b.Accessory.ButtonElement)
		}
	}
	return out
}

// fitView makes a modal one that Slack takes. It does not look at the size as a
// whole: see wholeView.
func fitView(v slack.ModalViewRequest) slack.ModalViewRequest {
	for _, t := range []*slack.TextBlockObject{v.Title, v.Submit, v.Close} {
		if t != nil {
			t.Text = shorten(t.Text, mostTitle)
		}
	}
	v.Blocks.BlockSet = fitBlocks(v.Blocks.BlockSet, mostModalBlocks)
	if utf8.RuneCountInString(v.PrivateMetadata) > mostMetadata { // a key that was cut is no key
		v.PrivateMetadata = ""
	}
	return v
}

// wholeView tells whether a modal made from so many blocks can be shown with
// nothing left out.
func wholeView(v slack.ModalViewRequest, blocks int) bool {
	raw, err := json.Marshal(v)
	return err == nil && len(raw) <= mostViewBytes && blocks <= mostModalBlocks
}

// fitBlocks keeps each block within its limits, and the number of them: what is
// in excess is left out before the last block, which holds the buttons.
func fitBlocks(blocks []slack.Block, most int) []slack.Block {
	if n := len(blocks); n > most {
		out := append([]slack.Block{}, blocks[:most-2]...)
		gap := slack.NewSectionBlock(literal(fmt.Sprintf("%d parts are not shown here.", n-most+1)), nil, nil)
		blocks = append(out, gap, blocks[n-1])
	}
	for _, b := range blocks {
		fitBlock(b)
		eachText(b, func(s *string, markup, _ bool) {
			if most := textLimit(b); markup {
				*s = shortenMarkup(*s, most)
			} else {
				*s = shorten(*s, most)
			}
		})
	}
	return blocks
}

func textLimit(b slack.Block) int {
	switch b.(type) {
	case *slack.HeaderBlock:
		return mostHeader
	case *slack.InputBlock:
		return mostLabel
	default:
		return mostSection
	}
}

// eachText visits the texts of a block, but those of its buttons and fields.
// ours tells that nothing foreign is in it.
func eachText(b slack.Block, visit func(s *string, markup, ours bool)) {
	object := func(t *slack.TextBlockObject) {
		if t != nil {
			visit(&t.Text, t.Type == slack.MarkdownType, t.Type == slack.MarkdownType)
		}
	}
	switch b := b.(type) {
	case *slack.HeaderBlock:
		object(b.Text)
	case *slack.SectionBlock:
		object(b.Text)
	case *slack.InputBlock:
		object(b.Label)
		object(b.Hint)
	case *slack.ContextBlock:
		for _, e := range b.ContextElements.Elements {
			if t, ok := e.(*slack.TextBlockObject); ok {
				object(t)
			}
		}
	case *slack.RichTextBlock:
		for _, e := range b.Elements {
			for _, x := range runsOf(e) {
				if t, ok := x.(*slack.RichTextSectionTextElement); ok {
					visit(&t.Text, false, t.Style != nil)
				}
			}
		}
	}
}

func runsOf(e slack.RichTextElement) []slack.RichTextSectionElement {
	switch e := e.(type) {
	case *slack.RichTextSection:
		return e.Elements
	case *slack.RichTextQuote:
		return e.Elements
	default:
		return nil
	}
}

// fitBlock keeps what can be pressed or filled in within its limits.
func fitBlock(b slack.Block) {
	switch b := b.(type) {
	case *slack.ContextBlock:
		b.ContextElements.Elements = b.ContextElements.Elements[:min(len(b.ContextElements.Elements), mostContext)]
	case *slack.ActionBlock:
		b.Elements.ElementSet = b.Elements.ElementSet[:min(len(b.Elements.ElementSet), mostActions)]
	case *slack.InputBlock:
		fitElement(b.Element)
	}
	for _, x := range buttonsOf(b) {
		fitButton(x)
	}
}

func fitButton(b *slack.ButtonBlockElement) {
	b.Text.Text = shorten(b.Text.Text, mostButton)
	b.AccessibilityLabel = shorten(b.AccessibilityLabel, mostButton)
	b.ActionID = shorten(b.ActionID, mostID)
	if utf8.RuneCountInString(b.Value) > mostValue { // half a key would find something else, or nothing
		b.Value = ""
	}
	if c := b.Confirm; c != nil {
		c.Title.Text, c.Text.Text = shorten(c.Title.Text, 100), shorten(c.Text.Text, 300)
		c.Confirm.Text, c.Deny.Text = shorten(c.Confirm.Text, 30), shorten(c.Deny.Text, 30)
	}
}

func fitElement(e slack.BlockElement) {
	holder := func(t *slack.TextBlockObject) {
		if t != nil {
			t.Text = shorten(t.Text, mostHolder)
		}
	}
	switch e := e.(type) {
	case *slack.PlainTextInputBlockElement:
		holder(e.Placeholder)
	case *slack.NumberInputBlockElement:
		holder(e.Placeholder)
	case *slack.SelectBlockElement:
		holder(e.Placeholder)
		e.Options = e.Options[:min(len(e.Options), mostOptions)]
		for _, o := range e.Options {
			o.Text.Text = shorten(o.Text.Text, mostOption)
			if o.Description != nil {
				o.Description.Text = shorten(o.Description.Text, mostOption)
			}
		}
	}
}
