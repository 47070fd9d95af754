package main

import (
	"time"

	"github.com/vpsguard/vpsguard/policy"
)

// The JSON form of a request: what clients get over MCP, and beside it what only
// the host's own people see. Foreign text stands in it as it was stored.
type (
	standingOut struct {
		Request requestOut `json:"request"`
	}
	requestOut struct {
		ID          string         `json:"id"`
		Operation   string         `json:"operation"`
		Effect      policy.Effect  `json:"effect"`
		State       policy.State   `json:"state"`
		Summary     string         `json:"summary"`
		Account     string         `json:"account"`
		Server      policy.Server  `json:"server"`
		Target      *policy.Point  `json:"target,omitempty"`
		Targets     []policy.Point `json:"targets,omitempty"`
		Losses      []string       `json:"losses"`
		Warnings    []string       `json:"warnings"`
		Notes       []string       `json:"notes"`
		Reason      string         `json:"reason,omitempty"`
		Requester   requesterOut   `json:"requester"`
		Rules       []string       `json:"rules"`
		Approvals   approvalsOut   `json:"approvals"`
		ConfirmWith []string       `json:"confirm_with"`
		WaitsFor    []string       `json:"waits_for"`
		Others      []string       `json:"others_on_server"`
		FiledAt     string         `json:"filed_at"`
		ApproveBy   string         `json:"approve_by,omitempty"`
		StartBy     string         `json:"start_by,omitempty"`
		Steps       []stepOut      `json:"steps"`
		Result      *resultOut     `json:"result,omitempty"`
	}
	requesterOut struct {
		Name        string      `json:"name"`
		Door        policy.Door `json:"door"`
		Subject     string      `json:"subject"`
		Vouched     string      `json:"vouched"`
		CallsItself string      `json:"calls_itself,omitempty"`
	}
	approvalsOut struct {
		Needed int           `json:"needed"`
		Given  []approvalOut `json:"given"`
	}
	approvalOut struct {
		By        string           `json:"by"`
		With      policy.Way       `json:"with"`
		Assurance policy.Assurance `json:"assurance"`
		At        string           `json:"at"`
	}
	stepOut struct {
		Name      string           `json:"name"`
		Effect    policy.Effect    `json:"effect"`
		State     policy.StepState `json:"state"`
		Target    *policy.Point    `json:"target,omitempty"`
		StartedAt string           `json:"started_at,omitempty"`
		PointID   int64            `json:"point_id,omitempty"`
		Note      string           `json:"note,omitempty"`
	}
	resultOut struct {
		Why     string        `json:"why,omitempty"`
		EndedAt string        `json:"ended_at,omitempty"`
		Undo    *policy.Point `json:"undo,omitempty"`
	}
)

// standingJSON converts how a request stands for programs.
func standingJSON(st policy.Standing) standingOut {
	r, p := st.Request, st.Request.Plan
	out := requestOut{
		ID: r.ID, Operation: r.Operation, Effect: r.Effect, State: r.State, Summary: p.Summary,
		Account: r.Account.String(), Server: p.Server, Target: p.Target,
		Losses: list(p.Losses), Warnings: list(p.Warnings), Notes: list(p.Notes), Reason: r.Reason,
		Requester: requesterOut{r.Actor.Name, r.Actor.Door, r.Actor.Subject, r.Actor.Vouched, r.Actor.Client},
		Rules:     list(r.Conditions.Rules), WaitsFor: list(st.WaitsFor), Others: list(st.Others), ConfirmWith: []string{},
		Approvals: approvalsOut{Needed: r.Conditions.Approvals, Given: []approvalOut{}},
		FiledAt:   stamp(r.FiledAt), ApproveBy: stamp(r.ApproveBy), StartBy: stamp(r.StartBy), Steps: []stepOut{},
	}
	for _, t := range p.Targets {
		out.Targets = append(out.Targets, t.Point)
	}
	for _, a := range r.Approvals {
		out.Approvals.Given = append(out.Approvals.Given, approvalOut{a.By.String(), a.Way, a.Assurance, stamp(a.At)})
	}
	if r.State == policy.StateHeld {
		for _, w := range r.Ways() {
			out.ConfirmWith = append(out.ConfirmWith, w.Says())
		}
	}
	for _, s := range r.Steps {
		out.Steps = append(out.Steps, stepOut{s.Name, s.Effect, s.State, s.Point, stamp(s.StartedAt), s.PointID, s.Note})
	}
	if r.Why != "" || !r.EndedAt.IsZero() {
		out.Result = &resultOut{r.Why, stamp(r.EndedAt), r.Undo}
	}
	return standingOut{out}
}

// list makes "none" an empty list, not null.
func list(texts []string) []string { return append([]string{}, texts...) }

// stamp writes a time as RFC 3339 in UTC; "" for never.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
