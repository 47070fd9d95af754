package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
)

// TestAFloodDoesNotFillTheLog has one message a hundred thousand times, beside others.
func TestAFloodDoesNotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := &program{Stderr: &out, metrics: newMetrics()}
		log := p.logger(settings{LogLevel: "info", LogFormat: "json"})
		for range 100_000 {
			log.Warn("again and again")
			log.Debug("not logged, and not counted")
		}
		log.With("a", 1).WithGroup("g").Error("something else")
		assert.Equal(t, mostLines+1, strings.Count(out.String(), "\n"))
		assert.Contains(t, out.String(), "something else", "what matters is not hidden")
		out.Reset()
		time.Sleep(time.Minute)
		for range 2 {
			log.Warn("again and again")
		}
		lines := strings.Split(out.String(), "\n")
		assert.Contains(t, lines[0], fmt.Sprintf(`"left_out":%d`, 100_000-mostLines))
		assert.NotContains(t, lines[1], "left_out")

		out.Reset()
		for i := range 100_000 { // a library with numbers in its messages
			log.Warn(fmt.Sprintf("message %d", i))
		}
		assert.LessOrEqual(t, strings.Count(out.String(), "\n"), mostMessages+mostLines)
		out.Reset()
		log.Error("long", "text", strings.Repeat("x", 1<<20), "error", errors.New(strings.Repeat("y", 1<<20)))
		assert.Less(t, out.Len(), 3*mostValue)
	})
}

// TestEachChangeIsOneLine tells a story to two processes and reads their logs as a
// program would.
func TestEachChangeIsOneLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	url, log, stop := serving(t, append(w.env, "VPSGUARD_LOG_FORMAT=json", "VPSGUARD_API_TIMEOUT=30s"), "serve")
	becomes(t, url, 200)
	c, err := client.NewStreamableHttpClient(url + "/mcp")
	require.NoError(t, err)
	greet(t, c)
	service, _ := w.service(t)
	withPassphrase(t, service)
	_, out := tool(t, c, "restore_snapshot", map[string]any{"server": "web-server-01", "snapshot_id": 801, "reason": "words-of-somebody"})
	id := requestID.FindString(fmt.Sprint(out))
	_, err = service.Deny(t.Context(), id, policy.Verdict{By: atTerminal(), Way: policy.WaySlack})
	require.Error(t, err, "the terminal is not Slack")
	approve(t, service, id)
	until(t, service, id, "it is done", func(r policy.Request) bool { return r.State == policy.StateDone })
	log.await(t, `"to":"done"`)
	assert.Equal(t, 0, stop())

	me, _ := localUser()
	var told []string
	lines := bufio.NewScanner(strings.NewReader(log.String()))
	for lines.Scan() {
		var l map[string]any
		require.NoError(t, json.Unmarshal(lines.Bytes(), &l), lines.Text())
		if l["msg"] == "a request has changed" {
			assert.Equal(t, "INFO", l["level"])
			assert.Equal(t, id, l["request"])
			assert.Equal(t, "restore_snapshot", l["operation"])
			told = append(told, fmt.Sprint(l["from"], ">", l["to"], " by ", l["actor"], " door ", l["door"]))
		}
		if l["msg"] == "a decision was refused" {
			assert.Equal(t, []any{id, "restore_snapshot", me, "terminal"}, []any{l["request"], l["operation"], l["actor"], l["door"]})
			told = append(told, "refused")
		}
	}
	assert.ElementsMatch(t, []string{
		"none>held by loopback door mcp", "refused", "held>approved by " + me + " door terminal",
		"approved>running by vpsguard door none", "running>done by vpsguard door none",
	}, told, "each once, whoever did it")
	assert.NotContains(t, log.String(), "words-of-somebody")
}
