package operations

import (
	"context"

	"github.com/vpsguard/vpsguard/policy"
)

func (h house) restoreSnapshot() policy.Operation {
	return policy.Operation{
		Descriptor: policy.Descriptor{
			Name: "restore_snapshot", Title: "Restore a snapshot", Noun: "snapshot", Verb: "restore", Effect: policy.Overwrite,
			Summary:   "Overwrite a server with a snapshot. Held until a person confirms.",
			Arguments: []policy.Argument{serverArgument, pointArgument(kindSnapshot), reasonArgument, copyArgument},
		},
		Plan: func(ctx context.Context, in policy.PlanInput) (policy.Plan, error) {
			return h.planRestore(ctx, in, kindSnapshot, "restore_snapshot")
		},
		Apply: func(ctx context.Context, p policy.Permit) (policy.Answer, error) {
			switch {
			case !p.Valid():
				return policy.Answer{}, errNoPermit()
			case p.Step().Name == policy.StepSafetyCopy:
				return h.applyCopy(ctx, p)
			}
			s, err := h.api.RestoreSnapshot(ctx, p.Request().Plan.Target.ID)
			return restored(s), told("the restore", err)
		},
		Look: h.lookRestore,
	}
}
