package operations

import (
	"context"
	"fmt"
	"time"

	"github.com/vpsguard/vpsguard/policy"
)

// Sizes of foreign text in a row, in bytes: a row stays below 100 bytes of text
// and, with its structured form, below 400.
const (
	nameBytes   = 40
	serverBytes = 32
	aboutBytes  = 36
)

type serverRef struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

// pointRow is a recovery point as lists show it.
type pointRow struct {
	Kind       string     `json:"kind,omitempty"`
	ID         int64      `json:"id"`
	Name       string     `json:"name,omitempty"`
	Server     *serverRef `json:"server,omitempty"`
	Type       string     `json:"type,omitempty"`
	Status     string     `json:"status"`
	SizeMB     *int64     `json:"size_mb"`
	CreatedAt  string     `json:"created_at"`
	AgeSeconds int64      `json:"age_seconds"`
	ExpiresAt  string     `json:"expires_at,omitempty"`
	About      string     `json:"description,omitempty"`
}

// pointFields describe what the three lists of points have in common.
var pointFields = []policy.Field{
	{Name: "id", Type: "integer"},
	{Name: "name", Type: "string", Optional: true},
	{Name: "status", Type: "string"},
	{Name: "size_mb", Type: "integer", Optional: true},
	{Name: "created_at", Type: "string"},
	{Name: "age_seconds", Type: "integer"},
	{Name: "description", Type: "string", Optional: true},
}

// row shows a point: with its kind where both kinds stand together, with its
// server where several do.
func (p point) row(now time.Time, withKind, withServer bool) policy.Row {
	data := pointRow{
		ID: p.ID, Type: p.backupType, Status: policy.Fit(p.Status, 20), SizeMB: p.SizeMB,
		CreatedAt: p.CreatedAt.UTC().Format(time.RFC3339), AgeSeconds: int64(now.Sub(p.CreatedAt) / time.Second),
	}
	label := fmt.Sprint(p.ID)
	if withKind {
		data.Kind = p.Kind
		label = p.Kind + " " + label
	}
	data.About = policy.Fit(p.about, aboutBytes)
	if p.Kind == kindSnapshot {
		data.Name = policy.Fit(p.Name, nameBytes)
	}
	if p.expires != nil {
		data.ExpiresAt = p.expires.UTC().Format(time.RFC3339)
	}
	tail := fmt.Sprintf(", %s, %s, %s", policy.Fit(p.Status, 20), size(p.SizeMB), policy.Ago(p.CreatedAt, now))
	if withServer {
		data.Server = &serverRef{p.server.ID, policy.Fit(p.server.Name, serverBytes)}
		tail = " of " + policy.Fit(p.server.Name, 16) + tail
	}
	name := p.Name
	if p.Kind == kindBackup {
		name = p.backupType + " " + p.Name
	}
	rest := max(100-len(label)-len(tail)-1, 0)
	return policy.Row{
		Text: policy.Fit(label+" "+policy.Fit(name, rest)+tail, 100), Data: data,
		Server: policy.Server{ID: p.server.ID, Name: p.server.Name}, Point: &p.Point,
	}
}

func size(mb *int64) string {
	if mb == nil {
		return "size not known yet"
	}
	return fmt.Sprintf("%d MB", *mb)
}

// list pages through points and makes the listing.
func list(title string, ps []point, a policy.Arguments, withKind, withServer bool, now time.Time) (*policy.Listing, error) {
	page, next, err := policy.Page(ps, a.Text("cursor"), a.Number("limit", policy.DefaultLimit))
	if err != nil {
		return nil, err
	}
	l := &policy.Listing{Title: title, Total: len(ps), Next: next, Rows: make([]policy.Row, 0, len(page))}
	for _, p := range page {
		l.Rows = append(l.Rows, p.row(now, withKind, withServer))
	}
	return l, nil
}

// filtered finds the server of a list's optional filter; id 0 where there is none.
func (h house) filtered(ctx context.Context, a policy.Arguments) (policy.Server, error) {
	if !a.Has("server") {
		return policy.Server{}, nil
	}
	return h.server(ctx, a.Text("server"))
}

// of ends a title: "of web-server-01 (12345)", or "of all servers".
func of(s policy.Server) string {
	if s.ID == 0 {
		return "of all servers"
	}
	return "of " + s.String()
}

// answers wraps a list for the catalogue. Now is the clock of the call.
func answers(f func(context.Context, policy.Arguments, time.Time) (*policy.Listing, error)) func(context.Context, policy.Call, policy.Arguments) (policy.Outcome, error) {
	return func(ctx context.Context, c policy.Call, a policy.Arguments) (policy.Outcome, error) {
		l, err := f(ctx, a, c.At)
		return policy.Outcome{Listing: l}, err
	}
}

// freshest gives the newest good point, if there is one.
func freshest(ps []point) (point, bool) {
	for _, p := range ps {
		if p.good() {
			return p, true
		}
	}
	return point{}, false
}
