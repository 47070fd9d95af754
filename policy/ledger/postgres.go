package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/sethvargo/go-retry"
)

const (
	// A process takes few of the server's connections: one hears of new jobs, two in
	// five change something, the others read and fetch jobs.
	postgresConns, postgresLeast = 10, 4

	// A replica that hangs in the middle of a change is put out by the server, which
	// frees the audit's head for the others; they wait for it longer than that.
	idleInChange   = 15 * time.Second
	waitForLock    = 20 * time.Second
	postgresAnswer = 30 * time.Second // of one statement, said to the server
	answerWithin   = 35 * time.Second // of one statement, waited for here: a cut line says nothing
	connectWithin  = 5 * time.Second
	rollbackWithin = 5 * time.Second

	// Beginning is tried again while the server restarts: nothing has happened yet.
	postgresPause, postgresPatience = 50 * time.Millisecond, 2 * time.Second
)

// postgres is one schema of one database, for processes on any number of machines.
// Changes wait for the row of the audit's head; notes and jobs do not.
type postgres struct {
	pool    *pgxpool.Pool
	driver  *riverpgxv5.Driver
	client  *river.Client[pgx.Tx] // only inserts
	config  river.Config
	clock   *ahead
	writing chan struct{} // a place for each that writes
}

// openPostgres makes the parts. It does not connect yet.
func openPostgres(config *pgxpool.Config, now func() time.Time, log *slog.Logger) (*postgres, error) {
	config = config.Copy()
	config.AfterConnect = limits{postgresAnswer, waitForLock, idleInChange}.session
	config.ConnConfig.OnNotice = warned
	p := &postgres{clock: &ahead{host: now}, writing: make(chan struct{}, max(1, config.MaxConns*2/5))}
	p.config = river.Config{
		Logger: log, Test: river.TestConfig{Time: p.clock},
		FetchCooldown: fetchCooldown, FetchPollInterval: fetchPoll,
	}
	var err error
	// The context is of those connections alone that are opened beforehand: none.
	if p.pool, err = pgxpool.NewWithConfig(context.Background(), config); err != nil {
		return nil, err
	}
	p.driver = riverpgxv5.New(p.pool)
	insert := p.config
	insert.FetchCooldown = river.FetchCooldownMin // the least time between two notifications of one queue
	if p.client, err = river.NewClient(p.driver, &insert); err != nil {
		p.pool.Close()
		return nil, err
	}
	return p, nil
}

// limits are how long a session waits for the server, and the server for it; 0 is
// without limit.
type limits struct{ statement, lock, idle time.Duration }

// session is run in each new connection. What the url says of a limit holds. A
// commit is durable before it is answered, here and at a synchronous standby, also
// where the server's default is another. So is a change's isolation: it waits for
// the head and then sees what those before it have done. Plans are made for the values
// that are asked for: one for all values, made while little was stored, was kept for a
// session's life, and went over all that is closed.
func (l limits) session(ctx context.Context, c *pgx.Conn) error {
	sql := `SET timezone = 'UTC'; SET default_transaction_isolation = 'read committed'; SET plan_cache_mode = force_custom_plan; SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')`
	for name, limit := range map[string]time.Duration{
		"statement_timeout": l.statement, "lock_timeout": l.lock, "idle_in_transaction_session_timeout": l.idle,
	} {
		if _, said := c.Config().RuntimeParams[name]; !said {
			sql += fmt.Sprintf("; SET %s = %d", name, limit.Milliseconds())
		}
	}
	_, err := c.PgConn().Exec(ctx, sql).ReadAll()
	return err
}

func (p *postgres) close() error {
	p.pool.Close()
	return nil
}

func (p *postgres) forUpdate() string { return " FOR UPDATE" }

// now asks the server, whose clock is the same for all replicas.
func (p *postgres) now(ctx context.Context, q querier) (at time.Time, err error) {
	const sql = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
	var millis int64
	before := p.clock.host()
	if q != nil {
		err = q.QueryRow(ctx, sql).Scan(&millis)
	} else {
		ctx, cancel := context.WithTimeout(ctx, answerWithin)
		defer cancel()
		err = patiently(ctx, func(ctx context.Context) error { return p.pool.QueryRow(ctx, sql).Scan(&millis) })
	}
	if err != nil {
		return at, fmt.Errorf("asking for the time: %w", err)
	}
	at = time.UnixMilli(millis).UTC()
	p.clock.saw(before, at)
	return at, nil
}

func (p *postgres) write(ctx context.Context, f func(tx) error) error {
	select {
	case p.writing <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("waiting for other changes: %w", ctx.Err())
	}
	defer func() { <-p.writing }()
	t, err := p.begin(ctx, pgx.TxOptions{})
	if err != nil {
		return fmt.Errorf("beginning a change: %w", err)
	}
	defer rollback(ctx, t)
	if err := f(postgresTx{postgresReads{t}, p.client}); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("committing a change: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	warning := &atomic.Pointer[pgconn.Notice]{}
	t.Conn().PgConn().CustomData()[warningKey] = warning // the line is ours until the commit
	err = t.Commit(ctx)
	if w := warning.Load(); err == nil && w != nil {
		err = errors.New(w.Message)
	}
	if err == nil {
		return nil
	}
	if maybe(err) {
		err = &lostError{err}
	}
	return fmt.Errorf("committing a change: %w", err)
}

// warningKey is where a line keeps what the server has warned of since a commit began.
const warningKey = "vpsguard warning"

// warned is told of all notices. A commit that was made with a warning is no sure
// one: a server that is told to wait no longer for its synchronous standby (somebody
// cancels what seems to hang) answers as if all were well, and where the standby
// takes over the commit is gone.
func warned(c *pgconn.PgConn, n *pgconn.Notice) {
	if w, ok := c.CustomData()[warningKey].(*atomic.Pointer[pgconn.Notice]); ok && n.SeverityUnlocalized == "WARNING" {
		w.Store(n)
	}
}

// maybe tells whether a commit that failed may have been made all the same: the
// server has said nothing, or that it ends this connection. What pgx says itself
// does not help: it calls a commit whose answer was lost safe to be sent again.
func maybe(err error) bool {
	code := sqlstate(err)
	return !errors.Is(err, pgx.ErrTxCommitRollback) && (code == "" || code[:2] == "57" || code[:2] == "08")
}

func (p *postgres) read(ctx context.Context, f func(querier) error) error {
	t, err := p.begin(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return fmt.Errorf("beginning to read: %w", err)
	}
	defer rollback(ctx, t)
	return f(postgresReads{t})
}

func (p *postgres) begin(ctx context.Context, o pgx.TxOptions) (t pgx.Tx, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	err = patiently(ctx, func(ctx context.Context) error {
		t, err = p.pool.BeginTx(ctx, o)
		return err
	})
	return t, err
}

// patiently repeats what has no effect while the server cannot be reached.
func patiently(ctx context.Context, f func(context.Context) error) error {
	again := retry.WithMaxDuration(postgresPatience, retry.NewExponential(postgresPause))
	err := retry.Do(ctx, again, func(ctx context.Context) error {
		err := f(ctx)
		if err != nil && ctx.Err() == nil && unreachable(err) {
			return retry.RetryableError(err)
		}
		return err
	})
	if err != nil && ctx.Err() == nil && unreachable(err) {
		return &awayError{err}
	}
	return err
}

// awayError is a server that could not be reached. It hides what is below, which
// may be the end of a context: not the caller's, but that of connecting.
type awayError struct{ err error }

func (e *awayError) Error() string { return e.err.Error() }

// rollback ends a transaction, which after a commit does nothing. It also has to
// where the context has ended: the connection would be lost with it.
func rollback(ctx context.Context, t pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackWithin)
	defer cancel()
	_ = t.Rollback(ctx)
}

func (p *postgres) worker(queues map[string]river.QueueConfig, w *river.Workers) (runner, error) {
	config := p.config
	config.Workers, config.Queues = w, queues
	config.JobTimeout, config.RescueStuckJobsAfter = jobTimeout, rescueAfter
	return river.NewClient(p.driver, &config)
}

func (p *postgres) forget(ctx context.Context, queue, kind string, before time.Time) error {
	return forget(ctx, p.client, queue, kind, before)
}

// lostError is a commit of which nobody knows whether it was made, or will stay.
type lostError struct{ err error }

func (e *lostError) Error() string { return "the answer was lost: " + e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// lost tells whether an error is a commit whose answer was lost.
func lost(err error) bool {
	var e *lostError
	return errors.As(err, &e)
}

// ahead is the server's clock as it is seen from here, for River, which asks this
// host for the time where it schedules. Nothing is decided by it.
type ahead struct {
	host func() time.Time
	by   atomic.Int64 // nanoseconds that the server's clock is ahead of the host's
}

// jitter is by how much a measurement may differ without a clock having moved.
const jitter = 100 * time.Millisecond

// saw remembers how far the server is ahead, told in an answer to a question.
func (a *ahead) saw(asked, answer time.Time) {
	took := a.host().Sub(asked)
	by := answer.Sub(asked) - took/2
	if took < jitter && (by-time.Duration(a.by.Load())).Abs() > jitter {
		a.by.Store(int64(by))
	}
}

func (a *ahead) Now() time.Time       { return a.host().Add(time.Duration(a.by.Load())) }
func (a *ahead) NowOrNil() *time.Time { return nil } // in SQL the server's own

// postgresReads fits pgx.Tx to querier.
type postgresReads struct{ t pgx.Tx }

func (r postgresReads) Query(ctx context.Context, q string, args ...any) (rows, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	found, err := r.t.Query(ctx, q, args...)
	if err != nil {
		cancel()
		return nil, err
	}
	return postgresRows{found, cancel}, nil
}

func (r postgresReads) QueryRow(ctx context.Context, q string, args ...any) row {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	return postgresRow{r.t.QueryRow(ctx, q, args...), cancel}
}

type postgresRow struct {
	row
	cancel context.CancelFunc
}

func (r postgresRow) Scan(dest ...any) error {
	defer r.cancel()
	return r.row.Scan(dest...)
}

type postgresRows struct {
	pgx.Rows
	cancel context.CancelFunc
}

func (r postgresRows) Close() error {
	defer r.cancel()
	r.Rows.Close()
	return nil
}

// postgresTx fits pgx.Tx to tx.
type postgresTx struct {
	postgresReads
	client *river.Client[pgx.Tx]
}

func (t postgresTx) Exec(ctx context.Context, q string, args ...any) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	tag, err := t.t.Exec(ctx, q, args...)
	return tag.RowsAffected(), err
}

func (t postgresTx) Enqueue(ctx context.Context, args river.JobArgs, o *river.InsertOpts) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	_, err := t.client.InsertTx(ctx, t.t, args, o)
	return err
}
