package slackbot

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

func TestValidApprovers(t *testing.T) {
	for id, ok := range map[string]bool{
		"U1": true, "W012A3CDE": true, "S0614TZR7": true,
		"": false, "U": false, "ada": false, "@ada": false, "<@U1>": false, "u1": false, "C1": false, "B1": false, "T1": false,
		"U1,U2": false, "U1 ": false, "U1\n": false, "USLACKBOT": false, "@ops": false, "*": false, "Ü1": false,
		"U" + strings.Repeat("1", 31): false,
	} {
		assert.Equal(t, ok, ValidApprover(id), "%q", id)
	}
}

func TestAnEmptyListMeansNobody(t *testing.T) {
	d := realDesk(t, unlimited())
	err := d.people.Vouch(t.Context(), d.actor(slackfake.Ada))
	assert.Equal(t, policy.Forbidden, policy.KindOf(err))
	require.ErrorContains(t, err, "nobody may confirm")
	assert.Empty(t, d.people.Approvers())
}

func TestAnApproverByIDNeedsNoGroup(t *testing.T) {
	d := realDesk(t, unlimited(), "S0OPS", slackfake.Ada)
	require.NoError(t, d.people.Vouch(t.Context(), d.actor(slackfake.Ada)))
	assert.Zero(t, d.calls("usergroups.users.list"))
	assert.Equal(t, []string{"S0OPS", slackfake.Ada}, d.people.Approvers())
}

func TestARefusalNamesThoseWhoMay(t *testing.T) {
	d := realDesk(t, unlimited(), slackfake.Ada, "S0OPS", "UNOBODY")
	d.fake.AddGroup(slackfake.Group{ID: "S0OPS", Handle: "ops", Users: []string{slackfake.Grace}})
	err := d.people.Vouch(t.Context(), d.actor(slackfake.Edsger))
	assert.Equal(t, policy.Forbidden, policy.KindOf(err))
	assert.Equal(t, "Ask ada, someone of @ops or UNOBODY.", policy.Public(err).Hint)
	before := d.calls("usergroups.list")
	_ = d.people.Vouch(t.Context(), d.actor(slackfake.Edsger))
	assert.Equal(t, before, d.calls("usergroups.list"), "names need not be new")

	d = realDesk(t, unlimited(), slackfake.Ada, "U5", "U6", "U7", "U8", "U9")
	assert.Contains(t, policy.Public(d.people.Vouch(t.Context(), d.actor(slackfake.Edsger))).Hint, ", or another approver.")
	d = realDesk(t, unlimited(), slackfake.Ada)
	assert.Equal(t, "Ask ada.", policy.Public(d.people.Vouch(t.Context(), d.actor(slackfake.Edsger))).Hint)
}

func TestOnlySlacksDoorAndThisWorkspaceAreVouchedFor(t *testing.T) {
	d := realDesk(t, unlimited(), slackfake.Ada)
	for _, a := range []policy.Actor{
		{},
		{Door: policy.DoorMCP, Subject: "T0HOME:U1"},
		{Door: policy.DoorTerminal, Subject: "T0HOME:U1"},
		{Door: policy.DoorSlack, Subject: "U1"},
		{Door: policy.DoorSlack, Subject: ":U1"},
		{Door: policy.DoorSlack, Subject: "T0OTHER:U1"},
		{Door: policy.DoorSlack, Subject: "T0HOME:U2", Name: slackfake.Ada},
		{Door: policy.DoorSlack, Subject: "T0HOME:T0HOME:U1"},
	} {
		assert.Equal(t, policy.Forbidden, policy.KindOf(d.people.Vouch(t.Context(), a)), "%+v", a)
	}
}

func TestWhoLeftTheGroupMayNoLongerConfirm(t *testing.T) {
	d := realDesk(t, unlimited(), "S0OPS")
	d.fake.AddGroup(slackfake.Group{ID: "S0OPS", Users: []string{slackfake.Ada, slackfake.Grace}})
	a, err := d.people.Actor(t.Context(), slackfake.Team, "", slackfake.Ada)
	require.NoError(t, err)
	require.NoError(t, d.people.Vouch(t.Context(), a))
	d.fake.ChangeGroup("S0OPS", func(g *slackfake.Group) { g.Users = []string{slackfake.Grace} })
	assert.Equal(t, policy.Forbidden, policy.KindOf(d.people.Vouch(t.Context(), a)), "the very next press")
	d.fake.ChangeGroup("S0OPS", func(g *slackfake.Group) { g.Users = append(g.Users, slackfake.Ada) })
	assert.NoError(t, d.people.Vouch(t.Context(), a))
	d.fake.ChangeGroup("S0OPS", func(g *slackfake.Group) { g.Users = nil })
	assert.Equal(t, policy.Forbidden, policy.KindOf(d.people.Vouch(t.Context(), a)), "a group without members is nobody")
}

func TestATokenRevokedMidWayConfirmsNothing(t *testing.T) {
	d := realDesk(t, unlimited(), "S0OPS", slackfake.Grace)
	d.fake.AddGroup(slackfake.Group{ID: "S0OPS", Users: []string{slackfake.Ada}})
	for _, user := range []string{slackfake.Ada, slackfake.Grace} {
		require.NoError(t, d.people.Vouch(t.Context(), d.actor(user)))
	}
	for _, why := range []string{"token_revoked", "invalid_auth", "account_inactive"} {
		d.fake.RevokeToken(why)
		for _, user := range []string{slackfake.Ada, slackfake.Grace} {
			err := d.people.Vouch(t.Context(), d.actor(user))
			assert.Equal(t, policy.Unavailable, policy.KindOf(err))
			assert.Contains(t, policy.Public(err).Message, why)
			assert.Contains(t, policy.Public(err).Hint, "VPSGUARD_SLACK_BOT_TOKEN")
		}
		_, err := d.people.Actor(t.Context(), slackfake.Team, "", slackfake.Grace)
		assert.Equal(t, policy.Unavailable, policy.KindOf(err), "who was seen is forgotten with a refusal")
	}
	d.fake.RevokeToken("")
	assert.NoError(t, d.people.Vouch(t.Context(), d.actor(slackfake.Ada)))
}

func TestAGroupThatCannotBeReadVouchesForNobody(t *testing.T) {
	for _, row := range []struct {
		name, says string
		o          slackfake.Options
		change     func(*slackfake.Fake)
	}{
		{"it does not exist", "no_such_subteam", unlimited(), func(*slackfake.Fake) {}},
		{"it is disabled", "no_such_subteam", unlimited(), func(f *slackfake.Fake) {
			f.AddGroup(slackfake.Group{ID: "S0OPS", Users: []string{slackfake.Ada}, Disabled: true})
		}},
		{"the plan has no groups", "plan_upgrade_required", slackfake.Options{FreePlan: true}, func(f *slackfake.Fake) {
			f.AddGroup(slackfake.Group{ID: "S0OPS", Users: []string{slackfake.Ada}})
		}},
		{"the scope is missing", "missing_scope", unlimited(), func(f *slackfake.Fake) {
			f.AddGroup(slackfake.Group{ID: "S0OPS", Users: []string{slackfake.Ada}})
			f.SetScopes("users:read")
		}},
		{"the answer is cut", codeUnreadable, unlimited(), func(f *slackfake.Fake) {
			f.AddGroup(slackfake.Group{ID: "S0OPS", Users: []string{slackfake.Ada}})
			f.Inject(slackfake.Fault{Name: slackfake.CutJSON, Method: "usergroups.users.list"})
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := realDesk(t, row.o, "S0OPS", slackfake.Grace)
			row.change(d.fake)
			err := d.people.Vouch(t.Context(), d.actor(slackfake.Ada))
			assert.Equal(t, policy.Unavailable, policy.KindOf(err))
			assert.Contains(t, policy.Public(err).Message, "S0OPS")
			assert.Contains(t, policy.Public(err).Message, row.says)
			assert.NotEmpty(t, policy.Public(err).Hint)
			assert.NoError(t, d.people.Vouch(t.Context(), d.actor(slackfake.Grace)), "who is listed by id needs no group")
		})
	}
}

func TestABrokenGroupDoesNotHideAnother(t *testing.T) {
	d := realDesk(t, unlimited(), "S0GONE", "S0OPS")
	d.fake.AddGroup(slackfake.Group{ID: "S0OPS", Users: []string{slackfake.Ada}})
	assert.NoError(t, d.people.Vouch(t.Context(), d.actor(slackfake.Ada)))
	err := d.people.Vouch(t.Context(), d.actor(slackfake.Edsger))
	assert.Equal(t, policy.Unavailable, policy.KindOf(err))
	assert.Contains(t, err.Error(), "S0GONE")
}

func TestOfTheRulesApproversOnlyTheGroupThatMattersHasToBeRead(t *testing.T) {
	for _, row := range []struct {
		name  string
		lists [][]string
		as    []string // nil: it cannot be told
	}{
		{"named beside a group that is gone", [][]string{{"S0GONE", slackfake.Ada}}, []string{slackfake.Ada}},
		{"in a group beside one that is gone", [][]string{{"S0GONE", "S0OPS"}}, []string{"S0OPS"}},
		{"on each of two lists", [][]string{{"S0GONE", "S0OPS"}, {slackfake.Ada}}, []string{"S0OPS", slackfake.Ada}},
		{"on one list, and perhaps on another", [][]string{{slackfake.Ada}, {"S0GONE", slackfake.Grace}}, nil},
		{"only perhaps on the list", [][]string{{"S0GONE"}}, nil},
		{"certainly not on the list", [][]string{{slackfake.Grace}}, []string{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := realDesk(t, unlimited(), slackfake.Ada)
			d.fake.AddGroup(slackfake.Group{ID: "S0OPS", Users: []string{slackfake.Ada}})
			as, err := d.people.Vouches(t.Context(), policy.WaySlack, d.actor(slackfake.Ada), row.lists)
			if row.as != nil {
				require.NoError(t, err)
				assert.ElementsMatch(t, row.as, as)
				return
			}
			assert.Equal(t, policy.Unavailable, policy.KindOf(err))
			assert.Empty(t, as)
			assert.Contains(t, policy.Public(err).Message, "S0GONE")
			assert.Contains(t, policy.Public(err).Hint, "correct the rule file", "what names the group")
		})
	}
}

// crowd fills a user group with so many members.
func crowd(d *desk, n int) []string {
	users := make([]string, n)
	for i := range users {
		users[i] = fmt.Sprintf("U9%04d", i)
		d.fake.AddUser(slackfake.User{ID: users[i]})
	}
	d.fake.AddGroup(slackfake.Group{ID: "S0OPS", Users: users})
	return users
}

// groupLimits has Slack's limit for user groups only.
func groupLimits() slackfake.Options {
	o := unlimited()
	o.Limits["usergroups.users.list"] = slackfake.Limit{Count: 20, Per: time.Minute}
	return o
}

func TestAThousandPressesAtOnceReadTheGroupTwice(t *testing.T) {
	bubbleDesk(t, groupLimits(), []string{"S0OPS"}, func(t *testing.T, d *desk) {
		paces := d.c.limits // users.info has a limit of its own, which is not meant here
		paces.lane("users.info", "").rate.SetBurst(10_000)
		paces.lane("users.info", "").rate.SetLimit(10_000)
		d.fake.Inject(slackfake.Fault{Name: slackfake.Slow, Method: "usergroups.users.list", Delay: 100 * time.Millisecond})
		_, err := d.people.at(t.Context())
		require.NoError(t, err)
		var work sync.WaitGroup
		for _, user := range crowd(d, 1000) {
			work.Go(func() { assert.NoError(t, d.people.Vouch(t.Context(), d.actor(user))) })
		}
		work.Wait()
		assert.LessOrEqual(t, d.calls("usergroups.users.list"), 2, "one that the first press began, and one for all others")
		assert.Equal(t, 1000, d.calls("users.info"))
	})
}

func TestPressesAllTheTimeStayWithinSlacksLimit(t *testing.T) {
	bubbleDesk(t, groupLimits(), []string{"S0OPS"}, func(t *testing.T, d *desk) {
		d.c.limits.lane("users.info", "").rate.SetBurst(10_000)
		d.c.limits.lane("users.info", "").rate.SetLimit(10_000)
		users := crowd(d, 600)
		var work sync.WaitGroup
		for i, user := range users { // 5 a second, for two minutes
			work.Go(func() {
				time.Sleep(time.Duration(i) * 200 * time.Millisecond)
				began := time.Now()
				assert.NoError(t, d.people.Vouch(t.Context(), d.actor(user)))
				assert.LessOrEqual(t, time.Since(began), 11*time.Second)
			})
		}
		work.Wait()
		assert.LessOrEqual(t, d.calls("usergroups.users.list"), 40)
		for _, c := range d.fake.Calls("") {
			assert.Empty(t, c.Error, "nothing was turned away")
		}
		assert.Empty(t, d.fake.Violations())
	})
}

func TestAShortPauseIsWaitedForAndALongOneIsTold(t *testing.T) {
	bubbleDesk(t, unlimited(), []string{"S0OPS"}, func(t *testing.T, d *desk) {
		d.fake.AddGroup(slackfake.Group{ID: "S0OPS", Users: []string{slackfake.Ada}})
		d.fake.Inject(slackfake.Fault{Name: slackfake.RateLimited, Method: "usergroups.users.list", Times: 1})
		began := time.Now()
		require.NoError(t, d.people.Vouch(t.Context(), d.actor(slackfake.Ada)))
		assert.Equal(t, time.Second, time.Since(began))

		d.fake.Inject(slackfake.Fault{Name: slackfake.RateLimited, Method: "usergroups.users.list", RetryAfter: 30 * time.Second, Times: 1})
		began = time.Now()
		err := d.people.Vouch(t.Context(), d.actor(slackfake.Ada))
		assert.Equal(t, policy.Unavailable, policy.KindOf(err))
		assert.Equal(t, "Ask again in 30 seconds.", policy.Public(err).Hint)
		before := d.calls("usergroups.users.list")
		time.Sleep(10 * time.Second)
		err = d.people.Vouch(t.Context(), d.actor(slackfake.Ada))
		assert.Equal(t, "Ask again in 20 seconds.", policy.Public(err).Hint)
		assert.Equal(t, before, d.calls("usergroups.users.list"), "Slack is not asked meanwhile")
		assert.Equal(t, 10*time.Second, time.Since(began), "and nobody waited")
		time.Sleep(20 * time.Second)
		assert.NoError(t, d.people.Vouch(t.Context(), d.actor(slackfake.Ada)))
		assert.Empty(t, d.fake.Violations())
	})
}

// TestManyPressesCostFewReads: whoever presses again and again does not use up
// the reads that others need; whoever submits is asked anew.
func TestManyPressesCostFewReads(t *testing.T) {
	d := realDesk(t, unlimited(), "S0A", "S0B")
	d.fake.AddGroup(slackfake.Group{ID: "S0A", Handle: "a", Users: []string{slackfake.Grace}})
	d.fake.AddGroup(slackfake.Group{ID: "S0B", Handle: "b", Users: []string{slackfake.Edsger}})
	ada := d.actor(slackfake.Ada)
	for range 50 {
		assert.Equal(t, policy.Forbidden, policy.KindOf(d.people.Seems(t.Context(), ada)))
	}
	assert.Len(t, d.fake.Calls("usergroups.users.list"), 2, "one a group")
	require.NoError(t, d.people.Seems(t.Context(), d.actor(slackfake.Grace)))
	d.fake.ChangeGroup("S0A", func(g *slackfake.Group) { g.Users = nil })
	assert.NoError(t, d.people.Seems(t.Context(), d.actor(slackfake.Grace)), "a form may still open")
	assert.Equal(t, policy.Forbidden, policy.KindOf(d.people.Vouch(t.Context(), d.actor(slackfake.Grace))), "and is refused")
}
