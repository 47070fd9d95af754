package slackfake

import (
	"encoding/json"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// answer is the body of an answer of the Web API.
type answer map[string]any

func fail(code string) answer { return answer{"ok": false, "error": code} }

func (a answer) code() string {
	code, _ := a["error"].(string)
	return code
}

// method is one of the Web API. do is called with the lock held.
type method struct {
	do func(*Fake, args) answer
	// scopes are the ones that suffice, each for itself; none for no scope.
	scopes []string
	// limit applies where Options.Limits say nothing.
	limit Limit
	// app is called with the app-level token.
	app bool
}

var methods map[string]method

func init() {
	read := []string{"channels:read", "groups:read", "im:read", "mpim:read"}
	write := []string{"chat:write"}
	methods = map[string]method{
		"apps.connections.open": {do: (*Fake).connectionsOpen, limit: Limit{100, time.Minute}, app: true},
		"auth.test":             {do: (*Fake).authTest},
		"chat.delete":           {do: (*Fake).chatDelete, scopes: write, limit: tier3},
		"chat.getPermalink":     {do: (*Fake).chatPermalink},
		"chat.postEphemeral":    {do: (*Fake).chatPostEphemeral, scopes: write, limit: tier4},
		"chat.postMessage":      {do: (*Fake).chatPostMessage, scopes: write, limit: Limit{1, time.Second}},
		"chat.update":           {do: (*Fake).chatUpdate, scopes: write, limit: tier3},
		"conversations.info":    {do: (*Fake).conversationsInfo, scopes: read, limit: tier3},
		"conversations.join":    {do: (*Fake).conversationsJoin, scopes: []string{"channels:join"}, limit: tier3},
		"conversations.members": {do: (*Fake).conversationsMembers, scopes: read, limit: tier4},
		"conversations.open":    {do: (*Fake).conversationsOpen, scopes: []string{"im:write"}, limit: tier3},
		"usergroups.list":       {do: (*Fake).usergroupsList, scopes: []string{"usergroups:read"}, limit: tier2},
		"usergroups.users.list": {do: (*Fake).usergroupsUsersList, scopes: []string{"usergroups:read"}, limit: tier2},
		"users.info":            {do: (*Fake).usersInfo, scopes: []string{"users:read"}, limit: tier4},
		"views.open":            {do: (*Fake).viewsOpen, limit: tier4},
		"views.push":            {do: (*Fake).viewsPush, limit: tier4},
		"views.update":          {do: (*Fake).viewsUpdate, limit: tier4},
		"api.test":              {do: func(*Fake, args) answer { return answer{"ok": true} }},
	}
}

func allScopes() []string {
	all := map[string]bool{"commands": true, "app_mentions:read": true}
	for _, m := range methods {
		for _, s := range m.scopes {
			all[s] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// Call is a call of the Web API or of a response URL, as it came in.
type Call struct {
	At     time.Time
	Method string
	// Args are strings where they came as a form; what is JSON within is decoded.
	Args map[string]any
	// Error is what it was answered with, "" for ok.
	Error string
}

// Calls returns the calls of a method so far; "" means all.
func (f *Fake) Calls(method string) []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []Call
	for _, c := range f.calls {
		if method == "" || c.Method == method {
			out = append(out, c)
		}
	}
	return out
}

// api answers one call of the Web API.
func (f *Fake) api(w http.ResponseWriter, r *http.Request, name string) {
	in, token, bad := readArgs(r)
	c := Call{At: f.o.Now(), Method: name, Args: in}
	act := func() answer {
		f.mu.Lock()
		defer f.mu.Unlock()
		out := f.carryOut(name, token, in, bad, w.Header())
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
	write(w, act())
}

// carryOut checks what Slack checks before a method does its work, in its order. The
// lock is held.
func (f *Fake) carryOut(name, token string, in args, bad string, h http.Header) answer {
	m, ok := methods[name]
	if !ok {
		f.violate("unknown-method", "%s is not known", name)
		return answer{"ok": false, "error": "unknown_method", "req_method": name}
	}
	if bad != "" {
		f.violate("malformed-call", "%s: %s", name, bad)
		return fail(bad)
	}
	if code := f.authenticate(m, token); code != "" {
		return fail(code)
	}
	if !m.app {
		h.Set("X-OAuth-Scopes", strings.Join(f.scopes, ","))
		h.Set("X-Accepted-OAuth-Scopes", strings.Join(m.scopes, ","))
	}
	if needed := f.missing(m, in); needed != "" {
		f.violate("missing-scope", "%s needs %s", name, needed)
		return answer{
			"ok": false, "error": "missing_scope", "needed": needed, "provided": strings.Join(f.scopes, ","),
		}
	}
	if wait := f.limit(name, m.limit, in); wait > 0 {
		return limited(wait)
	}
	return m.do(f, in)
}

func (f *Fake) authenticate(m method, token string) string {
	switch {
	case token == "":
		return "not_authed"
	case token != f.o.BotToken && token != f.o.AppToken:
		return "invalid_auth"
	case m.app != (token == f.o.AppToken):
		return "not_allowed_token_type"
	case m.app:
		return f.noSocket
	default:
		return f.revoked
	}
}

// missing names the scope a call lacks. conversations.* want the one that fits the
// channel's kind.
func (f *Fake) missing(m method, in args) string {
	if len(m.scopes) == 0 {
		return ""
	}
	accepted := m.scopes
	if len(accepted) > 1 {
		kind := "channels:read"
		if c := f.channels[in.str("channel")]; c != nil && c.Direct {
			kind = "im:read"
		} else if c != nil && c.Private {
			kind = "groups:read"
		}
		accepted = []string{kind}
	}
	for _, s := range accepted {
		if slices.Contains(f.scopes, s) {
			return ""
		}
	}
	return strings.Join(accepted, ",")
}

// args are the arguments of a call.
type args map[string]any

// readArgs reads a form or a JSON object, and the token. bad is Slack's word for what
// is wrong with the body.
func readArgs(r *http.Request) (in args, token, bad string) {
	in = args{}
	token, _ = strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	body, err := io.ReadAll(io.LimitReader(r.Body, 8<<20))
	if err != nil {
		return in, token, "request_timeout"
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	form := r.URL.Query()
	switch {
	case kind == "application/json":
		if len(body) > 0 && json.Unmarshal(body, &in) != nil {
			var other any
			if json.Unmarshal(body, &other) != nil {
				return args{}, token, "invalid_json"
			}
			return args{}, token, "json_not_object"
		}
		if in == nil {
			in = args{}
		}
	case kind == "application/x-www-form-urlencoded":
		posted, err := url.ParseQuery(string(body))
		if err != nil {
			return in, token, "invalid_form_data"
		}
		maps.Copy(form, posted)
	case len(body) > 0:
		return in, token, "invalid_post_type"
	}
	for k, v := range form {
		in[k] = v[len(v)-1]
	}
	if t, ok := in["token"].(string); ok && token == "" && kind != "application/json" {
		token = t
	}
	delete(in, "token")
	for _, k := range []string{"blocks", "view", "metadata", "attachments"} {
		s, ok := in[k].(string)
		if !ok || s == "" {
			continue
		}
		var v any
		if json.Unmarshal([]byte(s), &v) == nil {
			in[k] = v
		}
	}
	return in, token, ""
}

func (a args) str(key string) string {
	s, _ := a[key].(string)
	return s
}

func (a args) yes(key string) bool {
	switch v := a[key].(type) {
	case bool:
		return v
	case string:
		return v == "true" || v == "1"
	default:
		return false
	}
}

// write sends an answer; one that was rate-limited has its own status.
func write(w http.ResponseWriter, a answer) {
	status := http.StatusOK
	if after, ok := a["retry_after"].(string); ok {
		delete(a, "retry_after")
		w.Header().Set("Retry-After", after)
		status = http.StatusTooManyRequests
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(a)
}
