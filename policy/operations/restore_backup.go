package operations

import (
	"context"

	"github.com/vpsguard/vpsguard/policy"
)

func (h house) restoreBackup() policy.Operation {
	return policy.Operation{
		Descriptor: policy.Descriptor{
			Name: "restore_backup", Title: "Restore a backup", Noun: "backup", Verb: "restore", Effect: policy.Overwrite,
			Summary:   "Overwrite a server with a backup. Held until a person confirms.",
			Arguments: []policy.Argument{serverArgument, pointArgument(kindBackup), reasonArgument, copyArgument},
		},
		Plan: func(ctx context.Context, in policy.PlanInput) (policy.Plan, error) {
			return h.planRestore(ctx, in, kindBackup, "restore_backup")
		},
		Apply: func(ctx context.Context, p policy.Permit) (policy.Answer, error) {
			switch {
			case !p.Valid():
				return policy.Answer{}, errNoPermit()
			case p.Step().Name == policy.StepSafetyCopy:
				return h.applyCopy(ctx, p)
			}
			plan := p.Request().Plan
			s, err := h.api.RestoreBackup(ctx, plan.Server.ID, plan.Target.ID)
			return restored(s), told("the restore", err)
		},
		Look: h.lookRestore,
	}
}
