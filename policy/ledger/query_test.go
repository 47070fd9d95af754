package ledger

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger/pgtest"
)

// TestQueriesUseTheirIndex freezes which index each question of the service
// takes, so that none of them walks over all that is closed.
func TestQueriesUseTheirIndex(t *testing.T) {
	l, err := Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "ledger.db"), Options{Now: time.Now})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	a, at := policy.Account{URL: "https://api.vps.test"}, time.UnixMilli(1)
	held, done := []policy.State{policy.StateHeld}, []policy.State{policy.StateDone}
	for _, c := range []struct {
		name   string
		filter policy.Filter
		index  string
	}{
		{"the open request that a call repeats", policy.Filter{Account: &a, Actor: "a", Purpose: "p", States: policy.OpenStates()}, "request_open"},
		{"the create that a call repeats", policy.Filter{Account: &a, Actor: "a", Purpose: "p", States: done, EndedAfter: at}, "request_purpose"},
		{"the denial that still holds", policy.Filter{Account: &a, Aim: "a", States: []policy.State{policy.StateDenied}, EndedAfter: at}, "request_aim"},
		{"how many an actor has held", policy.Filter{Account: &a, Actor: "a", States: held}, "request_open"},
		{"the latest of an actor", policy.Filter{Account: &a, Actor: "a", Limit: 40, NoTotal: true}, "INDEX request_actor"},
		{"the open ones on a server", policy.Filter{ServerID: 7, States: policy.OpenStates()}, "request_server"},
		{"the open ones", policy.Filter{Account: &a, States: policy.OpenStates()}, "request_open"},
		{"the open ones of all accounts", policy.Filter{States: policy.OpenStates(), NoTotal: true}, "INDEX request_"},
		{"the held ones of all accounts", policy.Filter{States: held}, "INDEX request_"},
		{"whether a server was overwritten", policy.Filter{ServerID: 7, BegunAfter: 1}, "request_begun"},
		{"what is due", policy.Filter{Account: &a, DueBy: at}, "request_due"},
		{"what is open and due", policy.Filter{Account: &a, DueBy: at, States: policy.OpenStates()}, "request_due"},
		{"a list", policy.Filter{}, "COVERING INDEX"},
		{"a list's next page", policy.Filter{Before: 9}, "COVERING INDEX"},
		{"a list of what is done", policy.Filter{States: done}, "COVERING INDEX request_list"},
		{"a list of one server", policy.Filter{ServerName: "web-1", States: done}, "COVERING INDEX request_list"},
		{"a list of one server's id", policy.Filter{ServerID: 7}, "COVERING INDEX request_list"},
	} {
		page, pageArgs := pageSQL(c.filter, 20)
		count, countArgs := countSQL(c.filter)
		assert.Contains(t, plan(t, l, page, pageArgs), c.index, "%s: %s", c.name, page)
		assert.Contains(t, plan(t, l, count, countArgs), c.index, "%s: %s", c.name, count)
	}
}

// TestSelectiveQueriesUseTheirIndexOnPostgreSQL asks where most of what is closed is of
// one server and one aim, with and without statistics: whatever is guessed of it, what is
// closed is not walked over.
func TestSelectiveQueriesUseTheirIndexOnPostgreSQL(t *testing.T) {
	database := pgtest.Database(t)
	l, err := Open(t.Context(), database, Options{Now: time.Now})
	require.NoError(t, err)
	require.NoError(t, l.Close())
	db, err := pgx.Connect(t.Context(), database)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close(t.Context())) }()
	require.NoError(t, limits{}.session(t.Context(), db)) // as the ledger's own
	const closed, last = 50_000, 49_990
	a, at := policy.Account{URL: "https://api.vps.test"}, time.UnixMilli(last)
	_, err = db.Exec(t.Context(), `INSERT INTO request (seq, id, rev, state, account, server_id, server_name, actor, purpose, aim, begun, ended_at, doc)
		SELECT i, 'rq_' || i, 4, CASE i % 8 WHEN 0 THEN 'denied' ELSE 'done' END, $1, 7 + i % 5 / 4, 'web', 'a', 'p' || i % 5 / 4, 'a' || i % 5 / 4, i, i, repeat('x', 900)
		FROM generate_series(1, $2) i`, accountKey(a), closed)
	require.NoError(t, err)
	var mode string
	require.NoError(t, db.QueryRow(t.Context(), "SHOW plan_cache_mode").Scan(&mode))
	assert.Equal(t, "force_custom_plan", mode)
	const general = "SET plan_cache_mode = force_generic_plan" // for one plan for all values, the order matters
	for _, known := range []string{"SELECT 1", "ANALYZE request", general} {
		_, err = db.Exec(t.Context(), known)
		require.NoError(t, err)
		for _, c := range []struct {
			name   string
			filter policy.Filter
			index  string
		}{
			{"the open request that a call repeats", policy.Filter{Account: &a, Actor: "a", Purpose: "p0", States: policy.OpenStates()}, "request_open|request_server"},
			{"the create that a call repeats", policy.Filter{Account: &a, Actor: "a", Purpose: "p0", States: []policy.State{policy.StateDone}, EndedAfter: at}, "request_purpose"},
			{"the denial that still holds", policy.Filter{Account: &a, Aim: "a0", States: []policy.State{policy.StateDenied}, EndedAfter: at, Limit: 1}, "request_aim"},
			{"the open ones on a server", policy.Filter{ServerID: 7, States: policy.OpenStates()}, "request_open|request_server"},
			{"whether a server was overwritten", policy.Filter{ServerID: 7, BegunAfter: last}, "request_begun"},
			{"what is due", policy.Filter{Account: &a, DueBy: at}, "request_due"},
		} {
			if known == general && c.filter.BegunAfter > 0 {
				continue // of which a third of all is guessed then
			}
			page, args := pageSQL(c.filter, limited(c.filter.Limit))
			how := planOnPostgres(t, db, page, args)
			assert.Regexp(t, "(Scan.* using|Bitmap Index Scan on) ("+c.index+") ", how, "%s, after %s: %s", c.name, known, page)
		}
	}
}

func planOnPostgres(t *testing.T, db *pgx.Conn, q string, args []any) string {
	t.Helper()
	_, err := db.Exec(t.Context(), "PREPARE q AS "+q)
	require.NoError(t, err)
	texts := make([]string, len(args))
	for i, a := range args {
		texts[i] = "'" + strings.ReplaceAll(fmt.Sprint(a), "'", "''") + "'"
	}
	found, err := db.Query(t.Context(), "EXPLAIN EXECUTE q ("+strings.Join(texts, ", ")+")")
	require.NoError(t, err)
	lines, err := pgx.CollectRows(found, pgx.RowTo[string])
	require.NoError(t, err)
	_, err = db.Exec(t.Context(), "DEALLOCATE q")
	require.NoError(t, err)
	return strings.Join(lines, "\n")
}

func TestDueNotesUseTheirIndex(t *testing.T) {
	l, err := Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "ledger.db"), Options{Now: time.Now})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	how := plan(t, l, dueNotes, []any{"scope", 1, 9})
	assert.Contains(t, how, "INDEX note_due (scope=? AND due_at<?)")
	assert.NotContains(t, how, "TEMP B-TREE", "they lie in their order already")
}

func TestTheQueueIsCountedByItsIndex(t *testing.T) {
	l, err := Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "ledger.db"), Options{Now: time.Now})
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	assert.Contains(t, plan(t, l, queuedJobs, nil), "USING INDEX river_job_prioritized_fetching_index (state=?)", "jobs that are done are not walked over")
}

func plan(t *testing.T, l *Ledger, q string, args []any) string {
	t.Helper()
	var lines []string
	require.NoError(t, l.read(t.Context(), "explaining", func(d querier) error {
		found, err := d.Query(context.Background(), "EXPLAIN QUERY PLAN "+q, args...)
		if err != nil {
			return err
		}
		defer func() { _ = found.Close() }()
		for found.Next() {
			var id, parent, unused int
			var line string
			if err := found.Scan(&id, &parent, &unused, &line); err != nil {
				return err
			}
			lines = append(lines, line)
		}
		return found.Err()
	}))
	return strings.Join(lines, "\n")
}

func TestAPageHasAtMostAThousandRows(t *testing.T) {
	assert.Equal(t, 1000, limited(0))
	assert.Equal(t, 1000, limited(-1))
	assert.Equal(t, 1000, limited(1001))
	assert.Equal(t, 7, limited(7))
}
