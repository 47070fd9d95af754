package policy

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Clean makes foreign text (names, descriptions, reasons, API messages) fit to
// be shown: control, bidirectional and zero-width characters are taken out, and
// marks piled upon a letter, which could draw over other lines, after the third;
// white space becomes single spaces, and what is longer than limit code points
// is cut with "…". It does not escape for any markup; that is the door's part.
func Clean(s string, limit int) string {
	if len(s) <= limit && tidy(s) {
		return s
	}
	if len(s) > 8*limit+64 { // never walk a megabyte to show forty characters
		s = s[:8*limit+64]
	}
	var b strings.Builder
	space, marks := false, 0
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		switch {
		case unicode.IsSpace(r):
			space = b.Len() > 0
			continue
		case hidden(r):
			continue
		case !unicode.In(r, unicode.Mn, unicode.Me):
			marks = 0
		case marks == mostMarks:
			continue
		default:
			marks++
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
	}
	out := []rune(b.String())
	if len(out) <= limit {
		return string(out)
	}
	return strings.TrimRight(string(out[:max(limit-1, 0)]), " ") + "…"
}

// mostMarks is how many marks a letter may bear: languages need two, rarely three.
const mostMarks = 3

// tidy tells whether a text is clean as it is: most are.
func tidy(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || s[i] == ' ' && (i == 0 || i == len(s)-1 || s[i+1] == ' ') {
			return false
		}
	}
	return true
}

// Fit makes foreign text fit to be shown in a line of a list: [Clean], and at
// most limit bytes long, also in JSON, where a quote and a backslash are two.
func Fit(s string, limit int) string {
	s = Clean(s, limit)
	size := len(s) + strings.Count(s, `"`) + strings.Count(s, `\`)
	if size <= limit {
		return s
	}
	cut, left := 0, limit-len("…")
	for i, r := range s {
		if left -= utf8.RuneLen(r); r == '"' || r == '\\' {
			left--
		}
		if left < 0 {
			break
		}
		cut = i + utf8.RuneLen(r)
	}
	return s[:cut] + "…"
}

// hidden tells whether a character shows nothing or changes how others show:
// controls, formats (bidirectional marks, zero-width ones, tags), surrogates,
// private use, line separators and the fillers that draw as blanks.
func hidden(r rune) bool {
	switch r {
	case '\u2800', '\uFFFC', '\U0001D159', '\U00016FE4':
		return true
	}
	return unicode.In(r, unicode.C, unicode.Zl, unicode.Zp, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

// Plain tells whether a text is visible ASCII only, so that what a person reads
// and what a person types can be the same.
func Plain(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}

// Stamp shows a time absolutely, in UTC.
func Stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// Ago shows how long before now a time was, in two units: "2 days 4 hours ago",
// "in 30 minutes", "just now".
func Ago(t, now time.Time) string {
	switch d := now.Sub(t); {
	case d.Abs() < time.Second:
		return "just now"
	case d > 0:
		return Span(d) + " ago"
	default:
		return "in " + Span(-d)
	}
}

// Span shows a duration in at most two units, rounded down: "2 days 4 hours".
func Span(d time.Duration) string {
	units := []struct {
		name string
		size time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}, {"second", time.Second}}
	for i, u := range units {
		if d < u.size {
			continue
		}
		text := count(int64(d/u.size), u.name)
		if i+1 < len(units) {
			if rest := int64(d % u.size / units[i+1].size); rest > 0 && u.name != "minute" {
				text += " " + count(rest, units[i+1].name)
			}
		}
		return text
	}
	return "less than a second"
}

func count(n int64, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}
