package slackbot

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/vpsguard/vpsguard/policy"
)

// What is read at all. Slack's own limit for a message is higher; a command
// that needs more is a mistake.
const (
	maxTyped = 4000 // code points
	maxWords = 100  // before the reason
)

// Words of the grammar itself.
const (
	because    = "because" // the rest of the line is the reason
	reasonName = "reason"  // the argument that takes it
	aboutName  = "description"
)

// letter is one character of a text. A literal one came out of Slack's markup:
// it belongs to a name and neither separates nor quotes.
type letter struct {
	r       rune
	literal bool
}

// word is one word as it was typed.
type word struct {
	text   string // without its quotes; the value, where there is a name
	name   string // what stands before the "=", where it is name=value
	quoted bool   // in quotes: a value, whatever it says
}

// raw is the word for messages: as it was typed, without its quotes.
func (w word) raw() string {
	if w.name != "" {
		return w.name + "=" + w.text
	}
	return w.text
}

// is tells whether an unquoted word is a certain keyword.
func (w word) is(keyword string) bool {
	return !w.quoted && w.name == "" && strings.EqualFold(w.text, keyword)
}

// line is a text in words. What follows the keyword, or an unquoted reason=, is
// not split: people write there as they speak.
type line struct {
	words  []word
	reason string // with single spaces, without quotes around the whole
	why    bool   // the keyword, or reason=, was there
	twice  bool   // and so was a reason= before it
}

// readLine splits a text into words. It knows no command. Its errors are made
// for people.
func readLine(text string) (line, error) {
	if utf8.RuneCountInString(text) > maxTyped {
		return line{}, policy.Errorf(policy.Invalid, "the text is longer than %d characters", maxTyped).
			WithHint("Commands are short; put what is longer where the reason can point to it.")
	}
	text = strings.TrimFunc(strings.ToValidUTF8(text, "\uFFFD"), isGap)
	if inner, ok := strings.CutPrefix(text, "`"); ok && strings.HasSuffix(inner, "`") { // copied from an answer of ours
		text = strings.Trim(text, "`")
	}
	s := scanner{letters: unmark(text)}
	var l line
	for s.skip(); !s.over(); s.skip() {
		if len(l.words) == maxWords {
			return line{}, policy.Errorf(policy.Invalid, "the command has more than %d words", maxWords).
				WithHint("Put text with spaces in quotes, or a reason after %s.", because)
		}
		w, rest, err := s.word()
		switch {
		case err != nil:
			return line{}, err
		case rest:
			l.reason, l.why, l.twice = phrase(s.letters[s.at:]), true, l.why
			return l, nil
		case w.name != "" && sameName(w.name, reasonName):
			l.twice = l.why
			l.reason, l.why = spaced(w.text), true
		default:
			l.words = append(l.words, w)
		}
	}
	return l, nil
}

// scanner walks through the letters of a text.
type scanner struct {
	letters []letter
	at      int
}

func (s *scanner) over() bool { return s.at >= len(s.letters) }

func (s *scanner) skip() {
	for !s.over() && gap(s.letters[s.at]) {
		s.at++
	}
}

// word reads one word. rest is true where it was the keyword or an unquoted
// reason=, so that all that follows is the reason.
func (s *scanner) word() (w word, rest bool, err error) {
	if w.name, err = s.name(); err != nil {
		return w, false, err
	}
	if w.text, w.quoted, err = s.quotation(); err != nil || w.quoted {
		return w, false, err
	}
	if sameName(w.name, reasonName) {
		return w, true, nil
	}
	from := s.at
	for !s.over() && !gap(s.letters[s.at]) {
		s.at++
	}
	w.text = plain(s.letters[from:s.at])
	if w.name != "" && w.text == "" {
		return w, false, loose(w.name)
	}
	return w, w.is(because), nil
}

// name reads what stands before the "=" of name=value, and the "="; nothing
// where the word is none such.
func (s *scanner) name() (string, error) {
	for i, l := range s.letters[s.at:] {
		if gap(l) || l.literal {
			return "", nil
		}
		if l.r != '=' {
			continue
		}
		name := plain(s.letters[s.at : s.at+i])
		if name == "" {
			return "", loose("")
		}
		if !nameLike(name) { // such as a link's ?a=b
			return "", nil
		}
		s.at += i + 1
		return name, nil
	}
	return "", nil
}

func loose(name string) error {
	return policy.Errorf(policy.Invalid, "there is no value right behind %q", policy.Clean(name, 40)+"=").
		WithHint("Write name=value without spaces around the =, and a value with spaces in quotes.")
}

// closers tells what ends a quotation, by what opens it: the straight ones, and
// those that phones and other languages put in their place.
var closers = map[rune]string{
	'"': `"`, '\'': "'",
	'“': "”\"", '”': "”", '„': "“”\"", '«': "»", '»': "«",
	'‘': "’'", '’': "’", '‚': "‘’'", '‹': "›", '›': "‹",
}

// single are the marks that are apostrophes as well: they close only before a
// space, so that 'don't' is one word.
const single = "'‘’‚"

// quotation reads a text in quotes, if one begins here.
func (s *scanner) quotation() (text string, ok bool, err error) {
	if s.over() || s.letters[s.at].literal || closers[s.letters[s.at].r] == "" {
		return "", false, nil
	}
	open := s.letters[s.at].r
	var b strings.Builder
	for i := s.at + 1; i < len(s.letters); i++ {
		l := s.letters[i]
		ended := i+1 == len(s.letters) || gap(s.letters[i+1])
		switch {
		case open == '"' && l.r == '\\' && !ended && strings.ContainsRune(`"\`, s.letters[i+1].r):
			i++
			b.WriteRune(s.letters[i].r)
		case l.literal || !strings.ContainsRune(closers[open], l.r), !ended && strings.ContainsRune(single, open):
			b.WriteRune(l.r)
		case !ended:
			return "", false, policy.Errorf(policy.Invalid, "something follows the closing quote of %q", policy.Clean(b.String(), 40)).
				WithHint(`Put a space behind it, or write \" for a quote inside.`)
		default:
			s.at = i + 1
			return b.String(), true, nil
		}
	}
	return "", false, policy.Errorf(policy.Invalid, "the quote %c before %q is not closed", open, policy.Clean(b.String(), 40)).
		WithHint("Close it with %c, followed by a space or the end.", []rune(closers[open])[0])
}

// phrase is the text of a reason: as it was written, with single spaces and
// without quotes around the whole of it.
func phrase(letters []letter) string {
	text := spaced(plain(letters))
	s := scanner{letters: trim(letters)}
	if inner, ok, err := s.quotation(); err == nil && ok && s.over() {
		return spaced(inner)
	}
	return text
}

func trim(letters []letter) []letter {
	for len(letters) > 0 && gap(letters[0]) {
		letters = letters[1:]
	}
	for len(letters) > 0 && gap(letters[len(letters)-1]) {
		letters = letters[:len(letters)-1]
	}
	return letters
}

// spaced makes all white space single spaces.
func spaced(s string) string { return strings.Join(strings.FieldsFunc(s, isGap), " ") }

func plain(letters []letter) string {
	var b strings.Builder
	for _, l := range letters {
		b.WriteRune(l.r)
	}
	return b.String()
}

// letters are those of a text without Slack's markup.
func letters(s string) (out []letter) {
	for _, r := range s {
		out = append(out, letter{r, false})
	}
	return out
}

func gap(l letter) bool { return !l.literal && isGap(l.r) }

// isGap tells what separates words: all spaces, and those of no width that are
// pasted along.
func isGap(r rune) bool { return unicode.IsSpace(r) || r == '\u200b' || r == '\ufeff' }

// nameLike tells whether a text can be the name of an argument.
func nameLike(s string) bool {
	for i := range len(s) {
		letter := s[i]|0x20 >= 'a' && s[i]|0x20 <= 'z'
		if !letter && (i == 0 || (s[i] < '0' || s[i] > '9') && s[i] != '_' && s[i] != '-') {
			return false
		}
	}
	return s != ""
}

// sameName compares names as people type them: Safety-Copy is safety_copy.
func sameName(typed, name string) bool {
	return strings.EqualFold(strings.ReplaceAll(typed, "-", "_"), name)
}

// unmark takes Slack's markup out of a text: a mention, channel or link becomes
// what people see of it, and &amp; &lt; &gt; become the characters they stand
// for (docs.slack.dev, "Formatting message text").
func unmark(text string) []letter {
	out := make([]letter, 0, len(text))
	for text != "" {
		if shown, size := markup(text); size > 0 {
			for _, r := range entities.Replace(shown) {
				out = append(out, letter{r, true})
			}
			text = text[size:]
			continue
		}
		r, size := utf8.DecodeRuneInString(text)
		if i := slices.IndexFunc(escapes, func(e string) bool { return strings.HasPrefix(text, e) }); i >= 0 {
			r, size = rune("&<>"[i]), len(escapes[i])
		}
		out = append(out, letter{r, false})
		text = text[size:]
	}
	return out
}

var (
	escapes  = []string{"&amp;", "&lt;", "&gt;"}
	entities = strings.NewReplacer("&amp;", "&", "&lt;", "<", "&gt;", ">")
)

// markup reads one <…> of Slack's at the beginning of a text: what it shows, and
// its length; 0 where there is none.
func markup(text string) (shown string, size int) {
	if text[0] != '<' {
		return "", 0
	}
	end := strings.IndexByte(text, '>')
	if end < 2 {
		return "", 0
	}
	target, label, _ := strings.Cut(text[1:end], "|")
	kind := target[:min(1, len(target))]
	link := strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") || strings.HasPrefix(target, "tel:")
	switch {
	case strings.ContainsAny(text[1:end], "<\n"), !link && !strings.Contains("@#!", kind):
		return "", 0
	case label == "" && kind == "!": // <!here>
		label = "@" + target[1:]
	case label == "":
		label = target
	case kind == "@" || kind == "#":
		label = kind + strings.TrimPrefix(label, kind)
	}
	return label, end + 1
}
