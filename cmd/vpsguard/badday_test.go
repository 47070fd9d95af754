package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
	"github.com/vpsguard/vpsguard/tools/bearer"
)

// A bad day: programs and people ask for everything that can be asked for, over
// several servers, and approve, press twice, deny, cancel and forget at random,
// while replicas are killed and started again, and VPS.org, Slack and the database
// misbehave. Then everything heals, and what is left has to end, and to be true.
//
// How many requests there are is in VPSGUARD_TEST_BADDAY; a seed to repeat the
// choices of a day, though not its luck, in VPSGUARD_TEST_SEED.

// plan says what a bad day is like.
type dayPlan struct {
	requests int // at least so many are filed
	replicas int
	kills    int           // at least so many
	every    time.Duration // about so often one is killed
	database database
	late     time.Duration // how far the clock of the last replica is off
}

// share is how many there are of something on a day: the more is asked for, the more,
// as one person or program may ask for so much in ten minutes.
func (p dayPlan) share(least, of int) int { return least + p.requests/of }

// database is what the replicas of a day share.
type database struct {
	url    string                                         // for the day's own way in
	of     func(replica int) string                       // for a replica
	harm   func(ctx context.Context, r *rand.Rand) string // does it some harm and says which; nil for none
	harmed time.Duration                                  // about so often
}

// onSQLite is one file for all.
func (w *world) onSQLite() database {
	url := "sqlite:" + w.path
	return database{url: url, of: func(int) string { return url }}
}

// dayRequests is how many requests a day has, and its share of something else.
func dayRequests(t *testing.T, usually int) int {
	t.Helper()
	if s := os.Getenv("VPSGUARD_TEST_BADDAY"); s != "" {
		n, err := strconv.Atoi(s)
		require.NoError(t, err, "VPSGUARD_TEST_BADDAY is a number of requests")
		return n
	}
	return usually
}

// calm is how often harm is done on a day of so many requests. Thousands would have to
// be done at half the pace otherwise, as processes do little else than start again;
// VPS.org's own strikes, of which there are more, come with the writes.
func calm(requests int, usually time.Duration) time.Duration {
	if requests >= 1000 {
		return 3 * usually
	}
	return usually
}

func TestABadDayOfOneProcessOnSQLite(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vpsfake.Options{})
	n := dayRequests(t, 25)
	w.badDay(t, dayPlan{requests: n, replicas: 1, kills: min(n/3, 100+n/20), every: calm(n, 1200*time.Millisecond), database: w.onSQLite()})
}

func TestABadDayOfThreeProcessesOnSQLite(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vpsfake.Options{})
	n := dayRequests(t, 25)
	w.badDay(t, dayPlan{requests: n, replicas: 3, kills: min(n/5, 60+n/20), every: calm(n, 1500*time.Millisecond), database: w.onSQLite()})
}

// badDay is one day.
type badDay struct {
	*world
	t    *testing.T
	plan dayPlan
	seed uint64

	slack     *slackfake.Fake
	approvers []slackfake.Person
	askers    []slackfake.Person
	programs  []rawClient
	service   *policy.Service // the day's own way in: the terminal, and what is read
	ledger    *ledger.Ledger
	replicas  []*replica
	harbour   *harbour
	errands   chan errand
	strikes   chan chan struct{}

	mu     sync.Mutex
	counts map[string]int // what was done, and how often
	begun  time.Time
	open   map[string]policy.Request // as of the last look
	seen   map[string]bool           // requests that somebody was sent to
	ended  map[string]bool           // restores that were let end
	cards  map[string][]string       // their ts, by request
	filed  int                       // as of the last look
	last   string                    // ts of the latest card that was looked at
}

// dice gives the chance of one part of the day: the same for the same seed.
func (d *badDay) dice(part string, n uint64) *rand.Rand {
	h := n
	for _, c := range part {
		h = h*1099511628211 + uint64(c)
	}
	return rand.New(rand.NewPCG(d.seed, h))
}

// count counts something that happened.
func (d *badDay) count(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts[fmt.Sprintf(format, args...)]++
}

// clocks are those of a day: everything is quick.
const (
	dayTimeout = time.Second // of one call to VPS.org
	dayPoll    = 200 * time.Millisecond
)

// within is how long there is to approve, and then to start.
func (d *badDay) within() time.Duration {
	if d.plan.requests < 100 { // of which what is forgotten would take the most time
		return 15 * time.Second
	}
	return 30 * time.Second
}

// badDay lives through a day and looks at what is left of it.
func (w *world) badDay(t *testing.T, p dayPlan) {
	t.Helper()
	d := &badDay{
		world: w, t: t, plan: p, seed: uint64(time.Now().UnixNano()), begun: time.Now(), errands: make(chan errand, 1<<16), strikes: make(chan chan struct{}),
		counts: map[string]int{}, open: map[string]policy.Request{}, seen: map[string]bool{}, ended: map[string]bool{}, cards: map[string][]string{},
	}
	if s := os.Getenv("VPSGUARD_TEST_SEED"); s != "" {
		var err error
		d.seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err, "VPSGUARD_TEST_SEED is a seed that a test has printed")
	}
	t.Logf("%d requests, %d replicas; to choose the same again: VPSGUARD_TEST_SEED=%d VPSGUARD_TEST_BADDAY=%d go test ./cmd/vpsguard -run '%s' -v",
		p.requests, p.replicas, d.seed, p.requests, t.Name())
	d.dawn()
	d.storm()
	d.dusk()
	d.tally()
}

// dawn makes the world and starts everybody.
func (d *badDay) dawn() {
	t := d.t
	d.harbour = newHarbour(d)
	d.slack = d.withSlack(t, slackfake.Options{Limits: slackfake.NoLimits()})
	d.approvers = crowd(d.slack, d.plan.share(6, 500))
	for i := range d.plan.share(8, 100) {
		u := slackfake.User{ID: fmt.Sprintf("UA%03d", i), Name: fmt.Sprintf("asker%d", i)}
		d.slack.AddUser(u)
		d.slack.ChangeChannel(slackfake.Ops, func(c *slackfake.Channel) { c.Members = append(c.Members, u.ID) })
		d.askers = append(d.askers, d.slack.User(u.ID))
	}
	d.env = append(d.env, "VPSGUARD_API_URL="+d.harbour.url, "VPSGUARD_SLACK_APPROVERS=S1", "VPSGUARD_CONFIRM=slack,terminal",
		"VPSGUARD_DATABASE="+d.plan.database.url, fmt.Sprintf("VPSGUARD_API_TIMEOUT=%v", dayTimeout), fmt.Sprintf("VPSGUARD_POLL_EVERY=%v", dayPoll),
		fmt.Sprintf("VPSGUARD_APPROVE_WITHIN=%v", d.within()), fmt.Sprintf("VPSGUARD_START_WITHIN=%v", d.within()))
	d.service, d.ledger = d.world.service(t)
	withPassphrase(t, d.service)
	for i := range d.plan.replicas {
		r := &replica{t: t, env: append(d.env[:len(d.env):len(d.env)], "VPSGUARD_DATABASE="+d.plan.database.of(i))}
		if i > 0 && i == d.plan.replicas-1 && d.plan.late != 0 {
			r.env = append(r.env, clockOff+"="+d.plan.late.String())
		}
		r.start()
		d.replicas = append(d.replicas, r)
		t.Cleanup(r.kill)
	}
	for _, r := range d.replicas {
		require.NotEmpty(t, r.address(), "a replica serves")
	}
	require.NoError(t, d.slack.AwaitSockets(t.Context(), 2*d.plan.replicas))
	for i := range d.plan.share(2, 100) {
		secret, _, err := bearer.New(t.Context(), d.ledger, atTerminal(), bearer.Token{Name: fmt.Sprint("program-", i), Role: policy.RoleOperate}, random)
		require.NoError(t, err)
		d.programs = append(d.programs, rawClient{token: secret}.greet(t, d.replicas[0].address()))
	}
}

// storm goes on until enough was asked for, and enough was killed.
func (d *badDay) storm() {
	ctx, over := context.WithCancel(d.t.Context())
	lasting, end := context.WithCancel(d.t.Context())
	d.t.Cleanup(end)
	var all sync.WaitGroup
	d.harbour.troubled.Store(true)
	go d.watch(lasting)
	go d.harbour.tend(lasting)
	for _, who := range d.approvers {
		go d.serves(lasting, who)
	}
	d.troubleInSlack()
	asking, enough := context.WithCancel(ctx)
	defer enough()
	for i := range d.plan.share(4, 1000) {
		all.Go(func() { d.asks(asking, i) })
	}
	all.Go(func() { d.kills(ctx) })
	if d.plan.database.harm != nil {
		all.Go(func() { d.harms(ctx) })
	}
	// So much takes its time: a day that gets nowhere is told with what there was.
	limit := time.Now().Add(2*time.Minute + time.Duration(d.plan.requests)*1500*time.Millisecond)
	for told := time.Now(); ; {
		d.mu.Lock()
		filed, killed, open := d.filed, d.counts["killed"], len(d.open)
		d.mu.Unlock()
		if time.Since(told) >= time.Minute {
			told = time.Now()
			d.t.Logf("after %v: %d requests, %d of them open; %d kills", told.Sub(d.begun).Round(time.Second), filed, open, killed)
		}
		if filed >= d.plan.requests {
			enough()
		}
		if filed >= d.plan.requests && killed >= d.plan.kills || time.Now().After(limit) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	over()
	all.Wait()
	d.mu.Lock()
	filed := d.filed
	d.mu.Unlock()
	if filed < d.plan.requests {
		d.t.Errorf("only %d requests were filed in %v\n%s", filed, time.Since(d.begun), d.lastWords())
	}
}

// dusk heals everything, and waits for the end of all that was asked for.
func (d *badDay) dusk() {
	d.harbour.troubled.Store(false)
	d.fake.Heal()
	d.slack.Heal()
	healed := time.Now()
	// What is held may wait for people, then for its start, for a safety copy and its
	// deadline, and for whatever ran before it on its server.
	for limit := healed.Add(2 * time.Minute); ; time.Sleep(dayPoll) {
		left, _, err := d.ledger.Requests(d.t.Context(), policy.Filter{States: policy.OpenStates()})
		if err == nil && len(left) == 0 {
			break
		}
		if time.Now().After(limit) {
			for _, r := range left {
				d.t.Errorf("waits for ever: %s, %s; %+v", r, r.Why, r.Steps)
			}
			d.t.Log(d.lastWords())
			break
		}
	}
	d.t.Logf("everything had ended %v after all had healed, %v after it began", time.Since(healed).Round(100*time.Millisecond), time.Since(d.begun).Round(time.Second))
}
