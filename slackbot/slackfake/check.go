package slackfake

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// chars counts as Slack does: characters, not bytes.
func chars(s string) int { return utf8.RuneCountInString(s) }

// text reads a string out of what was decoded from JSON.
func text(m map[string]any, path ...string) string {
	for _, key := range path[:len(path)-1] {
		m, _ = m[key].(map[string]any)
	}
	s, _ := m[path[len(path)-1]].(string)
	return s
}

// objects reads a list of objects.
func objects(v any) []map[string]any {
	list, _ := v.([]any)
	var out []map[string]any
	for _, x := range list {
		if m, ok := x.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// check walks through blocks and keeps what is wrong with them.
type check struct {
	problems
	// modal tells a view from a message.
	modal bool
	// within is the block being looked at.
	blockIDs  map[string]bool
	actionIDs map[string]bool
	counts    map[string]int
	focus     int
	markdown  int
}

// rule says what a value must be like. at is its JSON pointer.
type rule func(c *check, v any, at string)

// shape is what an object must be like.
type shape struct {
	fields map[string]rule
	// must are fields that have to be there.
	must []string
	// either are fields of which one has to be there, one only where xor.
	either []string
	xor    bool
	// only is "modal" or "message" where the object may stand nowhere else.
	only string
}

func (s shape) check(c *check, m map[string]any, at string) {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		r, ok := s.fields[key]
		switch {
		case key == "type":
		case !ok:
			c.add(at, "invalid additional property: %s", key)
		case m[key] == nil:
			c.add(at+"/"+key, "must not be null")
		default:
			r(c, m[key], at+"/"+key)
		}
	}
	for _, key := range s.must {
		if m[key] == nil {
			c.add(at, "missing required field: %s", key)
		}
	}
	n := 0
	for _, key := range s.either {
		if m[key] != nil {
			n++
		}
	}
	if len(s.either) > 0 && n == 0 {
		c.add(at, "missing required field: %s", strings.Join(s.either, " or "))
	}
	if s.xor && n > 1 {
		c.add(at, "only one of %s is allowed", strings.Join(s.either, ", "))
	}
}

func anything(*check, any, string) {}

func boolean(c *check, v any, at string) {
	if _, ok := v.(bool); !ok {
		c.add(at, "must be a boolean")
	}
}

func whole(least, most float64) rule {
	return func(c *check, v any, at string) {
		n, ok := v.(float64)
		switch {
		case !ok || n != float64(int64(n)):
			c.add(at, "must be an integer")
		case n < least:
			c.add(at, "must be at least %v", least)
		case n > most:
			c.add(at, "must be at most %v", most)
		}
	}
}

// length is a string of least to most characters.
func length(least, most int) rule {
	return func(c *check, v any, at string) {
		s, ok := v.(string)
		switch {
		case !ok:
			c.add(at, "must be a string")
		case chars(s) < least:
			c.add(at, "must be more than %d characters", least-1)
		case chars(s) > most:
			c.add(at, "must be less than %d characters", most+1)
		}
	}
}

func oneOf(words ...string) rule {
	return func(c *check, v any, at string) {
		if s, ok := v.(string); !ok || !slices.Contains(words, s) {
			c.add(at, "must be one of %s", strings.Join(words, ", "))
		}
	}
}

func webAddress(c *check, v any, at string) {
	length(1, 3000)(c, v, at)
	if s, _ := v.(string); !strings.HasPrefix(s, "https://") && !strings.HasPrefix(s, "http://") {
		c.add(at, "must be a valid URL")
	}
}

func list(least, most int, each rule) rule {
	return func(c *check, v any, at string) {
		items, ok := v.([]any)
		switch {
		case !ok:
			c.add(at, "must be an array")
		case len(items) < least:
			c.add(at, "no less than %d items allowed", least)
		case len(items) > most:
			c.add(at, "no more than %d items allowed", most)
		}
		for i, item := range items {
			each(c, item, at+"/"+strconv.Itoa(i))
		}
	}
}

func object(s shape) rule {
	return func(c *check, v any, at string) {
		if m, ok := v.(map[string]any); ok {
			s.check(c, m, at)
			return
		}
		c.add(at, "must provide an object")
	}
}

// words is a text object of at most most characters.
func words(most int, kinds ...string) rule {
	return func(c *check, v any, at string) {
		m, ok := v.(map[string]any)
		if !ok {
			c.add(at, "must provide an object")
			return
		}
		kind := text(m, "type")
		if !slices.Contains(kinds, kind) {
			c.add(at+"/type", "unsupported type: %s", kind)
			return
		}
		s := shape{fields: map[string]rule{"text": length(1, most), "emoji": boolean}, must: []string{"text"}}
		if kind == "mrkdwn" {
			s.fields = map[string]rule{"text": length(1, most), "verbatim": boolean}
		}
		s.check(c, m, at)
	}
}

func plain(most int) rule  { return words(most, "plain_text") }
func either(most int) rule { return words(most, "plain_text", "mrkdwn") }

// oneType is an object whose type is in a table, one of allowed.
func oneType(table func() map[string]shape, allowed ...string) rule {
	return func(c *check, v any, at string) {
		m, ok := v.(map[string]any)
		if !ok {
			c.add(at, "must provide an object")
			return
		}
		kind := text(m, "type")
		s, known := table()[kind]
		if !known || len(allowed) > 0 && !slices.Contains(allowed, kind) ||
			s.only == "modal" && !c.modal || s.only == "message" && c.modal {
			c.add(at+"/type", "unsupported type: %s", kind)
			return
		}
		c.meet(m, kind, at)
		s.check(c, m, at)
	}
}

// meet keeps count of what may be there only once.
func (c *check) meet(m map[string]any, kind, at string) {
	c.counts[kind]++
	if c.counts[kind] > 1 && (kind == "table" || kind == "data_table" || kind == "plan") {
		c.add(at, "only one %s is allowed", kind)
	}
	if id := text(m, "action_id"); id != "" {
		if c.actionIDs[id] {
			c.add(at+"/action_id", "`action_id` already exists in this block: %s", id)
		}
		c.actionIDs[id] = true
	}
	if m["focus_on_load"] == true {
		c.focus++
		if c.focus > 1 {
			c.add(at+"/focus_on_load", "only one element may have the focus")
		}
	}
	if kind == "markdown" {
		if c.markdown += chars(text(m, "text")); c.markdown > 12_000 {
			c.add(at+"/text", "must be less than 12001 characters in all markdown blocks together")
		}
	}
}
