package vpsfake

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
)

// The JSON objects, keys in the documentation's order.
type (
	jsonRef struct {
		ID   int64  `json:"id"`
		Name string `json:"name"`
	}
	jsonSnapshot struct {
		ID          int64   `json:"id"`
		Server      jsonRef `json:"server"`
		Name        string  `json:"name"`
		Status      string  `json:"status"`
		SizeMB      *int64  `json:"size_mb"`
		CreatedAt   string  `json:"created_at"`
		Description string  `json:"description"`
		Message     string  `json:"message,omitempty"`
	}
	jsonBackup struct {
		ID          int64   `json:"id"`
		Server      jsonRef `json:"server"`
		BackupType  string  `json:"backup_type"`
		Status      string  `json:"status"`
		SizeMB      *int64  `json:"size_mb"`
		CreatedAt   string  `json:"created_at"`
		ExpiresAt   *string `json:"expires_at"`
		Description string  `json:"description"`
		Message     string  `json:"message,omitempty"`
	}
	jsonPlan struct {
		ID      int64  `json:"id"`
		Name    string `json:"name"`
		VCPUs   int    `json:"vcpus"`
		Memory  int    `json:"memory"`
		Storage int    `json:"storage"`
	}
	jsonServer struct {
		ID        int64    `json:"id"`
		Name      string   `json:"name"`
		Hostname  string   `json:"hostname"`
		Status    string   `json:"status"`
		IPAddress string   `json:"ip_address"`
		Location  string   `json:"location"`
		Plan      jsonPlan `json:"plan"`
		OS        jsonRef  `json:"os"`
		CreatedAt string   `json:"created_at"`
		UpdatedAt string   `json:"updated_at"`
	}
	jsonList struct {
		Count   int    `json:"count"`
		Next    string `json:"next,omitempty"`
		Results any    `json:"results"`
	}
)

func (f *Fake) snapshotJSON(p *point) jsonSnapshot {
	return jsonSnapshot{
		ID: p.id, Server: jsonRef{p.server, f.serverName(p.server)}, Name: p.name, Status: p.status,
		SizeMB: p.sizeJSON(), CreatedAt: stamp(p.created), Description: p.description,
	}
}

func (f *Fake) backupJSON(p *point) jsonBackup {
	b := jsonBackup{
		ID: p.id, Server: jsonRef{p.server, f.serverName(p.server)}, BackupType: p.kind, Status: p.status,
		SizeMB: p.sizeJSON(), CreatedAt: stamp(p.created), Description: p.description,
	}
	if !p.expires.IsZero() {
		s := stamp(p.expires)
		b.ExpiresAt = &s
	}
	return b
}

func (p *point) sizeJSON() *int64 {
	if p.size == 0 {
		return nil
	}
	n := p.size
	return &n
}

func (f *Fake) readAccount(*http.Request, []byte) reply {
	type who struct {
		Email       string `json:"email"`
		FirstName   string `json:"first_name"`
		LastName    string `json:"last_name"`
		CompanyName string `json:"company_name"`
		CreatedAt   string `json:"created_at"`
	}
	type token struct {
		Name        string   `json:"name"`
		Permissions []string `json:"permissions"`
	}
	permissions := []string{"snapshots", "backups"}
	if !f.denyServers {
		permissions = append(permissions, "servers")
	}
	a := f.account
	return reply{status: http.StatusOK, body: struct {
		Account who   `json:"account"`
		Token   token `json:"token"`
	}{
		who{a.email, a.first, a.last, a.company, "2024-06-15"},
		token{"vpsguard", permissions},
	}}
}

func (f *Fake) listServers(r *http.Request, _ []byte) reply {
	if f.denyServers {
		return detail(http.StatusForbidden, "You do not have permission to perform this action.")
	}
	q := r.URL.Query()
	rows := []jsonServer{}
	now := f.o.Now().UTC()
	for _, id := range slices.Sorted(maps.Keys(f.servers)) {
		s := f.servers[id]
		if is(q.Get("status"), s.status) && is(q.Get("location"), s.place) {
			rows = append(rows, jsonServer{
				ID: s.id, Name: s.name, Hostname: s.hostname, Status: s.status, IPAddress: s.ip, Location: s.place,
				Plan: jsonPlan{4, s.plan, 4, 8192, 160}, OS: jsonRef{11, "Debian 13"},
				CreatedAt: stamp(s.created), UpdatedAt: stamp(s.updated),
			})
			if s.status == restoring && s.unseen {
				s.unseen, s.restored = false, now.Add(f.o.RestoreTakes)
			}
		}
	}
	return paged(f, r, rows)
}

func (f *Fake) listSnapshots(r *http.Request, _ []byte) reply {
	points, refused := f.selected(r, f.snapshots)
	if refused != nil {
		return *refused
	}
	rows := make([]jsonSnapshot, len(points))
	for i, p := range points {
		rows[i] = f.snapshotJSON(p)
	}
	return paged(f, r, rows)
}

func (f *Fake) listBackups(r *http.Request, _ []byte) reply {
	points, refused := f.selected(r, f.backups)
	if refused != nil {
		return *refused
	}
	rows := make([]jsonBackup, len(points))
	for i, p := range points {
		rows[i] = f.backupJSON(p)
	}
	return paged(f, r, rows)
}

// selected returns the points that the query asks for, highest id first: the
// order of the documentation's examples, which is not that of their age.
func (f *Fake) selected(r *http.Request, from map[int64]*point) ([]*point, *reply) {
	q := r.URL.Query()
	server := int64(0)
	if s := q.Get("server_id"); s != "" {
		var err error
		if server, err = strconv.ParseInt(s, 10, 64); err != nil {
			bad := reply{status: http.StatusBadRequest, body: map[string][]string{"server_id": {"A valid integer is required."}}}
			return nil, &bad
		}
	}
	var points []*point
	for _, p := range from {
		if (server == 0 || p.server == server) && is(q.Get("backup_type"), p.kind) {
			points = append(points, p)
		}
	}
	slices.SortFunc(points, func(a, b *point) int { return cmp.Compare(b.id, a.id) })
	return points, nil
}

func is(wanted, got string) bool { return wanted == "" || wanted == got }

// paged puts rows into the documented envelope, or what Options ask for instead.
func paged[T any](f *Fake, r *http.Request, rows []T) reply {
	if f.o.BareLists {
		return reply{status: http.StatusOK, body: rows}
	}
	l := jsonList{Count: len(rows), Results: rows}
	if size := f.o.PageSize; size > 0 {
		page, err := strconv.Atoi(r.URL.Query().Get("page"))
		if err != nil || page < 1 {
			page = 1
		}
		from := min((page-1)*size, len(rows))
		to := min(from+size, len(rows))
		l.Results = rows[from:to]
		if to < len(rows) {
			l.Next = link(r, page+1)
		}
	}
	return reply{status: http.StatusOK, body: l}
}

func link(r *http.Request, page int) string {
	u := *r.URL
	u.Scheme, u.Host = "http", r.Host
	if r.TLS != nil {
		u.Scheme = "https"
	}
	q := u.Query()
	q.Set("page", fmt.Sprint(page))
	u.RawQuery = q.Encode()
	return u.String()
}
