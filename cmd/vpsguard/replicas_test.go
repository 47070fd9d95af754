package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger/pgtest"
)

// onPostgres puts the ledger of a world into a new database.
func (w *world) onPostgres(t testing.TB) *world {
	t.Helper()
	w.env = append(w.env, "VPSGUARD_DATABASE="+pgtest.Database(t)) // the last one counts
	return w
}

func (w *world) database() string {
	value := ""
	for _, pair := range w.env {
		if after, ok := strings.CutPrefix(pair, "VPSGUARD_DATABASE="); ok {
			value = after
		}
	}
	return value
}

func password(t testing.TB, database string) string {
	t.Helper()
	u, err := url.Parse(database)
	require.NoError(t, err)
	p, ok := u.User.Password()
	require.True(t, ok)
	return p
}

// connected is an MCP client of a server over HTTP.
func connected(t *testing.T, base string) *client.Client {
	t.Helper()
	c, err := client.NewStreamableHttpClient(base + "/mcp")
	require.NoError(t, err)
	return greet(t, c)
}

// TestReplicasShareOneDatabase: a call is held at one replica, a person agrees at
// a terminal, another replica tells of it, and one of them runs it.
func TestReplicasShareOneDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast()).onPostgres(t)
	s, l := w.service(t)
	withPassphrase(t, s)
	var urls []string
	var logs []*lines
	for i := range 3 {
		// The clock of the second is wrong, which nobody notices.
		now := time.Now
		if i == 1 {
			now = func() time.Time { return time.Now().Add(2 * time.Minute) }
		}
		base, log, _ := servingBy(t, &program{Now: now}, w.env, "serve")
		urls, logs = append(urls, base), append(logs, log)
	}
	_, held := tool(t, connected(t, urls[0]), "restore_snapshot", map[string]any{"server": "web-server-01", "snapshot_id": 801, "reason": "login is broken"})
	request, ok := held["request"].(map[string]any)
	require.True(t, ok)
	assert.Equal(t, "held", request["state"])
	id, ok := request["id"].(string)
	require.True(t, ok)

	// Somebody follows it at another replica, and it is decided here.
	type seen struct {
		result *mcp.CallToolResult
		err    error
		at     time.Time
	}
	saw := make(chan seen, 1)
	waiting := connected(t, urls[1])
	go func() {
		var call mcp.CallToolRequest
		call.Params.Name, call.Params.Arguments = "get_request", map[string]any{"request_id": id, "wait_seconds": 20}
		result, err := waiting.CallTool(t.Context(), call)
		saw <- seen{result, err, time.Now()}
	}()
	approve(t, s, id)
	agreed := time.Now()
	first := <-saw
	require.NoError(t, first.err)
	raw, err := json.Marshal(first.result.StructuredContent)
	require.NoError(t, err)
	assert.Contains(t, string(raw), `"state":"`)
	assert.NotContains(t, string(raw), `"state":"held"`, "another replica has seen it")
	t.Logf("another replica told of the decision after %s", first.at.Sub(agreed).Round(time.Millisecond))

	r := until(t, s, id, "it is done", func(r policy.Request) bool { return !r.State.Open() })
	assert.Equal(t, policy.StateDone, r.State, r.Why)
	assert.Len(t, w.fake.Mutations(), 2, "a safety copy and a restore, once each")
	_, err = l.Verify(t.Context(), nil)
	require.NoError(t, err)
	for i, log := range logs {
		status, _ := get(t, urls[i]+"/readyz")
		assert.Equal(t, http.StatusOK, status)
		assert.NotContains(t, log.String(), password(t, w.database()))
	}
}

// TestTheCommandLineOnPostgreSQL: everything that works on a ledger works there,
// and nothing prints the password.
func TestTheCommandLineOnPostgreSQL(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast()).onPostgres(t)
	printed := ""
	run := func(args ...string) (string, string, int) {
		out, log, code := vpsguard(t, w.env, args...)
		printed += out + log
		return out, log, code
	}
	_, log, code := run("requests", "list")
	assert.Equal(t, 1, code, "there is no ledger yet, and looking makes none")
	assert.Contains(t, log, "there is no ledger at postgres://127.0.0.1:")
	out, _, _ := run("doctor")
	assert.Contains(t, out, "warning  ledger: there is no ledger at postgres://")

	s, _ := w.service(t)
	withPassphrase(t, s)
	id := hold(t, s, "login is broken")
	out, log, code = run("requests", "list")
	assert.Zero(t, code, log)
	assert.Contains(t, out, id)
	_, log, code = run("requests", "deny", id, "--reason", "no")
	assert.Zero(t, code, log)
	out, _, code = run("audit", "verify")
	assert.Zero(t, code)
	assert.Contains(t, out, "The audit is whole: 3 records, 1 requests.")
	out, _, _ = run("audit", "export")
	assert.Equal(t, 3, strings.Count(out, "\n"))
	out, _, code = run("doctor")
	assert.Zero(t, code, out)
	assert.Contains(t, out, "ok       ledger: postgres://127.0.0.1:")
	assert.Contains(t, out, "does not sync what it stores", "as the tests' server is set up")
	assert.Contains(t, out, "ok       terminal: a passphrase is set")
	assert.NotContains(t, printed, password(t, w.database()))
}

func TestADatabaseFromAFileAndOneThatDoesNotLetUsIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast()).onPostgres(t)
	file := filepath.Join(t.TempDir(), "database")
	require.NoError(t, os.WriteFile(file, []byte(w.database()+"\n"), 0o600))
	_, l := w.service(t)
	require.NoError(t, l.Ready(t.Context()))
	env := slices.DeleteFunc(slices.Clone(w.env), func(pair string) bool { return strings.HasPrefix(pair, "VPSGUARD_DATABASE=") })
	out, log, code := vpsguard(t, append(env, "VPSGUARD_DATABASE_FILE="+file), "audit", "verify")
	assert.Zero(t, code, log)
	assert.Contains(t, out, "0 records")

	wrong := strings.Replace(w.database(), password(t, w.database()), "s3cret%21", 1)
	for _, args := range [][]string{{"audit", "verify"}, {"doctor"}, {"requests", "list", "--output", "json"}} {
		out, log, code := vpsguard(t, append(env, "VPSGUARD_DATABASE="+wrong, "VPSGUARD_LOG_LEVEL=debug"), args...)
		assert.Equal(t, 1, code)
		assert.Contains(t, out+log, "does not let this user in")
		assert.NotContains(t, out+log, "s3cret")
	}
	served := append(env, "VPSGUARD_DATABASE="+wrong)
	base, log2, _ := serving(t, served, "serve")
	log2.await(t, "the ledger could not be opened; trying again")
	status, body := get(t, base+"/readyz")
	assert.Equal(t, http.StatusServiceUnavailable, status)
	results := inquire(t, served, `"method":"tools/call","params":{"name":"list_servers","arguments":{}}`,
		`"method":"tools/call","params":{"name":"create_snapshot","arguments":{"server":"web-server-01","name":"before-deploy"}}`)
	assert.Contains(t, string(results[1]), "web-server-01", "reads of VPS.org need no ledger")
	assert.Contains(t, string(results[2]), "does not let this user in")
	assert.Empty(t, w.fake.Mutations())
	assert.NotContains(t, log2.String()+body+string(results[2]), "s3cret")
}

// TestMovingARunningInstallation copies a ledger to PostgreSQL while a server runs on
// the first, and goes on there.
func TestMovingARunningInstallation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	s, _ := w.service(t)
	withPassphrase(t, s)
	id := hold(t, s, "login is broken")
	base, old, _ := serving(t, w.env, "serve")
	to := pgtest.Database(t)
	out, log, code := vpsguard(t, append(slices.Clone(w.env), "VPSGUARD_DATABASE="+to), "ledger", "copy", "--from", "sqlite:"+w.path)
	require.Zero(t, code, log)
	assert.Contains(t, out, "Moved from "+w.path+" to postgres://127.0.0.1:")
	assert.Contains(t, out, ": 4 records, 1 requests (1 open), 2 settings, ")
	assert.Contains(t, log, "copied, request: 1 rows\n")
	assert.NotContains(t, out+log, password(t, to))

	text, _ := tool(t, connected(t, base), "create_snapshot", map[string]any{"server": "web-server-01", "name": "before-deploy"})
	assert.Contains(t, text, "this ledger was moved to postgres://127.0.0.1:")
	assert.NotContains(t, text, password(t, to))
	status, _ := get(t, base+"/readyz")
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Empty(t, w.fake.Mutations())

	moved := &world{fake: w.fake, env: append(slices.Clone(w.env), "VPSGUARD_DATABASE="+to)}
	serving(t, moved.env, "serve")
	s, l := moved.service(t)
	approve(t, s, id) // with the passphrase that was set before
	until(t, s, id, "it is done", func(r policy.Request) bool { return r.State == policy.StateDone })
	assert.Len(t, w.fake.Mutations(), 2, "once, by the server on the second")
	v, err := l.Verify(t.Context(), nil)
	require.NoError(t, err)
	out, _, code = vpsguard(t, w.env, "audit", "verify")
	assert.Zero(t, code, "the first can still be read")
	assert.Contains(t, out, "3 records, 1 requests")
	assert.Greater(t, v.Records, int64(4))

	_, log, code = vpsguard(t, w.env, "ledger", "copy", "--to", "sqlite:"+filepath.Join(t.TempDir(), "third.db"))
	assert.Equal(t, 1, code)
	assert.Contains(t, log, "was moved to postgres://")
	_, log, code = vpsguard(t, w.env, "ledger", "copy")
	assert.Equal(t, 2, code)
	assert.Contains(t, log, "needs --from or --to")
	_, log, code = vpsguard(t, w.env, "ledger", "copy", "--to", "mysql://me:s3cret@db/x")
	assert.Equal(t, 2, code)
	assert.NotContains(t, log, "s3cret")
	assert.NotContains(t, old.String(), password(t, to))
	_, again, _ := serving(t, w.env, "serve")
	assert.Contains(t, again.await(t, "the ledger can be read, and not changed"), "was moved to postgres://", "one that starts on it says so")
}
