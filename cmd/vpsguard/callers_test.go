package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/tools/bearer"
	"github.com/vpsguard/vpsguard/tools/bearer/issuertest"
)

// request is a JSON-RPC request that calls a tool, as clients of 2026-07-28 send it.
func request(id int, tool string, args map[string]any) string {
	if args == nil {
		args = map[string]any{}
	}
	raw, err := json.Marshal(map[string]any{
		"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": map[string]any{"name": tool, "arguments": args, "_meta": map[string]any{
			"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": map[string]any{},
		}},
	})
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// reply is what came back over HTTP.
type reply struct {
	status int
	header http.Header
	body   string
}

// post sends a body, with a bearer token where there is one.
func post(t *testing.T, url, token, body string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	var call struct {
		Method string
		Params struct{ Name string }
	}
	if json.Unmarshal([]byte(body), &call) == nil {
		req.Header.Set("Mcp-Protocol-Version", "2026-07-28")
		req.Header.Set("Mcp-Method", call.Method)
		req.Header.Set("Mcp-Name", call.Params.Name)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return reply{res.StatusCode, res.Header, string(raw)}
}

// newToken makes a token at the command line.
func newToken(t *testing.T, env []string, args ...string) string {
	t.Helper()
	out, log, code := vpsguard(t, env, append([]string{"token", "new"}, args...)...)
	require.Zero(t, code, log)
	require.Regexp(t, `^vpg_[2-9a-km-np-z]{52}\n$`, out, "nothing but the token, so that it can go into a file")
	return strings.TrimSpace(out)
}

// come connects a client with a bearer token.
func come(t *testing.T, url, token string) *client.Client {
	t.Helper()
	c, err := client.NewStreamableHttpClient(url+"/mcp", transport.WithHTTPHeaders(map[string]string{"Authorization": "Bearer " + token}))
	require.NoError(t, err)
	return greet(t, c)
}

// toolNames are what a client is offered.
func toolNames(t *testing.T, c *client.Client) (out []string) {
	t.Helper()
	found, err := c.ListTools(t.Context(), mcp.ListToolsRequest{})
	require.NoError(t, err)
	for _, one := range found.Tools {
		out = append(out, one.Name)
	}
	return out
}

var restore801 = map[string]any{"server": "web-server-01", "snapshot_id": 801, "reason": "the deploy broke login"}

// TestCallersOverHTTP goes the whole way: tokens made at the command line, two servers on one
// ledger, real clients, and what is written down about them.
func TestCallersOverHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	rules := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(rules, []byte("version: 1\npeople:\n  - {name: Ada, terminal: nobody}\nrules:\n"+
		"  - {name: robots wait, when: actor.role == \"operate\" && actor.agent == \"ci-agent\", hold: {not_requester: true}}\n"), 0o600))
	w.env = append(w.env, "VPSGUARD_POLICY_FILE="+rules)
	env := append(slices.Clone(w.env), "VPSGUARD_LOG_LEVEL=debug")
	url, log, _ := serving(t, env, "serve")
	other, otherLog, _ := serving(t, env, "serve")
	assert.Equal(t, http.StatusOK, post(t, url+"/mcp", "", request(1, "list_servers", nil)).status, "as long as there is no token")

	_, said, code := vpsguard(t, w.env, "token", "new", "x", "--for", "ada")
	assert.Equal(t, 1, code)
	assert.Contains(t, said, `people in the rules has no "ada"`)
	operate := newToken(t, w.env, "ci-agent", "--role", "operate", "--for", "Ada")
	read := newToken(t, w.env, "dashboard")

	for _, server := range []string{url, other} {
		require.True(t, assertEventually(func() bool {
			return post(t, server+"/mcp", "", request(1, "list_servers", nil)).status == http.StatusUnauthorized
		}))
		assert.Equal(t, http.StatusUnauthorized, post(t, server+"/mcp", testToken, request(1, "list_servers", nil)).status, "VPS.org's token opens nothing")
		_, body := get(t, server+"/readyz")
		assert.Contains(t, body, `"mcp":"ready, for 2 tokens"`)
	}
	reader, operator := come(t, url, read), come(t, other, operate)
	all, few := toolNames(t, operator), toolNames(t, reader)
	reads := slices.DeleteFunc(slices.Clone(all), func(name string) bool {
		return !strings.HasPrefix(name, "list_") && name != "get_request"
	})
	assert.Equal(t, reads, few, "the same order, without what changes something")
	assert.NotEqual(t, all, few)
	text, _ := tool(t, reader, "list_snapshots", nil)
	assert.Contains(t, text, "pre-migration-snapshot")
	text, out := tool(t, operator, "restore_snapshot", restore801)
	require.NotNil(t, out["request"], text)
	id, _ := out["request"].(map[string]any)["id"].(string)
	for _, name := range all {
		if !slices.Contains(few, name) {
			args := map[string]any{"server": "web-server-01", "snapshot_id": 801, "backup_id": 501, "name": "x", "reason": "x", "keep": 1, "request_id": id}
			for _, d := range w.catalogue(t) {
				if d.Name == name {
					for key := range args {
						if !slices.ContainsFunc(d.Arguments, func(a policy.Argument) bool { return a.Name == key }) {
							delete(args, key)
						}
					}
				}
			}
			text, out := tool(t, reader, name, args)
			assert.Contains(t, text, "this caller may read", name)
			assert.NotNil(t, out["error"], name)
		}
	}
	service, _ := w.service(t)
	st, err := service.Show(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, policy.StateHeld, st.Request.State)
	assert.Equal(t, "token:ci-agent", st.Request.Actor.Subject)
	assert.Equal(t, "the token ci-agent, made for Ada", st.Request.Actor.Vouched)
	assert.Equal(t, "Ada", st.Request.Person)
	assert.Equal(t, []string{"floor: what overwrites or deletes takes a person", "robots wait"}, st.Request.Conditions.Rules, "rules see the role")
	text, _ = tool(t, come(t, url, operate), "restore_snapshot", restore801)
	assert.Contains(t, text, id, "one caller, whichever server they reach")

	list, _, code := vpsguard(t, w.env, "token", "list")
	assert.Zero(t, code)
	assert.Regexp(t, `(?m)^ci-agent operate, for Ada, made \d{4}-\d\d-\d\d \d\d:\d\d UTC, (.* ago|just now), by .*, last used .*, (.* ago|just now)$`, list)
	assert.Contains(t, list, "2 of 2")
	list, _, _ = vpsguard(t, w.env, "token", "list", "--output", "json", "--limit", "1")
	var listed struct {
		Total  int
		Tokens []tokenOut
	}
	require.NoError(t, json.Unmarshal([]byte(list), &listed))
	assert.Equal(t, 2, listed.Total)
	require.Len(t, listed.Tokens, 1)
	assert.Equal(t, "Ada", listed.Tokens[0].For)
	assert.Empty(t, listed.Tokens[0].Token)
	doctor, _, _ := vpsguard(t, w.env, "doctor")
	assert.Contains(t, doctor, "tokens: callers over HTTP need one; what counts: 2 tokens")

	for _, name := range []string{"ci-agent", "dashboard"} {
		_, _, code = vpsguard(t, w.env, "token", "revoke", name)
		require.Zero(t, code)
	}
	for _, server := range []string{url, other} {
		require.True(t, assertEventually(func() bool {
			return post(t, server+"/mcp", operate, request(1, "list_servers", nil)).status == http.StatusUnauthorized
		}))
		assert.Equal(t, http.StatusUnauthorized, post(t, server+"/mcp", "", request(1, "list_servers", nil)).status, "revoking the last one opens nothing")
	}
	exported, _, _ := vpsguard(t, w.env, "audit", "export")
	assert.Contains(t, exported, "token.made")
	assert.Contains(t, exported, "token.revoked")
	everything := log.String() + otherLog.String() + list + doctor + exported + said
	files, err := filepath.Glob(w.path + "*")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.False(t, bytes.Contains(raw, []byte(operate[4:])) || bytes.Contains(raw, []byte(read[4:])), file)
	}
	assert.NotContains(t, everything, operate[4:])
	assert.NotContains(t, everything, read[4:])
	assert.Empty(t, w.fake.Mutations())
}

// catalogue is all that can be called.
func (w *world) catalogue(t *testing.T) []policy.Descriptor {
	t.Helper()
	service, _ := w.service(t)
	return service.Catalogue()
}

// TestBeyondTheHostATokenIsNeeded starts serve at a name that could mean anything, and counts
// as one that other hosts reach. What it means here is this host.
func TestBeyondTheHostATokenIsNeeded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	env := append(slices.Clone(w.env), "VPSGUARD_ADDR=LOCALHOST:0")
	_, said, code := vpsguard(t, env, "serve")
	assert.Equal(t, 2, code)
	assert.Contains(t, said, "none was ever made, so nothing would be served; make one (vpsguard token new NAME)")
	_, err := os.Stat(w.path)
	assert.ErrorIs(t, err, os.ErrNotExist, "looking makes no ledger")
	token := newToken(t, w.env, "ci-agent")
	url, log, stop := serving(t, env, "serve")
	assert.Equal(t, http.StatusUnauthorized, post(t, url+"/mcp", "", request(1, "list_servers", nil)).status)
	got := post(t, url+"/mcp", token, request(1, "list_servers", nil))
	assert.Equal(t, http.StatusOK, got.status)
	assert.Contains(t, got.body, "web-server-01")
	assert.Zero(t, stop(), log)
}

func TestAReadOnlyProcessOffersReadsOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	token := newToken(t, w.env, "ci-agent", "--role", "operate")
	url, _, _ := serving(t, append(slices.Clone(w.env), "VPSGUARD_READ_ONLY=true"), "serve")
	c := come(t, url, token)
	for _, name := range toolNames(t, c) {
		assert.True(t, strings.HasPrefix(name, "list_") || name == "get_request", name)
	}
	got := post(t, url+"/mcp", token, request(1, "restore_snapshot", restore801))
	assert.Contains(t, got.body, "error")
	assert.Empty(t, w.fake.Mutations())
}

// TestACallerInALoop calls without a pause until it is told to wait; others go on.
func TestACallerInALoop(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	busy, calm := newToken(t, w.env, "busy"), newToken(t, w.env, "calm")
	url, _, _ := serving(t, w.env, "serve")
	said := ""
	for range 300 {
		if said = post(t, url+"/mcp", busy, request(1, "list_requests", nil)).body; strings.Contains(said, `"isError":true`) {
			break
		}
	}
	assert.Contains(t, said, `"kind":"conflict"`)
	assert.Contains(t, said, "you call too often; try again in 1 s")
	assert.NotContains(t, post(t, url+"/mcp", calm, request(1, "list_requests", nil)).body, "too often")
}

// TestCallersWhoSignIn goes the whole way with a real issuer, which is down when the server starts.
func TestCallersWhoSignIn(t *testing.T) {
	t.Parallel()
	const audience = "https://vpsguard.example.com/mcp"
	w := newWorld(t, fast())
	idp := issuertest.New(t)
	idp.Down(http.StatusServiceUnavailable)
	w.env = append(w.env, "VPSGUARD_OIDC_ISSUER="+idp.URL, "VPSGUARD_OIDC_AUDIENCE="+audience, "VPSGUARD_PUBLIC_URL=https://vpsguard.example.com")
	url, log, _ := serving(t, append(slices.Clone(w.env), "VPSGUARD_LOG_LEVEL=debug"), "serve")
	token := func(scope string) string {
		return idp.Token(map[string]any{
			"iss": idp.URL, "aud": audience, "sub": "00u1", "exp": time.Now().Add(time.Hour).Unix(), "scope": scope, "preferred_username": "grace",
		})
	}
	read, operate := token(bearer.ScopeRead), token(bearer.ScopeRead+" "+bearer.ScopeOperate)
	got := post(t, url+"/mcp", operate, request(1, "list_servers", nil))
	assert.Equal(t, http.StatusServiceUnavailable, got.status, "a good token is not called invalid")
	assert.NotEmpty(t, got.header.Get("Retry-After"))
	_, ready := get(t, url+"/readyz")
	assert.Contains(t, ready, "ready, but the issuer cannot be asked right now")
	doctor, _, code := vpsguard(t, w.env, "doctor")
	assert.Equal(t, 1, code)
	assert.Contains(t, doctor, "sign-in: the issuer cannot be asked right now: ")
	assert.Contains(t, doctor, "answers 503 Service Unavailable")
	idp.Down(0)
	require.True(t, assertEventually(func() bool {
		return post(t, url+"/mcp", operate, request(1, "list_servers", nil)).status == http.StatusOK
	}))
	doctor, _, _ = vpsguard(t, w.env, "doctor")
	assert.Contains(t, doctor, "sign-in: callers need a token of "+idp.URL+" for "+audience+" with the scope vpsguard:read or vpsguard:operate")
	_, ready = get(t, url+"/readyz")
	assert.Contains(t, ready, `"mcp":"ready, for whoever signs in at `+idp.URL+", and no token")

	got = post(t, url+"/mcp", "", request(1, "list_servers", nil))
	assert.Equal(t, http.StatusUnauthorized, got.status, "on this host too")
	assert.Contains(t, got.header.Get("Www-Authenticate"), `resource_metadata="https://vpsguard.example.com/.well-known/oauth-protected-resource/mcp"`)
	for _, path := range []string{"", "/mcp"} {
		status, body := get(t, url+"/.well-known/oauth-protected-resource"+path)
		assert.Equal(t, http.StatusOK, status)
		assert.Contains(t, body, `"resource":"`+audience+`"`)
		assert.Contains(t, body, idp.URL)
	}

	reader := come(t, url, read)
	assert.NotContains(t, toolNames(t, reader), "restore_snapshot")
	text, _ := tool(t, reader, "list_snapshots", nil)
	assert.Contains(t, text, "pre-migration-snapshot")
	for _, name := range []string{"restore_snapshot", "create_snapshot", "cancel_request"} {
		got = post(t, url+"/mcp", read, request(1, name, restore801))
		assert.Equal(t, http.StatusForbidden, got.status, name)
		assert.Contains(t, got.header.Get("Www-Authenticate"), `error="insufficient_scope"`, name)
		assert.Contains(t, got.header.Get("Www-Authenticate"), `scope="vpsguard:operate"`, name)
	}
	text, out := tool(t, come(t, url, operate), "restore_snapshot", restore801)
	require.NotNil(t, out["request"], text)
	id, _ := out["request"].(map[string]any)["id"].(string)
	service, _ := w.service(t)
	st, err := service.Show(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, "oidc:"+idp.URL+"#00u1", st.Request.Actor.Subject)
	assert.Equal(t, "grace", st.Request.Actor.Name)
	assert.Equal(t, policy.RoleOperate, st.Request.Actor.Role)
	raw, err := json.Marshal(st.Request)
	require.NoError(t, err)
	for _, secret := range []string{read, operate} {
		_, claims, _ := strings.Cut(secret, ".")
		assert.NotContains(t, log.String()+string(raw)+doctor+ready, claims)
	}
	assert.Empty(t, w.fake.Mutations())
}

// TestNobodyTakesAllSessions: one caller who opens session after session leaves room for others.
func TestNobodyTakesAllSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	busy, calm := newToken(t, w.env, "busy"), newToken(t, w.env, "calm")
	url, _, _ := serving(t, w.env, "serve")
	open := func(token string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/mcp", strings.NewReader(
			`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		if res.StatusCode == http.StatusTooManyRequests {
			assert.NotEmpty(t, res.Header.Get("Retry-After"))
		}
		return res.StatusCode
	}
	refused := 0
	for range 200 {
		if open(busy) == http.StatusTooManyRequests {
			refused++
		}
	}
	assert.Positive(t, refused)
	assert.Equal(t, http.StatusOK, open(calm))
}
