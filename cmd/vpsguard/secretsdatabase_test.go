package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy/ledger/pgtest"
)

// owned gives a database to a user of its own, whose password is secretPasswd.
func owned(t *testing.T, database string) *url.URL {
	t.Helper()
	u, err := url.Parse(database)
	require.NoError(t, err)
	name := strings.Trim(u.Path, "/")
	db, err := pgx.Connect(t.Context(), database)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close(t.Context())) }()
	for _, sql := range []string{
		"CREATE ROLE ops_" + name + " LOGIN PASSWORD '" + strings.ReplaceAll(secretPasswd, "'", "''") + "'",
		"ALTER DATABASE " + name + " OWNER TO ops_" + name,
	} {
		_, err = db.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	u.User = url.UserPassword("ops_"+name, secretPasswd)
	return u
}

// withPassword puts the ledger of a world into PostgreSQL, with a password that has
// to be escaped.
func withPassword(t *testing.T, w *world) {
	t.Helper()
	w.env = append(w.env, "VPSGUARD_DATABASE="+owned(t, pgtest.Database(t)).String()) // the last one counts
}

// TestTheDatabasesPasswordIsToldToNobody has a ledger's database work, refuse, be away and
// be written wrongly, and looks for its password in all that comes out.
//
//nolint:funlen // one story
func TestTheDatabasesPasswordIsToldToNobody(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	whole := func(u url.URL) string { return u.String() }
	written := func(format string) func(url.URL) string { // with the password in its place
		return func(url.URL) string { return fmt.Sprintf(format, url.QueryEscape(secretPasswd)) }
	}
	cases := map[string]struct {
		database func(url.URL) string // from a good one
		says     string
	}{
		"one that works": {whole, "ok       ledger: postgres://127.0.0.1:"},
		"with codes for each letter": {func(u url.URL) string {
			return strings.Replace(u.String(), strings.TrimPrefix(u.User.String(), u.User.Username()+":"), percent(secretPasswd), 1)
		}, "ok       ledger: postgres://127.0.0.1:"},
		"named as a parameter": {func(u url.URL) string {
			u.RawQuery = url.Values{"user": {u.User.Username()}, "password": {secretPasswd}}.Encode()
			u.User = nil
			return u.String()
		}, "ok       ledger: postgres://127.0.0.1:"},
		"with another user": {func(u url.URL) string {
			u.User = url.UserPassword("nobody", secretPasswd)
			return u.String()
		}, "does not let this user in"},
		"where nobody listens":          {func(u url.URL) string { u.Host = "127.0.0.1:1"; return u.String() }, "cannot be reached"},
		"at a host that has no address": {func(u url.URL) string { u.Host = "db.invalid"; return u.String() }, "cannot be reached"},
		"at what is no database":        {func(u url.URL) string { u.Host = other.Listener.Addr().String(); return u.String() }, "wrong    ledger"},
		"that does not exist":           {func(u url.URL) string { u.Path = "/nowhere"; return u.String() }, "does not exist"},
		"with an encryption not there":  {func(u url.URL) string { u.RawQuery = "sslmode=verify-full"; return u.String() }, "wrong    ledger"},
		"with it as a parameter":        {written("postgres://ops@127.0.0.1/x?sslmode=%s"), "cannot be used as it is"},
		"with a port that is none":      {written("postgres://ops:%s@127.0.0.1:x/x"), "VPSGUARD_DATABASE"},
		"with a slash in it":            {written("postgres://ops:5432/%s@127.0.0.1/x"), "VPSGUARD_DATABASE"},
		"with an @ and a slash in it":   {written("postgres://ops:a@5432/%s@127.0.0.1/x"), "VPSGUARD_DATABASE"},
		"of another kind":               {written("mysql://ops:%s@127.0.0.1/x"), "VPSGUARD_DATABASE"},
		"without any codes":             {func(url.URL) string { return "postgres://ops:" + secretPasswd + "@127.0.0.1/x" }, "VPSGUARD_DATABASE"},
	}
	told := everywhere{all: map[string]string{}}
	t.Run("cases", func(t *testing.T) {
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				told.tell(t, name, c.database(*owned(t, server.Database(t))), c.says)
			})
		}
	})
	// A ledger remembers where it was moved to.
	w := newWorld(t, fast())
	service, l := w.service(t)
	id := hold(t, service, "x")
	require.NoError(t, l.Close())
	to := owned(t, server.Database(t)).String()
	for _, args := range [][]string{{"ledger", "copy", "--to", to}, {"requests", "deny", id}, {"doctor"}, {"audit", "export"}} {
		out, said, _ := vpsguard(t, w.env, args...)
		told.add("a ledger that moved", out+said)
	}
	assert.Contains(t, told.all["a ledger that moved"], "was moved to postgres://127.0.0.1:")
	files, err := filepath.Glob(w.path + "*")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		told.add(filepath.Base(file), string(raw))
	}
	// A server that goes away under a process that runs.
	env := append(newWorld(t, fast()).env, "VPSGUARD_LOG_LEVEL=debug", "VPSGUARD_DATABASE="+owned(t, server.Database(t)).String())
	here, log, stop := serving(t, env, "serve")
	becomes(t, here, http.StatusOK)
	server.Stop(t, "immediate")
	told.add("/readyz of one whose server went away", becomes(t, here, http.StatusServiceUnavailable))
	told.add("MCP of one whose server went away", post(t, here+"/mcp", "", request(1, "list_requests", nil)).body)
	stop()
	told.add("the log of one whose server went away", log.String())
	noneIn(t, map[string]string{"the database's password": secretPasswd}, told.all)
}

// everywhere is what was told, by where.
type everywhere struct {
	mu  sync.Mutex
	all map[string]string
}

func (e *everywhere) add(where, what string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all[where] += what
}

// tell has the program say all it can about a database.
func (e *everywhere) tell(t *testing.T, name, database, says string) {
	w := newWorld(t, fast())
	env := append(w.env, "VPSGUARD_LOG_LEVEL=debug", "VPSGUARD_METRICS_ADDR=127.0.0.1:0", "VPSGUARD_DATABASE="+database)
	var all sync.WaitGroup // most of them wait for a server that does not answer
	desk := func(env []string, args ...string) {
		all.Go(func() {
			out, said, _ := vpsguard(t, env, args...)
			e.add(name+", vpsguard "+args[0], out+said)
		})
	}
	for _, args := range [][]string{
		{"doctor"},
		{"doctor", "--output", "json"},
		{"--help"},
		{"help", "ledger", "copy"},
		{"requests", "list"},
		{"requests", "deny", "rq_222222"},
		{"token", "new", "ci-agent"},
		{"audit", "verify", "--output", "json"},
		{"audit", "export"},
		{"policy", "check"},
	} {
		desk(env, args...)
	}
	all.Go(func() {
		var frames lines
		p := &program{
			Args: []string{"vpsguard", "stdio"}, Env: env, Stdout: &frames, Stderr: &frames, Now: time.Now,
			Stdin: strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"create_snapshot","arguments":{"server":"web-server-01","name":"x"}}}` + "\n"),
		}
		p.Main(t.Context())
		e.add(name+", stdio", frames.String())
	})
	cmd, log := spawn(t, append(env, "VPSGUARD_LOG_FORMAT=json"), "serve")
	if !strings.HasPrefix(says, "VPSGUARD_") { // otherwise it does not start
		here := regexp.MustCompile(`http://127\.0\.0\.1:[0-9]+/mcp`).FindString(log.await(t, "serving MCP"))
		for _, at := range []string{strings.TrimSuffix(here, "mcp") + "readyz", metricsURL.FindString(log.String())} {
			_, body := get(t, at)
			e.add(name+", "+path.Base(at), body)
		}
		for _, call := range []string{"list_servers", "restore_snapshot"} {
			args := map[string]any{"server": "web-server-01", "snapshot_id": 801, "reason": "x"}
			e.add(name+", MCP", post(t, here, "", request(1, call, args)).body)
		}
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
	}
	_ = ended(cmd)
	e.add(name+", serve", log.String())
	all.Wait()
	desk(env, "doctor") // again, as it may have made the ledger's tables
	all.Wait()
	desk(w.env, "ledger", "copy", "--from", database) // as a flag; one that works is moved by it
	all.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	assert.Contains(t, e.all[name+", vpsguard doctor"], says)
}
