package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/vpsguard/vpsguard/policy"
)

// card shows a request whole, from the stored plan. What a caller or a client
// says of itself stands apart and is labelled so: nothing vouches for it.
func card(w io.Writer, st policy.Standing) {
	r := st.Request
	line := func(label, text string) {
		if text != "" {
			say(w, fmt.Sprintf("  %-9s ", label), text)
		}
	}
	say(w, "\n", fmt.Sprintf("Request %s, %s", r.ID, r.State))
	ownWords(w, r)
	line("What", r.Plan.Summary)
	line("Server", server(r.Plan.Server))
	line("Account", r.Account.String())
	if r.Plan.Target != nil {
		line("Target", target(*r.Plan.Target, st.Now))
	}
	for i, t := range r.Plan.Targets {
		text := target(t.Point, st.Now)
		if fate := r.Fate(i); fate != "" {
			text = fate + ": " + text
		}
		line("Target", fmt.Sprintf("%d of %d, %s", i+1, len(r.Plan.Targets), text))
	}
	line("Name", r.Plan.Params["name"])
	line("About", r.Plan.Params["description"])
	each(line, "Lost", r.Plan.Losses)
	each(line, "Warning", r.Plan.Warnings)
	if r.Plan.LastGood {
		line("Warning", "THIS IS THE LAST GOOD RECOVERY POINT of this server")
	}
	each(line, "Note", r.Plan.Notes)
	line("Undo", r.WayBack())
	line("So far", r.Tally())
	line("Steps", steps(r))
	line("Asked by", asked(r.Actor))
	line("Filed", moment(r.FiledAt, st.Now))
	standing(line, st)
	_, _ = fmt.Fprintln(w)
}

// ownWords shows what the caller says, before the facts and away from the
// prompt, each line with a bar: text that is written to look like a card's line
// does not look like one, however wide the terminal is.
func ownWords(w io.Writer, r policy.Request) {
	if r.Actor.Client == "" && r.Reason == "" {
		return
	}
	say(w, "  ", "Not checked, in the caller's own words:")
	if r.Actor.Client != "" {
		say(w, "  | its program calls itself: ", policy.Clean(r.Actor.Client, 40))
	}
	if r.Reason != "" {
		for i, part := range wrapped("its reason: "+policy.Clean(r.Reason, 500), 64) {
			if i > 0 {
				part = "  " + part
			}
			say(w, "  | ", part)
		}
	}
	say(w, "  ", "What follows is vpsguard's own, from the plan:")
}

// wrapped breaks a text into lines of at most width letters, at blanks where
// there are some. A letter that is shown wide counts as two.
func wrapped(text string, width int) (out []string) {
	line, room := "", width
	for _, word := range strings.SplitAfter(text, " ") {
		for _, r := range chunk(word, width) {
			if columns(r) > room && line != "" {
				out, line, room = append(out, strings.TrimRight(line, " ")), "", width
			}
			line += r
			room -= columns(r)
		}
	}
	return append(out, strings.TrimRight(line, " "))
}

// chunk cuts a word that is wider than a line.
func chunk(word string, width int) (out []string) {
	part := ""
	for _, r := range word {
		if columns(part)+columns(string(r)) > width {
			out, part = append(out, part), ""
		}
		part += string(r)
	}
	return append(out, part)
}

// columns is how wide a text is at most: whatever is not ASCII may be wide.
func columns(s string) (n int) {
	for _, r := range s {
		if n++; r > '~' {
			n++
		}
	}
	return n
}

// standing is what changes while a request lives.
func standing(line func(label, text string), st policy.Standing) {
	r := st.Request
	if len(st.Others) > 0 {
		line("Others", "open on this server too: "+strings.Join(st.Others, ", "))
	}
	if len(st.WaitsFor) > 0 {
		line("Waits", "for "+strings.Join(st.WaitsFor, ", "))
	}
	for _, a := range r.Approvals {
		line("Approved", fmt.Sprintf("by %s, %s", a.By, moment(a.At, st.Now)))
	}
	if d := r.Denial; d != nil {
		line("Denied", fmt.Sprintf("by %s, %s", d.By, moment(d.At, st.Now)))
	}
	line("Why", r.Why)
	switch r.State {
	case policy.StateHeld:
		line("Needs", fmt.Sprintf("%d more to confirm: %s", max(r.Conditions.Approvals-st.Agreed, 1), confirmers(r.Ways())))
		line("Rules", strings.Join(r.Conditions.Asked(), "; "))
		line("They ask", strings.Join(r.Conditions.Says(), "; "))
		line("Until", moment(r.ApproveBy, st.Now))
	case policy.StateApproved:
		if r.NotBefore.After(st.Now) {
			line("Waits", "it starts by itself at "+moment(r.NotBefore, st.Now)+"; until then it can be withdrawn")
			break
		}
		line("Until", "it has to start by "+moment(r.StartBy, st.Now))
	default:
		if !r.EndedAt.IsZero() {
			line("Ended", moment(r.EndedAt, st.Now))
		}
	}
}

func each(line func(label, text string), label string, texts []string) {
	for _, t := range texts {
		line(label, t)
	}
}

func server(s policy.Server) string {
	parts := []string{policy.Clean(s.Name, 64), fmt.Sprintf("id %d", s.ID)}
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

func target(p policy.Point, now time.Time) string {
	text := p.String() + ", " + policy.Clean(p.Status, 40)
	if p.SizeMB != nil && *p.SizeMB >= 0 {
		text += ", " + humanize.Bytes(uint64(*p.SizeMB)*1_000_000)
	}
	return text + ", made " + moment(p.CreatedAt, now)
}

func moment(t, now time.Time) string { return policy.Stamp(t) + ", " + policy.Ago(t, now) }

func steps(r policy.Request) string {
	if len(r.Plan.Targets) > 0 { // each is told with its target
		return ""
	}
	out := make([]string, 0, len(r.Steps))
	for i, s := range r.Steps {
		text := fmt.Sprintf("%d. %s", i+1, spoken(s.Name))
		if s.State != policy.StepWaiting {
			text += " (" + string(s.State) + ")"
		}
		out = append(out, text)
	}
	return strings.Join(out, "  ")
}

// spoken makes a name readable: "safety copy".
func spoken(name string) string { return strings.ReplaceAll(name, "_", " ") }

func asked(a policy.Actor) string {
	door := map[policy.Door]string{policy.DoorMCP: "MCP", policy.DoorSlack: "Slack", policy.DoorTerminal: "the terminal"}[a.Door]
	text := a.Called() + ", through " + door
	if a.Vouched != "" {
		text += "; vouched for by: " + policy.Clean(a.Vouched, 80)
	}
	return text
}

func confirmers(ways []policy.Way) string {
	out := make([]string, 0, len(ways))
	for _, w := range ways {
		out = append(out, w.Says())
	}
	slices.Sort(out)
	return strings.Join(out, " or ")
}
