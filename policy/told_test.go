package policy_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/policytest"
)

var (
	approver = policytest.Person("T1/UAPPROVER")
	stranger = policytest.Person("T1/USTRANGER")
	both     = []policy.Way{policy.WaySlack, policy.WayTerminal}
)

// approvers vouches for some people in Slack, and is in doubt about one.
type approvers struct {
	may, doubt []policy.Actor
	asked      []policy.Actor
}

func (a *approvers) vouch(_ context.Context, w policy.Way, by policy.Actor, among [][]string) ([]string, error) {
	a.asked = append(a.asked, by)
	switch {
	case w != policy.WaySlack:
		return nil, policy.Errorf(policy.Internal, "asked for the way %q", w)
	case slices.Contains(a.doubt, by):
		return nil, policy.Errorf(policy.Unavailable, "Slack does not answer")
	case slices.Contains(a.may, by):
		return slices.DeleteFunc(slices.Concat(among...), func(entry string) bool { return !strings.HasSuffix(by.Subject, entry) }), nil
	default:
		return nil, policy.Errorf(policy.Forbidden, "%s is not an approver", by.Name)
	}
}

// inSlack has Slack count, with approvers.
func inSlack(a *approvers) func(*policy.Config) {
	return func(c *policy.Config) { c.Ways, c.Vouch = both, a.vouch }
}

// clicked is the modal that somebody submits in Slack.
func clicked(r policy.Request, by policy.Actor) policy.Verdict {
	return policy.Verdict{
		By: by, Way: policy.WaySlack, Digest: r.Plan.Digest, Typed: r.Plan.Server.Typed(),
		Proof: map[string]string{"team": "T1", "user": by.Subject, "message": "1700000000.000100"},
	}
}

// last is the last record about a request.
func (h *house) last(id string) (last policy.RecordBody) {
	for _, rec := range h.ledger.Records() {
		if b, err := rec.Parse(); err == nil && b.Request == id {
			last = b
		}
	}
	return last
}

func TestSlackCountsForWhomItVouchesOnly(t *testing.T) {
	unable := func(context.Context, policy.Way, policy.Actor, [][]string) ([]string, error) {
		return nil, policy.Errorf(policy.Unavailable, "Slack does not answer")
	}
	slack := &approvers{may: []policy.Actor{approver}}
	for name, c := range map[string]struct {
		vouch func(context.Context, policy.Way, policy.Actor, [][]string) ([]string, error)
		by    policy.Actor
		kind  policy.Kind // of the refusal
		says  string
	}{
		"nobody to ask":             {nil, approver, policy.Forbidden, "nobody may confirm that way here"},
		"no approver":               {slack.vouch, stranger, policy.Forbidden, "is not an approver"},
		"Slack does not answer":     {unable, approver, policy.Unavailable, "Slack does not answer"},
		"a terminal's user":         {slack.vouch, grace, policy.Forbidden, "does not count here"},
		"a model that names itself": {slack.vouch, agent, policy.Forbidden, "does not count here"},
		"an approver":               {slack.vouch, approver, "", ""},
	} {
		for what, do := range map[string]func(*policy.Service, context.Context, string, policy.Verdict) (policy.Request, error){
			"approving": (*policy.Service).Decide, "denying": (*policy.Service).Deny,
		} {
			t.Run(what+" by "+name, func(t *testing.T) {
				h := newHouse(t)
				s := h.service(func(config *policy.Config) { config.Ways, config.Vouch = both, c.vouch })
				r := h.file(s, agent, "restore_snapshot", restore801)
				v := clicked(r, c.by)
				_, err := do(s, context.Background(), r.ID, v)
				after, last := h.get(r.ID), h.last(r.ID)
				assert.Equal(t, v.By, last.By)
				assert.Equal(t, "slack", last.Detail["way"])
				for k, p := range v.Proof {
					assert.Equal(t, p, last.Detail["proof_"+k], "what the door has is in the record, refused or not")
				}
				if c.kind != "" {
					says(t, err, c.kind, c.says)
					assert.Equal(t, policy.StateHeld, after.State)
					assert.Empty(t, after.Approvals)
					assert.Equal(t, policy.EventRefused, last.Event)
					assert.Equal(t, string(c.kind), last.Detail["kind"])
					assert.Contains(t, last.Detail["why"], c.says)
					h.pass(s, time.Minute)
					assert.Empty(t, h.fake.Mutations())
					h.sound()
					return
				}
				require.NoError(t, err)
				if what == "denying" {
					assert.Equal(t, policy.StateDenied, after.State)
					assert.Equal(t, approver, after.Denial.By)
					return
				}
				assert.Equal(t, policy.StateApproved, after.State)
				require.Len(t, after.Approvals, 1)
				assert.Equal(t, policy.Verified, after.Approvals[0].Assurance)
				assert.Equal(t, v.Proof, after.Approvals[0].Proof)
				assert.Equal(t, "verified", last.Detail["assurance"])
				h.pass(s, 20*time.Minute)
				assert.Equal(t, policy.StateDone, h.get(r.ID).State)
				h.sound()
			})
		}
	}
}

func TestTheTerminalNeedsNobodyInSlack(t *testing.T) {
	h := newHouse(t)
	a := &approvers{}
	s := h.service(inSlack(a))
	first := h.file(s, agent, "restore_snapshot", restore801)
	_, err := s.Deny(context.Background(), first.ID, yes(first, ada))
	require.NoError(t, err)
	second := h.file(s, agent, "delete_snapshot", delete798)
	h.approve(s, second, ada)
	assert.Empty(t, a.asked)
}

func TestWhoMayWithdraw(t *testing.T) {
	requester := policytest.Person("T1/UREQUESTER")
	a := &approvers{may: []policy.Actor{approver, grace}, doubt: []policy.Actor{requester, anyone}}
	terminalOnly := func(c *policy.Config) { c.Vouch = a.vouch }
	for name, c := range map[string]struct {
		of, by policy.Actor
		setup  func(*policy.Config)
		kind   policy.Kind
	}{
		"the requester, though Slack does not answer":   {requester, requester, inSlack(a), ""},
		"another person in Slack":                       {requester, stranger, inSlack(a), policy.Forbidden},
		"another person, of a model's request":          {agent, stranger, inSlack(a), policy.Forbidden},
		"an approver":                                   {requester, approver, inSlack(a), ""},
		"an approver, of a model's request":             {agent, approver, inSlack(a), ""},
		"somebody who may be an approver":               {requester, anyone, inSlack(a), policy.Unavailable},
		"an approver, where Slack does not count":       {requester, approver, terminalOnly, policy.Forbidden},
		"an approver, where there is nobody to ask":     {requester, approver, func(c *policy.Config) { c.Ways = both }, policy.Forbidden},
		"the requester, where there is nobody to ask":   {requester, requester, func(c *policy.Config) { c.Ways = both }, ""},
		"the requester, where Slack does not count":     {requester, requester, terminalOnly, ""},
		"another model":                                 {agent, other, inSlack(a), policy.Forbidden},
		"a model with a requester's name":               {requester, policytest.Agent(requester.Subject), inSlack(a), policy.Forbidden},
		"somebody at the terminal, whom nobody vouches": {requester, ada, inSlack(a), ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			s := h.service(c.setup)
			r := h.file(s, c.of, "restore_snapshot", restore801)
			before := len(h.ledger.Records())
			_, err := s.Cancel(context.Background(), r.ID, c.by)
			if c.kind == "" {
				require.NoError(t, err)
				assert.Equal(t, policy.StateCancelled, h.get(r.ID).State)
				assert.Contains(t, h.get(r.ID).Why, "withdrawn by")
				return
			}
			says(t, err, c.kind)
			assert.Equal(t, r, h.get(r.ID), "nothing was changed")
			assert.Len(t, h.ledger.Records(), before)
		})
	}
}

// A verdict by a way counts where the process and the request both know it.
func TestSlackCountsWhereBothSaySo(t *testing.T) {
	a := &approvers{may: []policy.Actor{approver}}
	t.Run("filed where only the terminal counts", func(t *testing.T) {
		h := newHouse(t)
		r := h.file(h.service(), agent, "restore_snapshot", restore801)
		_, err := h.service(inSlack(a)).Decide(context.Background(), r.ID, clicked(r, approver))
		says(t, err, policy.Forbidden, "filed to be confirmed by a person at the host's terminal, not this way")
		assert.Empty(t, h.get(r.ID).Approvals)
	})
	t.Run("decided where only the terminal counts", func(t *testing.T) {
		h := newHouse(t)
		r := h.file(h.service(inSlack(a)), agent, "restore_snapshot", restore801)
		for _, do := range []func(*policy.Service, context.Context, string, policy.Verdict) (policy.Request, error){
			(*policy.Service).Decide, (*policy.Service).Deny,
		} {
			_, err := do(h.service(func(c *policy.Config) { c.Vouch = a.vouch }), context.Background(), r.ID, clicked(r, approver))
			says(t, err, policy.Forbidden, "does not count here")
			assert.Equal(t, policy.StateHeld, h.get(r.ID).State)
			assert.Equal(t, policy.EventRefused, h.last(r.ID).Event)
		}
	})
	t.Run("started where only the terminal counts", func(t *testing.T) {
		h := newHouse(t)
		s := h.service(inSlack(a))
		r := h.file(s, agent, "restore_snapshot", restore801)
		_, err := s.Decide(context.Background(), r.ID, clicked(r, approver))
		require.NoError(t, err)
		h.pass(h.service(), time.Minute)
		assert.Equal(t, policy.StateApproved, h.get(r.ID).State, "it is left to a process where Slack counts")
		assert.Empty(t, h.fake.Mutations())
		h.pass(h.service(), 10*time.Minute)
		assert.Equal(t, policy.StateExpired, h.get(r.ID).State, "and there was none")
		assert.Empty(t, h.fake.Mutations())
		h.sound()
	})
	t.Run("an approval beside what the request asks for", func(t *testing.T) {
		h := newHouse(t)
		s := h.service(inSlack(a))
		r := h.file(h.service(), agent, "restore_snapshot", restore801)
		require.NoError(t, h.ledger.Change(context.Background(), func(ctx context.Context, tx policy.Tx) error {
			r.State, r.StartBy, r.DueAt = policy.StateApproved, h.clock.Now().Add(time.Hour), h.clock.Now()
			r.Approvals = []policy.Approval{{By: approver, Way: policy.WaySlack, Assurance: policy.Verified, Digest: r.Plan.Digest}}
			_, err := tx.Put(ctx, r, policy.RecordBody{Event: policy.EventApproved, From: policy.StateHeld, To: policy.StateApproved})
			return err
		}))
		h.pass(s, time.Minute)
		assert.Equal(t, policy.StateStale, h.get(r.ID).State)
		assert.Empty(t, h.fake.Mutations())
	})
	t.Run("one of two people in Slack, the other at the terminal", func(t *testing.T) {
		h := newHouse(t)
		s := h.service(inSlack(a), func(c *policy.Config) {
			c.Judge = func(context.Context, policy.Facts) (policy.Conditions, error) {
				return policy.Conditions{Approvals: 2}, nil
			}
			c.Person = policy.Actor.Key // the operator says who is who
		})
		r := h.file(s, agent, "restore_snapshot", restore801)
		_, err := s.Decide(context.Background(), r.ID, clicked(r, approver))
		require.NoError(t, err)
		assert.Equal(t, policy.StateHeld, h.get(r.ID).State)
		_, err = s.Decide(context.Background(), r.ID, clicked(r, approver))
		says(t, err, policy.Conflict, "approved")
		h.approve(s, r, ada)
		assert.Equal(t, policy.StateApproved, h.get(r.ID).State)
	})
}

func TestWhatIsTypedInSlack(t *testing.T) {
	a := &approvers{may: []policy.Actor{approver}}
	loneSnapshot := func(h *house) {
		h.fake.DeleteSnapshotBehindTheBack(798)
		for _, backup := range []int64{501, 499, 495} {
			h.fake.DeleteBackupBehindTheBack(backup)
		}
	}
	for name, c := range map[string]struct {
		operation, args string
		setup           func(*house)
		mustType        bool
	}{
		"a delete that leaves others": {"delete_snapshot", delete801, func(*house) {}, false},
		"a delete of the last good":   {"delete_snapshot", delete801, loneSnapshot, true},
		"an overwrite":                {"restore_snapshot", restore801, func(*house) {}, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			c.setup(h)
			s := h.service(inSlack(a))
			r := h.file(s, agent, c.operation, c.args)
			require.Equal(t, c.mustType && c.operation == "delete_snapshot", r.Plan.LastGood)
			if c.mustType {
				for _, typed := range []string{"", "web-server-02", "WEB-SERVER-01", "web-server-01 "} {
					v := clicked(r, approver)
					v.Typed = typed
					_, err := s.Decide(context.Background(), r.ID, v)
					says(t, err, policy.Invalid, "nothing was approved", "Type web-server-01, exactly")
					assert.Equal(t, policy.StateHeld, h.get(r.ID).State)
					assert.Empty(t, h.get(r.ID).Approvals)
					assert.Equal(t, policy.EventRefused, h.last(r.ID).Event)
				}
			}
			v := clicked(r, approver)
			if !c.mustType {
				v.Typed = ""
			}
			_, err := s.Decide(context.Background(), r.ID, v)
			require.NoError(t, err)
			assert.Equal(t, policy.StateApproved, h.get(r.ID).State)
		})
	}
}

// tellings counts what doors were told since the last time, by request.
func (h *house) tellings() map[string]int {
	out := map[string]int{}
	for _, n := range h.ledger.Told() {
		out[n.ID]++
	}
	h.ledger.TakeTold()
	return out
}

// told does something and checks who was told of, once each.
func (h *house) told(t *testing.T, what string, do func() error, of ...policy.Request) {
	t.Helper()
	h.ledger.TakeTold()
	require.NoError(t, do(), what)
	want := map[string]int{}
	for _, r := range of {
		want[r.ID] = 1
	}
	assert.Equal(t, want, h.tellings(), what)
}

func TestDoorsAreToldOfEveryChange(t *testing.T) {
	ctx := context.Background()
	a := &approvers{may: []policy.Actor{approver}}
	requester := policytest.Person("T1/UREQUESTER")
	for name, c := range map[string]struct {
		of    policy.Actor
		setup func(*policy.Config)
	}{
		"asked for in Slack, confirmed at the terminal": {requester, func(*policy.Config) {}},
		"asked for by a model, confirmed in Slack":      {agent, inSlack(a)},
		"asked for at the terminal, confirmed in Slack": {ada, inSlack(a)},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			s := h.service(c.setup)
			r := h.file(s, c.of, "restore_snapshot", restore801)
			require.True(t, r.Told())
			assert.Equal(t, map[string]int{r.ID: 1}, h.tellings(), "as soon as it is filed")
			h.approve(s, r, ada)
			assert.Equal(t, map[string]int{r.ID: 1}, h.tellings())
			before := len(h.events(r.ID))
			h.pass(s, 20*time.Minute)
			require.Equal(t, policy.StateDone, h.get(r.ID).State)
			assert.Equal(t, map[string]int{r.ID: len(h.events(r.ID)) - before}, h.tellings(), "a telling for each record")
			n, err := h.ledger.Note(ctx, policy.ToldScope(r.Account), r.ID)
			require.NoError(t, err)
			assert.Equal(t, int64(len(h.events(r.ID))), n.Rev)
			h.pass(s, 20*time.Minute)
			assert.Empty(t, h.tellings(), "and nothing once it has ended")
			h.sound()
		})
	}
	t.Run("never of what only the terminal knows", func(t *testing.T) {
		h := newHouse(t)
		s := h.service()
		for _, who := range []policy.Actor{agent, ada} {
			r := h.file(s, who, "restore_snapshot", restore801)
			require.False(t, r.Told())
			h.approve(s, r, grace)
			h.pass(s, 20*time.Minute)
			assert.Equal(t, policy.StateDone, h.get(r.ID).State)
			h.pass(s, time.Minute)
			_, err := h.ledger.Note(ctx, policy.ToldScope(r.Account), r.ID)
			assert.Equal(t, policy.NotFound, policy.KindOf(err))
		}
		h.file(s, agent, "create_backup", `"server":"web-server-01"`)
		h.pass(s, 20*time.Minute)
		assert.Empty(t, h.ledger.Told())
	})
	t.Run("of a create in Slack, which nobody confirms", func(t *testing.T) {
		h := newHouse(t)
		s := h.service(inSlack(a))
		r := h.file(s, requester, "create_backup", `"server":"web-server-01"`)
		h.pass(s, 20*time.Minute)
		require.Equal(t, policy.StateDone, h.get(r.ID).State)
		assert.Equal(t, map[string]int{r.ID: len(h.events(r.ID))}, h.tellings())
		h.file(s, agent, "create_backup", `"server":"web-server-01"`)
		assert.Empty(t, h.tellings(), "a model's is shown to nobody")
	})
}

func TestDoorsAreToldOfTheOthersOnTheServer(t *testing.T) {
	ctx := context.Background()
	a := &approvers{may: []policy.Actor{approver}}
	h := newHouse(t)
	h.fake.AddServer(777, "db-1")
	h.fake.AddSnapshot(vpsfake.Point{ServerID: 777, Name: "s", CreatedAt: policytest.Start.Add(-time.Hour)})
	people := 2
	s := h.service(inSlack(a), func(c *policy.Config) {
		c.Judge = func(context.Context, policy.Facts) (policy.Conditions, error) {
			return policy.Conditions{Approvals: people}, nil
		}
		c.Person = policy.Actor.Key
	})
	terminal := h.service()
	var far, first, second, silent policy.Request
	file := func(r *policy.Request, s *policy.Service, who policy.Actor, operation, args string) func() error {
		return func() (err error) { *r, err = call(s, who, operation, args); return err }
	}
	far = h.file(s, agent, "restore_snapshot", `"server":"db-1","snapshot_id":802,"reason":"x"`)
	silent = h.file(terminal, ada, "delete_snapshot", delete798)
	require.NotEqual(t, far.Plan.Server.ID, silent.Plan.Server.ID)
	h.ledger.TakeTold()
	require.NoError(t, file(&first, s, agent, "restore_snapshot", restore801)())
	assert.Equal(t, map[string]int{first.ID: 1}, h.tellings(), "neither what is elsewhere nor what no door shows")
	require.NoError(t, file(&second, s, other, "restore_snapshot", restore801)())
	assert.Equal(t, map[string]int{first.ID: 1, second.ID: 1}, h.tellings(), "each names the other")
	h.told(t, "repeating what is open", func() error { return file(&second, s, other, "restore_snapshot", restore801)() })

	h.told(t, "the first of two people", func() error { _, err := s.Decide(ctx, first.ID, clicked(first, approver)); return err }, first)
	h.told(t, "a refusal", func() error { _, _ = s.Decide(ctx, first.ID, clicked(first, stranger)); return nil })
	h.told(t, "the second", func() error { _, err := s.Decide(ctx, first.ID, yes(first, ada)); return err }, first, second)
	h.told(t, "withdrawing what no door shows", func() error { _, err := s.Cancel(ctx, silent.ID, ada); return err }, first, second)
	h.told(t, "withdrawing", func() error { _, err := s.Cancel(ctx, first.ID, agent); return err }, first, second)
	h.told(t, "withdrawing again", func() error { _, err := s.Cancel(ctx, first.ID, agent); return err })
	h.told(t, "denying", func() error { _, err := s.Deny(ctx, second.ID, clicked(second, approver)); return err }, second)
	h.ledger.FailNextCommit()
	h.told(t, "what was not stored", func() error { _, _ = s.Cancel(ctx, far.ID, agent); return nil })
	h.told(t, "elsewhere", func() error { _, err := s.Cancel(ctx, far.ID, agent); return err }, far)

	people = 1
	third := h.file(s, agent, "restore_snapshot", `"server":"db-1","snapshot_id":802,"reason":"y"`)
	h.ledger.TakeTold()
	h.clock.Advance(31 * time.Minute)
	h.told(t, "a clock that ran out", func() error { _, err := s.Sweep(ctx); return err }, third)
	h.sound()
}

func TestWhereACallCameFrom(t *testing.T) {
	h := newHouse(t)
	s := h.service(inSlack(&approvers{}))
	from := func(who policy.Actor, place string) (policy.Request, error) {
		out, err := s.Call(context.Background(), policy.Call{
			Actor: who, Operation: "restore_snapshot", Arguments: json.RawMessage("{" + restore801 + "}"), Place: place,
		})
		if err != nil {
			return policy.Request{}, err
		}
		return out.Standing.Request, nil
	}
	_, err := from(agent, strings.Repeat("x", 501))
	says(t, err, policy.Internal, "501 bytes")
	_, total, err := h.ledger.Requests(context.Background(), policy.Filter{})
	require.NoError(t, err)
	assert.Zero(t, total, "nothing was filed")

	const marker = "C0SECRETCHANNEL"
	long := marker + strings.Repeat("x", 500-len(marker))
	var all []policy.Request
	for place, who := range map[string]policy.Actor{"": agent, marker + " 1700000000.000100": other, long: anyone} {
		r, err := from(who, place)
		require.NoError(t, err)
		assert.Equal(t, place, h.get(r.ID).Place)
		all = append(all, r)
	}
	for _, r := range all {
		assert.Equal(t, all[0].Plan.Digest, r.Plan.Digest, "the plan is the same wherever it was asked for")
		assert.Equal(t, []string{all[0].Purpose, all[0].Aim}, []string{r.Purpose, r.Aim})
	}
	again, err := from(anyone, "elsewhere")
	require.NoError(t, err)
	assert.Equal(t, long, again.Place, "a repeated call is the request that is open, place and all")

	h.approve(s, all[0], ada)
	h.pass(s, 20*time.Minute)
	require.Equal(t, policy.StateDone, h.get(all[0].ID).State)
	for _, rec := range h.ledger.Records() {
		assert.NotContains(t, rec.Body, marker, "no record tells a place")
	}
	h.sound()
}
