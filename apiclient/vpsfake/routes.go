package vpsfake

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// reply is an answer before it is put on the wire. A nil body sends none.
type reply struct {
	status int
	body   any
	// acted says that something was changed.
	acted bool
}

func detail(status int, text string) reply {
	return reply{status: status, body: map[string]string{"detail": text}}
}

func notFound(what string) reply { return detail(http.StatusNotFound, what+" does not exist.") }

// route is a matched request.
type route struct {
	effect Effect // "" for a read
	// do answers; the lock is held and time has been settled.
	do func(r *http.Request, body []byte) reply
}

// ServeHTTP answers under BasePath like the real API: 301 for a path without
// its last slash, then 401, 404 and 405, then the call itself.
func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The whole body is read before anything else, so that the server notices when
	// the client goes away.
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, BasePath+"/")
	switch {
	case !ok:
		write(w, detail(http.StatusNotFound, "Not found."))
		return
	case !strings.HasSuffix(path, "/"):
		target := *r.URL
		target.Path += "/"
		w.Header().Set("Location", target.RequestURI())
		w.WriteHeader(http.StatusMovedPermanently)
		return
	case r.Header.Get("Authorization") != "Bearer "+f.o.Token:
		write(w, detail(http.StatusUnauthorized, "Authentication token is invalid or missing."))
		return
	}
	match, known := f.match(r.Method, strings.Split(strings.TrimSuffix(path, "/"), "/"))
	switch {
	case !known:
		write(w, detail(http.StatusNotFound, "Not found."))
		return
	case match.do == nil:
		write(w, detail(http.StatusMethodNotAllowed, "Method \""+r.Method+"\" not allowed."))
		return
	}
	f.serve(w, r, match, body)
}

// serve records the request, plays the fault that is due, and answers.
func (f *Fake) serve(w http.ResponseWriter, r *http.Request, match route, body []byte) {
	number, m := f.record(r, match.effect, body)
	if match.effect != "" && f.o.OnMutation != nil {
		f.o.OnMutation(m)
	}
	fault := f.due(r)
	if fault != nil && match.effect != "" {
		f.mu.Lock()
		f.mutations[number].Fault = fault.Name
		f.mu.Unlock()
	}
	act := func() reply {
		f.mu.Lock()
		f.settle()
		f.quirk = ""
		if fault != nil {
			f.quirk = fault.Name
		}
		answer := match.do(r, body)
		if match.effect != "" {
			f.mutations[number].Acted = answer.acted
			m.Acted = answer.acted
		}
		f.mu.Unlock()
		if answer.acted && f.o.AfterMutation != nil {
			f.o.AfterMutation(m)
		}
		return answer
	}
	if fault == nil {
		write(w, act())
		return
	}
	f.play(w, r, fault, act)
}

// match finds the call for a method and the path's segments. known tells whether
// the path exists at all.
func (f *Fake) match(method string, seg []string) (match route, known bool) {
	verbs := map[string]route{}
	id := int64(0)
	if len(seg) > 1 && seg[0] != "account" {
		var err error
		if id, err = strconv.ParseInt(seg[1], 10, 64); err != nil || id <= 0 {
			return route{}, false
		}
	}
	shape := seg[0]
	for i, s := range seg[1:] {
		if i == 0 && id > 0 {
			s = "*"
		}
		shape += "/" + s
	}
	switch shape {
	case "account/me":
		verbs["GET"] = route{do: f.readAccount}
	case "servers":
		verbs["GET"] = route{do: f.listServers}
	case "servers/*/restore":
		verbs["POST"] = route{Overwrite, func(_ *http.Request, b []byte) reply { return f.restoreBackup(id, b) }}
	case "snapshots":
		verbs["GET"] = route{do: f.listSnapshots}
		verbs["POST"] = route{Create, func(_ *http.Request, b []byte) reply { return f.createSnapshot(b) }}
	case "snapshots/*":
		verbs["DELETE"] = route{Delete, func(*http.Request, []byte) reply { return remove(f.snapshots, id, "Snapshot") }}
	case "snapshots/*/restore":
		verbs["POST"] = route{Overwrite, func(*http.Request, []byte) reply { return f.restoreSnapshot(id) }}
	case "backups":
		verbs["GET"] = route{do: f.listBackups}
		verbs["POST"] = route{Create, func(_ *http.Request, b []byte) reply { return f.createBackup(b) }}
	case "backups/*":
		verbs["DELETE"] = route{Delete, func(*http.Request, []byte) reply { return remove(f.backups, id, "Backup") }}
	default:
		return route{}, false
	}
	return verbs[method], true
}

func write(w http.ResponseWriter, answer reply) {
	if answer.body == nil {
		w.WriteHeader(answer.status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(answer.status)
	// The client may have gone: there is nobody to tell.
	_, _ = w.Write(encode(answer.body))
}

// encode writes JSON as the documentation prints it, less the line breaks.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
