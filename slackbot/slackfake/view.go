package slackfake

import (
	"encoding/json"
	"slices"
	"strings"
)

// View is a modal as it is at the moment it was asked for.
type View struct {
	ID, Hash, CallbackID, ExternalID, PrivateMetadata string
	// User is who sees it.
	User string
	// Root is the first view of the stack it is in, Previous the one below, "" for the
	// first.
	Root, Previous string
	// Title, Submit and Close are its captions; Submit is "" where there is nothing to
	// submit.
	Title, Submit, Close string
	Blocks               []map[string]any
	// Errors are what the app had against the last submission, by block.
	Errors map[string]string
	// Versions is how often it was written.
	Versions int

	f *Fake
}

// view is a modal.
type view struct {
	View
	raw           map[string]any
	notifyOnClose bool
	clearOnClose  bool
	closed        bool
	// values are what was filled in, by block and action.
	values map[string]map[string]map[string]any
}

// maxView is the size from which on a view is too large.
const maxView = 250 * 1000

// maxStack is how many views lie on each other.
const maxStack = 3

// Views returns the modals a user has open, the one on top last.
func (f *Fake) Views(user string) []View {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []View
	for _, v := range f.stack(user) {
		out = append(out, v.View)
	}
	return out
}

// View returns the modal on top of those a user has open, and false if there is none.
func (f *Fake) View(user string) (View, bool) {
	open := f.Views(user)
	if len(open) == 0 {
		return View{}, false
	}
	return open[len(open)-1], true
}

// stack returns a user's open views. The lock is held.
func (f *Fake) stack(user string) []*view {
	var out []*view
	for _, v := range f.views {
		if v.User == user && !v.closed {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b *view) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// checkView tells what is wrong with a view. Pointers start at /view.
func checkView(m map[string]any) problems {
	c := newCheck(true)
	s := shape{fields: map[string]rule{
		"title": plain(24), "submit": plain(24), "close": plain(24), "private_metadata": length(0, 3000),
		"callback_id": length(0, 255), "external_id": length(0, 255), "blocks": anything, "clear_on_close": boolean,
		"notify_on_close": boolean, "submit_disabled": boolean,
	}, must: []string{"title", "blocks"}}
	if kind := text(m, "type"); kind != "modal" {
		c.add("/view/type", "must be modal")
	}
	s.check(c, m, "/view")
	blocks, ok := m["blocks"].([]any)
	if !ok && m["blocks"] != nil {
		c.add("/view/blocks", "must be an array")
	}
	c.blocks(blocks, 100, "/view/blocks")
	if c.counts["input"] > 0 && m["submit"] == nil {
		c.add("/view", "missing required field: submit")
	}
	return c.problems
}

// readView reads and checks the view of a call or of an acknowledgement. The lock is
// held.
func (f *Fake) readView(v any, what string) (map[string]any, answer) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, problems{"must provide an object [json-pointer:/view]"}.answer("invalid_arguments")
	}
	m = copyJSON(m)
	b, err := json.Marshal(m)
	if err != nil || len(b) > maxView {
		f.violate("too-long", "%s: a view of %d bytes", what, len(b))
		return nil, fail("view_too_large")
	}
	if wrong := checkView(m); len(wrong) > 0 {
		f.violate("invalid-view", "%s: %s", what, strings.Join(wrong, "; "))
		return nil, wrong.answer("invalid_arguments")
	}
	for _, b := range objects(m["blocks"]) {
		if text(b, "block_id") == "" {
			b["block_id"] = f.id("b")
		}
	}
	return m, nil
}

// fill makes the view be what m says and gives it a new hash. What was filled in stays
// where block and action are still there. The lock is held.
func (f *Fake) fill(v *view, m map[string]any) {
	v.raw = m
	v.Title, v.Submit, v.Close = text(m, "title", "text"), text(m, "submit", "text"), text(m, "close", "text")
	v.CallbackID, v.ExternalID, v.PrivateMetadata = text(m, "callback_id"), text(m, "external_id"), text(m, "private_metadata")
	v.notifyOnClose, v.clearOnClose = m["notify_on_close"] == true, m["clear_on_close"] == true
	v.Blocks = objects(m["blocks"])
	v.Hash = f.ts() + "." + f.id("h")
	v.Versions++
	v.Errors = nil
	old := v.values
	v.values = map[string]map[string]map[string]any{}
	for _, x := range interactive(v.Blocks) {
		value := initial(x.element)
		if kept, ok := old[x.block][x.action]; ok {
			value = kept
		}
		if v.values[x.block] == nil {
			v.values[x.block] = map[string]map[string]any{}
		}
		v.values[x.block][x.action] = value
	}
}

// show opens a view for a user, on top of below where that is not nil. The lock is
// held.
func (f *Fake) show(user string, m map[string]any, below *view) *view {
	v := &view{View: View{ID: f.id("V"), User: user, f: f}}
	v.Root = v.ID
	if below != nil {
		v.Root, v.Previous = below.Root, below.ID
	}
	f.fill(v, m)
	f.views[v.ID] = v
	return v
}

// json is the view as Slack shows it to apps.
func (v *view) json() map[string]any {
	m := map[string]any{
		"type": "modal", "submit": nil, "close": nil, "private_metadata": "", "callback_id": "", "external_id": "",
		"clear_on_close": false, "notify_on_close": false,
	}
	for key, x := range v.raw {
		m[key] = x
	}
	m["id"], m["team_id"], m["app_id"], m["bot_id"] = v.ID, Team, App, BotID
	m["app_installed_team_id"] = Team
	m["hash"], m["root_view_id"], m["previous_view_id"] = v.Hash, v.Root, nil
	if v.Previous != "" {
		m["previous_view_id"] = v.Previous
	}
	values := map[string]map[string]any{}
	for _, x := range interactive(v.Blocks) {
		if x.kind == "button" {
			continue
		}
		if values[x.block] == nil {
			values[x.block] = map[string]any{}
		}
		values[x.block][x.action] = v.values[x.block][x.action]
	}
	m["state"] = map[string]any{"values": values}
	return copyJSON(m)
}
