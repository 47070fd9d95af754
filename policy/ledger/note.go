package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/riverqueue/river"

	"github.com/vpsguard/vpsguard/policy"
)

// mostDoc is how long a note's document may be, in bytes.
const mostDoc = 64 << 10

func readNote(ctx context.Context, q querier, scope, key string) (policy.Note, error) {
	n, due := policy.Note{Scope: scope, Key: key}, sql.NullInt64{}
	err := q.QueryRow(ctx, "SELECT rev, due_at, doc FROM note WHERE scope = $1 AND key = $2", scope, key).Scan(&n.Rev, &due, &n.Doc)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return policy.Note{}, policy.Errorf(policy.NotFound, "there is no note %s", policy.Clean(key, 60))
	case err != nil:
		return policy.Note{}, fmt.Errorf("reading a note: %w", err)
	}
	if due.Valid {
		n.DueAt = time.UnixMilli(due.Int64).UTC()
	}
	return n, nil
}

const dueNotes = "SELECT key, rev, due_at, doc FROM note WHERE scope = $1 AND due_at <= $2 ORDER BY due_at, key LIMIT $3"

func readNotes(ctx context.Context, q querier, scope string, due time.Time, limit int) (out []policy.Note, err error) {
	found, err := q.Query(ctx, dueNotes, scope, due.UnixMilli(), max(limit, 0))
	if err != nil {
		return nil, fmt.Errorf("reading notes: %w", err)
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	for found.Next() {
		n, at := policy.Note{Scope: scope}, int64(0)
		if err := found.Scan(&n.Key, &n.Rev, &at, &n.Doc); err != nil {
			return nil, fmt.Errorf("reading notes: %w", err)
		}
		n.DueAt = time.UnixMilli(at).UTC()
		out = append(out, n)
	}
	return out, found.Err()
}

// Note gives a note, or NotFound.
func (l *Ledger) Note(ctx context.Context, scope, key string) (n policy.Note, err error) {
	err = l.read(ctx, "reading a note", func(q querier) error {
		n, err = readNote(ctx, q, scope, key)
		return err
	})
	return n, err
}

// Notes gives the notes of a scope that are due, the longest due first.
func (l *Ledger) Notes(ctx context.Context, scope string, due time.Time, limit int) (out []policy.Note, err error) {
	err = l.read(ctx, "reading notes", func(q querier) error {
		out, err = readNotes(ctx, q, scope, due, limit)
		return err
	})
	return out, err
}

// PutNote stores a note if its Rev is the stored one, see [policy.Ledger]. It
// does not take the audit's head: the statement alone compares and swaps.
func (l *Ledger) PutNote(ctx context.Context, n policy.Note) (policy.Note, error) {
	switch {
	case n.Scope == "" || n.Key == "":
		return policy.Note{}, internal("a note without a scope and a key cannot be stored")
	case len(n.Doc) > mostDoc:
		return policy.Note{}, policy.Errorf(policy.Internal, "a note of %d bytes cannot be stored; %d are the most", len(n.Doc), mostDoc)
	}
	n.DueAt = whole(n.DueAt)
	err := l.writeNote(ctx, "storing a note", func(t tx) error {
		q := "UPDATE note SET rev = rev + 1, due_at = $1, doc = $2 WHERE scope = $3 AND key = $4 AND rev = $5"
		args := []any{millis(n.DueAt), n.Doc, n.Scope, n.Key, n.Rev}
		if n.Rev == 0 {
			q = "INSERT INTO note (rev, due_at, doc, scope, key) VALUES (1, $1, $2, $3, $4) ON CONFLICT (scope, key) DO NOTHING"
			args = args[:4]
		}
		return one(ctx, t, n.Key, q, args...)
	})
	if err != nil {
		return policy.Note{}, err
	}
	n.Rev++
	return n, nil
}

// DropNote removes a note if its Rev is the stored one. One that is not there
// is dropped already.
func (l *Ledger) DropNote(ctx context.Context, n policy.Note) error {
	return l.writeNote(ctx, "dropping a note", func(t tx) error {
		err := one(ctx, t, n.Key, "DELETE FROM note WHERE scope = $1 AND key = $2 AND rev = $3", n.Scope, n.Key, n.Rev)
		if policy.KindOf(err) != policy.Conflict {
			return err
		}
		_, gone := readNote(ctx, t, n.Scope, n.Key)
		switch policy.KindOf(gone) {
		case policy.NotFound:
			return nil
		case "":
			return err
		default:
			return gone
		}
	})
}

func (l *Ledger) writeNote(ctx context.Context, doing string, f func(tx) error) error {
	if err := l.outside(ctx); err != nil {
		return err
	}
	return l.fail(doing, l.db.write(ctx, func(t tx) error {
		if err := inUse(ctx, t); err != nil {
			return err
		}
		return f(t)
	}))
}

// one runs a statement that touches the note at the revision named in it. Where
// it touches none, the note has another.
func one(ctx context.Context, t tx, key, q string, args ...any) error {
	n, err := t.Exec(ctx, q, args...)
	if err == nil && n == 0 {
		return policy.Errorf(policy.Conflict, "the note %s was changed by somebody else meanwhile", policy.Clean(key, 60)).WithHint("Read it again.")
	}
	return err
}

func (c *change) Note(ctx context.Context, scope, key string) (policy.Note, error) {
	if err := c.usable(); err != nil {
		return policy.Note{}, err
	}
	n, err := readNote(ctx, c.tx, scope, key)
	return n, c.check("reading a note", err)
}

func (c *change) Notes(ctx context.Context, scope string, due time.Time, limit int) ([]policy.Note, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	out, err := readNotes(ctx, c.tx, scope, due, limit)
	return out, c.check("reading notes", err)
}

// A note that is due already stays due since then.
const tellNote = `INSERT INTO note (scope, key, rev, due_at, doc) VALUES ($1, $2, 1, $3, '')
	ON CONFLICT (scope, key) DO UPDATE SET rev = note.rev + 1,
		due_at = CASE WHEN note.due_at < excluded.due_at THEN note.due_at ELSE excluded.due_at END
	RETURNING due_at`

// Tell inserts one job for a request, however often it is told in one change; none where
// the job of an earlier change is still to come. Where many requests are open on a server,
// each change of one tells of all, and doors may be slow.
func (c *change) Tell(ctx context.Context, r policy.Request) error {
	if err := c.usable(); err != nil {
		return err
	}
	if r.ID == "" {
		return c.check("telling of a request", internal("a request without an id cannot be told"))
	}
	now, err := c.l.db.now(ctx, c.tx)
	if err != nil {
		return c.check("reading the clock", err)
	}
	var since int64
	err = c.tx.QueryRow(ctx, tellNote, policy.ToldScope(r.Account), r.ID, now.UnixMilli()).Scan(&since)
	if err != nil || since < now.UnixMilli() {
		return c.check("marking a note", err)
	}
	o := &river.InsertOpts{Queue: doorsOf(r.Account), MaxAttempts: maxAttempts}
	return c.enqueue(ctx, "queueing what doors are told", telling{Request: r.ID}, o)
}
