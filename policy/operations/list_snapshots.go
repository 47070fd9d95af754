package operations

import (
	"context"
	"slices"
	"time"

	"github.com/vpsguard/vpsguard/policy"
)

func (h house) listSnapshots() policy.Operation {
	return policy.Operation{
		Descriptor: policy.Descriptor{
			Name: "list_snapshots", Title: "List snapshots", Noun: "snapshot", Verb: "list", Effect: policy.Read, Idempotent: true,
			Summary:   "Snapshots, newest first.",
			Arguments: []policy.Argument{serverFilter, policy.LimitArgument, policy.CursorArgument},
			Rows:      "snapshots",
			Record:    slices.Concat([]policy.Field{{Name: "server", Type: "object"}}, pointFields),
		},
		Answer: answers(func(ctx context.Context, a policy.Arguments, now time.Time) (*policy.Listing, error) {
			server, err := h.filtered(ctx, a)
			if err != nil {
				return nil, err
			}
			found, err := h.snapshots(ctx, server.ID)
			if err != nil {
				return nil, err
			}
			return list("Snapshots "+of(server), found, a, false, true, now)
		}),
	}
}
