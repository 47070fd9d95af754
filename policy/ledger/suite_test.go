package ledger_test

import (
	"context"
	"database/sql"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // for those who look into the database beside the ledger
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
	"github.com/vpsguard/vpsguard/policy/ledger/pgtest"
	"github.com/vpsguard/vpsguard/policy/policytest"
)

// base is a kind of database that the tests run on.
type base struct {
	name string
	// missing is the url of a ledger that nobody has opened yet.
	missing func(t testing.TB) string
	// fresh is the url of a ledger that is empty; making the tables takes a while.
	fresh func(t testing.TB) string
	// raw opens the database beside the ledger, as somebody who tampers with it does.
	raw func(t testing.TB, url string) *sql.DB
	// ownClock says that it has a clock of its own.
	ownClock bool
}

var (
	onSQLite   = base{name: "SQLite", missing: missing, fresh: fresh, raw: raw}
	onPostgres = base{name: "PostgreSQL", missing: func(t testing.TB) string { return pgtest.Database(t) }, fresh: freshPostgres, raw: rawPostgres, ownClock: true}
)

// onBoth runs a test on each kind of database.
func onBoth(t *testing.T, f func(t *testing.T, on base)) {
	t.Helper()
	for _, on := range []base{onSQLite, onPostgres} {
		t.Run(on.name, func(t *testing.T) { f(t, on) })
	}
}

func TestSQLiteIsALedger(t *testing.T)     { isALedger(t, onSQLite) }
func TestPostgreSQLIsALedger(t *testing.T) { isALedger(t, onPostgres) }

func isALedger(t *testing.T, on base) {
	policytest.Ledger(t, func(t *testing.T, now func() time.Time) policytest.Subject {
		url := on.fresh(t)
		return policytest.Subject{
			Open:     func(t *testing.T) policy.Ledger { return open(t, url, now) },
			Records:  func(t *testing.T) []policy.Record { return records(t, open(t, url, now)) },
			Nudges:   func(t *testing.T) int { return on.waiting(t, url, "advance") },
			Told:     func(t *testing.T) int { return on.waiting(t, url, "tell") },
			OwnClock: on.ownClock,
		}
	})
}

// waiting counts the jobs of a kind that nobody has taken.
func (on base) waiting(t testing.TB, url, kind string) (n int) {
	t.Helper()
	row := on.raw(t, url).QueryRow("SELECT count(*) FROM river_job WHERE state IN ('available', 'scheduled') AND kind = $1", kind)
	require.NoError(t, row.Scan(&n))
	return n
}

// missing is the url of a file that does not exist yet.
func missing(t testing.TB) string {
	return "sqlite:" + filepath.Join(t.TempDir(), "state", "ledger.db")
}

// template is a ledger that was opened and closed once: making the tables takes
// half a second under the race detector.
var template = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "ledger")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "ledger.db")
	l, err := ledger.Open(context.Background(), "sqlite:"+path, ledger.Options{Now: time.Now})
	if err != nil {
		return nil, err
	}
	if err := l.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// fresh is the url of a file with a ledger that is empty.
func fresh(t testing.TB) string {
	t.Helper()
	content, err := template()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "ledger.db")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return "sqlite:" + path
}

// freshPostgres is the url of a database with a ledger that is empty.
func freshPostgres(t testing.TB) string {
	t.Helper()
	return pgtest.Copy(t, "fresh", func(url string) error {
		l, err := ledger.Open(context.Background(), url, ledger.Options{Now: time.Now})
		if err != nil {
			return err
		}
		return l.Close()
	})
}

// open opens a ledger until the test ends.
func open(t testing.TB, url string, now func() time.Time) *ledger.Ledger {
	t.Helper()
	l, err := ledger.Open(t.Context(), url, ledger.Options{Now: now, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

func raw(t testing.TB, url string) *sql.DB {
	t.Helper()
	return opened(t, "sqlite", url[len("sqlite:"):]+"?_pragma=busy_timeout(10000)")
}

func rawPostgres(t testing.TB, url string) *sql.DB { return opened(t, "pgx", url) }

func opened(t testing.TB, driver, name string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, name)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func records(t testing.TB, l *ledger.Ledger) (out []policy.Record) {
	t.Helper()
	for {
		page, err := l.Records(t.Context(), int64(len(out)+1), 700)
		require.NoError(t, err)
		out = append(out, page...)
		if len(page) < 700 {
			return out
		}
	}
}
