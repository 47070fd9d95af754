package vpsfake

import (
	"fmt"
	"time"
)

// seed fills in the documentation's examples. What they leave open about the
// server (address, plan) is made up from ranges reserved for documentation.
func (f *Fake) seed() {
	at := func(s string) time.Time {
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			panic(err)
		}
		return t
	}
	f.putServer(12345, "web-server-01", active, "192.0.2.45", at("2024-06-15T09:00:00Z"))
	for _, p := range []*point{
		{id: 801, name: "pre-migration-snapshot", size: 5120, created: at("2025-01-15T18:30:00Z"), description: "Before major migration"},
		{id: 798, name: "weekly-snapshot-2025-01-08", size: 4856, created: at("2025-01-08T12:00:00Z"), description: "Weekly snapshot"},
	} {
		p.server, p.status = 12345, completed
		f.snapshots[p.id] = p
	}
	for _, p := range []*point{
		{id: 501, kind: automatic, size: 4523, created: at("2025-01-16T03:00:00Z"), expires: at("2025-02-16T03:00:00Z"), description: "Automatic daily backup"},
		{id: 499, kind: manual, size: 4456, created: at("2025-01-14T10:30:00Z"), description: "Pre-update backup"},
		{id: 495, kind: automatic, size: 4389, created: at("2025-01-15T03:00:00Z"), expires: at("2025-02-15T03:00:00Z"), description: "Automatic daily backup"},
	} {
		p.server, p.status = 12345, completed
		f.backups[p.id] = p
	}
	f.lastSnapshot, f.lastBackup = 801, 501
}

func (f *Fake) putServer(id int64, name, status, ip string, created time.Time) *server {
	s := &server{
		id: id, name: name, hostname: name + ".example.com", status: status, ip: ip, place: "new-york", plan: "VPS 4",
		created: created, updated: created, data: "live",
	}
	f.servers[id] = s
	return s
}

// Demo makes the account look lived in. It moves the examples' times so that
// their newest is some hours old, and adds
//
//   - db-server-01 (12346): daily automatic backups, two manual ones, a snapshot,
//   - staging-01 (12347): all 5 snapshot slots used,
//   - legacy-app (12348): stopped, with a single backup left.
//
// Call it once, before anything else has been added.
func (f *Fake) Demo() {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.o.Now().UTC().Truncate(time.Minute)
	shift := now.Sub(DocumentationTime)
	for _, points := range []map[int64]*point{f.snapshots, f.backups} {
		for _, p := range points {
			p.created = p.created.Add(shift)
			if !p.expires.IsZero() {
				p.expires = p.expires.Add(shift)
			}
		}
	}
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	const day = 24 * time.Hour
	f.putServer(12346, "db-server-01", active, "192.0.2.46", ago(400*day))
	f.putServer(12347, "staging-01", active, "192.0.2.47", ago(90*day))
	f.putServer(12348, "legacy-app", stopped, "192.0.2.48", ago(900*day)).place = "amsterdam"

	f.demoSnapshot(12346, "before-postgres-17", ago(3*day+4*time.Hour), "Before the upgrade to PostgreSQL 17", 20480)
	for i, name := range []string{"clean-install", "fixtures-loaded", "before-load-test", "release-candidate", "after-rollback"} {
		f.demoSnapshot(12347, name, ago(time.Duration(30-6*i)*day), "", 8192+int64(i)*130)
	}
	for i := range 7 {
		created := ago(time.Duration(i)*day + 5*time.Hour)
		f.demoBackup(12346, automatic, created, created.Add(30*day), "Automatic daily backup", 19800-int64(i)*40)
	}
	f.demoBackup(12346, manual, ago(41*day), time.Time{}, "Before schema change", 18211)
	f.demoBackup(12346, manual, ago(12*day), time.Time{}, "Month's end", 19104)
	f.demoBackup(12348, manual, ago(200*day), time.Time{}, fmt.Sprintf("Last state of %s", "legacy-app"), 2210)
}

func (f *Fake) demoSnapshot(server int64, name string, created time.Time, description string, size int64) {
	f.lastSnapshot++
	f.snapshots[f.lastSnapshot] = &point{
		id: f.lastSnapshot, server: server, name: name, status: completed, size: size, created: created, description: description,
	}
}

func (f *Fake) demoBackup(server int64, kind string, created, expires time.Time, description string, size int64) {
	f.lastBackup++
	f.backups[f.lastBackup] = &point{
		id: f.lastBackup, server: server, kind: kind, status: completed, size: size, created: created, expires: expires,
		description: description,
	}
}
