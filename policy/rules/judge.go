package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vpsguard/vpsguard/policy"
)

// Hash is the SHA-256 of the file, in hexadecimal.
func (r *Rules) Hash() string { return r.hash }

// Names are the names of all rules, in the order of the file.
func (r *Rules) Names() []string {
	out := make([]string, 0, len(r.rules))
	for _, one := range r.rules {
		out = append(out, one.name)
	}
	return out
}

// Approvers are all whom rules name by an id of Slack's.
func (r *Rules) Approvers() []string {
	var out []string
	for _, one := range r.rules {
		out = slices.Concat(out, slices.Concat(one.hold.Approvers...))
	}
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(id string) bool { return id == terminal })
}

// Judge gives what the rules ask beyond the floor: of all that match, the
// strictest field by field. A read is never judged. A condition that fails while
// running refuses, as a rule that denies does.
func (r *Rules) Judge(f policy.Facts) policy.Conditions {
	c := policy.Conditions{Hash: r.hash}
	if effect(f) == policy.Read {
		return c
	}
	var lists []named
	values := valuesOf(f)
	for _, one := range r.rules {
		matched, failed := one.condition.holds(values)
		if !matched && failed == "" {
			continue
		}
		if c.Refused == "" {
			c.Refused = one.refuses(failed)
		}
		c = c.Tightened(one.hold)
		c.Rules = append(c.Rules, one.name)
		for _, l := range one.hold.Approvers {
			lists = append(lists, named{one.name, l})
		}
	}
	approvers, nobody := common(lists)
	c.Approvers = approvers
	if nobody == "" {
		nobody = r.tooFew(c, lists, f.Actor)
	}
	if c.Refused == "" {
		c.Refused = nobody
	}
	return c
}

// refuses is a rule's sentence for people; "" where it only holds.
func (one rule) refuses(failed string) string {
	switch {
	case failed != "":
		return fmt.Sprintf("the rule %q could not be judged, so this is refused: %s", one.name, plainly(failed))
	case one.deny != "":
		return fmt.Sprintf("the rule %q refuses this: %s", one.name, one.deny)
	default:
		return ""
	}
}

// plainly is what CEL says of a condition that failed, for people.
func plainly(failed string) string {
	if strings.Contains(failed, "cost limit exceeded") {
		return "its condition takes too long"
	}
	return "its condition failed with " + policy.Clean(failed, 120)
}

// named is a list of approvers with the rule that has it.
type named struct {
	rule string
	list []string
}

// grouped tells whether a list has a group, whose members only Slack knows.
func (n named) grouped() bool { return slices.ContainsFunc(n.list, isGroup) }

// admits tells whether somebody who is named may be on the list.
func (n named) admits(id string) bool {
	return slices.Contains(n.list, id) || id != terminal && n.grouped()
}

// common simplifies lists that all have to hold. Those without groups become
// one, of whoever is on all of them and may be on the rest. Where that is nobody,
// it says so, and all lists stay.
func common(lists []named) (out [][]string, nobody string) {
	var whole []string
	first := slices.IndexFunc(lists, func(l named) bool { return !l.grouped() })
	some := first >= 0
	if some {
		whole = slices.DeleteFunc(slices.Clone(lists[first].list), func(id string) bool {
			return slices.ContainsFunc(lists, func(l named) bool { return !l.admits(id) })
		})
	}
	if some && len(whole) > 0 {
		out = append(out, whole)
	}
	for _, l := range lists {
		known := slices.ContainsFunc(out, func(o []string) bool { return slices.Equal(o, l.list) })
		if (l.grouped() || len(whole) == 0) && !known {
			out = append(out, slices.Clone(l.list))
		}
	}
	if some && len(whole) == 0 {
		nobody = fmt.Sprintf("nobody may approve this: %s name no approver in common", apart(lists))
	}
	return out, nobody
}

// apart names the rules whose lists do not go together: two, where two suffice.
func apart(lists []named) string {
	var all []string
	for i, a := range lists {
		for _, b := range lists[:i] {
			if !slices.ContainsFunc(a.list, b.admits) && !slices.ContainsFunc(b.list, a.admits) {
				return fmt.Sprintf("the rules %q and %q", b.rule, a.rule)
			}
		}
		all = append(all, fmt.Sprintf("%q", a.rule))
	}
	return "the rules " + listed(all, " and ")
}

// tooFew says where fewer people are named than have to approve.
func (r *Rules) tooFew(c policy.Conditions, lists []named, by policy.Actor) string {
	without := ""
	if c.NotRequester {
		without = r.people.requester(by)
	}
	for _, l := range c.Approvers {
		n, countable := r.people.count(l, without)
		if !countable || n >= c.Approvals {
			continue
		}
		var names []string
		for _, l := range lists {
			names = append(names, fmt.Sprintf("%q", l.rule))
		}
		who := "those they name"
		if without != "" {
			who = "those they name, without who asked"
		}
		return fmt.Sprintf("this takes %s, and the rules that name approvers (%s) leave only %d: %s", approvals(c.Approvals), strings.Join(names, ", "), n, who)
	}
	return ""
}

// Match is what a rule makes of a call.
type Match struct {
	Name     string  `json:"name"`
	Matched  bool    `json:"matched"`
	Failed   string  `json:"failed,omitempty"`  // why its condition could not be judged; then it refuses
	Targets  []int64 `json:"targets,omitempty"` // of several targets, those for which it does
	Position string  `json:"position"`          // FILE:LINE:COLUMN
	Outcome  string  `json:"outcome"`           // what follows where it matches, in words
}

// Explain tells of every rule whether it matches any of the facts, and what it asks
// for.
func (r *Rules) Explain(all ...policy.Facts) []Match {
	out := make([]Match, 0, len(r.rules))
	for _, one := range r.rules {
		m := Match{Name: one.name, Position: one.position, Outcome: one.outcome()}
		for _, f := range all {
			if effect(f) == policy.Read {
				continue
			}
			matched, failed := one.condition.holds(valuesOf(f))
			m.Matched = m.Matched || matched
			if m.Failed == "" {
				m.Failed = failed
			}
			if t := f.Plan.Target; len(all) > 1 && t != nil && (matched || failed != "") && !slices.Contains(m.Targets, t.ID) {
				m.Targets = append(m.Targets, t.ID)
			}
		}
		if m.Failed != "" {
			m.Failed = plainly(m.Failed)
		}
		out = append(out, m)
	}
	return out
}

// outcome is what a rule asks for, in words.
func (one rule) outcome() string {
	if one.deny != "" {
		return "refused: " + one.deny
	}
	c := one.hold
	out := "held for " + approvals(c.Approvals)
	for _, l := range c.Approvers {
		out += " of " + either(l)
	}
	if c.NotRequester {
		out += ", not the one who asked"
	}
	if c.ApproveWithin > 0 {
		out += "; approved within " + policy.Span(c.ApproveWithin)
	}
	if c.Delay > 0 {
		out += "; runs " + policy.Span(c.Delay) + " after the last approval"
	}
	if c.StartWithin > 0 {
		out += "; started within " + policy.Span(c.StartWithin)
	}
	if c.SafetyCopy {
		out += "; with a safety copy"
	}
	return out
}

// approvals counts people.
func approvals(n int) string {
	if n == 1 {
		return "one person's approval"
	}
	return fmt.Sprintf("%d people's approvals", n)
}
