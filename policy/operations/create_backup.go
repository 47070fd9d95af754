package operations

import (
	"context"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/policy"
)

func (h house) createBackup() policy.Operation {
	return policy.Operation{
		Descriptor: policy.Descriptor{
			Name: "create_backup", Title: "Create a backup", Noun: "backup", Verb: "create", Effect: policy.Create,
			Summary:   "Take a manual backup (separate storage, slower, at most 10 a server).",
			Arguments: []policy.Argument{serverArgument, aboutArgument, waitArgument},
		},
		Plan: func(ctx context.Context, in policy.PlanInput) (policy.Plan, error) {
			if err := checkAbout(in.Arguments.Text("description")); err != nil {
				return policy.Plan{}, err
			}
			sc, err := h.scene(ctx, in)
			if err != nil {
				return policy.Plan{}, err
			}
			p := created(sc, kindBackup, "", policy.StepPlan{Name: "create_backup", Effect: policy.Create, Makes: kindBackup, Within: backupWithin},
				map[string]string{"description": in.Arguments.Text("description")})
			if used := sc.count(isManualBackup); used >= maxBackups {
				return p, policy.Errorf(policy.Conflict, "%s has %d of %d manual backups; the oldest are %s",
					sc.server, used, maxBackups, sc.oldest(isManualBackup)).
					WithHint("Free a slot with delete_backup, which a person confirms.")
			}
			p.Notes = append(p.Notes, "VPS.org needs several minutes for a backup, more for a large server")
			return p, nil
		},
		Apply: func(ctx context.Context, p policy.Permit) (policy.Answer, error) {
			if !p.Valid() {
				return policy.Answer{}, errNoPermit()
			}
			plan := p.Request().Plan
			b, err := h.api.CreateBackup(ctx, apiclient.NewBackup{
				ServerID: plan.Server.ID, Description: described(p, plan.Params["description"]),
			})
			return made(b.ID, unmarked(b.Description), b.Message), told("the backup", err)
		},
		Look: func(ctx context.Context, p policy.Permit) (policy.Sight, error) {
			return h.lookMade(ctx, p, kindBackup)
		},
	}
}
