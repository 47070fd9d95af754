package slackbot

import (
	"slices"
	"strings"

	"github.com/vpsguard/vpsguard/policy"
)

// synonyms are words that people try for those of a catalogue. They are
// suggested, never obeyed.
var synonyms = map[string]string{
	"ls": "list", "all": "list", "get": "show", "status": "show", "describe": "show",
	"new": "create", "make": "create", "take": "create", "add": "create",
	"rollback": "restore", "revert": "restore", "recover": "restore", "undo": "restore",
	"rm": "delete", "remove": "delete", "destroy": "delete", "drop": "delete",
	"abort": "cancel", "stop": "cancel", "withdraw": "cancel",
	"vm": "server", "vps": "server", "host": "server", "machine": "server", "instance": "server",
}

// far is a cost that nothing near has.
const far = 100

// nearest gives the command that was most likely meant by the first words of a
// text, if any is near.
func (g *grammar) nearest(first, second string) (policy.Descriptor, bool) {
	best, least := policy.Descriptor{}, far
	for _, d := range g.catalogue {
		n := min(
			cost(first, d.Noun)+cost(second, d.Verb),
			cost(first, d.Verb)+cost(second, d.Noun),
			cost(first, d.Verb)+9, // something else follows it
		)
		if d.Verb == listVerb {
			n = min(n, 8+cost(first, d.Noun))
		}
		if n < least {
			best, least = d, n
		}
	}
	return best, least < far
}

// cost weighs a typed word's mistakes against what is left out of a command.
func cost(typed, name string) int { return 3 * missed(typed, name) }

// missed counts the mistakes between a typed word and one of the catalogue;
// [far] where it is another word.
func missed(typed, name string) int {
	switch {
	case typed == "":
		return far
	case match(typed, name) > 0:
		return 0
	case synonyms[typed] == name, synonyms[strings.TrimSuffix(typed, "s")] == name:
		return 1
	}
	n := min(distance(typed, name), distance(typed, name+"s"))
	if n > tolerated(min(len(typed), len(name))) {
		return far
	}
	return n
}

// tolerated is how many mistakes a word of a length may have: in a short one,
// two make another word of it.
func tolerated(length int) int {
	switch {
	case length < 3:
		return 0
	case length < 6:
		return 1
	default:
		return 2
	}
}

// nearestName gives the argument that was most likely meant, or "".
func nearestName(d policy.Descriptor, typed string) string {
	typed = strings.ToLower(strings.ReplaceAll(typed, "-", "_"))
	best, least := "", far
	for _, a := range d.Arguments {
		n := distance(typed, a.Name)
		if len(typed) > 1 && (strings.HasPrefix(a.Name, typed) || strings.HasSuffix(a.Name, "_"+typed)) {
			n = 0
		}
		if n <= tolerated(min(len(typed), len(a.Name))) && n < least {
			best, least = a.Name, n
		}
	}
	return best
}

// distance counts the letters to add, drop, change or swap with the next between
// two words (optimal string alignment). Long words are not compared.
func distance(a, b string) int {
	if len(a) > 40 || len(b) > 40 {
		return far
	}
	s, t := []rune(a), []rune(b)
	var before, above []int
	row := make([]int, len(t)+1)
	for j := range row {
		row[j] = j
	}
	for i := range s {
		before, above, row = above, row, make([]int, len(t)+1)
		row[0] = i + 1
		for j := range t {
			change := above[j]
			if s[i] != t[j] {
				change++
			}
			row[j+1] = slices.Min([]int{above[j+1] + 1, row[j] + 1, change})
			if i > 0 && j > 0 && s[i] == t[j-1] && s[i-1] == t[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(t)]
}
