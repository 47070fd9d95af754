package ledger_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
	"github.com/vpsguard/vpsguard/policy/policytest"
)

const (
	version1Head    = "d0429e2ad7b610c4b684a3d169ddae5c4e2aa440d9f15ed1df747ab7010474b6"
	version1Records = 7
)

// version1 is the url of a ledger as the build before version 2 made it: what
// that build's own ledger held, said in SQL.
func version1(t testing.TB) string {
	t.Helper()
	script, err := os.ReadFile(filepath.Join("testdata", "version1.sql"))
	require.NoError(t, err)
	url := "sqlite:" + filepath.Join(t.TempDir(), "ledger.db")
	db := raw(t, url)
	_, err = db.Exec("PRAGMA journal_mode = WAL")
	require.NoError(t, err)
	_, err = db.Exec(string(script))
	require.NoError(t, err)
	require.NoError(t, db.Close())
	require.NoError(t, os.Chmod(url[len("sqlite:"):], 0o600))
	return url
}

// schema is what a database is made of, by name.
func schema(t testing.TB, url string) map[string]string {
	t.Helper()
	found, err := raw(t, url).Query("SELECT type || ' ' || name, coalesce(sql, '') FROM sqlite_master")
	require.NoError(t, err)
	defer func() { require.NoError(t, found.Close()) }()
	out := map[string]string{}
	for found.Next() {
		var name, sql string
		require.NoError(t, found.Scan(&name, &sql))
		out[name] = sql
	}
	require.NoError(t, found.Err())
	return out
}

func versionIn(t testing.TB, url string) (n int) {
	t.Helper()
	require.NoError(t, raw(t, url).QueryRow("SELECT version FROM schema_version").Scan(&n))
	return n
}

func TestALedgerOfVersion1IsUpgraded(t *testing.T) {
	url := version1(t)
	require.Equal(t, 1, versionIn(t, url))
	for range 2 { // upgraded, and opened again
		l, err := ledger.Open(t.Context(), url, ledger.Options{Now: time.Now})
		require.NoError(t, err)
		assert.Equal(t, 4, versionIn(t, url))
		v, err := l.Verify(t.Context(), nil)
		require.NoError(t, err)
		assert.Equal(t, ledger.Verified{Records: version1Records, Head: version1Head, Requests: 3}, v, "nothing that was there has changed")
		require.NoError(t, l.Close())
	}
	assert.Equal(t, schema(t, fresh(t)), schema(t, url), "it is like one that was made anew")

	l := open(t, url, time.Now)
	r, err := l.Request(t.Context(), "rq_333333")
	require.NoError(t, err)
	assert.Equal(t, policy.StateDone, r.State)
	value, err := l.Setting(t.Context(), "passphrase")
	require.NoError(t, err)
	assert.Equal(t, "hash", value)
	got := make(chan string, 1)
	defer start(t, l, policytest.Account, func(_ context.Context, id string) (time.Duration, error) { got <- id; return 0, nil })()
	assert.Equal(t, "rq_222222", <-got, "what was queued is worked")

	require.NoError(t, l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
		r.Why = "looked at"
		if r, err = tx.Put(ctx, r, policy.RecordBody{Event: policy.EventObserved}); err != nil {
			return err
		}
		return tx.Tell(ctx, r)
	}))
	n, err := l.Note(t.Context(), policy.ToldScope(r.Account), r.ID)
	require.NoError(t, err)
	_, err = l.PutNote(t.Context(), n)
	require.NoError(t, err)
	v, err := l.Verify(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, int64(version1Records+1), v.Records)
	assert.Equal(t, 1, onSQLite.waiting(t, url, "tell"))
}

func TestFourProcessesUpgradeALedgerAtOnce(t *testing.T) {
	for range 3 {
		url := version1(t)
		const processes = 4
		var wg sync.WaitGroup
		for p := range processes {
			wg.Go(func() { assert.NoError(t, child(t, "count", url, strconv.Itoa(p)).Run()) })
		}
		wg.Wait()
		v, err := open(t, url, time.Now).Verify(t.Context(), nil)
		require.NoError(t, err)
		assert.Equal(t, 3+processes*childCounts, v.Requests)
		assert.Equal(t, int64(version1Records+2*processes*childCounts), v.Records)
		assert.Equal(t, 4, versionIn(t, url))
	}
}

// A process of version 1 that has the file open knows nothing of the upgrade.
func TestAProcessOfVersion1GoesOn(t *testing.T) {
	url := version1(t)
	old := raw(t, url)
	old.SetMaxOpenConns(1)
	c, err := old.Conn(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	head := func() (seq int64, hash string) {
		require.NoError(t, c.QueryRowContext(t.Context(), "SELECT seq, hash FROM audit_head WHERE one = 1").Scan(&seq, &hash))
		return seq, hash
	}
	head() // it has read the schema
	l := open(t, url, time.Now)
	for round := range 3 {
		seq, hash := head()
		r, err := policy.RecordBody{Event: "test.happened"}.Seal(seq+1, hash)
		require.NoError(t, err)
		tx, err := c.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		_, err = tx.Exec("INSERT INTO audit_record (seq, body, prev, hash) VALUES (?, ?, ?, ?)", r.Seq, r.Body, r.Prev, r.Hash)
		require.NoError(t, err)
		_, err = tx.Exec("UPDATE audit_head SET seq = ?, hash = ? WHERE one = 1 AND seq = ?", r.Seq, r.Hash, seq)
		require.NoError(t, err)
		require.NoError(t, tx.Commit())
		require.NoError(t, count(t.Context(), l, "rq_"+strconv.Itoa(round)))
	}
	v, err := l.Verify(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, int64(version1Records+3*3), v.Records)
}

// An upgrade that fails leaves a ledger of version 1.
func TestAnUpgradeIsWholeOrNothing(t *testing.T) {
	url := version1(t)
	before := schema(t, url)
	db := raw(t, url)
	_, err := db.Exec("CREATE TRIGGER broken BEFORE UPDATE ON schema_version BEGIN SELECT RAISE(FAIL, 'broken'); END")
	require.NoError(t, err)
	_, err = ledger.Open(t.Context(), url, ledger.Options{Now: time.Now})
	require.Error(t, err)
	assert.Equal(t, policy.Unavailable, policy.KindOf(err))
	_, err = db.Exec("DROP TRIGGER broken")
	require.NoError(t, err)
	assert.Equal(t, before, schema(t, url))
	assert.Equal(t, 1, versionIn(t, url))
	open(t, url, time.Now)
	assert.Equal(t, 4, versionIn(t, url))
}

// TestAProgramGoesOnWithANewerLedgerThatTakesIt: while one version of the program
// replaces another, both run, are started and ended.
func TestAProgramGoesOnWithANewerLedgerThatTakesIt(t *testing.T) {
	onBoth(t, func(t *testing.T, on base) {
		url := on.fresh(t)
		running := open(t, url, time.Now)
		_, err := on.raw(t, url).Exec("UPDATE schema_version SET version = 7")
		require.NoError(t, err)
		started := open(t, url, time.Now)
		require.NoError(t, count(t.Context(), running, "rq_222222"))
		require.NoError(t, count(t.Context(), started, "rq_333333"))
		n, err := started.PutNote(t.Context(), policy.Note{Scope: "x", Key: "y", Doc: "{}"})
		require.NoError(t, err)
		require.NoError(t, started.Ready(t.Context()))

		// What it does not know it could not copy, to or from there.
		other := open(t, on.fresh(t), time.Now)
		for _, way := range [][2]*ledger.Ledger{{started, other}, {other, started}} {
			_, err = ledger.Copy(t.Context(), way[0], way[1], policy.Actor{Door: policy.DoorTerminal, Subject: "root"}, nil)
			assert.Equal(t, policy.Conflict, policy.KindOf(err), "%v", err)
			assert.ErrorContains(t, err, "has version 7; this vpsguard copies version 4; nothing was changed")
		}
		require.NoError(t, count(t.Context(), other, "rq_222222"), "and it stays in use")

		// The next version is one that it would do harm to.
		_, err = on.raw(t, url).Exec("UPDATE schema_version SET version = 8, oldest = 8")
		require.NoError(t, err)
		_, put := started.PutNote(t.Context(), n)
		for what, err := range map[string]error{
			"a change": count(t.Context(), running, "rq_222222"), "a note": put, "its readiness": running.Ready(t.Context()),
		} {
			assert.Equal(t, policy.Unavailable, policy.KindOf(err), what)
			assert.ErrorContains(t, err, "a newer vpsguard has upgraded the ledger", what)
			assert.ErrorContains(t, err, "nothing was changed", what)
			assert.Equal(t, "Start the newer vpsguard here too.", policy.Public(err).Hint, what)
		}
		v, err := running.Verify(t.Context(), nil)
		require.NoError(t, err, "reading goes on")
		assert.Equal(t, 2, v.Requests)
	})
}
