package operations

import (
	"context"
	"slices"
	"time"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/policy"
)

func (h house) listBackups() policy.Operation {
	return policy.Operation{
		Descriptor: policy.Descriptor{
			Name: "list_backups", Title: "List backups", Noun: "backup", Verb: "list", Effect: policy.Read, Idempotent: true,
			Summary: "Backups, newest first.",
			Arguments: []policy.Argument{
				serverFilter,
				{
					Name: "type", Type: policy.String, Max: 20, About: "Only these",
					Enum: []string{apiclient.BackupManual, apiclient.BackupAutomatic},
				},
				policy.LimitArgument, policy.CursorArgument,
			},
			Rows: "backups",
			Record: slices.Concat([]policy.Field{
				{Name: "server", Type: "object"},
				{Name: "type", Type: "string"},
				{Name: "expires_at", Type: "string", Optional: true},
			}, pointFields),
		},
		Answer: answers(func(ctx context.Context, a policy.Arguments, now time.Time) (*policy.Listing, error) {
			server, err := h.filtered(ctx, a)
			if err != nil {
				return nil, err
			}
			found, err := h.backups(ctx, server.ID, a.Text("type"))
			if err != nil {
				return nil, err
			}
			return list("Backups "+of(server), found, a, false, true, now)
		}),
	}
}
