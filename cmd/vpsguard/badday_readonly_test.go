package main

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy/ledger/pgtest"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// TestAReadOnlyDatabaseIsToldAtEveryDoorAndHeals has PostgreSQL take no writes for a
// while, as one does that others have taken over from.
func TestAReadOnlyDatabaseIsToldAtEveryDoorAndHeals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	f := w.withSlack(t, slackfake.Options{Limits: slackfake.NoLimits()})
	database := pgtest.Database(t)
	w.env = append(w.env, "VPSGUARD_DATABASE="+database, "VPSGUARD_API_TIMEOUT=10s")
	readOnly := func(on string) {
		t.Helper()
		u, err := url.Parse(database)
		require.NoError(t, err)
		name := strings.TrimPrefix(u.Path, "/")
		u.Path = "/postgres"
		c, err := pgx.Connect(t.Context(), u.String())
		require.NoError(t, err)
		defer func() { assert.NoError(t, c.Close(t.Context())) }()
		_, err = c.Exec(t.Context(), "ALTER DATABASE "+name+" SET default_transaction_read_only = "+on)
		require.NoError(t, err)
		_, err = c.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
		require.NoError(t, err)
	}
	r := w.replicas(t, 1)[0]
	url := r.address()
	require.NoError(t, f.AwaitSockets(t.Context(), 2))
	status, says := 0, ""
	becomes := func(wanted int) {
		t.Helper()
		require.True(t, assertEventually(func() bool { status, says = get(t, url+"/readyz"); return status == wanted }), says)
	}
	becomes(http.StatusOK) // its tables are made
	id, card := asksFor(t, f, r.log)

	readOnly("on")
	becomes(http.StatusServiceUnavailable)
	assert.Contains(t, says, "read-only")
	a, err := rawClient{}.call(t.Context(), url, "create_backup", map[string]any{"server": "web-server-01"})
	require.NoError(t, err)
	require.NotNil(t, a.Error)
	assert.Contains(t, a.Error.Message, "read-only")
	assert.Contains(t, a.Error.Message, "nothing was changed")
	for _, name := range []string{"list_servers", "list_snapshots", "list_backups", "list_requests"} {
		a, err := rawClient{}.call(t.Context(), url, name, map[string]any{})
		require.NoError(t, err)
		assert.Nil(t, a.Error, name)
	}
	a, err = rawClient{}.call(t.Context(), url, "get_request", map[string]any{"request_id": id})
	require.NoError(t, err)
	assert.Equal(t, "held", a.Request.State)
	require.True(t, f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "snapshot create web-server-01 read-only").Wait().Acked)
	watch(t, f, r.log, "a command that changes something is refused", func() bool {
		return slices.ContainsFunc(f.Ephemerals(slackfake.Ada), func(m slackfake.Message) bool { return strings.Contains(m.String(), "read-only") })
	})
	assert.Empty(t, w.fake.Mutations())

	readOnly("off")
	becomes(http.StatusOK)
	grace := f.User(slackfake.Grace)
	form := opens(t, f, r.log, grace, card)
	require.Empty(t, grace.Submit(form, typed("web-server-01")).Wait().Errors)
	watch(t, f, r.log, "it is done", func() bool { return strings.Contains(f.Message(slackfake.Ops, card.TS).Text, "DONE") })
	r.kill()
	said, wrong, code := vpsguard(t, w.env, "audit", "verify")
	assert.Equal(t, 0, code, said+wrong)
}
