package slackbot

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/vpsguard/vpsguard/policy"
)

// How much of a plan a card shows. The modal to approve shows all of it.
const (
	cardLine     = 400 // code points of a fact
	cardLosses   = 6
	cardWarnings = 4
	cardNotes    = 4
	cardMentions = 60
	textMentions = 12
	cardName     = 64 // of a name, so that it pushes no fact aside
)

// face renders for people in Slack. All it makes is made from stored plans and
// the clock that is given, and fits Slack's limits.
type face struct {
	Command   string   // "/vps"
	Approvers []string // ids of users and groups, mentioned on the first posting of a held card
	Label     string   // "sandbox", or ""; stands in front of every text and header
}

// cardOptions say how a card is posted.
type cardOptions struct {
	First     bool   // the text may mention approvers
	Buttons   bool   // false: without any
	Key       string // goes into the buttons
	ByMessage bool   // it was asked for in a message, not in a form or by a command
}

// label is what stands in front of every text and header.
func (f face) label() string {
	if f.Label == "" {
		return ""
	}
	return "[" + policy.Clean(f.Label, 20) + "] "
}

// title begins a header: the state, then what.
func (f face) title(r policy.Request) string {
	state := stateWords(r)
	if !strings.HasSuffix(state, "…") {
		state += ":"
	}
	return f.label() + state + " " + r.Plan.Summary
}

// card shows how a request stands. Its order is that in which a person decides:
// what, which server, what is lost, from which point, the way back, who asks.
func (f face) card(st policy.Standing, o cardOptions) message {
	r := st.Request
	s := &sheet{id: fmt.Sprintf("%s.%d", policy.Clean(r.ID, 40), r.Rev), most: cardLine, name: cardName}
	s.subject(f.title(r), r)
	s.plan(st, cardLosses, cardWarnings, cardNotes)
	s.flush()
	s.fact("Asked by", askedWords(r.Actor, o.ByMessage))
	s.fact("Filed", momentWords(r.FiledAt, st.Now))
	s.quote("Reason, in the caller's own words, unchecked", r.Reason, 500)
	s.standing(st)
	if r.State == policy.StateHeld {
		s.markup(f.waitsForPeople(st)...)
	}
	switch {
	case r.State == policy.StateApproved && r.NotBefore.After(st.Now):
		s.markup("*Waits:* a rule lets it be called back; it starts by itself at " + untilWords(r.NotBefore, st))
	case r.State == policy.StateApproved && !r.StartBy.IsZero():
		s.markup("*Starts by:* " + untilWords(r.StartBy, st) + ", or not at all")
	}
	if o.Buttons {
		s.buttons(cardButtons(r, o.Key)...)
	}
	s.flush()
	return fitMessage(message{Text: f.cardText(st, o), Blocks: s.blocks})
}

// subject begins a sheet about a request; a header that was cut is said again in
// full.
func (s *sheet) subject(title string, r policy.Request) {
	s.head(title)
	s.fact("Request", r.ID)
	if policy.Clean(title, mostHeader) != policy.Clean(title, mostHeader+1) {
		s.fact("What", r.Plan.Summary)
	}
}

// plan adds what would happen, or has happened.
func (s *sheet) plan(st policy.Standing, losses, warnings, notes int) {
	r, p := st.Request, st.Request.Plan
	open := r.State == policy.StateHeld || r.State == policy.StateApproved || r.State == policy.StateRunning
	s.fact("Server", serverWords(p.Server, s.name))
	s.fact("Account", r.Account.String())
	switch label := lostLabel(r); {
	case r.Tally() != "":
		s.fact("LOST", r.Tally())
	case label != "":
		s.facts(label, p.Losses, losses)
	case r.Effect.Destroys():
		s.fact("Lost", "nothing: it was not carried out")
	}
	if p.Target != nil {
		label := "From"
		if r.Effect == policy.Delete {
			label = "Deletes"
		}
		s.fact(label, pointWords(*p.Target, st.Now, s.name))
	}
	for i, text := range targetLines(r, func(p policy.Point) string { return pointWords(p, st.Now, s.name) }) {
		label := "Deletes"
		if r.Tally() != "" {
			label = "Target"
		}
		s.fact(fmt.Sprintf("%s %d of %d", label, i+1, len(p.Targets)), text)
	}
	s.fact("Name", p.Params["name"])
	s.fact("Description", p.Params["description"])
	if open && p.LastGood {
		s.fact("Warning", "THIS IS THE LAST GOOD RECOVERY POINT of this server")
	}
	if open {
		s.facts("Warning", p.Warnings, warnings)
	}
	if undoStands(r) {
		s.fact("Undo", r.WayBack())
	} else if c, ok := r.Copy(); ok {
		s.fact("Safety copy", c.String()+" was made, or begun")
	}
	if r.State == policy.StateHeld {
		s.facts("Note", p.Notes, notes)
	}
	if steps := stepLines(r, s.most); len(steps) > 0 && (open || r.Steps[0].State != policy.StepWaiting) {
		s.facts("Step", steps, 0)
	}
}

// standing adds what changes while a request lives.
func (s *sheet) standing(st policy.Standing) {
	r := st.Request
	s.flush()
	if st.Again {
		s.fact("Again", "the call repeated this request; nothing new was filed")
	}
	s.fact("Note", st.Note)
	s.fact("Also open on this server", listed(st.Others))
	s.fact("Waits for", listed(st.WaitsFor))
	if r.State == policy.StateHeld {
		s.fact("Rules", strings.Join(r.Conditions.Asked(), "; "))
		s.fact("They ask", strings.Join(r.Conditions.Says(), "; "))
	}
	for i, a := range r.Approvals {
		if i == 5 {
			s.fact("Approved by", fmt.Sprintf("and %d more", len(r.Approvals)-i))
			break
		}
		s.fact("Approved by", decidedWords(a, st.Now))
	}
	if r.Denial != nil {
		s.fact("Denied by", decidedWords(*r.Denial, st.Now))
	}
	if r.Denial == nil { // which says more than Why then does
		s.fact("Why", r.Why)
	}
	if !r.State.Open() && !r.EndedAt.IsZero() {
		s.fact("Ended", momentWords(r.EndedAt, st.Now))
	}
	if copyFailed(r) {
		s.fact("Next", "it can be asked again without a safety copy; then there is NO WAY BACK, and a person has to approve that")
	}
	s.flush()
}

// listed names requests.
func listed(ids []string) string {
	if more := len(ids) - 8; more > 0 {
		return strings.Join(ids[:8], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(ids, ", ")
}

// waitsForPeople says, in mrkdwn and with nothing foreign, who may approve, how,
// until when, and how many have.
func (f face) waitsForPeople(st policy.Standing) []string {
	r := st.Request
	people, other := mentions(f.Approvers, cardMentions), otherWays(r)
	if people == "" {
		people = "an approver"
	}
	var who string
	switch {
	case bySlack(r) && other != "":
		who = people + ", here. Elsewhere: " + other
	case bySlack(r):
		who = people + ", here"
	case other != "":
		who = other + ". Approving in Slack does not count for this request"
	default:
		who = "nobody"
	}
	out := []string{"*Who may approve:* " + who}
	for _, list := range r.Conditions.Approvers {
		each := mentions(list, cardMentions)
		if slices.Contains(list, policy.EntryTerminal) {
			each = strings.TrimPrefix(each+", or at the host's terminal", ", ")
		}
		out = append(out, "*By a rule, each of them is one of:* "+each)
	}
	if !r.ApproveBy.IsZero() {
		out = append(out, "*Until:* "+untilWords(r.ApproveBy, st))
	}
	return append(out, "*So far:* "+progressWords(st))
}

// untilWords are a deadline, in mrkdwn: for each reader, in UTC, and how far off it was.
func untilWords(t time.Time, st policy.Standing) string {
	return fmt.Sprintf("%s (%s, %s when this was written)",
		localTime(t), policy.Stamp(t), policy.Ago(t, st.Now.Truncate(time.Second)))
}

// cardButtons are what is left to press.
func cardButtons(r policy.Request, key string) []*slack.ButtonBlockElement {
	cancel := asking(button(actCancel, key, "Cancel", aloud("Cancel the request", r)),
		"Cancel this request?", "It is withdrawn and not carried out.", "Cancel the request", "Keep it")
	switch {
	case r.State == policy.StateHeld:
		if !slices.Contains(r.Conditions.Ways, policy.WaySlack) { // then denying does not count here either
			return []*slack.ButtonBlockElement{cancel}
		}
		out := []*slack.ButtonBlockElement{button(actDeny, key, "Deny…", aloud("Deny", r)), cancel}
		if !bySlack(r) { // by the rules, nobody here is asked to agree
			return out
		}
		approve := button(actApprove, key, "Approve…", aloud("Approve", r)).WithStyle(slack.StylePrimary)
		if r.Effect.Destroys() { // the only red there is
			approve.Style = slack.StyleDanger
		}
		return append([]*slack.ButtonBlockElement{approve}, out...)
	case (r.State == policy.StateApproved || r.State == policy.StateRunning) && !r.Decided():
		return []*slack.ButtonBlockElement{cancel}
	case r.State == policy.StateDone && r.Undo != nil:
		return []*slack.ButtonBlockElement{button(actUndo, key, "Undo (restore the safety copy)", aloud("Undo", r))}
	case copyFailed(r):
		return []*slack.ButtonBlockElement{asking(
			button(actAgainNoCopy, key, "Ask again without a safety copy", aloud("Ask again, NO WAY BACK", r)),
			"Ask again without a safety copy?", "There is NO WAY BACK then. It is not carried out before a person approves it.", "Ask again", "Leave it")}
	case r.State == policy.StateExpired || r.State == policy.StateStale:
		return []*slack.ButtonBlockElement{button(actAgain, key, "Ask again", aloud("Ask again", r))}
	default:
		return nil
	}
}

// aloud is what a screen reader says of a button: what it does, to which point
// and which server. A name that is too long is cut, never an id.
func aloud(does string, r policy.Request) string {
	p := r.Plan
	text := does + ", "
	if p.Target != nil {
		text += policy.Clean(p.Target.Kind, 10) + fmt.Sprintf(" %d, ", p.Target.ID)
	}
	if n := len(p.Targets); n > 0 {
		text += fmt.Sprintf("%d %ss, ", n, policy.Clean(p.Targets[0].Kind, 10))
	}
	tail := fmt.Sprintf(" (%d)", p.Server.ID)
	text += "server "
	return text + shorten(policy.Clean(p.Server.Name, 64), max(mostButton-len(text)-len(tail), 1)) + tail
}
