package apiclient

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// write sends a write. It ends the sharing of reads that are under way, whatever
// came of it: what they bring may be older.
func (c *Client) write(ctx context.Context, r request) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	defer c.flights.part()
	return c.try(ctx, r)
}

// post begins a POST; body is nil or what is sent as JSON.
func (c *Client) post(path, doing string, body any) (request, error) {
	r := c.request(http.MethodPost, path, doing)
	if body == nil {
		return r, nil
	}
	b, err := json.Marshal(body)
	if err != nil {
		return r, c.invalid(r, "the request cannot be written as JSON")
	}
	r.body = b
	return r, nil
}

// remove sends a DELETE. Only 204 is documented as success; any other 2xx may
// mean something else than "it is gone".
func (c *Client) remove(ctx context.Context, path, doing string) error {
	r := c.request(http.MethodDelete, path, doing)
	r.accepts = func(status int) bool { return status == http.StatusNoContent }
	r.decode = func([]byte) (any, error) { return nil, nil }
	_, err := c.write(ctx, r)
	return err
}

func created(status int) bool { return status == http.StatusCreated || status == http.StatusOK }

// invalid is the error of a request refused before sending.
func (c *Client) invalid(r request, message string) *Error {
	e := c.newError(r, Invalid)
	e.Message = c.clean(message)
	return e
}

// positive refuses ids that no object has. The path in the error is the one that
// was not called.
func (c *Client) positive(method, path, doing, what string, id int64) error {
	if id > 0 {
		return nil
	}
	return c.invalid(c.request(method, path, doing), fmt.Sprintf("the id of the %s must be a positive integer, not %d", what, id))
}

// RestoreStarted is the answer to a restore: it was accepted, not finished. The
// server's status tells when it is over.
type RestoreStarted struct {
	// Message is the API's sentence, made fit to be shown.
	Message string
	// Server and ServerStatus are as answered; after [Client.RestoreBackup], whose
	// answer is not documented, they may be empty but for the id.
	Server       ServerRef
	ServerStatus string
	// SnapshotID is 0 after a restore from a backup.
	SnapshotID int64
}

type wireRestore struct {
	Status   string `json:"status"`
	Message  string `json:"message"`
	Snapshot struct {
		ID int64 `json:"id"`
	} `json:"snapshot"`
	Server struct {
		wireRef
		Status string `json:"status"`
	} `json:"server"`
}

// RestoreSnapshot starts to overwrite all data of the snapshot's server with the
// snapshot (API documentation, "Restore from snapshot"). It cannot be undone. The
// answer must name the snapshot that was asked for and say "success"; one that
// does not is [Uncertain].
func (c *Client) RestoreSnapshot(ctx context.Context, id int64) (RestoreStarted, error) {
	path, doing := fmt.Sprintf("/snapshots/%d/restore/", id), fmt.Sprintf("restoring snapshot %d", id)
	if err := c.positive(http.MethodPost, path, doing, "snapshot", id); err != nil {
		return RestoreStarted{}, err
	}
	r, err := c.post(path, doing, nil)
	if err != nil {
		return RestoreStarted{}, err
	}
	var w wireRestore
	r.accepts = created
	r.decode = func(body []byte) (any, error) {
		w = wireRestore{}
		if err := unmarshal(body, &w); err != nil {
			return nil, err
		}
		switch {
		case w.Status != "success":
			return nil, contentErrorf("the answer does not say success")
		case w.Snapshot.ID != id:
			return nil, contentErrorf("the answer is about another snapshot")
		case w.Server.ID <= 0:
			return nil, contentErrorf("the answer names no server")
		}
		return nil, nil
	}
	if _, err := c.write(ctx, r); err != nil {
		return RestoreStarted{}, err
	}
	return RestoreStarted{
		Message: c.clean(w.Message), Server: w.Server.ref(),
		ServerStatus: w.Server.Status, SnapshotID: w.Snapshot.ID,
	}, nil
}

// RestoreBackup starts to overwrite all data of a server with one of its backups
// (API documentation, "Restore from backup"). It cannot be undone. The answer is
// not documented: any 2xx that is empty or whole JSON counts as accepted.
func (c *Client) RestoreBackup(ctx context.Context, serverID, backupID int64) (RestoreStarted, error) {
	path := fmt.Sprintf("/servers/%d/restore/", serverID)
	doing := fmt.Sprintf("restoring server %d from backup %d", serverID, backupID)
	if err := c.positive(http.MethodPost, path, doing, "server", serverID); err != nil {
		return RestoreStarted{}, err
	}
	if err := c.positive(http.MethodPost, path, doing, "backup", backupID); err != nil {
		return RestoreStarted{}, err
	}
	r, err := c.post(path, doing, map[string]int64{"backup_id": backupID})
	if err != nil {
		return RestoreStarted{}, err
	}
	started := RestoreStarted{Server: ServerRef{ID: serverID}}
	r.accepts = func(status int) bool { return status >= 200 && status < 300 }
	r.decode = func(body []byte) (any, error) {
		if len(bytes.TrimSpace(body)) == 0 {
			return nil, nil
		}
		if !json.Valid(body) {
			return nil, errNotWhole
		}
		var w wireRestore
		// Whatever else the JSON says, it was accepted.
		if json.Unmarshal(body, &w) == nil && w.Server.ID == serverID {
			started.Server.Name, started.ServerStatus = w.Server.Name, w.Server.Status
		}
		started.Message = c.clean(w.Message)
		return nil, nil
	}
	if _, err := c.write(ctx, r); err != nil {
		return RestoreStarted{}, err
	}
	return started, nil
}
