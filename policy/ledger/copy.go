package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/vpsguard/vpsguard/policy"
)

const (
	// settingMoved holds where a ledger was moved to; "" where it is in use.
	settingMoved = "moved"
	eventMoved   = policy.Event("ledger.moved")  // the last record of one that was moved
	eventOpened  = policy.Event("ledger.opened") // the first after it, where it was moved to
	copyPage     = 500                           // rows that are stored at a time
)

// Copied is what a copy holds.
type Copied struct {
	Verified
	Settings, Notes int
	Open            int // requests that are still open, and were nudged
}

// errMoved is what whoever changes a ledger that was moved is told.
func errMoved(to string) error {
	return policy.Errorf(policy.Unavailable, "this ledger was moved to %s; nothing was changed", policy.Clean(to, 200)).
		WithHint("Set VPSGUARD_DATABASE to where it is now, and start the program again.")
}

// inUse fails where the ledger was moved, or is not for this program any more.
func inUse(ctx context.Context, q querier) error {
	to, err := readSetting(ctx, q, settingMoved)
	switch {
	case err != nil:
		return err
	case to != "":
		return errMoved(to)
	}
	var oldest int
	if err := q.QueryRow(ctx, "SELECT oldest FROM schema_version WHERE one = 1").Scan(&oldest); err != nil {
		return fmt.Errorf("reading whom its version lets use it: %w", err)
	}
	if oldest > schemaVersion {
		return errTooOld(oldest)
	}
	return nil
}

// ofThisProgram keeps the tables as they are, and fails where they have more than this
// program knows, which it could not copy. The head is taken before, as everywhere.
func (l *Ledger) ofThisProgram(ctx context.Context, t tx) error {
	var version int
	if err := t.QueryRow(ctx, "SELECT version FROM schema_version WHERE one = 1"+l.db.forUpdate()).Scan(&version); err != nil {
		return fmt.Errorf("reading the version: %w", err)
	}
	if version != schemaVersion {
		return policy.Errorf(policy.Conflict, "the ledger %s has version %d; this vpsguard copies version %d; nothing was changed", l.path, version, schemaVersion).
			WithHint("Use the newest vpsguard for this.")
	}
	return nil
}

// Copy moves a ledger to an empty one: requests, audit, settings and notes, in the
// one state in which it leaves it. Afterwards the first one is closed for good: it
// can be read, but its database itself refuses changes, those of older programs too.
// So at no time can two ledgers run the same requests. What goes on in the first one
// waits meanwhile, or fails and says so.
//
// It fails, and leaves the first as it is and in use, if a step may be on its way to
// VPS.org, if the second is not empty, or if a chain is broken on either side. A
// second that was filled, but not opened because this process ended, is opened by
// the next call; before the first was closed, it has to be removed. progress may be
// nil; it is told how many rows have been done of what.
func Copy(ctx context.Context, from, to *Ledger, by policy.Actor, progress func(what string, rows int64)) (out Copied, err error) {
	if progress == nil {
		progress = func(string, int64) {}
	}
	if from.path == to.path {
		return out, policy.Errorf(policy.Invalid, "these are the same ledger").WithHint("Name an empty one to copy to.")
	}
	moved, err := from.Setting(ctx, settingMoved)
	switch {
	case err != nil:
		return out, err
	case moved == to.path:
		return finish(ctx, from, to, by)
	case moved != "":
		return out, policy.Errorf(policy.Conflict, "the ledger %s was moved to %s already", from.path, policy.Clean(moved, 200)).
			WithHint("Copy from there.")
	}
	if _, err := from.Verify(ctx, func(n int64) { progress("verified before", n) }); err != nil {
		return out, err
	}
	err = from.db.write(ctx, func(src tx) error {
		c := &change{l: from, tx: src}
		if err := c.close(ctx, to.path, by); err != nil {
			return err
		}
		if err := from.shut(ctx, src); err != nil { // now: notes do not wait for the head
			return err
		}
		return to.fill(ctx, src, c.head, progress)
	})
	if err != nil {
		return out, from.fail("copying the ledger", err)
	}
	return finish(ctx, from, to, by)
}

// close writes the last record, and leaves the transaction open.
func (c *change) close(ctx context.Context, to string, by policy.Actor) error {
	if err := c.l.unhurried(ctx, c.tx); err != nil {
		return err
	}
	if err := c.begin(ctx); err != nil {
		return err
	}
	if err := c.l.ofThisProgram(ctx, c.tx); err != nil {
		return err
	}
	now, err := c.Now(ctx)
	if err != nil {
		return err
	}
	running, _, err := c.Requests(ctx, policy.Filter{States: []policy.State{policy.StateRunning}, NoTotal: true})
	if err != nil {
		return err
	}
	for _, r := range running {
		if left := r.Leased(now); left > 0 {
			return policy.Errorf(policy.Conflict, "a step of %s may be on its way to VPS.org; nothing was changed", r.ID).
				WithHint("Try again in %s.", left.Round(time.Second)+time.Second)
		}
	}
	err = c.PutSetting(ctx, settingMoved, to, policy.RecordBody{Event: eventMoved, By: by, Detail: map[string]string{"to": to}})
	if err != nil {
		return err
	}
	return c.end(ctx)
}

// fill copies everything that a transaction sees, and proves it. The copy is closed
// as what it was made from.
func (l *Ledger) fill(ctx context.Context, src tx, end head, progress func(string, int64)) error {
	err := l.db.write(ctx, func(dst tx) error {
		if err := l.unhurried(ctx, dst); err != nil {
			return err
		}
		var h head
		if err := dst.QueryRow(ctx, "SELECT seq, hash FROM audit_head WHERE one = 1"+l.db.forUpdate()).Scan(&h.seq, &h.hash); err != nil {
			return fmt.Errorf("taking the audit's head: %w", err)
		}
		if err := l.ofThisProgram(ctx, dst); err != nil {
			return err
		}
		if err := l.empty(ctx, dst, h); err != nil {
			return err
		}
		for _, t := range copied {
			if err := t.copy(ctx, src, dst, func(n int64) { progress("copied, "+t.name, n) }); err != nil {
				return fmt.Errorf("copying the table %s: %w", t.name, err)
			}
		}
		if _, err := dst.Exec(ctx, "UPDATE audit_head SET seq = $1, hash = $2 WHERE one = 1", end.seq, end.hash); err != nil {
			return fmt.Errorf("setting the audit's head: %w", err)
		}
		if sql := l.db.filled(); sql != "" {
			if _, err := dst.Exec(ctx, sql); err != nil {
				return fmt.Errorf("counting what was copied: %w", err)
			}
		}
		return l.shut(ctx, dst)
	})
	if err != nil {
		return l.fail("filling the copy", err)
	}
	v, err := l.Verify(ctx, func(n int64) { progress("verified after", n) })
	if err == nil && (v.Records != end.seq || v.Head != end.hash) {
		err = policy.Errorf(policy.Conflict, "the copy's audit ends with another record than what it was made from")
	}
	return err
}

// empty fails where anything is stored.
func (l *Ledger) empty(ctx context.Context, q querier, h head) error {
	moved, err := readSetting(ctx, q, settingMoved)
	switch {
	case err != nil:
		return err
	case moved != "":
		return policy.Errorf(policy.Conflict, "the ledger %s holds a copy that was not finished, or was moved itself; nothing was changed", l.path).
			WithHint("Remove it, or name another one, and copy again.")
	}
	for _, t := range copied {
		var there bool
		if err := q.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM "+t.name+")").Scan(&there); err != nil {
			return fmt.Errorf("looking whether it is empty: %w", err)
		}
		if there || h.seq != 0 {
			return policy.Errorf(policy.Conflict, "the ledger %s is not empty; nothing was changed", l.path).
				WithHint("Name one that does not exist yet, or an empty database.")
		}
	}
	return nil
}

// finish opens a copy for use, whose original is closed.
func finish(ctx context.Context, from, to *Ledger, by policy.Actor) (out Copied, err error) {
	seq, err := from.Head(ctx)
	if err != nil {
		return out, err
	}
	last, err := from.Records(ctx, seq, 1)
	if err != nil {
		return out, err
	}
	there, err := to.Records(ctx, seq, 1)
	switch {
	case err != nil:
		return out, err
	case len(last) != 1 || len(there) != 1 || last[0] != there[0]:
		return out, policy.Errorf(policy.Conflict, "the ledger %s was moved to %s, but what is there is no copy of it", from.path, to.path).
			WithHint("Look for the database that it was moved to.")
	}
	moved, err := to.Setting(ctx, settingMoved)
	if err != nil {
		return out, err
	}
	if moved != "" { // otherwise somebody has opened it already
		if out.Open, err = to.reopen(ctx, from.path, by); err != nil {
			return out, err
		}
	}
	if out.Verified, err = to.Verify(ctx, nil); err != nil {
		return out, err
	}
	err = to.read(ctx, "counting", func(q querier) error {
		return q.QueryRow(ctx, "SELECT (SELECT count(*) FROM setting), (SELECT count(*) FROM note)").Scan(&out.Settings, &out.Notes)
	})
	return out, err
}

// reopen lets a copy be changed, and has workers look at all that is open.
func (l *Ledger) reopen(ctx context.Context, from string, by policy.Actor) (open int, err error) {
	err = l.db.write(ctx, func(t tx) error {
		c := &change{l: l, tx: t, reopens: true}
		if _, err := t.Exec(ctx, l.db.reopened()); err != nil {
			return fmt.Errorf("opening the copy: %w", err)
		}
		if err := c.begin(ctx); err != nil {
			return err
		}
		err := c.PutSetting(ctx, settingMoved, "", policy.RecordBody{Event: eventOpened, By: by, Detail: map[string]string{"from": from}})
		if err != nil {
			return err
		}
		for f := (policy.Filter{States: policy.OpenStates(), NoTotal: true}); ; {
			found, _, err := c.Requests(ctx, f)
			if err != nil {
				return err
			}
			for _, r := range found {
				if err := c.Nudge(ctx, r, r.DueAt); err != nil {
					return err
				}
				f.Before = r.Seq
			}
			if open += len(found); len(found) == 0 {
				return c.end(ctx)
			}
		}
	})
	return open, l.fail("opening the copy", err)
}

func (l *Ledger) shut(ctx context.Context, t tx) error {
	if _, err := t.Exec(ctx, l.db.moved()); err != nil {
		return fmt.Errorf("closing the ledger %s: %w", l.path, err)
	}
	return nil
}

// unhurried lets a transaction take its time.
func (l *Ledger) unhurried(ctx context.Context, t tx) error {
	if sql := l.db.unhurried(); sql != "" {
		if _, err := t.Exec(ctx, sql); err != nil {
			return fmt.Errorf("asking for time: %w", err)
		}
	}
	return nil
}

// table is one that is copied, a page at a time in the order of its key.
type table struct {
	name    string
	columns string // those of the key first
	key     []any  // smaller than all there are
	kinds   string // of the columns: i integer, n integer or NULL, s text
}

var copied = []table{
	{"audit_record", "seq, body, prev, hash", []any{int64(0)}, "isss"},
	{"request", "seq, id, rev, state, account, server_id, server_name, actor, purpose, aim, begun, due_at, ended_at, doc", []any{int64(0)}, "isississssnnns"},
	{"setting", "name, value", []any{""}, "ss"},
	{"note", "scope, key, rev, due_at, doc", []any{"", ""}, "ssins"},
}

func (t table) copy(ctx context.Context, src querier, dst tx, progress func(rows int64)) error {
	key, done := t.key, int64(0)
	for {
		page, err := t.page(ctx, src, key)
		if err != nil || len(page) == 0 {
			return err
		}
		if err := t.store(ctx, dst, page); err != nil {
			return err
		}
		key, done = page[len(page)-1][:len(t.key)], done+int64(len(page))
		progress(done)
	}
}

// page reads the rows behind a key.
func (t table) page(ctx context.Context, src querier, key []any) (page [][]any, err error) {
	columns := strings.Split(t.columns, ", ")
	q := "SELECT " + t.columns + " FROM " + t.name + " WHERE (" + strings.Join(columns[:len(key)], ", ") + ") > (" + marks(1, len(key)) +
		") ORDER BY " + strings.Join(columns[:len(key)], ", ") + " LIMIT " + strconv.Itoa(copyPage)
	found, err := src.Query(ctx, q, key...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	for found.Next() {
		row := make([]any, 0, len(t.kinds))
		for _, kind := range t.kinds {
			switch kind {
			case 'i':
				row = append(row, new(int64))
			case 'n':
				row = append(row, new(sql.NullInt64))
			default:
				row = append(row, new(string))
			}
		}
		if err := found.Scan(row...); err != nil {
			return nil, err
		}
		page = append(page, row)
	}
	return page, found.Err()
}

func (t table) store(ctx context.Context, dst tx, page [][]any) error {
	var values []string
	var args []any
	for _, row := range page {
		values = append(values, "("+marks(len(args)+1, len(row))+")")
		args = append(args, row...)
	}
	n, err := dst.Exec(ctx, "INSERT INTO "+t.name+" ("+t.columns+") VALUES "+strings.Join(values, ", "), args...)
	if err == nil && n != int64(len(page)) {
		err = fmt.Errorf("%d rows of %d were stored", n, len(page))
	}
	return err
}

// marks are places for n values, from $first on.
func marks(first, n int) string {
	out := make([]string, n)
	for i := range out {
		out[i] = "$" + strconv.Itoa(first+i)
	}
	return strings.Join(out, ", ")
}
