package ledger

import (
	"context"
	_ "embed" // for the tables
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/vpsguard/vpsguard/policy"
)

var (
	//go:embed schema/postgres_1.sql
	postgres1 string
	//go:embed schema/postgres_2.sql
	postgres2 string
	//go:embed schema/postgres_3.sql
	postgres3 string
	//go:embed schema/postgres_4.sql
	postgres4 string
)

// postgresSteps make each version of our tables from the one before, as
// sqliteSteps do: a version has the same tables on both.
var postgresSteps = []string{postgres1, postgres2, postgres3, postgres4}

const (
	// postgresMark is the comment of the table schema_version, which is a name that
	// others use too.
	postgresMark = "vpsguard ledger"
	// movedState is the code of the error with which a ledger that was moved refuses.
	movedState = "VG001"
	// postgresOldest is the oldest server, as it numbers itself.
	postgresOldest = 130000

	// Tables are made by one process at a time; the others look this often, this long.
	lockPause, lockPatience = 100 * time.Millisecond, time.Minute
)

// migrate makes the tables where they are missing or old. Only who has to takes
// the lock for it; and one that only opens writes nothing but the probe.
func (p *postgres) migrate(ctx context.Context, existing bool) error {
	version, made, err := p.made(ctx)
	switch {
	case err == nil && version == 0 && existing:
		err = errNone
	case err == nil && !made:
		err = p.locked(ctx, p.make)
	}
	if err != nil {
		return err
	}
	if _, err := p.now(ctx, nil); err != nil { // how far its clock is from ours
		return err
	}
	return p.write(ctx, func(t tx) error { // shows a database that is read-only
		_, err := t.Exec(ctx, "UPDATE schema_version SET version = version")
		return err
	})
}

// filled lets the server count, on which it bases its plans; by itself it does so a minute later.
func (p *postgres) filled() string { return "ANALYZE" }

// unhurried is for the one transaction that copies everything.
func (p *postgres) unhurried() string {
	return "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
}

func (p *postgres) moved() string {
	return `CREATE FUNCTION ledger_was_moved() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN RAISE EXCEPTION 'this ledger was moved' USING ERRCODE = '` + movedState + `'; END $$;
		CREATE TRIGGER moved BEFORE UPDATE ON audit_head EXECUTE FUNCTION ledger_was_moved();
		CREATE TRIGGER moved BEFORE INSERT ON audit_record EXECUTE FUNCTION ledger_was_moved();
		CREATE TRIGGER moved BEFORE INSERT OR UPDATE OR DELETE ON note EXECUTE FUNCTION ledger_was_moved()`
}

func (p *postgres) reopened() string { return "DROP FUNCTION ledger_was_moved() CASCADE" }

// made gives the version of our tables, 0 where there are none, and tells whether
// all are there, the queue's too. It fails where the schema is not one of a ledger
// that this program knows.
func (p *postgres) made(ctx context.Context) (version int, all bool, err error) {
	err = p.read(ctx, func(q querier) (err error) {
		version, err = postgresVersion(ctx, q)
		return err
	})
	if err != nil || version < schemaVersion {
		return version, false, err
	}
	m, err := rivermigrate.New(p.driver, &rivermigrate.Config{Logger: p.config.Logger})
	if err != nil {
		return version, false, err
	}
	queue, err := m.Validate(ctx, nil)
	if err != nil {
		return version, false, fmt.Errorf("looking at the queue's tables: %w", err)
	}
	return version, queue.OK, nil
}

// postgresVersion gives the version of a ledger's tables, 0 where the schema is
// empty, less what extensions have put there.
func postgresVersion(ctx context.Context, q querier) (version int, err error) {
	var server, tables int
	var encoding, schema, mark string
	err = q.QueryRow(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_encoding'), coalesce(current_schema(), ''),
			coalesce(obj_description(to_regclass(quote_ident(current_schema()) || '.schema_version'), 'pg_class'), ''),
			(SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
				WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
				AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))`).
		Scan(&server, &encoding, &schema, &mark, &tables)
	switch {
	case err != nil:
		return 0, fmt.Errorf("reading what the database is: %w", err)
	case server < postgresOldest:
		return 0, policy.Errorf(policy.Invalid, "its server is PostgreSQL %d", server/10000).
			WithHint("Use PostgreSQL %d or newer.", postgresOldest/10000)
	case encoding != "UTF8":
		return 0, policy.Errorf(policy.Invalid, "its encoding is %s", policy.Clean(encoding, 20)).WithHint("Make a database with the encoding UTF8.")
	case schema == "":
		return 0, policy.Errorf(policy.Invalid, "it has no schema for tables").
			WithHint("Make the schema that the url's search_path names, or let this user use it.")
	case mark == "" && tables == 0:
		return 0, nil
	case mark != postgresMark:
		return 0, policy.Errorf(policy.Invalid, "it has tables of another program").
			WithHint("Name an empty database, or an empty schema with ?search_path=SCHEMA.")
	}
	return known(ctx, q)
}

// locked runs f on a connection that holds the lock of this schema, while no other
// process does. Its connections have no limits of time: making an index may take.
func (p *postgres) locked(ctx context.Context, f func(context.Context, *pgxpool.Pool, *pgxpool.Conn) error) error {
	config := p.pool.Config()
	config.MaxConns = 2 // the lock's, and the queue's migrations
	config.AfterConnect = limits{lock: waitForLock}.session
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close() // which gives the lock back
	c, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer c.Release()
	for waited := time.Duration(0); ; waited += lockPause {
		var had bool
		const try = "SELECT pg_try_advisory_lock(hashtextextended('vpsguard ledger ' || current_schema(), 0))"
		if err := c.QueryRow(ctx, try).Scan(&had); err != nil {
			return fmt.Errorf("taking the lock of the tables: %w", err)
		}
		if had {
			return f(ctx, pool, c)
		}
		if waited >= lockPatience {
			return policy.Errorf(policy.Unavailable, "another process has been making its tables for %s", lockPatience)
		}
		select {
		case <-time.After(lockPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// make makes our tables, in one transaction, and then the queue's, which cannot be
// made in one. Who finds ours alone makes the others.
func (p *postgres) make(ctx context.Context, pool *pgxpool.Pool, c *pgxpool.Conn) error {
	err := pgx.BeginFunc(ctx, c, func(t pgx.Tx) error {
		version, err := postgresVersion(ctx, postgresReads{t})
		if err != nil {
			return err
		}
		for i := version; i < schemaVersion; i++ {
			if _, err := t.Exec(ctx, postgresSteps[i]); err != nil {
				return fmt.Errorf("making the tables of version %d: %w", i+1, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	m, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: p.config.Logger})
	if err == nil {
		_, err = m.Migrate(ctx, rivermigrate.DirectionUp, nil)
	}
	if err != nil {
		return fmt.Errorf("making the queue's tables: %w", err)
	}
	_, made, err := p.made(ctx)
	if err == nil && !made {
		err = errors.New("the tables are not as they were made")
	}
	return err
}
