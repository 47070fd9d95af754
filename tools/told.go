package tools

import (
	"fmt"
	"strings"
	"time"

	"github.com/vpsguard/vpsguard/policy"
)

// told says in plain words how a request stands. It is made from the stored
// plan; what callers wrote stands apart, in quotes.
func (s *Server) told(st policy.Standing) string {
	var t lines
	r := st.Request
	t.say("%s %s", r.ID, stands(r))
	t.say("Plan: %s", sentence(r.Plan.Summary))
	if st.Again {
		t.say("This call repeats that request; nothing new was filed.")
	}
	if st.Note != "" {
		t.say("%s", sentence(st.Note))
	}
	switch {
	case r.State == policy.StateHeld || r.State == policy.StateApproved:
		t.plan(r, st.Now)
	case r.Effect == policy.Create && r.State.Open(): // nobody was asked who would have seen them
		t.warnings(r)
	}
	t.clocks(r, st.Agreed, st.Now)
	steps(&t, r)
	t.asked(r)
	if len(st.WaitsFor) > 0 {
		t.say("It waits for %s to end first.", strings.Join(st.WaitsFor, ", "))
	}
	if len(st.Others) > 0 {
		t.say("Other open requests on this server: %s.", strings.Join(st.Others, ", "))
	}
	t.say("%s", s.next(r))
	return strings.TrimSpace(t.String())
}

func stands(r policy.Request) string {
	switch r.State {
	case policy.StateHeld:
		return "is HELD: it waits for a person to confirm it, and nothing has been changed."
	case policy.StateApproved:
		return "is approved, and has not started."
	case policy.StateRunning:
		return "is running."
	case policy.StateUncertain:
		return "is UNCERTAIN: an answer was lost, and whether it happened is not known."
	case policy.StateDone:
		return "is done."
	case policy.StateFailed:
		if r.Partly() {
			return "FAILED, partly carried out."
		}
		return "FAILED."
	case policy.StateStale:
		return "is stale: things were no longer as planned, and it was not carried out."
	case policy.StateExpired:
		return "has expired: it was not carried out."
	case policy.StateDenied:
		return "was denied by a person: it was not carried out."
	case policy.StateCancelled:
		return "was withdrawn: it was not carried out."
	default:
		return "is " + string(r.State) + "."
	}
}

// next is the last line: what a model does now. It never names a way to confirm
// that a program could go.
func (s *Server) next(r policy.Request) string {
	switch r.State {
	case policy.StateHeld:
		return "Tell your user what would happen, what would be lost, and who confirms it where. " +
			"You cannot confirm it, and asking again changes nothing." + s.wait(r)
	case policy.StateApproved, policy.StateRunning:
		return "It goes on by itself; do not ask for it again." + s.wait(r)
	case policy.StateUncertain:
		return "Do not ask for it again. Tell your user: reading may still show what happened, otherwise a person has to say." + s.wait(r)
	case policy.StateDenied:
		return "Tell your user that it was denied, and do not ask for it again."
	case policy.StateStale, policy.StateExpired:
		return "If your user still wants it, ask again: that makes a new plan, to be confirmed afresh where a person is needed."
	default:
		return ""
	}
}

// wait tells how to wait for a request, with the names that the catalogue has
// for that.
func (s *Server) wait(r policy.Request) string {
	if s.waits.Name == "" {
		return ""
	}
	var with []string
	for _, a := range s.waits.Arguments {
		switch {
		case a.Type == policy.String && a.Required:
			with = append(with, a.Name+"="+r.ID)
		case a.Type == policy.Integer && a.Max > 0:
			with = append(with, fmt.Sprintf("%s=%d", a.Name, a.Max))
		}
	}
	return fmt.Sprintf(" To wait for news, call %s with %s.", s.waits.Name, strings.Join(with, ", "))
}

type lines struct{ strings.Builder }

func (t *lines) say(format string, args ...any) { t.WriteString(fmt.Sprintf(format+"\n", args...)) }

// plan tells what a request that is still open would do, and what it would
// cost, in the words of the plan.
func (t *lines) plan(r policy.Request, now time.Time) {
	for _, l := range r.Plan.Losses {
		t.say("LOST: %s", sentence(l))
	}
	for i, p := range r.Plan.Targets {
		t.say("%d of %d: %s, from %s, %s.", i+1, len(r.Plan.Targets), p.Point, policy.Stamp(p.CreatedAt), policy.Ago(p.CreatedAt, now))
	}
	t.warnings(r)
	for _, n := range r.Plan.Notes {
		t.say("%s", sentence(n))
	}
}

func (t *lines) warnings(r policy.Request) {
	for _, w := range r.Plan.Warnings {
		t.say("Warning: %s", sentence(w))
	}
}

// clocks tells until when, and who has to do what by then.
func (t *lines) clocks(r policy.Request, agreed int, now time.Time) {
	switch r.State {
	case policy.StateHeld:
		now = now.Truncate(time.Second) // so that 30 minutes do not read as 29
		var ways, given []string
		for _, w := range r.Ways() {
			ways = append(ways, w.Says())
		}
		for _, a := range r.Approvals {
			given = append(given, policy.Clean(a.By.String(), 200))
		}
		t.say("It can be confirmed until %s (%s), by %s.",
			policy.Stamp(r.ApproveBy), policy.Ago(r.ApproveBy, now), strings.Join(ways, " or by "))
		if r.Conditions.Approvals > 1 {
			t.say("It takes %d different people; %d so far. %s", r.Conditions.Approvals, agreed, strings.Join(given, ", "))
		}
		if rules := r.Conditions.Asked(); len(rules) > 0 {
			t.say("Rules of the operator: %s.", policy.Clean(strings.Join(rules, "; "), mostLine))
			t.say("%s", sentence(policy.Clean(strings.Join(r.Conditions.Says(), "; "), mostLine)))
		}
	case policy.StateApproved:
		if r.NotBefore.After(now) {
			t.say("A rule lets people call it back until %s (%s); then it starts by itself.", policy.Stamp(r.NotBefore), policy.Ago(r.NotBefore, now))
			return
		}
		t.say("It starts by %s (%s), or not at all.", policy.Stamp(r.StartBy), policy.Ago(r.StartBy, now))
	default:
	}
}

// steps tells what came of it so far.
func steps(t *lines, r policy.Request) {
	last := ""
	for i, step := range r.Steps {
		if r.Steps[0].State == policy.StepWaiting {
			break
		}
		if step.Point != nil { // in the words of the plan, and the reason is told once, at the end
			t.say("%d of %d: %s: %s.", i+1, len(r.Steps), step.Point, r.Fate(i))
			continue
		}
		told := string(step.State)
		if p := made(step); p != nil {
			told += ", " + p.String()
		}
		if last = step.Note; last != "" {
			told += ": " + last
		}
		t.say("Step %s: %s", step.Name, ended(policy.Clean(told, mostLine)))
	}
	if r.Why != "" && r.Why != last {
		t.say("%s", sentence(r.Why))
	}
	if r.Undo != nil {
		t.say("Way back: its safety copy is there, %s.", point(*r.Undo))
	}
}

// asked tells who asked, and what they wrote, in quotes: it proves nothing.
func (t *lines) asked(r policy.Request) {
	by := policy.Clean(r.Actor.String(), 200)
	if r.Actor.Client != "" {
		by += fmt.Sprintf(", calls itself %q", policy.Clean(r.Actor.Client, 40))
	}
	t.say("Asked for by %s.", by)
	if r.Reason != "" {
		t.say("Reason given: %q", policy.Clean(r.Reason, 500))
	}
}

// String is for people.
func (p *pointResult) String() string {
	return policy.Point{Kind: p.Kind, ID: p.ID, Name: p.Name}.String()
}

// sentence makes a text one line that begins and ends as a sentence does.
func sentence(s string) string {
	s = policy.Clean(s, mostLine)
	if s == "" {
		return ""
	}
	if c := s[0]; c >= 'a' && c <= 'z' {
		s = string(c-'a'+'A') + s[1:]
	}
	return ended(s)
}

// ended gives a text a full stop, unless it ends by itself.
func ended(s string) string {
	if strings.ContainsAny(s[len(s)-1:], ".!?") || strings.HasSuffix(s, "…") {
		return s
	}
	return s + "."
}
