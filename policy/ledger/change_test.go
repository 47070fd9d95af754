package ledger_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/policytest"
)

// breaks makes each statement of a kind on a table fail, until mend.
func (on base) breaks(t testing.TB, url, do, table string) (mend func()) {
	t.Helper()
	sql, drop := "CREATE TRIGGER broken BEFORE "+do+" ON "+table+" BEGIN SELECT RAISE(FAIL, 'a secret thing'); END", "DROP TRIGGER broken"
	if on.name == onPostgres.name {
		sql = "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'a secret thing'; END $$;" +
			"CREATE TRIGGER broken BEFORE " + do + " ON " + table + " EXECUTE FUNCTION broken()"
		drop = "DROP FUNCTION broken CASCADE"
	}
	db := on.raw(t, url)
	_, err := db.Exec(sql)
	require.NoError(t, err)
	return func() {
		_, err := db.Exec(drop)
		require.NoError(t, err)
	}
}

// TestHalfOfAChangeIsNeverCommitted breaks each table in turn, and overlooks it.
func TestHalfOfAChangeIsNeverCommitted(t *testing.T) {
	onBoth(t, func(t *testing.T, on base) {
		for _, table := range []string{"request", "audit_record", "audit_head", "setting", "note", "river_job"} {
			t.Run(table, func(t *testing.T) { halfOfAChange(t, on, table) })
		}
	})
}

func halfOfAChange(t *testing.T, on base, table string) {
	url := on.fresh(t)
	l := open(t, url, time.Now)
	do := "INSERT"
	if table == "audit_head" {
		do = "UPDATE"
	}
	mend := on.breaks(t, url, do, table)
	var seen []error
	err := l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
		_, err := tx.Put(ctx, policytest.Request("rq_222222"), policy.RecordBody{})
		seen = append(seen, err, tx.PutSetting(ctx, "name", "value", policy.RecordBody{}),
			tx.Nudge(ctx, policytest.Request("rq_222222"), time.Time{}), tx.Tell(ctx, policytest.Request("rq_222222")))
		return nil
	})
	require.Error(t, err)
	assert.Equal(t, policy.Unavailable, policy.KindOf(err))
	assert.Equal(t, "the ledger does not work; nothing was changed", policy.Public(err).Message)
	assert.NotContains(t, policy.Public(err).Hint, "secret")
	if table != "audit_head" { // its row moves last
		assert.Contains(t, seen, err, "what the function overlooked is what the change fails with")
	}
	v, err := l.Verify(t.Context(), nil)
	require.NoError(t, err)
	assert.Zero(t, v)
	assert.Zero(t, on.jobs(t, url))
	_, err = l.Note(t.Context(), policy.ToldScope(policytest.Account), "rq_222222")
	assert.Equal(t, policy.NotFound, policy.KindOf(err))
	mend()
	require.NoError(t, count(t.Context(), l, "rq_222222"), "and it goes on")
}

// A standby that lacks the last records takes over, or a backup is put back, beneath a
// process that has stored them. It goes on only when it is started anew.
func TestALedgerThatHasLostRecordsIsNotGoneOnWith(t *testing.T) {
	onBoth(t, func(t *testing.T, on base) {
		l, url := story(t, on)
		db := on.raw(t, url)
		require.NoError(t, count(t.Context(), l, "rq_lost"))
		beside := open(t, url, time.Now) // another process, which has only looked
		require.NoError(t, beside.Ready(t.Context()))
		var protected []string
		if on.name == onSQLite.name {
			protected = []string{"DROP TRIGGER audit_record_delete", "DROP TRIGGER request_delete"}
		} else {
			protected = []string{"DROP FUNCTION audit_is_kept CASCADE"}
		}
		for _, sql := range append(protected, "DELETE FROM request WHERE id = 'rq_lost'", "DELETE FROM setting WHERE name = 'count'",
			"DELETE FROM audit_record WHERE seq > 7", "UPDATE audit_head SET seq = 7, hash = (SELECT hash FROM audit_record WHERE seq = 7)") {
			_, err := db.Exec(sql)
			require.NoError(t, err)
		}
		behind := func() {
			t.Helper()
			for _, err := range []error{count(t.Context(), l, "rq_next"), l.Ready(t.Context()), count(t.Context(), beside, "rq_next")} {
				assert.Equal(t, policy.Unavailable, policy.KindOf(err))
				assert.Equal(t, "the ledger's database has lost audit record 9, which was stored; nothing was changed", policy.Public(err).Message)
			}
		}
		behind()
		anew := open(t, url, time.Now)
		for i := range 3 {
			require.NoError(t, count(t.Context(), anew, "rq_"+strconv.Itoa(i)))
		}
		behind() // though there is a record 9 again
		_, err := anew.Verify(t.Context(), nil)
		require.NoError(t, err, "which nothing else tells")
	})
}
