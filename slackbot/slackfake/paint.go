package slackfake

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// painter writes blocks down as text.
type painter struct {
	names map[string]string
	in    *time.Location
}

func (p painter) mrkdwn(s string) string { return markup(s, p.names, p.in) }

// object shows a text object.
func (p painter) object(v any) string {
	m, _ := v.(map[string]any)
	if text(m, "type") == "mrkdwn" {
		return p.mrkdwn(text(m, "text"))
	}
	return text(m, "text")
}

func (p painter) blocks(blocks []map[string]any) string {
	var lines []string
	for _, b := range blocks {
		if s := p.block(b); s != "" {
			lines = append(lines, s)
		}
	}
	return strings.Join(lines, "\n")
}

func (p painter) block(b map[string]any) string {
	switch text(b, "type") {
	case "header":
		return "# " + p.object(b["text"])
	case "divider":
		return "---"
	case "section":
		return p.section(b)
	case "context":
		return p.join(b["elements"], " · ")
	case "actions":
		return p.join(b["elements"], " ")
	case "input":
		s := p.object(b["label"]) + ": " + p.element(b["element"])
		if b["optional"] == true {
			s = p.object(b["label"]) + " (optional): " + p.element(b["element"])
		}
		if b["hint"] != nil {
			s += "\n  " + p.object(b["hint"])
		}
		return s
	case "markdown":
		return p.mrkdwn(text(b, "text"))
	case "alert":
		return "(!) " + p.object(b["text"])
	case "image":
		return "[image: " + text(b, "alt_text") + "]"
	case "table", "data_table":
		return p.table(b)
	default:
		return p.deep(b)
	}
}

func (p painter) section(b map[string]any) string {
	var parts []string
	if b["text"] != nil {
		parts = append(parts, p.object(b["text"]))
	}
	for _, field := range objects(b["fields"]) {
		parts = append(parts, "| "+p.object(field))
	}
	if b["accessory"] != nil {
		parts[len(parts)-1] += " " + p.element(b["accessory"])
	}
	return strings.Join(parts, "\n")
}

func (p painter) join(v any, between string) string {
	var out []string
	for _, e := range objects(v) {
		out = append(out, p.element(e))
	}
	return strings.Join(out, between)
}

func (p painter) element(v any) string {
	m, _ := v.(map[string]any)
	switch kind := text(m, "type"); kind {
	case "mrkdwn", "plain_text":
		return p.object(m)
	case "button", "icon_button", "workflow_button":
		return "[" + p.object(m["text"]) + "]"
	case "image":
		return "[image: " + text(m, "alt_text") + "]"
	case "static_select", "radio_buttons", "checkboxes", "overflow", "multi_static_select":
		var names []string
		for _, o := range append(objects(m["options"]), grouped(m)...) {
			names = append(names, p.object(o["text"]))
		}
		return "<" + strings.Join(names, " / ") + ">"
	default:
		if m["placeholder"] != nil {
			return "<" + p.object(m["placeholder"]) + ">"
		}
		return "<" + kind + ">"
	}
}

func grouped(m map[string]any) []map[string]any {
	var out []map[string]any
	for _, g := range objects(m["option_groups"]) {
		out = append(out, objects(g["options"])...)
	}
	return out
}

func (p painter) table(b map[string]any) string {
	var lines []string
	if s := text(b, "caption"); s != "" {
		lines = append(lines, s)
	}
	rows, _ := b["rows"].([]any)
	for _, row := range rows {
		cells, _ := row.([]any)
		var out []string
		for _, c := range cells {
			m, _ := c.(map[string]any)
			out = append(out, p.deep(m))
		}
		lines = append(lines, strings.Join(out, " | "))
	}
	return strings.Join(lines, "\n")
}

// deep shows every text within.
func (p painter) deep(b map[string]any) string {
	var out []string
	walkAll(b, func(m map[string]any) {
		switch kind := text(m, "type"); {
		case kind == "mrkdwn", kind == "plain_text":
			out = append(out, p.object(m))
		case m["text"] != nil:
			if s, ok := m["text"].(string); ok {
				out = append(out, s)
			}
		case kind == "user":
			out = append(out, p.mrkdwn("<@"+text(m, "user_id")+">"))
		case kind == "link":
			out = append(out, text(m, "url"))
		case m["value"] != nil && kind == "raw_number":
			out = append(out, fmt.Sprint(m["value"]))
		}
	})
	return strings.Join(out, "")
}

// walkAll visits every object below v; those in maps in the order of their keys.
func walkAll(v any, visit func(map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		visit(v)
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			walkAll(v[k], visit)
		}
	case []any:
		for _, x := range v {
			walkAll(x, visit)
		}
	}
}
