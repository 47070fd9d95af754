package vpsfake

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

func invalid(field, text string) reply {
	return reply{status: http.StatusBadRequest, body: map[string][]string{field: {text}}}
}

// input is the body of a create; ServerID is a pointer to tell 0 from missing.
type input struct {
	ServerID    *int64 `json:"server_id"`
	BackupID    *int64 `json:"backup_id"`
	Name        string `json:"name"`
	Description string `json:"description"`
}

func parse(body []byte) (input, *reply) {
	var in input
	if err := json.Unmarshal(body, &in); err != nil {
		bad := detail(http.StatusBadRequest, "Bad Request - Invalid parameters.")
		return in, &bad
	}
	return in, nil
}

// target finds the server of a create.
func (f *Fake) target(in input) (*server, *reply) {
	if in.ServerID == nil {
		bad := invalid("server_id", "This field is required.")
		return nil, &bad
	}
	s := f.servers[*in.ServerID]
	if s == nil {
		bad := notFound("Server")
		return nil, &bad
	}
	if s.status == restoring {
		bad := detail(http.StatusBadRequest, "Server is being restored.")
		return nil, &bad
	}
	return s, nil
}

func (f *Fake) createSnapshot(body []byte) reply {
	in, bad := parse(body)
	if bad != nil {
		return *bad
	}
	if !validName(in.Name) {
		return invalid("name", "Only alphanumeric characters, hyphens and underscores are allowed.")
	}
	s, bad := f.target(in)
	if bad != nil {
		return *bad
	}
	if f.count(f.snapshots, s.id, "") >= MaxSnapshots {
		return detail(http.StatusBadRequest, "Snapshot limit reached. You can have a maximum of 5 snapshots per server.")
	}
	f.lastSnapshot++
	p := f.start(&point{id: f.lastSnapshot, server: s.id, name: in.Name, description: in.Description})
	f.snapshots[p.id] = p
	answer := f.snapshotJSON(p)
	answer.Message = "Snapshot is being created. This may take 3-10 minutes depending on server size."
	return reply{status: http.StatusCreated, body: answer, acted: true}
}

func (f *Fake) createBackup(body []byte) reply {
	in, bad := parse(body)
	if bad != nil {
		return *bad
	}
	s, bad := f.target(in)
	if bad != nil {
		return *bad
	}
	if f.count(f.backups, s.id, manual) >= MaxManualBackups {
		return detail(http.StatusBadRequest, "Backup limit reached. You can have a maximum of 10 manual backups per server.")
	}
	f.lastBackup++
	p := f.start(&point{id: f.lastBackup, server: s.id, kind: manual, description: in.Description})
	f.backups[p.id] = p
	answer := f.backupJSON(p)
	answer.Message = "Backup is being created. This may take several minutes depending on server size."
	return reply{status: http.StatusCreated, body: answer, acted: true}
}

func (f *Fake) start(p *point) *point {
	now := f.o.Now().UTC()
	p.status, p.created, p.fate = inProgress, now.Truncate(time.Second), completed
	p.ready = now.Add(f.o.CreateTakes)
	switch f.quirk {
	case CreateVanishes:
		p.fate = ""
	case CreateFails:
		p.fate = "failed"
	case CreateSticks:
		p.ready = time.Time{}
	}
	return p
}

func remove(points map[int64]*point, id int64, what string) reply {
	if points[id] == nil {
		return notFound(what)
	}
	delete(points, id)
	return reply{status: http.StatusNoContent, acted: true}
}

// overwrite starts a restore of s from p, or says why it cannot be. The data is
// lost from here on.
func (f *Fake) overwrite(s *server, p *point) *reply {
	if s == nil {
		bad := notFound("Server")
		return &bad
	}
	if s.status != active && s.status != stopped || p.status != completed {
		bad := detail(http.StatusBadRequest, "Server is not in a valid state for restoration.")
		return &bad
	}
	if f.quirk == RestoreVanishes {
		return nil
	}
	now := f.o.Now().UTC()
	s.status, s.updated, s.restored = restoring, now, now.Add(f.o.RestoreTakes)
	s.data, s.unseen = p.origin(), f.o.RestoreShows
	if f.quirk == RestoreSticks {
		s.restored, s.unseen = time.Time{}, false
	}
	return nil
}

func (f *Fake) restoreSnapshot(id int64) reply {
	p := f.snapshots[id]
	if p == nil {
		return notFound("Snapshot")
	}
	s := f.servers[p.server]
	if bad := f.overwrite(s, p); bad != nil {
		return *bad
	}
	return reply{status: http.StatusOK, acted: f.quirk != RestoreVanishes, body: restoreJSON{
		Status: "success", Message: "Server is being restored from snapshot. This may take 5-15 minutes.",
		Snapshot: &restoredPoint{p.id, p.name, stamp(p.created)},
		Server:   restoredServer{s.id, s.name, restoring},
	}}
}

func (f *Fake) restoreBackup(id int64, body []byte) reply {
	in, bad := parse(body)
	if bad != nil {
		return *bad
	}
	if in.BackupID == nil {
		return invalid("backup_id", "This field is required.")
	}
	s := f.servers[id]
	if s == nil {
		return notFound("Server")
	}
	p := f.backups[*in.BackupID]
	if p == nil || p.server != id {
		return notFound("Backup")
	}
	if bad := f.overwrite(s, p); bad != nil {
		return *bad
	}
	if f.o.EmptyBackupRestore {
		return reply{status: http.StatusAccepted, acted: f.quirk != RestoreVanishes}
	}
	return reply{status: http.StatusOK, acted: f.quirk != RestoreVanishes, body: restoreJSON{
		Status: "success", Message: fmt.Sprintf("Server is being restored from backup %d.", p.id),
		Server: restoredServer{s.id, s.name, restoring},
	}}
}

type (
	restoredPoint struct {
		ID        int64  `json:"id"`
		Name      string `json:"name"`
		CreatedAt string `json:"created_at"`
	}
	restoredServer struct {
		ID     int64  `json:"id"`
		Name   string `json:"name"`
		Status string `json:"status"`
	}
	restoreJSON struct {
		Status   string         `json:"status"`
		Message  string         `json:"message"`
		Snapshot *restoredPoint `json:"snapshot,omitempty"`
		Server   restoredServer `json:"server"`
	}
)
