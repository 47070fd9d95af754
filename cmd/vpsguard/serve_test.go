package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
)

// serving runs serve inside the test and gives its URL and what stops it.
func serving(t *testing.T, env []string, args ...string) (url string, log *lines, stop func() int) {
	t.Helper()
	return servingBy(t, &program{Now: time.Now}, env, args...)
}

// servingBy is serving by other clocks, those of a program.
func servingBy(t *testing.T, p *program, env []string, args ...string) (url string, log *lines, stop func() int) {
	t.Helper()
	log = &lines{}
	address := make(chan string, 1)
	p.Args, p.Env, p.Stdin, p.Stdout, p.Stderr = append([]string{"vpsguard"}, args...), env, strings.NewReader(""), log, log
	p.Listening = func(a string) { address <- a }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() { ended <- p.Main(ctx) }()
	stop = func() int {
		cancel()
		select {
		case code := <-ended:
			ended <- code
			return code
		case <-time.After(patience):
			t.Errorf("it did not stop:\n%s", log)
			return -1
		}
	}
	t.Cleanup(func() { stop() })
	select {
	case a := <-address:
		return "http://" + a, log, stop
	case code := <-ended:
		t.Fatalf("it ended with %d:\n%s", code, log)
	case <-time.After(patience):
		t.Fatal("it does not listen")
	}
	return "", nil, nil
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(body)
}

func TestServeTellsWhetherItIsReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	w.fake.Inject(vpsfake.Fault{Name: vpsfake.Unauthorized, PathPrefix: "/account/me/"})
	url, log, stop := serving(t, w.env, "serve")
	status, body := get(t, url+"/healthz")
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, "ok\n", body)
	// What an image's health check asks.
	asked := append(slices.Clone(w.env), "VPSGUARD_ADDR="+strings.TrimPrefix(url, "http://"))
	_, _, code := vpsguard(t, asked, "serve", "--check")
	assert.Equal(t, 0, code)
	_, said, code := vpsguard(t, append(slices.Clone(w.env), "VPSGUARD_ADDR=127.0.0.1:1"), "serve", "--check")
	assert.Equal(t, 1, code)
	assert.Contains(t, said, "no vpsguard answers")
	status, body = get(t, url+"/readyz")
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Contains(t, body, `"ledger":"ready"`)
	assert.Contains(t, body, `"account":"reading the account: the API does not accept the token (HTTP 401)`)
	assert.Contains(t, body, `"worker":"it waits for the ledger and the account"`)
	w.fake.Heal()
	require.True(t, assertEventually(func() bool { status, body = get(t, url+"/readyz"); return status == http.StatusOK }), body)
	assert.JSONEq(t, `{"ready":true,"parts":{"ledger":"ready","account":"ready","worker":"ready","mcp":"ready, for all on this host: no token was ever made"}}`, body)
	assert.Equal(t, 0, stop())
	assert.NotContains(t, log.String(), testToken)
	assert.Contains(t, log.String(), "confirm=terminal", "start-up says which ways of confirming count")
}

func TestServeKnowsItsHosts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	url, _, _ := serving(t, append(w.env, "VPSGUARD_PUBLIC_URL=https://vpsguard.example.com"), "serve")
	post := func(host string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/mcp", strings.NewReader(request(1, "list_servers", nil)))
		require.NoError(t, err)
		req.Host = host
		req.Header.Set("Mcp-Protocol-Version", "2026-07-28")
		req.Header.Set("Mcp-Method", "tools/call")
		req.Header.Set("Mcp-Name", "list_servers")
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		_ = res.Body.Close()
		return res.StatusCode
	}
	assert.Equal(t, http.StatusNotFound, post("vpsguard.example.com"), "as long as there is no token, nothing is served")
	assert.Equal(t, http.StatusNotFound, post("localhost"), "it may be a proxy that comes by that name")
	assert.Equal(t, http.StatusForbidden, post("evil.example"))
	_, _, code := vpsguard(t, w.env, "token", "new", "ci-agent")
	require.Zero(t, code)
	require.True(t, assertEventually(func() bool { return post("localhost") == http.StatusUnauthorized }))
	assert.Equal(t, http.StatusUnauthorized, post("vpsguard.example.com"))
	assert.Equal(t, http.StatusForbidden, post("evil.example"), "whatever else is asked for")
}

func TestAReadOnlyServerRunsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	service, _ := w.service(t)
	withPassphrase(t, service)
	id := hold(t, service, "who runs it")
	approve(t, service, id)
	url, log, stop := serving(t, append(w.env, "VPSGUARD_READ_ONLY=true"), "serve")
	status, body := get(t, url+"/readyz")
	assert.Equal(t, http.StatusOK, status)
	assert.NotContains(t, body, "worker")
	c, err := client.NewStreamableHttpClient(url + "/mcp")
	require.NoError(t, err)
	text, _ := tool(t, greet(t, c), "list_requests", nil)
	assert.Contains(t, text, id+" approved")
	assert.Equal(t, 0, stop())
	assert.Empty(t, w.fake.Mutations())
	assert.NotContains(t, log.String(), "level=WARN", "it does not even try")
}

func TestALedgerThatCannotBeOpenedIsToldAndTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	require.NoError(t, os.WriteFile(w.path, []byte("this is no database, and longer than a page header would be: "+strings.Repeat("x", 200)), 0o600))
	url, log, stop := serving(t, w.env, "serve")
	status, body := get(t, url+"/readyz")
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Contains(t, body, "ledger.db cannot be used")
	log.await(t, "the ledger could not be opened; trying again")
	got := post(t, url+"/mcp", "", request(1, "list_snapshots", nil))
	assert.Equal(t, http.StatusServiceUnavailable, got.status, "the ledger tells whether callers need a token")
	assert.Equal(t, "2", got.header.Get("Retry-After"))
	assert.Contains(t, got.body, "who calls cannot be told right now")
	assert.Contains(t, got.body, "ledger.db cannot be used")

	var out bytes.Buffer // of a client that started the program, and needs none
	p := &program{
		Args: []string{"vpsguard", "stdio"}, Env: w.env, Stdout: &out, Stderr: log, Now: time.Now,
		Stdin: strings.NewReader(request(1, "list_snapshots", nil) + "\n" +
			request(2, "restore_snapshot", map[string]any{"server": "web-server-01", "snapshot_id": 801, "reason": "x"}) + "\n"),
	}
	assert.Zero(t, p.Main(t.Context()))
	assert.Contains(t, out.String(), "pre-migration-snapshot", "reads of VPS.org work")
	assert.Contains(t, out.String(), "ledger.db cannot be used")
	require.NoError(t, os.Remove(w.path))
	require.True(t, assertEventually(func() bool { status, body = get(t, url+"/readyz"); return status == http.StatusOK }), body)
	assert.Equal(t, 0, stop())
}

func TestServeRefusesAPortThatIsTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	url, _, _ := serving(t, w.env, "serve")
	_, log, code := vpsguard(t, append(w.env, "VPSGUARD_ADDR="+strings.TrimPrefix(url, "http://")), "serve")
	assert.Equal(t, 1, code)
	assert.Contains(t, log, "cannot be listened on")
}

// TestTheFirstSignalEndsInFlightWork sends a slow create, and the signal while it
// is under way: its answer is waited for and recorded.
func TestTheFirstSignalEndsInFlightWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	w.fake.Inject(vpsfake.Fault{Name: vpsfake.Slow, Method: http.MethodPost, Delay: 300 * time.Millisecond})
	cmd, log := spawn(t, w.env, "serve")
	log.await(t, "serving MCP")
	service, _ := w.service(t)
	withPassphrase(t, service)
	id := hold(t, service, "a signal comes")
	approve(t, service, id)
	until(t, service, id, "the copy was sent", func(r policy.Request) bool { return w.fake.Sent(vpsfake.Create) == 1 })
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, ended(cmd), log)
	st, err := service.Show(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, policy.StepAccepted, st.Request.Steps[0].State, "its answer is recorded")
	assert.NotZero(t, st.Request.Steps[0].PointID)
}

func TestTheSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	w.fake.Inject(vpsfake.Fault{Name: vpsfake.Hang, Method: http.MethodPost})
	cmd, log := spawn(t, append(w.env, "VPSGUARD_API_TIMEOUT=10m"), "serve")
	log.await(t, "serving MCP")
	service, _ := w.service(t)
	withPassphrase(t, service)
	id := hold(t, service, "two signals come")
	approve(t, service, id)
	require.True(t, assertEventually(func() bool { return w.fake.Sent(vpsfake.Create) == 1 }))
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	log.await(t, "stopping")
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.Error(t, ended(cmd))
	assert.Equal(t, 1, cmd.ProcessState.ExitCode())
}

// TestStdioCarriesFramesOnly drives the program as a client does and looks at
// every byte on its standard output, with everything logged.
func TestStdioCarriesFramesOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	cmd := exec.CommandContext(t.Context(), "vpsguard", "stdio")
	var log bytes.Buffer
	cmd.Env, cmd.Stderr = append(w.env, "VPSGUARD_LOG_LEVEL=debug", "VPSGUARD_LOG_FORMAT=json"), &log
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	frames := bufio.NewReader(out)
	ask := func(frame string) map[string]any {
		_, err := io.WriteString(in, frame+"\n")
		require.NoError(t, err)
		line, err := frames.ReadString('\n')
		require.NoError(t, err)
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &m), line)
		assert.Equal(t, "2.0", m["jsonrpc"])
		return m
	}
	ask(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
	ask(`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`)
	ask(`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"list_snapshots","arguments":{}}}`)
	ask(`{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"restore_snapshot","arguments":{"server":"web-server-01","snapshot_id":801,"reason":"x"}}}`)
	ask(`{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"nonsense"}}`)
	ask(`this is no frame`)
	require.NoError(t, in.Close())
	rest, err := io.ReadAll(frames)
	require.NoError(t, err)
	assert.Empty(t, string(rest))
	require.NoError(t, ended(cmd), "the end of standard input is a clean end")
	for line := range strings.Lines(log.String()) {
		assert.True(t, json.Valid([]byte(line)), "the log is JSON: %s", line)
	}
	assert.NotContains(t, log.String(), testToken)
}

func TestStdioEndsWithASignal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	cmd := exec.CommandContext(t.Context(), "vpsguard", "stdio")
	log := &lines{}
	cmd.Env, cmd.Stderr = w.env, log
	in, err := cmd.StdinPipe() // stays open
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	log.await(t, "vpsguard starts")
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, ended(cmd))
	_ = in.Close()
}

// TestStdioOutlivesItsClient closes both ends of the pipes and asks once more: the
// process ends by itself, in order, and not by a signal.
func TestStdioOutlivesItsClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	cmd := exec.CommandContext(t.Context(), "vpsguard", "stdio")
	log := &lines{}
	cmd.Env, cmd.Stderr = w.env, log
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	log.await(t, "vpsguard starts")
	require.NoError(t, out.Close())
	_, err = io.WriteString(in, `{"jsonrpc":"2.0","id":1,"method":"ping"}`+"\n")
	require.NoError(t, err)
	require.Error(t, ended(cmd))
	assert.Equal(t, 1, cmd.ProcessState.ExitCode(), "it said that it could not answer:\n%s", log)
	assert.Contains(t, log.String(), "serving over standard input and output stopped")
}

func TestAnotherProcessCarriesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	service, _ := w.service(t)
	withPassphrase(t, service)
	id := hold(t, service, "two servers on one ledger")
	for range 2 {
		serving(t, w.env, "serve")
	}
	approve(t, service, id)
	r := until(t, service, id, "it is done", func(r policy.Request) bool { return r.State == policy.StateDone })
	assert.NotNil(t, r.Undo)
	assert.Equal(t, 1, w.fake.Sent(vpsfake.Create))
	assert.Equal(t, 1, w.fake.Sent(vpsfake.Overwrite))
}

// TestWhoIsRefusedIsNotWaitedFor: whoever is let in nowhere could hold any number of
// connections with bodies that never come.
func TestWhoIsRefusedIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	newToken(t, w.env, "ci-agent")
	url, _, _ := serving(t, w.env, "serve")
	host := strings.TrimPrefix(url, "http://")
	for path, status := range map[string]int{"/mcp": 401, "/healthz": 405, "/nothing": 404} {
		conn, err := net.Dial("tcp", host)
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
		_, err = io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: "+host+"\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
		require.NoError(t, err)
		in := bufio.NewReader(conn)
		res, err := http.ReadResponse(in, nil)
		require.NoError(t, err, path)
		assert.Equal(t, status, res.StatusCode, path)
		_, err = io.Copy(io.Discard, res.Body)
		require.NoError(t, err)
		_, err = in.ReadByte()
		assert.ErrorIs(t, err, io.EOF, "it is over")
	}
}

// TestNobodyComesThroughAProxyWithoutAToken, though all of them come from this host, and some
// proxies say that they want 127.0.0.1.
func TestNobodyComesThroughAProxyWithoutAToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	url, _, _ := serving(t, w.env, "serve")
	ask := func(header, value string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodHead, url+"/mcp", http.NoBody)
		require.NoError(t, err)
		if header != "" {
			req.Header.Set(header, value)
		}
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		return res.StatusCode
	}
	assert.NotEqual(t, http.StatusNotFound, ask("", ""), "as long as there is no token")
	for header, value := range map[string]string{
		"X-Forwarded-For": "203.0.113.7", "X-Real-IP": "203.0.113.7", "Forwarded": "for=203.0.113.7", "Via": "1.1 proxy",
		"X-Forwarded-Host": "vpsguard.example.com", "X-Forwarded-Proto": "https",
	} {
		assert.Equal(t, http.StatusNotFound, ask(header, value), header)
	}
}
