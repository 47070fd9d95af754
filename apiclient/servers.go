package apiclient

import (
	"context"
	"encoding/json"
	"net/url"
	"time"
)

// The statuses of a server that are known. Others may come; wait for those to
// pass.
const (
	ServerActive    = "active"
	ServerRestoring = "restoring"
	ServerStopped   = "stopped"
	ServerSuspended = "suspended"
)

// ServerRef names a server inside a snapshot, a backup or an answer. An ID of 0
// means that the API named none.
type ServerRef struct {
	ID   int64
	Name string
}

// Server is one server (API documentation, "Servers").
type Server struct {
	ID        int64
	Name      string
	Hostname  string
	Status    string
	IPAddress string
	Location  string
	Plan      Plan
	OS        OS
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Plan is what a server is made of. Memory and Storage stand as the API writes
// them; their units are not documented.
type Plan struct {
	ID      int64
	Name    string
	VCPUs   int64
	Memory  string
	Storage string
}

// OS is a server's operating system.
type OS struct {
	ID   int64
	Name string
}

// ServerFilter narrows [Client.Servers]; "" means any.
type ServerFilter struct {
	Status   string
	Location string
}

type wireRef struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

func (w wireRef) check() error {
	if w.ID < 0 {
		return contentErrorf("a server's id is negative")
	}
	return nil
}

func (w wireRef) ref() ServerRef { return ServerRef{ID: w.ID, Name: w.Name} }

// named is a plan or an operating system: details that may change their form
// without making the list of servers unreadable.
type named struct {
	ID, Name, VCPUs, Memory, Storage loose
}

func (n *named) UnmarshalJSON(b []byte) error {
	var w struct {
		ID      loose `json:"id"`
		Name    loose `json:"name"`
		VCPUs   loose `json:"vcpus"`
		Memory  loose `json:"memory"`
		Storage loose `json:"storage"`
	}
	if len(b) > 0 && b[0] == '{' {
		if err := json.Unmarshal(b, &w); err != nil {
			return err
		}
		*n = named(w)
		return nil
	}
	return n.Name.UnmarshalJSON(b)
}

type wireServer struct {
	ID        int64  `json:"id"`
	Name      string `json:"name"`
	Hostname  loose  `json:"hostname"`
	Status    string `json:"status"`
	IPAddress loose  `json:"ip_address"`
	Location  loose  `json:"location"`
	Plan      named  `json:"plan"`
	OS        named  `json:"os"`
	CreatedAt moment `json:"created_at"`
	UpdatedAt moment `json:"updated_at"`
}

func (w wireServer) ident() int64 { return w.ID }
func (w wireServer) check() error { return nil }

func (w wireServer) server() Server {
	return Server{
		ID:        w.ID,
		Name:      w.Name,
		Hostname:  string(w.Hostname),
		Status:    w.Status,
		IPAddress: string(w.IPAddress),
		Location:  string(w.Location),
		Plan: Plan{
			ID: w.Plan.ID.int(), Name: string(w.Plan.Name), VCPUs: w.Plan.VCPUs.int(),
			Memory: string(w.Plan.Memory), Storage: string(w.Plan.Storage),
		},
		OS:        OS{ID: w.OS.ID.int(), Name: string(w.OS.Name)},
		CreatedAt: w.CreatedAt.Time,
		UpdatedAt: w.UpdatedAt.Time,
	}
}

// Servers lists the account's servers in the API's order. [Forbidden] is to be
// expected: a token may work on snapshots and backups without it.
func (c *Client) Servers(ctx context.Context, f ServerFilter) ([]Server, error) {
	query := url.Values{}
	if f.Status != "" {
		query.Set("status", f.Status)
	}
	if f.Location != "" {
		query.Set("location", f.Location)
	}
	rows, err := list[wireServer](ctx, c, "listing servers", "/servers/", query)
	if err != nil {
		return nil, err
	}
	servers := make([]Server, len(rows))
	for i, w := range rows {
		servers[i] = w.server()
	}
	return servers, nil
}
