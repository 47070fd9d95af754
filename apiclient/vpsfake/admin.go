package vpsfake

import (
	"fmt"
	"time"
)

// Point describes a snapshot or a backup for [Fake.AddSnapshot] and
// [Fake.AddBackup]. What is left empty gets a usual value.
type Point struct {
	// ID 0 means the next free one.
	ID       int64
	ServerID int64
	// Name is a snapshot's.
	Name string
	// Type is a backup's: "manual" where empty.
	Type string
	// Status is "completed" where empty.
	Status string
	// SizeMB is made up where 0 and the status is completed.
	SizeMB int64
	// CreatedAt is now where zero.
	CreatedAt time.Time
	// ExpiresAt is never where zero.
	ExpiresAt   time.Time
	Description string
}

// AddServer adds an active server. The id must be free.
func (f *Fake) AddServer(id int64, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	must(f.servers[id] == nil, "server", id, "exists already")
	f.putServer(id, name, active, fmt.Sprintf("198.51.100.%d", id%250+1), f.o.Now().UTC())
}

// RemoveServer removes a server and leaves its snapshots and backups.
func (f *Fake) RemoveServer(id int64) {
	f.withServer(id, func(*server) { delete(f.servers, id) })
}

// RenameServer gives a server another name.
func (f *Fake) RenameServer(id int64, name string) {
	f.withServer(id, func(s *server) { s.name = name })
}

// SetServerStatus sets a server's status, which then stays until a restore
// changes it.
func (f *Fake) SetServerStatus(id int64, status string) {
	f.withServer(id, func(s *server) { s.status, s.restored, s.unseen = status, time.Time{}, false })
}

// ServerStatus returns a server's status.
func (f *Fake) ServerStatus(id int64) string {
	var status string
	f.withServer(id, func(s *server) { status = s.status })
	return status
}

// ServerData tells where a server's data comes from: "live" for what was written
// on it, "snapshot:801" or "backup:501" from the moment a restore was accepted.
func (f *Fake) ServerData(id int64) string {
	var data string
	f.withServer(id, func(s *server) { data = s.data })
	return data
}

// WriteServer makes a server's data "live" again, as somebody working on it does.
func (f *Fake) WriteServer(id int64) {
	f.withServer(id, func(s *server) { s.data = "live" })
}

// AddSnapshot adds a snapshot past the limits and returns its id.
func (f *Fake) AddSnapshot(p Point) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.add(f.snapshots, &f.lastSnapshot, p, "")
}

// AddBackup adds a backup past the limits and returns its id.
func (f *Fake) AddBackup(p Point) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.Type == "" {
		p.Type = manual
	}
	return f.add(f.backups, &f.lastBackup, p, p.Type)
}

func (f *Fake) add(points map[int64]*point, last *int64, p Point, kind string) int64 {
	if p.ID == 0 {
		p.ID = *last + 1
	}
	must(points[p.ID] == nil, "recovery point", p.ID, "exists already")
	*last = max(*last, p.ID)
	n := &point{
		id: p.ID, server: p.ServerID, name: p.Name, kind: kind, status: p.Status, size: p.SizeMB,
		created: p.CreatedAt, expires: p.ExpiresAt, description: p.Description,
	}
	if n.created.IsZero() {
		n.created = f.o.Now().UTC()
	}
	if n.status == "" || n.status == completed {
		n.complete()
	}
	points[n.id] = n
	return n.id
}

// DeleteSnapshotBehindTheBack removes a snapshot without a request, as somebody
// in the web console does. It is no Mutation.
func (f *Fake) DeleteSnapshotBehindTheBack(id int64) {
	f.withPoint(f.snapshots, "snapshot", id, func(*point) { delete(f.snapshots, id) })
}

// DeleteBackupBehindTheBack removes a backup without a request.
func (f *Fake) DeleteBackupBehindTheBack(id int64) {
	f.withPoint(f.backups, "backup", id, func(*point) { delete(f.backups, id) })
}

// SetSnapshotStatus sets a snapshot's status, which then stays.
func (f *Fake) SetSnapshotStatus(id int64, status string) {
	f.withPoint(f.snapshots, "snapshot", id, func(p *point) { p.hold(status) })
}

// SetBackupStatus sets a backup's status, which then stays.
func (f *Fake) SetBackupStatus(id int64, status string) {
	f.withPoint(f.backups, "backup", id, func(p *point) { p.hold(status) })
}

func (p *point) hold(status string) {
	p.ready = time.Time{}
	if p.status = status; status == completed {
		p.complete()
	}
}

// HasSnapshot tells whether a snapshot is there.
func (f *Fake) HasSnapshot(id int64) bool { return f.has(f.snapshots, id) }

// HasBackup tells whether a backup is there.
func (f *Fake) HasBackup(id int64) bool { return f.has(f.backups, id) }

func (f *Fake) has(points map[int64]*point, id int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle()
	return points[id] != nil
}

// DenyServers takes the permission to list servers from the token (403), or gives
// it back.
func (f *Fake) DenyServers(deny bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.denyServers = deny
}

// SetAccount makes the token belong to another account.
func (f *Fake) SetAccount(email string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.account.email = email
}

func (f *Fake) withServer(id int64, do func(*server)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle()
	s := f.servers[id]
	must(s != nil, "server", id, "does not exist")
	do(s)
}

func (f *Fake) withPoint(points map[int64]*point, what string, id int64, do func(*point)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle()
	must(points[id] != nil, what, id, "does not exist")
	do(points[id])
}

func must(ok bool, what string, id int64, problem string) {
	if !ok {
		panic(fmt.Sprintf("vpsfake: %s %d %s", what, id, problem))
	}
}
