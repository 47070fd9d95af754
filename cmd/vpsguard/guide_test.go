package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// inquire sends requests to a stdio process, as a client does, and gives its
// results in their order.
func inquire(t *testing.T, env []string, requests ...string) []json.RawMessage {
	t.Helper()
	var in strings.Builder
	in.WriteString(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"a","version":"1"}}}` + "\n")
	for i, r := range requests {
		fmt.Fprintf(&in, `{"jsonrpc":"2.0","id":%d,%s}`+"\n", i+1, r)
	}
	var out, log bytes.Buffer
	p := &program{Args: []string{"vpsguard", "stdio"}, Env: env, Stdin: strings.NewReader(in.String()), Stdout: &out, Stderr: &log, Now: time.Now}
	require.Zero(t, p.Main(t.Context()), log.String())
	results := make([]json.RawMessage, len(requests)+1)
	for line := range strings.Lines(out.String()) {
		var answer struct {
			ID     int
			Result json.RawMessage
		}
		require.NoError(t, json.Unmarshal([]byte(line), &answer))
		require.NotEmpty(t, answer.Result, line)
		results[answer.ID] = answer.Result
	}
	return results
}

// pretty is JSON as it is frozen.
func pretty(t *testing.T, raw []byte) string {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal(raw, &v))
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	require.NoError(t, e.Encode(v))
	return b.String()
}

// TestTheGuideIsFrozen looks at what a client gets beside the tools, which
// tools/testdata has.
func TestTheGuideIsFrozen(t *testing.T) {
	w := newWorld(t, fast())
	got := inquire(t, w.env, `"method":"prompts/list"`, `"method":"resources/templates/list"`, `"method":"resources/list"`,
		`"method":"prompts/get","params":{"name":"safe_change","arguments":{"server":"web-server-01","change":"upgrade \"PostgreSQL\" to 18\nand restart it"}}`,
		`"method":"prompts/get","params":{"name":"roll_back_server","arguments":{"server":"web-server-01"}}`,
		`"method":"resources/read","params":{"uri":"vpsguard://servers/web-server-01/recovery-points"}`)
	var hello struct {
		Capabilities map[string]any `json:"capabilities"`
		Instructions string         `json:"instructions"`
	}
	require.NoError(t, json.Unmarshal(got[0], &hello))
	said, err := json.Marshal(hello)
	require.NoError(t, err)
	golden(t, "mcp/initialize.golden", pretty(t, said))
	var listed struct{ Prompts, ResourceTemplates []json.RawMessage }
	require.NoError(t, json.Unmarshal(got[1], &listed))
	require.NoError(t, json.Unmarshal(got[2], &listed))
	require.Len(t, listed.Prompts, 2)
	golden(t, "mcp/prompts/roll_back_server.golden", pretty(t, listed.Prompts[0])+pretty(t, got[5]))
	golden(t, "mcp/prompts/safe_change.golden", pretty(t, listed.Prompts[1])+pretty(t, got[4]))
	require.Len(t, listed.ResourceTemplates, 1)
	golden(t, "mcp/resource_templates/recovery_points.golden", pretty(t, listed.ResourceTemplates[0]))
	assert.JSONEq(t, `{"resources":[]}`, string(got[3]))
	assert.Contains(t, string(got[6]), "pre-migration-snapshot")

	t.Logf("instructions: %d bytes", len(hello.Instructions))
	t.Logf("prompts, as listed: %d bytes; filled in: %d and %d", len(got[1]), len(got[4]), len(got[5]))
	t.Logf("resource templates: %d bytes", len(got[2]))
}

func TestInstructionsAreShortAndSayHowAHoldWorks(t *testing.T) {
	for _, readOnly := range []bool{false, true} {
		text := instructions(readOnly)
		t.Logf("read only %t: %d bytes", readOnly, len(text))
		assert.LessOrEqual(t, len(text), 600)
	}
	for _, says := range []string{"HELD", "what would be lost", "who can confirm it where", "until when", "you cannot", "get_request", "wait_seconds"} {
		assert.Contains(t, instructions(false), says)
	}
	assert.NotContains(t, instructions(true), "get_request", "nothing is held there")
}

// TestTheGuideNamesWhatIsThere: a text that names a tool or an argument that has
// gone sends a model looking for it.
func TestTheGuideNamesWhatIsThere(t *testing.T) {
	operations, known := map[string]bool{}, map[string]bool{}
	for _, d := range catalogue(t) {
		operations[d.Name], known[d.Name] = true, true
		for _, a := range d.Arguments {
			known[a.Name] = true
		}
	}
	snake := regexp.MustCompile(`[a-z]+(_[a-z]+)+`)
	for _, word := range snake.FindAllString(instructions(false)+instructions(true), -1) {
		assert.True(t, known[word], word)
	}
	for _, p := range prompts {
		var named []string
		for _, word := range snake.FindAllString(p.Text, -1) {
			assert.True(t, known[word], "%s: %s", p.Name, word)
			if operations[word] {
				named = append(named, word)
			}
		}
		for _, name := range p.Uses {
			assert.Contains(t, named, name, "%s says that it uses it", p.Name)
		}
		for _, name := range named {
			assert.Contains(t, p.Uses, name, "%s names it", p.Name)
		}
		assert.NotContains(t, p.Text, "delete_", "%s: nothing is deleted on the way", p.Name)
	}
}

func TestAReadOnlyProcessHasNoPromptThatChangesSomething(t *testing.T) {
	w := newWorld(t, fast())
	got := inquire(t, append(w.env, "VPSGUARD_READ_ONLY=true"), `"method":"resources/templates/list"`)
	assert.Contains(t, string(got[0]), "only reads")
	assert.NotContains(t, string(got[0]), `"prompts"`, "there are none")
	assert.Contains(t, string(got[1]), "recovery-points", "what only reads is there")
}
