package operations

import (
	"context"
	"fmt"
	"time"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/policy"
)

type serverRow struct {
	ID       int64  `json:"id"`
	Name     string `json:"name"`
	Status   string `json:"status"`
	IP       string `json:"ip_address,omitempty"`
	Location string `json:"location,omitempty"`
}

func (h house) listServers() policy.Operation {
	return policy.Operation{
		Descriptor: policy.Descriptor{
			Name: "list_servers", Title: "List servers", Noun: "server", Verb: "list", Effect: policy.Read, Idempotent: true,
			Summary: "The account's servers.",
			Arguments: []policy.Argument{
				{Name: "status", Type: policy.String, Max: 40, About: "Such as active"},
				{Name: "location", Type: policy.String, Max: 80, About: "Data centre"},
				policy.LimitArgument, policy.CursorArgument,
			},
			Rows: "servers",
			Record: []policy.Field{
				{Name: "id", Type: "integer"},
				{Name: "name", Type: "string"},
				{Name: "status", Type: "string"},
				{Name: "ip_address", Type: "string", Optional: true},
				{Name: "location", Type: "string", Optional: true},
			},
		},
		Answer: answers(func(ctx context.Context, a policy.Arguments, _ time.Time) (*policy.Listing, error) {
			found, err := h.api.Servers(ctx, apiclient.ServerFilter{Status: a.Text("status"), Location: a.Text("location")})
			if err != nil {
				return nil, told("listing servers", err)
			}
			page, next, err := policy.Page(found, a.Text("cursor"), a.Number("limit", policy.DefaultLimit))
			if err != nil {
				return nil, err
			}
			l := &policy.Listing{Title: "Servers", Total: len(found), Next: next}
			for _, s := range page {
				row := serverRow{s.ID, policy.Fit(s.Name, 64), policy.Fit(s.Status, 20), policy.Fit(s.IPAddress, 45), policy.Fit(s.Location, 32)}
				l.Rows = append(l.Rows, policy.Row{
					Text: policy.Fit(fmt.Sprintf("%d %s, %s, %s, %s", s.ID, policy.Fit(s.Name, 32), row.Status, row.IP, row.Location), 100),
					Data: row, Server: policy.Server{ID: s.ID, Name: s.Name},
				})
			}
			return l, nil
		}),
	}
}
