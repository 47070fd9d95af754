package policytest

import (
	"fmt"
	"sync"
	"time"

	"github.com/vpsguard/vpsguard/policy"
)

// Start is when a [Clock] begins unless told: a time in the past, with
// milliseconds, so that nothing depends on today.
var Start = time.Date(2025, 1, 17, 22, 31, 4, 250e6, time.UTC)

// Clock is a clock that a test turns by hand. It may be used concurrently.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock makes a clock that stands at [Start].
func NewClock() *Clock { return &Clock{now: Start} }

// Now is where the clock stands.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance turns the clock on (or back, if negative) and gives the new time.
func (c *Clock) Advance(d time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return c.now
}

// Account is the account that requests have unless told.
var Account = policy.Account{URL: "https://api.vps.test/v1", Owner: "ops@example.test"}

// Agent is an actor at the MCP door.
func Agent(subject string) policy.Actor {
	return policy.Actor{Door: policy.DoorMCP, Subject: subject, Name: subject, Client: "example-client 1.0", Vouched: "test", Role: policy.RoleOperate}
}

// Person is an actor at the Slack door.
func Person(subject string) policy.Actor {
	return policy.Actor{Door: policy.DoorSlack, Subject: subject, Name: subject, Vouched: "test"}
}

// Server is a server with an id, active and with a name of its own.
func Server(id int64) policy.Server {
	return policy.Server{ID: id, Name: fmt.Sprintf("web-%d", id), IP: "192.0.2.10", Status: "active", Alone: true}
}

// Point is a completed snapshot with an id, taken two days before [Start].
func Point(id int64) policy.Point {
	size := int64(2048)
	return policy.Point{
		Kind: "snapshot", ID: id, Name: fmt.Sprintf("nightly-%d", id), CreatedAt: Start.Add(-52 * time.Hour).Truncate(time.Second),
		SizeMB: &size, Status: "completed",
	}
}

// Plan is a plan to restore snapshot 801 over a server, with a safety copy.
func Plan(server policy.Server) policy.Plan {
	p := Point(801)
	return policy.Plan{
		Summary: fmt.Sprintf("restore %s over %s", p, server), Server: server, Target: &p, SafetyCopy: policy.CopySnapshot,
		Losses: []string{"everything written to " + server.Name + " since " + policy.Stamp(p.CreatedAt)},
		Steps: []policy.StepPlan{
			{Name: policy.StepSafetyCopy, Effect: policy.Create, Within: 30 * time.Minute},
			{Name: "restore_snapshot", Effect: policy.Overwrite, Within: time.Hour},
		},
		MadeAt: Start, Account: Account, Operation: "restore_snapshot", Effect: policy.Overwrite,
		Digest: policy.RowHash(fmt.Sprint("digest ", server.ID, " ", p.ID)),
	}
}

// Request is a held request of an agent to restore snapshot 801 over server
// 12345, not yet stored. Each edit is applied to it, in order.
func Request(id string, edits ...func(*policy.Request)) policy.Request {
	p := Plan(Server(12345))
	r := policy.Request{
		ID: id, Actor: Agent("agent"), Account: Account, Operation: p.Operation, Effect: p.Effect,
		Arguments: []byte(`{"server":"web-12345","snapshot_id":801,"reason":"roll back"}`), Reason: "roll back",
		Plan: p, Mark: "m2345678",
		Conditions: policy.Conditions{Approvals: 1, Ways: []policy.Way{policy.WaySlack, policy.WayTerminal}},
		State:      policy.StateHeld, Purpose: "purpose of " + id, Aim: "aim of " + id,
		FiledAt: Start, ApproveBy: Start.Add(30 * time.Minute), DueAt: Start.Add(30 * time.Minute),
	}
	for _, s := range p.Steps {
		r.Steps = append(r.Steps, policy.Step{StepPlan: s, State: policy.StepWaiting})
	}
	for _, edit := range edits {
		edit(&r)
	}
	return r
}

// Held is the body of the record that files a request; the ledger fills in the rest.
func Held(r policy.Request) policy.RecordBody {
	return policy.RecordBody{Event: policy.EventHeld, By: r.Actor, To: policy.StateHeld, Detail: map[string]string{"plan": r.Plan.Summary}}
}
