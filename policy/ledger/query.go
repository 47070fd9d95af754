package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"github.com/vpsguard/vpsguard/policy"
)

// columns are what a request's document is found by.
type columns struct {
	id                string
	rev, seq          int64
	state, account    string
	serverID          int64
	serverName, actor string
	purpose, aim      string
	begun, due, ended sql.NullInt64 // NULL where there is none, which keeps their indexes small
}

const columnNames = "id, rev, seq, state, account, server_id, server_name, actor, purpose, aim, begun, due_at, ended_at"

func columnsOf(r policy.Request) columns {
	return columns{
		id: r.ID, rev: r.Rev, seq: r.Seq, state: string(r.State), account: accountKey(r.Account),
		serverID: r.Plan.Server.ID, serverName: r.Plan.Server.Name, actor: r.Actor.Key(), purpose: r.Purpose, aim: r.Aim,
		begun: sql.NullInt64{Int64: r.Begun, Valid: r.Begun != 0}, due: millis(r.DueAt), ended: millis(r.EndedAt),
	}
}

// columnsIn reads a document as far as its columns go, which is quicker than to
// read it whole. All of it has to be JSON.
func columnsIn(doc string) (columns, error) {
	var r struct { // fields as in [policy.Request]
		ID      string         `json:"id"`
		Rev     int64          `json:"rev"`
		Seq     int64          `json:"seq"`
		Actor   policy.Actor   `json:"actor"`
		Account policy.Account `json:"account"`
		Plan    struct {
			Server struct {
				ID   int64  `json:"id"`
				Name string `json:"name"`
			} `json:"server"`
		} `json:"plan"`
		State   policy.State `json:"state"`
		Begun   int64        `json:"begun"`
		Purpose string       `json:"purpose"`
		Aim     string       `json:"aim"`
		DueAt   time.Time    `json:"due_at"`
		EndedAt time.Time    `json:"ended_at"`
	}
	if !gjson.Valid(doc) {
		return columns{}, internal("a stored request cannot be read")
	}
	err := json.Unmarshal(less(doc), &r)
	return columnsOf(policy.Request{
		ID: r.ID, Rev: r.Rev, Seq: r.Seq, State: r.State, Account: r.Account, Actor: r.Actor, Purpose: r.Purpose, Aim: r.Aim,
		Plan: policy.Plan{Server: policy.Server{ID: r.Plan.Server.ID, Name: r.Plan.Server.Name}}, Begun: r.Begun, DueAt: r.DueAt, EndedAt: r.EndedAt,
	}), err
}

// less gives a document without most of what is in no column.
func less(doc string) []byte {
	out := append(make([]byte, 0, 1024), '{')
	gjson.Parse(doc).ForEach(func(key, value gjson.Result) bool {
		raw := value.Raw
		switch key.Str {
		case "person", "operation", "effect", "arguments", "reason", "place", "planned", "mark", "conditions", "approvals", "denial",
			"why", "steps", "undo", "fence", "filed_at", "approve_by", "not_before", "start_by", "lease_by":
			return true
		case "plan":
			raw = `{"server":` + cmp.Or(value.Get("server").Raw, "null") + "}"
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, key.Raw...), ':'), raw...)
		return true
	})
	return append(out, '}')
}

func (c *columns) values() []any {
	return []any{
		c.id, c.rev, c.seq, c.state, c.account, c.serverID, c.serverName, c.actor, c.purpose, c.aim, c.begun, c.due, c.ended,
	}
}

func (c *columns) targets() []any {
	return []any{
		&c.id, &c.rev, &c.seq, &c.state, &c.account, &c.serverID, &c.serverName, &c.actor, &c.purpose, &c.aim, &c.begun, &c.due, &c.ended,
	}
}

// accountKey is an account as one text.
func accountKey(a policy.Account) string {
	raw, err := json.Marshal(a)
	if err != nil {
		panic(err) // two strings
	}
	return string(raw)
}

// millis is a time as it is stored; a zero time is NULL.
func millis(t time.Time) sql.NullInt64 {
	if t.IsZero() {
		return sql.NullInt64{}
	}
	return sql.NullInt64{Int64: t.UnixMilli(), Valid: true}
}

// stored reads a document.
func stored(doc string) (r policy.Request, err error) {
	if err := json.Unmarshal([]byte(doc), &r); err != nil {
		return r, internal("a stored request cannot be read").Because(err)
	}
	return r, nil
}

func noRequest(id string) error {
	return policy.Errorf(policy.NotFound, "there is no request %s", policy.Clean(id, 30))
}

func readRequest(ctx context.Context, q querier, id string) (policy.Request, error) {
	var doc string
	err := q.QueryRow(ctx, "SELECT doc FROM request WHERE id = $1", id).Scan(&doc)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return policy.Request{}, noRequest(id)
	case err != nil:
		return policy.Request{}, fmt.Errorf("reading a request: %w", err)
	}
	return stored(doc)
}

func readSetting(ctx context.Context, q querier, name string) (value string, err error) {
	err = q.QueryRow(ctx, "SELECT value FROM setting WHERE name = $1", name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return value, err
}

func readRecords(ctx context.Context, q querier, from int64, limit int) (out []policy.Record, err error) {
	found, err := q.Query(ctx, "SELECT seq, body, prev, hash FROM audit_record WHERE seq >= $1 ORDER BY seq LIMIT $2", from, limit)
	if err != nil {
		return nil, fmt.Errorf("reading the audit: %w", err)
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	for found.Next() {
		var r policy.Record
		if err := found.Scan(&r.Seq, &r.Body, &r.Prev, &r.Hash); err != nil {
			return nil, fmt.Errorf("reading the audit: %w", err)
		}
		out = append(out, r)
	}
	return out, found.Err()
}

// readRequests gives one page and the total. The rows are chosen by what the
// indexes hold, and only then are their documents read.
func readRequests(ctx context.Context, q querier, f policy.Filter) ([]policy.Request, int, error) {
	limit := limited(f.Limit)
	page, args := pageSQL(f, limit)
	docs, err := readTexts(ctx, q, page, args)
	if err != nil {
		return nil, 0, fmt.Errorf("reading requests: %w", err)
	}
	out := make([]policy.Request, 0, len(docs))
	for _, doc := range docs {
		r, err := stored(doc)
		if err != nil {
			return nil, 0, err
		}
		out = append(out, r)
	}
	total := len(out)
	if !f.NoTotal && (f.Before != 0 || total == limit) { // otherwise these are all
		count, args := countSQL(f)
		if err := q.QueryRow(ctx, count, args...).Scan(&total); err != nil {
			return nil, 0, fmt.Errorf("counting requests: %w", err)
		}
	}
	return out, total, nil
}

// limited is a limit as the contract says.
func limited(n int) int {
	if n <= 0 || n > 1000 {
		return 1000
	}
	return n
}

func readTexts(ctx context.Context, q querier, query string, args []any) (out []string, err error) {
	found, err := q.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, found.Close()) }()
	for found.Next() {
		var s string
		if err := found.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, found.Err()
}

func pageSQL(f policy.Filter, limit int) (string, []any) {
	w := where(f)
	if f.Before != 0 {
		w.add("seq < ?", f.Before)
	}
	order := "seq"
	if selective(f) {
		order = "seq + 0"
	}
	return "SELECT doc FROM request WHERE seq IN (SELECT seq FROM request" + w.text() + " ORDER BY " + order + " DESC LIMIT " +
		strconv.Itoa(limit) + ") ORDER BY seq DESC", w.args
}

// selective tells whether a filter has a term of which an index finds the few rows there
// are. Those are sorted afterwards: PostgreSQL, which does not know how few they are, would
// rather go through all that are closed, from the newest on, to find them in order.
func selective(f policy.Filter) bool {
	return f.Purpose != "" || f.Aim != "" || f.BegunAfter > 0 || !f.DueBy.IsZero() || allOpen(f.States)
}

func allOpen(states []policy.State) bool {
	return len(states) > 0 && !slices.ContainsFunc(states, func(s policy.State) bool { return !s.Open() })
}

func countSQL(f policy.Filter) (string, []any) {
	w := where(f)
	return "SELECT count(*) FROM request" + w.text(), w.args
}

// conditions are terms that all have to hold.
type conditions struct {
	terms []string
	args  []any
}

// add adds a term; each ? in it becomes the next $n.
func (c *conditions) add(term string, args ...any) {
	for _, a := range args {
		c.args = append(c.args, a)
		term = strings.Replace(term, "?", "$"+strconv.Itoa(len(c.args)), 1)
	}
	c.terms = append(c.terms, term)
}

func (c *conditions) text() string {
	if len(c.terms) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.terms, " AND ")
}

// openTerm stands word for word in the index of what is open, so that a database
// sees that the index is enough.
const openTerm = "state IN ('held', 'approved', 'running', 'uncertain')"

// where says a filter in SQL, its cursor and limit apart.
func where(f policy.Filter) *conditions {
	c := &conditions{}
	if len(f.States) > 0 {
		marks, args := make([]string, len(f.States)), make([]any, len(f.States))
		for i, s := range f.States {
			marks[i], args[i] = "?", string(s)
		}
		if allOpen(f.States) {
			c.add(openTerm)
		}
		c.add("state IN ("+strings.Join(marks, ", ")+")", args...)
	}
	if f.Account != nil {
		c.add("account = ?", accountKey(*f.Account))
	}
	if f.ServerID != 0 {
		c.add("server_id = ?", f.ServerID)
	}
	if f.ServerName != "" {
		c.add("server_name = ?", f.ServerName)
	}
	if f.Actor != "" {
		c.add("actor = ?", f.Actor)
		if len(f.States) == 0 {
			c.add("rev > 0") // says the index request_actor
		}
	}
	if f.Purpose != "" {
		c.add("purpose = ?", f.Purpose)
	}
	if f.Aim != "" {
		c.add("aim = ?", f.Aim)
	}
	if f.BegunAfter > 0 {
		c.add("begun > ?", f.BegunAfter)
	}
	if !f.EndedAfter.IsZero() {
		c.add("ended_at > ?", f.EndedAfter.UnixMilli())
	}
	if !f.DueBy.IsZero() {
		c.add("due_at <= ?", f.DueBy.UnixMilli())
	}
	return c
}
