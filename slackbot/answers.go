package slackbot

import (
	"strings"

	"github.com/vpsguard/vpsguard/policy"
)

// refusal tells the caller alone why something was not done.
func (f face) refusal(err *policy.Error) message {
	if err == nil {
		err = policy.Errorf(policy.Internal, "something went wrong; nothing more is known here")
	}
	lead := refusalWords(err.Kind)
	said := sentenced(capital(policy.Clean(err.Message, 1000)))
	hint := sentenced(capital(policy.Clean(err.Hint, 1000)))
	s := &sheet{id: "refusal", most: cardLine}
	s.plain(strings.TrimSpace(f.label() + lead + ": " + said))
	s.plain(hint)
	text := f.marked() + lead + ": " + mrk(said, 1500)
	if hint != "" {
		text += " " + mrk(hint, 1500)
	}
	return fitMessage(message{Text: text, Blocks: s.blocks})
}

func refusalWords(k policy.Kind) string {
	switch k {
	case policy.Invalid:
		return "Not understood"
	case policy.NotFound:
		return "Not found"
	case policy.Forbidden:
		return "Not allowed"
	case policy.Conflict:
		return "Not possible now"
	case policy.Expired:
		return "Too late"
	case policy.Stale:
		return "No longer as it was shown"
	case policy.Unavailable:
		return "Not reached, and nothing was changed"
	case policy.Uncertain:
		return "Uncertain, it may have happened"
	default:
		return "An error"
	}
}

// helpMessage shows how to use the command. The lines are ours, but what they
// say of operations is the catalogue's.
func (f face) helpMessage(lines []string) message {
	s := &sheet{id: "help", most: cardLine}
	title := f.label() + "What " + f.Command + " can do"
	s.head(title)
	var plain, marked []string
	left := mostText - 300
	for _, l := range lines[:min(len(lines), 80)] {
		l = policy.Clean(l, 300)
		if l == "" {
			continue
		}
		plain = append(plain, l)
		m := "• " + mrk(l, 300)
		if left -= len([]rune(m)) + 1; left > 0 {
			marked = append(marked, m)
		}
	}
	text := strings.Join(plain, "\n")
	s.plain(shorten(text, 3*mostRun))
	return fitMessage(message{Text: strings.Join(append([]string{mrk(title, 150)}, marked...), "\n"), Blocks: s.blocks})
}
