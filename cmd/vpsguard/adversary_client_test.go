package main

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
)

// attacker is a client that keeps to no rule.
type attacker struct {
	t, top     *testing.T // of the idea, and of the whole
	world      *world
	service    *policy.Service
	ledger     *ledger.Ledger
	log        *lines
	stop       func() int
	http       *http.Client
	url, slack string
	data       string           // of the server, as it was
	victims    []policy.Request // of another caller, as they were filed
	tools      []shown
	callers    []*caller // that it may be
	other      *caller   // another client, whose session it knows
	reader     *caller   // may read, where callers have tokens
	head       int64     // of the audit, as far as it was looked at

	mu         sync.Mutex
	turn       int // which of the callers it is now
	count      int // messages
	nth        int // of much that is alike
	away, full int // that a limit has turned away: on callers, and on requests
	sent       []letter
	acted      map[*caller]bool // in an idea
	forms      int              // that were shown
	whys       []string         // answers to them were refused
}

// caller is somebody that it may be.
type caller struct {
	token   string // "" where callers need none
	actor   policy.Actor
	session string // "" until it is opened
	used    int    // messages
	calls   int    // of them, of tools
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

const (
	modern = `"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"adversary","version":"1"},` +
		`"io.modelcontextprotocol/clientCapabilities":{"elicitation":{"form":{},"url":{}},"sampling":{},"roots":{}}`
	hello = `{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{"protocolVersion":"2025-11-25",` +
		`"capabilities":{"elicitation":{"form":{},"url":{}},"sampling":{},"roots":{}},"clientInfo":{"name":"adversary","version":"1"}}}`
)

// comeIn opens two sessions and reads what there is.
func (a *attacker) comeIn() {
	a.open(a.other)
	_, body := a.send(letter{
		method: http.MethodPost, url: a.url + "/mcp", headers: []string{"Mcp-Session-Id", a.me().session},
		body: `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`,
	})
	var list struct{ Result struct{ Tools []shown } }
	require.NoError(a.t, json.Unmarshal([]byte(body), &list), body)
	require.NotEmpty(a.t, list.Result.Tools)
	a.tools = list.Result.Tools
}

// open opens a caller's session.
func (a *attacker) open(c *caller) {
	resp, _ := a.send(letter{by: c, method: http.MethodPost, url: a.url + "/mcp", body: hello})
	require.Equal(a.t, http.StatusOK, resp.StatusCode)
	c.session = resp.Header.Get("Mcp-Session-Id")
	require.NotEmpty(a.t, c.session)
}

// So much does one caller with a token send before it is another's turn. 500 messages
// are taken at once, and 100 calls.
const (
	mostUsed  = 400
	mostCalls = 90
)

// me is whoever's turn it is.
func (a *attacker) me() *caller {
	c := a.callers[a.turn]
	if c.token != "" && (c.used >= mostUsed || c.calls >= mostCalls) {
		return a.fresh()
	}
	if c.session == "" {
		a.open(c)
	}
	return c
}

// fresh is another caller, where there are several.
func (a *attacker) fresh() *caller {
	a.turn++
	require.Less(a.t, a.turn, len(a.callers), "there are enough callers")
	return a.me()
}

// withdraw has a caller with a token give up what they have filed.
func (a *attacker) withdraw(c *caller) {
	if c.token == "" {
		return
	}
	open, _, err := a.ledger.Requests(a.t.Context(), policy.Filter{Actor: c.actor.Key(), States: []policy.State{policy.StateHeld}})
	require.NoError(a.t, err)
	for _, r := range open {
		_, err := a.service.Cancel(a.t.Context(), r.ID, c.actor)
		require.NoError(a.t, err)
	}
}

// some are many of the letters that were sent, in another order.
func (a *attacker) some(most int) []letter {
	all := slices.Clone(a.sent)
	all = slices.DeleteFunc(all, func(l letter) bool { return len(l.body) > 10<<10 || l.body == hello }) // few sessions are opened at once
	for i := range all {
		all[i].asked = nil
	}
	random := rand.New(rand.NewPCG(3, 1))
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if raced {
		most /= 5
	}
	if !a.all() {
		most /= 2
	}
	return all[:min(most, len(all))]
}

// again sends what was sent once more, at once.
func (a *attacker) again() { a.atOnce(a.some(2500)) }

// overStdio says it to a process that this host's user has started, and reads
// nothing but frames.
func (a *attacker) overStdio() {
	var in strings.Builder
	seen := map[string]bool{}
	for _, l := range a.some(2500) {
		line := strings.ReplaceAll(l.body, "\n", " ")
		answers := strings.Contains(line, `"result":`) && a.forms > 0 // forms have small numbers there, and one may be right
		if !seen[line] && !answers {
			seen[line] = true
			in.WriteString(line + "\n")
		}
	}
	a.count += len(seen)
	var out, log lines
	p := &program{
		Args: []string{"vpsguard", "stdio"}, Env: withoutSlack(a.world.env), Stdin: strings.NewReader(in.String()), Stdout: &out, Stderr: &log,
		Now: time.Now, Pace: unlimited(),
	}
	require.Equal(a.t, 0, p.Main(a.t.Context()), log.String())
	require.Contains(a.t, out.String(), "is HELD")
	for line := range strings.Lines(out.String()) {
		require.True(a.t, json.Valid([]byte(line)), "%.300s", line)
	}
	for _, never := range []string{`"kind":"internal"`, "you call too often"} {
		require.NotContains(a.t, out.String(), never)
	}
	a.discreet(out.String())
}

// withoutSlack leaves the other ways of confirming as they are.
func withoutSlack(env []string) []string {
	out := slices.DeleteFunc(slices.Clone(env), func(v string) bool { return strings.HasPrefix(v, "VPSGUARD_SLACK_") })
	for i := range out {
		out[i] = strings.Replace(out[i], "VPSGUARD_CONFIRM=slack,", "VPSGUARD_CONFIRM=", 1)
	}
	return out
}
