package operations

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/vpsguard/vpsguard/policy"
)

type slots struct {
	Used int `json:"used"`
	Of   int `json:"of"`
}

// pointsDetail stands beside the points of one server.
type pointsDetail struct {
	Server        serverRef `json:"server"`
	SnapshotSlots slots     `json:"snapshot_slots"`
	BackupSlots   slots     `json:"backup_slots"`
	FreshestGood  *pointRow `json:"freshest_good,omitempty"`
}

func (h house) listRecoveryPoints() policy.Operation {
	return policy.Operation{
		Descriptor: policy.Descriptor{
			Name: "list_recovery_points", Title: "List recovery points", Noun: "server", Verb: "points", Effect: policy.Read, Idempotent: true,
			Summary:   "Snapshots and backups of one server, newest first, the slots used, and the freshest good one.",
			Arguments: []policy.Argument{serverArgument, policy.LimitArgument, policy.CursorArgument},
			Rows:      "points",
			Record: slices.Concat([]policy.Field{
				{Name: "kind", Type: "string"},
				{Name: "type", Type: "string", Optional: true},
				{Name: "expires_at", Type: "string", Optional: true},
			}, pointFields),
			Detail: []policy.Field{
				{Name: "server", Type: "object"},
				{Name: "snapshot_slots", Type: "object"},
				{Name: "backup_slots", Type: "object"},
				{Name: "freshest_good", Type: "object", Optional: true},
			},
		},
		Answer: answers(func(ctx context.Context, a policy.Arguments, now time.Time) (*policy.Listing, error) {
			server, err := h.server(ctx, a.Text("server"))
			if err != nil {
				return nil, err
			}
			found, err := h.all(ctx, server.ID)
			if err != nil {
				return nil, err
			}
			l, err := list("Recovery points "+of(server), found, a, true, false, now)
			if err != nil {
				return nil, err
			}
			sc := scene{server: server, points: found, now: now}
			d := pointsDetail{
				serverRef{server.ID, policy.Fit(server.Name, 64)},
				slots{sc.count(isSnapshot), maxSnapshots},
				slots{sc.count(isManualBackup), maxBackups},
				nil,
			}
			good := "no good recovery point"
			if p, ok := freshest(found); ok {
				row, _ := p.row(now, true, false).Data.(pointRow)
				d.FreshestGood = &row
				good = fmt.Sprintf("freshest good one: %s %d, %s", p.Kind, p.ID, policy.Ago(p.CreatedAt, now))
			}
			l.Detail = d
			l.Lines = []string{fmt.Sprintf("%d of %d snapshot slots and %d of %d manual backup slots used; %s",
				d.SnapshotSlots.Used, maxSnapshots, d.BackupSlots.Used, maxBackups, good)}
			return l, nil
		}),
	}
}
