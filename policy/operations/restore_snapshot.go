package operations

import (
	"context"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/policy"
)

func (h house) restoreSnapshot() policy.Operation {
	return h.restore(policy.Descriptor{
		Name: "restore_snapshot", Title: "Restore a snapshot", Noun: "snapshot", Verb: "restore",
		Summary: "Overwrite a server with a snapshot. Held until a person confirms.",
	}, kindSnapshot, func(ctx context.Context, p policy.Plan) (apiclient.RestoreStarted, error) {
		return h.api.RestoreSnapshot(ctx, p.Target.ID)
	})
}
