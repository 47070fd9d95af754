//go:build unix

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSandboxFromEndToEnd tells the whole story with real processes, a real MCP
// client and a person at a terminal.
func TestSandboxFromEndToEnd(t *testing.T) {
	t.Parallel()
	env := append(bare(t), "VPSGUARD_API_TOKEN=vps_real", "VPSGUARD_DATABASE=postgres://real", "VPSGUARD_SLACK_BOT_TOKEN=xoxb-real",
		"VPSGUARD_ADDR=127.0.0.1:0")
	cmd, printed := spawn(t, env, "sandbox")
	banner := printed.await(t, "audit verify --sandbox")
	require.Equal(t, 5, strings.Count(banner, "\n"), "five lines:\n%s", banner)
	url := regexp.MustCompile(`http://127\.0\.0\.1:\d+/mcp`).FindString(banner)
	require.NotEmpty(t, url, banner)
	assert.Contains(t, banner, "the passphrase is: sandbox")
	assert.Contains(t, banner, "claude mcp add --transport http sandbox "+url)
	assert.NotContains(t, banner, "real\n")

	c, err := client.NewStreamableHttpClient(url)
	require.NoError(t, err)
	greet(t, c)
	text, out := tool(t, c, "list_servers", nil)
	assert.True(t, strings.HasPrefix(text, "[sandbox]") || strings.HasPrefix(strings.ToLower(text), "sandbox"), text)
	assert.Equal(t, true, out["sandbox"])
	text, _ = tool(t, c, "list_snapshots", map[string]any{"server": "web-server-01"})
	assert.Contains(t, text, "801")
	text, out = tool(t, c, "restore_snapshot", map[string]any{"server": "web-server-01", "snapshot_id": 801, "reason": "the deploy broke login"})
	request, ok := out["request"].(map[string]any)
	require.True(t, ok, text)
	id, _ := request["id"].(string)
	assert.Equal(t, "held", request["state"])
	assert.NotContains(t, text, "requests approve", "a model is not led to the command")

	list, _, code := vpsguard(t, env, "requests", "--sandbox")
	assert.Equal(t, 0, code)
	assert.Contains(t, list, id+" held")
	p := sitDown(t, env, "requests", "approve", id, "--sandbox")
	p.reads("type web-server-01: ")
	p.types("web-server-01")
	p.reads("Passphrase: ")
	p.types("sandbox")
	p.reads("safety copy: done")
	_, out = tool(t, c, "get_request", map[string]any{"request_id": id, "wait_seconds": 20})
	request, _ = out["request"].(map[string]any)
	assert.Equal(t, "done", request["state"], "get_request returns when the state changes")
	code, screen := p.leaves()
	assert.Equal(t, 0, code, screen)

	verified, log, code := vpsguard(t, env, "audit", "verify", "--sandbox")
	assert.Equal(t, 0, code, log)
	assert.Contains(t, verified, "The audit is whole")

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, ended(cmd), printed)
	assert.Equal(t, 5, strings.Count(printed.String(), "\n"), "nothing else was said:\n%s", printed)
	for _, pair := range env {
		if dir, ok := strings.CutPrefix(pair, "TMPDIR="); ok {
			left, err := os.ReadDir(dir)
			require.NoError(t, err)
			assert.Empty(t, left, "the ledger is thrown away")
		}
		if home, ok := strings.CutPrefix(pair, "HOME="); ok {
			left, err := filepath.Glob(filepath.Join(home, ".local", "state", "vpsguard", "*"))
			require.NoError(t, err)
			assert.Empty(t, left)
		}
	}
	_, log, code = vpsguard(t, env, "requests", "list", "--sandbox")
	assert.Equal(t, 1, code)
	assert.Contains(t, log, "no such sandbox of yours runs")
}

func TestSandboxTakesAnotherPort(t *testing.T) {
	t.Parallel()
	env := append(bare(t), "VPSGUARD_ADDR=127.0.0.1:0")
	url, _, _ := serving(t, env, "sandbox")
	taken := strings.TrimPrefix(url, "http://")
	other, printed, stop := serving(t, env, "sandbox", "--addr", taken)
	assert.NotEqual(t, url, other)
	assert.Contains(t, printed.await(t, "audit verify"), "("+taken+" is taken)")
	assert.Equal(t, 0, stop())
}

func TestSandboxOverStdio(t *testing.T) {
	t.Parallel()
	env := bare(t)
	said := &lines{}
	pipe := transport.NewStdioWithOptions("vpsguard", nil, []string{"sandbox", "--stdio"},
		transport.WithCommandFunc(func(_ context.Context, name string, _ []string, args []string) (*exec.Cmd, error) {
			cmd := exec.Command(name, args...) //nolint:noctx // the client ends it
			cmd.Env, cmd.Stderr = env, said
			return cmd, nil
		}))
	require.NoError(t, pipe.Start(t.Context()))
	c := greet(t, client.NewClient(pipe))
	text, out := tool(t, c, "restore_snapshot", map[string]any{"server": "web-server-01", "snapshot_id": 801, "reason": "x"})
	assert.Equal(t, true, out["sandbox"], text)
	assert.Contains(t, said.await(t, "audit verify"), "over this program's standard input and output")
	list, log, code := vpsguard(t, env, "requests", "--sandbox", "--output", "json")
	assert.Equal(t, 0, code, log)
	assert.Contains(t, list, `"total":1`)
	require.NoError(t, c.Close())
}

func TestSeveralSandboxes(t *testing.T) {
	t.Parallel()
	env := append(bare(t), "VPSGUARD_ADDR=127.0.0.1:0")
	first, said := spawn(t, env, "sandbox")
	said.await(t, "audit verify")
	second, said := spawn(t, env, "sandbox")
	said.await(t, "audit verify")
	_, log, code := vpsguard(t, env, "requests", "list", "--sandbox")
	assert.Equal(t, 0, code)
	assert.Contains(t, log, "2 sandboxes run; this is the newest")
	_, log, code = vpsguard(t, env, "requests", "list", "--sandbox="+strconv.Itoa(first.Process.Pid))
	assert.Equal(t, 0, code)
	assert.Empty(t, log)
	require.NoError(t, second.Process.Kill()) // its file stays
	_, _ = second.Process.Wait()
	_, log, code = vpsguard(t, env, "requests", "list", "--sandbox")
	assert.Equal(t, 0, code)
	assert.Empty(t, log, "the first is the newest that runs")
}
