package operations

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/policy"
)

// deleteWithin is how long a delete whose answer was lost is looked for often.
const deleteWithin = 10 * time.Minute

// remove makes an operation that deletes a kind of recovery point; send is the
// one call that does it.
func (h house) remove(d policy.Descriptor, kind string, send sendDelete) policy.Operation {
	d.Arguments = []policy.Argument{serverArgument, pointArgument(kind), reasonArgument}
	return h.removing(d, send, func(ctx context.Context, in policy.PlanInput) (policy.Plan, error) {
		return h.planDelete(ctx, in, kind, d.Name)
	})
}

// sendDelete is the one call that deletes a recovery point.
type sendDelete func(ctx context.Context, id int64) error

// removing makes an operation of which each step deletes its target.
func (h house) removing(d policy.Descriptor, send sendDelete, plan func(context.Context, policy.PlanInput) (policy.Plan, error)) policy.Operation {
	d.Effect = policy.Delete
	return policy.Operation{
		Descriptor: d,
		Plan:       plan,
		Apply: func(ctx context.Context, p policy.Permit) (policy.Answer, error) {
			if !p.Valid() {
				return policy.Answer{}, errNoPermit()
			}
			target := p.Target()
			return policy.Answer{Done: true, Message: target.String() + " was deleted"}, told("the delete", send(ctx, target.ID))
		},
		Look: h.lookDelete,
	}
}

// planDelete plans the removal of a recovery point of either kind.
func (h house) planDelete(ctx context.Context, in policy.PlanInput, kind, name string) (policy.Plan, error) {
	sc, err := h.scene(ctx, in)
	if err != nil {
		return policy.Plan{}, err
	}
	target, err := h.target(ctx, sc, kind, in.Arguments.Number(kind+"_id", 0))
	if err != nil {
		return policy.Plan{}, err
	}
	rest := slices.DeleteFunc(slices.Clone(sc.points), func(p point) bool { return p.Is(target.Point) })
	good := slices.DeleteFunc(slices.Clone(rest), func(p point) bool { return !p.good() })
	p := policy.Plan{
		Summary: fmt.Sprintf("delete %s of %s", target.Point, sc.server), Server: sc.server, Target: &target.Point, Known: sc.known(&target),
		LastGood: target.good() && len(good) == 0,
		Losses: []string{fmt.Sprintf("%s from %s, %s (%s), is gone for good", target.Point,
			policy.Stamp(target.CreatedAt), policy.Ago(target.CreatedAt, in.Now), size(target.SizeMB))},
		Steps: []policy.StepPlan{{Name: name, Effect: policy.Delete, Within: deleteWithin}},
	}
	if p.LastGood {
		p.Losses = append(p.Losses, "it is the LAST good recovery point of "+policy.Clean(sc.server.Name, 64)+": nothing is left to restore from")
	}
	p.Notes = append(p.Notes, sc.remains(rest))
	if !target.good() {
		p.Warnings = append(p.Warnings, fmt.Sprintf("its status is %q", policy.Clean(target.Status, 40)))
	}
	if sc.server.Status == apiclient.ServerRestoring {
		p.Warnings = append(p.Warnings, "the server is being restored right now")
	}
	return p, nil
}

// remains says what is left after a delete.
func (sc scene) remains(rest []point) string {
	if len(rest) == 0 {
		return "nothing remains"
	}
	names := make([]string, 0, 4)
	for _, p := range rest[:min(len(rest), 3)] {
		names = append(names, fmt.Sprintf("%s (%s, %s)", p.Point, policy.Clean(p.Status, 20), policy.Ago(p.CreatedAt, sc.now)))
	}
	if more := len(rest) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf("what remains (%d): %s", len(rest), strings.Join(names, ", "))
}

// lookDelete looks whether the target is gone.
func (h house) lookDelete(ctx context.Context, p policy.Permit) (policy.Sight, error) {
	target := p.Target()
	found, err := h.all(apiclient.Fresh(ctx), p.Request().Plan.Server.ID)
	if err != nil {
		return policy.Sight{}, err
	}
	if slices.ContainsFunc(found, func(f point) bool { return f.Is(*target) }) {
		return policy.Sight{View: policy.Absent, Note: fmt.Sprintf("%s %d was still there when it was last looked for", target.Kind, target.ID)}, nil
	}
	return policy.Sight{View: policy.Finished, Note: target.String() + " is gone"}, nil
}
