package slackbot

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
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
	"github.com/vpsguard/vpsguard/policy/operations"
	"github.com/vpsguard/vpsguard/policy/policytest"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

const (
	botRoom    = "C2" // where people ask; Ops is where they decide
	botRestore = "snapshot restore web-server-01 801 because the upgrade broke login"
)

var (
	botAccount  = policy.Account{URL: "http://127.0.0.1/api/v1", Owner: "ops@example.com"}
	botAgent    = policytest.Agent("os:agent")
	botTerminal = policy.Actor{Door: policy.DoorTerminal, Subject: "ada", Name: "Ada", Vouched: "operating system user"}
)

// botWorld is a Slack, a VPS.org and a ledger in a bubble of time, and the
// processes that share them.
type botWorld struct {
	*testing.T
	slack  *slackfake.Fake
	vps    *vpsfake.Fake
	ledger *policytest.Memory
	wires  struct{ slack, vps, bot *slackfake.Wire }
	door   atomic.Pointer[http.Handler] // where Slack delivers
	procs  []*botProcess
	ends   []func()
	seed   atomic.Uint64
}

// inBotWorld runs a story in a bubble. Slack must have nothing to complain about.
func inBotWorld(t *testing.T, run func(w *botWorld)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 3, 14, 3, 0, 0, 250e6, time.UTC))) // bubbles begin in 2000
		w := newBotWorld(t)
		defer w.sound()
		defer w.close()
		run(w)
	})
}

func newBotWorld(t *testing.T) *botWorld {
	w := &botWorld{T: t, ledger: policytest.NewMemory(time.Now)}
	w.wires.slack, w.wires.vps, w.wires.bot = slackfake.NewWire(), slackfake.NewWire(), slackfake.NewWire()
	w.vps = vpsfake.New(vpsfake.Options{Now: time.Now, CreateTakes: 30 * time.Second, RestoreTakes: time.Minute})
	w.slack = slackfake.New(slackfake.Options{Now: time.Now, Client: w.wires.bot.Client()})
	w.slack.SetURL("http://slack.test")
	w.slack.AddChannel(slackfake.Channel{ID: botRoom, Name: "incident", Members: []string{slackfake.Ada, slackfake.Grace, slackfake.Edsger, slackfake.Bot}})
	w.serve(w.wires.slack, w.slack)
	w.serve(w.wires.vps, w.vps)
	w.serve(w.wires.bot, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if h := w.door.Load(); h != nil {
			(*h).ServeHTTP(rw, r)
			return
		}
		http.Error(rw, "nobody is at home", http.StatusServiceUnavailable)
	}))
	w.slack.SetReceiver(&slackfake.Receiver{
		Commands: "http://bot.test/slack/commands", Interactions: "http://bot.test/slack/interactions",
		Events: "http://bot.test/slack/events", Options: "http://bot.test/slack/options",
	})
	return w
}

func (w *botWorld) serve(wire *slackfake.Wire, h http.Handler) {
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	go func() { _ = server.Serve(wire) }()
	w.ends = append(w.ends, func() { _ = server.Close() })
}

func (w *botWorld) close() {
	for _, p := range w.procs {
		p.stop()
	}
	w.slack.Close()
	for _, end := range w.ends {
		end()
	}
	synctest.Wait()
}

// sound is what holds in every story.
func (w *botWorld) sound() {
	w.Helper()
	allowed := []string{"no-ack", "retry-after-ignored", "thread-of-nothing"}
	for _, v := range w.slack.Violations() {
		assert.Contains(w, allowed, v.Rule, v.String())
	}
	for _, c := range w.slack.Calls("") {
		raw, _ := json.Marshal(c.Args)
		assert.NotContains(w, string(raw), "<!channel>")
		assert.NotContains(w, string(raw), "<!here>")
	}
}

// deadly is a transport, or a ledger, of a process that may be killed.
type deadly struct {
	dead atomic.Bool
	next http.RoundTripper
}

var errKilled = errors.New("this process was killed")

func (d *deadly) RoundTrip(r *http.Request) (*http.Response, error) {
	if d.dead.Load() {
		return nil, errKilled
	}
	return d.next.RoundTrip(r)
}

// botNotes are the ledger's, which fail when they are told to.
type botNotes struct {
	under Notes
	mu    sync.Mutex
	count int
	// fails tells of the n-th PutNote whether it fails, and whether it happens.
	fails func(n int, put policy.Note) (fails, happens bool)
	drops func(policy.Note) (fails, happens bool)
	puts  []policy.Note
	down  bool
	dead  bool
}

func (b *botNotes) set(f func(*botNotes)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(b)
}

func (b *botNotes) gone() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dead || b.down {
		return policy.Errorf(policy.Unavailable, "the ledger could not be reached; nothing was changed")
	}
	return nil
}

func (b *botNotes) Now(ctx context.Context) (time.Time, error) {
	if err := b.gone(); err != nil {
		return time.Time{}, err
	}
	return b.under.Now(ctx)
}

func (b *botNotes) Note(ctx context.Context, scope, key string) (policy.Note, error) {
	if err := b.gone(); err != nil {
		return policy.Note{}, err
	}
	return b.under.Note(ctx, scope, key)
}

func (b *botNotes) Notes(ctx context.Context, scope string, due time.Time, limit int) ([]policy.Note, error) {
	if err := b.gone(); err != nil {
		return nil, err
	}
	return b.under.Notes(ctx, scope, due, limit)
}

func (b *botNotes) PutNote(ctx context.Context, n policy.Note) (policy.Note, error) {
	if err := b.gone(); err != nil {
		return policy.Note{}, err
	}
	b.mu.Lock()
	b.count++
	b.puts = append(b.puts, n)
	var fails, happens bool
	if b.fails != nil {
		fails, happens = b.fails(b.count, n)
	}
	b.mu.Unlock()
	if !fails {
		return b.under.PutNote(ctx, n)
	}
	if happens {
		if _, err := b.under.PutNote(ctx, n); err != nil {
			return policy.Note{}, err
		}
	}
	return policy.Note{}, policy.Errorf(policy.Unavailable, "the ledger could not store it; nothing was changed")
}

func (b *botNotes) DropNote(ctx context.Context, n policy.Note) error {
	if err := b.gone(); err != nil {
		return err
	}
	b.mu.Lock()
	var fails, happens bool
	if b.drops != nil {
		fails, happens = b.drops(n)
	}
	b.mu.Unlock()
	if !fails || happens {
		if err := b.under.DropNote(ctx, n); err != nil {
			return err
		}
	}
	if fails {
		return policy.Errorf(policy.Unavailable, "the ledger could not store it; nothing was changed")
	}
	return nil
}

// botProcess is one vpsguard.
type botProcess struct {
	w      *botWorld
	bot    *Bot
	svc    *policy.Service
	notes  *botNotes
	people *People
	net    *deadly
	vpsNet *deadly
	cancel context.CancelFunc
	work   sync.WaitGroup
	log    *botLog
	lazy   bool // it works off no nudges
}

type botLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *botLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(p))
	return len(p), nil
}

func (l *botLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "")
}

type botSetup struct {
	Options
	approvers []string
	lazy      bool // no worker, no sweep
	gate      func(Gate) Gate
	account   func(context.Context) (policy.Account, error)
}

// make wires a process and starts nothing.
func (w *botWorld) make(changes ...func(*botSetup)) *botProcess {
	w.Helper()
	s := botSetup{approvers: []string{slackfake.Grace, slackfake.Edsger}}
	s.Channel, s.Secrets = slackfake.Ops, []string{slackfake.DefaultSecret}
	s.account = func(context.Context) (policy.Account, error) { return botAccount, nil }
	for _, f := range changes {
		f(&s)
	}
	slackNet := &http.Transport{DialContext: w.wires.slack.DialContext, MaxIdleConnsPerHost: 32}
	vpsNet := &http.Transport{DialContext: w.wires.vps.DialContext, MaxIdleConnsPerHost: 32}
	w.ends = append(w.ends, slackNet.CloseIdleConnections, vpsNet.CloseIdleConnections)
	p := &botProcess{
		w: w, notes: &botNotes{under: w.ledger}, net: &deadly{next: slackNet}, vpsNet: &deadly{next: vpsNet}, log: &botLog{}, lazy: s.lazy,
	}
	log := slog.New(slog.NewTextHandler(p.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	p.people = NewPeople(PeopleOptions{
		Token: w.slack.BotToken(), URL: "http://slack.test/api/", Approvers: s.approvers,
		HTTP: &http.Client{Transport: p.net}, Now: time.Now, Log: log,
	})
	api, err := apiclient.New("http://127.0.0.1/api/v1", w.vps.Token(), apiclient.Options{Timeout: 30 * time.Second, Transport: vpsNet, Now: time.Now})
	require.NoError(w, err)
	random := func(b []byte) {
		for i := range b {
			sum := sha256.Sum256(fmt.Append(nil, w.seed.Add(1)))
			b[i] = sum[0]
		}
	}
	p.svc, err = policy.NewService(policy.Config{
		Operations: operations.Catalogue(api), Ledger: w.ledger, Account: s.account,
		Ways: []policy.Way{policy.WaySlack, policy.WayTerminal}, Passphrase: botHash{}, Random: random, ReadOnly: s.ReadOnly,
		Vouch:         p.people.Vouches,
		ApproveWithin: 30 * time.Minute, StartWithin: 10 * time.Minute,
		CallTimeout: 30 * time.Second, PollEvery: 10 * time.Second, SettleWithin: 2 * time.Minute,
	})
	require.NoError(w, err)
	o := s.Options
	o.Gate, o.Notes, o.Account, o.People, o.Now, o.Random, o.Log = p.svc, p.notes, s.account, p.people, time.Now, random, log
	if s.gate != nil {
		o.Gate = s.gate(o.Gate)
	}
	p.bot, err = New(o)
	require.NoError(w, err)
	return p
}

// start makes a process that runs, and that Slack delivers to from now on.
func (w *botWorld) start(changes ...func(*botSetup)) *botProcess {
	w.Helper()
	p := w.make(changes...)
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	w.procs = append(w.procs, p)
	h := p.bot.Handler()
	w.door.Store(&h)
	if p.lazy {
		p.work.Go(func() { <-ctx.Done(); p.bot.close() })
		return p
	}
	p.work.Go(func() { p.bot.Run(ctx) })
	p.work.Go(func() { p.worker(ctx) })
	return p
}

// worker works nudges off, as River does.
func (p *botProcess) worker(ctx context.Context) {
	var jobs sync.WaitGroup
	defer jobs.Wait()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		for _, id := range p.w.ledger.TakeDue(time.Now()) {
			jobs.Go(func() { _, _ = p.svc.Advance(context.WithoutCancel(ctx), id) })
		}
		for _, id := range p.w.ledger.TakeTold() {
			jobs.Go(func() { _, _ = p.bot.Tell(ctx, id) })
		}
		if n%25 == 0 {
			_, _ = p.svc.Sweep(ctx)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// stop ends a process as a signal does.
func (p *botProcess) stop() {
	p.cancel()
	p.work.Wait()
}

// kill ends a process at once.
func (p *botProcess) kill() {
	p.net.dead.Store(true)
	p.vpsNet.dead.Store(true)
	p.notes.set(func(n *botNotes) { n.dead = true })
	p.cancel()
	p.bot.end()
	p.work.Wait()
}

type botHash struct{}

func (botHash) Hash(p string) (string, error) { return "hash of " + p, nil }
func (botHash) Matches(hash, p string) bool   { return hash == "hash of "+p }

// until waits for something at most so long.
func (w *botWorld) until(d time.Duration, what string, ok func() bool) {
	w.Helper()
	for end := time.Now().Add(d); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			w.show()
			require.FailNow(w, "it did not come: "+what)
		}
	}
}

func (w *botWorld) show() {
	for _, c := range []string{slackfake.Ops, botRoom} {
		for _, m := range w.slack.Messages(c) {
			w.Logf("IN %s v%d\n%s", c, m.Versions, m)
			for _, r := range w.slack.Thread(c, m.TS)[1:] {
				w.Logf("  REPLY %s", r)
			}
		}
	}
	for _, u := range []string{"U1", "U2", "U3"} {
		for _, m := range w.slack.Ephemerals(u) {
			w.Logf("ONLY %s\n%s", u, m)
		}
	}
	for i, p := range w.procs {
		if s := p.log.String(); w.Failed() || len(s) > 0 {
			w.Logf("LOG %d\n%s", i, s[max(0, len(s)-6000):])
		}
	}
}

// call files something as an agent does, and gives the request.
func (p *botProcess) call(operation, arguments string) policy.Request {
	p.w.Helper()
	out, err := p.svc.Call(context.Background(), policy.Call{Actor: botAgent, Operation: operation, Arguments: json.RawMessage(arguments)})
	require.NoError(p.w, err)
	return out.Standing.Request
}

func (p *botProcess) callRestore() policy.Request {
	p.w.Helper()
	return p.call("restore_snapshot", `{"server":"web-server-01","snapshot_id":801,"reason":"the upgrade broke login"}`)
}

// approveAtTerminal approves at the other door.
func (p *botProcess) approveAtTerminal(id string) {
	p.w.Helper()
	ctx := context.Background()
	st, err := p.svc.Show(ctx, id)
	require.NoError(p.w, err)
	_ = p.svc.SetPassphrase(ctx, botTerminal, "", "correct horse battery") // it may be set already
	_, err = p.svc.Decide(ctx, id, policy.Verdict{
		By: botTerminal, Way: policy.WayTerminal, Digest: st.Request.Plan.Digest, Typed: st.Request.Plan.Server.Typed(), Secret: "correct horse battery",
	})
	require.NoError(p.w, err)
}

func (w *botWorld) get(id string) policy.Request {
	w.Helper()
	r, err := w.ledger.Request(context.Background(), id)
	require.NoError(w, err)
	return r.At(time.Now())
}

// cards are the messages of a channel that show a request.
func (w *botWorld) cards(channel, id string) []slackfake.Message {
	return slices.DeleteFunc(w.slack.Messages(channel), func(m slackfake.Message) bool {
		return m.From != slackfake.Bot || !strings.Contains(m.String(), id)
	})
}

// card is the one card of a request in a channel, once it has buttons, or is final.
func (w *botWorld) card(channel, id string) slackfake.Message {
	w.Helper()
	w.until(20*time.Second, "one card of "+id+" in "+channel, func() bool {
		cs := w.cards(channel, id)
		return len(cs) == 1 && (len(cs[0].Buttons()) > 0 || !w.get(id).State.Open())
	})
	return w.cards(channel, id)[0]
}

// right tells whether a card shows what is so: the state, buttons that fit, and one
// last line below it.
func (w *botWorld) right(channel string, id string) bool {
	cs := w.cards(channel, id)
	if len(cs) == 0 {
		return false
	}
	return w.rightCard(cs[len(cs)-1], id)
}

func (w *botWorld) rightCard(m slackfake.Message, id string) bool {
	r := w.get(id)
	if state, _, _ := strings.Cut(stateWords(r), ","); !strings.HasPrefix(m.Aloud(), state) {
		return false
	}
	pressable := slices.ContainsFunc(m.Buttons(), func(b slackfake.Button) bool { return b.Action == actApprove })
	if pressable != (r.State == policy.StateHeld) {
		return false
	}
	return r.State.Open() || len(w.endings(m)) == 1
}

// endings are the replies of the bot below a card.
func (w *botWorld) endings(m slackfake.Message) []slackfake.Message {
	if m.Parent != "" {
		return nil
	}
	return slices.DeleteFunc(w.slack.Thread(m.Channel, m.TS)[1:], func(r slackfake.Message) bool { return r.From != slackfake.Bot })
}

// settled waits until each channel shows a request as it is, by one card.
func (w *botWorld) settled(id string, channels ...string) {
	w.Helper()
	w.until(40*time.Second, "cards of "+id+" that are right in "+strings.Join(channels, ", "), func() bool {
		return !slices.ContainsFunc(channels, func(c string) bool { return !w.right(c, id) })
	})
}

// form opens a form from a card.
func (w *botWorld) form(user string, m slackfake.Message, says string) slackfake.View {
	w.Helper()
	require.True(w, w.slack.User(user).Press(m, says).Wait().Acked)
	w.until(3*time.Second, "a form for "+user, func() bool { _, ok := w.slack.View(user); return ok })
	v, _ := w.slack.View(user)
	return v
}

var botTyped = slackfake.Values{"typed": {"typed": "web-server-01"}}

// told waits for a message to one person alone that says something.
func (w *botWorld) told(user string, says ...string) {
	w.Helper()
	w.until(15*time.Second, user+" told "+strings.Join(says, ", "), func() bool {
		return slices.ContainsFunc(w.slack.Ephemerals(user), func(m slackfake.Message) bool {
			all := strings.ToLower(m.String() + "\n" + m.Text)
			return !slices.ContainsFunc(says, func(s string) bool { return !strings.Contains(all, strings.ToLower(s)) })
		})
	})
}

// countRecords counts what the audit says of an event.
func (w *botWorld) countRecords(e policy.Event) int {
	n := 0
	for _, r := range w.ledger.Records() {
		body, err := r.Parse()
		require.NoError(w, err)
		if body.Event == e {
			n++
		}
	}
	return n
}

// waiting are the notes of a kind that are stored.
func (w *botWorld) waiting(scope string) []policy.Note {
	w.Helper()
	ns, err := w.ledger.Notes(context.Background(), scope, time.Now().Add(1000*time.Hour), 1000)
	require.NoError(w, err)
	return ns
}
