package policy_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/policytest"
)

// The seed is fixed, so that a build means the same everywhere;
// VPSGUARD_TEST_RANDOM=1 lets rapid draw its own.
func TestMain(m *testing.M) {
	flag.Parse()
	if os.Getenv("VPSGUARD_TEST_RANDOM") == "" && !slices.ContainsFunc(os.Args, func(a string) bool { return len(a) > 12 && a[:12] == "-rapid.seed=" }) {
		_ = flag.Set("rapid.seed", "20250117")
	}
	os.Exit(m.Run())
}

const actionsARun = 110 // × 100 runs: more than 10,000 steps

// world is what the property test drives: two processes on one ledger, and a
// VPS.org that fails now and then.
type world struct {
	*house
	t     *rapid.T
	procs [2]*policy.Service
	twos  int // how many people deletes take, as the rules in force say

	foreign []int64 // snapshots that somebody else made

	shown  []shownForm     // in clients of the second process, where forms count
	filled map[string]bool // requests that somebody has filled a form in for, as it should be
}

// shownForm is a form as a client has it.
type shownForm struct {
	call policy.Call
	st   policy.Standing
	over bool // it was answered, as the client was told
}

func (w *world) start(i int) {
	w.procs[i] = w.service(func(c *policy.Config) {
		if i == 1 {
			forms(c)
		}
		c.Judge = func(_ context.Context, f policy.Facts) (policy.Conditions, error) {
			if f.Plan.Effect == policy.Delete {
				return policy.Conditions{Approvals: w.twos}, nil
			}
			return policy.Conditions{}, nil
		}
	})
}

// permitted checks, at the moment of sending, all that must be true then.
func (w *world) permitted(p policy.Permit) {
	r, err := w.ledger.Request(context.Background(), p.Request().ID)
	require.NoError(w.t, err)
	require.Equal(w.t, policy.StateRunning, r.State)
	require.Equal(w.t, policy.StepStarted, r.Steps[r.Current()].State, "the start is durable before the act")
	require.Equal(w.t, p.Step().Name, r.Steps[r.Current()].Name)
	for i, s := range r.Steps {
		require.Equal(w.t, i < r.Current(), s.State == policy.StepDone, "in their order, and nothing behind one of which something is not known")
		require.True(w.t, i <= r.Current() || s.State == policy.StepWaiting)
	}
	if len(r.Plan.Targets) > 0 {
		require.Equal(w.t, r.Plan.Targets[r.Current()].Point, *p.Target())
		w.alone(r)
	}
	events := w.events(r.ID)
	require.Equal(w.t, "operation.started", events[len(events)-1], "and it has its record")
	if !r.Effect.Destroys() {
		return
	}
	people := map[string]bool{}
	for _, a := range r.Approvals {
		require.Equal(w.t, r.Plan.Digest, a.Digest)
		if a.Way == policy.WayElicitation {
			require.Equal(w.t, policy.Claimed, a.Assurance)
			require.Equal(w.t, r.Actor.Key(), a.By.Key())
			require.True(w.t, w.filled[r.ID], "%s: nobody has filled in its form", r.ID)
		} else {
			require.Equal(w.t, policy.Local, a.Assurance)
			require.NotEqual(w.t, policy.DoorMCP, a.By.Door)
		}
		people[a.By.Key()] = true
	}
	require.GreaterOrEqual(w.t, len(people), max(r.Conditions.Approvals, 1), "%s was sent without its people", r.ID)
	if p.Step().Effect == policy.Overwrite || p.Step().Effect == policy.Delete {
		t := p.Target()
		has := w.fake.HasSnapshot
		if t.Kind == "backup" {
			has = w.fake.HasBackup
		}
		require.True(w.t, has(t.ID), "what was shown is still there")
	}
}

// alone checks what holds when one of several targets is deleted: nothing else runs on
// the server, it stays with as many good ones as were asked for, and no open request
// uses it.
func (w *world) alone(r policy.Request) {
	open, _, err := w.ledger.Requests(context.Background(), policy.Filter{ServerID: r.Plan.Server.ID, States: policy.OpenStates()})
	require.NoError(w.t, err)
	target := r.Plan.Targets[r.Current()].Point
	for _, o := range open {
		if o.ID != r.ID {
			require.NotEqual(w.t, policy.StateRunning, o.State, "%s runs beside %s", o.ID, r.ID)
			require.False(w.t, o.At(w.clock.Now()).State.Open() && o.Uses(target), "%s uses what %s deletes", o.ID, r.ID)
		}
	}
	require.NotContains(w.t, w.foreign, target.ID, "only what is ours")
}

func TestNothingHappensUnasked(t *testing.T) {
	steps, ends := 0, map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		w := &world{house: newHouse(t), t: t, twos: 1, filled: map[string]bool{}}
		w.sent.check = w.permitted
		w.fake.AddServer(777, "db-1")
		for _, server := range []int64{web, 777} {
			for i := range 2 {
				w.foreign = append(w.foreign,
					w.fake.AddSnapshot(vpsfake.Point{ServerID: server, Name: fmt.Sprint("s", i), CreatedAt: policytest.Start.Add(-time.Hour)}))
			}
			for i := range 4 {
				w.fake.AddSnapshot(vpsfake.Point{ServerID: server, Name: fmt.Sprint("old", i), Description: ours, CreatedAt: policytest.Start.Add(-time.Duration(100+i) * time.Hour)})
			}
		}
		w.start(0)
		w.start(1)
		for range actionsARun {
			rapid.SampledFrom(actions).Draw(t, "action").do(w, w.procs[rapid.IntRange(0, 1).Draw(t, "process")])
			steps++
		}
		w.fake.Heal()
		w.ledger.Heal()
		for range 8 { // whatever is open comes to an end, or waits honestly
			w.clock.Advance(20 * time.Minute)
			w.pass(w.procs[0], 3*poll)
		}
		w.sound()
		w.counted()
		all, _, err := w.ledger.Requests(context.Background(), policy.Filter{})
		require.NoError(t, err)
		for _, r := range all {
			what := string(r.Effect)
			if len(r.Plan.Targets) > 0 {
				what = "prune"
			}
			ends[what+" "+string(r.State)]++
			for _, a := range r.Approvals {
				ends["approvals by "+string(a.Way)]++
			}
		}
		ends["overwrites sent"] += w.fake.Sent(vpsfake.Overwrite)
		ends["deletes sent"] += w.fake.Sent(vpsfake.Delete)
	})
	t.Logf("%d steps, seed %s, requests by their end: %v", steps, flag.Lookup("rapid.seed").Value, ends)
}

// counted compares VPS.org's own count with the ledger: nothing arrived there
// that was not handed over once, and nothing is open but what is uncertain.
func (w *world) counted() {
	require.LessOrEqual(w.t, len(w.fake.Mutations()), len(w.sent.count))
	all, _, err := w.ledger.Requests(context.Background(), policy.Filter{})
	require.NoError(w.t, err)
	done := map[policy.Effect]int{}
	for _, r := range all {
		r = r.At(w.clock.Now())
		if r.State == policy.StateDone && r.Effect.Destroys() {
			if !strings.Contains(r.Why, "not watched") { // accepted is all that is known then
				done[r.Effect]++
			}
			if !r.Steps[len(r.Steps)-1].LostAt.IsZero() {
				continue // proven by reading, or settled by a person
			}
			for i, s := range r.Steps {
				require.Equal(w.t, 1, w.sent.count[sending(r, i)], "%s is done, but %s was not sent", r.ID, s.Name)
			}
		}
		require.NotContains(w.t, []policy.State{policy.StateHeld, policy.StateApproved}, r.State, "%s waits for ever: %s", r.ID, r.Why)
		for i, s := range r.Steps {
			if s.State == policy.StepWaiting {
				require.Zero(w.t, w.sent.count[sending(r, i)], "%s was sent, and is told not to have been", s.Name)
			}
		}
	}
	require.LessOrEqual(w.t, done[policy.Overwrite], w.fake.Count(vpsfake.Overwrite)+w.settled(policy.Overwrite))
}

// settled counts what a person called done, true or not.
func (w *world) settled(e policy.Effect) (n int) {
	for _, rec := range w.ledger.Records() {
		if b, err := rec.Parse(); err == nil && b.Event == policy.EventSettled && b.To == policy.StateDone {
			if w.get(b.Request).Effect == e {
				n++
			}
		}
	}
	return n
}

type action struct {
	name string
	do   func(*world, *policy.Service)
}

func (a action) String() string { return a.name }

var actions = []action{
	{"call", (*world).anyCall},
	{"call", (*world).anyCall},
	{"call", (*world).anyCall},
	{"agree", func(w *world, s *policy.Service) { w.anyVerdict(s, policy.StateHeld, (*policy.Service).Decide) }},
	{"agree", func(w *world, s *policy.Service) { w.anyVerdict(s, policy.StateHeld, (*policy.Service).Decide) }},
	{"prune", (*world).anyPrune},
	{"agree", func(w *world, s *policy.Service) { w.anyVerdict(s, policy.StateHeld, (*policy.Service).Decide) }},
	{"show a form", (*world).anyForm},
	{"answer a form", (*world).anyAnswer},
	{"answer a form", (*world).anyAnswer},
	{"deny", func(w *world, s *policy.Service) {
		if rapid.IntRange(0, 3).Draw(w.t, "really") == 0 {
			w.anyVerdict(s, policy.StateHeld, (*policy.Service).Deny)
		}
	}},
	{"settle", func(w *world, s *policy.Service) {
		w.anyVerdict(s, policy.StateUncertain, func(s *policy.Service, ctx context.Context, id string, v policy.Verdict) (policy.Request, error) {
			return s.Settle(ctx, id, v, rapid.SampledFrom([]policy.State{policy.StateDone, policy.StateFailed}).Draw(w.t, "as"))
		})
	}},
	{"cancel", func(w *world, s *policy.Service) {
		if r, ok := w.anyRequest(policy.OpenStates()...); ok && rapid.IntRange(0, 3).Draw(w.t, "really") == 0 {
			_, _ = s.Cancel(context.Background(), r.ID, rapid.SampledFrom([]policy.Actor{agent, other, ada}).Draw(w.t, "who"))
		}
	}},
	{"work", func(w *world, s *policy.Service) { w.work(s) }},
	{"work", func(w *world, s *policy.Service) { w.work(s) }},
	{"nudge one twice", func(w *world, s *policy.Service) {
		if r, ok := w.anyRequest(policy.OpenStates()...); ok {
			_, _ = s.Advance(context.Background(), r.ID)
			_, _ = w.procs[0].Advance(context.Background(), r.ID)
		}
	}},
	{"sweep", func(w *world, s *policy.Service) { _, _ = s.Sweep(context.Background()) }},
	{"time", func(w *world, s *policy.Service) {
		w.clock.Advance(rapid.SampledFrom([]time.Duration{time.Second, 11 * time.Second, time.Minute, 5 * time.Minute, 16 * time.Minute}).Draw(w.t, "jump"))
		w.work(s)
	}},
	{"VPS.org fails", func(w *world, _ *policy.Service) {
		w.fake.Inject(vpsfake.Fault{
			Name: rapid.SampledFrom([]string{
				vpsfake.Error500, vpsfake.Error500Acted, vpsfake.ResetActed, vpsfake.CutJSON, vpsfake.CutJSONActed, vpsfake.HTMLActed,
				vpsfake.Forbidden, vpsfake.Conflict, vpsfake.NotFound, vpsfake.RestoreVanishes, vpsfake.CreateVanishes, vpsfake.CreateSticks,
			}).Draw(w.t, "fault"),
			Method: rapid.SampledFrom([]string{"POST", "DELETE"}).Draw(w.t, "method"), Times: 1,
		})
	}},
	{"reads fail", func(w *world, s *policy.Service) {
		w.fake.Inject(vpsfake.Fault{Name: vpsfake.Error500, Method: "GET", Times: 4})
		w.work(s)
		w.fake.Heal()
	}},
	{"a commit fails", func(w *world, _ *policy.Service) {
		w.ledger.FailCommits(rapid.IntRange(1, 3).Draw(w.t, "commits"),
			rapid.SampledFrom([]policytest.Fault{policytest.CommitFailed, policytest.CommitLost}).Draw(w.t, "how"))
	}},
	{"a process dies and comes back", func(w *world, _ *policy.Service) {
		w.ledger.Heal()
		w.start(rapid.IntRange(0, 1).Draw(w.t, "which"))
	}},
	{"the world moves", func(w *world, _ *policy.Service) {
		switch rapid.IntRange(0, 4).Draw(w.t, "how") {
		case 0:
			w.fake.AddSnapshot(vpsfake.Point{ServerID: 777, Name: "auto", CreatedAt: w.clock.Now()})
		case 1:
			w.fake.DenyServers(rapid.Bool().Draw(w.t, "deny"))
		case 2:
			w.fake.SetServerStatus(777, rapid.SampledFrom([]string{"active", "stopped"}).Draw(w.t, "status"))
		case 3:
			w.twos = rapid.IntRange(0, 2).Draw(w.t, "people")
		default:
			w.fake.RenameServer(777, rapid.SampledFrom([]string{"db-1", "db-2"}).Draw(w.t, "name"))
		}
	}},
}

func (w *world) anyRequest(states ...policy.State) (policy.Request, bool) {
	found, _, err := w.ledger.Requests(context.Background(), policy.Filter{States: states})
	require.NoError(w.t, err)
	if len(found) == 0 {
		return policy.Request{}, false
	}
	return rapid.SampledFrom(found).Draw(w.t, "request"), true
}

func (w *world) anyVerdict(s *policy.Service, in policy.State, f func(*policy.Service, context.Context, string, policy.Verdict) (policy.Request, error)) {
	r, ok := w.anyRequest(in)
	if !ok {
		return
	}
	v := yes(r, rapid.SampledFrom([]policy.Actor{ada, ada, grace, agent}).Draw(w.t, "who"))
	switch rapid.IntRange(0, 12).Draw(w.t, "mistake") {
	case 0:
		v.Typed = "web-server-02"
	case 1:
		v.Digest = "stale"
	case 2:
		v.Secret = "guess"
	case 3:
		v.Way = policy.WayElicitation
	}
	_, _ = f(s, context.Background(), r.ID, v)
}

// anyForm has a client call that can show forms.
func (w *world) anyForm(*policy.Service) {
	s := w.procs[1] // where forms count
	op, args := w.anyWish()
	c := policy.Call{Actor: rapid.SampledFrom([]policy.Actor{agent, other}).Draw(w.t, "who"), Operation: op, Arguments: json.RawMessage("{" + args + "}"), Asks: true}
	out, err := s.Call(context.Background(), c)
	if err == nil && out.Standing.Form != nil {
		w.shown = append(w.shown, shownForm{call: c, st: *out.Standing})
	}
}

// anyAnswer answers a form that was shown, as it should be or not, soon or late.
func (w *world) anyAnswer(s *policy.Service) {
	if len(w.shown) == 0 {
		return
	}
	f := &w.shown[len(w.shown)-1]
	if rapid.IntRange(0, 2).Draw(w.t, "old") == 0 {
		f = &w.shown[rapid.IntRange(0, len(w.shown)-1).Draw(w.t, "form")]
	} else {
		s = w.procs[1]
	}
	c := with(f.call, filled(f.st))
	mistake := rapid.IntRange(0, 14).Draw(w.t, "mistake")
	switch mistake {
	case 0:
		c.Answer.Typed = "web-server-02"
	case 1:
		c.Answer.Accepted = false
	case 2:
		c.Answer.State = flipped(c.Answer.State)
	case 3:
		c.Actor = anyone
	case 4:
		c.Arguments = json.RawMessage(strings.Replace(string(c.Arguments), `"reason":"x"`, `"reason":"y"`, 1))
	case 5:
		c.Asks = false
	case 6:
		c.Answer.State = ""
	default:
		w.filled[f.st.Request.ID] = w.filled[f.st.Request.ID] || !f.over
	}
	out, err := s.Call(context.Background(), c)
	f.over = f.over || err == nil && out.Standing != nil && (strings.Contains(out.Standing.Note, "declined") || strings.Contains(out.Standing.Note, "asked for"))
}

func (w *world) anyCall(s *policy.Service) {
	op, args := w.anyWish()
	_, _ = call(s, rapid.SampledFrom([]policy.Actor{agent, other, anyone}).Draw(w.t, "who"), op, args)
}

func (w *world) anyWish() (op, args string) {
	server := rapid.SampledFrom([]string{"12345", "777", "db-1"}).Draw(w.t, "server")
	kind := rapid.SampledFrom([]string{"snapshot", "backup"}).Draw(w.t, "kind")
	verb := rapid.SampledFrom([]string{"restore", "restore", "delete", "delete", "create"}).Draw(w.t, "verb")
	args = fmt.Sprintf(`"server":%q`, server)
	switch {
	case verb != "create":
		args += fmt.Sprintf(`,"%s_id":%d,"reason":"x"`, kind, w.anyPoint(kind))
		if verb == "restore" {
			args += fmt.Sprintf(`,"safety_copy":%t`, rapid.Bool().Draw(w.t, "copy"))
		}
	case kind == "snapshot":
		args += fmt.Sprintf(`,"name":"n%d"`, rapid.IntRange(0, 5).Draw(w.t, "name"))
	}
	return verb + "_" + kind, args
}

func (w *world) anyPrune(s *policy.Service) {
	args := fmt.Sprintf(`"server":%q,"keep":%d,"reason":"x"`,
		rapid.SampledFrom([]string{"12345", "777"}).Draw(w.t, "server"), rapid.IntRange(1, 4).Draw(w.t, "keep"))
	_, _ = call(s, rapid.SampledFrom([]policy.Actor{agent, other, anyone}).Draw(w.t, "who"), "prune_snapshots", args)
}

func (w *world) anyPoint(kind string) int64 {
	if kind == "backup" {
		return rapid.SampledFrom([]int64{501, 499, 495, 502}).Draw(w.t, "point")
	}
	return rapid.Int64Range(798, 808).Draw(w.t, "point")
}
