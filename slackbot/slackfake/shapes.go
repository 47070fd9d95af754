package slackfake

import "slices"

// The limits stand in Slack's reference of Block Kit, and in the comments of its
// package @slack/types.
var blockShapes, elementShapes map[string]shape

var (
	selects = []string{
		"static_select", "external_select", "users_select", "conversations_select", "channels_select",
		"multi_static_select", "multi_external_select", "multi_users_select", "multi_conversations_select",
		"multi_channels_select",
	}
	pickers     = []string{"datepicker", "timepicker", "datetimepicker", "checkboxes", "radio_buttons"}
	typed       = []string{"plain_text_input", "number_input", "email_text_input", "url_text_input", "rich_text_input"}
	pressed     = []string{"button", "overflow", "workflow_button"}
	inActions   = slices.Concat(pressed, selects, pickers, []string{"rich_text_input"})
	inSection   = slices.Concat(pressed, selects, pickers, []string{"image"})
	inInput     = slices.Concat(typed, selects, pickers, []string{"file_input"})
	multi       = selects[5:]
	actionID    = length(1, 255)
	accessLabel = length(1, 75)
)

var confirmation = shape{
	fields: map[string]rule{
		"title": plain(100), "text": either(300), "confirm": plain(30), "deny": plain(30),
		"style": oneOf("primary", "danger"),
	},
	must: []string{"title", "text", "confirm", "deny"},
}

// option is an option of a menu; markdown is for checkboxes and radio buttons.
func option(markdown bool) rule {
	words := plain
	if markdown {
		words = either
	}
	return object(shape{
		fields: map[string]rule{
			"text": words(75), "value": length(1, 75), "description": words(75), "url": webAddress,
		},
		must: []string{"text", "value"},
	})
}

var optionGroup = object(shape{
	fields: map[string]rule{"label": plain(75), "options": list(1, 100, option(false))},
	must:   []string{"label", "options"},
})

func element(kinds ...string) rule {
	return oneType(func() map[string]shape { return elementShapes }, kinds...)
}

func block(s shape) shape {
	s.fields["block_id"] = length(0, 255)
	return s
}

func init() {
	elementShapes = elements()
	blockShapes = map[string]shape{
		"section": block(shape{fields: map[string]rule{
			"text": either(3000), "fields": list(1, 10, either(2000)), "accessory": element(inSection...), "expand": boolean,
		}, either: []string{"text", "fields"}}),
		"divider": block(shape{fields: map[string]rule{}}),
		"header":  block(shape{fields: map[string]rule{"text": plain(150), "level": whole(1, 4)}, must: []string{"text"}}),
		"actions": block(shape{
			fields: map[string]rule{"elements": list(1, 25, element(inActions...))}, must: []string{"elements"},
		}),
		"context": block(shape{fields: map[string]rule{"elements": list(1, 10, contextElement)}, must: []string{"elements"}}),
		"image": block(shape{fields: map[string]rule{
			"image_url": webAddress, "slack_file": anything, "alt_text": length(1, 2000), "title": plain(2000),
		}, must: []string{"alt_text"}, either: []string{"image_url", "slack_file"}, xor: true}),
		"input": block(shape{fields: map[string]rule{
			"label": plain(2000), "element": element(inInput...), "hint": plain(2000), "optional": boolean,
			"dispatch_action": boolean,
		}, must: []string{"label", "element"}}),
		"rich_text": block(shape{fields: map[string]rule{"elements": list(1, 1000, richText)}, must: []string{"elements"}}),
		"markdown":  block(shape{fields: map[string]rule{"text": length(1, 12_000)}, must: []string{"text"}}),
		"table": block(shape{fields: map[string]rule{
			"rows": list(1, 100, list(1, 20, anything)), "column_settings": list(0, 20, anything),
		}, must: []string{"rows"}, only: "message"}),
		"alert": block(shape{
			fields: map[string]rule{"text": either(3000), "level": oneOf("default", "info", "warning", "error", "success")},
			must:   []string{"text"}, only: "modal",
		}),
	}
	for kind, s := range newerBlocks() {
		blockShapes[kind] = block(s)
	}
}

// newerBlocks are checked for what their reference gives as limits, not to the end.
func newerBlocks() map[string]shape {
	return map[string]shape{
		"task_card": {fields: map[string]rule{
			"task_id": length(1, 255), "title": anything, "status": oneOf("pending", "in_progress", "complete", "error"),
			"details": anything, "output": anything, "sources": anything, "hide_title": boolean,
		}, must: []string{"task_id"}},
		"plan": {fields: map[string]rule{"title": anything, "tasks": anything}},
		"card": {fields: map[string]rule{
			"title": either(150), "subtitle": either(150), "body": either(200), "subtext": either(200), "icon": anything,
			"slack_icon": anything, "hero_image": anything, "actions": list(1, 25, element("button")),
		}, either: []string{"hero_image", "title", "actions", "body"}},
		"carousel": {fields: map[string]rule{"elements": list(1, 10, anything)}, must: []string{"elements"}},
		"container": {fields: map[string]rule{
			"title": plain(150), "rich_text_title": anything, "subtitle": either(150), "icon": anything,
			"child_blocks": list(1, 10, oneType(func() map[string]shape { return blockShapes }, "actions", "context", "divider",
				"header", "image", "input", "rich_text", "section", "table", "video")),
			"width": oneOf("narrow", "standard", "wide", "full"), "is_collapsible": boolean, "default_collapsed": boolean,
			"has_header_divider": boolean,
		}, must: []string{"child_blocks"}, either: []string{"title", "rich_text_title"}},
		"context_actions": {fields: map[string]rule{
			"elements": list(1, 5, element("feedback_buttons", "icon_button")),
		}, must: []string{"elements"}, only: "message"},
		"data_table": {fields: map[string]rule{
			"caption": length(1, 255), "rows": list(1, 1000, list(1, 20, anything)), "page_size": whole(1, 100),
			"row_header_column_index": whole(0, 19),
		}, must: []string{"rows", "caption"}, only: "message"},
		"video": {fields: map[string]rule{
			"alt_text": length(1, 2000), "title": plain(199), "title_url": webAddress, "description": plain(200),
			"video_url": webAddress, "thumbnail_url": webAddress, "author_name": length(1, 49), "provider_name": anything,
			"provider_icon_url": webAddress,
		}, must: []string{"alt_text", "title", "video_url", "thumbnail_url"}},
	}
}

func elements() map[string]shape {
	out := map[string]shape{
		"button": {fields: map[string]rule{
			"text": plain(75), "value": length(0, 2000), "url": webAddress, "style": oneOf("primary", "danger"),
			"accessibility_label": accessLabel, "visible_to_user_ids": list(1, 100, length(1, 255)),
		}, must: []string{"text"}},
		"workflow_button": {fields: map[string]rule{
			"text": plain(75), "workflow": anything, "style": oneOf("primary", "danger"), "accessibility_label": accessLabel,
		}, must: []string{"text", "workflow"}},
		"overflow":      {fields: map[string]rule{"options": list(1, 5, option(false))}, must: []string{"options"}},
		"checkboxes":    {fields: map[string]rule{"options": list(1, 10, option(true)), "initial_options": list(1, 10, option(true))}, must: []string{"options"}},
		"radio_buttons": {fields: map[string]rule{"options": list(1, 10, option(true)), "initial_option": option(true)}, must: []string{"options"}},
		"image": {fields: map[string]rule{
			"image_url": webAddress, "slack_file": anything, "alt_text": length(1, 2000),
		}, must: []string{"alt_text"}, either: []string{"image_url", "slack_file"}, xor: true},
		"datepicker":     {fields: map[string]rule{"initial_date": length(10, 10)}},
		"timepicker":     {fields: map[string]rule{"initial_time": length(5, 5), "timezone": anything}},
		"datetimepicker": {fields: map[string]rule{"initial_date_time": anything}},
		"plain_text_input": {fields: map[string]rule{
			"initial_value": length(0, 3000), "multiline": boolean, "min_lines": whole(1, 100), "max_lines": whole(1, 100), "min_length": whole(0, 3000), "max_length": whole(1, 3000),
		}},
		"number_input": {fields: map[string]rule{
			"is_decimal_allowed": boolean, "initial_value": anything, "min_value": anything, "max_value": anything,
		}, must: []string{"is_decimal_allowed"}},
		"email_text_input": {fields: map[string]rule{"initial_value": anything}},
		"url_text_input":   {fields: map[string]rule{"initial_value": anything}},
		"rich_text_input":  {fields: map[string]rule{"initial_value": anything}},
		"file_input":       {fields: map[string]rule{"filetypes": anything, "max_files": whole(1, 10)}},
		"feedback_buttons": {fields: map[string]rule{"positive_button": anything, "negative_button": anything}, must: []string{"positive_button", "negative_button"}},
		"icon_button": {fields: map[string]rule{
			"icon": anything, "text": plain(75), "value": length(0, 2000), "accessibility_label": accessLabel,
			"visible_to_user_ids": list(1, 100, length(1, 255)),
		}, must: []string{"icon", "text"}},
	}
	for _, kind := range selects {
		out[kind] = menu(kind)
	}
	for kind, s := range out {
		if kind == "image" {
			continue
		}
		s.fields["action_id"] = actionID
		s.fields["confirm"] = object(confirmation)
		if !slices.Contains(pressed, kind) {
			s.fields["focus_on_load"] = boolean
			s.fields["placeholder"] = plain(150)
		}
		if slices.Contains(typed, kind) {
			s.fields["dispatch_action_config"] = anything
			delete(s.fields, "confirm")
		}
	}
	return out
}

// menu is the shape of a select menu.
func menu(kind string) shape {
	s := shape{fields: map[string]rule{}}
	if slices.Contains(multi, kind) {
		s.fields["max_selected_items"] = whole(1, 100)
	}
	switch kind {
	case "static_select", "multi_static_select":
		s.fields["options"] = list(1, 100, option(false))
		s.fields["option_groups"] = list(1, 100, optionGroup)
		s.either, s.xor = []string{"options", "option_groups"}, true
		s.fields["initial_option"], s.fields["initial_options"] = option(false), list(1, 100, option(false))
	case "external_select", "multi_external_select":
		s.fields["min_query_length"] = whole(0, 1000)
		s.fields["initial_option"], s.fields["initial_options"] = option(false), list(1, 100, option(false))
	default:
		for _, key := range []string{
			"initial_user", "initial_users", "initial_channel", "initial_channels", "initial_conversation",
			"initial_conversations", "default_to_current_conversation", "response_url_enabled", "filter",
		} {
			s.fields[key] = anything
		}
	}
	return s
}

func contextElement(c *check, v any, at string) {
	m, ok := v.(map[string]any)
	if ok && text(m, "type") == "image" {
		element("image")(c, v, at)
		return
	}
	either(3000)(c, v, at)
}

// richText checks that nothing in rich text is empty, which Slack refuses.
func richText(c *check, v any, at string) {
	m, ok := v.(map[string]any)
	if !ok {
		c.add(at, "must provide an object")
		return
	}
	switch kind := text(m, "type"); kind {
	case "rich_text_section", "rich_text_list", "rich_text_quote", "rich_text_preformatted":
		if _, ok := m["elements"].([]any); !ok {
			c.add(at, "missing required field: elements")
			return
		}
		list(0, 10_000, richText)(c, m["elements"], at+"/elements")
	case "text":
		length(1, 3000)(c, m["text"], at+"/text")
	case "link", "emoji", "user", "usergroup", "channel", "broadcast", "date", "color", "team":
	default:
		c.add(at+"/type", "unsupported type: %s", kind)
	}
}
