package operations

import (
	"time"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/policy"
)

// Catalogue lists every operation, in the order in which doors show them. The
// client is used concurrently.
func Catalogue(api *apiclient.Client) []policy.Operation {
	h := house{api}
	return []policy.Operation{
		h.listServers(),
		h.listRecoveryPoints(),
		h.listSnapshots(),
		h.createSnapshot(),
		h.restoreSnapshot(),
		h.deleteSnapshot(),
		h.pruneSnapshots(),
		h.listBackups(),
		h.createBackup(),
		h.restoreBackup(),
		h.deleteBackup(),
		h.pruneBackups(),
	}
}

// Limits and durations, as VPS.org documents them.
const (
	maxSnapshots = 5  // a server
	maxBackups   = 10 // manual ones, a server

	snapshotWithin = 60 * time.Minute // documented: 3-10 minutes
	backupWithin   = 6 * time.Hour    // documented: "varies"
	copyWithin     = 30 * time.Minute // a safety copy that takes longer is not waited for
	restoreWithin  = 60 * time.Minute // documented: 5-15 minutes
)

// Kinds of recovery points.
const (
	kindSnapshot = "snapshot"
	kindBackup   = "backup"
)

// copyPrefix names the safety copies. Callers may not use it.
const copyPrefix = "pre-restore-"

// Arguments that several operations share.
var (
	serverArgument = policy.Argument{
		Name: "server", Type: policy.String, Required: true, Max: 200, Of: "server", About: "Id or exact name",
	}
	serverFilter   = policy.Argument{Name: "server", Type: policy.String, Max: 200, Of: "server", About: "Id or exact name"}
	reasonArgument = policy.Argument{
		Name: "reason", Type: policy.String, Required: true, Max: 500, About: "Why, for whoever confirms",
	}
	copyArgument = policy.Argument{
		Name: "safety_copy", Type: policy.Boolean, Default: true, About: "Copy the server first, so that it can be undone",
	}
	waitArgument = policy.Argument{
		Name: "wait", Type: policy.Boolean, Default: false, About: "Answer when it is complete, or after 50 s",
	}
	aboutArgument = policy.Argument{Name: "description", Type: policy.String, Max: 200, About: "What it is for"}
)

func pointArgument(kind string) policy.Argument {
	return policy.Argument{
		Name: kind + "_id", Type: policy.Integer, Required: true, Min: 1, Of: kind, About: "Its id; it must be of that server",
	}
}

// house is what all operations share.
type house struct{ api *apiclient.Client }
