package tools

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
)

// nothing is a caller with nothing to call.
type nothing struct{}

func (nothing) Catalogue() []policy.Descriptor { return nil }

func (nothing) Call(context.Context, policy.Call) (policy.Outcome, error) {
	return policy.Outcome{}, nil
}

func bare(t *testing.T) *Server {
	t.Helper()
	s, err := New(nothing{}, Options{Actor: func(context.Context, string) policy.Actor { return policy.Actor{} }})
	require.NoError(t, err)
	return s
}

// TestASubscriptionToNothingIsAcknowledged: the acknowledgement is the only, and
// so the last, notification before the library answers; it loses that, too.
func TestASubscriptionToNothingIsAcknowledged(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(bare(t).Handler(HTTPOptions{}))
	defer web.Close()
	for i := range 100 {
		resp := post(t, web.URL, fmt.Sprintf(listen, i), "", "Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "subscriptions/listen")
		said, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Contains(t, string(said), "notifications/subscriptions/acknowledged", "in call %d", i)
	}
}

func initialized(t *testing.T, url string) string {
	t.Helper()
	resp := post(t, url, `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"a","version":"1"}}}`, "")
	return resp.Header.Get("Mcp-Session-Id")
}

func post(t *testing.T, url, body, session string, headers ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if session != "" {
		req.Header.Set("Mcp-Session-Id", session)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// listen asks to be told when the list of tools changes.
const listen = `{"jsonrpc":"2.0","id":%d,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true},` +
	`"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`

// TestStoppingEndsSubscriptions: the library leaves these streams open, and
// would wait for them. Nothing that we offer can be subscribed to so far, so
// this server pretends.
func TestStoppingEndsSubscriptions(t *testing.T) {
	s := bare(t)
	server.WithToolCapabilities(true)(s.mcp)
	first := fmt.Sprintf(listen, 1)
	t.Run("over HTTP", func(t *testing.T) {
		web := httptest.NewServer(s.Handler(HTTPOptions{}))
		defer web.Close()
		resp := post(t, web.URL, first, "", "Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "subscriptions/listen")
		require.Equal(t, http.StatusOK, resp.StatusCode)
		line, err := bufio.NewReader(resp.Body).ReadString('\n')
		require.NoError(t, err, "it is open")
		require.NotEmpty(t, line)
		assert.NoError(t, s.Shutdown(t.Context()))
	})
	t.Run("over stdio", func(t *testing.T) {
		var out strings.Builder
		assert.NoError(t, s.Stdio(t.Context(), strings.NewReader(first), &out), "the end of input ends it")
	})
}

// TestATaskIsACall: task-augmented calls are broken in mcp-go v1.2.1, so they
// are not offered; who asks for one gets the answer at once.
func TestATaskIsACall(t *testing.T) {
	s := bare(t)
	s.mcp.AddTool(mcp.NewTool("plain"), func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return mcp.NewToolResultText("done"), ctx.Err()
	})
	var out strings.Builder
	require.NoError(t, s.Stdio(t.Context(), strings.NewReader(
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"plain","task":{"ttl":60000}}}`), &out))
	assert.Contains(t, out.String(), `"done"`)
}

// TestAPanicInTheLibraryEndsNothing: a message whose dispatch panics has an
// answer without the panic's text, which the log does not have either.
func TestAPanicInTheLibraryEndsNothing(t *testing.T) {
	s := bare(t)
	hooks := &server.Hooks{}
	hooks.AddBeforePing(func(context.Context, any, *mcp.PingRequest) { panic("secret") })
	server.WithHooks(hooks)(s.mcp)
	var out, log strings.Builder
	s.Logger = slog.New(slog.NewTextHandler(&log, nil))
	require.NoError(t, s.Stdio(t.Context(), strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"ping"}`), &out))
	assert.Contains(t, log.String(), "a message panicked")
	assert.NotContains(t, log.String(), "secret")
	assert.Contains(t, out.String(), `"id":1`)
	assert.Contains(t, out.String(), "-32603")
	assert.NotContains(t, out.String(), "secret")
}
