package main

import (
	"database/sql"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// becomes asks /readyz until it answers so, and gives what it says.
func becomes(t *testing.T, url string, status int) string {
	t.Helper()
	var got int
	var body string
	require.True(t, assertEventually(func() bool { got, body = get(t, url+"/readyz"); return got == status }), "%d: %s", got, body)
	return body
}

// TestALedgerThatCannotBeWrittenIsNotReady has another program hold the file's
// write lock: reads go on, and nothing could be filed, decided or run.
func TestALedgerThatCannotBeWrittenIsNotReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	url, _, _ := serving(t, w.env, "serve")
	becomes(t, url, http.StatusOK)
	reads, _, _ := serving(t, append(w.env, "VPSGUARD_READ_ONLY=true"), "serve")
	becomes(t, reads, http.StatusOK)

	other, err := sql.Open("sqlite", "file:"+w.path+"?_txlock=immediate&_pragma=busy_timeout(10000)")
	require.NoError(t, err)
	defer func() { _ = other.Close() }()
	held, err := other.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	body := becomes(t, url, http.StatusServiceUnavailable)
	assert.Contains(t, body, `"ledger":"the call ended before the ledger answered; nothing was changed"`)
	assert.Contains(t, body, `"account":"ready"`, "the other parts are told as they are")
	assert.Contains(t, body, `"worker":"ready"`)
	assert.Contains(t, becomes(t, reads, http.StatusOK), `"ledger":"ready"`, "who only reads needs no more")
	require.NoError(t, held.Rollback())
	becomes(t, url, http.StatusOK)
}

// TestASlackThatCannotBeHeardIsNotReady takes the app-level token away.
func TestASlackThatCannotBeHeardIsNotReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	f := w.withSlack(t, slackfake.Options{})
	url, log, _ := serving(t, w.env, "serve")
	assert.Contains(t, becomes(t, url, http.StatusOK), `"slack":"ready"`)
	f.RevokeAppToken("invalid_auth")
	for _, s := range f.Sockets() {
		s.Drop()
	}
	log.await(t, "no connection to Slack")
	assert.Contains(t, becomes(t, url, http.StatusServiceUnavailable), `"slack":"Socket Mode is not open: `)
}

// TestReadyIsLookedAtOnceForAll asks many times at once: strangers must not be able to
// keep the ledger or VPS.org busy.
func TestReadyIsLookedAtOnceForAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	url, _, _ := serving(t, w.env, "serve")
	becomes(t, url, http.StatusOK)
	probed := func() (at int64) {
		other, err := sql.Open("sqlite", "file:"+w.path+"?_pragma=query_only(1)")
		require.NoError(t, err)
		defer func() { _ = other.Close() }()
		require.NoError(t, other.QueryRowContext(t.Context(), "SELECT probed_at FROM schema_version").Scan(&at))
		return at
	}
	begun, looks := time.Now(), map[int64]bool{}
	for range 100 {
		status, body := get(t, url+"/readyz")
		require.Equal(t, http.StatusOK, status, body)
		looks[probed()] = true
	}
	assert.LessOrEqual(t, len(looks), 2+int(time.Since(begun)/lookAgain), "all others were answered from these")
}
