package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
	"github.com/vpsguard/vpsguard/slackbot"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
	"github.com/vpsguard/vpsguard/tools"
	"github.com/vpsguard/vpsguard/tools/bearer"
)

// night is when stories begin: eight and a half hours after the examples of
// VPS.org's documentation.
var night = time.Date(2025, 1, 17, 3, 0, 0, 0, time.UTC)

// settle is what passes after each step: cards are posted, edited and nudged.
const settle = 5 * time.Second

// stage is the whole program and both its worlds in one bubble of
// testing/synctest, where time passes only when everybody waits.
type stage struct {
	t       *testing.T
	vps     *vpsfake.Fake
	slack   *slackfake.Fake
	service *policy.Service
	ledger  *ledger.Ledger
	agents  map[string]*client.Client
	door    *tools.Server
	log     *lines

	readiness func(context.Context) map[string]string
	hangup    chan os.Signal // is read where there are rules

	settings settings
	ends     []func() // of the program that runs

	step    beat                  // that is being played
	pending []*slackfake.Delivery // what people did in it
	heard   map[string]int        // what only they saw before it, by person
	seen    slackfake.Message     // what somebody has on the screen
	root    slackfake.Message     // of the thread that people talk in
}

// people are those of the stories, beside Slack's own three: Ada asks, Grace and
// Edsger may approve. U08 and S08 are ids as rules take them.
func people(f *slackfake.Fake) {
	f.AddUser(slackfake.User{ID: "U4", Name: "guest", RealName: "Gus Guest", Guest: true})
	f.AddUser(slackfake.User{ID: "U5", Name: "robot", RealName: "Robot", Bot: true})
	f.AddUser(slackfake.User{ID: "U6", Name: "away", RealName: "Alan Away", Team: "T0AWAY", Stranger: true})
	f.AddUser(slackfake.User{ID: "U7", Name: "gone", RealName: "Gone Girl", Deleted: true})
	f.AddUser(slackfake.User{ID: "U08", Name: "hedy", RealName: "Hedy Lamarr"})
	f.AddGroup(slackfake.Group{ID: "S08", Handle: "deciders", Users: []string{slackfake.Ada, slackfake.Edsger, "U08"}})
	f.AddGroup(slackfake.Group{ID: "S1", Handle: "oncall", Users: []string{slackfake.Edsger}})
	// Nobody has invited the app to C3.
	f.AddChannel(slackfake.Channel{ID: "C3", Name: "elsewhere", Members: []string{slackfake.Ada, slackfake.Grace, slackfake.Edsger}})
	all := []string{slackfake.Ada, slackfake.Grace, slackfake.Edsger, "U4", "U5", "U6", "U7", "U08", slackfake.Bot}
	f.AddChannel(slackfake.Channel{ID: slackfake.Ops, Name: "ops", Members: all})
	f.AddChannel(slackfake.Channel{ID: "C2", Name: "incident", Members: all})
}

// newStage opens both doors, under the operator's rules where there are some. It
// is called inside a bubble.
func newStage(t *testing.T, extra []string, rules string) *stage {
	t.Helper()
	time.Sleep(time.Until(night))
	g := &stage{t: t, agents: map[string]*client.Client{}, heard: map[string]int{}, log: &lines{}}
	g.vps = vpsfake.New(vpsfake.Options{
		Now: time.Now, Token: testToken, CreateTakes: 40 * time.Second, RestoreTakes: 90 * time.Second,
	})
	g.slack = slackfake.New(slackfake.Options{Now: time.Now})
	g.slack.SetURL("http://127.0.0.2")
	people(g.slack)

	env := append(bare(t), "VPSGUARD_API_URL=http://127.0.0.1"+vpsfake.BasePath, "VPSGUARD_API_TOKEN="+testToken,
		"VPSGUARD_DATABASE=sqlite:"+t.TempDir()+"/ledger.db", "VPSGUARD_SLACK_BOT_TOKEN="+g.slack.BotToken(),
		"VPSGUARD_SLACK_APP_TOKEN="+g.slack.AppToken(), "VPSGUARD_SLACK_API_URL=http://127.0.0.2/api/",
		"VPSGUARD_SLACK_CHANNEL="+slackfake.Ops, "VPSGUARD_SLACK_APPROVERS="+slackfake.Grace+",S1")
	if rules != "" {
		g.settings.PolicyFile = filepath.Join(t.TempDir(), "rules.yaml")
		g.rules(rules)
		env = append(env, "VPSGUARD_POLICY_FILE="+g.settings.PolicyFile)
	}
	s, err := load(t.Context(), append(env, extra...))
	require.NoError(t, err)
	g.settings = s
	g.start()
	if !s.ReadOnly {
		require.NoError(t, g.service.SetPassphrase(t.Context(), atHost("root"), "", testPassphrase))
	}
	t.Cleanup(func() {
		g.slack.Close()
		g.stop()
	})
	return g
}

// rules writes the rule file.
func (g *stage) rules(text string) {
	require.NoError(g.t, os.WriteFile(g.settings.PolicyFile, []byte(text), 0o600))
}

// start starts the program, as [program.station] does, but on networks of the
// bubble's own and with a passphrase hash that takes no time.
func (g *stage) start() {
	st := g.station(g.settings)
	<-st.ledger.ready
	var err error
	g.ledger, err = st.ledger.get(g.t.Context())
	require.NoError(g.t, err)
	g.service, g.door, g.readiness = st.service, st.tools, st.readiness
	require.NoError(g.t, g.slack.AwaitSockets(g.t.Context(), 2))
	synctest.Wait()
}

// stop ends the program, and the programs that call it.
func (g *stage) stop() {
	for _, end := range slices.Backward(g.ends) {
		end()
	}
	g.ends, g.agents = nil, map[string]*client.Client{}
}

func (g *stage) station(s settings) *station {
	t := g.t
	p := &program{Now: time.Now, Stderr: g.log}
	log := p.logger(s)
	api := serveWire(t, g.vps)
	reads := &http.Transport{DialContext: api.DialContext}
	c, err := apiclient.New(s.APIURL, s.APIToken.Reveal(), apiclient.Options{
		Timeout: s.APITimeout, Transport: reads,
	})
	require.NoError(t, err)
	web := serveWire(t, g.slack)
	calls := web.Client()
	people := slackbot.NewPeople(slackbot.PeopleOptions{
		Token: s.SlackBotToken.Reveal(), URL: s.SlackAPIURL, Approvers: s.SlackApprovers, Now: time.Now, Log: log, HTTP: calls,
	})
	book, err := openRules(s.PolicyFile)
	require.NoError(t, err)
	st := &station{settings: s, rules: book, log: log, account: &account{client: c}}
	st.ledger = openBeside(context.WithoutCancel(t.Context()), p.openLedger(s, log), time.Now, log)
	st.service, err = newService(s, noted{st.ledger, log}, c, st.account, people, book)
	require.NoError(t, err)
	st.service.Passphrase = forSandbox
	st.tokens = bearer.NewTokens(st.ledger, time.Now, log)
	st.tools, err = tools.New(st.service, tools.Options{Instructions: instructions(false), Prompts: prompts, Resources: resources, Logger: log, Actor: program4story})
	require.NoError(t, err)
	st.slack, err = slackbot.New(slackbot.Options{
		Gate: st.service, Notes: st.ledger, Account: st.account.Get, People: people, Channel: s.SlackChannel,
		AppToken: s.SlackAppToken.Reveal(), Dialer: &websocket.Dialer{NetDialContext: web.DialContext}, ReadOnly: s.ReadOnly,
		Now: time.Now, Random: random, Log: log,
	})
	require.NoError(t, err)
	work, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	st.stopWork = stop
	st.worker = &worker{
		ledger: st.ledger, account: st.account, service: st.service, tell: st.slack.Tell, every: s.PollEvery, log: log,
	}
	if book != nil {
		g.hangup = make(chan os.Signal, 1)
		st.working.Go(func() { book.watch(work, g.hangup, st.service, log) })
	}
	st.working.Go(func() { st.slack.Run(work) })
	if !s.ReadOnly {
		st.working.Go(func() { st.worker.Run(work) })
	}
	g.ends = append(g.ends, func() {
		st.Close(context.WithoutCancel(t.Context()))
		reads.CloseIdleConnections()
		calls.CloseIdleConnections()
	})
	return st
}

// serveWire serves a handler on a network of its own.
func serveWire(t *testing.T, h http.Handler) *slackfake.Wire {
	t.Helper()
	wire := slackfake.NewWire()
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	go func() { _ = server.Serve(wire) }()
	t.Cleanup(func() { _ = server.Close(); _ = wire.Close() })
	return wire
}

type programKey struct{}

// program4story is the actor of a program that came over stdio. Two programs are
// two actors here.
func program4story(ctx context.Context, clientName string) policy.Actor {
	name, _ := ctx.Value(programKey{}).(string)
	return policy.Actor{
		Door: policy.DoorMCP, Subject: "stdio:" + name, Name: "a program of " + name, Client: clientName,
		Vouched: "operating system user that started it", Role: policy.RoleOperate,
	}
}

// agent is an MCP client of its own, over stdio.
func (g *stage) agent(name string) *client.Client {
	if c := g.agents[name]; c != nil {
		return c
	}
	in, toServer := io.Pipe()
	fromServer, out := io.Pipe()
	ctx := context.WithValue(context.WithoutCancel(g.t.Context()), programKey{}, name)
	over := make(chan error, 1)
	go func() {
		err := g.door.Stdio(ctx, in, out)
		_ = out.Close()
		over <- err
	}()
	c := client.NewClient(transport.NewIO(fromServer, toServer, io.NopCloser(strings.NewReader(""))))
	require.NoError(g.t, c.Start(ctx))
	g.ends = append(g.ends, func() {
		_ = toServer.Close()
		require.NoError(g.t, <-over)
	})
	g.agents[name] = greet(g.t, c)
	return c
}

// atHost is somebody at the host's terminal.
func atHost(name string) policy.Actor {
	return policy.Actor{Door: policy.DoorTerminal, Subject: name + " (uid 1000)", Name: name, Vouched: "operating system user"}
}

// requests are all requests, in the order of filing: rq_1 is the first.
func (g *stage) requests() []policy.Request {
	all, _, err := g.ledger.Requests(g.t.Context(), policy.Filter{})
	require.NoError(g.t, err)
	slices.Reverse(all)
	now, err := g.ledger.Now(g.t.Context())
	require.NoError(g.t, err)
	for i := range all {
		all[i] = all[i].At(now)
	}
	return all
}

// request gives the request that a story calls rq_1.
func (g *stage) request(name string) policy.Request {
	g.t.Helper()
	for i, r := range g.requests() {
		if name == fmt.Sprintf("rq_%d", i+1) {
			return r
		}
	}
	g.fail("there is no %s", name)
	return policy.Request{}
}

var storyID = regexp.MustCompile(`\brq_[1-9]\d?\b`)

// real puts the ids of the program in the place of the story's.
func (g *stage) real(text string) string {
	all := g.requests()
	return storyID.ReplaceAllStringFunc(text, func(name string) string {
		if n, err := strconv.Atoi(name[len("rq_"):]); err == nil && n <= len(all) {
			return all[n-1].ID
		}
		return name
	})
}

// told puts the story's names in the place of ids, digests and timestamps that
// are different each time.
func (g *stage) told(text string) string {
	var pairs []string
	for i, r := range g.requests() {
		pairs = append(pairs, r.ID, fmt.Sprintf("rq_%d", i+1), r.Plan.Digest, fmt.Sprintf("plan_of_rq_%d", i+1),
			strings.TrimPrefix(r.ID, "rq_"), fmt.Sprint(i+1)) // in the names of safety copies
	}
	for _, c := range []string{slackfake.Ops, "C2"} {
		for i, m := range g.slack.Messages(c) {
			pairs = append(pairs, m.TS, fmt.Sprintf("%s#%d", c, i+1))
		}
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// pass lets time pass until everybody waits.
func (g *stage) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// posts are what the program has posted in a channel, outside of threads.
func (g *stage) posts(channel string) []slackfake.Message {
	return slices.DeleteFunc(g.slack.Messages(channel), func(m slackfake.Message) bool { return m.From != slackfake.Bot })
}

// card is the newest card in a channel, or that of a request.
func (g *stage) card(where []string) slackfake.Message {
	g.t.Helper()
	channel, id := place(where)
	all := g.posts(channel)
	if id != "" {
		id = g.real(id)
		all = slices.DeleteFunc(all, func(m slackfake.Message) bool { return !strings.Contains(m.String(), "Request: "+id) })
	}
	if len(all) == 0 {
		g.fail("there is no card %s in %s", strings.Join(where, " "), channel)
	}
	return all[len(all)-1]
}

// place reads a channel and a request out of the words before the ">".
func place(words []string) (channel, request string) {
	channel = slackfake.Ops
	for _, w := range words {
		switch w[0] {
		case 'C':
			channel = w
		case 'r':
			request = w
		}
	}
	return channel, request
}
