package operations

import "github.com/vpsguard/vpsguard/policy"

func (h house) deleteBackup() policy.Operation {
	return h.remove(policy.Descriptor{
		Name: "delete_backup", Title: "Delete a backup", Noun: "backup", Verb: "delete",
		Summary: "Delete a backup for good. Held until a person confirms.",
	}, kindBackup, h.api.DeleteBackup)
}
