package operations

import (
	"context"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/policy"
)

func (h house) restoreBackup() policy.Operation {
	return h.restore(policy.Descriptor{
		Name: "restore_backup", Title: "Restore a backup", Noun: "backup", Verb: "restore",
		Summary: "Overwrite a server with a backup. Held until a person confirms.",
	}, kindBackup, func(ctx context.Context, p policy.Plan) (apiclient.RestoreStarted, error) {
		return h.api.RestoreBackup(ctx, p.Server.ID, p.Target.ID)
	})
}
