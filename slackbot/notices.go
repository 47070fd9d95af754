package slackbot

import (
	"regexp"

	"github.com/vpsguard/vpsguard/policy"
)

// actForm opens the form for what a message could not ask.
const actForm = "form"

// slackLink is a link to a message as Slack makes them.
var slackLink = regexp.MustCompile(`^https?://[A-Za-z0-9.:-]+/archives/[A-Za-z0-9]+/p[0-9]+(\?[A-Za-z0-9_=&.]*)?$`)

// unfinished tells somebody whose message cannot open a form that something is
// missing, and offers the form.
func (f face) unfinished(d policy.Descriptor, example, key string) message {
	s := &sheet{id: "unfinished", most: cardLine}
	said := capital(policy.Clean(d.Title, 100)) + ": something is missing."
	s.plain(f.label() + said)
	s.plain("Say all of it, for example: " + policy.Clean(example, 200))
	s.buttons(button(actForm, key, "Fill in…", shorten("Fill in: "+policy.Clean(d.Title, 60), mostButton)))
	return fitMessage(message{Text: f.marked() + mrk(said, 200) + " For example: " + mrk(example, 300), Blocks: s.blocks})
}

// elsewhere tells the caller of a request how it stands, where its card is not
// where they called, or where their call has repeated it.
func (f face) elsewhere(st policy.Standing, link string) message {
	s := &sheet{id: "elsewhere", most: cardLine}
	said := st.Request.ID + " is " + string(st.Request.State) + ": " + st.Request.Plan.Summary
	if st.Again {
		said = "Your call repeats a request; nothing new was filed. " + said
	}
	s.plain(f.label() + sentenced(policy.Clean(said, 600)))
	for _, more := range []string{st.Request.Why, st.Note} {
		if more = policy.Clean(more, 400); more != "" {
			s.plain(sentenced(capital(more)))
		}
	}
	text := f.marked() + mrk(said, 900)
	if st.Note != "" {
		text += ". " + mrk(capital(st.Note), 400)
	}
	if slackLink.MatchString(link) {
		s.markup("<" + link + "|Its card>")
		text += " <" + link + "|Its card>"
	}
	return fitMessage(message{Text: text, Blocks: s.blocks})
}

// tooLate tells whoever pressed what really is, where there is nothing to decide
// any more.
func (f face) tooLate(st policy.Standing) message {
	s := &sheet{id: "late", most: cardLine}
	s.plain(f.label() + "Nothing was decided: " + st.Request.ID + " is not waiting any more.")
	var t sentences
	t.raw(f.marked() + "Nothing was decided.")
	t.raw(f.ended(st))
	for _, a := range st.Request.Approvals {
		s.fact("Approved by", decidedWords(a, st.Now))
		t.say("Approved by ", decidedWords(a, st.Now), 200)
	}
	if d := st.Request.Denial; d != nil {
		s.fact("Denied by", decidedWords(*d, st.Now))
		t.say("Denied by ", decidedWords(*d, st.Now), 250)
	}
	s.fact("It is", string(st.Request.State)+": "+st.Request.Plan.Summary)
	s.fact("Why", st.Request.Why)
	s.flush()
	return fitMessage(message{Text: t.String(), Blocks: s.blocks})
}

// ending is the last line about a request.
func (f face) ending(st policy.Standing) message {
	return fitMessage(message{Text: f.ended(st)})
}

// helpText are the lines of help.
func (p helpPage) lines() []string {
	var out []string
	for _, c := range p.Commands {
		line := c.Usage + " — " + c.About
		if c.Example != "" {
			line += ". For example: " + c.Example
		}
		out = append(out, line)
	}
	return append(out, p.Notes...)
}
