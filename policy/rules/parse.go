package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/vpsguard/vpsguard/policy"
)

// What a rule may ask for.
const (
	mostRules     = 500
	mostName      = 80
	mostSentence  = 300
	mostApprovals = 10
	mostDelay     = 24 * time.Hour
	leastClock    = time.Minute
	mostClock     = 24 * time.Hour
)

// terminal is the approver who is at the host's terminal.
const terminal = "terminal"

// Rules are the rules of one file. They do not change; all methods may be called
// concurrently.
type Rules struct {
	hash   string
	rules  []rule
	people people
}

// rule is one rule: a condition, and what follows where it holds.
type rule struct {
	name      string
	position  string
	condition *condition
	deny      string            // the sentence; empty where the rule holds
	hold      policy.Conditions // what it asks for
}

// Parse reads a rule file. file is only a name for messages. Its error is a
// [policy.Error] of kind [policy.Invalid] whose message begins with
// "FILE:LINE:COLUMN: " and says what would be right.
func Parse(file string, raw []byte) (*Rules, error) {
	r := &reader{file: policy.Clean(file, 200)}
	sum := sha256.Sum256(raw)
	out := &Rules{hash: hex.EncodeToString(sum[:])}
	root := r.document(raw)
	if r.err == nil {
		r.whole(root, out)
	}
	if r.err != nil {
		return nil, r.err
	}
	return out, nil
}

// whole reads the document.
func (r *reader) whole(root ast.Node, out *Rules) {
	keys := r.mapping(root, "a rule file", "version", "people", "rules")
	if r.err != nil {
		return
	}
	version := keys["version"]
	if !version.there() {
		r.fail(r.start(root), "there is no version; a rule file has the line `version: 1`")
		return
	}
	if n, ok := version.node.(*ast.IntegerNode); !ok || n.GetToken().Value != "1" {
		r.fail(r.start(version.node), "this program reads `version: 1` and no other")
		return
	}
	if e := keys["people"]; e.there() {
		out.people = r.people(e)
	}
	if e := keys["rules"]; e.there() {
		out.rules = r.rules(e, out.people)
	}
}

// rules reads the list of rules.
func (r *reader) rules(e entry, ps people) []rule {
	nodes := r.list(e, "rules")
	if len(nodes) > mostRules {
		r.fail(r.start(nodes[mostRules]), "there are %d rules; a rule file has at most %d", len(nodes), mostRules)
	}
	var out []rule
	lines := map[string]int{}
	for _, n := range nodes {
		if r.err != nil {
			return nil
		}
		keys := r.mapping(n, "a rule", "name", "when", "hold", "deny")
		at := r.start(n)
		one := rule{position: fmt.Sprintf("%s:%d:%d", r.file, at.line, at.column)}
		if r.named(n, keys, "a rule") {
			one.name = r.sentence(keys["name"], mostName)
		}
		if before := lines[one.name]; before > 0 {
			r.fail(keys["name"].at, "a rule in line %d is called %q already; a name tells rules apart", before, one.name)
		}
		lines[one.name] = at.line
		hold, deny := keys["hold"], keys["deny"]
		switch {
		case r.err != nil:
			return nil
		case !keys["when"].there():
			r.fail(at, "the rule %q has no `when`: the condition under which it applies", one.name)
		case hold.there() && deny.there():
			r.fail(deny.at, "the rule %q has both `hold` and `deny`; a rule has one of them", one.name)
		case hold.there():
			one.hold = r.hold(hold, one.name, ps)
		case deny.there():
			one.deny = r.sentence(deny, mostSentence)
		default:
			r.fail(at, "the rule %q asks for nothing; it has `hold: {…}` or `deny: a sentence`", one.name)
		}
		if r.err == nil {
			one.condition = r.condition(keys["when"], one.name)
		}
		out = append(out, one)
	}
	return out
}

// named tells whether a name is there.
func (r *reader) named(n ast.Node, keys map[string]entry, what string) bool {
	if r.err == nil && !keys["name"].there() {
		r.fail(r.start(n), "%s has a `name`; this one has none", what)
	}
	return r.err == nil
}

// condition reads and compiles a condition. What CEL finds is told where it is
// written in the file.
func (r *reader) condition(e entry, name string) *condition {
	text, ok := r.scalar(e.node)
	from, as := r.start(e.node), bare
	switch n := e.node.(type) {
	case *ast.BoolNode:
		text, ok = n.GetToken().Value, true
	case *ast.LiteralNode:
		from = pos{place(n.Start).line + 1, 1}
	case *ast.StringNode:
		as = r.quoted(from)
	}
	if !ok || strings.TrimSpace(text) == "" {
		r.fail(r.start(e.node), "`when` of the rule %q is a condition such as operation.effect == \"delete\", not %s", name, kind(e.node))
		return nil
	}
	if c := r.glued(e.node.GetToken()); c != nil {
		r.fail(place(c), "YAML takes what begins with # for a comment; put the condition of the rule %q in quotes, or // before a comment in a block", name)
		return nil
	}
	compiled, bad := compile(text)
	if bad == nil {
		return compiled
	}
	at := r.start(e.node)
	if as != bare {
		from.column++ // behind the quote
	}
	if places := locate(text, r.lines, from, as); places != nil {
		at = places[offset([]rune(text), bad.line, bad.column)]
	}
	r.fail(at, "the condition of the rule %q: %s", name, policy.Clean(bad.says, 300))
	return nil
}

// quoted tells how the text at a place is written.
func (r *reader) quoted(at pos) style {
	if at.line <= len(r.lines) && at.column <= len(r.lines[at.line-1]) {
		switch r.lines[at.line-1][at.column-1] {
		case '\'':
			return single
		case '"':
			return double
		}
	}
	return bare
}

// offset finds a line and a column, as CEL counts them, in a text.
func offset(text []rune, line, column int) int {
	i := 0
	for ; line > 1 && i < len(text); i++ {
		if text[i] == '\n' {
			line--
		}
	}
	return min(i+max(column, 0), len(text))
}

// hold reads what a rule asks for.
func (r *reader) hold(e entry, name string, ps people) policy.Conditions {
	c := policy.Conditions{Approvals: 1}
	switch e.node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
	default:
		r.fail(r.start(e.node), "`hold` is {} or {approvals: 2, …}, not %s; a rule cannot let anything go", kind(e.node))
		return c
	}
	keys := r.mapping(e.node, "`hold`", "approvals", "approvers", "not_requester", "delay", "approve_within", "start_within", "safety_copy")
	if e := keys["approvals"]; e.there() {
		c.Approvals = r.approvals(e)
	}
	if e := keys["approvers"]; e.there() {
		c.Approvers = [][]string{r.approvers(e)}
	}
	if e := keys["not_requester"]; e.there() {
		if n, ok := e.node.(*ast.BoolNode); !ok || !n.Value {
			r.fail(r.start(e.node), "`not_requester` is true or left out; a rule cannot take back what another asks")
		}
		c.NotRequester = true
	}
	if e := keys["delay"]; e.there() {
		c.Delay = r.duration(e, time.Second, mostDelay)
	}
	if e := keys["approve_within"]; e.there() {
		c.ApproveWithin = r.duration(e, leastClock, mostClock)
	}
	if e := keys["start_within"]; e.there() {
		c.StartWithin = r.duration(e, leastClock, mostClock)
	}
	if e := keys["safety_copy"]; e.there() {
		if s, ok := e.node.(*ast.StringNode); !ok || s.Value != "required" {
			r.fail(r.start(e.node), "`safety_copy` is required or left out; a rule cannot do without one")
		}
		c.SafetyCopy = true
	}
	if r.err == nil && len(c.Approvers) > 0 {
		if n, countable := ps.count(c.Approvers[0], ""); countable && n < c.Approvals {
			r.fail(keys["approvers"].at, "the rule %q takes %s and names only %d who could; name more, or a group", name, approvals(c.Approvals), n)
		}
	}
	return c
}

var digits = regexp.MustCompile(`^[0-9]{1,4}$`)

// approvals reads how many people.
func (r *reader) approvals(e entry) int {
	n, ok := e.node.(*ast.IntegerNode)
	if !ok || !digits.MatchString(n.GetToken().Value) {
		r.fail(r.start(e.node), "`approvals` is a number from 1 to %d", mostApprovals)
		return 1
	}
	switch v, _ := strconv.Atoi(n.GetToken().Value); {
	case v == 0:
		r.fail(r.start(e.node), "`approvals` is at least 1: a rule cannot go below the floor")
		return 1
	case v > mostApprovals:
		r.fail(r.start(e.node), "`approvals` is at most %d", mostApprovals)
		return 1
	default:
		return v
	}
}

var (
	slackUser  = regexp.MustCompile(`^[UW][A-Z0-9]{2,20}$`)
	slackGroup = regexp.MustCompile(`^S[A-Z0-9]{2,20}$`)
)

// approvers reads who may approve.
func (r *reader) approvers(e entry) []string {
	nodes := r.list(e, "Slack users, Slack groups and terminal")
	if r.err == nil && len(nodes) == 0 {
		r.fail(r.start(e.node), "`approvers` is empty, and an empty list means nobody; name somebody or leave it out")
	}
	var out []string
	seen := map[string]bool{}
	for _, n := range nodes {
		s, ok := n.(*ast.StringNode)
		switch {
		case !ok, s.Value != terminal && !slackUser.MatchString(s.Value) && !slackGroup.MatchString(s.Value):
			r.fail(r.start(n), "an approver is a Slack user (U… or W…), a Slack user group (S…) or terminal; names change, ids do not")
			return nil
		case seen[s.Value]:
			r.fail(r.start(n), "%s is named twice; a person counts once", s.Value)
			return nil
		}
		seen[s.Value] = true
		out = append(out, s.Value)
	}
	return out
}

// duration reads a time span.
func (r *reader) duration(e entry, least, most time.Duration) time.Duration {
	s, ok := e.node.(*ast.StringNode)
	if !ok {
		r.fail(r.start(e.node), "`%s` is a time such as 10m or 1h30m, with its unit", e.key)
		return 0
	}
	d, err := time.ParseDuration(s.Value)
	switch {
	case err != nil:
		r.fail(r.start(e.node), "`%s` is a time such as 10m or 1h30m, with s, m or h as the unit", e.key)
	case d < least || d > most:
		r.fail(r.start(e.node), "`%s` is from %s to %s", e.key, policy.Span(least), policy.Span(most))
	default:
		return d
	}
	return 0
}
