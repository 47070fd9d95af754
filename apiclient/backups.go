package apiclient

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// The types of a backup (API documentation, "Backups").
const (
	BackupManual    = "manual"
	BackupAutomatic = "automatic"
)

// Backup is a copy of a server on separate storage: at most 10 manual ones a
// server, automatic ones as long as the plan keeps them (API documentation,
// "Backups").
type Backup struct {
	ID     int64
	Server ServerRef
	// Type is BackupManual or BackupAutomatic.
	Type   string
	Status string
	// SizeMB is in megabytes, nil while it is being taken.
	SizeMB *int64
	// CreatedAt orders backups; ids do not.
	CreatedAt time.Time
	// ExpiresAt is nil for a backup that is kept until it is deleted.
	ExpiresAt   *time.Time
	Description string
	// Message is the API's sentence in the answer to a create, else "".
	Message string
}

// BackupFilter narrows [Client.Backups]: 0 means any server, "" any type.
type BackupFilter struct {
	ServerID int64
	Type     string
}

// NewBackup is a manual backup to be taken. Backups have no name.
type NewBackup struct {
	ServerID    int64
	Description string
}

type wireBackup struct {
	ID          int64     `json:"id"`
	Server      wireRef   `json:"server"`
	Type        string    `json:"backup_type"`
	Status      string    `json:"status"`
	SizeMB      megabytes `json:"size_mb"`
	CreatedAt   moment    `json:"created_at"`
	ExpiresAt   moment    `json:"expires_at"`
	Description string    `json:"description"`
	Message     string    `json:"message"`
}

func (w wireBackup) ident() int64 { return w.ID }
func (w wireBackup) check() error { return w.Server.check() }

func (w wireBackup) backup() Backup {
	b := Backup{
		ID: w.ID, Server: w.Server.ref(), Type: w.Type, Status: w.Status, SizeMB: w.SizeMB.value(),
		CreatedAt: w.CreatedAt.Time, Description: w.Description,
	}
	if !w.ExpiresAt.IsZero() {
		t := w.ExpiresAt.Time
		b.ExpiresAt = &t
	}
	return b
}

// Backups lists backups in the API's order, which is not that of their age. Items
// of other servers or types are left out if the API sends them though it was
// asked for one.
func (c *Client) Backups(ctx context.Context, f BackupFilter) ([]Backup, error) {
	const path, doing = "/backups/", "listing backups"
	query := url.Values{}
	if f.ServerID != 0 {
		if err := c.positive(http.MethodGet, path, doing, "server", f.ServerID); err != nil {
			return nil, err
		}
		query.Set("server_id", strconv.FormatInt(f.ServerID, 10))
	}
	switch f.Type {
	case "":
	case BackupManual, BackupAutomatic:
		query.Set("backup_type", f.Type)
	default:
		return nil, c.invalid(c.request(http.MethodGet, path, doing), "the type of a backup is manual or automatic")
	}
	rows, err := list[wireBackup](ctx, c, doing, path, query)
	if err != nil {
		return nil, err
	}
	backups := make([]Backup, 0, len(rows))
	for _, w := range rows {
		if w.Server.of(f.ServerID) && (f.Type == "" || w.Type == f.Type) {
			backups = append(backups, w.backup())
		}
	}
	return backups, nil
}

// CreateBackup starts to take a manual backup (API documentation, "Create a
// manual backup"). It is accepted, not finished: Status is "in_progress" for
// several minutes. A server with 10 manual backups is refused as [Invalid]. The
// answer must carry an id and the same server, else it is [Uncertain].
func (c *Client) CreateBackup(ctx context.Context, n NewBackup) (Backup, error) {
	const path = "/backups/"
	doing := fmt.Sprintf("creating a backup of server %d", n.ServerID)
	if err := c.positive(http.MethodPost, path, doing, "server", n.ServerID); err != nil {
		return Backup{}, err
	}
	r, err := c.post(path, doing, struct {
		ServerID    int64  `json:"server_id"`
		Description string `json:"description,omitempty"`
	}(n))
	if err != nil {
		return Backup{}, err
	}
	var w wireBackup
	r.accepts = created
	r.decode = func(body []byte) (any, error) {
		w = wireBackup{}
		if err := unmarshal(body, &w); err != nil {
			return nil, err
		}
		return nil, checkCreated(w.ID, w.Server.ID, n.ServerID)
	}
	if _, err := c.write(ctx, r); err != nil {
		return Backup{}, err
	}
	b := w.backup()
	b.Message = c.clean(w.Message)
	return b, nil
}

// DeleteBackup deletes a backup, manual or automatic, for good (API
// documentation, "Delete backup").
func (c *Client) DeleteBackup(ctx context.Context, id int64) error {
	path, doing := fmt.Sprintf("/backups/%d/", id), fmt.Sprintf("deleting backup %d", id)
	if err := c.positive(http.MethodDelete, path, doing, "backup", id); err != nil {
		return err
	}
	return c.remove(ctx, path, doing)
}
