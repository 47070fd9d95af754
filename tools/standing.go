package tools

import (
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"github.com/vpsguard/vpsguard/policy"
)

// requestResult is how a request stands, for clients. Its schema is
// [requestSchema].
type requestResult struct {
	ID          string         `json:"id"`
	Operation   string         `json:"operation"`
	Effect      policy.Effect  `json:"effect"`
	State       policy.State   `json:"state"`
	Server      serverResult   `json:"server"`
	Target      *targetResult  `json:"target,omitempty"`
	Targets     []targetResult `json:"targets,omitempty"`
	Losses      []string       `json:"losses"`
	Warnings    []string       `json:"warnings"`
	Reason      string         `json:"reason,omitempty"`
	Requester   requester      `json:"requester"`
	Rules       []string       `json:"rules"`
	Approvals   approvals      `json:"approvals"`
	ConfirmWith []string       `json:"confirm_with"`
	WaitsFor    []string       `json:"waits_for"`
	ApproveBy   string         `json:"approve_by,omitempty"`
	StartBy     string         `json:"start_by,omitempty"`
	Steps       []stepResult   `json:"steps"`
	Result      *ending        `json:"result,omitempty"`
}

type serverResult struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

type targetResult struct {
	pointResult
	CreatedAt string `json:"created_at"`
}

type pointResult struct {
	Kind string `json:"kind"`
	ID   int64  `json:"id"`
	Name string `json:"name,omitempty"`
}

// requester is who asked; what the client calls itself stands apart, since
// nothing vouches for it.
type requester struct {
	Name        string      `json:"name"`
	Door        policy.Door `json:"door"`
	CallsItself string      `json:"calls_itself,omitempty"`
}

type approvals struct {
	Needed int        `json:"needed"`
	Given  []approval `json:"given"`
}

type approval struct {
	By        string           `json:"by"`
	With      policy.Way       `json:"with"`
	Assurance policy.Assurance `json:"assurance"`
	At        string           `json:"at"`
}

type stepResult struct {
	Name      string           `json:"name"`
	Effect    policy.Effect    `json:"effect"`
	State     policy.StepState `json:"state"`
	Target    *pointResult     `json:"target,omitempty"`
	StartedAt string           `json:"started_at,omitempty"`
	Point     *pointResult     `json:"point,omitempty"`
	Note      string           `json:"note,omitempty"`
}

type ending struct {
	Why     string       `json:"why,omitempty"`
	EndedAt string       `json:"ended_at,omitempty"`
	Created *pointResult `json:"created,omitempty"`
	Undo    *pointResult `json:"undo,omitempty"`
}

// standing renders how a request stands.
func (s *Server) standing(st policy.Standing) (*mcp.CallToolResult, error) {
	e, label := s.open()
	e.WriteString(`"request":`)
	if err := e.value(s.request(st)); err != nil {
		return nil, err
	}
	e.WriteByte('}')
	return result(label+s.told(st), e.Bytes(), false), nil
}

func (s *Server) request(st policy.Standing) requestResult {
	r, p := st.Request, st.Request.Plan
	out := requestResult{
		ID: r.ID, Operation: r.Operation, Effect: r.Effect, State: r.State,
		Server: serverResult{p.Server.ID, policy.Clean(p.Server.Name, 64)},
		Losses: cleaned(p.Losses), Warnings: cleaned(p.Warnings), Reason: policy.Clean(r.Reason, 500),
		Requester: requester{policy.Clean(r.Actor.Name, 80), r.Actor.Door, policy.Clean(r.Actor.Client, 40)},
		Rules:     cleaned(r.Conditions.Rules),
		Approvals: approvals{Needed: r.Conditions.Approvals, Given: []approval{}}, ConfirmWith: []string{},
		WaitsFor: append([]string{}, st.WaitsFor...), ApproveBy: stamp(r.ApproveBy), StartBy: stamp(r.StartBy),
		Steps: []stepResult{}, Result: endingOf(r),
	}
	if out.Requester.Name == "" {
		out.Requester.Name = policy.Clean(r.Actor.Subject, 80)
	}
	if t := p.Target; t != nil {
		out.Target = &targetResult{*point(*t), stamp(t.CreatedAt)}
	}
	for _, t := range p.Targets {
		out.Targets = append(out.Targets, targetResult{*point(t.Point), stamp(t.CreatedAt)})
	}
	for _, a := range r.Approvals {
		out.Approvals.Given = append(out.Approvals.Given, approval{policy.Clean(a.By.String(), 200), a.Way, a.Assurance, stamp(a.At)})
	}
	if r.State == policy.StateHeld {
		for _, w := range r.Ways() {
			out.ConfirmWith = append(out.ConfirmWith, w.Says())
		}
	}
	for _, step := range r.Steps {
		told := stepResult{step.Name, step.Effect, step.State, nil, stamp(step.StartedAt), made(step), policy.Clean(step.Note, mostLine)}
		if step.Point != nil {
			told.Target = point(*step.Point)
		}
		out.Steps = append(out.Steps, told)
	}
	return out
}

// ended tells what came of a request, where something has.
func endingOf(r policy.Request) *ending {
	out := ending{Why: policy.Clean(r.Why, mostLine), EndedAt: stamp(r.EndedAt)}
	if last := len(r.Steps) - 1; last >= 0 && r.Steps[last].Effect == policy.Create && r.State == policy.StateDone {
		out.Created = made(r.Steps[last])
	}
	if r.Undo != nil {
		out.Undo = point(*r.Undo)
	}
	if out == (ending{}) {
		return nil
	}
	return &out
}

// made is the recovery point that a step has made.
func made(step policy.Step) *pointResult {
	if step.PointID == 0 {
		return nil
	}
	return &pointResult{step.Makes, step.PointID, policy.Clean(step.PointName, 64)}
}

func point(p policy.Point) *pointResult {
	return &pointResult{p.Kind, p.ID, policy.Clean(p.Name, 64)}
}

func cleaned(lines []string) []string {
	out := make([]string, 0, len(lines))
	for _, l := range lines {
		out = append(out, policy.Clean(l, mostLine))
	}
	return out
}

// stamp writes a time as RFC 3339 in UTC; "" for never.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
