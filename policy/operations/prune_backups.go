package operations

import "github.com/vpsguard/vpsguard/policy"

func (h house) pruneBackups() policy.Operation {
	return h.prune(policy.Descriptor{
		Name: "prune_backups", Title: "Prune backups", Noun: "backup", Verb: "prune", Each: "delete_backup",
		Summary: "Delete a server's old manual backups, at most 15 at once. Held until a person confirms.",
	}, kindBackup, h.api.DeleteBackup)
}
