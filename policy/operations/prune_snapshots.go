package operations

import "github.com/vpsguard/vpsguard/policy"

func (h house) pruneSnapshots() policy.Operation {
	return h.prune(policy.Descriptor{
		Name: "prune_snapshots", Title: "Prune snapshots", Noun: "snapshot", Verb: "prune", Each: "delete_snapshot",
		Summary: "Delete a server's old snapshots, at most 15 at once. Held until a person confirms.",
	}, kindSnapshot, h.api.DeleteSnapshot)
}
