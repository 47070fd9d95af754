package slackfake

import (
	"fmt"
	"slices"
)

// Surface is what a person can act on: a [Message] or a [View].
type Surface interface {
	// Buttons returns what can be pressed, in order.
	Buttons() []Button
	// String is the surface as a person sees it.
	String() string

	surface() ([]map[string]any, *Fake)
}

// Button is what can be pressed.
type Button struct {
	Block, Action, Text, Value, Style, URL string
	// Label is what a screen reader says instead of Text.
	Label string
	// Confirm is the question asked before, "" for none.
	Confirm string
	// VisibleTo are the only ones who see it; nil means all.
	VisibleTo []string
}

// Buttons returns the message's buttons, in order.
func (m Message) Buttons() []Button { return buttons(m.Blocks) }

// Buttons returns the buttons in the view, in order; submit and close are not among
// them.
func (v View) Buttons() []Button { return buttons(v.Blocks) }

func (m Message) surface() ([]map[string]any, *Fake) { return m.Blocks, m.f }
func (v View) surface() ([]map[string]any, *Fake)    { return v.Blocks, v.f }

// spot is something in a surface that a person can act on.
type spot struct {
	block, action, kind string
	element             map[string]any
	// input is the block around it where that is an input block.
	input map[string]any
}

// interactive finds everything with an action_id in blocks, also deep within.
func interactive(blocks []map[string]any) []spot {
	var out []spot
	for _, b := range blocks {
		id := text(b, "block_id")
		var input map[string]any
		if text(b, "type") == "input" {
			input = b
		}
		n := 0
		walk(b, func(m map[string]any) {
			kind := text(m, "type")
			if _, known := elementShapes[kind]; !known || kind == "image" {
				return
			}
			action := text(m, "action_id")
			if action == "" {
				// Slack makes one up.
				action = fmt.Sprintf("a%d", n)
			}
			n++
			out = append(out, spot{block: id, action: action, kind: kind, element: m, input: input})
		})
	}
	return out
}

// walk visits every object below v, in the order of the lists they are in.
func walk(v any, visit func(map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		visit(v)
		for _, key := range []string{"accessory", "element", "elements", "actions", "child_blocks", "rows", "tasks", "button"} {
			if v[key] != nil {
				walk(v[key], visit)
			}
		}
	case []any:
		for _, x := range v {
			walk(x, visit)
		}
	}
}

func buttons(blocks []map[string]any) []Button {
	var out []Button
	for _, s := range interactive(blocks) {
		if s.kind != "button" {
			continue
		}
		b := Button{
			Block: s.block, Action: s.action, Text: text(s.element, "text", "text"), Value: text(s.element, "value"),
			Style: text(s.element, "style"), URL: text(s.element, "url"), Label: text(s.element, "accessibility_label"),
		}
		if c, ok := s.element["confirm"].(map[string]any); ok {
			b.Confirm = text(c, "title", "text") + ": " + text(c, "text", "text")
		}
		if ids, ok := s.element["visible_to_user_ids"].([]any); ok {
			for _, id := range ids {
				b.VisibleTo = append(b.VisibleTo, fmt.Sprint(id))
			}
		}
		out = append(out, b)
	}
	return out
}

// locate finds the one thing a person means. block may be "".
func locate(on Surface, block, action string) spot {
	blocks, f := on.surface()
	if f == nil {
		panic("slackfake: a Message or View that no Fake has returned")
	}
	found := slices.DeleteFunc(interactive(blocks), func(s spot) bool {
		return s.action != action || block != "" && s.block != block
	})
	switch len(found) {
	case 0:
		panic(fmt.Sprintf("slackfake: there is no %q (block %q) in:\n%s", action, block, on))
	case 1:
		return found[0]
	default:
		panic(fmt.Sprintf("slackfake: %d elements are called %q; name the block, in:\n%s", len(found), action, on))
	}
}

// initial is the state of an element nobody has touched.
func initial(e map[string]any) map[string]any {
	kind := text(e, "type")
	out := map[string]any{"type": kind}
	switch kind {
	case "plain_text_input", "number_input", "email_text_input", "url_text_input":
		out["value"] = e["initial_value"]
	case "static_select", "external_select", "radio_buttons", "overflow":
		out["selected_option"] = e["initial_option"]
	case "checkboxes", "multi_static_select", "multi_external_select":
		out["selected_options"] = []any{}
		if e["initial_options"] != nil {
			out["selected_options"] = e["initial_options"]
		}
	case "users_select":
		out["selected_user"] = e["initial_user"]
	case "conversations_select":
		out["selected_conversation"] = e["initial_conversation"]
	case "channels_select":
		out["selected_channel"] = e["initial_channel"]
	case "datepicker":
		out["selected_date"] = e["initial_date"]
	case "timepicker":
		out["selected_time"] = e["initial_time"]
	}
	return out
}
