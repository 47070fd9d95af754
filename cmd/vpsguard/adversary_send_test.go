package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// letter is one HTTP request.
type letter struct {
	by                *caller // nil for whoever's turn it is
	method, url, body string
	headers           []string
	asked             func(id json.RawMessage) // a form is shown while it is answered; nil to lie at once
}

// send sends a letter, and checks what must hold of every answer.
func (a *attacker) send(l letter) (*http.Response, string) {
	if l.by == nil {
		l.by = a.me()
	}
	req, err := http.NewRequestWithContext(a.t.Context(), l.method, l.url, strings.NewReader(l.body))
	require.NoError(a.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if l.by.token != "" {
		req.Header.Set("Authorization", "Bearer "+l.by.token)
	}
	for i := 0; i < len(l.headers); i += 2 {
		if l.headers[i] == "Host" {
			req.Host = l.headers[i+1]
		}
		req.Header.Set(l.headers[i], l.headers[i+1])
	}
	a.mu.Lock()
	a.count++
	l.by.used++
	if strings.Contains(l.body, `"tools/call"`) {
		l.by.calls++
	}
	a.sent = append(a.sent, l)
	a.acted[l.by] = true
	a.mu.Unlock()
	resp, err := a.http.Do(req)
	if !assert.NoError(a.t, err, "%.300s", l.body) {
		return &http.Response{}, ""
	}
	defer func() { _ = resp.Body.Close() }()
	body := a.read(l, resp)
	assert.NotEqual(a.t, http.StatusInternalServerError, resp.StatusCode, "%.300s\n%s", l.body, body)
	for _, never := range []string{`"kind":"internal"`, "panic", "goroutine "} {
		assert.NotContains(a.t, body, never, "%.300s", l.body)
	}
	a.discreet(body, "%.300s", l.body)
	return resp, body
}

var whyRefused = regexp.MustCompile(`orm approved nothing: ([^.\n]+)`)

// read reads an answer, and lies where that shows a form.
func (a *attacker) read(l letter, resp *http.Response) string {
	var body strings.Builder
	for events := bufio.NewReader(resp.Body); ; {
		line, err := events.ReadString('\n')
		body.WriteString(line)
		if data, event := strings.CutPrefix(line, "data:"); event && strings.Contains(data, `"method":"elicitation/create"`) && !strings.Contains(data, `"inputRequests"`) {
			a.lie(l, data)
		}
		if err != nil { // its end; a stream that was cut off is no matter
			break
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	text := body.String()
	if strings.Contains(text, `"input_required"`) {
		a.forms++
	}
	if why := whyRefused.FindStringSubmatch(text); why != nil && !slices.Contains(a.whys, why[1]) {
		a.whys = append(a.whys, why[1])
	}
	switch {
	case resp.StatusCode == http.StatusTooManyRequests, strings.Contains(text, "you call too often"):
		a.away++
	case strings.Contains(text, "that is the most"):
		a.full++
	}
	return text
}

// lie answers a form that was shown on the stream of a letter's answer.
func (a *attacker) lie(l letter, data string) {
	var form struct{ ID json.RawMessage }
	if !assert.NoError(a.t, json.Unmarshal([]byte(data), &form), data) {
		return
	}
	a.mu.Lock()
	a.forms++
	lie := lies[a.forms%len(lies)]
	a.mu.Unlock()
	if l.asked != nil {
		l.asked(form.ID)
	}
	a.reply(l.by, l.by.session, form.ID, lie)
}

// reply is what clients before 2026-07-28 answer to a form.
func (a *attacker) reply(by *caller, session string, id json.RawMessage, result string) {
	a.send(letter{
		by: by, method: http.MethodPost, url: a.url + "/mcp", headers: []string{"Mcp-Session-Id", session, "Mcp-Protocol-Version", "2025-11-25"},
		body: fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":%s}`, id, result),
	})
}

// tricks are what a call has beside what it should have: raw members of its
// params and of their _meta, and headers.
type tricks struct {
	params, meta string
	headers      []string
}

// call calls a tool, in the one era and the other by turns.
func (a *attacker) call(tool, args string, k tricks) {
	a.send(a.written(a.me(), a.count%2 == 1, tool, args, k))
}

// written is a call of a tool, in either era.
func (a *attacker) written(by *caller, late bool, tool, args string, k tricks) letter {
	if k.params != "" {
		k.params = "," + k.params
	}
	l := letter{by: by, method: http.MethodPost, url: a.url + "/mcp", headers: []string{"Mcp-Session-Id", by.session, "Mcp-Protocol-Version", "2025-11-25"}}
	if late {
		k.meta = strings.TrimSuffix(modern+","+k.meta, ",")
		l.headers = []string{"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", inHeader(tool)}
	}
	l.headers = append(l.headers, k.headers...)
	l.body = fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%s,"arguments":%s%s,"_meta":{%s}}}`, a.count, quote(tool), args, k.params, k.meta)
	return l
}

// inHeader writes a name as 2026-07-28 wants it where it is not plain.
func inHeader(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(name)) + "?="
	}
	return name
}

func quote(s string) string {
	raw, _ := json.Marshal(s)
	return string(raw)
}

// atOnce sends letters, 16 at a time, and gives all that comes back.
func (a *attacker) atOnce(all []letter) string {
	var said lines
	next := make(chan letter)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for l := range next {
				_, body := a.send(l)
				_, _ = said.Write([]byte(body))
			}
		})
	}
	for _, l := range all {
		next <- l
	}
	close(next)
	wg.Wait()
	return said.String()
}
