package slackbot

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/vpsguard/vpsguard/policy"
)

// The words for how things stand, for blocks and for Text alike. What they
// return may hold foreign text, cleaned and not escaped.

// stateWords say how a request stands; they begin every card and text. A comma
// stands before what explains the state.
func stateWords(r policy.Request) string {
	switch r.State {
	case policy.StateHeld:
		return "APPROVAL NEEDED"
	case policy.StateApproved:
		if r.Conditions.Approvals == 0 {
			return "CREATING…"
		}
		return "APPROVED, not started yet"
	case policy.StateRunning:
		if r.Effect == policy.Create {
			return "CREATING…"
		}
		return "RUNNING"
	case policy.StateUncertain:
		return "UNCERTAIN, nobody knows whether it happened"
	case policy.StateDone:
		return "DONE"
	case policy.StateFailed:
		if r.Partly() {
			return "FAILED, partly carried out"
		}
		return "FAILED"
	case policy.StateStale:
		return "STALE, not carried out"
	case policy.StateExpired:
		return "EXPIRED, not carried out"
	case policy.StateDenied:
		return "DENIED, not carried out"
	case policy.StateCancelled:
		return "CANCELLED, not carried out"
	default:
		return strings.ToUpper(string(r.State))
	}
}

// lostLabel says how sure a loss is; "" where nothing is lost any more.
func lostLabel(r policy.Request) string {
	switch r.State {
	case policy.StateHeld, policy.StateApproved, policy.StateRunning, policy.StateDone:
		return "LOST"
	case policy.StateUncertain:
		return "MAY BE LOST"
	case policy.StateFailed: // a restore that broke off may leave neither the old nor the new
		if r.Decided() && r.Effect != policy.Delete {
			return "MAY BE LOST"
		}
	default:
	}
	return ""
}

// spokenName makes a name from the code readable: "safety copy".
func spokenName(name string) string { return strings.ReplaceAll(name, "_", " ") }

// capital makes a name begin as a sentence does. Ids and the names of servers stay
// as they are: they are looked for.
func capital(s string) string {
	first, _, _ := strings.Cut(s, " ")
	if s != "" && !strings.ContainsAny(first, "_-.0123456789") && s[0] >= 'a' && s[0] <= 'z' {
		return string(s[0]-'a'+'A') + s[1:]
	}
	return s
}

// sentenced makes a text end as a sentence does.
func sentenced(s string) string {
	if s == "" || strings.ContainsAny(s[len(s)-1:], ".!?:") || strings.HasSuffix(s, "…") {
		return s
	}
	return s + "."
}

// namedWords are a name, at most so long.
func namedWords(name string, most int) string {
	if name = policy.Clean(name, most); name == "" {
		return "(no name)"
	}
	return name
}

func serverWords(s policy.Server, most int) string {
	parts := []string{fmt.Sprintf("%s, id %d", namedWords(s.Name, most), s.ID)}
	if s.IP != "" {
		parts = append(parts, "IP "+policy.Clean(s.IP, 45))
	}
	if s.Status != "" {
		parts = append(parts, policy.Clean(s.Status, 40)+" when this was planned")
	}
	if others := s.Others(); others != "" {
		parts = append(parts, others)
	}
	return strings.Join(parts, ", ")
}

func pointWords(p policy.Point, now time.Time, most int) string {
	text := policy.Point{Kind: p.Kind, ID: p.ID}.String()
	switch {
	case p.Name == "":
	case p.Kind == "backup": // has no name, only somebody's words
		text += fmt.Sprintf(", described as %q", policy.Clean(p.Name, most))
	default:
		text += fmt.Sprintf(" %q", policy.Clean(p.Name, most))
	}
	if !p.CreatedAt.IsZero() {
		text += ", made " + momentWords(p.CreatedAt, now)
	}
	if p.SizeMB != nil && *p.SizeMB >= 0 {
		text += ", " + humanize.Bytes(uint64(min(*p.SizeMB, 1<<43))*1_000_000)
	} else {
		text += ", size not known"
	}
	if p.Status == "" {
		return text + ", status not known"
	}
	return text + ", " + policy.Clean(p.Status, 40)
}

func momentWords(t, now time.Time) string {
	return policy.Stamp(t) + ", " + policy.Ago(t, now.Truncate(time.Second)) // so that 30 minutes do not read as 29
}

// undoStands tells whether a way back is still worth a word.
func undoStands(r policy.Request) bool {
	return r.State.Open() || r.State == policy.StateDone
}

// targetLines are several targets, each with what came of it, in the words of of.
func targetLines(r policy.Request, of func(policy.Point) string) []string {
	out := make([]string, 0, len(r.Plan.Targets))
	for i, t := range r.Plan.Targets {
		text := of(t.Point)
		if fate := r.Fate(i); fate != "" {
			text = fate + ": " + text
		}
		out = append(out, text)
	}
	return out
}

// stepLines are the steps of a request, each with how it stands; none where each is
// told with its target.
func stepLines(r policy.Request, most int) []string {
	if len(r.Plan.Targets) > 0 {
		return nil
	}
	out := make([]string, 0, len(r.Steps))
	begun := len(r.Steps) > 0 && r.Steps[0].State != policy.StepWaiting
	for i, s := range r.Steps {
		text := fmt.Sprintf("%d. %s", i+1, spokenName(s.Name))
		if begun {
			text += ": " + stepWords(s.State)
		}
		if s.PointID != 0 {
			text += ", " + policy.Point{Kind: s.Makes, ID: s.PointID, Name: s.PointName}.String()
		}
		if note := policy.Clean(s.Note, most); note != "" {
			text += " (" + note + ")"
		}
		out = append(out, text)
	}
	return out
}

func stepWords(s policy.StepState) string {
	switch s {
	case policy.StepWaiting:
		return "not started"
	case policy.StepStarted:
		return "sent, no answer yet"
	case policy.StepAccepted:
		return "accepted, being watched"
	case policy.StepUncertain:
		return "uncertain, its answer was lost"
	default: // done, failed
		return string(s)
	}
}

// actorName is a name without a mention, as [policy.Actor.Called] has it. Beside it is
// the id in Slack, which people do not choose.
func actorName(a policy.Actor) string {
	name, subject := a.Called(), policy.Clean(a.Subject, 80)
	_, user, _ := strings.Cut(subject, ":")
	switch {
	case a.Door == policy.DoorSlack && name != "" && user != "":
		return name + " (" + user + ")"
	case name != "":
		return name
	case subject != "":
		return subject
	default:
		return "somebody without a name"
	}
}

// askedWords says who asked, and through which door.
func askedWords(a policy.Actor, byMessage bool) string {
	var text string
	switch {
	case a.Door == policy.DoorSlack && byMessage:
		text = fmt.Sprintf("a message in the name of %s, in Slack", actorName(a))
	case a.Door == policy.DoorSlack:
		text = actorName(a) + ", in Slack"
	case a.Door == policy.DoorMCP:
		text = actorName(a) + ", through an MCP client"
		if a.Client != "" {
			text += fmt.Sprintf(" that calls itself %q, unchecked", policy.Clean(a.Client, 40))
		}
	case a.Door == policy.DoorTerminal:
		text = actorName(a) + ", at the host's terminal"
	default:
		text = actorName(a)
	}
	if a.Vouched != "" {
		text += "; vouched for by: " + policy.Clean(a.Vouched, 80)
	}
	return text
}

// decidedWords says who approved or denied, how, when, and what they added.
func decidedWords(a policy.Approval, now time.Time) string {
	how := ""
	switch a.Way {
	case policy.WaySlack:
		how = ", in Slack"
	case policy.WayTerminal:
		how = ", at the host's terminal"
	case policy.WayElicitation:
		how = ", in a form, as an MCP client says"
	}
	text := actorName(a.By) + how + ", " + momentWords(a.At, now)
	if note := policy.Clean(a.Note, 500); note != "" {
		text += fmt.Sprintf("; note: %q", note)
	}
	return text
}

// otherWays are the ways to confirm beside Slack that count for a request.
func otherWays(r policy.Request) string {
	var out []string
	for _, w := range r.Ways() {
		if w != policy.WaySlack {
			out = append(out, w.Says())
		}
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), " or ")
}

// bySlack tells whether an approval in Slack can count for a request.
func bySlack(r policy.Request) bool { return slices.Contains(r.Ways(), policy.WaySlack) }

// progressWords counts the approvals: "0 of 1 approvals".
func progressWords(st policy.Standing) string {
	needed := max(st.Request.Conditions.Approvals, 1)
	text := fmt.Sprintf("%d of %d approvals", st.Agreed, needed)
	if needed > 1 {
		text += ", by different people"
	}
	return text
}

// copyFailed tells whether a request ended because there was no safety copy.
func copyFailed(r policy.Request) bool {
	return !r.State.Open() && slices.ContainsFunc(r.Steps, func(s policy.Step) bool {
		return s.Name == policy.StepSafetyCopy && s.State == policy.StepFailed
	})
}
