package operations

import "github.com/vpsguard/vpsguard/policy"

func (h house) deleteSnapshot() policy.Operation {
	return h.remove(policy.Descriptor{
		Name: "delete_snapshot", Title: "Delete a snapshot", Noun: "snapshot", Verb: "delete",
		Summary: "Delete a snapshot for good. Held until a person confirms.",
	}, kindSnapshot, h.api.DeleteSnapshot)
}
