package main

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
)

// every walks all commands.
func every(c *cobra.Command, visit func(*cobra.Command)) {
	visit(c)
	for _, child := range c.Commands() {
		every(child, visit)
	}
}

func TestEveryCommandHelps(t *testing.T) {
	t.Parallel()
	var names []string
	every((&program{Now: time.Now}).root(), func(c *cobra.Command) {
		path := c.CommandPath()
		names = append(names, path)
		out, log, code := vpsguard(t, nil, append(strings.Fields(path)[1:], "--help")...)
		assert.Equal(t, 0, code, path)
		assert.Empty(t, log, path)
		assert.Contains(t, out, "Examples:", path)
		assert.NotEmpty(t, c.Short, path)
		for line := range strings.SplitSeq(c.Long+"\n"+c.Example, "\n") {
			assert.LessOrEqual(t, len(line), 160, "%s: %s", path, line)
		}
		assert.False(t, strings.HasSuffix(c.Short, "."), path)
	})
	golden(t, "commands.golden", strings.Join(names, "\n")+"\n")
}

func TestWrongUse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"reqests"}, `there is no command "reqests" below vpsguard; did you mean vpsguard requests?`},
		{[]string{"approve", "rq_7f3k9c"}, `there is no command "approve" below vpsguard`},
		{[]string{"requests", "aprove", "rq_7f3k9c"}, `did you mean vpsguard requests approve?`},
		{[]string{"requests", "approve"}, "takes the id of one request"},
		{[]string{"requests", "approve", "rq_7f3k9c", "rq_7f3k9d"}, "takes the id of one request"},
		{[]string{"requests", "approve", "801"}, `"801" is not the id of a request`},
		{[]string{"requests", "approve", "rq_7f3k9c", "--yes"}, "unknown flag: --yes"},
		{[]string{"requests", "approve", "rq_7f3k9c", "--passphrase", "x"}, "unknown flag: --passphrase"},
		{[]string{"requests", "settle", "rq_7f3k9c"}, "needs --as done or --as failed"},
		{[]string{"requests", "settle", "rq_7f3k9c", "--as", "maybe"}, "needs --as done or --as failed"},
		{[]string{"requests", "list", "--output", "yaml"}, "it must be text or json"},
		{[]string{"requests", "list", "--limit", "many"}, "--limit"},
		{[]string{"audit", "list", "--limit", "0"}, "--limit must be a whole number"},
		{[]string{"audit", "list", "--request", "x"}, "is not the id of a request"},
		{[]string{"serve", "now"}, "vpsguard serve takes no arguments"},
		{[]string{"sandbox", "--addr", "8080"}, "--addr must be a host and a port"},
		{[]string{"sandbox", "--addr", "0.0.0.0:8080"}, "the sandbox is for this host only"},
		{[]string{"help", "nothing"}, `there is no help on "nothing"`},
		{[]string{"version", "\x1b[2J"}, "takes no arguments"},
	} {
		out, log, code := vpsguard(t, []string{"HOME=" + t.TempDir()}, c.args...)
		assert.Equal(t, 2, code, c.args)
		assert.Empty(t, out, c.args)
		assert.Contains(t, log, c.says)
		assert.Equal(t, 1, strings.Count(log, "\n"), "one line: %s", log)
		assert.NotContains(t, log, "\x1b")
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	for _, c := range []struct {
		args []string
		env  []string
		code int
		says string
	}{
		{[]string{"serve"}, nil, 2, "VPSGUARD_API_TOKEN is not set"},
		{[]string{"stdio"}, nil, 2, "VPSGUARD_API_TOKEN is not set"},
		{[]string{"serve"}, []string{"VPSGUARD_API_TOKEN=x", "VPSGUARD_ADDR=0.0.0.0:8080"}, 2, "nothing would be served; make one (vpsguard token new NAME)"},
		{[]string{"serve"}, []string{"VPSGUARD_API_TOKEN=x", "VPSGUARD_ADDR=:8080"}, 2, "nothing would be served"},
		{[]string{"serve"}, []string{"VPSGUARD_API_TOKEN=x", "VPSGUARD_ADDR=192.0.2.1:8080"}, 2, "nothing would be served"},
		{[]string{"requests", "list"}, nil, 1, "there is no ledger at"},
		{[]string{"audit", "verify"}, nil, 1, "there is no ledger at"},
		{[]string{"requests", "show", "rq_7f3k9c"}, nil, 1, "there is no ledger at"},
		{[]string{"requests", "--sandbox"}, nil, 1, "no such sandbox of yours runs"},
	} {
		out, log, code := vpsguard(t, append([]string{"HOME=" + home}, c.env...), c.args...)
		assert.Equal(t, c.code, code, c.args)
		assert.Empty(t, out, c.args)
		assert.Contains(t, log, c.says)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	out, _, code := vpsguard(t, nil, "version")
	assert.Equal(t, 0, code)
	assert.Regexp(t, `^vpsguard \S+, go1\.\S+, \w+/\w+`, out)
	out, _, code = vpsguard(t, nil, "version", "--output", "json")
	assert.Equal(t, 0, code)
	assert.JSONEq(t, `"`+build().Go+`"`, out[strings.Index(out, `"go":`)+5:strings.Index(out, `,"platform"`)])
}

func TestNearest(t *testing.T) {
	t.Parallel()
	names := []string{"VPSGUARD_ADDR", "VPSGUARD_CONFIRM", "VPSGUARD_READ_ONLY"}
	assert.Equal(t, "VPSGUARD_READ_ONLY", nearest("VPSGUARD_READONLY", names))
	assert.Equal(t, "VPSGUARD_CONFIRM", nearest("VPSGUARD_CONFRIM", names))
	assert.Equal(t, "VPSGUARD_ADDR", nearest("VPSGUARD_ADDRESS", names))
	assert.Empty(t, nearest("VPSGUARD_UNLIKE_ALL", names))
}

// TestListsAtTheTerminal can be followed to their end, and say who did what.
func TestListsAtTheTerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	s, _ := w.service(t)
	for _, reason := range []string{"one", "two"} {
		withdrawn := hold(t, s, reason)
		_, log, code := vpsguard(t, w.env, "requests", "cancel", withdrawn)
		require.Zero(t, code, log)
	}
	out, _, code := vpsguard(t, w.env, "requests", "list", "--state", "cancelled", "--server", "web-server-01", "--limit", "1")
	assert.Zero(t, code)
	_, next, ok := strings.Cut(strings.TrimSpace(out), "1 of 2; the next page: vpsguard ")
	require.True(t, ok, out)
	assert.Contains(t, next, `requests list --state "cancelled" --server "web-server-01" --limit 1 --cursor `)
	second, _, code := vpsguard(t, w.env, strings.Fields(strings.ReplaceAll(next, `"`, ""))...)
	assert.Zero(t, code, "what is printed works as it stands")
	assert.Contains(t, second, "1 of 2\n")
	assert.NotEqual(t, out, second)

	_, err := s.Call(t.Context(), policy.Call{Actor: policy.Actor{
		Door: policy.DoorMCP, Subject: "agent", Name: "agent", Vouched: "the test", Role: policy.RoleOperate,
	}, Operation: "create_snapshot", Arguments: []byte(`{"server":"web-server-01","name":"now"}`)})
	require.NoError(t, err)
	out, _, _ = vpsguard(t, w.env, "audit", "list")
	assert.Regexp(t, `[0-9]{2}:[0-9]{2}:[0-9]{2} UTC request.allowed rq_[a-z0-9]{6} → approved, which takes nobody; asked by agent`, out)
	assert.Regexp(t, `request.held rq_[a-z0-9]{6} → held, asked by `, out)
}
