package slackfake

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// String is the message as people see it: its blocks, or its text where it has none.
// Times are in UTC, see [Message.As].
func (m Message) String() string { return m.show(time.UTC) }

// As is the message as that person sees it, with times in their place.
func (m Message) As(user string) string { return m.show(m.f.placeOf(user)) }

// Aloud is what a screen reader reads out and what a notification shows: the text
// alone.
func (m Message) Aloud() string { return markup(m.Text, m.f.names(), time.UTC) }

func (m Message) show(in *time.Location) string {
	p := painter{names: m.f.names(), in: in}
	if len(m.Blocks) == 0 {
		return p.mrkdwn(m.Text)
	}
	return p.blocks(m.Blocks)
}

// Live returns the markup in the message that Slack acts on: "@U1", "!channel",
// "#C1", "!subteam^S1", "https://…|label". Text that people chose must not end up
// here.
func (m Message) Live() []string {
	out := live(m.Text)
	for _, b := range m.Blocks {
		out = append(out, liveIn(b)...)
	}
	return out
}

// Live returns the markup in the view that Slack acts on, see [Message.Live].
func (v View) Live() []string {
	var out []string
	for _, b := range v.Blocks {
		out = append(out, liveIn(b)...)
	}
	return out
}

// String is the view as people see it.
func (v View) String() string {
	p := painter{names: v.f.names(), in: time.UTC}
	out := "= " + v.Title + " =\n" + p.blocks(v.Blocks)
	for _, id := range sortedKeys(v.Errors) {
		out += "\n! " + id + ": " + v.Errors[id]
	}
	if v.Submit != "" {
		out += "\n[" + v.Submit + "]"
	}
	return out
}

// names are what ids are shown as.
func (f *Fake) names() map[string]string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make(map[string]string, len(f.users)+len(f.channels)+len(f.groups))
	for id, u := range f.users {
		out[id] = "@" + u.Name
	}
	for id, c := range f.channels {
		out[id] = "#" + c.Name
	}
	for id, g := range f.groups {
		out[id] = "@" + g.Handle
	}
	return out
}

func (f *Fake) placeOf(user string) *time.Location {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mustUser(user).location()
}

var (
	angle    = regexp.MustCompile(`<([^<>\n]+)>`)
	unescape = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")
	isLink   = regexp.MustCompile(`^[a-z][a-z0-9+.-]*:`)
)

// live returns what stands between angle brackets.
func live(s string) []string {
	var out []string
	for _, m := range angle.FindAllStringSubmatch(s, -1) {
		if c := m[1][0]; c == '@' || c == '#' || c == '!' || isLink.MatchString(m[1]) {
			if !strings.HasPrefix(m[1], "!date^") {
				out = append(out, m[1])
			}
		}
	}
	return out
}

func liveIn(b map[string]any) []string {
	var out []string
	walkAll(b, func(m map[string]any) {
		switch text(m, "type") {
		case "mrkdwn", "markdown":
			out = append(out, live(text(m, "text"))...)
		case "link":
			out = append(out, text(m, "url"))
		case "user":
			out = append(out, "@"+text(m, "user_id"))
		case "broadcast":
			out = append(out, "!"+text(m, "range"))
		}
	})
	return out
}

// markup shows mrkdwn as Slack does, but that * and _ stay.
func markup(s string, names map[string]string, in *time.Location) string {
	s = angle.ReplaceAllStringFunc(s, func(m string) string {
		body, label, labelled := strings.Cut(m[1:len(m)-1], "|")
		switch body[0] {
		case '@', '#':
			if name, ok := names[body[1:]]; ok {
				return name
			}
			return body
		case '!':
			return special(body[1:], label, names, in)
		}
		if !isLink.MatchString(body) {
			return m
		}
		if labelled {
			return label + " (" + body + ")"
		}
		return body
	})
	return unescape.Replace(s)
}

// special shows <!…>.
func special(body, label string, names map[string]string, in *time.Location) string {
	parts := strings.Split(body, "^")
	switch {
	case parts[0] == "date" && len(parts) >= 3:
		n, err := strconv.ParseInt(parts[1], 10, 64)
		if err != nil {
			return label
		}
		return date(parts[2], time.Unix(n, 0).In(in))
	case parts[0] == "subteam" && len(parts) == 2:
		if name, ok := names[parts[1]]; ok {
			return name
		}
	case label != "":
		return label
	}
	return "@" + parts[0]
}

// date fills Slack's patterns of times in.
func date(pattern string, t time.Time) string {
	return strings.NewReplacer(
		"{date_num}", t.Format("2006-01-02"), "{date}", t.Format("January 2, 2006"),
		"{date_slash}", t.Format("01/02/2006"), "{date_long}", t.Format("Monday, January 2, 2006"),
		"{date_long_full}", t.Format("Monday, January 2, 2006"), "{date_long_pretty}", t.Format("Monday, January 2, 2006"),
		"{date_short}", t.Format("Jan 2, 2006"), "{date_pretty}", t.Format("January 2, 2006"),
		"{date_short_pretty}", t.Format("Jan 2, 2006"), "{time}", t.Format("15:04"), "{time_secs}", t.Format("15:04:05"),
		"{ago}", t.Format("2006-01-02 15:04"),
	).Replace(pattern)
}

func sortedKeys(m map[string]string) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
