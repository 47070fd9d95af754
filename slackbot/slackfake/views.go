package slackfake

import (
	"time"
)

// trigger is a trigger_id: what a person's act entitles an app to show.
type trigger struct {
	user    string
	expires time.Time
	used    bool
	// view is the modal the person acted in, nil for none.
	view *view
}

// trigger makes a trigger_id. The lock is held.
func (f *Fake) trigger(user string, in *view) string {
	id := f.id("1") + ".0." + f.id("t")
	f.triggers[id] = &trigger{user: user, expires: f.o.Now().Add(TriggerLives), view: in}
	return id
}

// exchange uses a trigger_id up.
func (f *Fake) exchange(in args, what string) (*trigger, answer) {
	t := f.triggers[in.str("trigger_id")]
	switch {
	case t == nil:
		return nil, fail("invalid_trigger_id")
	case t.used:
		f.violate("trigger-reused", "%s: a trigger_id works once", what)
		return nil, fail("exchanged_trigger_id")
	case f.o.Now().After(t.expires):
		f.violate("trigger-late", "%s: %v after the trigger_id had expired", what, f.o.Now().Sub(t.expires))
		return nil, fail("expired_trigger_id")
	}
	t.used = true
	return t, nil
}

// external finds the view with an external id.
func (f *Fake) external(id string) *view {
	for _, v := range f.views {
		if id != "" && v.ExternalID == id && !v.closed {
			return v
		}
	}
	return nil
}

func (f *Fake) viewsOpen(in args) answer { return f.open(in, "views.open", false) }

func (f *Fake) viewsPush(in args) answer { return f.open(in, "views.push", true) }

func (f *Fake) open(in args, what string, push bool) answer {
	m, wrong := f.readView(in["view"], what)
	if wrong != nil {
		return wrong
	}
	if f.external(text(m, "external_id")) != nil {
		return fail("duplicate_external_id")
	}
	t, wrong := f.exchange(in, what)
	if wrong != nil {
		return wrong
	}
	var below *view
	stack := f.stack(t.user)
	switch {
	case push && (t.view == nil || t.view.closed):
		// Not documented: push belongs into a modal that is open.
		return fail("not_found")
	case push && len(stack) >= maxStack:
		return fail("push_limit_reached")
	case push:
		below = stack[len(stack)-1]
	default:
		// A modal takes the place of one that is open.
		for _, v := range stack {
			v.closed = true
		}
	}
	return answer{"ok": true, "view": f.show(t.user, m, below).json()}
}

func (f *Fake) viewsUpdate(in args) answer {
	v := f.views[in.str("view_id")]
	if v == nil {
		v = f.external(in.str("external_id"))
	}
	if v == nil || v.closed {
		return fail("not_found")
	}
	m, wrong := f.readView(in["view"], "views.update")
	if wrong != nil {
		return wrong
	}
	if hash := in.str("hash"); hash != "" && hash != v.Hash {
		return fail("hash_conflict")
	}
	if other := f.external(text(m, "external_id")); other != nil && other != v {
		return fail("duplicate_external_id")
	}
	f.fill(v, m)
	return answer{"ok": true, "view": v.json()}
}
