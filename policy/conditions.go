package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Tightened gives the stricter of both, field by field, and names the rules of
// both. Neither is changed.
func (c Conditions) Tightened(by Conditions) Conditions {
	c.Approvals = max(c.Approvals, by.Approvals)
	c.Approvers = slices.Clone(c.Approvers)
	for _, list := range by.Approvers {
		if !c.implies(list) {
			c.Approvers = append(c.Approvers, list)
		}
	}
	c.NotRequester = c.NotRequester || by.NotRequester
	c.SafetyCopy = c.SafetyCopy || by.SafetyCopy
	c.Delay = max(c.Delay, by.Delay)
	c.ApproveWithin = shorter(c.ApproveWithin, by.ApproveWithin)
	c.StartWithin = shorter(c.StartWithin, by.StartWithin)
	c.Rules = slices.Clone(c.Rules)
	for _, rule := range by.Rules {
		if !slices.Contains(c.Rules, rule) {
			c.Rules = append(c.Rules, rule)
		}
	}
	if by.Hash != "" {
		c.Hash = by.Hash
	}
	if c.Refused == "" {
		c.Refused = by.Refused
	}
	return c
}

// shorter gives the shorter of two clocks; 0 is none.
func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// stricter tells whether c asks for more than was asked before. Shorter clocks
// do not count: they were for those who decided then.
func (c Conditions) stricter(before Conditions) bool {
	return c.Refused != "" || c.Approvals > before.Approvals || c.NotRequester && !before.NotRequester ||
		c.SafetyCopy && !before.SafetyCopy || c.Delay > before.Delay ||
		slices.ContainsFunc(c.Approvers, func(list []string) bool { return !before.implies(list) })
}

// implies tells whether a list of approvers adds nothing to those of c: whoever is
// on one of these is on it.
func (c Conditions) implies(list []string) bool {
	return slices.ContainsFunc(c.Approvers, func(l []string) bool {
		return !slices.ContainsFunc(l, func(entry string) bool { return !slices.Contains(list, entry) })
	})
}

// admits tells whether somebody who was found to be some entries is on every
// list; otherwise it names the entries of the first on which they are not.
func (c Conditions) admits(as []string) (missing []string) {
	for _, list := range c.Approvers {
		if !slices.ContainsFunc(list, func(entry string) bool { return slices.Contains(as, entry) }) {
			return list
		}
	}
	return nil
}

// Ways are the ways by which somebody's agreement can count for the request: of those
// that it was filed with the ones by which the rules' approvers can come.
func (r Request) Ways() []Way { return r.Conditions.reached(r.Conditions.by(r.Actor)) }

// EntryTerminal is the entry of [Conditions].Approvers for whoever confirms at
// the host's terminal.
const EntryTerminal = "terminal"

// met tells whether the stored approvals satisfy the conditions where some ways
// count, looking at each approval itself: its plan, its way, its assurance, who
// gave it, and that nobody counts twice.
func (s *Service) met(r Request, ways []Way) bool {
	return s.agreed(r, ways) >= max(r.Conditions.Approvals, floor(r.Effect).Approvals)
}

// agreed counts the different people whose approvals count.
func (s *Service) agreed(r Request, ways []Way) int {
	c := r.Conditions
	var given []identity
	for _, a := range r.Approvals {
		counts := a.Digest == r.Plan.Digest && a.Assurance != AssuranceNone && a.Assurance == a.Way.assurance() &&
			slices.Contains(c.Ways, a.Way) && slices.Contains(ways, a.Way) && c.admits(a.As) == nil
		by := s.identify(a.By, a.Person)
		if counts && !(c.NotRequester && !s.identify(r.Actor, r.Person).differs(by)) {
			given = append(given, by)
		}
	}
	return people(given)
}

// Asked are the names of the rules that bind, without the floor that always does.
func (c Conditions) Asked() []string {
	return slices.DeleteFunc(slices.Clone(c.Rules), func(rule string) bool { return rule == floorRule })
}

// Says tells in words what is asked for beyond one approval, each in half a
// sentence; nothing where that is all.
func (c Conditions) Says() (out []string) {
	if c.Approvals > 1 {
		out = append(out, fmt.Sprintf("%d different people approve", c.Approvals))
	}
	for _, list := range c.Approvers {
		out = append(out, "whoever approves is one of "+strings.Join(list, ", "))
	}
	if c.NotRequester {
		out = append(out, "whoever asked does not count")
	}
	if c.SafetyCopy {
		out = append(out, "a safety copy is taken first")
	}
	if c.Delay > 0 {
		out = append(out, "it waits "+Span(c.Delay)+" after that, and can be called back")
	}
	return out
}

// identity is somebody at a door, with whom the operator says that they are.
type identity struct {
	Actor
	person string // "" where nothing is said
}

// identify gives the identity of an actor as the rules in force say, or as they
// said when it was stored, where this process has none.
func (s *Service) identify(a Actor, stored string) identity {
	if s.Person != nil {
		stored = s.Person(a)
	}
	return identity{a, stored}
}

// differs tells whether two identities are certainly two people. Those of one
// kind are, unless the operator has mapped them to one; those of different kinds
// only where both are mapped. Behind programs there may be anybody.
func (a identity) differs(b identity) bool {
	switch {
	case a.Key() == b.Key():
		return false
	case a.person != "" && b.person != "":
		return a.person != b.person
	default:
		return a.Door == b.Door && a.Door != DoorMCP
	}
}

// people counts how many different people some identities are for certain: the
// largest number of them of which any two differ. There are few.
func people(all []identity) int {
	if len(all) == 0 {
		return 0
	}
	first, rest := all[0], all[1:]
	beside := slices.DeleteFunc(slices.Clone(rest), func(a identity) bool { return !first.differs(a) })
	return max(1+people(beside), people(rest))
}

// clocks gives how long a request waits for people, and then for its start.
func (s *Service) clocks(c Conditions) (approve, start time.Duration) {
	return shorter(s.ApproveWithin, c.ApproveWithin), shorter(s.StartWithin, c.StartWithin)
}

// mayApprove tells why somebody's approval of a request would not count.
func (s *Service) mayApprove(r Request, by Actor, as []string) error {
	c := r.Conditions
	if missing := c.admits(as); missing != nil {
		return Errorf(Forbidden, "you are not among those who may approve %s: %s", r.ID, strings.Join(missing, ", ")).
			WithHint("The rules that say so: %s.", strings.Join(c.Asked(), "; "))
	}
	asked, approves := s.identify(r.Actor, r.Person), s.identify(by, "")
	if !c.NotRequester || asked.differs(approves) {
		return nil
	}
	e := Errorf(Forbidden, "%s takes somebody else than whoever asked for it", r.ID)
	if asked.Key() == approves.Key() || asked.person != "" && asked.person == approves.person {
		return e.WithHint("You asked for it; another person has to approve it.")
	}
	unknown := asked
	if asked.person != "" {
		unknown = approves
	}
	if unknown.Person != "" {
		return e.WithHint("What %s calls with was made for %s, and people in the rules does not say so.",
			Clean(unknown.String(), 80), Clean(unknown.Person, 80))
	}
	id := unknown.Subject
	if _, user, ok := strings.Cut(id, ":"); ok && unknown.Door == DoorSlack {
		id = user
	}
	return e.WithHint("The rules do not say who %s is. The operator adds a line under people: - {name: …, %s: [%s]}.",
		Clean(unknown.String(), 80), map[Door]string{DoorMCP: "agents", DoorSlack: "slack", DoorTerminal: "terminal"}[unknown.Door], Clean(id, 80))
}

// RulesLoaded records which rules are in force in this process from now on.
func (s *Service) RulesLoaded(ctx context.Context, hash, file string, names []string) error {
	return s.Ledger.Change(ctx, func(ctx context.Context, tx Tx) error {
		return tx.Append(ctx, RecordBody{Event: EventRules, By: itself, Detail: map[string]string{
			"hash": hash, "file": Clean(file, 300), "rules": Clean(strings.Join(names, "; "), 4000),
		}})
	})
}
