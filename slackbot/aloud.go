package slackbot

import (
	"fmt"
	"strings"
	"time"

	"github.com/vpsguard/vpsguard/policy"
)

// sentences are collected mrkdwn. What is not ours comes in through say and each,
// which escape it.
type sentences struct{ out []string }

// raw adds what is ours.
func (s *sentences) raw(text string) { s.out = append(s.out, text) }

// say adds a sentence: a label that is ours and a text that need not be, at most
// so long.
func (s *sentences) say(label, text string, most int) {
	if text = mrk(text, most); text != "" {
		s.raw(label + sentenced(text))
	}
}

// each adds a sentence for each text, at most so many, and counts the rest.
func (s *sentences) each(label string, texts []string, most, length int) {
	for _, t := range texts[:min(most, len(texts))] {
		s.say(label, t, length)
	}
	if more := len(texts) - most; more > 0 {
		s.raw(fmt.Sprintf("%sand %d more, on the card.", label, more))
	}
}

func (s *sentences) String() string { return strings.Join(s.out, " ") }

// marked is the label, for mrkdwn.
func (f face) marked() string {
	if f.Label == "" {
		return ""
	}
	return mrk(f.label(), 60) + " "
}

// begins says how a request stands and what it is about.
func (f face) begins(s *sentences, r policy.Request) {
	what := mrk(r.Plan.Summary, 300)
	if what == "" {
		what = "a plan without words"
	}
	state, explained, ok := strings.Cut(stateWords(r), ", ")
	if ok {
		explained = ", " + explained
	}
	s.raw(f.marked() + state + " " + mrk(r.ID, 40) + explained + ": " + sentenced(what))
}

// cardText is all of a card that screen readers, phones and notifications have:
// the whole decision in sentences.
func (f face) cardText(st policy.Standing, o cardOptions) string {
	r, p := st.Request, st.Request.Plan
	var s sentences
	f.begins(&s, r)
	s.raw("Server: " + serverText(p.Server) + ".")
	if r.Account.Owner != "" {
		s.say("Account: ", r.Account.Owner, 100)
	}
	switch label := lostLabel(r); {
	case r.Tally() != "":
		s.say("LOST: ", r.Tally(), 220)
	case label != "":
		s.each(label+": ", p.Losses, 3, 220)
	}
	// All of them, since all are agreed to; what may be long comes last.
	s.each("", targetLines(r, func(p policy.Point) string {
		return fmt.Sprintf("%s %d, %s, %q", policy.Clean(p.Kind, 10), p.ID, policy.Ago(p.CreatedAt, st.Now.Truncate(time.Second)), policy.Clean(p.Name, 40))
	}), 15, 90)
	if r.State == policy.StateHeld {
		f.heldText(&s, st, o)
	} else {
		f.laterText(&s, st)
	}
	return s.String()
}

// heldText is what a person needs in order to decide.
func (f face) heldText(s *sentences, st policy.Standing, o cardOptions) {
	r, p := st.Request, st.Request.Plan
	if p.Target != nil && r.Effect != policy.Delete {
		s.say("From: ", pointWords(*p.Target, st.Now, 40), 250)
	}
	if p.LastGood {
		s.raw("THIS IS THE LAST GOOD RECOVERY POINT of this server.")
	}
	s.each("Warning: ", p.Warnings, 2, 150)
	s.say("Undo: ", r.WayBack(), 200)
	s.say("Asked by ", askedWords(r.Actor, o.ByMessage), 250)
	if len(st.Others) > 0 {
		s.say("Also open on this server: ", listed(st.Others), 100)
	}
	if len(st.WaitsFor) > 0 {
		s.say("It waits for ", listed(st.WaitsFor), 100)
	}
	s.say("Rules: ", strings.Join(r.Conditions.Asked(), "; "), 200)
	s.say("They ask: ", strings.Join(r.Conditions.Says(), "; "), 300)
	s.say("So far: ", progressWords(st), 60)
	if !r.ApproveBy.IsZero() {
		s.raw("Until " + untilWords(r.ApproveBy, st) + ".")
	}
	switch other := otherWays(r); {
	case bySlack(r) && other != "":
		s.raw("Press Approve… or Deny… on the card; elsewhere, " + other + " can confirm it.")
	case bySlack(r):
		s.raw("Press Approve… or Deny… on the card.")
	case other != "":
		s.raw("Approving in Slack does not count for it: " + other + " can confirm it.")
	}
	if people := mentions(f.Approvers, textMentions); o.First && bySlack(r) && people != "" {
		s.raw("Approvers: " + people + ".")
	}
	// The caller's words come last: what they push out is themselves.
	if reason := mrk(r.Reason, 300); reason != "" {
		s.raw("Reason, in the caller's own words, unchecked: \"" + reason + "\"")
	}
}

// serverText is a server, for mrkdwn: whatever its name is, its id is there.
func serverText(s policy.Server) string {
	text := fmt.Sprintf("%s, id %d", mrk(namedWords(s.Name, 100), 100), s.ID)
	if s.IP != "" {
		text += ", IP " + mrk(s.IP, 50)
	}
	if others := s.Others(); others != "" {
		text += ", " + others
	}
	return text
}

// laterText is what came of it.
func (f face) laterText(s *sentences, st policy.Standing) {
	r := st.Request
	for _, a := range r.Approvals[:min(len(r.Approvals), 3)] {
		s.say("Approved by ", decidedWords(a, st.Now), 180)
	}
	if len(r.Steps) > 0 && r.Steps[0].State != policy.StepWaiting {
		s.each("Step ", stepLines(r, 150), 3, 180)
	}
	if len(st.WaitsFor) > 0 {
		s.say("It waits for ", listed(st.WaitsFor), 100)
	}
	f.outcome(s, st)
}

// outcome is why a request stands as it does, and what is left to do.
func (f face) outcome(s *sentences, st policy.Standing) {
	r := st.Request
	if r.Denial != nil { // says more than Why then does
		s.say("Denied by ", decidedWords(*r.Denial, st.Now), 350)
	} else {
		s.say("Why: ", r.Why, 350)
	}
	if undoStands(r) {
		s.say("Undo: ", r.WayBack(), 200)
	}
	switch {
	case r.State == policy.StateApproved && r.NotBefore.After(st.Now):
		s.raw("A rule lets it be called back: it starts by itself at " + untilWords(r.NotBefore, st) + ".")
	case r.State == policy.StateApproved && !r.StartBy.IsZero():
		s.raw("It starts by " + untilWords(r.StartBy, st) + ", or not at all.")
	case copyFailed(r):
		s.raw("It can be asked again without a safety copy; then there is NO WAY BACK.")
	case r.State == policy.StateUncertain:
		s.raw("Do not ask for it again: reading may still show what happened, otherwise a person at the host's terminal has to say.")
	}
}

// ended is the line about a request's end for its thread, in mrkdwn.
func (f face) ended(st policy.Standing) string {
	var s sentences
	f.begins(&s, st.Request)
	f.outcome(&s, st)
	return shortenMarkup(s.String(), mostText)
}
