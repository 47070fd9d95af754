package slackbot

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"github.com/vpsguard/vpsguard/policy"
)

// Foreign text is what others wrote: names, descriptions, reasons, notes, and
// what VPS.org says. Where it goes decides what it can do:
//
//   - In blocks it stands only in plain_text and in text elements of rich_text,
//     where Slack acts on nothing: what is there is there to be read, and names
//     are shown as they are. mrkdwn in blocks is ours alone: times and mentions.
//   - A message's Text, and a line in a thread, are always mrkdwn. There, and
//     only there, foreign text passes through mrk.

// mrk makes foreign text safe within mrkdwn, at most limit code points long.
//
// It is cleaned, so it is one line; & < > become entities, as Slack asks, so no
// mention, link or date can come of it; and the characters that format are
// replaced by others that look alike, where they could format: a name with a
// tilde at its start and another with one at its end would strike out the
// losses between them. Between two letters or digits they do nothing and stay,
// so that web_01 can be copied. A backtick becomes an apostrophe. What reads as
// an emoji gets another colon. What is too long is cut after all that, never
// within an entity.
func mrk(s string, limit int) string {
	clean := []rune(policy.Clean(s, max(limit, 1)))
	var out strings.Builder
	size := 0
	for i, r := range clean {
		part := string(r)
		switch r {
		case '&':
			part = "&amp;"
		case '<':
			part = "&lt;"
		case '>':
			part = "&gt;"
			if i == 0 { // would make a quote of the line
				part = "\u203A"
			}
		case '`':
			part = "'"
		case '*', '_', '~':
			if !wordAt(clean, i-1) || !wordAt(clean, i+1) {
				part = alike[r]
			}
		case ':':
			if emojiAt(clean[i:]) || string(clean[i:min(i+3, len(clean))]) == "://" { // which makes a link by itself
				part = alike[r]
			}
		}
		n := utf8.RuneCountInString(part)
		rest := 1
		if i == len(clean)-1 {
			rest = 0
		}
		if size+n+rest > limit {
			return out.String() + "…"
		}
		out.WriteString(part)
		size += n
	}
	return out.String()
}

// alike are characters that look like those that format, and do nothing.
var alike = map[rune]string{'*': "\u2217", '_': "\uFF3F", '~': "\u223C", ':': "\uA789"}

func wordAt(s []rune, i int) bool {
	return i >= 0 && i < len(s) && (unicode.IsLetter(s[i]) || unicode.IsDigit(s[i]))
}

// emojiAt tells whether a text begins as :emoji: does. Up to four hexadecimal
// digits are part of a time or of an IPv6 address.
func emojiAt(s []rune) bool {
	hex := true
	for i, r := range s[1:] {
		switch {
		case r == ':':
			return i > 0 && (!hex || i > 4)
		case r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_+-'", r):
			return false
		}
		hex = hex && strings.ContainsRune("0123456789abcdefABCDEF", r)
	}
	return false
}

// literal is text that Slack shows as it is. It may not be empty.
func literal(s string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.PlainTextType, s, false, false)
}

// localTime is a time as Slack shows it to each reader, in UTC where it cannot.
func localTime(t time.Time) string {
	return fmt.Sprintf("<!date^%d^{date_short_pretty} {time}|%s>", t.Unix(), policy.Stamp(t))
}

var (
	slackUser  = regexp.MustCompile(`^[UW][A-Z0-9]{1,30}$`)
	slackGroup = regexp.MustCompile(`^S[A-Z0-9]{1,30}$`)
)

// mentions names people and groups so that Slack shows, and tells, them. What is
// not an id is left out: no configuration makes a mention of something else.
func mentions(ids []string, most int) string {
	var out []string
	for _, id := range ids {
		switch {
		case slackUser.MatchString(id):
			out = append(out, "<@"+id+">")
		case slackGroup.MatchString(id):
			out = append(out, "<!subteam^"+id+">")
		}
	}
	if more := len(out) - most; more > 0 {
		out = append(out[:most], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, ", ")
}
