package slackfake

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// responseURL is what an app may answer a person's act with.
type responseURL struct {
	channel, user, parent string
	// on is the message that was acted on, nil for a command.
	on      *Message
	expires time.Time
	uses    int
}

// responseURL makes a response_url. The lock is held.
func (f *Fake) responseURL(channel, user, parent string, on *Message) string {
	id := f.id("R")
	f.responses[id] = &responseURL{
		channel: channel, user: user, parent: parent, on: on, expires: f.o.Now().Add(ResponseURLLives),
	}
	u := f.base()
	u.Path = "/response/" + Team + "/" + id
	return u.String()
}

// response answers a request to a response_url.
func (f *Fake) response(w http.ResponseWriter, r *http.Request) {
	in, _, bad := readArgs(r)
	c := Call{At: f.o.Now(), Method: "response_url", Args: in}
	act := func() answer {
		f.mu.Lock()
		defer f.mu.Unlock()
		out := fail(bad)
		if bad == "" {
			out = f.respond(r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:], in)
		}
		c.Error = out.code()
		f.calls = append(f.calls, c)
		f.notify()
		return out
	}
	f.mu.Lock()
	x := f.due(c, callFaults)
	f.mu.Unlock()
	if x != nil {
		f.play(w, r, x, c, act)
		return
	}
	out := act()
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	switch out.code() {
	case "":
	case "used_url", "expired_url":
		w.WriteHeader(http.StatusNotFound)
	default:
		w.WriteHeader(http.StatusBadRequest)
	}
	_ = json.NewEncoder(w).Encode(out)
}

// respond carries a request to a response_url out. The lock is held.
func (f *Fake) respond(id string, in args) answer {
	u := f.responses[id]
	switch {
	case u == nil:
		return fail("expired_url")
	case f.o.Now().After(u.expires):
		f.violate("response-url-late", "a response_url lives %v", ResponseURLLives)
		return fail("expired_url")
	case u.uses >= ResponseURLUses:
		f.violate("response-url-used-up", "a response_url works %d times", ResponseURLUses)
		return fail("used_url")
	}
	u.uses++
	return f.say(u, in, "response_url")
}

// say posts or changes what a response_url or an acknowledgement contains. The lock is
// held.
func (f *Fake) say(u *responseURL, in args, what string) answer {
	replace := in.yes("replace_original")
	if (replace || in.yes("delete_original")) && u.on == nil {
		f.violate("replace-without-original", "%s: what a person typed cannot be replaced", what)
		replace = false
	} else if in.yes("delete_original") {
		u.on.deleted = true
		return answer{"ok": true}
	}
	body, wrong := f.readContent(in, what)
	if wrong != nil {
		return wrong
	}
	kind := in.str("response_type")
	if kind == "" && !replace {
		f.violate("no-response-type", "%s: response_type is not set, and the default is ephemeral", what)
	}
	switch {
	case !body.hasText && len(body.blocks) == 0:
		return fail("no_text")
	case replace && u.on.deleted:
		return fail("message_not_found")
	case replace:
		f.revise(u.on, body)
	case kind == "in_channel":
		f.post(u.channel, Bot, f.parent(u, in), body)
	default:
		f.whisper(u.channel, u.user, f.parent(u, in), body)
	}
	return answer{"ok": true}
}

func (f *Fake) parent(u *responseURL, in args) string {
	if ts := in.str("thread_ts"); ts != "" {
		return ts
	}
	return u.parent
}
