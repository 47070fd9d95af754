package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/vpsguard/vpsguard/policy"
)

// verifyPage is how many rows are read at a time, and how often progress is told.
const verifyPage = 1000

// Verified is what a whole audit showed.
type Verified struct {
	Records  int64
	Head     string // hash of the last record; kept elsewhere, it proves later that nothing before it changed
	Requests int
}

// Verify reads everything in one state of the database and checks that the
// audit's records are a whole chain up to its head, that each request is as it
// was last recorded, column by column, that none is missing or unrecorded, and
// the same of settings. Its error is of kind Conflict and names the first row
// that is wrong. progress, which may be nil, is called every thousand rows with
// how many rows have been read. Others go on working meanwhile.
func (l *Ledger) Verify(ctx context.Context, progress func(done int64)) (out Verified, err error) {
	v := &verifier{settings: map[string]string{}, progress: progress}
	err = l.read(ctx, "verifying the audit", func(q querier) error {
		for _, check := range []func(context.Context, querier) error{v.records, v.head, v.requests, v.missing, v.setting} {
			if err := check(ctx, q); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return out, err
	}
	return Verified{Records: v.chain.Seq, Head: v.chain.Hash, Requests: v.found}, nil
}

type verifier struct {
	chain    policy.Chain
	settings map[string]string // name → hash of its row, as last recorded
	found    int
	done     int64
	progress func(done int64)
}

func broken(format string, args ...any) *policy.Error {
	return policy.Errorf(policy.Conflict, format, args...)
}

func (v *verifier) read(rows int) {
	v.done += int64(rows)
	if v.progress != nil {
		v.progress(v.done)
	}
}

// link is a record, checked by itself.
type link struct {
	policy.Link
	policy.Record
}

func (v *verifier) records(ctx context.Context, q querier) error {
	from := int64(math.MinInt64)
	read := func() ([]policy.Record, error) {
		page, err := readRecords(ctx, q, from, verifyPage)
		if len(page) > 0 {
			from = page[len(page)-1].Seq + 1
		}
		return page, err
	}
	check := func(r policy.Record) link { return link{r.Link(), r} }
	return inOrder(read, check, func(page []link) error {
		for _, l := range page {
			if err := v.chain.Join(l.Link); err != nil {
				return err
			}
			if err := v.noteSetting(l.Record); err != nil {
				return err
			}
		}
		v.read(len(page))
		return nil
	})
}

// noteSetting remembers what a record says of a setting. Most say nothing, and
// reading JSON is what takes the time here.
func (v *verifier) noteSetting(r policy.Record) error {
	if !strings.Contains(r.Body, `"`+detailSetting+`"`) {
		return nil
	}
	b, err := r.Parse()
	if name, ok := b.Detail[detailSetting]; ok && b.Request == "" && b.Row != "" {
		v.settings[name] = b.Row
	}
	return err
}

// head finds an end that was cut off.
func (v *verifier) head(ctx context.Context, q querier) error {
	var h head
	err := q.QueryRow(ctx, "SELECT seq, hash FROM audit_head WHERE one = 1").Scan(&h.seq, &h.hash)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return broken("the audit's head is missing")
	case err != nil:
		return fmt.Errorf("reading the audit's head: %w", err)
	case h.seq > v.chain.Seq:
		return broken("audit record %d is missing: the audit was cut off at its end", v.chain.Seq+1)
	case h.seq < v.chain.Seq:
		return broken("audit record %d is beyond the audit's head", h.seq+1)
	case h.hash != v.chain.Hash:
		return broken("the audit's head was changed: it is not the hash of audit record %d", h.seq)
	}
	return nil
}

func (v *verifier) requests(ctx context.Context, q querier) error {
	from := int64(math.MinInt64)
	read := func() ([]wholeRow, error) {
		page, err := readWhole(ctx, q, from)
		if len(page) > 0 {
			from = page[len(page)-1].seq + 1
		}
		return page, err
	}
	return inOrder(read, wholeRow.look, func(page []looked) error {
		for _, l := range page {
			if err := v.request(l); err != nil {
				return err
			}
		}
		v.found += len(page)
		v.read(len(page))
		return nil
	})
}

// wholeRow is a request's row with all it has.
type wholeRow struct {
	columns
	doc string
}

func readWhole(ctx context.Context, q querier, from int64) (out []wholeRow, err error) {
	found, err := q.Query(ctx, "SELECT "+columnNames+", doc FROM request WHERE seq >= $1 ORDER BY seq LIMIT $2", from, verifyPage)
	if err != nil {
		return nil, fmt.Errorf("reading requests: %w", err)
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	for found.Next() {
		var w wholeRow
		if err := found.Scan(append(w.targets(), &w.doc)...); err != nil {
			return nil, fmt.Errorf("reading requests: %w", err)
		}
		out = append(out, w)
	}
	return out, found.Err()
}

// looked is a request's row, checked by itself.
type looked struct {
	id, hash string
	unread   error
	fits     bool // its columns, and its document
}

func (w wholeRow) look() looked {
	said, err := columnsIn(w.doc)
	return looked{id: w.id, hash: policy.RowHash(w.doc), unread: err, fits: said == w.columns}
}

func (v *verifier) request(w looked) error {
	recorded, ok := v.chain.Rows[w.id]
	switch {
	case !ok || recorded == "":
		return broken("request %s is in no audit record", policy.Clean(w.id, 30))
	case recorded != w.hash:
		return broken("request %s is not as it was last recorded", w.id)
	case w.unread != nil:
		return broken("request %s cannot be read", w.id).Because(w.unread)
	case !w.fits:
		return broken("request %s was changed beside its document", w.id)
	}
	delete(v.chain.Rows, w.id) // what is left in the end is missing
	return nil
}

// inOrder reads pages until there is none, works on their rows with all cores and
// uses the pages in their order. Reading goes on meanwhile, a few pages ahead.
func inOrder[T, R any](read func() ([]T, error), work func(T) R, use func([]R) error) error {
	type page struct {
		rows chan []R
		err  error
	}
	pages, stop := make(chan page, runtime.GOMAXPROCS(0)), make(chan struct{})
	var reading sync.WaitGroup
	defer reading.Wait() // nobody may read when the transaction has ended
	defer close(stop)
	reading.Go(func() {
		defer close(pages)
		for {
			rows, err := read()
			if len(rows) == 0 && err == nil {
				return
			}
			p := page{make(chan []R, 1), err}
			go func() {
				out := make([]R, len(rows))
				for i, r := range rows {
					out[i] = work(r)
				}
				p.rows <- out
			}()
			select {
			case pages <- p:
			case <-stop:
				return
			}
			if err != nil {
				return
			}
		}
	})
	for p := range pages {
		if p.err != nil {
			return p.err
		}
		if err := use(<-p.rows); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) missing(context.Context, querier) error {
	for _, id := range slices.Sorted(maps.Keys(v.chain.Rows)) {
		if v.chain.Rows[id] != "" {
			return broken("request %s is in the audit, but its row is missing", policy.Clean(id, 30))
		}
	}
	return nil
}

func (v *verifier) setting(ctx context.Context, q querier) (err error) {
	found, err := q.Query(ctx, "SELECT name, value FROM setting ORDER BY name")
	if err != nil {
		return fmt.Errorf("reading settings: %w", err)
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	for found.Next() {
		var name, value string
		if err := found.Scan(&name, &value); err != nil {
			return fmt.Errorf("reading settings: %w", err)
		}
		if v.settings[name] != settingRow(name, value) {
			return broken("setting %s is not as it was last recorded", policy.Clean(name, 40))
		}
		delete(v.settings, name)
	}
	if err := found.Err(); err != nil {
		return fmt.Errorf("reading settings: %w", err)
	}
	if len(v.settings) > 0 {
		name := slices.Min(slices.Collect(maps.Keys(v.settings)))
		return broken("setting %s is in the audit, but its row is missing", policy.Clean(name, 40))
	}
	return nil
}
