package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
	"github.com/vpsguard/vpsguard/policy/policytest"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

var metricsURL = regexp.MustCompile(`http://[0-9.:]+/metrics`)

// samples are the series of a scrape and their values.
type samples map[string]float64

func scrape(t *testing.T, url string) (samples, string) {
	t.Helper()
	status, body := get(t, url)
	require.Equal(t, http.StatusOK, status, body)
	out := samples{}
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.LastIndex(line, " ")
		v, err := strconv.ParseFloat(strings.TrimSpace(line[i+1:]), 64)
		require.NoError(t, err, line)
		out[line[:i]] = v
	}
	return out, body
}

// TestTheMetricsTellTheStory has one of everything happen and looks at the numbers.
func TestTheMetricsTellTheStory(t *testing.T) {
	t.Parallel()
	o := fast()
	o.RestoreTakes = 1500 * time.Millisecond
	w := newWorld(t, o)
	f := w.withSlack(t, slackfake.Options{})
	url, log, stop := serving(t, append(w.env, "VPSGUARD_METRICS_ADDR=127.0.0.1:0", "VPSGUARD_API_TIMEOUT=30s"), "serve") // no answer is lost on a busy machine
	at := metricsURL.FindString(log.String())
	require.NotEmpty(t, at, log)
	becomes(t, url, http.StatusOK)
	is := func(series string, want float64) {
		t.Helper()
		var now samples
		assert.True(t, assertEventually(func() bool { now, _ = scrape(t, at); return now[series] == want }), "%s is %v, not %v:\n%s", series, now[series], want, log)
	}
	c, err := client.NewStreamableHttpClient(url + "/mcp")
	require.NoError(t, err)
	greet(t, c)
	service, _ := w.service(t) // of another process
	withPassphrase(t, service)

	restore := map[string]any{"server": "web-server-01", "snapshot_id": 801, "reason": "a-reason-of-somebodys"}
	_, out := tool(t, c, "restore_snapshot", restore)
	id := requestID.FindString(fmt.Sprint(out))
	is(`vpsguard_requests_open{door="mcp",operation="restore_snapshot",state="held"}`, 1)
	is(`vpsguard_request_changes_total{door="mcp",operation="restore_snapshot",state="held"}`, 1)
	now, _ := scrape(t, at)
	assert.Positive(t, now["vpsguard_oldest_held_age_seconds"])
	assert.Equal(t, 1, int(now["vpsguard_ledger_up"]))
	assert.Equal(t, 2, int(now["vpsguard_slack_connections"]))
	assert.NotContains(t, now, "vpsguard_slack_last_delivery_age_seconds", "Slack has delivered nothing yet")

	st, err := service.Show(t.Context(), id)
	require.NoError(t, err)
	v := policy.Verdict{By: atTerminal(), Way: policy.WayTerminal, Digest: st.Request.Plan.Digest, Typed: st.Request.Plan.Server.Typed(), Secret: "a-wrong-guess"}
	_, err = service.Decide(t.Context(), id, v)
	require.Error(t, err)
	is(`vpsguard_decisions_refused_total{door="terminal",kind="`+string(policy.KindOf(err))+`"}`, 1)
	approve(t, service, id)
	is(`vpsguard_request_changes_total{door="mcp",operation="restore_snapshot",state="approved"}`, 1)
	is(`vpsguard_request_decided_seconds_count{decision="approved",operation="restore_snapshot"}`, 1)
	is(`vpsguard_request_changes_total{door="mcp",operation="restore_snapshot",state="done"}`, 1)
	is(`vpsguard_request_done_seconds_count{operation="restore_snapshot",outcome="done"}`, 1)
	now, _ = scrape(t, at)
	assert.Greater(t, now[`vpsguard_request_done_seconds_sum{operation="restore_snapshot",outcome="done"}`], o.RestoreTakes.Seconds(), "as long as the server was restoring, at least")
	assert.Zero(t, int(now[`vpsguard_request_done_seconds_bucket{operation="restore_snapshot",outcome="done",le="1"}`]))

	_, out = tool(t, c, "delete_snapshot", restore)
	id = requestID.FindString(fmt.Sprint(out))
	require.NotEmpty(t, id, out)
	_, err = service.Deny(t.Context(), id, policy.Verdict{By: atTerminal(), Way: policy.WayTerminal})
	require.NoError(t, err)
	is(`vpsguard_request_decided_seconds_count{decision="denied",operation="delete_snapshot"}`, 1)
	tool(t, c, "create_snapshot", map[string]any{"server": "web-server-01", "name": "a-name-of-somebodys"})
	is(`vpsguard_request_done_seconds_count{operation="create_snapshot",outcome="done"}`, 1)
	is("vpsguard_oldest_held_age_seconds", 0)

	w.fake.Inject(vpsfake.Fault{Name: vpsfake.Error500})
	before, _ := scrape(t, at)
	tool(t, c, "list_backups", nil)
	const failed = `vpsguard_api_requests_total{endpoint="GET /backups/",outcome="unavailable"}`
	is(failed, before[failed]+3) // it is tried three times
	is(`vpsguard_calls_total{door="mcp",operation="list_backups",outcome="unavailable"}`, 1)
	w.fake.Heal()
	f.Inject(slackfake.Fault{Name: slackfake.RateLimited, Method: "chat.postMessage", Times: 1})
	_, _ = tool(t, c, "restore_snapshot", restore)
	is(`vpsguard_slack_calls_total{method="chat.postMessage",outcome="rate_limited"}`, 1)
	is(`vpsguard_slack_retries_total{method="chat.postMessage"}`, 1)
	f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "server list").Wait()
	is(`vpsguard_calls_total{door="slack",operation="list_servers",outcome="ok"}`, 1)

	now, body := scrape(t, at)
	told, _, _ := vpsguard(t, append(w.env, "VPSGUARD_METRICS_ADDR="+strings.TrimSuffix(strings.TrimPrefix(at, "http://"), "/metrics")), "doctor")
	assert.Contains(t, told, "ok       metrics: at "+at+"\n")
	told, _, _ = vpsguard(t, append(w.env, "VPSGUARD_METRICS_ADDR="+strings.TrimPrefix(url, "http://")), "doctor")
	assert.Contains(t, told, "wrong    metrics: something else than vpsguard answers at ")
	assert.Contains(t, now, "vpsguard_slack_last_delivery_age_seconds")
	assert.Positive(t, now[`vpsguard_api_requests_total{endpoint="POST /snapshots/{id}/restore/",outcome="ok"}`])
	assert.Positive(t, now[`vpsguard_api_request_seconds_count{endpoint="POST /snapshots/{id}/restore/"}`])
	_, l := w.service(t)
	head, err := l.Head(t.Context())
	require.NoError(t, err)
	is("vpsguard_audit_head", float64(head))
	info := 0
	for series := range now {
		if strings.HasPrefix(series, "vpsguard_build_info{") {
			info++
		}
	}
	assert.Equal(t, 1, info)
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	require.NoError(t, err)
	assert.Empty(t, problems)
	for _, said := range []string{id, "web-server-01", "12345", "801", "somebodys", "test-client", "loopback", "uid", slackfake.Ops, slackfake.Ada} {
		assert.NotRegexp(t, `(?m)^vpsguard_.*\{.*\b`+regexp.QuoteMeta(said)+`\b.*\}`, body, "no label holds what has no end")
	}
	assert.Equal(t, 0, stop())
	_, err = http.Get(at) //nolint:noctx // a test's own server
	require.Error(t, err, "it ends with the server")
}

// TestTheMetricsAreOnlyForThisHost: no web page reads them by a name that leads here,
// and a port that is taken stops start-up.
func TestTheMetricsAreOnlyForThisHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	_, log, _ := serving(t, append(w.env, "VPSGUARD_METRICS_ADDR=127.0.0.1:0"), "serve")
	at := metricsURL.FindString(log.String())
	for host, status := range map[string]int{"localhost:9090": http.StatusOK, "evil.example": http.StatusForbidden} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at, nil)
		require.NoError(t, err)
		req.Host = host
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, status, resp.StatusCode, host)
	}
	_, said, code := vpsguard(t, append(w.env, "VPSGUARD_METRICS_ADDR="+strings.TrimSuffix(strings.TrimPrefix(at, "http://"), "/metrics")), "serve")
	assert.Equal(t, 1, code)
	assert.Contains(t, said, "cannot be listened on for the metrics; is something else running there?")
}

// TestTheLedgersNumbersAreNeverOld closes the ledger under a scrape.
func TestTheLedgersNumbersAreNeverOld(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	require.NoError(t, os.WriteFile(w.path, []byte(strings.Repeat("this is no database ", 20)), 0o600))
	_, log, _ := serving(t, append(w.env, "VPSGUARD_METRICS_ADDR=127.0.0.1:0"), "serve")
	now, body := scrape(t, metricsURL.FindString(log.String()))
	assert.Contains(t, now, "vpsguard_ledger_up")
	assert.Zero(t, int(now["vpsguard_ledger_up"]))
	for _, name := range []string{mOpen.name, mOldest.name, mHead.name, mQueue.name} {
		assert.NotContains(t, body, name+" ")
		assert.NotContains(t, body, name+"{")
	}
}

// BenchmarkScrape reads the ledger each time: 20,000 closed requests, 100 held ones.
func BenchmarkScrape(b *testing.B) {
	url := "sqlite:" + b.TempDir() + "/ledger.db"
	o := openBeside(b.Context(), func(ctx context.Context) (*ledger.Ledger, error) {
		return ledger.Open(ctx, url, ledger.Options{Now: time.Now})
	}, time.Now, slog.New(slog.DiscardHandler))
	b.Cleanup(func() { _ = o.Close() })
	const closed = 20_000
	require.NoError(b, o.Change(b.Context(), func(ctx context.Context, tx policy.Tx) error {
		for i := range closed + 100 {
			r := policytest.Request("rq_" + strconv.Itoa(i))
			r.ApproveBy = time.Now().Add(time.Hour)
			if i < closed {
				r.State, r.DueAt, r.EndedAt = policy.StateDone, time.Time{}, policytest.Start
			}
			if _, err := tx.Put(ctx, r, policytest.Held(r)); err != nil {
				return err
			}
		}
		return nil
	}))
	m := newMetrics()
	numbers := &ledgerNumbers{ledger: o, metrics: m}
	m.registry.MustRegister(numbers)
	listener, err := listenMetrics(b.Context(), "127.0.0.1:0")
	require.NoError(b, err)
	server := m.serve(listener)
	b.Cleanup(func() { _ = server.Close() })
	at := "http://" + listener.Addr().String() + "/metrics"
	for b.Loop() {
		numbers.mu.Lock()
		numbers.at = time.Time{} // what it has read is old
		numbers.mu.Unlock()
		res, err := http.Get(at) //nolint:noctx // a benchmark's own server
		require.NoError(b, err)
		body, err := io.ReadAll(res.Body)
		require.NoError(b, err)
		require.NoError(b, res.Body.Close())
		require.Contains(b, string(body), `vpsguard_requests_open{door="mcp",operation="other",state="held"} 100`)
	}
}
