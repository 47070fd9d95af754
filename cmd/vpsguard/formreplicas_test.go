package main

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
)

// formReply is what a client that shows forms gets.
type formReply struct {
	State      string     `json:"requestState"` // of the form that it is to show
	Structured toolAnswer `json:"structuredContent"`
	Content    []struct{ Text string }
}

// withForms calls a tool as a client of 2026-07-28 that shows forms. more are parameters of
// the call.
func withForms(t *testing.T, base, name string, args, more map[string]any) (out formReply) {
	t.Helper()
	params := map[string]any{"name": name, "arguments": args, "_meta": map[string]any{
		"io.modelcontextprotocol/protocolVersion": modernMCP, "io.modelcontextprotocol/clientInfo": map[string]any{"name": "forms", "version": "1"},
		"io.modelcontextprotocol/clientCapabilities": map[string]any{"elicitation": map[string]any{"form": map[string]any{}}},
	}}
	maps.Copy(params, more)
	raw, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
	require.NoError(t, err)
	got := post(t, base+"/mcp", "", string(raw)).body
	if _, data, ok := strings.Cut(got, "data: "); ok { // as an event
		got, _, _ = strings.Cut(data, "\n")
	}
	var frame struct{ Result formReply }
	require.NoError(t, json.Unmarshal([]byte(got), &frame), got)
	return frame.Result
}

// TestReplicasThatStartAtOnceSealWithOneKey: two processes begin on an empty database, and
// each is asked for a form before there is a key for them. What one has sealed, the other takes.
func TestReplicasThatStartAtOnceSealWithOneKey(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		w.env = append(w.env, "VPSGUARD_CONFIRM=terminal,elicitation")
		replicas := w.replicas(t, 2)
		asked := []struct {
			tool string
			args map[string]any
			id   string
		}{
			{tool: "delete_backup", args: map[string]any{"server": "web-server-01", "backup_id": 499, "reason": "x"}},
			{tool: "delete_snapshot", args: map[string]any{"server": "web-server-01", "snapshot_id": 798, "reason": "x"}},
		}
		planning := func() int { return w.fake.Reads("/snapshots/") + w.fake.Reads("/backups/") }
		for i := range asked { // by a client that shows none
			a, err := rawClient{}.call(t.Context(), replicas[i].address(), asked[i].tool, asked[i].args)
			require.NoError(t, err)
			require.Equal(t, string(policy.StateHeld), a.Request.State, "%+v", a.Error)
			asked[i].id = a.Request.ID
		}
		_, l := w.service(t)
		key, err := l.Setting(t.Context(), "state_key")
		require.NoError(t, err)
		require.Empty(t, key, "none was needed yet")

		// While nobody can write, both find that there is none.
		forms := make([]formReply, len(asked))
		var all sync.WaitGroup
		require.NoError(t, l.Change(t.Context(), func(context.Context, policy.Tx) error {
			already := planning() // which is what planning them takes
			for i, a := range asked {
				all.Go(func() { forms[i] = withForms(t, replicas[i].address(), a.tool, a.args, nil) })
			}
			assert.True(t, assertEventually(func() bool { return planning() >= 2*already }), "both have planned")
			return nil
		}))
		all.Wait()
		for i, a := range asked {
			require.NotEmpty(t, forms[i].State, "%+v", forms[i])
			got := withForms(t, replicas[1-i].address(), a.tool, a.args, map[string]any{
				"requestState":   forms[i].State,
				"inputResponses": map[string]any{"form": map[string]any{"action": "accept", "content": map[string]any{"server": "web-server-01"}}},
			})
			assert.Equal(t, a.id, got.Structured.Request.ID)
			require.NotEmpty(t, got.Content)
			assert.Contains(t, got.Content[0].Text, "counts as one approval")
		}
		service, _ := w.service(t)
		for _, a := range asked {
			r := until(t, service, a.id, "it is done", in(policy.StateDone))
			assert.Len(t, r.Approvals, 1)
		}
		var events []policy.Event
		records, err := l.Records(t.Context(), 1, 0)
		require.NoError(t, err)
		for _, record := range records {
			b, err := record.Parse()
			require.NoError(t, err)
			events = append(events, b.Event)
		}
		events = slices.DeleteFunc(events, func(e policy.Event) bool { return e != policy.EventStateKey })
		assert.Len(t, events, 1, "one key was made")
		_, err = l.Verify(t.Context(), nil)
		require.NoError(t, err)
	})
}
