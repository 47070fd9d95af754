package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// What has several targets has one step for each, in their order, and is approved,
// judged and ended as one request.

// points are what a plan is about, one or several.
func (p Plan) points() []Point {
	if p.Target != nil {
		return []Point{*p.Target}
	}
	return p.several()
}

// several are the points of more than one target.
func (p Plan) several() (out []Point) {
	for _, t := range p.Targets {
		out = append(out, t.Point)
	}
	return out
}

// deletes tells whether a request is to delete any of some points.
func (r Request) deletes(some []Point) bool {
	return r.Effect == Delete && slices.ContainsFunc(r.Plan.points(), func(p Point) bool { return slices.ContainsFunc(some, p.Is) })
}

// named are the targets by their names, for the audit.
func (p Plan) named() string {
	names := make([]string, 0, len(p.Targets))
	for _, t := range p.Targets {
		names = append(names, t.String())
	}
	return strings.Join(names, "; ")
}

// short is a point without its name, which may be anything.
func (p Point) short() string { return fmt.Sprintf("%s %d", p.Kind, p.ID) }

// about is what a step is about, in a few words.
func (s Step) about() string {
	if s.Point == nil {
		return s.Name
	}
	return s.Point.short()
}

// names adds to a record's detail which of several targets a step is about.
func (s Step) names(detail map[string]string) map[string]string {
	if s.Point != nil {
		detail["target"] = s.Point.String()
	}
	return detail
}

// each is what rules judge of a call: one target, or each of several, by itself, as
// the operation that has several and as the one that has one. So nothing gets
// through among others that would not get through alone.
func (s *Service) each(f Facts) []Facts {
	if len(f.Plan.Targets) == 0 {
		return []Facts{f}
	}
	out := make([]Facts, 0, 2*len(f.Plan.Targets))
	for i := range f.Plan.Targets {
		t := f.Plan.Targets[i]
		one := f
		one.Plan.Target, one.Plan.Targets, one.Plan.Known = &t.Point, nil, t.Known
		out = append(out, one)
		if alone, ok := s.byName[f.Operation.Each]; ok {
			one.Operation, one.Plan.Operation = alone.Descriptor, alone.Name
			out = append(out, one)
		}
	}
	return out
}

// ruled gives the strictest that the rules ask of all that they judge of a call.
func (s *Service) ruled(ctx context.Context, f Facts) (c Conditions, err error) {
	all := s.each(f)
	for _, one := range all {
		rules, err := s.Judge(ctx, one)
		if err != nil {
			return c, err
		}
		if rules.Refused != "" && len(all) > 1 {
			rules.Refused = one.Plan.Target.short() + ": " + rules.Refused
		}
		c = c.Tightened(rules)
	}
	if c.Refused == "" && len(all) > 1 && c.tooFew() {
		c.Refused = "what the rules ask for different targets leaves too few people who could approve all of them: " + strings.Join(c.Asked(), "; ")
	}
	return c, nil
}

// tooFew tells whether the lists leave too few people for certain. How many are in
// a group, only Slack knows, and at the terminal there may be anybody.
func (c Conditions) tooFew() bool {
	grouped := func(list []string) bool {
		return slices.ContainsFunc(list, func(entry string) bool { return strings.HasPrefix(entry, "S") })
	}
	for i, a := range c.Approvers {
		if !grouped(a) && !slices.Contains(a, EntryTerminal) && len(a) < c.Approvals {
			return true
		}
		for _, b := range c.Approvers[:i] {
			if !grouped(a) && !grouped(b) && !slices.ContainsFunc(a, func(entry string) bool { return slices.Contains(b, entry) }) {
				return true
			}
		}
	}
	return false
}

// Fate says what came of one of several targets, for people; "" before any was begun.
func (r Request) Fate(i int) string {
	if i >= len(r.Steps) || !r.Decided() {
		return ""
	}
	switch r.Steps[i].State {
	case StepDone:
		return "deleted"
	case StepFailed:
		return "not deleted"
	case StepUncertain:
		return "not known whether deleted"
	case StepWaiting:
		if r.State == StateRunning {
			return "still to come"
		}
		return "not touched"
	default:
		return "being deleted"
	}
}

// Partly tells whether some of several targets are gone, and not all of them will be.
func (r Request) Partly() bool {
	return r.State == StateFailed && len(r.Plan.Targets) > 0 && slices.ContainsFunc(r.Steps, func(s Step) bool { return s.State == StepDone })
}

// Tally counts what came of several targets so far, for people: "2 of 5 were deleted,
// snapshot 803 was not, 2 were not touched". It is "" where there are not several, or
// none was begun.
func (r Request) Tally() string { return r.tally(r.State != StateRunning) }

// tally is Tally; over tells that nothing more is sent.
func (r Request) tally(over bool) string {
	if len(r.Plan.Targets) == 0 || !r.Decided() {
		return ""
	}
	done, left := 0, 0
	text := ""
	for _, s := range r.Steps {
		switch s.State {
		case StepDone:
			done++
		case StepWaiting:
			left++
		case StepFailed:
			text = ", " + s.about() + " was not"
		default:
			text = ", of " + s.about() + " it is not known"
		}
	}
	switch {
	case done == len(r.Steps):
		return fmt.Sprintf("all %d were deleted", done)
	case left > 0 && over:
		text += fmt.Sprintf(", %d not touched", left)
	case left > 0:
		text += fmt.Sprintf(", %d still to come", left)
	}
	return fmt.Sprintf("%d of %d deleted", done, len(r.Steps)) + text
}
