package main

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
	"github.com/vpsguard/vpsguard/tools/bearer"
)

// TestNoProgramConfirms has a client try everything that could move a held
// request without a person (adversary_ideas_test.go), against the whole program:
// HTTP at both doors, SQLite, and a VPS.org that counts what arrives. After each
// idea nothing was overwritten or deleted, what another caller has asked for is
// held as it was, and nothing that destroys has got further than that.
func TestNoProgramConfirms(t *testing.T) {
	t.Parallel()
	a := newAttacker(t)
	a.try(ideas)
	assert.Greater(t, len(a.destroying()), len(a.victims)+2, "it did get requests filed, and could have moved those")

	id := file(t, a.service, byPerson).ID
	approve(t, a.service, id)
	a.ends(id, policy.Local)
}

// TestNoProgramFillsAForm has it try that where callers have tokens and the
// operator wrote elicitation down (adversary_forms_test.go), so that a client is
// taken at its word. What counts there is the right name in the form that was
// shown for that call to that caller, once; the client sends that at the end alone.
func TestNoProgramFillsAForm(t *testing.T) {
	t.Parallel()
	a := newAttacker(t, "VPSGUARD_CONFIRM=slack,terminal,elicitation")
	a.try(formIdeas)
	a.turn = 0 // some have hardly called
	a.try(ideas)
	t.Logf("%d forms were shown; answers were refused since %s", a.forms, strings.Join(a.whys, "; "))
	assert.Greater(t, a.forms, 100)
	for _, why := range refusals {
		assert.Contains(t, strings.Join(a.whys, "\n"), why)
	}

	// A person fills one in, and the client sends that many times at once.
	c := a.callers[len(a.callers)-1]
	state := a.form(c, byPerson)
	said := a.atOnce(slices.Repeat([]letter{a.wished(c, true, byPerson, tricks{params: answering(state, truth)})}, 32))
	assert.Equal(t, 1, strings.Count(said, "orm counts as one approval"))
	assert.Equal(t, 31, strings.Count(said, "orm approved nothing"))
	mine, _, err := a.ledger.Requests(t.Context(), policy.Filter{Actor: c.actor.Key()})
	require.NoError(t, err)
	require.NotEmpty(t, mine)
	a.ends(mine[0].ID, policy.Claimed)
}

const byPerson = `restore_snapshot {"server":"web-server-01","snapshot_id":801,"safety_copy":false,"reason":"by a person"}`

// newAttacker makes a world and a client that keeps to no rule in it. With settings
// that have forms count, it has the tokens of many callers.
func newAttacker(t *testing.T, settings ...string) *attacker {
	w := newWorld(t, fast())
	w.withSlack(t, slackfake.Options{Limits: slackfake.NoLimits()})
	w.overHTTP()
	w.env = append(w.env, "VPSGUARD_API_TIMEOUT=30s") // much is asked at once, and a create whose answer is lost holds up all else
	w.env = append(w.env, settings...)
	a := &attacker{
		t: t, top: t, world: w, data: w.fake.ServerData(12345), callers: []*caller{{}}, other: &caller{}, reader: &caller{}, acted: map[*caller]bool{},
		http: &http.Client{
			Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 32},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	a.service, a.ledger = w.service(t)
	withPassphrase(t, a.service)
	p := &program{Now: time.Now}
	if len(settings) == 0 {
		p.Pace = unlimited() // all that it sends is looked at
	} else {
		a.makeTokens() // so many that each stays below the limits
	}
	a.url, a.log, a.stop = servingBy(t, p, w.env, "serve")
	a.slack = slackURL.FindString(a.log.await(t, "serving Slack"))
	for _, asked := range []string{
		`restore_snapshot {"server":"web-server-01","snapshot_id":801,"reason":"of another caller"}`,
		`restore_backup {"server":"web-server-01","backup_id":501,"reason":"of another caller"}`,
		`delete_snapshot {"server":"web-server-01","snapshot_id":798,"reason":"of another caller"}`,
		`delete_backup {"server":"web-server-01","backup_id":499,"reason":"of another caller"}`,
	} {
		a.victims = append(a.victims, file(t, a.service, asked))
	}
	a.comeIn()
	return a
}

// makeTokens makes as many as there may be.
func (a *attacker) makeTokens() {
	a.callers = nil
	for i := range 100 {
		c, token := &caller{}, bearer.Token{Name: fmt.Sprint("agent-", i), Role: policy.RoleOperate}
		switch i {
		case 0:
			a.reader, token.Role = c, policy.RoleRead
		case 1:
			a.other = c
		default:
			a.callers = append(a.callers, c)
		}
		secret, made, err := bearer.New(a.t.Context(), a.ledger, atTerminal(), token, random)
		require.NoError(a.t, err)
		c.token, c.actor = secret, made.Actor()
	}
}

// file asks for something as a caller that no client here is.
func file(t *testing.T, s *policy.Service, asked string) policy.Request {
	t.Helper()
	operation, args, _ := strings.Cut(asked, " ")
	out, err := s.Call(t.Context(), policy.Call{
		Actor:     policy.Actor{Door: policy.DoorMCP, Subject: "another caller", Name: "another caller", Vouched: "the test", Role: policy.RoleOperate},
		Operation: operation, Arguments: []byte(args),
	})
	require.NoError(t, err)
	require.Equal(t, policy.StateHeld, out.Standing.Request.State)
	return out.Standing.Request
}

// try tries ideas one after the other.
func (a *attacker) try(all []idea) {
	for _, i := range all {
		ok := a.top.Run(i.says, func(t *testing.T) {
			a.t = t
			before := a.count
			i.try(a)
			require.Greater(t, a.count, before, "the idea was tried")
			a.harmless()
			for c := range a.acted {
				a.withdraw(c)
				delete(a.acted, c)
			}
		})
		if a.t = a.top; !ok {
			a.t.FailNow() // what follows would only say so again
		}
	}
	a.t.Logf("%d messages of %d ideas; %d callers; the limits on callers turned %d away, those on requests %d", a.count, len(all), a.turn+1, a.away, a.full)
	assert.Less(a.t, a.away, a.count/20, "all else was looked at")
	assert.Less(a.t, a.full, a.count/20)
}

// harmless checks that nothing has been moved.
func (a *attacker) harmless() {
	a.t.Helper()
	require.Zero(a.t, a.world.fake.Sent(vpsfake.Overwrite), "an overwrite has arrived: %v", a.world.fake.Mutations())
	require.Zero(a.t, a.world.fake.Sent(vpsfake.Delete), "a delete has arrived: %v", a.world.fake.Mutations())
	require.Equal(a.t, a.data, a.world.fake.ServerData(12345))
	for _, asked := range a.victims {
		r, err := a.ledger.Request(a.t.Context(), asked.ID)
		require.NoError(a.t, err)
		require.Equal(a.t, asked, r, "it is as it was filed")
	}
	for _, r := range a.destroying() {
		require.Equal(a.t, policy.StateHeld, r.State, "%s, %s", r.ID, r.Why)
		require.Empty(a.t, r.Approvals, r.ID)
		for _, s := range r.Steps {
			require.Equal(a.t, policy.StepWaiting, s.State, "%s of %s", s.Name, r.ID)
		}
	}
	for _, b := range a.records() {
		require.NotContains(a.t, []policy.Event{policy.EventApproved, policy.EventSupported, policy.EventDenied, policy.EventSettled}, b.Event, "%+v", b)
	}
}

// destroying are all requests that would overwrite or delete, but for those that were
// withdrawn before anybody decided.
func (a *attacker) destroying() (out []policy.Request) {
	states := slices.DeleteFunc(policy.States(), func(s policy.State) bool { return s == policy.StateCancelled })
	for f := (policy.Filter{States: states}); ; {
		page, _, err := a.ledger.Requests(a.t.Context(), f)
		require.NoError(a.t, err)
		if len(page) == 0 {
			return out
		}
		f.Before = page[len(page)-1].Seq
		out = append(out, slices.DeleteFunc(page, func(r policy.Request) bool { return !r.Effect.Destroys() })...)
	}
}

// records are those of the audit that it was not asked for before.
func (a *attacker) records() (out []policy.RecordBody) {
	for {
		page, err := a.ledger.Records(a.t.Context(), a.head+1, 0)
		require.NoError(a.t, err)
		if len(page) == 0 {
			return out
		}
		for _, r := range page {
			b, err := r.Parse()
			require.NoError(a.t, err)
			out, a.head = append(out, b), r.Seq
		}
	}
}

// ends shows that the world is no dummy: what a person has confirmed, in one way,
// is done, once.
func (a *attacker) ends(id string, way policy.Assurance) {
	done := until(a.t, a.service, id, "a person has confirmed it", func(r policy.Request) bool { return !r.State.Open() })
	assert.Equal(a.t, policy.StateDone, done.State, done.Why)
	require.Len(a.t, done.Approvals, 1)
	assert.Equal(a.t, way, done.Approvals[0].Assurance)
	approved := slices.DeleteFunc(a.records(), func(b policy.RecordBody) bool { return b.Event != policy.EventApproved })
	assert.Len(a.t, approved, 1)
	assert.Equal(a.t, 1, a.world.fake.Sent(vpsfake.Overwrite))
	assert.Zero(a.t, a.world.fake.Sent(vpsfake.Delete))
	a.http.CloseIdleConnections() // one that was never used would be waited for
	assert.Equal(a.t, 0, a.stop())
	_, said, code := vpsguard(a.t, a.world.env, "audit", "verify")
	assert.Equal(a.t, 0, code, said)
	a.discreet(a.log.String())
}

// secrets are what is never told.
var secrets = regexp.MustCompile(testToken + "|" + testSecret + "|" + testPassphrase + "|vpg_[a-z0-9]{52}")

// discreet checks that a text tells none.
func (a *attacker) discreet(text string, about ...any) {
	a.t.Helper()
	assert.Empty(a.t, secrets.FindString(text), about...)
}
