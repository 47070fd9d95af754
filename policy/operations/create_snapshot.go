package operations

import (
	"context"
	"strings"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/policy"
)

func (h house) createSnapshot() policy.Operation {
	return policy.Operation{
		Descriptor: policy.Descriptor{
			Name: "create_snapshot", Title: "Create a snapshot", Noun: "snapshot", Verb: "create", Effect: policy.Create,
			Summary: "Take a snapshot (3-10 minutes, at most 5 a server).",
			Arguments: []policy.Argument{
				serverArgument,
				{Name: "name", Type: policy.String, Required: true, Max: 64, About: "Letters, digits, - and _"},
				aboutArgument, waitArgument,
			},
		},
		Plan: func(ctx context.Context, in policy.PlanInput) (policy.Plan, error) {
			name := in.Arguments.Text("name")
			if err := checkName(name); err != nil {
				return policy.Plan{}, err
			}
			if err := checkAbout(in.Arguments.Text("description")); err != nil {
				return policy.Plan{}, err
			}
			sc, err := h.scene(ctx, in)
			if err != nil {
				return policy.Plan{}, err
			}
			p := created(sc, kindSnapshot, name, policy.StepPlan{Name: "create_snapshot", Effect: policy.Create, Makes: kindSnapshot, Within: snapshotWithin},
				map[string]string{"name": name, "description": in.Arguments.Text("description")})
			if used := sc.count(isSnapshot); used >= maxSnapshots {
				return p, policy.Errorf(policy.Conflict, "%s has %d of %d snapshots; the oldest are %s",
					sc.server, used, maxSnapshots, sc.oldest(isSnapshot)).
					WithHint("Free a slot with delete_snapshot, which a person confirms, or use create_backup.")
			}
			if sc.count(func(p point) bool { return isSnapshot(p) && p.Name == name }) > 0 {
				return p, policy.Errorf(policy.Conflict, "%s has a snapshot named %q already", sc.server, name).
					WithHint("Use another name.")
			}
			p.Notes = append(p.Notes, "VPS.org needs 3-10 minutes for a snapshot")
			return p, nil
		},
		Apply: func(ctx context.Context, p policy.Permit) (policy.Answer, error) {
			if !p.Valid() {
				return policy.Answer{}, errNoPermit()
			}
			plan := p.Request().Plan
			s, err := h.api.CreateSnapshot(ctx, apiclient.NewSnapshot{
				ServerID: plan.Server.ID, Name: plan.Params["name"], Description: described(p, plan.Params["description"]),
			})
			return made(s.ID, s.Name, s.Message), told("the snapshot", err)
		},
		Look: func(ctx context.Context, p policy.Permit) (policy.Sight, error) {
			return h.lookMade(ctx, p, kindSnapshot)
		},
	}
}

// checkName holds callers to the characters that VPS.org documents, and keeps
// the names of safety copies to ourselves.
func checkName(name string) error {
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" || name == "" {
		return policy.Errorf(policy.Invalid, "%q is not a name for a snapshot", policy.Clean(name, 64)).
			WithHint("Use letters, digits, - and _ only.")
	}
	if strings.HasPrefix(strings.ToLower(name), copyPrefix) {
		return policy.Errorf(policy.Invalid, "names that begin with %s are kept for the safety copies that vpsguard takes", copyPrefix).
			WithHint("Use another name.")
	}
	return nil
}

func errNoPermit() error {
	return policy.Errorf(policy.Forbidden, "an operation was called without a permit; nothing was sent")
}
