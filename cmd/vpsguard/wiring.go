package main

import (
	"context"
	"crypto/rand"
	"log/slog"
	"time"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
	"github.com/vpsguard/vpsguard/policy/operations"
	"github.com/vpsguard/vpsguard/slackbot"
)

// connect makes the client for the API. It sends nothing.
func connect(s settings) (*apiclient.Client, error) { return connectWith(s, nil) }

// connectWith is connect with somebody who is told of all requests that are sent.
func connectWith(s settings, observe func(endpoint string) func(apiclient.Kind)) (*apiclient.Client, error) {
	if s.APIToken.Reveal() == "" {
		return nil, errNoToken()
	}
	c, err := apiclient.New(s.APIURL, s.APIToken.Reveal(), apiclient.Options{
		Timeout: s.APITimeout, UserAgent: "vpsguard/" + build().Version, Observe: observe,
	})
	if err != nil {
		return nil, usagef("VPSGUARD_API_URL or VPSGUARD_API_TOKEN cannot be used: %s", describe(err, "connecting"))
	}
	return c, nil
}

func errNoToken() error {
	return usagef("VPSGUARD_API_TOKEN is not set; put the account's API token in it, or the name of its file in VPSGUARD_API_TOKEN_FILE (vpsguard sandbox needs none)")
}

// random fills with random bytes, which never fails.
func random(b []byte) { _, _ = rand.Read(b) }

// newService makes the one way for every call from its parts. Without a client
// there are no operations, and what needs the account says so; without people
// nobody can confirm in Slack.
func newService(s settings, l policy.Ledger, client *apiclient.Client, who *account, people *slackbot.People, book *rulebook) (*policy.Service, error) {
	c := policy.Config{
		Ledger: l, Ways: s.ways(), ReadOnly: s.ReadOnly, Passphrase: forPeople,
		Random:        random,
		ApproveWithin: s.ApproveWithin, StartWithin: s.StartWithin,
		CallTimeout: s.APITimeout, PollEvery: s.PollEvery,
		SettleWithin: 4 * s.APITimeout,
		Account:      func(context.Context) (policy.Account, error) { return policy.Account{}, errNoToken() },
	}
	c.StateKey, _ = sealKey(s.StateKey.Reveal()) // was checked
	if client != nil {
		c.Operations, c.Account = operations.Catalogue(client), who.Get
	}
	if book != nil {
		c.Judge, c.Person = book.Judge, book.Person
	}
	if people != nil {
		c.Vouch = people.Vouches
	}
	return policy.NewService(c)
}

// decides is the host's clock, where it decides; nil where the database's does.
func (p *program) decides(s settings) func() time.Time {
	if isServer(s.Database.Reveal()) {
		return nil
	}
	return p.Now
}

// pace is the clock by which limits on how often something is done are kept.
func (p *program) pace() func() time.Time {
	if p.Pace != nil {
		return p.Pace
	}
	return p.Now
}

// openLedger opens the ledger of the settings, and makes it where there is none.
func (p *program) openLedger(s settings, log *slog.Logger) func(context.Context) (*ledger.Ledger, error) {
	return func(ctx context.Context) (*ledger.Ledger, error) {
		return ledger.Open(ctx, s.Database.Reveal(), ledger.Options{Now: p.Now, Logger: log})
	}
}

// findLedger opens the ledger of the settings where there is one. To make an empty
// one would be a wrong answer to an auditor.
func (p *program) findLedger(ctx context.Context, s settings, log *slog.Logger) (*ledger.Ledger, error) {
	l, err := ledger.Open(ctx, s.Database.Reveal(), ledger.Options{Now: p.Now, Logger: log, Existing: true})
	if policy.KindOf(err) == policy.NotFound {
		return nil, policy.Public(err).WithHint("VPSGUARD_DATABASE says where it is; a server that runs there makes it.")
	}
	return l, err
}

// newPeople makes what knows who is who in Slack; nil where the Slack door is
// closed. It sends nothing.
func (p *program) newPeople(s settings, log *slog.Logger) *slackbot.People {
	if !s.slack() {
		return nil
	}
	return slackbot.NewPeople(slackbot.PeopleOptions{
		Token: s.SlackBotToken.Reveal(), URL: s.SlackAPIURL, Approvers: s.SlackApprovers, Now: p.pace(), Log: log,
		Observe: p.metrics.slack(),
	})
}
