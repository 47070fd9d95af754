package operations

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/policy"
)

// restore makes an operation that overwrites a server from a kind of recovery
// point; send is the one call that does it.
func (h house) restore(d policy.Descriptor, kind string, send func(context.Context, policy.Plan) (apiclient.RestoreStarted, error)) policy.Operation {
	d.Effect = policy.Overwrite
	d.Arguments = []policy.Argument{serverArgument, pointArgument(kind), reasonArgument, copyArgument}
	return policy.Operation{
		Descriptor: d,
		Plan: func(ctx context.Context, in policy.PlanInput) (policy.Plan, error) {
			return h.planRestore(ctx, in, kind, d.Name)
		},
		Apply: func(ctx context.Context, p policy.Permit) (policy.Answer, error) {
			switch {
			case !p.Valid():
				return policy.Answer{}, errNoPermit()
			case p.Step().Name == policy.StepSafetyCopy:
				return h.applyCopy(ctx, p)
			}
			s, err := send(ctx, p.Request().Plan)
			return restored(s), told("the restore", err)
		},
		Look: h.lookRestore,
	}
}

// planRestore plans an overwrite from a recovery point of either kind.
func (h house) planRestore(ctx context.Context, in policy.PlanInput, kind, name string) (policy.Plan, error) {
	sc, err := h.scene(ctx, in)
	if err != nil {
		return policy.Plan{}, err
	}
	target, err := h.target(ctx, sc, kind, in.Arguments.Number(kind+"_id", 0))
	if err != nil {
		return policy.Plan{}, err
	}
	p := policy.Plan{
		Summary: fmt.Sprintf("restore %s over %s", target.Point, sc.server), Server: sc.server, Target: &target.Point, Known: sc.known(&target),
		Losses: []string{fmt.Sprintf("everything written to %s since %s, %s, is overwritten",
			policy.Clean(sc.server.Name, 64), policy.Stamp(target.CreatedAt), policy.Ago(target.CreatedAt, in.Now))},
		SafetyCopy: policy.NoCopy,
		Steps:      []policy.StepPlan{{Name: name, Effect: policy.Overwrite, Within: restoreWithin}},
	}
	p.Warnings = sc.doubts(target)
	takes := "5-15 minutes"
	if kind == kindBackup {
		takes = "longer than from a snapshot, depending on its size"
	}
	p.Notes = append(p.Notes, "VPS.org stops the server by itself; it is down until the restore is over, which takes "+takes)
	if newer := sc.newer(target); newer != "" {
		p.Notes = append(p.Notes, newer)
	}
	if !in.Arguments.Flag("safety_copy", true) {
		p.Losses = append(p.Losses, "there is NO WAY BACK: no safety copy is taken first")
		return p, nil
	}
	return sc.withCopy(p, in.Again)
}

// withCopy adds the safety copy: a snapshot, or a manual backup where the slots
// are full. A kind that is already being taken stays what it is.
func (sc scene) withCopy(p policy.Plan, r *policy.Request) (policy.Plan, error) {
	snapshots, backups := sc.count(isSnapshot), sc.count(isManualBackup)
	taken := r != nil && len(r.Steps) > 1 && r.Steps[0].State != policy.StepWaiting
	switch {
	case taken && r.Steps[0].State == policy.StepDone && (sc.copy == nil || !sc.copy.good()):
		return p, policy.Errorf(policy.Conflict, "its safety copy is gone, or no longer complete")
	case taken:
		p.SafetyCopy = r.Plan.SafetyCopy
	case snapshots < maxSnapshots:
		p.SafetyCopy = policy.CopySnapshot
	case backups < maxBackups:
		p.SafetyCopy = policy.CopyBackup
	default:
		p.SafetyCopy = policy.CopySnapshot // what was asked for
		return p, policy.Errorf(policy.Conflict, "there is no slot for a safety copy of %s: %d of %d snapshots and %d of %d manual backups; the oldest snapshots are %s",
			sc.server, snapshots, maxSnapshots, backups, maxBackups, sc.oldest(isSnapshot)).
			WithHint("Free a slot first, or ask again without a safety copy; then there is no way back. Either takes a person.")
	}
	takes := map[policy.CopyKind]string{
		policy.CopySnapshot: "a snapshot, 3-10 minutes",
		policy.CopyBackup:   "a manual backup, since all snapshot slots are full",
	}[p.SafetyCopy]
	p.Notes = append([]string{
		"first a safety copy is taken (" + takes + "); if that fails, nothing is overwritten",
		"undo: expected, from the safety copy; checked afterwards",
	}, p.Notes...)
	if sc.server.Status == apiclient.ServerActive {
		p.Warnings = append(p.Warnings, "the server is running, so the safety copy will be crash-consistent")
	}
	p.Steps = append([]policy.StepPlan{{
		Name: policy.StepSafetyCopy, Effect: policy.Create, Makes: string(p.SafetyCopy), Within: copyWithin,
	}}, p.Steps...)
	return p, nil
}

// doubts are what should make somebody look twice at a restore.
func (sc scene) doubts(target point) (out []string) {
	if !target.good() {
		out = append(out, fmt.Sprintf("%s %d is not complete: its status is %q", target.Kind, target.ID, policy.Clean(target.Status, 40)))
	}
	if p, ok := freshest(sc.points); ok && p.CreatedAt.After(target.CreatedAt) {
		out = append(out, fmt.Sprintf("it is not the newest good recovery point: %s is from %s", p.Point, policy.Ago(p.CreatedAt, sc.now)))
	}
	switch sc.server.Status {
	case apiclient.ServerActive:
	case "":
		out = append(out, "the API token may not read the server, so its status is not known and the restore cannot be watched")
	default:
		out = append(out, fmt.Sprintf("the server is not active: its status is %q", policy.Clean(sc.server.Status, 40)))
	}
	return out
}

// newer names the recovery points that are newer than the one to restore.
func (sc scene) newer(target point) string {
	var names []string
	n := 0
	for _, p := range sc.points {
		if p.CreatedAt.After(target.CreatedAt) {
			if n++; n <= 3 {
				names = append(names, fmt.Sprintf("%s (%s)", p.Point, policy.Ago(p.CreatedAt, sc.now)))
			}
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("newer recovery points that exist (%d): %s", n, strings.Join(names, ", "))
}

// applyCopy takes the safety copy.
func (h house) applyCopy(ctx context.Context, p policy.Permit) (policy.Answer, error) {
	r := p.Request()
	about := described(p, fmt.Sprintf("safety copy before restoring %s %d", r.Plan.Target.Kind, r.Plan.Target.ID))
	if r.Plan.SafetyCopy == policy.CopyBackup {
		b, err := h.api.CreateBackup(ctx, apiclient.NewBackup{ServerID: r.Plan.Server.ID, Description: about})
		return made(b.ID, "", b.Message), told("the safety copy", err)
	}
	s, err := h.api.CreateSnapshot(ctx, apiclient.NewSnapshot{
		ServerID: r.Plan.Server.ID, Name: copyName(r), Description: about,
	})
	return made(s.ID, s.Name, s.Message), told("the safety copy", err)
}

// restored converts the answer to a restore: accepted, not done. That it says
// "restoring" does not count as seen: only the server's own status does.
func restored(s apiclient.RestoreStarted) policy.Answer {
	return policy.Answer{Message: policy.Clean(s.Message, 300)}
}

// lookRestore looks how a restore, or its safety copy, stands.
func (h house) lookRestore(ctx context.Context, p policy.Permit) (policy.Sight, error) {
	r, step := p.Request(), p.Step()
	if step.Name == policy.StepSafetyCopy {
		return h.lookMade(ctx, p, string(r.Plan.SafetyCopy))
	}
	list, err := h.api.Servers(apiclient.Fresh(ctx), apiclient.ServerFilter{})
	// Only a token that could not read servers when this was planned makes it
	// unwatchable; one that cannot now may again later.
	if k := apiclient.KindOf(err); r.Plan.Server.Status == "" && (k == apiclient.Forbidden || k == apiclient.NotFound) {
		return h.withUndo(ctx, r, policy.Sight{
			View: policy.Unwatchable, Note: "VPS.org accepted it; it was not watched, because the API token may not read servers",
		})
	}
	if err != nil {
		return policy.Sight{}, told("listing servers", err)
	}
	i := slices.IndexFunc(list, func(s apiclient.Server) bool { return s.ID == r.Plan.Server.ID })
	switch {
	case i < 0:
		return policy.Sight{View: policy.Pending, Note: "VPS.org does not list the server"}, nil
	case list[i].Status == apiclient.ServerRestoring:
		return policy.Sight{View: policy.Pending, Seen: true, Note: "the server is restoring"}, nil
	case step.Seen && settled(list[i].Status):
		return h.withUndo(ctx, r, policy.Sight{
			View: policy.Finished, Note: "the server was restoring and is now " + policy.Clean(list[i].Status, 40),
		})
	}
	return policy.Sight{View: policy.Absent, Note: fmt.Sprintf("the server is %s; it was not seen restoring", policy.Clean(list[i].Status, 40))}, nil
}

// settled tells whether a server's status means that a restore is over. A
// status that is not known means: keep waiting.
func settled(status string) bool {
	return status == apiclient.ServerActive || status == apiclient.ServerStopped || status == apiclient.ServerSuspended
}

// withUndo looks whether the safety copy is still there after the restore.
func (h house) withUndo(ctx context.Context, r policy.Request, s policy.Sight) (policy.Sight, error) {
	own, ok := r.Copy()
	if !ok {
		return s, nil
	}
	found, err := h.all(apiclient.Fresh(ctx), r.Plan.Server.ID)
	if err != nil {
		return policy.Sight{}, err
	}
	for _, f := range found {
		if f.Is(own) && f.good() {
			undo := f.Point
			s.Undo = &undo
			s.Note += "; undo: restore " + f.Point.String()
			return s, nil
		}
	}
	s.Note += "; its safety copy is gone, so there is no undo"
	return s, nil
}
