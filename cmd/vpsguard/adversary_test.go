package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// TestNoProgramConfirms has a client try everything that could move a held
// request without a person (adversary_ideas_test.go), against the whole program:
// HTTP at both doors, SQLite, and a VPS.org that counts what arrives. After each
// idea nothing was overwritten or deleted, what another caller has asked for is
// held as it was, and nothing that destroys has got further than that.
func TestNoProgramConfirms(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	w.withSlack(t, slackfake.Options{Limits: slackfake.NoLimits()})
	w.overHTTP()
	service, l := w.service(t)
	withPassphrase(t, service)
	url, log, stop := serving(t, w.env, "serve")
	deliver := slackURL.FindString(log.await(t, "serving Slack"))
	a := &attacker{t: t, world: w, ledger: l, url: url, slack: deliver, data: w.fake.ServerData(12345)}
	for _, args := range []string{
		`restore_snapshot {"server":"web-server-01","snapshot_id":801,"reason":"of another caller"}`,
		`restore_backup {"server":"web-server-01","backup_id":501,"reason":"of another caller"}`,
		`delete_snapshot {"server":"web-server-01","snapshot_id":798,"reason":"of another caller"}`,
		`delete_backup {"server":"web-server-01","backup_id":499,"reason":"of another caller"}`,
	} {
		a.victims = append(a.victims, file(t, service, args))
	}
	a.comeIn()

	for _, i := range ideas {
		ok := t.Run(i.says, func(t *testing.T) {
			a.t = t
			before := a.count
			i.try(a)
			require.Greater(t, a.count, before, "the idea was tried")
			a.harmless()
		})
		if a.t = t; !ok {
			return // what follows would only say so again
		}
	}
	t.Logf("%d messages of %d ideas", a.count, len(ideas))
	assert.GreaterOrEqual(t, a.own(), 3, "it did get requests filed, and could have moved those")

	// The world is no dummy: with a person it runs, once.
	id := file(t, service, `restore_snapshot {"server":"web-server-01","snapshot_id":801,"safety_copy":false,"reason":"by a person"}`)
	approve(t, service, id)
	done := until(t, service, id, "a person has confirmed it", func(r policy.Request) bool { return !r.State.Open() })
	assert.Equal(t, policy.StateDone, done.State, done.Why)
	assert.Equal(t, 1, w.fake.Sent(vpsfake.Overwrite))
	assert.Zero(t, w.fake.Sent(vpsfake.Delete))
	assert.Equal(t, 0, stop())
	_, said, code := vpsguard(t, w.env, "audit", "verify")
	assert.Equal(t, 0, code, said)
	for _, secret := range []string{testToken, testSecret, testPassphrase} {
		assert.NotContains(t, log.String(), secret)
	}
}

// file asks for something as a caller that no client here is.
func file(t *testing.T, s *policy.Service, asked string) string {
	t.Helper()
	operation, args, _ := strings.Cut(asked, " ")
	out, err := s.Call(t.Context(), policy.Call{
		Actor:     policy.Actor{Door: policy.DoorMCP, Subject: "another caller", Name: "another caller", Vouched: "the test", Role: policy.RoleOperate},
		Operation: operation, Arguments: json.RawMessage(args),
	})
	require.NoError(t, err)
	require.Equal(t, policy.StateHeld, out.Standing.Request.State)
	return out.Standing.Request.ID
}

// attacker is a client that keeps to no rule.
type attacker struct {
	t          *testing.T
	world      *world
	ledger     *ledger.Ledger
	url, slack string
	data       string // of the server, as it was
	victims    []string
	tools      []shown
	session    string // its own
	other      string // of another client

	mu    sync.Mutex
	count int
	sent  []letter
}

// shown is a tool as a client sees it.
type shown struct {
	Name  string
	Input struct {
		Properties map[string]struct{ Type string }
		Required   []string
	} `json:"inputSchema"`
	Hints struct {
		ReadOnly bool `json:"readOnlyHint"`
	} `json:"annotations"`
}

// letter is one HTTP request.
type letter struct {
	method, url, body string
	headers           []string
}

const (
	modern = `"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"adversary","version":"1"},` +
		`"io.modelcontextprotocol/clientCapabilities":{"elicitation":{"form":{},"url":{}},"sampling":{},"roots":{}}`
	hello = `{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{"protocolVersion":"2025-11-25",` +
		`"capabilities":{"elicitation":{"form":{},"url":{}},"sampling":{},"roots":{}},"clientInfo":{"name":"adversary","version":"1"}}}`
)

// comeIn opens two sessions and reads what there is.
func (a *attacker) comeIn() {
	for _, session := range []*string{&a.session, &a.other} {
		resp, _ := a.send(letter{method: http.MethodPost, url: a.url + "/mcp", body: hello})
		require.Equal(a.t, http.StatusOK, resp.StatusCode)
		*session = resp.Header.Get("Mcp-Session-Id")
		require.NotEmpty(a.t, *session)
	}
	_, body := a.send(letter{
		method: http.MethodPost, url: a.url + "/mcp", headers: []string{"Mcp-Session-Id", a.session},
		body: `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`,
	})
	var list struct{ Result struct{ Tools []shown } }
	require.NoError(a.t, json.Unmarshal([]byte(body), &list), body)
	require.NotEmpty(a.t, list.Result.Tools)
	a.tools = list.Result.Tools
}

// send sends a letter, and checks what must hold of every answer.
func (a *attacker) send(l letter) (*http.Response, string) {
	req, err := http.NewRequestWithContext(a.t.Context(), l.method, l.url, strings.NewReader(l.body))
	require.NoError(a.t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	for i := 0; i < len(l.headers); i += 2 {
		if l.headers[i] == "Host" {
			req.Host = l.headers[i+1]
		}
		req.Header.Set(l.headers[i], l.headers[i+1])
	}
	a.mu.Lock()
	a.count++
	a.sent = append(a.sent, l)
	a.mu.Unlock()
	client := http.Client{Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if !assert.NoError(a.t, err, "%.300s", l.body) {
		return &http.Response{}, ""
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(resp.Body) // a stream that was cut off is no matter
	assert.NotEqual(a.t, http.StatusInternalServerError, resp.StatusCode, "%.300s\n%s", l.body, body)
	for _, never := range []string{`"kind":"internal"`, "panic", "goroutine ", testToken, testSecret, testPassphrase} {
		assert.NotContains(a.t, string(body), never, "%.300s", l.body)
	}
	return resp, string(body)
}

// tricks are what a call has beside what it should have: raw members of its
// params and of their _meta, and headers.
type tricks struct {
	params, meta string
	headers      []string
}

// call calls a tool, in the one era and the other by turns.
func (a *attacker) call(tool, args string, k tricks) {
	if k.params != "" {
		k.params = "," + k.params
	}
	at := letter{method: http.MethodPost, url: a.url + "/mcp"}
	params := fmt.Sprintf(`{"name":%s,"arguments":%s%s,"_meta":{%s}}`, quote(tool), args, k.params, k.meta)
	if a.count%2 == 0 {
		at.headers = []string{"Mcp-Session-Id", a.session, "Mcp-Protocol-Version", "2025-11-25"}
	} else {
		meta := modern
		if k.meta != "" {
			meta += "," + k.meta
		}
		params = fmt.Sprintf(`{"name":%s,"arguments":%s%s,"_meta":{%s}}`, quote(tool), args, k.params, meta)
		at.headers = []string{"Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", inHeader(tool)}
	}
	at.headers = append(at.headers, k.headers...)
	at.body = fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":%s}`, a.count, params)
	a.send(at)
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

// meant are arguments for a tool as its schema wants them, aimed at what is
// there. An argument that is not known here gets a value of its type.
func (a *attacker) meant(tool shown) []map[string]string {
	var out []map[string]string
	variants := len(a.victims)
	if tool.Hints.ReadOnly {
		variants = 1
	}
	for i := range variants {
		args := map[string]string{}
		for name, p := range tool.Input.Properties {
			some := map[string][]string{
				"server": {`"web-server-01"`}, "snapshot_id": {"801", "798"}, "backup_id": {"501", "499"}, "safety_copy": {"true", "false"},
				"request_id": quoted(a.victims), "name": {`"by-adversary"`}, "reason": {`"because I say so"`}, "description": {`"confirmed"`},
				"limit": {"10"}, "wait_seconds": {"0"},
			}[name]
			switch {
			case some != nil:
				args[name] = some[i%len(some)]
			case !slices.Contains(tool.Input.Required, name): // filters, cursors and waiting
			case p.Type == "integer":
				args[name] = "801"
			case p.Type == "boolean":
				args[name] = "true"
			default:
				args[name] = `"web-server-01"`
			}
		}
		if !slices.ContainsFunc(out, func(o map[string]string) bool { return object(o) == object(args) }) {
			out = append(out, args)
		}
	}
	return out
}

func quoted(all []string) []string {
	out := make([]string, 0, len(all))
	for _, s := range all {
		out = append(out, quote(s))
	}
	return out
}

// object writes raw values as a JSON object.
func object(of map[string]string) string {
	raw := map[string]json.RawMessage{}
	for k, v := range of {
		raw[k] = json.RawMessage(v)
	}
	out, err := json.Marshal(raw)
	if err != nil { // a value that is no JSON
		var b bytes.Buffer
		for k, v := range of {
			fmt.Fprintf(&b, ",%s:%s", quote(k), v)
		}
		return "{" + strings.TrimPrefix(b.String(), ",") + "}"
	}
	return string(out)
}

// harmless checks that nothing has been moved.
func (a *attacker) harmless() {
	a.t.Helper()
	require.Zero(a.t, a.world.fake.Sent(vpsfake.Overwrite), "an overwrite has arrived: %v", a.world.fake.Mutations())
	require.Zero(a.t, a.world.fake.Sent(vpsfake.Delete), "a delete has arrived: %v", a.world.fake.Mutations())
	require.Equal(a.t, a.data, a.world.fake.ServerData(12345))
	for _, r := range a.destroying() {
		harmless := []policy.State{policy.StateHeld}
		if !slices.Contains(a.victims, r.ID) { // its own it may give up
			harmless = append(harmless, policy.StateCancelled)
		}
		require.Contains(a.t, harmless, r.State, "%s, %s", r.ID, r.Why)
		require.Empty(a.t, r.Approvals, r.ID)
		for _, s := range r.Steps {
			require.Equal(a.t, policy.StepWaiting, s.State, "%s of %s", s.Name, r.ID)
		}
	}
}

// destroying are all requests that would overwrite or delete.
func (a *attacker) destroying() []policy.Request {
	all, _, err := a.ledger.Requests(a.t.Context(), policy.Filter{})
	require.NoError(a.t, err)
	return slices.DeleteFunc(all, func(r policy.Request) bool { return !r.Effect.Destroys() })
}

// own is how many of those it has filed itself.
func (a *attacker) own() int { return len(a.destroying()) - len(a.victims) }

// some are many of the letters that were sent, in another order.
func (a *attacker) some(most int) []letter {
	all := slices.Clone(a.sent)
	all = slices.DeleteFunc(all, func(l letter) bool { return len(l.body) > 10<<10 })
	random := rand.New(rand.NewPCG(3, 1))
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if raced {
		most /= 5
	}
	return all[:min(most, len(all))]
}

// again sends what was sent once more, at once.
func (a *attacker) again() {
	all := a.some(2500)
	next := make(chan letter)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for l := range next {
				a.send(l)
			}
		})
	}
	for _, l := range all {
		next <- l
	}
	close(next)
	wg.Wait()
}

// overStdio says it to a process that this host's user has started, and reads
// nothing but frames.
func (a *attacker) overStdio() {
	var in strings.Builder
	seen := map[string]bool{}
	for _, l := range a.some(2500) {
		if line := strings.ReplaceAll(l.body, "\n", " "); !seen[line] {
			seen[line] = true
			in.WriteString(line + "\n")
		}
	}
	a.count += len(seen)
	var out, log lines
	p := &program{
		Args: []string{"vpsguard", "stdio"}, Env: withoutSlack(a.world.env), Stdin: strings.NewReader(in.String()), Stdout: &out, Stderr: &log, Now: time.Now,
	}
	require.Equal(a.t, 0, p.Main(a.t.Context()), log.String())
	require.Contains(a.t, out.String(), "is HELD")
	for line := range strings.Lines(out.String()) {
		require.True(a.t, json.Valid([]byte(line)), "%.300s", line)
	}
	for _, never := range []string{`"kind":"internal"`, testToken, testPassphrase} {
		require.NotContains(a.t, out.String(), never)
	}
}

func withoutSlack(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(v string) bool { return strings.HasPrefix(v, "VPSGUARD_SLACK_") })
}
