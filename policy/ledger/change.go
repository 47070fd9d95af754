package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/riverqueue/river"

	"github.com/vpsguard/vpsguard/policy"
)

var _ policy.Tx = (*change)(nil)

// head is the end of the audit's chain.
type head struct {
	seq  int64
	hash string
}

// change is a transaction. Not for concurrent use.
type change struct {
	l           *Ledger
	tx          tx
	begun, head head
	queued      map[string]bool
	failed      error // of the first statement that failed: then nothing is committed
	over        bool
	reopens     bool // a ledger that was moved may be changed
}

// begin takes the head's row, which makes changes serial on every database.
func (c *change) begin(ctx context.Context) error {
	const q = "SELECT seq, hash, coalesce((SELECT value FROM setting WHERE name = '" + settingMoved + "'), '')," +
		" coalesce((SELECT hash FROM audit_record WHERE seq = $1), ''), (SELECT oldest FROM schema_version WHERE one = 1) FROM audit_head WHERE one = 1"
	var moved, hash string
	var oldest int
	last := c.l.lastSeen()
	err := c.tx.QueryRow(ctx, q+c.l.db.forUpdate(), last.seq).Scan(&c.head.seq, &c.head.hash, &moved, &hash, &oldest)
	switch {
	case err != nil:
		return fmt.Errorf("taking the audit's head: %w", err)
	case hash != last.hash:
		return errBehind(last)
	case moved != "" && !c.reopens:
		return errMoved(moved)
	case oldest > schemaVersion:
		return errTooOld(oldest)
	}
	c.l.see(c.head)
	c.begun = c.head
	return nil
}

// errBehind is what whoever changes a ledger is told that has lost what this process
// has stored or seen: an older copy has taken its place. To go on could be to do again what
// was done, of which the record is gone.
func errBehind(last head) error {
	return policy.Errorf(policy.Unavailable, "the ledger's database has lost audit record %d, which was stored; nothing was changed", last.seq).
		WithHint("Has a standby or a backup taken its place? Look at what VPS.org has done since, and then start the program again.")
}

// end moves the head on, the last thing before the commit.
func (c *change) end(ctx context.Context) error {
	if c.failed != nil || c.head == c.begun {
		return c.failed
	}
	return c.exec(ctx, "moving the audit's head", "UPDATE audit_head SET seq = $1, hash = $2 WHERE one = 1 AND seq = $3",
		c.head.seq, c.head.hash, c.begun.seq)
}

func (c *change) usable() error {
	if c.over {
		return internal("a change of the ledger was used after its end")
	}
	return c.failed
}

// check remembers what failed in storage, so that it cannot be overlooked.
func (c *change) check(doing string, err error) error {
	err = c.l.fail(doing, err)
	if k := policy.KindOf(err); c.failed == nil && (k == policy.Unavailable || k == policy.Internal) {
		c.failed = err
	}
	return err
}

// exec runs a statement that has to touch exactly one row.
func (c *change) exec(ctx context.Context, doing, q string, args ...any) error {
	n, err := c.tx.Exec(ctx, q, args...)
	if err == nil && n != 1 {
		err = internal("the ledger's tables do not fit together").Because(fmt.Errorf("%s: %d rows touched", doing, n))
	}
	return c.check(doing, err)
}

func (c *change) Now(ctx context.Context) (time.Time, error) {
	if err := c.usable(); err != nil {
		return time.Time{}, err
	}
	now, err := c.l.db.now(ctx, c.tx)
	return now, c.check("reading the clock", err)
}

func (c *change) Head(context.Context) (int64, error) { return c.head.seq, c.usable() }

func (c *change) Request(ctx context.Context, id string) (policy.Request, error) {
	if err := c.usable(); err != nil {
		return policy.Request{}, err
	}
	r, err := readRequest(ctx, c.tx, id)
	return r, c.check("reading a request", err)
}

func (c *change) Requests(ctx context.Context, f policy.Filter) ([]policy.Request, int, error) {
	if err := c.usable(); err != nil {
		return nil, 0, err
	}
	found, total, err := readRequests(ctx, c.tx, f)
	return found, total, c.check("reading requests", err)
}

func (c *change) Setting(ctx context.Context, name string) (string, error) {
	if err := c.usable(); err != nil {
		return "", err
	}
	value, err := readSetting(ctx, c.tx, name)
	return value, c.check("reading a setting", err)
}

const insertRequest = "INSERT INTO request (" + columnNames + `, doc)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`

const updateRequest = `UPDATE request SET rev = $2, seq = $3, state = $4, account = $5, server_id = $6, server_name = $7,
	actor = $8, purpose = $9, aim = $10, begun = $11, due_at = $12, ended_at = $13, doc = $14 WHERE id = $1 AND rev = $15`

func (c *change) Put(ctx context.Context, r policy.Request, b policy.RecordBody) (policy.Request, error) {
	if err := c.usable(); err != nil {
		return r, err
	}
	if r.ID == "" {
		return r, c.check("storing a request", internal("a request without an id cannot be stored"))
	}
	var rev, seq int64
	err := c.tx.QueryRow(ctx, "SELECT rev, seq FROM request WHERE id = $1", r.ID).Scan(&rev, &seq)
	fresh := errors.Is(err, sql.ErrNoRows)
	switch {
	case fresh:
		seq = c.head.seq + 1
	case err != nil:
		return r, c.check("reading a request's revision", err)
	}
	if r.Rev != rev {
		return r, policy.Errorf(policy.Conflict, "%s was changed by somebody else meanwhile", policy.Clean(r.ID, 30)).
			WithHint("Look at it again.")
	}
	next := r
	next.Rev, next.Seq = rev+1, seq
	raw, err := json.Marshal(next)
	if err != nil {
		return r, c.check("storing a request", internal("a request cannot be stored").Because(err))
	}
	doc := string(raw)
	// What is stored is what is read: columns and hash follow the document.
	if next, err = stored(doc); err != nil {
		return r, c.check("storing a request", err)
	}
	values := columnsOf(next)
	if fresh {
		err = c.exec(ctx, "inserting a request", insertRequest, append(values.values(), doc)...)
	} else {
		err = c.exec(ctx, "updating a request", updateRequest, append(values.values(), doc, rev)...)
	}
	if err != nil {
		return r, err
	}
	b.Request, b.Rev, b.Digest, b.Row = next.ID, next.Rev, next.Plan.Digest, policy.RowHash(doc)
	if err := c.record(ctx, b); err != nil {
		return r, err
	}
	return next, nil
}

// Setting records carry the setting's name and the hash of its row, so that a
// setting that was changed beside the ledger is found like a request is.
func settingRow(name, value string) string {
	raw, err := json.Marshal([2]string{name, value})
	if err != nil {
		panic(err) // two strings
	}
	return policy.RowHash(string(raw))
}

// detailSetting is the key of a setting's name in its record's detail.
const detailSetting = "setting"

func (c *change) PutSetting(ctx context.Context, name, value string, b policy.RecordBody) error {
	if err := c.usable(); err != nil {
		return err
	}
	err := c.exec(ctx, "storing a setting",
		"INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value)
	if err != nil {
		return err
	}
	b.Detail = maps.Clone(b.Detail)
	if b.Detail == nil {
		b.Detail = map[string]string{}
	}
	b.Detail[detailSetting] = name
	b.Request, b.Rev, b.Digest, b.Row = "", 0, "", settingRow(name, value)
	return c.record(ctx, b)
}

// Append gives a record that names a request the hash of that request's row as
// it stands, since it changes nothing; the rest is as it was given.
func (c *change) Append(ctx context.Context, b policy.RecordBody) error {
	if err := c.usable(); err != nil {
		return err
	}
	b.Row = ""
	if b.Request != "" {
		var doc string
		err := c.tx.QueryRow(ctx, "SELECT doc FROM request WHERE id = $1", b.Request).Scan(&doc)
		switch {
		case err == nil:
			b.Row = policy.RowHash(doc)
		case !errors.Is(err, sql.ErrNoRows):
			return c.check("reading a request", err)
		}
	}
	return c.record(ctx, b)
}

// record appends to the audit, behind the head.
func (c *change) record(ctx context.Context, b policy.RecordBody) error {
	now, err := c.l.db.now(ctx, c.tx)
	if err != nil {
		return c.check("reading the clock", err)
	}
	b.At = now
	r, err := b.Seal(c.head.seq+1, c.head.hash)
	if err != nil {
		return c.check("sealing a record", internal("an audit record cannot be made").Because(err))
	}
	err = c.exec(ctx, "inserting an audit record", "INSERT INTO audit_record (seq, body, prev, hash) VALUES ($1, $2, $3, $4)",
		r.Seq, r.Body, r.Prev, r.Hash)
	if err == nil {
		c.head = head{r.Seq, r.Hash}
	}
	return err
}

// Nudge inserts a job. A time that has come is left out: River delivers such
// jobs at once, others through whoever schedules.
func (c *change) Nudge(ctx context.Context, r policy.Request, at time.Time) error {
	if err := c.usable(); err != nil {
		return err
	}
	now, err := c.l.db.now(ctx, c.tx)
	if err != nil {
		return c.check("reading the clock", err)
	}
	o := &river.InsertOpts{Queue: queueOf(r.Account), MaxAttempts: maxAttempts}
	if at.After(now) {
		o.ScheduledAt = at
	}
	return c.enqueue(ctx, "queueing a nudge", nudge{Request: r.ID}, o)
}

// enqueue inserts a job, once in a change.
func (c *change) enqueue(ctx context.Context, doing string, j job, o *river.InsertOpts) error {
	key := o.Queue + "\n" + j.request() + "\n" + o.ScheduledAt.String()
	if c.queued[key] {
		return nil
	}
	if c.queued == nil {
		c.queued = map[string]bool{}
	}
	c.queued[key] = true
	return c.check(doing, c.tx.Enqueue(ctx, j, o))
}
