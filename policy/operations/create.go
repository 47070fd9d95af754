package operations

import (
	"context"
	"fmt"
	"strings"
	"time"

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
		if f.ID != step.PointID && (step.PointID != 0 || !marked(f, r, step)) {
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

// clockSkew is how much VPS.org's clock may be behind ours.
const clockSkew = 15 * time.Minute

// marked tells whether a point is the one that a step has made: it carries the
// request's mark at its end, is not older than the step, and has the name given.
func marked(f point, r policy.Request, step policy.Step) bool {
	name := r.Plan.Params["name"]
	if step.Name == policy.StepSafetyCopy {
		name = copyName(r)
	}
	return strings.HasSuffix(f.description, "[vpsguard "+r.ID+" "+r.Mark+"]") &&
		!f.CreatedAt.Before(step.StartedAt.Add(-clockSkew)) && (f.Kind == kindBackup || f.Name == name)
}

// copyName is the name of a request's safety copy, where that is a snapshot.
func copyName(r policy.Request) string { return copyPrefix + strings.TrimPrefix(r.ID, "rq_") }

// checkAbout keeps callers from describing what they make as something that
// vpsguard made: people read descriptions before they agree, without what cannot be
// seen in them.
func checkAbout(text string) error {
	low := strings.ToLower(policy.Clean(text, len(text)))
	for _, ours := range []string{"vpsguard", "safety copy", "rq_"} {
		if strings.Contains(low, ours) {
			return policy.Errorf(policy.Invalid, "a description may not hold %q: that is kept for what vpsguard itself writes", ours).
				WithHint("Use other words.")
		}
	}
	return nil
}

// created is a plan to make one recovery point.
func created(sc scene, kind, name string, step policy.StepPlan, params map[string]string) policy.Plan {
	what := "take a " + kind
	if name != "" {
		what += fmt.Sprintf(" named %q", name)
	}
	p := policy.Plan{
		Summary: what + " of " + sc.server.String(), Server: sc.server, Params: params, Known: sc.known(nil),
		Steps: []policy.StepPlan{step},
	}
	if sc.server.Status == apiclient.ServerActive {
		p.Warnings = append(p.Warnings, "the server is running, so the copy will be crash-consistent; stop it first for best results")
	}
	return p
}
