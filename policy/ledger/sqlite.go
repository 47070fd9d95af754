package ledger

import (
	"context"
	"database/sql"
	_ "embed" // for the tables
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/sethvargo/go-retry"
	driver "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"github.com/vpsguard/vpsguard/policy"
)

var (
	//go:embed schema/sqlite_1.sql
	sqlite1 string
	//go:embed schema/sqlite_2.sql
	sqlite2 string
	//go:embed schema/sqlite_3.sql
	sqlite3 string
	//go:embed schema/sqlite_4.sql
	sqlite4 string
)

// sqliteSteps make each version of our tables from the one before. What was
// released is never edited: ledgers of that version exist.
var sqliteSteps = []string{sqlite1, sqlite2, sqlite3, sqlite4}

const (
	// sqliteMark is the application_id in the file's header: "vpsg".
	sqliteMark = 0x76707367

	// Writers take the write lock when they begin: a transaction that reads
	// first and writes later would fail however long it waited. FULL, since a
	// record of a start has to survive a loss of power.
	sqliteWriter = "_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_txlock=immediate"
	sqliteReader = "_pragma=busy_timeout(10000)&_pragma=query_only(1)"

	// Beginning is tried again after a busy timeout: nothing has happened yet.
	beginAgain, beginPause = 3, 50 * time.Millisecond
)

// sqlite is one file. All that writes, River too, goes through one connection:
// Go's queue for it is fair, SQLite's lock is not. Nothing outside a transaction
// may wait for that connection from inside one.
type sqlite struct {
	writer, reader *sql.DB
	driver         *riversqlite.Driver
	client         *river.Client[*sql.Tx] // only inserts
	config         river.Config
}

// openSQLite connects to a file that exists. It does not touch it yet.
func openSQLite(path string, now func() time.Time, log *slog.Logger) (*sqlite, error) {
	file := (&url.URL{Scheme: "file", OmitHost: true, Path: path}).EscapedPath()
	s := &sqlite{config: river.Config{
		Logger: log, Test: river.TestConfig{Time: clock{now}},
		FetchCooldown: fetchCooldown, FetchPollInterval: fetchPoll,
	}}
	var err error
	if s.writer, err = sql.Open("sqlite", "file:"+file+"?"+sqliteWriter); err != nil {
		return nil, err
	}
	s.writer.SetMaxOpenConns(1)
	if s.reader, err = sql.Open("sqlite", "file:"+file+"?"+sqliteReader); err != nil {
		return nil, err
	}
	s.reader.SetMaxOpenConns(4)
	s.reader.SetMaxIdleConns(4)
	s.driver = riversqlite.New(s.writer)
	config := s.config
	config.FetchCooldown = river.FetchCooldownMin // the least time between two notifications of one queue
	if s.client, err = river.NewClient(s.driver, &config); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *sqlite) close() error { return errors.Join(s.reader.Close(), s.writer.Close()) }

func (s *sqlite) forUpdate() string { return "" } // the transaction has the write lock already

func (s *sqlite) now(context.Context, querier) (time.Time, error) {
	return whole(s.config.Test.Time.Now()), nil
}

func (s *sqlite) write(ctx context.Context, f func(tx) error) error {
	return s.inTx(ctx, func(t sqliteTx) error { return f(t) })
}

func (s *sqlite) inTx(ctx context.Context, f func(sqliteTx) error) error {
	again := retry.WithMaxRetries(beginAgain, retry.NewConstant(beginPause))
	t, err := retry.DoValue(ctx, again, func(ctx context.Context) (*sql.Tx, error) {
		t, err := s.writer.BeginTx(ctx, nil)
		if code(err) == codes.SQLITE_BUSY {
			return nil, retry.RetryableError(err)
		}
		return t, err
	})
	if err != nil {
		return fmt.Errorf("beginning a change: %w", err)
	}
	defer func() { _ = t.Rollback() }() // after a commit it does nothing
	if err := f(sqliteTx{sqliteReads{t}, s.client}); err != nil {
		return err
	}
	if err := t.Commit(); err != nil {
		return fmt.Errorf("committing a change: %w", err)
	}
	return nil
}

func (s *sqlite) read(ctx context.Context, f func(querier) error) error {
	t, err := s.reader.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("beginning to read: %w", err)
	}
	defer func() { _ = t.Rollback() }()
	return f(sqliteReads{t})
}

func (s *sqlite) migrate(ctx context.Context, existing bool) error {
	// First without a connection that writes: that would already turn another
	// program's database into one with a write-ahead log.
	err := s.read(ctx, func(q querier) error { _, err := versionOf(ctx, q); return err })
	if e := (*policy.Error)(nil); !errors.As(err, &e) && code(err) != codes.SQLITE_NOTADB {
		err = s.inTx(ctx, func(t sqliteTx) error {
			version, err := versionOf(ctx, t)
			switch {
			case err != nil:
				return err
			case version == 0 && existing:
				return errNone
			case version == 0:
				return s.create(ctx, t)
			case version < schemaVersion:
				return s.upgrade(ctx, t, version)
			}
			// Shows a disk or a file that is read-only, without writing anything.
			_, err = t.Exec(ctx, "UPDATE schema_version SET version = version")
			return err
		})
	}
	if code(err) == codes.SQLITE_NOTADB {
		return errNotALedger("it is no ledger but a file of another kind")
	}
	return err
}

// versionOf gives the version of a ledger's tables, 0 where the file is new. It
// fails where the file is no ledger that this program knows.
func versionOf(ctx context.Context, q querier) (version int, err error) {
	var mark, tables int64
	if err = q.QueryRow(ctx, "PRAGMA application_id").Scan(&mark); err == nil {
		err = q.QueryRow(ctx, "SELECT count(*) FROM sqlite_master").Scan(&tables)
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("reading what the file is: %w", err)
	case mark == 0 && tables == 0:
		return 0, nil
	case mark != sqliteMark:
		return 0, errNotALedger("it is an SQLite database of another program")
	}
	return known(ctx, q)
}

func errNotALedger(why string) error {
	return policy.Errorf(policy.Invalid, "%s", why).WithHint("Name another file, or one that does not exist yet.")
}

// create makes our tables and River's, in one transaction: while several
// processes open a fresh file, one makes them and the others find them.
func (s *sqlite) create(ctx context.Context, t sqliteTx) error {
	if err := s.upgrade(ctx, t, 0); err != nil {
		return err
	}
	m, err := rivermigrate.New(s.driver, &rivermigrate.Config{Logger: s.config.Logger})
	if err != nil {
		return fmt.Errorf("making the queue: %w", err)
	}
	//nolint:staticcheck // on SQLite one transaction works, and it is what keeps processes apart
	if _, err := m.MigrateTx(ctx, t.Tx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("making the queue's tables: %w", err)
	}
	_, err = t.Exec(ctx, fmt.Sprintf("PRAGMA application_id = %d", sqliteMark))
	return err
}

// upgrade makes of a ledger's tables those of this version, in one transaction.
// A process of an older version that has the file open goes on with what it knows.
func (s *sqlite) upgrade(ctx context.Context, t sqliteTx, from int) error {
	for i, step := range sqliteSteps[from:] {
		if _, err := t.Exec(ctx, step); err != nil {
			return fmt.Errorf("making the tables of version %d: %w", from+i+1, err)
		}
	}
	return nil
}

func (s *sqlite) worker(queues map[string]river.QueueConfig, w *river.Workers) (runner, error) {
	config := s.config
	config.Workers, config.Queues = w, queues
	config.JobTimeout, config.RescueStuckJobsAfter = jobTimeout, rescueAfter
	return river.NewClient(s.driver, &config)
}

func (s *sqlite) forget(ctx context.Context, queue, kind string, before time.Time) error {
	return forget(ctx, s.client, queue, kind, before)
}

func (s *sqlite) unhurried() string { return "" }

func (s *sqlite) filled() string { return "" }

func (s *sqlite) moved() string {
	out := ""
	for _, on := range []string{"UPDATE ON audit_head", "INSERT ON audit_record", "INSERT ON note", "UPDATE ON note", "DELETE ON note"} {
		out += "CREATE TRIGGER moved_" + strings.ToLower(strings.ReplaceAll(on, " ", "_")) + " BEFORE " + on +
			" BEGIN SELECT RAISE(ABORT, 'this ledger was moved'); END;\n"
	}
	return out
}

func (s *sqlite) reopened() string {
	return "DROP TRIGGER moved_update_on_audit_head; DROP TRIGGER moved_insert_on_audit_record; " +
		"DROP TRIGGER moved_insert_on_note; DROP TRIGGER moved_update_on_note; DROP TRIGGER moved_delete_on_note"
}

func (s *sqlite) concerns(context.Context) ([]Concern, error) { return nil, nil }

func (s *sqlite) wants() string {
	return "Give the program a local disk with room, where it may write."
}

// says is written for the codes that notably happen; see the driver's list.
func (s *sqlite) says(err error) string {
	switch code(err) {
	case codes.SQLITE_BUSY, codes.SQLITE_LOCKED:
		return "the ledger is busy"
	case codes.SQLITE_READONLY:
		return "the ledger is on a read-only disk, or its file is read-only"
	case codes.SQLITE_FULL:
		return "the ledger's disk is full"
	case codes.SQLITE_IOERR:
		return "the ledger's disk fails"
	case codes.SQLITE_CANTOPEN, codes.SQLITE_PERM, codes.SQLITE_AUTH:
		return "the ledger's file cannot be opened to be written"
	case codes.SQLITE_CORRUPT, codes.SQLITE_NOTADB:
		return "the ledger's file is damaged"
	default:
		return "the ledger does not work"
	}
}

// code is the primary code of SQLite; 0 where the error is not its.
func code(err error) int {
	if e := (*driver.Error)(nil); errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

// sqliteReads fits *sql.Tx to querier.
type sqliteReads struct{ *sql.Tx }

func (t sqliteReads) Query(ctx context.Context, q string, args ...any) (rows, error) {
	return t.QueryContext(ctx, q, args...) //nolint:rowserrcheck // the caller's part
}

func (t sqliteReads) QueryRow(ctx context.Context, q string, args ...any) row {
	return t.QueryRowContext(ctx, q, args...)
}

// sqliteTx fits *sql.Tx to tx.
type sqliteTx struct {
	sqliteReads
	client *river.Client[*sql.Tx]
}

func (t sqliteTx) Exec(ctx context.Context, q string, args ...any) (int64, error) {
	r, err := t.ExecContext(ctx, q, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (t sqliteTx) Enqueue(ctx context.Context, args river.JobArgs, o *river.InsertOpts) error {
	_, err := t.client.InsertTx(ctx, t.Tx, args, o)
	return err
}
