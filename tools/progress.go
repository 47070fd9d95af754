package tools

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"

	"github.com/vpsguard/vpsguard/policy"
)

// progress gives what a call that waits is told news with: nil unless the client
// has asked for them. Each is a sentence with a number that grows; how much is
// left, nobody knows. A client that cannot be told is told by the answer.
func (s *Server) progress(ctx context.Context, req mcp.CallToolRequest) func(policy.Standing) {
	token := progressToken(req.Params.Meta)
	if token == nil {
		return nil
	}
	label := s.label()
	n := 0
	return func(st policy.Standing) {
		n++
		_ = notify(ctx, string(mcp.MethodNotificationProgress), map[string]any{
			"progressToken": token, "progress": n, "message": label + happening(st),
		})
	}
}

// progressToken is what a client wants progress to be marked with; nil where it
// wants none. It is a text or a whole number; one that the library has rounded
// would be another call's.
func progressToken(m *mcp.Meta) any {
	if m == nil {
		return nil
	}
	switch token := m.ProgressToken.(type) {
	case string:
		return token
	case float64:
		if token == math.Trunc(token) && math.Abs(token) <= maxInteger {
			return int64(token)
		}
	}
	return nil
}

// happening says in one line what a request that somebody waits for is at:
// "snapshot 812 of web-01: in progress, 2 minutes".
func happening(st policy.Standing) string {
	r := st.Request
	what := policy.Clean(r.Plan.Summary, mostLine)
	switch r.State {
	case policy.StateHeld:
		return fmt.Sprintf("%s: waits for a person to confirm it, until %s (%s)", what, policy.Stamp(r.ApproveBy), policy.Ago(r.ApproveBy, st.Now))
	case policy.StateApproved:
		switch {
		case len(st.WaitsFor) > 0:
			return fmt.Sprintf("%s: waits for %s to end first", what, strings.Join(st.WaitsFor, ", "))
		case r.NotBefore.After(st.Now):
			return fmt.Sprintf("%s: can be called back until %s (%s)", what, policy.Stamp(r.NotBefore), policy.Ago(r.NotBefore, st.Now))
		}
		return what + ": about to start"
	case policy.StateRunning, policy.StateUncertain:
	default:
		return what + ": " + string(r.State)
	}
	i := min(r.Current(), len(r.Steps)-1)
	if i < 0 {
		return what + ": " + string(r.State)
	}
	if tally := r.Tally(); tally != "" {
		return what + ": " + tally
	}
	step := r.Steps[i]
	if p := made(step); p != nil {
		what = fmt.Sprintf("%s %d of %s", p.Kind, p.ID, policy.Clean(r.Plan.Server.Name, 64))
	}
	if step.Name == policy.StepSafetyCopy {
		what = "safety copy, " + what
	}
	since := ""
	if !step.StartedAt.IsZero() {
		since = ", " + policy.Span(st.Now.Sub(step.StartedAt))
	}
	switch step.State {
	case policy.StepStarted:
		return what + ": asked for, no answer yet" + since
	case policy.StepAccepted:
		return what + ": in progress" + since
	case policy.StepUncertain:
		return what + ": its answer was lost, looking for what came of it" + since
	default:
		return what + ": about to start"
	}
}
