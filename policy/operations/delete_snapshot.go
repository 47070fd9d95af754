package operations

import (
	"context"

	"github.com/vpsguard/vpsguard/policy"
)

func (h house) deleteSnapshot() policy.Operation {
	return policy.Operation{
		Descriptor: policy.Descriptor{
			Name: "delete_snapshot", Title: "Delete a snapshot", Noun: "snapshot", Verb: "delete", Effect: policy.Delete,
			Summary:   "Delete a snapshot for good. Held until a person confirms.",
			Arguments: []policy.Argument{serverArgument, pointArgument(kindSnapshot), reasonArgument},
		},
		Plan: func(ctx context.Context, in policy.PlanInput) (policy.Plan, error) {
			return h.planDelete(ctx, in, kindSnapshot, "delete_snapshot")
		},
		Apply: func(ctx context.Context, p policy.Permit) (policy.Answer, error) {
			if !p.Valid() {
				return policy.Answer{}, errNoPermit()
			}
			err := h.api.DeleteSnapshot(ctx, p.Request().Plan.Target.ID)
			return policy.Answer{Done: true, Message: p.Request().Plan.Target.String() + " was deleted"}, told("the delete", err)
		},
		Look: h.lookDelete,
	}
}
