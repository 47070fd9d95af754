package apiclient

import (
	"fmt"
	"html"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxMessage = 300
	redacted   = "[token]"
	// window is the shortest piece of a token that is redacted. Of "vps_" and a
	// secret it leaves less than four secret characters.
	window = 8
)

// newCleaner returns the function that makes foreign text fit to be shown: one
// line, no invisible characters, no token, at most 300 code points. The order
// matters: stripping first, lest an invisible character hides a token; cutting
// last, lest half a token survives.
func newCleaner(token string) func(string) string {
	redact := newRedactor(token)
	return func(s string) string { return cut(redact(visible(s)), maxMessage) }
}

// newRedactor returns a function that replaces every form of the token, and every
// piece of such a form that is window or more bytes long, whatever its case.
func newRedactor(token string) func(string) string {
	escaped := new(strings.Builder)
	for _, b := range []byte(token) {
		fmt.Fprintf(escaped, "%%%02x", b)
	}
	size := min(window, len(token))
	grams := make(map[string]struct{})
	for _, form := range []string{token, url.QueryEscape(token), url.PathEscape(token), html.EscapeString(token), escaped.String()} {
		form = lower(form)
		for i := 0; i+size <= len(form); i++ {
			grams[form[i:i+size]] = struct{}{}
		}
	}
	return func(s string) string {
		low := lower(s)
		var b strings.Builder
		kept, hidden := 0, 0 // s[:kept] is written; s[:hidden] belongs to a token
		for i := 0; i+size <= len(low); i++ {
			if _, ok := grams[low[i:i+size]]; !ok {
				continue
			}
			if i > hidden || hidden == 0 {
				b.WriteString(s[kept:i])
				b.WriteString(redacted)
			}
			hidden = i + size
			kept = hidden
		}
		b.WriteString(s[kept:])
		return b.String()
	}
}

// lower maps A-Z only, so that offsets stay what they are.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// visible puts s on one line and drops what a reader cannot see: control
// characters, bidi controls, zero-width characters, fillers, invalid UTF-8.
func visible(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r) || unicode.In(r, unicode.Z):
			return ' '
		case r == utf8.RuneError, unicode.In(r, unicode.C, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector):
			return -1
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// cut shortens s to at most n code points; the last one is then an ellipsis.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}
