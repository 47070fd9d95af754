package ledger_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
	"github.com/vpsguard/vpsguard/policy/ledger/pgtest"
	"github.com/vpsguard/vpsguard/policy/policytest"
)

// with changes parts of a url.
func with(t testing.TB, raw string, edit func(u *url.URL)) string {
	t.Helper()
	u, err := url.Parse(raw)
	require.NoError(t, err)
	edit(u)
	return u.String()
}

func parameter(t testing.TB, raw, name, value string) string {
	t.Helper()
	return with(t, raw, func(u *url.URL) { u.RawQuery = url.Values{name: {value}}.Encode() })
}

func TestOpenRefusesADatabaseWithOneClearSentence(t *testing.T) {
	empty, newer, unmade, latin := pgtest.Database(t), freshPostgres(t), freshPostgres(t), pgtest.Database(t)
	foreign, similar, readOnly, forbidden := pgtest.Database(t), pgtest.Database(t), freshPostgres(t), pgtest.Database(t)
	name := func(raw string) string { return raw[strings.LastIndex(raw, "/")+1:] }
	for raw, sql := range map[string]string{
		newer:     "UPDATE schema_version SET version = 6, oldest = 5",
		unmade:    "UPDATE schema_version SET version = 0",
		foreign:   "CREATE TABLE diary (day TEXT)",
		similar:   "CREATE TABLE schema_version (one INT, version INT); INSERT INTO schema_version VALUES (1, 2)",
		readOnly:  "ALTER DATABASE " + name(readOnly) + " SET default_transaction_read_only = on",
		forbidden: "CREATE ROLE forbidden LOGIN PASSWORD 'secret'; REVOKE CREATE ON SCHEMA public FROM PUBLIC",
		latin:     "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0",
	} {
		for _, one := range strings.Split(sql, ";") {
			_, err := rawPostgres(t, raw).Exec(one)
			require.NoError(t, err)
		}
	}
	user := func(user *url.Userinfo) func(*url.URL) { return func(u *url.URL) { u.User = user } }
	for _, c := range []struct {
		name, url string
		kind      policy.Kind
		says      string
	}{
		{"the wrong password", with(t, empty, user(url.UserPassword("postgres", "secret"))), policy.Unavailable, "does not let this user in"},
		{"an unknown user", with(t, empty, user(url.UserPassword("nobody", "secret"))), policy.Unavailable, "does not let this user in"},
		{"an unknown database", with(t, empty, func(u *url.URL) { u.Path = "/missing" }), policy.Unavailable, "the ledger's database does not exist"},
		{"a user who may make nothing", with(t, forbidden, user(url.UserPassword("forbidden", "secret"))), policy.Unavailable, "does not allow this user to do that"},
		{"a schema that is not there", parameter(t, empty, "search_path", "missing"), policy.Invalid, "it has no schema for tables"},
		{"another program's database", foreign, policy.Invalid, "it has tables of another program"},
		{"another program's database with a table like ours", similar, policy.Invalid, "it has tables of another program"},
		{"another encoding", with(t, latin, func(u *url.URL) { u.Path = "/latin" }), policy.Invalid, "its encoding is LATIN1"},
		{"a newer ledger", newer, policy.Invalid, "it has version 6, of a newer vpsguard, which takes one that knows version 5; this one knows version 4"},
		{"a version that never was", unmade, policy.Invalid, "it has version 0, which no vpsguard has made"},
		{"one that is read-only", readOnly, policy.Unavailable, "the ledger's database is read-only"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ledger.Open(t.Context(), c.url, ledger.Options{Now: time.Now})
			require.Error(t, err)
			e := policy.Public(err)
			assert.Equal(t, c.kind, e.Kind, "%v", err)
			assert.Contains(t, e.Message, c.says)
			assert.Contains(t, e.Message, "the ledger postgres://127.0.0.1:")
			assert.NotEmpty(t, e.Hint)
			password, _ := mustParse(t, empty).User.Password()
			for _, secret := range []string{"secret", password} {
				assert.NotContains(t, err.Error()+e.Message+e.Hint, secret)
			}
		})
	}
	_, err := rawPostgres(t, empty).Exec("DROP DATABASE latin")
	require.NoError(t, err)
}

func mustParse(t testing.TB, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	require.NoError(t, err)
	return u
}

func TestSchemasOfOneDatabaseAreLedgersOfTheirOwn(t *testing.T) {
	database := pgtest.Database(t)
	db := rawPostgres(t, database)
	_, err := db.Exec("CREATE TABLE diary (day TEXT)")
	require.NoError(t, err)
	var urls []string
	for _, schema := range []string{"one", "Two words"} {
		_, err := db.Exec(`CREATE SCHEMA "` + schema + `"`)
		require.NoError(t, err)
		urls = append(urls, parameter(t, database, "search_path", `"`+schema+`"`))
	}
	got := make(chan string, 9)
	for i, u := range urls {
		l := open(t, u, time.Now)
		defer start(t, l, policytest.Account, func(_ context.Context, id string) (time.Duration, error) { got <- id; return 0, nil })()
		require.NoError(t, count(t.Context(), l, "rq_"+strconv.Itoa(i)))
		assert.Equal(t, "rq_"+strconv.Itoa(i), <-got)
		v, err := l.Verify(t.Context(), nil)
		require.NoError(t, err)
		assert.Equal(t, 1, v.Requests)
	}
}

// A replica that stops in the middle of a change holds the audit's head: it is put
// out, and the others go on.
func TestAReplicaThatHangsBlocksNobodyForEver(t *testing.T) {
	database := freshPostgres(t)
	c := child(t, "hang", parameter(t, database, "idle_in_transaction_session_timeout", "1s"), "rq_hangs")
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan(), "it has begun")
	require.NoError(t, c.Process.Signal(syscall.SIGSTOP))
	l := open(t, database, time.Now)
	require.NoError(t, count(t.Context(), l, "rq_222222"))
	require.NoError(t, c.Process.Signal(syscall.SIGCONT))
	require.True(t, lines.Scan())
	assert.Equal(t, "unavailable", lines.Text(), "what it had begun is not stored")
	require.NoError(t, c.Wait())
	_, err = l.Request(t.Context(), "rq_hangs")
	assert.Equal(t, policy.NotFound, policy.KindOf(err))
	_, err = l.Verify(t.Context(), nil)
	require.NoError(t, err)
}

// childHang begins a change, says so, and ends it when it is told; it tells how
// that went.
func childHang(ctx context.Context, url, id string) error {
	return childOpened(ctx, url, func(l *ledger.Ledger) error {
		err := l.Change(ctx, func(ctx context.Context, tx policy.Tx) error {
			r, err := tx.Put(ctx, policytest.Request(id), policy.RecordBody{Event: policy.EventHeld})
			if err != nil {
				return err
			}
			_, err = os.Stdout.WriteString("begun\n")
			time.Sleep(1500 * time.Millisecond) // stopped meanwhile
			return errors.Join(err, tx.Nudge(ctx, r, time.Time{}))
		})
		_, err = os.Stdout.WriteString(string(policy.KindOf(err)) + "\n")
		return err
	})
}

// Changes that wait for each other succeed, whatever isolation is this user's default.
func TestChangesAreSerialWhateverTheDefaultIs(t *testing.T) {
	database := freshPostgres(t)
	for i, isolation := range []string{"repeatable read", "serializable"} {
		l := open(t, parameter(t, database, "default_transaction_isolation", isolation), time.Now)
		db, waited := rawPostgres(t, database), make(chan error, 1)
		require.NoError(t, l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
			go func() { waited <- count(t.Context(), l, "rq_"+strconv.Itoa(i)) }()
			require.Eventually(t, func() (waits bool) {
				sql := "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"
				return db.QueryRow(sql).Scan(&waits) == nil && waits
			}, 20*time.Second, 10*time.Millisecond)
			return tx.Append(ctx, policy.RecordBody{Event: "test.happened"})
		}))
		require.NoError(t, <-waited, isolation)
	}
}

// A session that somebody forgot, with the audit's head in it, keeps all from
// filing, deciding and running.
func TestALedgerWhoseHeadIsHeldIsNotReady(t *testing.T) {
	database := freshPostgres(t)
	l := open(t, parameter(t, database, "lock_timeout", "50"), time.Now)
	forgotten, err := rawPostgres(t, database).BeginTx(t.Context(), nil)
	require.NoError(t, err)
	_, err = forgotten.Exec("SELECT * FROM audit_head FOR UPDATE")
	require.NoError(t, err)
	for _, err := range []error{count(t.Context(), l, "rq_222222"), l.Ready(t.Context())} {
		assert.Equal(t, policy.Unavailable, policy.KindOf(err))
		assert.Equal(t, "the ledger is busy; nothing was changed", policy.Public(err).Message)
	}
	_, err = l.Head(t.Context())
	require.NoError(t, err, "it can be read")
	require.NoError(t, forgotten.Rollback())
	require.NoError(t, l.Ready(t.Context()))
}

func TestAServerThatRestartsIsFoundAgain(t *testing.T) {
	for _, mode := range []string{"fast", "immediate"} {
		t.Run(mode, func(t *testing.T) {
			s := pgtest.Start(t)
			l := open(t, s.Database(t), time.Now)
			got := make(chan string, 9)
			defer start(t, l, policytest.Account, func(_ context.Context, id string) (time.Duration, error) { got <- id; return 0, nil })()
			require.NoError(t, count(t.Context(), l, "rq_before"))
			assert.Equal(t, "rq_before", <-got)
			awaited := make(chan error, 1)
			go func() { awaited <- l.Await(t.Context(), 4) }()

			s.Stop(t, mode)
			err := count(t.Context(), l, "rq_meanwhile")
			assert.Equal(t, policy.Unavailable, policy.KindOf(err))
			assert.Equal(t, "the ledger's database cannot be reached; nothing was changed", policy.Public(err).Message)
			_, err = l.Head(t.Context())
			assert.Equal(t, policy.Unavailable, policy.KindOf(err))
			_, err = l.Now(t.Context())
			assert.Equal(t, policy.Unavailable, policy.KindOf(err), "no other clock decides meanwhile")
			assert.Equal(t, policy.Unavailable, policy.KindOf(l.Ready(t.Context())))
			assert.Equal(t, policy.Unavailable, policy.KindOf(<-awaited))

			s.Run(t)
			require.NoError(t, l.Ready(t.Context()))
			require.NoError(t, count(t.Context(), l, "rq_after"))
			assert.Equal(t, "rq_after", <-got, "those who work go on")
			v, err := l.Verify(t.Context(), nil)
			require.NoError(t, err)
			assert.Equal(t, 2, v.Requests)
		})
	}
}

// cutter stands between a client and a server. Once armed, it passes the next
// commit on and cuts the line, so that its answer is lost.
type cutter struct {
	net.Listener
	armed atomic.Bool
}

func cut(t *testing.T, to string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &cutter{Listener: l}
	var lines sync.WaitGroup
	lines.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			lines.Go(func() { c.pass(client, to) })
		}
	})
	t.Cleanup(func() { l.Close(); lines.Wait() })
	return c
}

func (c *cutter) pass(client net.Conn, to string) {
	server, err := net.Dial("tcp", to)
	if err != nil {
		client.Close()
		return
	}
	var deaf atomic.Bool
	go func() {
		defer server.Close()
		buffer := make([]byte, 64<<10)
		for {
			n, err := client.Read(buffer)
			if err != nil {
				return
			}
			commit := bytes.Contains(buffer[:n], []byte("commit\x00")) && c.armed.Swap(false)
			if commit {
				deaf.Store(true)
			}
			if _, err := server.Write(buffer[:n]); err != nil {
				return
			}
		}
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := server.Read(buffer)
		if err != nil || deaf.Load() {
			break
		}
		if _, err := client.Write(buffer[:n]); err != nil {
			break
		}
	}
	client.Close()
	_, _ = io.Copy(io.Discard, server)
	server.Close()
}

func TestACommitWhoseAnswerIsLostCountsAsNotStoredAndSaysSo(t *testing.T) {
	database := freshPostgres(t)
	c := cut(t, mustParse(t, database).Host)
	l := open(t, with(t, database, func(u *url.URL) { u.Host = c.Addr().String() }), time.Now)
	require.NoError(t, count(t.Context(), l, "rq_222222"))
	c.armed.Store(true)
	err := count(t.Context(), l, "rq_333333")
	require.Error(t, err)
	e := policy.Public(err)
	assert.Equal(t, policy.Unavailable, e.Kind)
	assert.Contains(t, e.Message, "it may be stored or not", "%v", err)
	require.NoError(t, count(t.Context(), l, "rq_444444"), "and the ledger goes on")
	_, err = l.Request(t.Context(), "rq_333333")
	require.NoError(t, err, "this one was stored")
	v, err := l.Verify(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, 3, v.Requests)
}

// A commit waits for a synchronous standby. Whoever cancels that wait has the server
// answer as if the standby had it.
func TestACommitThatTheStandbyMayLackCountsAsNotStored(t *testing.T) {
	s := pgtest.Start(t)
	database := s.Database(t)
	l := open(t, parameter(t, database, "synchronous_commit", "local"), time.Now)
	db := rawPostgres(t, parameter(t, database, "synchronous_commit", "off"))
	standby := func(names string) {
		for _, sql := range []string{"ALTER SYSTEM SET synchronous_standby_names = " + names, "SELECT pg_reload_conf()"} {
			_, err := db.Exec(sql)
			require.NoError(t, err)
		}
		require.Eventually(t, func() (is bool) {
			return db.QueryRow("SELECT current_setting('synchronous_standby_names') = "+names).Scan(&is) == nil && is
		}, 20*time.Second, 10*time.Millisecond)
	}
	t.Cleanup(func() { standby("''") }) // or whatever comes after waits too
	standby("'away'")
	stored := make(chan error, 1)
	go func() { stored <- count(t.Context(), l, "rq_222222") }()
	require.Eventually(t, func() (waits bool) {
		sql := "SELECT coalesce(bool_or(pg_cancel_backend(pid)), false) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
		return db.QueryRow(sql).Scan(&waits) == nil && waits
	}, 20*time.Second, 10*time.Millisecond, "it waits for the standby, whatever the default of this user is")
	err := <-stored
	require.Error(t, err)
	assert.Contains(t, policy.Public(err).Message, "it may be stored or not", "%v", err)
	standby("''")
	require.NoError(t, count(t.Context(), l, "rq_333333"), "and the ledger goes on")
	v, err := l.Verify(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, 2, v.Requests)
}

// The clock of the host may be wrong: what is stored, and when jobs come, follows
// the server's.
func TestAHostWhoseClockIsWrong(t *testing.T) {
	for name, off := range map[string]time.Duration{"two minutes fast": 2 * time.Minute, "two minutes slow": -2 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			l := open(t, freshPostgres(t), func() time.Time { return time.Now().Add(off) })
			now, err := l.Now(t.Context())
			require.NoError(t, err)
			assert.WithinDuration(t, time.Now(), now, 30*time.Second)
			times := make(chan time.Time, 9)
			defer start(t, l, policytest.Account, func(context.Context, string) (time.Duration, error) {
				times <- time.Now()
				return 2 * time.Second, nil
			})()
			nudge(t, l, "rq_222222", policytest.Account, now)
			first, second := <-times, <-times
			assert.GreaterOrEqual(t, second.Sub(first), 1900*time.Millisecond)
			assert.Less(t, second.Sub(first), time.Minute, "called again in two seconds by any clock")
			all := records(t, l)
			body, err := all[0].Parse()
			require.NoError(t, err)
			assert.WithinDuration(t, time.Now(), body.At, 30*time.Second)
		})
	}
}

// version1Postgres is the url of a database whose tables are of version 1, with a
// record in them, as a program of that version would leave it.
func version1Postgres(t testing.TB) string {
	t.Helper()
	script, err := os.ReadFile(filepath.Join("schema", "postgres_1.sql"))
	require.NoError(t, err)
	raw := pgtest.Database(t)
	db := rawPostgres(t, parameter(t, raw, "default_query_exec_mode", "simple_protocol"))
	_, err = db.Exec(string(script))
	require.NoError(t, err)
	r, err := policy.RecordBody{Event: "test.happened"}.Seal(1, "")
	require.NoError(t, err)
	_, err = db.Exec("INSERT INTO audit_record (seq, body, prev, hash) VALUES (1, $1, '', $2)", r.Body, r.Hash)
	require.NoError(t, err)
	_, err = db.Exec("UPDATE audit_head SET seq = 1, hash = $1", r.Hash)
	require.NoError(t, err)
	require.NoError(t, db.Close())
	return raw
}

func TestFourProcessesUpgradeADatabaseAtOnce(t *testing.T) {
	database := version1Postgres(t)
	const processes = 4
	var wg sync.WaitGroup
	for p := range processes {
		wg.Go(func() { assert.NoError(t, child(t, "count", database, strconv.Itoa(p)).Run()) })
	}
	wg.Wait()
	v, err := open(t, database, time.Now).Verify(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, processes*childCounts, v.Requests)
	assert.Equal(t, int64(1+2*processes*childCounts), v.Records, "the chain goes on from what was there")
	tables := func(url string) (out string) {
		require.NoError(t, rawPostgres(t, url).QueryRow(`SELECT string_agg(table_name || '.' || column_name || ' ' || data_type, E'\n' ORDER BY table_name, column_name)
			FROM (SELECT table_name::text, column_name::text, data_type::text FROM information_schema.columns WHERE table_schema = 'public'
				UNION SELECT tablename::text, indexname::text, indexdef FROM pg_indexes WHERE schemaname = 'public'
				UNION SELECT 'function', proname, prosrc FROM pg_proc WHERE proname LIKE 'audit%'
				UNION SELECT event_object_table::text, trigger_name::text, action_statement::text FROM information_schema.triggers) c(table_name, column_name, data_type)`).Scan(&out))
		return out
	}
	assert.Equal(t, tables(freshPostgres(t)), tables(database), "it is like one that was made anew")
}

// An upgrade that fails leaves version 1, and one that was killed between our
// tables and the queue's is finished by whoever comes next.
func TestAnUpgradeOfADatabaseIsFinishedByTheNext(t *testing.T) {
	database := version1Postgres(t)
	mend := onPostgres.breaks(t, database, "UPDATE", "schema_version")
	_, err := ledger.Open(t.Context(), database, ledger.Options{Now: time.Now})
	assert.Equal(t, policy.Unavailable, policy.KindOf(err))
	mend()
	db := rawPostgres(t, database)
	var version int
	require.NoError(t, db.QueryRow("SELECT version FROM schema_version").Scan(&version))
	assert.Equal(t, 1, version)
	script, err := os.ReadFile(filepath.Join("schema", "postgres_2.sql"))
	require.NoError(t, err)
	_, err = rawPostgres(t, parameter(t, database, "default_query_exec_mode", "simple_protocol")).Exec(string(script))
	require.NoError(t, err)
	l := open(t, database, time.Now)
	require.NoError(t, count(t.Context(), l, "rq_222222"))
}

// A process of version 1 that has the database open knows nothing of the upgrade.
func TestAProcessOfVersion1GoesOnOnPostgreSQL(t *testing.T) {
	database := version1Postgres(t)
	old, err := rawPostgres(t, database).Conn(t.Context())
	require.NoError(t, err)
	defer old.Close()
	l := open(t, database, time.Now)
	for round := range 3 {
		tx, err := old.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		var seq int64
		var hash string
		require.NoError(t, tx.QueryRow("SELECT seq, hash FROM audit_head WHERE one = 1 FOR UPDATE").Scan(&seq, &hash))
		r, err := policy.RecordBody{Event: "test.happened"}.Seal(seq+1, hash)
		require.NoError(t, err)
		_, err = tx.Exec("INSERT INTO audit_record (seq, body, prev, hash) VALUES ($1, $2, $3, $4)", r.Seq, r.Body, r.Prev, r.Hash)
		require.NoError(t, err)
		_, err = tx.Exec("UPDATE audit_head SET seq = $1, hash = $2 WHERE one = 1 AND seq = $3", r.Seq, r.Hash, seq)
		require.NoError(t, err)
		require.NoError(t, tx.Commit())
		require.NoError(t, count(t.Context(), l, "rq_"+strconv.Itoa(round)))
	}
	v, err := l.Verify(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, int64(1+3*3), v.Records)
}

// What a record costs does not grow with the audit, also in a session that found it empty.
func TestARecordIsComparedWithTheLastAlone(t *testing.T) {
	for name, database := range map[string]string{"made anew": freshPostgres(t), "upgraded": version1Postgres(t)} {
		t.Run(name, func(t *testing.T) {
			head, err := open(t, database, time.Now).Head(t.Context())
			require.NoError(t, err)
			tx, err := rawPostgres(t, database).BeginTx(t.Context(), nil)
			require.NoError(t, err)
			_, err = tx.Exec("INSERT INTO audit_record (seq, body, prev, hash) SELECT $1 + i, '', 'after ' || i, '' FROM generate_series(1, 1000) i", head)
			require.NoError(t, err)
			var read int
			require.NoError(t, tx.QueryRow("SELECT seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'audit_record'").Scan(&read))
			assert.Zero(t, read, "rows that were read without the index")
			_, err = tx.Exec("INSERT INTO audit_record (seq, body, prev, hash) VALUES ($1, '', 'another', '')", head+500)
			require.ErrorContains(t, err, "append-only")
			require.NoError(t, tx.Rollback())
		})
	}
}
