package policy_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/policytest"
)

// forms makes a process in which what people fill in in their clients counts.
func forms(c *policy.Config) { c.Ways = []policy.Way{policy.WayTerminal, policy.WayElicitation} }

// formCall is a call of a client that can show forms.
func formCall(args string) policy.Call {
	return policy.Call{Actor: agent, Operation: "restore_snapshot", Arguments: json.RawMessage("{" + args + "}"), Asks: true}
}

// stands makes a call, and gives how its request stands.
func (h *house) stands(s *policy.Service, c policy.Call) policy.Standing {
	out, err := s.Call(context.Background(), c)
	require.NoError(h.tb, err)
	require.NotNil(h.tb, out.Standing)
	return *out.Standing
}

// asked makes a call to which a form is shown.
func (h *house) asked(s *policy.Service, c policy.Call) policy.Standing {
	st := h.stands(s, c)
	require.NotNil(h.tb, st.Form, st.Note)
	require.Equal(h.tb, policy.StateHeld, h.get(st.Request.ID).State, "it is in the ledger before anybody is asked")
	return st
}

// filled is the answer of somebody who agrees.
func filled(st policy.Standing) *policy.FormAnswer {
	return &policy.FormAnswer{
		State: st.Form.State, Accepted: true, Typed: st.Request.Plan.Server.Typed(), Proof: map[string]string{"client": "test"},
	}
}

// with gives a call with an answer.
func with(c policy.Call, a *policy.FormAnswer) policy.Call {
	c.Answer = a
	return c
}

func TestAFormThatIsFilledInIsOneClaimedApproval(t *testing.T) {
	h := newHouse(t)
	s := h.service(forms)
	c := formCall(restore801)
	st := h.asked(s, c)
	assert.Equal(t, h.clock.Now().Add(5*time.Minute), st.Form.Until)
	assert.Empty(t, h.get(st.Request.ID).Approvals)

	got := h.stands(s, with(c, filled(st)))
	assert.Nil(t, got.Form)
	assert.Equal(t, policy.StateApproved, got.Request.State, got.Note)
	assert.Contains(t, got.Note, "what this client says")
	require.Len(t, got.Request.Approvals, 1)
	a := got.Request.Approvals[0]
	assert.Equal(t, policy.Claimed, a.Assurance)
	assert.Equal(t, policy.WayElicitation, a.Way)
	assert.Equal(t, agent.Key(), a.By.Key())
	assert.Equal(t, st.Request.Plan.Digest, a.Digest)
	assert.Equal(t, "test", a.Proof["client"])
	assert.NotEmpty(t, a.Proof["form"])
	h.pass(s, 20*time.Minute)
	assert.Equal(t, policy.StateDone, h.get(st.Request.ID).State)
	assert.Equal(t, 1, h.destroyed())
	h.sound()
}

// TestFormsAreOnlyShownWhereTheirAnswerCounts: everybody else is held at once.
func TestFormsAreOnlyShownWhereTheirAnswerCounts(t *testing.T) {
	two := policy.Conditions{Approvals: 2}
	for name, c := range map[string]struct {
		config func(*policy.Config)
		call   func(*policy.Call)
		ways   []policy.Way // with which it is held
		shown  bool
	}{
		"a client with forms": {nil, nil, []policy.Way{policy.WayTerminal, policy.WayElicitation}, true},
		"a client without":    {nil, func(c *policy.Call) { c.Asks = false }, []policy.Way{policy.WayTerminal, policy.WayElicitation}, false},
		"the operator did not write it down": {
			func(c *policy.Config) { c.Ways = []policy.Way{policy.WayTerminal} }, nil, []policy.Way{policy.WayTerminal}, false,
		},
		"a person in Slack asks":       {nil, func(c *policy.Call) { c.Actor = anyone }, []policy.Way{policy.WayTerminal}, false},
		"whoever asked does not count": {judge(policy.Conditions{NotRequester: true}), nil, []policy.Way{policy.WayTerminal}, false},
		"approvers are named":          {judge(policy.Conditions{Approvers: [][]string{{"terminal", "U1"}}}), nil, []policy.Way{policy.WayTerminal}, false},
		"it takes two":                 {judge(two), nil, []policy.Way{policy.WayTerminal, policy.WayElicitation}, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			s := h.service(forms, func(p *policy.Config) {
				if c.config != nil {
					c.config(p)
				}
			})
			made := formCall(restore801)
			if c.call != nil {
				c.call(&made)
			}
			st := h.stands(s, made)
			assert.Equal(t, policy.StateHeld, st.Request.State)
			assert.Equal(t, c.ways, st.Request.Conditions.Ways)
			assert.Equal(t, c.shown, st.Form != nil)
		})
	}
	h := newHouse(t)
	s := h.service(forms, judge(policy.Conditions{NotRequester: true}), func(c *policy.Config) { c.Ways = c.Ways[1:] })
	_, err := s.Call(context.Background(), formCall(restore801))
	says(t, err, policy.Forbidden, "nobody can confirm")
}

// judge has rules ask for something more.
func judge(more policy.Conditions) func(*policy.Config) {
	return func(c *policy.Config) {
		c.Judge = func(context.Context, policy.Facts) (policy.Conditions, error) { return more, nil }
	}
}

// TestAnswersThatApproveNothing: each is refused, recorded, and told to the caller.
func TestAnswersThatApproveNothing(t *testing.T) {
	const restore798 = `"server":"web-server-01","snapshot_id":798,"reason":"bad deploy"`
	for name, c := range map[string]struct {
		change func(*house, *policy.Service, *policy.Call) // of the call that brings the right answer
		note   string
	}{
		"no state":          {func(_ *house, _ *policy.Service, c *policy.Call) { c.Answer.State = "" }, "no form was shown"},
		"another's state":   {func(_ *house, _ *policy.Service, c *policy.Call) { c.Answer.State = "bm90IG91cnM" }, "no form of this vpsguard"},
		"no base64":         {func(_ *house, _ *policy.Service, c *policy.Call) { c.Answer.State = "{}" }, "no form of this vpsguard"},
		"a tampered state":  {func(_ *house, _ *policy.Service, c *policy.Call) { c.Answer.State = flipped(c.Answer.State) }, "no form of this vpsguard"},
		"a longer state":    {func(_ *house, _ *policy.Service, c *policy.Call) { c.Answer.State += "AAAA" }, "no form of this vpsguard"},
		"an expired state":  {func(h *house, _ *policy.Service, _ *policy.Call) { h.clock.Advance(5 * time.Minute) }, "could be answered until"},
		"another caller":    {func(_ *house, _ *policy.Service, c *policy.Call) { c.Actor = other }, "another caller"},
		"another operation": {func(_ *house, _ *policy.Service, c *policy.Call) { c.Operation = "delete_snapshot" }, "another call"},
		"another snapshot": {func(_ *house, _ *policy.Service, c *policy.Call) {
			c.Arguments = json.RawMessage("{" + restore798 + "}")
		}, "another call"},
		"another reason": {func(_ *house, _ *policy.Service, c *policy.Call) {
			c.Arguments = json.RawMessage(`{"server":"web-server-01","snapshot_id":801,"reason":"other"}`)
		}, "another call"},
		"a client without forms": {func(_ *house, _ *policy.Service, c *policy.Call) { c.Asks = false }, "does not say that it can show forms"},
		"declined or cancelled":  {func(_ *house, _ *policy.Service, c *policy.Call) { c.Answer.Accepted = false }, "declined, or no prompt was shown"},
		"an empty form":          {func(_ *house, _ *policy.Service, c *policy.Call) { c.Answer.Typed = "" }, `"" is not what was asked for`},
		"another name":           {func(_ *house, _ *policy.Service, c *policy.Call) { c.Answer.Typed = "web-server-02" }, "is not what was asked for"},
		"the name with a blank":  {func(_ *house, _ *policy.Service, c *policy.Call) { c.Answer.Typed += " " }, "is not what was asked for"},
		"a replay": {func(h *house, s *policy.Service, c *policy.Call) {
			a := *c.Answer
			a.Typed = "wrong"
			st := h.stands(s, with(*c, &a))
			require.Contains(t, st.Note, "is not what was asked for")
		}, "answered already"},
		"a replay after a decline": {func(h *house, s *policy.Service, c *policy.Call) {
			h.stands(s, with(*c, &policy.FormAnswer{State: c.Answer.State}))
		}, "answered already"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			s := h.service(forms)
			call := formCall(restore801)
			st := h.asked(s, call)
			call.Answer = filled(st)
			c.change(h, s, &call)
			got := h.stands(s, call)
			assert.Contains(t, got.Note, "approved nothing")
			assert.Contains(t, got.Note, c.note)
			assert.Nil(t, got.Form, "nobody is asked again at once")
			assert.Equal(t, policy.StateHeld, got.Request.State)
			assert.Equal(t, policy.StateHeld, h.get(st.Request.ID).State)
			assert.Contains(t, h.events(st.Request.ID), "approval.refused")
			h.pass(s, time.Minute)
			assert.Zero(t, h.destroyed())
			h.sound()
		})
	}
}

// flipped changes one bit in the middle of a state.
func flipped(state string) string {
	raw, err := base64.RawURLEncoding.DecodeString(state)
	if err != nil {
		panic(err)
	}
	raw[len(raw)/2] ^= 1
	return base64.RawURLEncoding.EncodeToString(raw)
}

// TestAnAnswerThatComesLate: whatever became of the request is told truly, and no
// other is filed in its place.
func TestAnAnswerThatComesLate(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		meanwhile func(*house, *policy.Service, policy.Request)
		state     policy.State
		note      string
	}{
		"approved": {func(h *house, s *policy.Service, r policy.Request) { h.approve(s, r, ada) }, policy.StateApproved, "was approved already, by Ada (terminal)"},
		"denied": {func(h *house, s *policy.Service, r policy.Request) {
			_, err := s.Deny(ctx, r.ID, yes(r, ada))
			require.NoError(t, err)
		}, policy.StateDenied, "denied by Ada"},
		"withdrawn": {func(h *house, s *policy.Service, r policy.Request) {
			_, err := s.Cancel(ctx, r.ID, agent)
			require.NoError(t, err)
		}, policy.StateCancelled, "withdrawn"},
		"expired": {func(h *house, _ *policy.Service, _ policy.Request) { h.clock.Advance(30 * time.Minute) }, policy.StateExpired, "could be answered until"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			s := h.service(forms)
			call := formCall(restore801)
			st := h.asked(s, call)
			c.meanwhile(h, s, st.Request)
			got := h.stands(s, with(call, filled(st)))
			assert.Equal(t, st.Request.ID, got.Request.ID)
			assert.Equal(t, c.state, got.Request.State)
			assert.Contains(t, got.Note, c.note)
			assert.Contains(t, h.events(st.Request.ID), "approval.refused")
			_, total, err := h.ledger.Requests(ctx, policy.Filter{})
			require.NoError(t, err)
			assert.Equal(t, 1, total)
		})
	}
}

// TestAFormFromBeforeTheConfigurationChanged: what counts is what is in force
// where it is answered.
func TestAFormFromBeforeTheConfigurationChanged(t *testing.T) {
	h := newHouse(t)
	call := formCall(restore801)
	st := h.asked(h.service(forms), call)
	for name, c := range map[string]struct {
		config func(*policy.Config)
		note   string
	}{
		"forms count no longer":        {func(c *policy.Config) { c.Ways = c.Ways[:1] }, "does not count here"},
		"whoever asked does not count": {judge(policy.Conditions{NotRequester: true}), "somebody else than whoever asked"},
		"approvers are named":          {judge(policy.Conditions{Approvers: [][]string{{"terminal"}}}), "not among those who may approve"},
		"it is forbidden":              {judge(policy.Conditions{Refused: "change freeze"}), "change freeze"},
	} {
		again := h.asked(h.service(forms), call)
		got := h.stands(h.service(forms, c.config), with(call, filled(again)))
		assert.Equal(t, policy.StateHeld, got.Request.State, name)
		assert.Contains(t, got.Note, c.note, name)
	}
	before := len(h.events(st.Request.ID))
	readOnly := h.service(forms, func(c *policy.Config) { c.ReadOnly = true })
	_, err := readOnly.Call(context.Background(), with(call, filled(st)))
	says(t, err, policy.Forbidden, "read-only")
	reader := with(call, filled(st))
	reader.Actor.Role = policy.RoleRead
	_, err = h.service(forms).Call(context.Background(), reader)
	says(t, err, policy.Forbidden, "may read")
	assert.Len(t, h.events(st.Request.ID), before+2, "both are recorded too")
	assert.Equal(t, policy.StateHeld, h.get(st.Request.ID).State)
	assert.Zero(t, h.destroyed())
}

// TestWhereItTakesTwoAFormIsOne of them at most.
func TestWhereItTakesTwoAFormIsOne(t *testing.T) {
	h := newHouse(t)
	people := map[string]string{agent.Key(): "Ada", grace.Key(): "Grace"}
	s := h.service(forms, judge(policy.Conditions{Approvals: 2}), func(c *policy.Config) {
		c.Person = func(a policy.Actor) string { return people[a.Key()] }
	})
	call := formCall(restore801)
	st := h.asked(s, call)
	got := h.stands(s, with(call, filled(st)))
	assert.Equal(t, policy.StateHeld, got.Request.State)
	assert.Equal(t, 1, got.Agreed)
	again := h.stands(s, call)
	assert.Nil(t, again.Form, "the same caller is not asked twice")
	h.approve(s, got.Request, grace)
	assert.Equal(t, policy.StateApproved, h.get(st.Request.ID).State)
}

// TestAnAnswerCountsOnce, however often and wherever it arrives at once.
func TestAnAnswerCountsOnce(t *testing.T) {
	h := newHouse(t)
	// With two needed, the first approval leaves the request held, so that nothing
	// but the form's being spent keeps the second answer out.
	services := []*policy.Service{h.service(forms, judge(policy.Conditions{Approvals: 2})), h.service(forms, judge(policy.Conditions{Approvals: 2}))}
	call := formCall(restore801)
	st := h.asked(services[0], call)
	var all sync.WaitGroup
	notes := make([]string, 20)
	for i := range notes {
		all.Go(func() { notes[i] = h.stands(services[i%2], with(call, filled(st))).Note })
	}
	all.Wait()
	counted := 0
	for _, n := range notes {
		if strings.Contains(n, "counts as one approval") {
			counted++
		} else {
			assert.Contains(t, n, "answered already")
		}
	}
	assert.Equal(t, 1, counted)
	assert.Len(t, h.get(st.Request.ID).Approvals, 1)
	refusals := strings.Count(strings.Join(h.events(st.Request.ID), " "), "approval.refused")
	assert.Equal(t, 19, refusals)
	for range 5 {
		h.stands(services[0], with(call, filled(st)))
	}
	refusals = strings.Count(strings.Join(h.events(st.Request.ID), " "), "approval.refused")
	assert.Equal(t, 20, refusals, "a caller cannot fill the audit")
	h.sound()
}

func TestFormsDoNotWearPeopleDown(t *testing.T) {
	h := newHouse(t)
	s := h.service(forms)
	call := formCall(restore801)
	for range 5 {
		st := h.asked(s, call)
		h.stands(s, with(call, &policy.FormAnswer{State: st.Form.State}))
	}
	st := h.stands(s, call)
	assert.Nil(t, st.Form)
	assert.Equal(t, policy.StateHeld, st.Request.State, "and the other ways are as they were")
	h.approve(s, st.Request, ada)
}

// TestEachOfTwoFormsCanBeAnswered: where a call came twice, people may answer
// the first form.
func TestEachOfTwoFormsCanBeAnswered(t *testing.T) {
	h := newHouse(t)
	a, b := h.service(forms), h.service(forms)
	call := formCall(restore801)
	first, second := h.asked(a, call), h.asked(b, call)
	require.Equal(t, first.Request.ID, second.Request.ID)
	h.stands(a, with(call, &policy.FormAnswer{State: second.Form.State}))
	got := h.stands(b, with(call, filled(first)))
	assert.Equal(t, policy.StateApproved, got.Request.State, got.Note)
}

func TestAFormEndsWithItsRequest(t *testing.T) {
	h := newHouse(t)
	s := h.service(forms, func(c *policy.Config) { c.ApproveWithin = 2 * time.Minute })
	st := h.asked(s, formCall(restore801))
	assert.Equal(t, st.Request.ApproveBy, st.Form.Until)
	// What is remembered of it goes, too.
	h.clock.Advance(2 * time.Hour)
	h.asked(s, formCall(restore801))
	left, err := h.ledger.Notes(context.Background(), "forms", h.clock.Now().Add(24*time.Hour), 10)
	require.NoError(t, err)
	assert.Len(t, left, 1)
}

// TestThereIsNoOtherWayToClaim: no door can make such a verdict, nor deny or
// settle with one.
func TestThereIsNoOtherWayToClaim(t *testing.T) {
	h := newHouse(t)
	s := h.service(forms)
	st := h.asked(s, formCall(restore801))
	r := st.Request
	v := policy.Verdict{By: agent, Way: policy.WayElicitation, Digest: r.Plan.Digest, Typed: "web-server-01", Secret: st.Form.State}
	settle := func(ctx context.Context, id string, v policy.Verdict) (policy.Request, error) {
		return s.Settle(ctx, id, v, policy.StateDone)
	}
	for name, c := range map[string]struct {
		decide func(context.Context, string, policy.Verdict) (policy.Request, error)
		says   string
	}{
		"decide": {s.Decide, "nobody may confirm that way here"}, "deny": {s.Deny, "nobody may confirm that way here"},
		"settle": {settle, "that way of deciding does not count here"},
	} {
		_, err := c.decide(context.Background(), r.ID, v)
		says(t, err, policy.Forbidden, c.says)
		assert.Equal(t, policy.StateHeld, h.get(r.ID).State, name)
	}
	assert.Zero(t, h.destroyed())
}

func TestWhereTheKeyOfFormsIs(t *testing.T) {
	h := newHouse(t)
	call := formCall(restore801)
	st := h.asked(h.service(forms), call)
	key, err := h.ledger.Setting(context.Background(), "state_key")
	require.NoError(t, err)
	require.Len(t, key, 64)
	made := 0
	for _, rec := range h.ledger.Records() {
		assert.NotContains(t, rec.Body, key)
		if strings.Contains(rec.Body, "state_key.made") {
			made++
		}
	}
	assert.Equal(t, 1, made, "it is recorded that there is one")

	own := func(b byte) func(*policy.Config) {
		return func(c *policy.Config) { c.StateKey = []byte(strings.Repeat(string(b), 32)) }
	}
	got := h.stands(h.service(forms, own('x')), with(call, filled(st)))
	assert.Contains(t, got.Note, "no form of this vpsguard", "another key opens nothing")
	st = h.asked(h.service(forms, own('x')), call)
	got = h.stands(h.service(forms, own('x')), with(call, filled(st)))
	assert.Equal(t, policy.StateApproved, got.Request.State, "all processes with the key open each other's")

	_, err = policy.NewService(policy.Config{StateKey: []byte("short")})
	says(t, err, policy.Invalid, "32")
}

// TestALedgerThatFailsMeanwhile holds the request, and nothing is approved twice.
func TestALedgerThatFailsMeanwhile(t *testing.T) {
	for _, fault := range []policytest.Fault{policytest.CommitFailed, policytest.CommitLost} {
		h := newHouse(t)
		s := h.service(forms)
		call := formCall(restore801)
		st := h.asked(s, call)
		h.ledger.FailCommits(1, fault)
		got := h.stands(s, with(call, filled(st)))
		h.ledger.Heal()
		assert.Equal(t, policy.StateHeld, got.Request.State)
		assert.Contains(t, got.Note, "approved nothing")
		st = h.asked(s, call)
		got = h.stands(s, with(call, filled(st)))
		assert.Equal(t, policy.StateApproved, got.Request.State, got.Note)
		h.sound()
	}
}

// TestAHeldCreateIsConfirmedByItsForm too, where a rule holds it.
func TestAHeldCreateIsConfirmedByItsForm(t *testing.T) {
	h := newHouse(t)
	s := h.service(forms, judge(policy.Conditions{Approvals: 1}))
	call := policy.Call{Actor: agent, Operation: "create_snapshot", Arguments: json.RawMessage(`{"server":"web-server-01","name":"before","wait":true}`), Asks: true}
	h.asked(s, call) // at once: there is nothing to wait for before that
	call.Arguments = json.RawMessage(`{"server":"web-server-01","name":"after"}`)
	got := h.stands(s, with(call, filled(h.asked(s, call))))
	assert.Equal(t, policy.StateRunning, got.Request.State, "and it starts")
}

// TestAnAnswerToNothingChangesNothing, where forms do not count at all.
func TestAnAnswerToNothingChangesNothing(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	call := with(formCall(restore801), &policy.FormAnswer{State: "made up", Accepted: true, Typed: "web-server-01"})
	st := h.stands(s, call)
	assert.Empty(t, st.Note)
	assert.Equal(t, []string{"request.held"}, h.events(st.Request.ID))
}
