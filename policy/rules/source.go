package rules

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/vpsguard/vpsguard/policy"
)

// What a rule file may be. The limits on entries and depth keep the YAML parser,
// whose time grows with their square, within a second.
const (
	mostBytes   = 1 << 20
	mostEntries = 10_000 // keys in all
	mostTokens  = 100_000
	mostNesting = 8
)

// reader reads one file strictly and keeps the first thing that is wrong; after
// that it reads on without effect.
type reader struct {
	file  string
	lines [][]rune
	err   *policy.Error
}

// fail says what is wrong, and what would be right, at a place.
func (r *reader) fail(at pos, format string, args ...any) {
	if r.err == nil {
		r.err = policy.Errorf(policy.Invalid, "%s:%d:%d: %s", r.file, max(at.line, 1), max(at.column, 1), fmt.Sprintf(format, args...))
	}
}

// document gives the one document of a file; nil where something is wrong.
func (r *reader) document(raw []byte) ast.Node {
	source := r.plain(raw)
	if r.err != nil {
		return nil
	}
	tokens := lexer.Tokenize(source)
	r.tokens(tokens)
	if r.err != nil {
		return nil
	}
	file := r.parse(tokens)
	if r.err != nil {
		return nil
	}
	var body ast.Node
	for _, d := range file.Docs {
		switch {
		case d.Body == nil || d.Body.Type() == ast.CommentType:
		case body != nil: // should the parser begin one where no line says so
			r.fail(r.start(d.Body), "a second document begins; a rule file is one")
			return nil
		default:
			body = d.Body
		}
	}
	if body == nil {
		r.fail(pos{1, 1}, "there is nothing in it; a rule file has at least the line `version: 1`")
	}
	return body
}

// plain checks the text itself: what is reviewed must be what is there.
func (r *reader) plain(raw []byte) string {
	if len(raw) > mostBytes {
		r.fail(pos{1, 1}, "it is %d bytes long; a rule file has at most %d", len(raw), mostBytes)
		return ""
	}
	source := strings.ReplaceAll(strings.TrimPrefix(string(raw), "\uFEFF"), "\r\n", "\n")
	for _, line := range strings.Split(source, "\n") {
		r.lines = append(r.lines, []rune(line))
		at := pos{len(r.lines), 1}
		for _, c := range line {
			switch {
			case c == '\t':
				r.fail(at, "there is a tab; YAML is indented with spaces")
			case c == utf8.RuneError:
				r.fail(at, "there is something that is not UTF-8")
			case unicode.In(c, unicode.C, unicode.Zl, unicode.Zp):
				r.fail(at, "there is a character that cannot be seen (U+%04X); a reviewer would miss it", c)
			}
			at.column++
		}
	}
	return source
}

// tokens refuses what is not needed to write rules and what makes YAML say
// something else than it shows.
func (r *reader) tokens(tokens token.Tokens) {
	entries, depth, dashes, line := 0, 0, 0, 0
	for i, t := range tokens {
		at := place(t)
		if at.line != line {
			line, dashes = at.line, 0
		}
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType:
			r.fail(at, "anchors, aliases and merges are not read; write it out")
		case token.TagType:
			r.fail(at, "tags such as %s are not read; leave it out", policy.Clean(t.Value, 40))
		case token.DirectiveType:
			r.fail(at, "directives are not read; begin with `version: 1`")
		case token.MappingKeyType:
			r.fail(at, "a key is one word followed by a colon")
		case token.DocumentEndType:
			r.fail(at, "a document ends here; a rule file is one, to its end")
		case token.DocumentHeaderType:
			if slices.ContainsFunc(tokens[:i], func(t *token.Token) bool { return t.Type != token.CommentType }) {
				r.fail(at, "a second document begins; a rule file is one")
			}
		case token.MappingStartType, token.SequenceStartType:
			depth++
		case token.MappingEndType, token.SequenceEndType:
			depth--
		case token.SequenceEntryType:
			dashes++
		case token.MappingValueType:
			entries++
		default: // texts, numbers, commas and comments
		}
		if depth > mostNesting || dashes > 1 {
			r.fail(at, "it is nested too deeply for a rule file")
		}
		if entries > mostEntries || i > mostTokens {
			r.fail(at, "there is too much in it; a rule file has at most %d rules and %d entries", mostRules, mostEntries)
		}
		if r.err != nil {
			return
		}
	}
}

// parse makes the tree. The parser's own words are kept, on one line.
func (r *reader) parse(tokens token.Tokens) (file *ast.File) {
	last := pos{len(r.lines), 1}
	defer func() {
		if recover() != nil {
			r.fail(last, "this is no YAML that can be read")
		}
	}()
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err == nil {
		return file
	}
	at, says := last, err.Error()
	if e, ok := err.(yaml.Error); ok { //nolint:errorlint // the parser wraps nothing
		says = e.GetMessage()
		if t := e.GetToken(); t != nil {
			at = place(t)
		}
	}
	r.fail(at, "this is not YAML: %s (a text with a colon in it, or that begins with a bracket, stands in quotes or behind |)", policy.Clean(says, 200))
	return nil
}

// place is where a token stands.
func place(t *token.Token) pos {
	if t == nil || t.Position == nil {
		return pos{1, 1}
	}
	return pos{t.Position.Line, t.Position.Column}
}
