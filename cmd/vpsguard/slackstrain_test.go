package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
	"github.com/vpsguard/vpsguard/policy/policytest"
	"github.com/vpsguard/vpsguard/slackbot"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// crowd adds people to a workspace, all in one user group that may approve.
func crowd(f *slackfake.Fake, n int) (people []slackfake.Person) {
	g := slackfake.Group{ID: "S1", Handle: "oncall"}
	for i := range n {
		u := slackfake.User{ID: fmt.Sprintf("UC%03d", i), Name: fmt.Sprintf("person%d", i)}
		f.AddUser(u)
		g.Users = append(g.Users, u.ID)
		people = append(people, f.User(u.ID))
	}
	f.AddGroup(g)
	f.ChangeChannel(slackfake.Ops, func(c *slackfake.Channel) { c.Members = append(c.Members, g.Users...) })
	return people
}

// crew is a process in parts, and the world around it.
type crew struct {
	f       *slackfake.Fake
	vps     *vpsfake.Fake
	service *policy.Service
	log     *lines
	records func() []policy.Record
	// limited means that the process keeps Slack's limits.
	limited bool
	// slow is how long Slack takes to tell who may approve.
	slow time.Duration
}

// unlimited is a clock by which a limit is over whenever somebody looks.
func unlimited() func() time.Time {
	begun, looks := time.Now(), atomic.Int64{}
	return func() time.Time { return begun.Add(time.Duration(looks.Add(1)) * 10 * time.Second) }
}

// onDisk is a crew on a ledger on the disk, with Socket Mode and real time.
func onDisk(t *testing.T) crew {
	t.Helper()
	w := newWorld(t, fast())
	f := w.withSlack(t, slackfake.Options{Limits: slackfake.NoLimits()})
	log := &lines{}
	to := slog.New(slog.NewTextHandler(log, nil))
	s, err := load(t.Context(), w.env)
	require.NoError(t, err)
	c, err := connect(s)
	require.NoError(t, err)
	l, err := ledger.Open(t.Context(), s.Database.Reveal(), ledger.Options{Now: time.Now, Logger: to})
	require.NoError(t, err)
	people := slackbot.NewPeople(slackbot.PeopleOptions{
		Token: f.BotToken(), URL: s.SlackAPIURL, Approvers: []string{"S1"}, Now: unlimited(), Log: to,
	})
	who := &account{client: c}
	service, err := newService(s, l, c, who, people, nil)
	require.NoError(t, err)
	bot, err := slackbot.New(slackbot.Options{
		Gate: service, Notes: l, Account: who.Get, People: people, Channel: slackfake.Ops, AppToken: f.AppToken(),
		Now: time.Now, Random: random, Log: to,
	})
	require.NoError(t, err)
	whose, err := who.Get(t.Context())
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { bot.Run(ctx) })
	all.Go(func() { _ = l.Work(ctx, whose, ledger.Hands{Advance: service.Advance, Tell: bot.Tell}) })
	all.Go(func() { (&worker{service: service, every: s.PollEvery, log: to}).sweep(ctx) })
	t.Cleanup(func() {
		stop()
		all.Wait()
		assert.NoError(t, l.Close())
	})
	require.NoError(t, f.AwaitSockets(t.Context(), 2))
	return crew{f: f, vps: w.fake, service: service, log: log, slow: 500 * time.Millisecond, records: func() []policy.Record {
		all, err := l.Records(t.Context(), 1, 0)
		require.NoError(t, err)
		return all
	}}
}

// inBubble runs a crew in a bubble whose time passes only while everybody waits: on a
// ledger in memory, over signed HTTP.
func inBubble(t *testing.T, limited bool, slow time.Duration, run func(*testing.T, crew)) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(30 * 365 * 24 * time.Hour) // a bubble begins long before VPS.org's data
		ctx, stop := context.WithCancel(t.Context())
		serve := func(h http.Handler) *slackfake.Wire {
			line := slackfake.NewWire()
			server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
			go func() { _ = server.Serve(line) }()
			context.AfterFunc(ctx, func() { _ = server.Close() })
			return line
		}
		o := fast()
		o.Now, o.Token = time.Now, testToken
		vps := vpsfake.New(o)
		toVPS := serve(vps).Client()
		app := http.NewServeMux()
		toApp := serve(app).Client()
		f := slackfake.New(slackfake.Options{Now: time.Now, Limits: slackfake.NoLimits(), Client: toApp})
		f.SetURL("http://slack.test")
		toSlack := serve(f).Client()

		log := &lines{}
		to := slog.New(slog.NewTextHandler(log, nil))
		s, err := load(t.Context(), []string{
			"HOME=/nowhere", "VPSGUARD_API_TOKEN=" + testToken, "VPSGUARD_CONFIRM=slack", "VPSGUARD_POLL_EVERY=500ms", "VPSGUARD_SLACK_BOT_TOKEN=" + f.BotToken(),
			"VPSGUARD_SLACK_SIGNING_SECRET=" + testSecret, "VPSGUARD_SLACK_CHANNEL=" + slackfake.Ops, "VPSGUARD_SLACK_APPROVERS=S1",
		})
		require.NoError(t, err)
		c, err := apiclient.New("http://127.0.0.1:1"+vpsfake.BasePath, testToken, apiclient.Options{Transport: toVPS.Transport, Timeout: time.Minute})
		require.NoError(t, err)
		l, who, limits := policytest.NewMemory(time.Now), &account{client: c}, time.Now
		if !limited {
			limits = unlimited()
		}
		people := slackbot.NewPeople(slackbot.PeopleOptions{
			Token: f.BotToken(), URL: "http://slack.test/api/", Approvers: s.SlackApprovers, HTTP: toSlack, Now: limits, Log: to,
		})
		service, err := newService(s, l, c, who, people, nil)
		require.NoError(t, err)
		bot, err := slackbot.New(slackbot.Options{
			Gate: service, Notes: l, Account: who.Get, People: people, Channel: s.SlackChannel, Secrets: s.slackSecrets(),
			Now: time.Now, Random: random, Log: to,
		})
		require.NoError(t, err)
		app.Handle("/slack/", bot.Handler())
		f.SetReceiver(&slackfake.Receiver{
			Commands: "http://app.test/slack/commands", Interactions: "http://app.test/slack/interactions", Secret: testSecret,
		})
		var all sync.WaitGroup
		all.Go(func() { bot.Run(ctx) })
		all.Go(func() { (&worker{service: service, every: time.Second, log: to}).sweep(ctx) })
		run(t, crew{f: f, vps: vps, service: service, log: log, limited: limited, slow: slow, records: l.Records})
		stop()
		all.Wait()
		time.Sleep(time.Minute) // reads that are shared outlive those who asked, by some seconds
		f.Close()
		for _, client := range []*http.Client{toVPS, toApp, toSlack} {
			client.CloseIdleConnections()
		}
		synctest.Wait()
	})
}

// TestAThousandSubmissions has 50 approvers submit their forms 20 times each, all at
// once: the request is carried out once, and each submission is answered truly.
func TestAThousandSubmissions(t *testing.T) {
	t.Parallel()
	t.Run("without limits", func(t *testing.T) {
		inBubble(t, false, 500*time.Millisecond, func(t *testing.T, c crew) { submissions(t, c, 50, 20) })
	})
	t.Run("within the limits of Slack", func(t *testing.T) {
		inBubble(t, true, 500*time.Millisecond, func(t *testing.T, c crew) { submissions(t, c, 50, 20) })
	})
	t.Run("while Slack is slow", func(t *testing.T) { // all forms close before anything is known
		inBubble(t, false, 2600*time.Millisecond, func(t *testing.T, c crew) { submissions(t, c, 50, 20) })
	})
	t.Run("on a disk, in real time", func(t *testing.T) {
		people, repeats := 50, 20
		if raced { // what is measured by real time is not for a program that is slowed down
			people, repeats = 10, 10
		}
		submissions(t, onDisk(t), people, repeats)
	})
}

// submissions is that story.
func submissions(t *testing.T, c crew, people, repeats int) {
	t.Helper()
	f, log := c.f, c.log
	approvers := crowd(f, people)
	id, card := asksFor(t, f, log)
	var all sync.WaitGroup
	for group := range slices.Chunk(approvers, 10) { // more at once would have to wait for Slack's limits
		if c.limited {
			time.Sleep(time.Minute)
		}
		before := open(f, approvers)
		for _, who := range group {
			all.Go(func() { assert.True(t, who.Press(card, "Approve").Wait().Acked) })
		}
		all.Wait()
		watch(t, f, log, "their forms are open", func() bool { return open(f, approvers) == before+len(group) })
	}
	if c.limited {
		time.Sleep(time.Minute)
	}
	// Slack is slow, so that nobody's form closes before they have submitted it that often.
	f.Inject(slackfake.Fault{Name: slackfake.Slow, Method: "usergroups.users.list", Delay: c.slow, Times: 1})
	begun := time.Now()
	var views []slackfake.View
	var submitted []*slackfake.Delivery
	for _, who := range approvers {
		v, ok := f.View(who.ID())
		require.True(t, ok)
		for range repeats {
			views, submitted = append(views, v), append(submitted, who.Submit(v, typed("web-server-01")))
		}
	}
	sent := time.Since(begun)
	closed := map[string]int{} // forms that closed without a word, by person
	kinds := map[string]int{}
	slowest := time.Duration(0)
	for i, d := range submitted {
		out := d.Wait()
		slowest = max(slowest, out.Took)
		assert.True(t, out.Acked, "%+v", out)
		switch text := out.Errors["typed"]; {
		case len(out.Errors) == 0:
			closed[views[i].User]++
		case strings.Contains(text, id+" was approved already, by \"person"):
			kinds["approved already"]++
		default:
			if !c.limited || !strings.Contains(text, "nothing was done") {
				t.Errorf("this is not true: %q", text)
			}
			kinds[text]++
		}
	}
	answered := time.Since(begun)
	watch(t, f, log, "it is done", func() bool { return strings.Contains(f.Message(slackfake.Ops, card.TS).Text, "DONE") })

	st, err := c.service.Show(t.Context(), id)
	require.NoError(t, err)
	require.Len(t, st.Request.Approvals, 1)
	winner := st.Request.Approvals[0].By.Subject
	// Who was not told in the form has to be told otherwise, all but the one whose
	// approval it was.
	silent := func() (left int) {
		for _, who := range approvers {
			due := closed[who.ID()]
			if strings.HasSuffix(winner, ":"+who.ID()) {
				due--
			}
			left += max(0, due-len(f.Ephemerals(who.ID())))
		}
		return left
	}
	within := patience
	if c.limited {
		within = 30 * time.Minute // one a second
	}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if err := f.Await(ctx, func() bool { return silent() == 0 }); err != nil {
		t.Errorf("%d are told nothing", silent())
	}
	for _, who := range approvers {
		for _, m := range f.Ephemerals(who.ID()) {
			kinds["told later: "+m.Text]++
		}
	}
	for what, n := range kinds {
		t.Logf("%4d %s", n, what)
	}
	t.Logf("%d submissions sent in %v, answered in %v, the slowest in %v; %d closed", len(submitted), sent, answered, slowest, total(closed))
	assert.Equal(t, 1, c.vps.Sent(vpsfake.Create), "one safety copy")
	assert.Equal(t, 1, c.vps.Sent(vpsfake.Overwrite), "one restore")
	approved := 0
	for _, r := range c.records() {
		b, err := r.Parse()
		require.NoError(t, err)
		if b.Event == policy.EventApproved {
			approved++
		}
	}
	assert.Equal(t, 1, approved)
	assert.Empty(t, f.Violations())
}

// TestNothingHappensAfterPeopleWereToldThatNothingDid has VPS.org hang for longer than
// a command may take.
func TestNothingHappensAfterPeopleWereToldThatNothingDid(t *testing.T) {
	t.Parallel()
	inBubble(t, false, 0, func(t *testing.T, c crew) {
		c.vps.Inject(vpsfake.Fault{Name: vpsfake.Hang, Match: func(r *http.Request) bool { return !strings.Contains(r.URL.Path, "/account/") }})
		require.True(t, c.f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "snapshot restore web-server-01 801 because x").Wait().Acked)
		time.Sleep(55 * time.Second)
		c.vps.Heal()
		time.Sleep(10 * time.Minute)
		told := c.f.Ephemerals(slackfake.Ada)
		require.Len(t, told, 1, "once: %v", told)
		assert.Contains(t, told[0].Text, "nothing was changed")
		assert.Empty(t, c.f.Messages(slackfake.Ops), "and so it is")
	})
}

// open counts the forms that people have open.
func open(f *slackfake.Fake, people []slackfake.Person) (n int) {
	for _, who := range people {
		n += len(f.Views(who.ID()))
	}
	return n
}

func total(m map[string]int) (n int) {
	for _, x := range m {
		n += x
	}
	return n
}

// hang has VPS.org answer nothing from now on.
func hang(w *world) {
	w.fake.Inject(vpsfake.Fault{Name: vpsfake.Hang, Match: func(*http.Request) bool { return true }})
}
