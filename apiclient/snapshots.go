package apiclient

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"
)

// The statuses of a snapshot or a backup that are known. No value for a failure
// is documented: wait for any other until a deadline.
const (
	StatusCompleted  = "completed"
	StatusInProgress = "in_progress"
)

// Snapshot is a point-in-time copy of a server on the same infrastructure, at
// most 5 a server (API documentation, "Snapshots").
type Snapshot struct {
	ID     int64
	Server ServerRef
	Name   string
	Status string
	// SizeMB is in megabytes, nil while it is being taken.
	SizeMB *int64
	// CreatedAt orders snapshots; ids do not.
	CreatedAt   time.Time
	Description string
	// Message is the API's sentence in the answer to a create, else "".
	Message string
}

// NewSnapshot is a snapshot to be taken. Name holds letters, digits, hyphens and
// underscores only.
type NewSnapshot struct {
	ServerID    int64
	Name        string
	Description string
}

type wireSnapshot struct {
	ID          int64     `json:"id"`
	Server      wireRef   `json:"server"`
	Name        string    `json:"name"`
	Status      string    `json:"status"`
	SizeMB      megabytes `json:"size_mb"`
	CreatedAt   moment    `json:"created_at"`
	Description string    `json:"description"`
	Message     string    `json:"message"`
}

func (w wireSnapshot) ident() int64 { return w.ID }
func (w wireSnapshot) check() error { return w.Server.check() }

func (w wireSnapshot) snapshot() Snapshot {
	return Snapshot{
		ID: w.ID, Server: w.Server.ref(), Name: w.Name, Status: w.Status, SizeMB: w.SizeMB.value(),
		CreatedAt: w.CreatedAt.Time, Description: w.Description,
	}
}

// Snapshots lists the snapshots of one server, or of all for a serverID of 0, in
// the API's order. Items of other servers are left out if the API sends them
// though it was asked for one.
func (c *Client) Snapshots(ctx context.Context, serverID int64) ([]Snapshot, error) {
	const path, doing = "/snapshots/", "listing snapshots"
	query := url.Values{}
	if serverID != 0 {
		if err := c.positive(http.MethodGet, path, doing, "server", serverID); err != nil {
			return nil, err
		}
		query.Set("server_id", strconv.FormatInt(serverID, 10))
	}
	rows, err := list[wireSnapshot](ctx, c, doing, path, query)
	if err != nil {
		return nil, err
	}
	snapshots := make([]Snapshot, 0, len(rows))
	for _, w := range rows {
		if w.Server.of(serverID) {
			snapshots = append(snapshots, w.snapshot())
		}
	}
	return snapshots, nil
}

// of tells whether an item belongs in a list for serverID; an item that names no
// server is left to the caller.
func (w wireRef) of(serverID int64) bool {
	return serverID == 0 || w.ID == 0 || w.ID == serverID
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)

// CreateSnapshot starts to take a snapshot (API documentation, "Create a
// snapshot"). It is accepted, not finished: Status is "in_progress" and takes 3
// to 10 minutes to become "completed". A server with 5 snapshots is refused as
// [Invalid]. The answer must carry an id and the same server, else it is
// [Uncertain].
func (c *Client) CreateSnapshot(ctx context.Context, n NewSnapshot) (Snapshot, error) {
	const path = "/snapshots/"
	doing := fmt.Sprintf("creating a snapshot of server %d", n.ServerID)
	if err := c.positive(http.MethodPost, path, doing, "server", n.ServerID); err != nil {
		return Snapshot{}, err
	}
	r, err := c.post(path, doing, struct {
		ServerID    int64  `json:"server_id"`
		Name        string `json:"name"`
		Description string `json:"description,omitempty"`
	}(n))
	if err != nil {
		return Snapshot{}, err
	}
	if !nameForm.MatchString(n.Name) {
		return Snapshot{}, c.invalid(r, "the name of a snapshot is made of 1 to 255 letters, digits, hyphens and underscores")
	}
	var w wireSnapshot
	r.accepts = created
	r.decode = func(body []byte) (any, error) {
		w = wireSnapshot{}
		if err := unmarshal(body, &w); err != nil {
			return nil, err
		}
		return nil, checkCreated(w.ID, w.Server.ID, n.ServerID)
	}
	if _, err := c.write(ctx, r); err != nil {
		return Snapshot{}, err
	}
	s := w.snapshot()
	s.Message = c.clean(w.Message)
	return s, nil
}

// checkCreated checks the answer to a create: without its id what was made
// cannot be followed, and on another server it is not what was asked for.
func checkCreated(id, serverID, wanted int64) error {
	if id <= 0 {
		return contentErrorf("the answer carries no id")
	}
	if serverID != wanted {
		return contentErrorf("the answer is about another server")
	}
	return nil
}

// DeleteSnapshot deletes a snapshot for good (API documentation, "Delete
// snapshot").
func (c *Client) DeleteSnapshot(ctx context.Context, id int64) error {
	path, doing := fmt.Sprintf("/snapshots/%d/", id), fmt.Sprintf("deleting snapshot %d", id)
	if err := c.positive(http.MethodDelete, path, doing, "snapshot", id); err != nil {
		return err
	}
	return c.remove(ctx, path, doing)
}
