package policy_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/policytest"
)

// ruled is a service under one rule, in a workspace where U1 and U2 are in the
// group S1, and U3 is an approver and in no group. people maps identities.
func (h *house) ruled(c *policy.Conditions, people map[string]string) *policy.Service {
	groups := map[string][]string{"S1": {"U1", "U2"}}
	return h.service(func(config *policy.Config) {
		config.Ways = []policy.Way{policy.WaySlack, policy.WayTerminal}
		config.Judge = func(context.Context, policy.Facts) (policy.Conditions, error) { return *c, nil }
		config.Person = func(a policy.Actor) string { return people[a.Key()] }
		config.Vouch = func(_ context.Context, _ policy.Way, by policy.Actor, among [][]string) (as []string, err error) {
			for _, entry := range slices.Concat(among...) {
				if entry == by.Subject || slices.Contains(groups[entry], by.Subject) {
					as = append(as, entry)
				}
			}
			return as, nil
		}
	})
}

// slackYes is an approval in Slack.
func slackYes(r policy.Request, user string) policy.Verdict {
	return policy.Verdict{By: policytest.Person(user), Way: policy.WaySlack, Digest: r.Plan.Digest, Typed: r.Plan.Server.Typed()}
}

func TestHowManyPeople(t *testing.T) {
	mapped := map[string]string{"slack:U1": "Ada", "terminal:ada": "Ada", "slack:U2": "Grace", "terminal:grace": "Grace", "mcp:os:agent": "Ada"}
	for name, c := range map[string]struct {
		needs  int
		people map[string]string
		by     []string // U… in Slack, others at the terminal
		state  policy.State
	}{
		"one":                               {1, nil, []string{"U1"}, policy.StateApproved},
		"two in Slack are two":              {2, nil, []string{"U1", "U3"}, policy.StateApproved},
		"one here and one there may be one": {2, nil, []string{"U1", "grace"}, policy.StateHeld},
		"one here and one there, one of them mapped":    {2, map[string]string{"slack:U1": "Ada"}, []string{"U1", "grace"}, policy.StateHeld},
		"one here and one there, who are two":           {2, mapped, []string{"U1", "grace"}, policy.StateApproved},
		"one here and one there, who are one":           {2, mapped, []string{"U1", "ada"}, policy.StateHeld},
		"two of one kind that are mapped to one":        {2, map[string]string{"slack:U1": "Ada", "slack:U3": "Ada"}, []string{"U1", "U3"}, policy.StateHeld},
		"three, of whom one cannot be told from others": {3, mapped, []string{"U1", "U2", "grace"}, policy.StateHeld},
		"three": {3, mapped, []string{"U1", "U2", "U3"}, policy.StateApproved},
		"an unmapped one beside a mapped terminal": {2, mapped, []string{"U3", "ada"}, policy.StateHeld},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			s := h.ruled(&policy.Conditions{Approvals: c.needs}, c.people)
			r := h.file(s, agent, "delete_snapshot", delete798)
			for i, who := range c.by {
				require.Equal(t, policy.StateHeld, h.get(r.ID).State, "before number %d", i+1)
				v := slackYes(r, who)
				if !strings.HasPrefix(who, "U") {
					v = yes(r, policy.Actor{Door: policy.DoorTerminal, Subject: who, Name: who, Vouched: "test"})
				}
				_, err := s.Decide(context.Background(), r.ID, v)
				require.NoError(t, err)
			}
			assert.Equal(t, c.state, h.get(r.ID).State)
			h.pass(s, time.Minute)
			if c.state == policy.StateHeld {
				assert.Zero(t, h.destroyed())
			} else {
				assert.Equal(t, 1, h.destroyed())
			}
			h.sound()
		})
	}
}

func TestWhoMayApprove(t *testing.T) {
	for name, c := range map[string]struct {
		lists [][]string
		by    string
		kind  policy.Kind
	}{
		"somebody of the group":           {[][]string{{"S1"}}, "U1", ""},
		"somebody who is named":           {[][]string{{"S9", "U3"}}, "U3", ""},
		"on both lists":                   {[][]string{{"S1"}, {"U2", "U3"}}, "U2", ""},
		"on one list of two":              {[][]string{{"S1"}, {"U2", "U3"}}, "U3", policy.Forbidden},
		"an approver who is not named":    {[][]string{{"S1"}}, "U3", policy.Forbidden},
		"the terminal, where it is named": {[][]string{{"S1", "terminal"}}, "ada", ""},
		"the terminal, where it is not":   {[][]string{{"S1"}}, "ada", policy.Forbidden},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			s := h.ruled(&policy.Conditions{Approvers: c.lists, Rules: []string{"the rule"}}, nil)
			r := h.file(s, agent, "delete_snapshot", delete798)
			v := slackYes(r, c.by)
			if c.by == "ada" {
				v = yes(r, ada)
			}
			_, err := s.Decide(context.Background(), r.ID, v)
			if c.kind == "" {
				require.NoError(t, err)
				assert.Equal(t, policy.StateApproved, h.get(r.ID).State)
				return
			}
			says(t, err, c.kind, "not among those who may approve", "the rule")
			assert.Equal(t, policy.StateHeld, h.get(r.ID).State)
			h.pass(s, time.Minute)
			assert.Zero(t, h.destroyed())
		})
	}
}

func TestWhoeverAskedDoesNotCount(t *testing.T) {
	mapped := map[string]string{"slack:U1": "Ada", "slack:U2": "Grace", "mcp:os:agent": "Ada", "terminal:grace": "Grace"}
	for name, c := range map[string]struct {
		asks   policy.Actor
		people map[string]string
		by     policy.Verdict
		says   []string // nothing: it counts
	}{
		"another in Slack":                    {policytest.Person("U1"), nil, policy.Verdict{By: policytest.Person("U2")}, nil},
		"the same in Slack":                   {policytest.Person("U1"), nil, policy.Verdict{By: policytest.Person("U1")}, []string{"another person"}},
		"the person behind the program":       {agent, mapped, policy.Verdict{By: policytest.Person("U1")}, []string{"another person"}},
		"somebody else than behind it":        {agent, mapped, policy.Verdict{By: policytest.Person("U2")}, nil},
		"a program that nobody stands behind": {agent, map[string]string{"slack:U2": "Grace"}, policy.Verdict{By: policytest.Person("U2")}, []string{"people", "agents: [os:agent]"}},
		"an approver who is not mapped":       {agent, mapped, policy.Verdict{By: policytest.Person("U3")}, []string{"people", "slack: [U3]"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			s := h.ruled(&policy.Conditions{NotRequester: true}, c.people)
			r := h.file(s, c.asks, "delete_snapshot", delete798)
			_, err := s.Decide(context.Background(), r.ID, slackYes(r, c.by.By.Subject))
			if c.says == nil {
				require.NoError(t, err)
				assert.Equal(t, policy.StateApproved, h.get(r.ID).State)
				return
			}
			says(t, err, policy.Forbidden, c.says...)
			assert.Equal(t, policy.StateHeld, h.get(r.ID).State)
		})
	}
}

func TestADelayCanBeCalledBack(t *testing.T) {
	h := newHouse(t)
	s := h.ruled(&policy.Conditions{Delay: 20 * time.Minute}, nil)
	first := h.file(s, agent, "delete_snapshot", delete798)
	second := h.file(s, agent, "delete_snapshot", delete801)
	h.approve(s, first, ada)
	h.approve(s, second, ada)
	h.pass(s, 19*time.Minute)
	assert.Equal(t, policy.StateApproved, h.get(first.ID).State, "longer than the ten minutes in which it would have to start")
	assert.Zero(t, h.destroyed())
	_, err := s.Cancel(context.Background(), second.ID, policytest.Person("U1"))
	require.NoError(t, err, "an approver may call it back")
	h.pass(s, 2*time.Minute)
	assert.Equal(t, policy.StateDone, h.get(first.ID).State, "it runs by itself")
	assert.Equal(t, policy.StateCancelled, h.get(second.ID).State)
	assert.Equal(t, 1, h.destroyed())
	h.sound()
}

func TestShorterClocks(t *testing.T) {
	h := newHouse(t)
	rule := &policy.Conditions{ApproveWithin: 5 * time.Minute, StartWithin: time.Minute}
	s := h.ruled(rule, nil)
	r := h.file(s, agent, "delete_snapshot", delete798)
	assert.Equal(t, 5*time.Minute, r.ApproveBy.Sub(r.FiledAt))
	late := h.file(s, agent, "delete_snapshot", delete801)
	h.approve(s, r, ada)
	assert.Equal(t, time.Minute, h.get(r.ID).StartBy.Sub(h.clock.Now().Truncate(time.Millisecond)))
	h.clock.Advance(5 * time.Minute)
	_, err := s.Decide(context.Background(), late.ID, yes(late, ada))
	says(t, err, policy.Expired, "expired")

	rule.ApproveWithin = time.Hour
	h.clock.Advance(time.Minute)
	long := h.file(s, agent, "delete_snapshot", delete801)
	assert.Equal(t, 30*time.Minute, long.ApproveBy.Sub(long.FiledAt), "rules only shorten")
	rule.ApproveWithin = time.Minute
	h.clock.Advance(2 * time.Minute)
	_, err = s.Decide(context.Background(), long.ID, yes(long, ada))
	says(t, err, policy.Expired, "expired")
}

func TestARequiredSafetyCopy(t *testing.T) {
	h := newHouse(t)
	s := h.ruled(&policy.Conditions{SafetyCopy: true, Rules: []string{"always a copy"}}, nil)
	_, err := call(s, agent, "restore_snapshot", restore801+`,"safety_copy":false`)
	says(t, err, policy.Forbidden, "safety copy", "always a copy")
	h.file(s, agent, "restore_snapshot", restore801)
	h.file(s, agent, "delete_snapshot", delete798)
}

// TestStricterRulesWin changes the rules between the steps of a request's life.
func TestStricterRulesWin(t *testing.T) {
	for name, stricter := range map[string]policy.Conditions{
		"more people":       {Approvals: 2},
		"other approvers":   {Approvers: [][]string{{"S1"}}},
		"not the requester": {NotRequester: true},
		"a delay":           {Delay: time.Hour},
		"forbidden":         {Refused: "change freeze"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			rule := &policy.Conditions{}
			s := h.ruled(rule, nil)
			r := h.file(s, policytest.Person("U1"), "restore_snapshot", restore801)
			_, err := s.Decide(context.Background(), r.ID, slackYes(r, "U3"))
			require.NoError(t, err)
			*rule = stricter
			h.pass(s, time.Minute)
			assert.Equal(t, policy.StateStale, h.get(r.ID).State, "approved under weaker rules")
			assert.Zero(t, h.destroyed())
			h.sound()
		})
	}
}

func TestWeakerRulesDoNotLowerWhatWasShown(t *testing.T) {
	h := newHouse(t)
	rule := &policy.Conditions{Approvals: 2, NotRequester: true, Approvers: [][]string{{"S1"}}, Delay: time.Minute}
	s := h.ruled(rule, nil)
	r := h.file(s, policytest.Person("U1"), "delete_snapshot", delete798)
	*rule = policy.Conditions{}
	for _, who := range []string{"U1", "U3"} {
		_, err := s.Decide(context.Background(), r.ID, slackYes(r, who))
		says(t, err, policy.Forbidden)
	}
	_, err := s.Decide(context.Background(), r.ID, slackYes(r, "U2"))
	require.NoError(t, err)
	assert.Equal(t, policy.StateHeld, h.get(r.ID).State)
	h.pass(s, 29*time.Minute)
	assert.Zero(t, h.destroyed())
}

// TestAWiderListIsNotStricter: what rules ask for may change its shape, as the
// rules that match do, and ask for no more.
func TestAWiderListIsNotStricter(t *testing.T) {
	for name, c := range map[string]struct {
		before, now [][]string
		state       policy.State
	}{
		"the same":            {[][]string{{"S1"}}, [][]string{{"S1"}}, policy.StateDone},
		"a wider one":         {[][]string{{"U1"}}, [][]string{{"U1", "U3"}}, policy.StateDone},
		"one of two":          {[][]string{{"S1"}, {"U1"}}, [][]string{{"U1", "U2"}}, policy.StateDone},
		"a narrower one":      {[][]string{{"U1", "U3"}}, [][]string{{"U1"}}, policy.StateStale},
		"another one":         {[][]string{{"U1"}}, [][]string{{"U3"}}, policy.StateStale},
		"one where none was":  {nil, [][]string{{"U1"}}, policy.StateStale},
		"one more than there": {[][]string{{"U1"}}, [][]string{{"U1"}, {"S1"}}, policy.StateStale},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			rule := &policy.Conditions{Approvers: c.before}
			s := h.ruled(rule, nil)
			r := h.file(s, agent, "delete_snapshot", delete798)
			_, err := s.Decide(context.Background(), r.ID, slackYes(r, "U1"))
			require.NoError(t, err)
			rule.Approvers = c.now
			h.pass(s, time.Minute)
			assert.Equal(t, c.state, h.get(r.ID).State)
		})
	}
}

// TestAProcessWithoutRulesTakesWhatPeopleAgreedTo: who is who was found out when
// they decided, and is stored with it.
func TestAProcessWithoutRulesTakesWhatPeopleAgreedTo(t *testing.T) {
	people := map[string]string{"slack:U1": "Ada", "slack:U2": "Grace", "terminal:ada": "Ada", "mcp:os:agent": "Edsger"}
	h := newHouse(t)
	s := h.ruled(&policy.Conditions{Approvals: 2, NotRequester: true}, people)
	r := h.file(s, agent, "delete_snapshot", delete798)
	_, err := s.Decide(context.Background(), r.ID, slackYes(r, "U2"))
	require.NoError(t, err)
	h.approve(s, r, ada)
	require.Equal(t, policy.StateApproved, h.get(r.ID).State)
	h.pass(h.service(func(c *policy.Config) { c.Ways = []policy.Way{policy.WaySlack, policy.WayTerminal} }), time.Minute)
	assert.Equal(t, policy.StateDone, h.get(r.ID).State)
	assert.Equal(t, 1, h.destroyed())
	h.sound()

	second := h.file(s, agent, "delete_snapshot", delete801)
	_, err = s.Decide(context.Background(), second.ID, slackYes(second, "U2"))
	require.NoError(t, err)
	h.approve(s, second, ada)
	people["slack:U2"] = "Ada" // the operator has found out that they are one
	h.pass(s, time.Minute)
	assert.Equal(t, policy.StateStale, h.get(second.ID).State, "the rules in force count, where there are some")
	assert.Equal(t, 1, h.destroyed())
}
