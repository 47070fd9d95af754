package slackbot

import (
	"strings"

	"github.com/slack-go/slack"

	"github.com/vpsguard/vpsguard/policy"
)

const (
	// modalLine is as much of a fact as a modal to approve shows: all of it.
	modalLine = 1 << 20
	// mostTyped is the longest name that can be asked to be typed.
	mostTyped = 255
	mostNote  = 500 // as policy keeps notes
)

// modal is a view whose blocks are a sheet's.
func (f face) modal(id, title, submit, closing, key string, s *sheet) slack.ModalViewRequest {
	s.flush()
	v := slack.ModalViewRequest{
		Type: slack.VTModal, CallbackID: id, PrivateMetadata: key, Blocks: slack.Blocks{BlockSet: s.blocks},
		Title: literal(policy.Clean(title, mostTitle)), Close: literal(closing),
	}
	if submit != "" {
		v.Submit = literal(submit)
	}
	return fitView(v)
}

// approveModal shows the whole plan and takes one person's agreement. What
// cannot be shown whole cannot be approved here.
func (f face) approveModal(st policy.Standing, key string) slack.ModalViewRequest {
	r := st.Request
	typed := r.Plan.Server.Typed()
	switch {
	case r.State != policy.StateHeld:
		return f.settled(st)
	case !bySlack(r):
		return f.told("Not here", "Approving in Slack does not count for this request. What counts: "+otherWays(r)+".")
	case r.Plan.MustType(policy.WaySlack) && len(typed) > mostTyped:
		return f.told("Cannot be approved here", "The server's name is too long to be typed here. What else counts: "+orNobody(otherWays(r))+".")
	}
	s := &sheet{id: "plan", most: modalLine, name: modalLine}
	s.subject(f.label()+"Approve? "+r.Plan.Summary, r)
	s.plan(st, 0, 0, 0)
	s.flush()
	s.fact("Asked by", askedWords(r.Actor, byMessage(st)))
	s.fact("Filed", momentWords(r.FiledAt, st.Now))
	s.quote("Reason, in the caller's own words, unchecked", r.Reason, 500)
	s.standing(st)
	s.markup(f.waitsForPeople(st)...)
	if r.Plan.MustType(policy.WaySlack) {
		label, hint := typedWords(r.Plan.Server)
		e := slack.NewPlainTextInputBlockElement(nil, fieldTyped)
		e.MaxLength = mostTyped
		s.input(fieldTyped, label, hint, e, false)
	}
	s.input(fieldNote, "Note", "Kept with your approval, and shown.", noteField(), true)
	v := f.modal(viewApprove, "Approve "+policy.Clean(r.ID, 14), "Approve", "Back", key, s)
	if !wholeView(v, len(s.blocks)) {
		return f.told("Cannot be approved here", "The plan is too long to be shown whole. What else counts: "+orNobody(otherWays(r))+".")
	}
	return v
}

func orNobody(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// typedWords say what to type, and why that.
func typedWords(s policy.Server) (label, hint string) {
	typed := s.Typed()
	switch {
	case typed == s.Name && s.Alone:
		return "Type the server's name to approve: " + typed, "Exactly as it is written, capitals too."
	case !s.Alone && s.Status == "":
		return "Type the server's id to approve: " + typed, "The id, because it is not known whether other servers have this name or id too."
	case !s.Alone:
		return "Type the server's id to approve: " + typed, "The id, because other servers have this name or id too."
	default:
		return "Type the server's id to approve: " + typed,
			"The id, because the name holds blanks or characters that look like others."
	}
}

func noteField() *slack.PlainTextInputBlockElement {
	e := slack.NewPlainTextInputBlockElement(nil, fieldNote)
	e.Multiline, e.MaxLength = true, mostNote
	return e
}

// denyModal asks once more, and for a reason.
func (f face) denyModal(st policy.Standing, key string) slack.ModalViewRequest {
	r := st.Request
	if r.State != policy.StateHeld {
		return f.settled(st)
	}
	s := &sheet{id: "plan", most: cardLine, name: cardName}
	s.subject(f.label()+"Deny? "+r.Plan.Summary, r)
	s.fact("Server", serverWords(r.Plan.Server, s.name))
	if r.Plan.Target != nil {
		s.fact("Target", pointWords(*r.Plan.Target, st.Now, s.name))
	}
	s.facts("Target", targetLines(r, func(p policy.Point) string { return pointWords(p, st.Now, s.name) }), 0)
	s.fact("Asked by", askedWords(r.Actor, byMessage(st)))
	s.quote("Reason, in the caller's own words, unchecked", r.Reason, 500)
	s.plain("One person's no is enough: then it is not carried out.")
	s.input(fieldNote, "Why", "Shown to whoever asked.", noteField(), true)
	return f.modal(viewDeny, "Deny "+policy.Clean(r.ID, 14), "Deny", "Back", key, s)
}

// settled says that there is nothing to decide any more.
func (f face) settled(st policy.Standing) slack.ModalViewRequest {
	r := st.Request
	return f.told("Nothing to decide", sentenced(r.ID+" is no longer waiting. It is "+string(r.State))+"\n"+
		sentenced(r.Plan.Summary)+"\n"+sentenced(r.Why))
}

// told is a modal that only says something. The text may hold lines.
func (f face) told(title, text string) slack.ModalViewRequest {
	s := &sheet{id: "told", most: cardLine}
	var lines []string
	for _, l := range strings.Split(f.label()+text, "\n") {
		if l = policy.Clean(l, 2*mostRun); l != "" {
			lines = append(lines, l)
		}
	}
	if title = policy.Clean(title, mostTitle); title == "" {
		title = "vpsguard"
	}
	if len(lines) == 0 {
		lines = []string{"Nothing more is known."}
	}
	s.plain(strings.Join(lines[:min(len(lines), 60)], "\n"))
	return f.modal(viewTold, title, "", "Close", "", s)
}
