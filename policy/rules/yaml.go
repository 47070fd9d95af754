package rules

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/vpsguard/vpsguard/policy"
)

// start is where a node begins.
func (r *reader) start(n ast.Node) pos {
	switch n := n.(type) {
	case *ast.MappingNode:
		if n.IsFlowStyle || len(n.Values) == 0 {
			return place(n.Start)
		}
		return place(n.Values[0].Key.GetToken())
	case *ast.MappingValueNode:
		return place(n.Key.GetToken())
	case *ast.SequenceNode:
		return place(n.Start)
	case nil:
		return pos{1, 1}
	default:
		return place(n.GetToken())
	}
}

// entry is a key of a mapping with its value.
type entry struct {
	key  string
	at   pos // of the key
	node ast.Node
	flow bool
}

// there tells whether the key was written.
func (e entry) there() bool { return e.node != nil }

// asks are keys that people try and that cannot be; each with what is right.
var asks = map[string]string{
	"allow":   "rules only add to what the floor asks, and cannot allow anything",
	"permit":  "rules only add to what the floor asks, and cannot allow anything",
	"approve": "rules only add to what the floor asks; nothing approves but people",
	"skip":    "rules only add to what the floor asks, and cannot take anything away",
	"unless":  "write the exception into `when`: && !(…)",
	"except":  "write the exception into `when`: && !(…)",
	"if":      "the condition is called `when`",
	"then":    "say what follows with `hold` or `deny`",
}

// mapping reads a mapping with known keys.
func (r *reader) mapping(n ast.Node, what string, keys ...string) map[string]entry {
	out := map[string]entry{}
	var values []*ast.MappingValueNode
	flow := false
	switch n := n.(type) {
	case *ast.MappingNode:
		values, flow = n.Values, n.IsFlowStyle
	case *ast.MappingValueNode:
		values = append(values, n)
	default:
		r.fail(r.start(n), "%s is written as keys with values (%s), not as %s", what, strings.Join(keys, ", "), kind(n))
		return out
	}
	for _, v := range values {
		key, ok := v.Key.(*ast.StringNode)
		if !ok {
			r.fail(r.start(v), "a key of %s is one of %s", what, strings.Join(keys, ", "))
			return out
		}
		at := place(key.GetToken())
		switch known, asked := slices.Contains(keys, key.Value), asks[key.Value]; {
		case !known && asked != "":
			r.fail(at, "%s has no %q: %s", what, key.Value, asked)
		case !known:
			r.fail(at, "%s has no %q; it has %s", what, policy.Clean(key.Value, 40), strings.Join(keys, ", "))
		case out[key.Value].there():
			r.fail(at, "%s has %q twice, first in line %d; keep one", what, key.Value, out[key.Value].at.line)
		}
		if r.err != nil {
			return out
		}
		out[key.Value] = entry{key.Value, at, v.Value, flow}
	}
	return out
}

// list reads the entries of a list.
func (r *reader) list(e entry, what string) []ast.Node {
	if kind(e.node) == nothing {
		r.fail(r.start(e.node), "`%s` has nothing behind it; write a list of %s, or leave it out", e.key, what)
		return nil
	}
	s, ok := e.node.(*ast.SequenceNode)
	if !ok {
		r.fail(r.start(e.node), "`%s` is a list of %s, not %s", e.key, what, kind(e.node))
		return nil
	}
	return s.Values
}

// scalar reads a text of any sort.
func (r *reader) scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	}
	return "", false
}

// sentence reads a text for people: one line, visible, not too long.
func (r *reader) sentence(e entry, most int) string {
	s, ok := r.scalar(e.node)
	if !ok {
		r.fail(r.start(e.node), "`%s` is text, not %s; put it in quotes where it looks like something else", e.key, kind(e.node))
		return ""
	}
	s = strings.Join(strings.Fields(r.behind(e, s)), " ")
	switch n := utf8.RuneCountInString(s); {
	case s == "":
		r.fail(r.start(e.node), "`%s` is empty; it is a text for people", e.key)
	case n > most:
		r.fail(r.start(e.node), "`%s` has %d characters; it has at most %d", e.key, n, most)
	case policy.Clean(s, most) != s:
		r.fail(r.start(e.node), "`%s` has characters that cannot be seen", e.key)
	}
	return s
}

// behind adds what YAML takes for a comment, and people mean: the rest of the
// line from " #word" on, as in "Ask in #incident-command". A comment begins "# ".
func (r *reader) behind(e entry, s string) string {
	t := e.node.GetToken()
	at, comment := place(t), r.glued(t)
	switch {
	case comment == nil:
		return s
	case e.flow || place(comment).line != at.line:
		r.fail(place(comment), "YAML takes what begins with # for a comment; put the text of `%s` in quotes", e.key)
		return s
	default:
		return string(r.lines[at.line-1][at.column-1:])
	}
}

// glued gives what stands behind a plain text, on its last line, and is a comment
// for YAML alone: no space is behind its #.
func (r *reader) glued(t *token.Token) *token.Token {
	if t.Type != token.StringType || t.Next == nil || t.Next.Type != token.CommentType {
		return nil
	}
	at := place(t.Next)
	if at.line < 1 || at.line > len(r.lines) {
		return nil
	}
	line := string(r.lines[at.line-1])
	before, after, _ := strings.Cut(line, " #")
	if strings.TrimSpace(before) == "" || after == "" || strings.HasPrefix(after, " ") || strings.HasPrefix(after, "#") {
		return nil
	}
	return t.Next
}

const nothing = "nothing"

// kind names a node for people.
func kind(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys with values"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	default:
		return nothing
	}
}
