package operations

import (
	"context"

	"github.com/vpsguard/vpsguard/policy"
)

func (h house) deleteBackup() policy.Operation {
	return policy.Operation{
		Descriptor: policy.Descriptor{
			Name: "delete_backup", Title: "Delete a backup", Noun: "backup", Verb: "delete", Effect: policy.Delete,
			Summary:   "Delete a backup for good. Held until a person confirms.",
			Arguments: []policy.Argument{serverArgument, pointArgument(kindBackup), reasonArgument},
		},
		Plan: func(ctx context.Context, in policy.PlanInput) (policy.Plan, error) {
			return h.planDelete(ctx, in, kindBackup, "delete_backup")
		},
		Apply: func(ctx context.Context, p policy.Permit) (policy.Answer, error) {
			if !p.Valid() {
				return policy.Answer{}, errNoPermit()
			}
			err := h.api.DeleteBackup(ctx, p.Request().Plan.Target.ID)
			return policy.Answer{Done: true, Message: p.Request().Plan.Target.String() + " was deleted"}, told("the delete", err)
		},
		Look: h.lookDelete,
	}
}
