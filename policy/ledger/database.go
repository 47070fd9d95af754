package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/riverqueue/river"

	"github.com/vpsguard/vpsguard/policy"
)

// schemaVersion is the version of the tables, ours and River's together, on every
// kind of database.
const schemaVersion = 4

// known gives the version of a ledger's tables, and refuses those of one that this
// program does not know, but for newer ones that let it.
func known(ctx context.Context, q querier) (version int, err error) {
	if err := q.QueryRow(ctx, "SELECT version FROM schema_version WHERE one = 1").Scan(&version); err != nil {
		return 0, fmt.Errorf("reading the version: %w", err)
	}
	oldest := 0
	if version > schemaVersion {
		if err := q.QueryRow(ctx, "SELECT oldest FROM schema_version WHERE one = 1").Scan(&oldest); err != nil {
			return 0, fmt.Errorf("reading whom the version lets use it: %w", err)
		}
	}
	switch {
	case oldest > schemaVersion:
		return version, policy.Errorf(policy.Invalid, "it has version %d, of a newer vpsguard, which takes one that knows version %d; this one knows version %d",
			version, oldest, schemaVersion).WithHint("Use the newer vpsguard for this ledger.")
	case version < 1:
		return version, policy.Errorf(policy.Invalid, "it has version %d, which no vpsguard has made", version).WithHint("Name another ledger.")
	}
	return version, nil
}

// errTooOld is what whoever changes a ledger is told that a newer program has made
// into one that this one would do harm to.
func errTooOld(oldest int) error {
	return policy.Errorf(policy.Unavailable, "a newer vpsguard has upgraded the ledger, to tables that take version %d; this one knows version %d; nothing was changed",
		oldest, schemaVersion).WithHint("Start the newer vpsguard here too.")
}

// database is what the ledger needs of a kind of database. The SQL is written
// once, with $1, $2, … numbered in the order in which they stand; what differs
// between databases is behind this interface and in the files under schema.
type database interface {
	// migrate makes the tables, makes of those of an older version the present
	// ones, or checks that they are those of a ledger and can be written. Any
	// number of processes may do it at once. Where there is nothing and there has to
	// be something, it fails with errNone.
	migrate(ctx context.Context, existing bool) error
	// write runs f in a transaction, and commits if f returns nil. It tries
	// again only where nothing has begun. f's own error comes back unchanged.
	write(ctx context.Context, f func(tx) error) error
	// read runs f in a transaction that sees one state of the database.
	read(ctx context.Context, f func(querier) error) error
	// forUpdate is what locks a selected row, with a blank before it.
	forUpdate() string
	// now is the clock that decides.
	now(ctx context.Context, q querier) (time.Time, error)
	// says tells people what went wrong, in the first half of a sentence.
	says(err error) string
	// concerns are what an operator should know of how it is set up.
	concerns(ctx context.Context) ([]Concern, error)
	// wants is a sentence for people on what it needs to be opened.
	wants() string
	// moved is what makes the database itself refuse changes from then on, and
	// reopened what ends that.
	moved() string
	reopened() string
	// unhurried is what lets a transaction take longer than others; "" where nothing does.
	unhurried() string
	// filled is what a database wants to be told after much was stored at once; "" for nothing.
	filled() string
	// worker makes something that works on the jobs of some queues.
	worker(queues map[string]river.QueueConfig, w *river.Workers) (runner, error)
	// forget removes the jobs of a kind that wait in a queue since before a
	// time, a thousand at most.
	forget(ctx context.Context, queue, kind string, before time.Time) error
	close() error
}

// querier reads.
type querier interface {
	Query(ctx context.Context, q string, args ...any) (rows, error)
	QueryRow(ctx context.Context, q string, args ...any) row
}

// tx is a transaction that writes.
type tx interface {
	querier
	// Exec gives how many rows were touched.
	Exec(ctx context.Context, q string, args ...any) (int64, error)
	// Enqueue inserts a job that is there when the transaction is committed.
	Enqueue(ctx context.Context, args river.JobArgs, o *river.InsertOpts) error
}

// row is one row; Scan fails with sql.ErrNoRows where there is none.
type row interface{ Scan(dest ...any) error }

// rows are read with Next until it returns false; then Err tells why.
type rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
	Close() error
}

// runner is a River client, whatever its transactions are.
type runner interface {
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
	StopAndCancel(ctx context.Context) error
}

// clock is River's view of the ledger's clock, so that both always agree.
type clock struct{ now func() time.Time }

func (c clock) Now() time.Time        { return c.now() }
func (c clock) NowOrNil() *time.Time  { t := c.now(); return &t }
func whole(t time.Time) time.Time     { return t.UTC().Truncate(time.Millisecond) }
func internal(s string) *policy.Error { return policy.Errorf(policy.Internal, "%s", s) }
