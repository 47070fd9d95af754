package operations

import (
	"context"
	"fmt"
	"strings"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/policy"
)

// described is what stands in the description of whatever a request makes: the
// caller's words, the request's id, and the mark by which the new one is found
// again if the answer is lost.
func described(p policy.Permit, words string) string {
	return strings.TrimSpace(fmt.Sprintf("%s [vpsguard %s %s]", words, p.Request().ID, p.Request().Mark))
}

// made converts the answer to a create.
func made(id int64, name, message string) policy.Answer {
	return policy.Answer{PointID: id, Name: name, Message: policy.Clean(message, 300)}
}

// lookMade finds the point that a step made: by its id, or by its mark where
// the answer was lost.
func (h house) lookMade(ctx context.Context, p policy.Permit, kind string) (policy.Sight, error) {
	r, step := p.Request(), p.Step()
	read := h.snapshots
	if kind == kindBackup {
		read = func(ctx context.Context, server int64) ([]point, error) { return h.backups(ctx, server, "") }
	}
	found, err := read(apiclient.Fresh(ctx), r.Plan.Server.ID)
	if err != nil {
		return policy.Sight{}, err
	}
	for _, f := range found {
		if f.ID != step.PointID && (step.PointID != 0 || !strings.Contains(f.description, r.ID+" "+r.Mark)) {
			continue
		}
		s := policy.Sight{View: policy.Pending, Seen: true, PointID: f.ID, Name: f.Name, Note: fmt.Sprintf("%s %d is %s", kind, f.ID, policy.Clean(f.Status, 40))}
		if f.good() {
			s.View = policy.Finished
			s.Note = fmt.Sprintf("%s is complete", f.Point)
		}
		return s, nil
	}
	if step.PointID != 0 && step.Seen {
		return policy.Sight{View: policy.Broken, Note: fmt.Sprintf("%s %d vanished while it was being made", kind, step.PointID)}, nil
	}
	return policy.Sight{View: policy.Absent, Note: "VPS.org does not list it"}, nil
}

// created is a plan to make one recovery point.
func created(sc scene, kind, name string, step policy.StepPlan, params map[string]string) policy.Plan {
	what := "take a " + kind
	if name != "" {
		what += fmt.Sprintf(" named %q", name)
	}
	p := policy.Plan{
		Summary: what + " of " + sc.server.String(), Server: sc.server, Params: params,
		Steps: []policy.StepPlan{step},
	}
	if sc.server.Status == apiclient.ServerActive {
		p.Warnings = append(p.Warnings, "the server is running, so the copy will be crash-consistent; stop it first for best results")
	}
	return p
}
