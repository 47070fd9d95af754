package policy_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/policytest"
)

// slowLedger is a ledger whose clock jumps after a start was committed.
type slowLedger struct {
	*policytest.Memory
	clock *policytest.Clock
}

func (l *slowLedger) Change(ctx context.Context, f func(context.Context, policy.Tx) error) error {
	before, _ := l.Head(ctx)
	err := l.Memory.Change(ctx, f)
	if after, _ := l.Head(ctx); after > before {
		l.clock.Advance(31 * time.Second)
	}
	return err
}

func lostCommit(h *house) { h.ledger.FailCommits(1, policytest.CommitLost) }

func TestWhatIsNoApproval(t *testing.T) {
	for name, bad := range map[string]struct {
		change func(*policy.Verdict)
		kind   policy.Kind
	}{
		"a wrong passphrase":               {func(v *policy.Verdict) { v.Secret = "open sesame" }, policy.Forbidden},
		"no passphrase":                    {func(v *policy.Verdict) { v.Secret = "" }, policy.Forbidden},
		"another name typed":               {func(v *policy.Verdict) { v.Typed = "web-server-02" }, policy.Invalid},
		"nothing typed":                    {func(v *policy.Verdict) { v.Typed = "" }, policy.Invalid},
		"the name in other case":           {func(v *policy.Verdict) { v.Typed = "WEB-SERVER-01" }, policy.Invalid},
		"another plan's digest":            {func(v *policy.Verdict) { v.Digest = "00" }, policy.Stale},
		"no digest":                        {func(v *policy.Verdict) { v.Digest = "" }, policy.Stale},
		"a model at the terminal's way":    {func(v *policy.Verdict) { v.By = agent }, policy.Forbidden},
		"a form in the client, not listed": {func(v *policy.Verdict) { v.By, v.Way = agent, policy.WayElicitation }, policy.Forbidden},
		"Slack, where it does not count":   {func(v *policy.Verdict) { v.By, v.Way = anyone, policy.WaySlack }, policy.Forbidden},
		"no way at all":                    {func(v *policy.Verdict) { v.Way = "" }, policy.Forbidden},
		"nobody":                           {func(v *policy.Verdict) { v.By = policy.Actor{Door: policy.DoorTerminal} }, policy.Forbidden},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			s := h.service()
			r := h.file(s, agent, "restore_snapshot", restore801)
			v := yes(r, ada)
			bad.change(&v)
			_, err := s.Decide(context.Background(), r.ID, v)
			says(t, err, bad.kind)
			h.pass(s, time.Minute)
			assert.Equal(t, policy.StateHeld, h.get(r.ID).State)
			assert.Empty(t, h.fake.Mutations())
			assert.Contains(t, h.events(r.ID), "approval.refused", "a refusal is recorded too")
			for _, rec := range h.ledger.Records() {
				assert.NotContains(t, rec.Body, "open sesame", "no secret in a record")
				assert.NotContains(t, rec.Body, passwords, "no secret in a record")
			}
		})
	}
}

// Ways that no door of this build vouches for prove nothing, even if a
// configuration names them: an empty list of approvers means nobody.
func TestAWayWithoutApproversMeansNobody(t *testing.T) {
	h := newHouse(t)
	s := h.service(func(c *policy.Config) { c.Ways = []policy.Way{policy.WaySlack, policy.WayElicitation} })
	r := h.file(s, agent, "restore_snapshot", restore801)
	for _, v := range []policy.Verdict{
		{By: anyone, Way: policy.WaySlack, Digest: r.Plan.Digest, Typed: "web-server-01"},
		{By: agent, Way: policy.WayElicitation, Digest: r.Plan.Digest, Typed: "web-server-01"},
	} {
		_, err := s.Decide(context.Background(), r.ID, v)
		says(t, err, policy.Forbidden, "nobody")
	}
	assert.Equal(t, policy.StateHeld, h.get(r.ID).State)
}

func TestPassphraseGuesses(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	r := h.file(s, agent, "restore_snapshot", restore801)
	wrong := yes(r, ada)
	wrong.Secret = "guess"
	for range 5 {
		_, err := s.Decide(context.Background(), r.ID, wrong)
		says(t, err, policy.Forbidden, "wrong")
	}
	_, err := s.Decide(context.Background(), r.ID, yes(r, ada))
	says(t, err, policy.Forbidden, "5 guesses at the passphrase were wrong", "no more are taken until")
	h.clock.Advance(10 * time.Minute)
	h.approve(s, r, ada)

	says(t, s.SetPassphrase(context.Background(), ada, "wrong", "another one"), policy.Forbidden)
	says(t, s.SetPassphrase(context.Background(), ada, passwords, "short"), policy.Invalid, "8 characters")
	require.NoError(t, s.SetPassphrase(context.Background(), ada, passwords, "another one"))
}

// breaksOff matches passphrases as another one does; a call that got so far is over then.
type breaksOff struct {
	policy.PassphraseHash
	end context.CancelFunc
}

func (b breaksOff) Matches(hash, passphrase string) bool {
	b.end()
	return b.PassphraseHash.Matches(hash, passphrase)
}

// TestARightPassphraseClearsGuesses: whoever knows it is not locked out by what broke
// off, or by slips of before.
func TestARightPassphraseClearsGuesses(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	for range 3 {
		r := h.file(s, agent, "restore_snapshot", restore801)
		wrong := yes(r, ada)
		wrong.Secret = "guess"
		for range 2 {
			_, err := s.Decide(context.Background(), r.ID, wrong)
			says(t, err, policy.Forbidden, "the passphrase is wrong")
		}
		for range 2 { // right, and nobody heard of it
			ctx, cancel := context.WithCancel(context.Background())
			broken := h.service(func(c *policy.Config) { c.Passphrase = breaksOff{c.Passphrase, cancel} })
			_, err := broken.Decide(ctx, r.ID, yes(r, ada))
			require.Error(t, err)
			require.Equal(t, policy.StateHeld, h.get(r.ID).State)
		}
		h.approve(s, r, ada)
		_, err := s.Cancel(context.Background(), r.ID, ada)
		require.NoError(t, err)
	}
}

func TestThereIsNoFloorToGoBelow(t *testing.T) {
	h := newHouse(t)
	nothing := func(context.Context, policy.Facts) (policy.Conditions, error) {
		return policy.Conditions{Approvals: -3}, nil
	}
	s := h.service(func(c *policy.Config) { c.Judge = nothing })
	r := h.file(s, agent, "delete_snapshot", delete801)
	assert.Equal(t, policy.StateHeld, r.State)
	assert.Equal(t, 1, r.Conditions.Approvals)

	none := h.service(func(c *policy.Config) { c.Ways = nil })
	_, err := call(none, agent, "restore_snapshot", restore801)
	says(t, err, policy.Forbidden, "nobody can confirm")

	// A request whose row says approved, without an approval, does not run.
	require.NoError(t, h.ledger.Change(context.Background(), func(ctx context.Context, tx policy.Tx) error {
		forged, err := tx.Request(ctx, r.ID)
		if err != nil {
			return err
		}
		forged.State, forged.StartBy, forged.DueAt = policy.StateApproved, h.clock.Now().Add(time.Hour), h.clock.Now()
		forged.Conditions.Approvals = 0
		_, err = tx.Put(ctx, forged, policy.RecordBody{Event: policy.EventApproved, From: policy.StateHeld, To: policy.StateApproved})
		return err
	}))
	h.pass(s, time.Minute)
	assert.Equal(t, policy.StateStale, h.get(r.ID).State)
	assert.Zero(t, h.destroyed())
}

func TestRulesThatGetStricter(t *testing.T) {
	h := newHouse(t)
	people := 1
	forbidden := ""
	s := h.service(func(c *policy.Config) {
		c.Judge = func(context.Context, policy.Facts) (policy.Conditions, error) {
			return policy.Conditions{Approvals: people, Refused: forbidden}, nil
		}
	})
	r := h.file(s, agent, "delete_snapshot", delete801)
	people = 2
	h.approve(s, r, ada)
	assert.Equal(t, policy.StateHeld, h.get(r.ID).State, "the rules in force when it is decided count")
	_, err := s.Decide(context.Background(), r.ID, yes(r, ada))
	says(t, err, policy.Conflict, "already")
	h.approve(s, r, grace)
	assert.Equal(t, policy.StateApproved, h.get(r.ID).State)
	people = 3
	h.pass(s, time.Minute)
	assert.Equal(t, policy.StateStale, h.get(r.ID).State, "and those in force when it starts")

	people, forbidden = 1, "change freeze"
	_, err = call(s, agent, "delete_snapshot", delete798)
	says(t, err, policy.Forbidden, "change freeze")
	_, err = call(s, agent, "create_snapshot", `"server":"12345","name":"x"`)
	says(t, err, policy.Forbidden, "change freeze")
	assert.Zero(t, h.destroyed())
}

func TestAWayThatNoLongerCountsWhereItStarts(t *testing.T) {
	h := newHouse(t)
	r := h.file(h.service(), agent, "delete_snapshot", delete801)
	h.approve(h.service(), r, ada)
	elsewhere := h.service(func(c *policy.Config) { c.Ways = []policy.Way{policy.WaySlack} })
	nowhere := h.service(func(c *policy.Config) { c.Ways = nil })
	h.pass(elsewhere, time.Minute)
	h.pass(nowhere, time.Minute)
	assert.Equal(t, policy.StateApproved, h.get(r.ID).State, "it is left to a process where that way counts")
	assert.Zero(t, h.destroyed())
	h.pass(elsewhere, 5*time.Minute)
	h.pass(nowhere, 5*time.Minute)
	assert.Equal(t, policy.StateExpired, h.get(r.ID).State, "and there was none")
	assert.Zero(t, h.destroyed())
}

// A process in which nobody can confirm leaves what is under way to one that sent it.
func TestAProcessWithoutAWayLeavesTheOverwriteToOthers(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	r := h.file(s, agent, "restore_snapshot", restore801)
	h.approve(s, r, ada)
	h.pass(s, 30*time.Second)
	require.Equal(t, policy.StateRunning, h.get(r.ID).State, "its safety copy is under way")
	h.pass(h.service(func(c *policy.Config) { c.Ways = nil }), 5*time.Minute)
	require.Equal(t, policy.StateRunning, h.get(r.ID).State, h.get(r.ID).Why)
	h.pass(s, 10*time.Minute)
	assert.Equal(t, policy.StateDone, h.get(r.ID).State, h.get(r.ID).Why)
}

// TestWhoMayNotApproveAnyMoreIsNotCounted: minutes after an approval in Slack it is
// asked again whether it may be given, before anything is sent.
func TestWhoMayNotApproveAnyMoreIsNotCounted(t *testing.T) {
	const vouchedLater = 5 * time.Minute
	second := policytest.Person("U2")
	for name, c := range map[string]struct {
		now   error         // what Slack says of the first approver by then
		later []string      // which entries they are
		delay time.Duration // from the second approval on
		state policy.State
		why   string
	}{
		"they still may":                 {nil, []string{"S1"}, 2 * time.Hour, policy.StateDone, ""},
		"they were deactivated":          {policy.Errorf(policy.Forbidden, "deactivated"), nil, 2 * time.Hour, policy.StateStale, "who approved it may not any more: "},
		"they have left the rule's team": {nil, nil, 2 * time.Hour, policy.StateStale, "is not among those any more who have to"},
		"Slack cannot be asked":          {policy.Errorf(policy.Unavailable, "no answer"), nil, 2 * time.Hour, policy.StateExpired, "could not start by"},
		"they approved just now":         {policy.Errorf(policy.Forbidden, "deactivated"), nil, time.Minute, policy.StateDone, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			var err error
			first := []string{"S1"}
			s := h.service(func(conf *policy.Config) {
				conf.Ways = []policy.Way{policy.WaySlack}
				conf.Vouch = func(_ context.Context, _ policy.Way, by policy.Actor, _ [][]string) ([]string, error) {
					if by.Key() == anyone.Key() {
						return first, err
					}
					return []string{"S1"}, nil
				}
				conf.Judge = func(context.Context, policy.Facts) (policy.Conditions, error) {
					return policy.Conditions{Approvals: 2, Approvers: [][]string{{"S1"}}, Delay: c.delay, Rules: []string{"two, and wait"}}, nil
				}
			})
			r := h.file(s, agent, "delete_snapshot", delete801)
			for _, who := range []policy.Actor{anyone, second} {
				v := yes(r, who)
				v.Way = policy.WaySlack
				_, err := s.Decide(context.Background(), r.ID, v)
				require.NoError(t, err)
			}
			require.Equal(t, policy.StateApproved, h.get(r.ID).State)
			if c.delay > vouchedLater { // a process that cannot ask leaves it to one that can
				h.clock.Advance(c.delay)
				_, failed := h.service(func(conf *policy.Config) { conf.Ways = []policy.Way{policy.WaySlack} }).Advance(context.Background(), r.ID)
				says(t, failed, policy.Unavailable, "cannot be asked here")
				require.Equal(t, policy.StateApproved, h.get(r.ID).State)
			}
			err, first = c.now, c.later
			h.pass(s, 3*time.Hour)
			assert.Equal(t, c.state, h.get(r.ID).State, h.get(r.ID).Why)
			assert.Contains(t, h.get(r.ID).Why, c.why)
			if c.state != policy.StateDone {
				assert.Zero(t, h.destroyed())
			}
		})
	}
}

// TestAShorterTimeToApproveEndsIt where somebody comes too late for the rules as they are.
func TestAShorterTimeToApproveEndsIt(t *testing.T) {
	h := newHouse(t)
	within := time.Duration(0)
	s := h.service(func(c *policy.Config) {
		c.Judge = func(context.Context, policy.Facts) (policy.Conditions, error) {
			return policy.Conditions{Approvals: 1, ApproveWithin: within, Rules: []string{"r"}}, nil
		}
	})
	r := h.file(s, agent, "restore_snapshot", restore801)
	within = 5 * time.Minute
	h.clock.Advance(10 * time.Minute)
	_, err := s.Decide(context.Background(), r.ID, yes(r, ada))
	says(t, err, policy.Expired, "nobody confirmed it by")
	stored, err := h.ledger.Request(context.Background(), r.ID)
	require.NoError(t, err)
	assert.Equal(t, policy.StateExpired, stored.State, "and every card says so")
	assert.Contains(t, h.events(r.ID), "request.expired")
	h.sound()
}

// TestAClockThatWasAheadLocksNothing for as long as it was ahead.
func TestAClockThatWasAheadLocksNothing(t *testing.T) {
	const ahead = 365 * 24 * time.Hour
	t.Run("the passphrase", func(t *testing.T) {
		h := newHouse(t)
		s := h.service()
		r := h.file(s, agent, "restore_snapshot", restore801)
		h.clock.Advance(ahead)
		later := h.file(s, agent, "delete_snapshot", delete801)
		wrong := yes(later, ada)
		wrong.Secret = "guess"
		for range 5 {
			_, err := s.Decide(context.Background(), later.ID, wrong)
			says(t, err, policy.Forbidden, "wrong")
		}
		h.clock.Advance(-ahead)
		h.approve(s, r, ada)
	})
	t.Run("a step whose process died", func(t *testing.T) {
		h := newHouse(t)
		h.clock.Advance(ahead)
		r := h.dies(h.service())
		h.clock.Advance(-ahead)
		s := h.service()
		h.pass(s, time.Minute)
		assert.Equal(t, policy.StateUncertain, h.get(r.ID).State, "it can be settled")
	})
}

func TestWithdrawing(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	ctx := context.Background()
	r := h.file(s, agent, "restore_snapshot", restore801)
	_, err := s.Cancel(ctx, r.ID, other)
	says(t, err, policy.Forbidden, "only they")
	_, err = s.Cancel(ctx, r.ID, agent)
	require.NoError(t, err)
	_, err = s.Cancel(ctx, r.ID, agent)
	require.NoError(t, err, "twice is fine")
	_, err = s.Decide(ctx, r.ID, yes(r, ada))
	says(t, err, policy.Conflict, "cancelled")

	r = h.file(s, agent, "restore_snapshot", restore801)
	h.approve(s, r, ada)
	h.work(s)
	require.Equal(t, policy.StateRunning, h.get(r.ID).State)
	_, err = s.Cancel(ctx, r.ID, ada)
	require.NoError(t, err, "until the overwrite has started")
	assert.Contains(t, h.get(r.ID).Why, "safety copy")
	h.pass(s, 10*time.Minute)
	assert.Zero(t, h.destroyed())

	r = h.file(s, agent, "restore_snapshot", restore801)
	h.approve(s, r, ada)
	h.pass(s, 5*time.Minute)
	_, err = s.Cancel(ctx, r.ID, agent)
	says(t, err, policy.Conflict, "has started")
	h.sound()
}

func TestOneServerAtATime(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	ctx := context.Background()
	create := h.file(s, agent, "create_snapshot", `"server":"12345","name":"long"`)
	restore := h.file(s, agent, "restore_snapshot", restore801+noCopy)
	h.approve(s, restore, ada)
	h.work(s)
	st, err := s.Show(ctx, restore.ID)
	require.NoError(t, err)
	assert.Equal(t, []string{create.ID}, st.WaitsFor, "an overwrite waits for everything")

	// Nothing deletes a point that an open request uses.
	del := h.file(s, agent, "delete_snapshot", delete801)
	h.approve(s, del, ada)
	free := h.file(s, agent, "delete_snapshot", delete798)
	h.approve(s, free, ada)
	h.pass(s, time.Minute)
	assert.Equal(t, policy.StateDone, h.get(free.ID).State)
	assert.Equal(t, policy.StateApproved, h.get(del.ID).State)
	h.pass(s, 5*time.Minute)
	assert.Equal(t, policy.StateDone, h.get(create.ID).State)
	assert.Equal(t, policy.StateRunning, h.get(restore.ID).State)
	h.pass(s, 12*time.Minute)
	assert.Equal(t, policy.StateDone, h.get(restore.ID).State)
	assert.True(t, h.fake.HasSnapshot(801))
	h.sound()
}

func TestServersAreCrossChecked(t *testing.T) {
	h := newHouse(t)
	s := h.service()
	h.fake.AddServer(555, "twin")
	h.fake.AddServer(556, "twin")
	h.fake.AddServer(557, "555")
	h.fake.AddServer(558, "wéb")
	foreign := h.fake.AddSnapshot(vpsfake.Point{ServerID: 556, Name: "s", Status: "completed"})
	for name, c := range map[string]struct {
		server string
		kind   policy.Kind
		words  string
	}{
		"two servers of one name are listed":         {"twin", policy.Invalid, "555"},
		"a server named like another's id":           {"555", policy.Invalid, "could mean 2"},
		"a point of another server":                  {"web-server-01", policy.Invalid, "is of twin (556)"},
		"a server that is not there":                 {"web-server-1", policy.NotFound, "Did you mean web-server-01?"},
		"a server on which the point is not":         {"558", policy.Invalid, "is of twin (556)"},
		"the empty name":                             {" ", policy.Invalid, "empty"},
		"part of a name does not do":                 {"web", policy.NotFound, "exact"},
		"markup in a name is told without its marks": {"<!channel>\u202e", policy.NotFound, "<!channel>"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := call(s, agent, "restore_snapshot", fmt.Sprintf(`"server":%q,"snapshot_id":%d,"reason":"x"`, c.server, foreign))
			says(t, err, c.kind, c.words)
		})
	}
	r := h.file(s, agent, "restore_snapshot", fmt.Sprintf(`"server":"556","snapshot_id":%d,"reason":"x"`, foreign))
	assert.Equal(t, "556", r.Plan.Server.Typed(), "where the name is not unique, the id is typed")
}
