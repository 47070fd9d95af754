package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rawClient is an MCP client that sends one POST a call, to whichever server it is
// told: in its session, as a client of 2025-06-18, or, where it has none, as one of
// 2026-07-28.
type rawClient struct {
	token   string // "" where callers need none
	session string
}

const modernMCP = "2026-07-28"

// greet opens a session at a server.
func (c rawClient) greet(t *testing.T, url string) rawClient {
	t.Helper()
	resp, err := c.post(t.Context(), url, `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"raw-client","version":"1"}}}`, "")
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	c.session = resp.Header.Get("Mcp-Session-Id")
	return c
}

// post sends a frame.
func (c rawClient) post(ctx context.Context, url, body, tool string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/mcp", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.session == "" && tool != "" {
		req.Header.Set("Mcp-Protocol-Version", modernMCP)
		req.Header.Set("Mcp-Method", "tools/call")
		req.Header.Set("Mcp-Name", tool)
		return http.DefaultClient.Do(req)
	}
	req.Header.Set("Mcp-Protocol-Version", "2025-06-18")
	if c.session != "" {
		req.Header.Set("Mcp-Session-Id", c.session)
	}
	return http.DefaultClient.Do(req)
}

// toolAnswer is what a tool says.
type toolAnswer struct {
	Request struct {
		ID    string `json:"id"`
		State string `json:"state"`
	} `json:"request"`
	Error *struct {
		Kind    string `json:"kind"`
		Message string `json:"message"`
	} `json:"error"`
}

// call calls a tool of one server.
func (c rawClient) call(ctx context.Context, url, name string, args map[string]any) (a toolAnswer, err error) {
	params := map[string]any{"name": name, "arguments": args}
	if c.session == "" {
		params["_meta"] = map[string]any{
			"io.modelcontextprotocol/protocolVersion": modernMCP, "io.modelcontextprotocol/clientCapabilities": map[string]any{},
			"io.modelcontextprotocol/clientInfo": map[string]any{"name": "raw-client", "version": "1"},
		}
	}
	raw, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
	if err != nil {
		return a, err
	}
	resp, err := c.post(ctx, url, string(raw), name)
	if err != nil {
		return a, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return a, err
	}
	if resp.StatusCode != http.StatusOK {
		return a, fmt.Errorf("status %d: %s", resp.StatusCode, body)
	}
	if _, data, ok := bytes.Cut(body, []byte("data: ")); ok { // as an event
		body, _, _ = bytes.Cut(data, []byte("\n"))
	}
	var frame struct {
		Result struct {
			Structured toolAnswer `json:"structuredContent"`
		} `json:"result"`
		Error json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(body, &frame); err != nil {
		return a, err
	}
	if frame.Error != nil {
		return a, fmt.Errorf("error: %s", frame.Error)
	}
	return frame.Result.Structured, nil
}
