package ledger_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
	"github.com/vpsguard/vpsguard/policy/ledger/pgtest"
	"github.com/vpsguard/vpsguard/policy/policytest"
)

// story is a ledger with seven records: three requests, the second changed
// twice, a setting and a refusal.
func story(t testing.TB, on base) (*ledger.Ledger, string) {
	t.Helper()
	url := on.fresh(t)
	return tellStory(t, url), url
}

func tellStory(t testing.TB, url string) *ledger.Ledger {
	t.Helper()
	l := open(t, url, policytest.NewClock().Now)
	put := func(r policy.Request) (out policy.Request) {
		require.NoError(t, l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) (err error) {
			out, err = tx.Put(ctx, r, policytest.Held(r))
			return err
		}))
		return out
	}
	put(policytest.Request("rq_222222"))
	r := put(policytest.Request("rq_333333"))
	put(policytest.Request("rq_444444"))
	r.State, r.Begun, r.EndedAt = policy.StateDone, 4, policytest.Start
	r = put(r)
	require.NoError(t, l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
		if err := tx.PutSetting(ctx, "passphrase", "hash", policy.RecordBody{Event: "passphrase.set"}); err != nil {
			return err
		}
		if err := tx.Append(ctx, policy.RecordBody{Event: "test.refused", Request: "rq_222222"}); err != nil {
			return err
		}
		return tx.Append(ctx, policy.RecordBody{Event: "test.refused", Request: "rq_unknown"})
	}))
	return l
}

func TestVerifyFindsNothingWhereNothingWasChanged(t *testing.T) {
	onBoth(t, func(t *testing.T, on base) {
		l, _ := story(t, on)
		var told []int64
		v, err := l.Verify(t.Context(), func(done int64) { told = append(told, done) })
		require.NoError(t, err)
		all := records(t, l)
		assert.Equal(t, ledger.Verified{Records: 7, Head: all[6].Hash, Requests: 3}, v)
		assert.Equal(t, []int64{7, 10}, told)
		empty := open(t, on.fresh(t), time.Now)
		v, err = empty.Verify(t.Context(), nil)
		require.NoError(t, err)
		assert.Zero(t, v)
	})
}

// onPostgresToo are those rows of the next table that are tried on PostgreSQL as
// well: one for each table and way. What is compared is the same code.
var onPostgresToo = []string{
	"a record's body", "a record's time", "a record is gone", "the end is gone", "a change is gone, the head fits", "the head's hash",
	"a request's document", "a request's state", "a request's begun", "a request is gone", "a setting's value", "a setting too many",
}

func TestVerifyNamesTheFirstBrokenRow(t *testing.T) {
	whole, _ := story(t, onSQLite)
	require.NoError(t, whole.Close())
	content, err := os.ReadFile(whole.Path())
	require.NoError(t, err)
	const third, second = "WHERE seq = 3", "WHERE id = 'rq_333333'"
	cut := func(n string) string {
		return "DELETE FROM audit_record WHERE seq > " + n + "; UPDATE audit_head SET seq = " + n +
			", hash = (SELECT hash FROM audit_record WHERE seq = " + n + ")"
	}
	for _, c := range []struct{ name, sql, names string }{
		{"a record's body", "UPDATE audit_record SET body = replace(body, 'agent', 'Agent') " + third, "audit record 3"},
		{"a record's body is no JSON", "UPDATE audit_record SET body = 'x' " + third, "audit record 3"},
		{"a record's time", `UPDATE audit_record SET body = replace(body, '"at":"20', '"at":"19') ` + third, "audit record 3"},
		{"a record's prev", "UPDATE audit_record SET prev = 'x' " + third, "audit record 3"},
		{"a record's hash", "UPDATE audit_record SET hash = 'x' " + third, "audit record 3"},
		{"a record's number", "UPDATE audit_record SET seq = 99 " + third, "audit record 3"},
		{"a record before the first", "UPDATE audit_record SET seq = -5 " + third, "audit record 1"},
		{"a record is gone", "DELETE FROM audit_record " + third, "audit record 3"},
		{"two changed records: the first is named", "UPDATE audit_record SET hash = 'x' WHERE seq IN (6, 3)", "audit record 3"},
		{"all records are gone", "DELETE FROM audit_record", "audit record 1"},
		{"the end is gone", "DELETE FROM audit_record WHERE seq > 5", "audit record 6"},
		{"the end is gone, the head fits", cut("6"), ""}, // a refusal is all that is lost: see Limits
		{"a change is gone, the head fits", cut("3"), "request rq_333333"},
		{"a filing is gone, the head fits", cut("2"), "request rq_333333"},
		{"a setting's record is gone, the head fits", cut("4"), "setting passphrase"},
		{"the head's number is smaller", "UPDATE audit_head SET seq = 5", "audit record 6"},
		{"the head's number is larger", "UPDATE audit_head SET seq = 8", "audit record 8"},
		{"the head's hash", "UPDATE audit_head SET hash = 'x'", "the audit's head"},
		{"the head is gone", "DELETE FROM audit_head", "the audit's head is missing"},
		{"a request's document", "UPDATE request SET doc = replace(doc, '801', '802') " + second, "request rq_333333"},
		{"a blank in a request's document", "UPDATE request SET doc = doc || ' ' " + second, "request rq_333333"},
		{"a request's id", "UPDATE request SET id = 'rq_555555' " + second, "request rq_555555"},
		{"a request's rev", "UPDATE request SET rev = 7 " + second, "request rq_333333"},
		{"a request's seq", "UPDATE request SET seq = 7 " + second, "request rq_333333"},
		{"a request's state", "UPDATE request SET state = 'approved' " + second, "request rq_333333"},
		{"a request's account", "UPDATE request SET account = '{}' " + second, "request rq_333333"},
		{"a request's server id", "UPDATE request SET server_id = 1 " + second, "request rq_333333"},
		{"a request's server name", "UPDATE request SET server_name = 'x' " + second, "request rq_333333"},
		{"a request's actor", "UPDATE request SET actor = 'x' " + second, "request rq_333333"},
		{"a request's purpose", "UPDATE request SET purpose = 'x' " + second, "request rq_333333"},
		{"a request's aim", "UPDATE request SET aim = 'x' " + second, "request rq_333333"},
		{"a request's begun", "UPDATE request SET begun = NULL " + second, "request rq_333333"},
		{"a request's due time", "UPDATE request SET due_at = NULL " + second, "request rq_333333"},
		{"a request's end", "UPDATE request SET ended_at = 0 " + second, "request rq_333333"},
		{"a request is gone", "DELETE FROM request " + second, "request rq_333333"},
		{"a request too many", "INSERT INTO request SELECT 'rq_555555', rev, 99, state, account, server_id, server_name, actor, " +
			"purpose, aim, begun, due_at, ended_at, doc FROM request " + second, "request rq_555555"},
		{"a request too many, named in a refusal", "INSERT INTO request SELECT 'rq_unknown', rev, 99, state, account, server_id, server_name, actor, " +
			"purpose, aim, begun, due_at, ended_at, doc FROM request " + second, "request rq_unknown"},
		{"a setting's value", "UPDATE setting SET value = 'another hash'", "setting passphrase"},
		{"a setting's name", "UPDATE setting SET name = 'x'", "setting x"},
		{"a setting is gone", "DELETE FROM setting", "setting passphrase"},
		{"a setting too many", "INSERT INTO setting VALUES ('a', 'b')", "setting a"},
	} {
		finds := func(t *testing.T, on base, url string, protection ...string) {
			db := on.raw(t, url)
			for _, sql := range append(protection, c.sql) {
				_, err := db.Exec(sql)
				require.NoError(t, err)
			}
			_, err := open(t, url, time.Now).Verify(t.Context(), nil)
			if c.names == "" {
				require.NoError(t, err)
				return
			}
			require.Error(t, err)
			assert.Equal(t, policy.Conflict, policy.KindOf(err))
			assert.Contains(t, policy.Public(err).Message, c.names)
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "ledger.db")
			require.NoError(t, os.WriteFile(path, content, 0o600))
			finds(t, onSQLite, "sqlite:"+path, "DROP TRIGGER audit_record_update", "DROP TRIGGER audit_record_delete",
				"DROP TRIGGER audit_head_delete", "DROP TRIGGER request_delete")
		})
		if !slices.Contains(onPostgresToo, c.name) {
			continue
		}
		t.Run("PostgreSQL: "+c.name, func(t *testing.T) {
			t.Parallel()
			url := pgtest.Copy(t, "story", func(url string) error {
				l := tellStory(t, url)
				return l.Close()
			})
			finds(t, onPostgres, url, "DROP FUNCTION audit_is_kept CASCADE")
		})
	}
}

func TestVerifyKnowsNothingOfNotes(t *testing.T) {
	onBoth(t, func(t *testing.T, on base) {
		l, url := story(t, on)
		tell(t, l, "rq_222222")
		_, err := l.PutNote(t.Context(), policy.Note{Scope: "scope", Key: "key"})
		require.NoError(t, err)
		before, err := l.Verify(t.Context(), nil)
		require.NoError(t, err)
		for _, sql := range []string{"UPDATE note SET doc = 'x', rev = 99, due_at = NULL", "DELETE FROM note"} {
			_, err := on.raw(t, url).Exec(sql)
			require.NoError(t, err)
			v, err := l.Verify(t.Context(), nil)
			require.NoError(t, err)
			assert.Equal(t, before, v)
		}
	})
}

func TestTheAuditIsAppendOnlyInTheDatabaseToo(t *testing.T) {
	both := []string{
		"UPDATE audit_record SET body = 'x' WHERE seq = 3",
		"DELETE FROM audit_record WHERE seq = 7",
		"INSERT INTO audit_record VALUES (0, 'x', 'y', 'z')",
		"DELETE FROM audit_head",
		"DELETE FROM request",
	}
	own := map[string][]string{
		onSQLite.name: {
			"REPLACE INTO audit_record SELECT seq, 'x', prev, hash FROM audit_record WHERE seq = 7",
			"REPLACE INTO audit_record SELECT 8, 'x', prev, hash FROM audit_record WHERE seq = 7",
		},
		onPostgres.name: {
			"INSERT INTO audit_record SELECT seq, 'x', prev, hash FROM audit_record WHERE seq = 7 ON CONFLICT (seq) DO UPDATE SET body = 'x'",
			"INSERT INTO audit_record SELECT 8, 'x', prev, hash FROM audit_record WHERE seq = 7",
			"TRUNCATE audit_record", "TRUNCATE audit_head", "TRUNCATE request",
		},
	}
	onBoth(t, func(t *testing.T, on base) {
		l, url := story(t, on)
		db := on.raw(t, url)
		for _, sql := range append(own[on.name], both...) {
			_, err := db.Exec(sql)
			require.Error(t, err, sql)
		}
		_, err := l.Verify(t.Context(), nil)
		require.NoError(t, err)
	})
}

// What no column is about is read too, where everything fits together.
func TestVerifyReadsTheWholeDocument(t *testing.T) {
	onBoth(t, func(t *testing.T, on base) {
		l, url := story(t, on)
		r, err := l.Request(t.Context(), "rq_444444")
		require.NoError(t, err)
		whole, err := json.Marshal(r)
		require.NoError(t, err)
		doc := strings.Replace(string(whole), `"reason":"roll back"`, `"reason":roll back`, 1)
		head, err := l.Records(t.Context(), 7, 1)
		require.NoError(t, err)
		last, err := policy.RecordBody{Event: "test.forged", Request: r.ID, Row: policy.RowHash(doc)}.Seal(8, head[0].Hash)
		require.NoError(t, err)
		db := on.raw(t, url)
		for q, args := range map[string][]any{
			"UPDATE request SET doc = $1 WHERE id = $2":                                {doc, r.ID},
			"INSERT INTO audit_record (seq, body, prev, hash) VALUES ($1, $2, $3, $4)": {last.Seq, last.Body, last.Prev, last.Hash},
			"UPDATE audit_head SET seq = $1, hash = $2":                                {last.Seq, last.Hash},
		} {
			_, err := db.Exec(q, args...)
			require.NoError(t, err)
		}
		_, err = l.Verify(t.Context(), nil)
		require.ErrorContains(t, err, "request rq_444444 cannot be read")
	})
}
