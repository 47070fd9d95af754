package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/slackbot"
	"github.com/vpsguard/vpsguard/tools"
	"github.com/vpsguard/vpsguard/tools/bearer"
)

// station is everything that a serving process runs: the ledger, the service,
// the worker behind it and the doors before it.
type station struct {
	settings settings
	log      *slog.Logger
	ledger   *opening
	account  *account
	service  *policy.Service
	worker   *worker
	tools    *tools.Server
	mcp      *bearer.Guard // before the MCP door over HTTP
	rules    *rulebook     // nil where there are none
	slack    *slackbot.Bot // nil where the Slack door is closed
	tokens   *bearer.Tokens
	issuer   *bearer.Issuer // nil where there is none
	beyond   bool           // other hosts reach it, so that MCP takes callers with a credential only
	looked   look           // at what is ready

	work     context.Context // of what goes on in the background
	stopWork context.CancelFunc
	working  sync.WaitGroup
}

// station wires a serving process. It returns before the ledger is open and
// before anything was sent, so that a client is answered at once.
func (p *program) station(ctx context.Context, s settings, label string, who func(clientName string) policy.Actor) (*station, error) {
	client, err := connectWith(s, p.metrics.api())
	if err != nil {
		return nil, err
	}
	book, err := openRules(s.PolicyFile)
	if err != nil {
		return nil, err
	}
	st := &station{settings: s, rules: book, log: p.logger(s), account: &account{client: client}}
	st.ledger = openBeside(context.WithoutCancel(ctx), p.openLedger(s, st.log), p.decides(s), st.log)
	st.tokens = bearer.NewTokens(st.ledger, p.Now, st.log)
	st.mcp = st.guard(p.Now)
	people := p.newPeople(s, st.log)
	if st.service, err = newService(s, noted{st.ledger, st.log}, client, st.account, people, st.rules); err == nil {
		st.service.HostNow = p.Now
		st.tools, err = tools.New(counted{st.service, p.metrics}, tools.Options{
			Name: "vpsguard", Version: build().Version, Instructions: instructions(s.ReadOnly), Label: label, Logger: st.log,
			Prompts: prompts, Resources: resources,
			Wait: p.callsOf(),
			Actor: func(ctx context.Context, clientName string) policy.Actor {
				a, ok := bearer.From(ctx)
				if a.Client = clientName; !ok {
					a = who(clientName)
				}
				if s.ReadOnly {
					a.Role = policy.RoleRead
				}
				return a
			},
		})
	}
	if err == nil && people != nil {
		st.slack, err = slackbot.New(slackbot.Options{
			Gate: counted{st.service, p.metrics}, Notes: st.ledger, Account: st.account.Get, People: people, Channel: s.SlackChannel,
			AppToken: s.SlackAppToken.Reveal(), Secrets: s.slackSecrets(), Label: label, ReadOnly: s.ReadOnly,
			Now: p.Now, Random: random, Log: st.log,
		})
	}
	if err != nil {
		_ = st.ledger.Close() // nothing was stored yet
		return nil, err
	}
	p.metrics.observe(st)
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	st.work, st.stopWork = work, stop
	st.worker = &worker{ledger: st.ledger, account: st.account, service: st.service, every: s.PollEvery, log: st.log}
	if book != nil {
		st.working.Go(func() {
			told := make(chan os.Signal, 1)
			signal.Notify(told, syscall.SIGHUP)
			defer signal.Stop(told)
			book.watch(work, told, st.service, st.log)
		})
	}
	if st.slack != nil {
		st.worker.tell = st.slack.Tell
		st.working.Go(func() { st.slack.Run(work) })
	}
	if !s.ReadOnly {
		st.working.Go(func() { st.worker.Run(work) })
	}
	st.log.InfoContext(ctx, "vpsguard starts", "version", build().Version, "api", client.BaseURL(),
		"confirm", strings.Join(s.Confirm, ","), "read_only", s.ReadOnly)
	if slices.Contains(s.ways(), policy.WayElicitation) {
		st.log.WarnContext(ctx, "forms in MCP clients count as confirmations (VPSGUARD_CONFIRM has elicitation); "+claimedOnly)
	}
	return st, nil
}

// follow goes through the audit until the station closes.
func (st *station) follow(f follower) {
	st.working.Go(func() { f.Run(st.work) })
}

// graceful is how long a stop may take: a call to the API that was sent is
// waited for, so that its answer is recorded.
func (st *station) graceful() time.Duration { return st.settings.APITimeout + 5*time.Second }

// Close ends the work in flight and closes the ledger. What takes longer than a
// graceful stop may is left to the next process.
func (st *station) Close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), st.graceful())
	defer cancel()
	st.stopWork()
	ended := make(chan struct{})
	go func() { st.working.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done():
		st.log.WarnContext(ctx, "some work is still in flight; the next process finds out what came of it")
		return
	}
	st.tokens.Close()
	if err := st.ledger.Close(); err != nil {
		st.log.WarnContext(ctx, "the ledger could not be closed", "error", err)
	}
}

// overStdio is the actor of a client that started this process.
func overStdio(clientName string) policy.Actor {
	subject, name := localUser()
	return policy.Actor{
		Door: policy.DoorMCP, Subject: "stdio:" + subject, Name: "a program of " + name, Client: clientName,
		Vouched: "operating system user that started it", Role: policy.RoleOperate,
	}
}

// overLoopback is the actor of a client that reached the port on this host, where no
// credential is needed.
func overLoopback(clientName string) policy.Actor {
	return policy.Actor{
		Door: policy.DoorMCP, Subject: "loopback", Name: "a program on this host", Client: clientName,
		Vouched: "nothing but that it runs on this host", Role: policy.RoleOperate,
	}
}

// atTerminal is the actor of somebody at the command line.
func atTerminal() policy.Actor {
	subject, name := localUser()
	return policy.Actor{Door: policy.DoorTerminal, Subject: subject, Name: name, Vouched: "operating system user"}
}
