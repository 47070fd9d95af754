package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/slackbot"
)

// finding is what the doctor found about one thing.
type finding struct {
	About string `json:"about"` // the part: VPS.org, ledger, Slack …
	State string `json:"state"` // ok, warning, wrong
	Found string `json:"found"`
	Fix   string `json:"fix,omitempty"`
}

const (
	findOK      = "ok"
	findWarning = "warning"
	findWrong   = "wrong"
)

func (p *program) doctorCommand() *cobra.Command {
	c := p.command("doctor", "Check that everything vpsguard needs works, and say how to fix what does not",
		"It looks at the settings, VPS.org, the ledger and Slack. It asks for nothing and posts\n"+
			"nothing; for a moment it opens a Socket Mode connection, and an older ledger becomes one of\n"+
			"this version, as by any start. It exits 1 if something is wrong.",
		"  vpsguard doctor\n  vpsguard doctor --output json", noArguments)
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		s, err := load(c.Context(), p.Env)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(c.Context(), 2*time.Minute)
		defer cancel()
		found := append(checkSettings(s), p.checkAPI(ctx, s)...)
		found = append(found, p.checkRules(s)...)
		found = append(found, p.checkLedger(ctx, s)...)
		found = append(found, p.checkIssuer(ctx, s)...)
		found = append(found, p.checkSlack(ctx, s)...)
		found = append(found, p.checkMetrics(ctx, s))
		wrong := 0
		for _, f := range found {
			if f.State == findWrong {
				wrong++
			}
		}
		if out.json() {
			err = p.printJSON(map[string]any{"total": len(found), "wrong": wrong, "findings": found})
		} else {
			err = p.printFindings(found)
		}
		if err == nil && wrong > 0 {
			err = policy.Errorf(policy.Invalid, "%d of %d things are wrong", wrong, len(found))
		}
		return err
	}
	return c
}

func (p *program) printFindings(found []finding) error {
	for _, f := range found {
		if err := p.printf("%-8s %s: %s\n", f.State, f.About, f.Found); err != nil {
			return err
		}
		if f.Fix != "" {
			if err := p.printf("         → %s\n", f.Fix); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkSettings says which ways of confirming count, and what one of them is worth.
func checkSettings(s settings) []finding {
	out := []finding{{"settings", findOK, "complete; what confirms: " + strings.Join(s.Confirm, ", "), ""}}
	if slices.Contains(s.ways(), policy.WayElicitation) {
		out = append(out, finding{
			"elicitation", findWarning, "forms in MCP clients count; " + claimedOnly,
			"Take elicitation out of VPSGUARD_CONFIRM wherever a program must not be able to confirm.",
		})
	}
	return out
}

// claimedOnly is what a form in a client is worth.
const claimedOnly = "they are friction and no proof: a client can claim that its user has filled one in"

// checkAPI asks VPS.org who we are and which servers it shows us.
func (p *program) checkAPI(ctx context.Context, s settings) []finding {
	const about = "VPS.org"
	client, err := connect(s)
	if err != nil {
		return []finding{{about, findWrong, said(err), ""}}
	}
	servers, err := client.Servers(ctx, apiclient.ServerFilter{})
	if err != nil {
		e := public(fromAPI(err, "listing servers"))
		fix := e.Hint
		if fix == "" {
			fix = "Check VPSGUARD_API_TOKEN and VPSGUARD_API_URL."
		}
		return []finding{{about, findWrong, e.Message, fix}}
	}
	who, err := (&account{client: client}).Get(ctx)
	switch {
	case err != nil:
		return []finding{{about, findWrong, said(err), ""}}
	case who.Owner == "":
		return []finding{{about, findWarning, fmt.Sprintf("servers: %d", len(servers)) + "; the token may not read its account", "Two accounts at one URL could not be told apart; give the token the right to read account/me."}}
	}
	return []finding{{about, findOK, policy.Clean(who.String(), 120) + fmt.Sprintf(", servers: %d", len(servers)), ""}}
}

// checkRules reads the rule file as a server would.
func (p *program) checkRules(s settings) []finding {
	const about = "rules"
	if s.PolicyFile == "" {
		return []finding{{about, findOK, "none; every overwrite and delete takes one confirmation", ""}}
	}
	book, err := openRules(s.PolicyFile)
	if err != nil {
		return []finding{{about, findWrong, err.Error(), "Correct the file; vpsguard policy check FILE looks at it. Servers that run keep the rules they have."}}
	}
	return []finding{{about, findOK, fmt.Sprintf("%d rules, hash %s", len(book.rules().Names()), book.rules().Hash()), ""}}
}

// checkLedger opens the ledger, where there is one.
func (p *program) checkLedger(ctx context.Context, s settings) []finding {
	const about = "ledger"
	l, err := p.findLedger(ctx, s, nil)
	if policy.KindOf(err) == policy.NotFound {
		return []finding{{about, findWarning, public(err).Message + " yet", "The first server that starts makes it."}}
	}
	if err != nil {
		e := public(err)
		return []finding{{about, findWrong, e.Message, e.Hint}}
	}
	defer func() { _ = l.Close() }()
	if err := l.Ready(ctx); err != nil {
		e := public(err)
		return []finding{{about, findWrong, e.Message, e.Hint}}
	}
	concerns, err := l.Concerns(ctx)
	if err != nil {
		return []finding{{about, findWrong, said(err), ""}}
	}
	out := []finding{{about, findOK, policy.Clean(l.Path(), 200), ""}}
	for _, c := range concerns {
		out = append(out, finding{about, findWarning, c.What, c.Fix})
	}
	out = append(out, checkCallers(ctx, s, l))
	service, err := newService(s, l, nil, nil, nil, nil)
	if err != nil {
		return append(out, finding{about, findWrong, said(err), ""})
	}
	set, err := service.HasPassphrase(ctx)
	switch {
	case err != nil:
		return append(out, finding{"terminal", findWrong, said(err), ""})
	case !set && strings.Contains(strings.Join(s.Confirm, " "), string(policy.WayTerminal)):
		out = append(out, finding{"terminal", findWarning, "no passphrase is set, so nobody can confirm at the terminal", "Run: vpsguard passphrase set"})
	case set:
		out = append(out, finding{"terminal", findOK, "a passphrase is set", ""})
	}
	return out
}

// checkSlack asks Slack about everything that the Slack door needs.
func (p *program) checkSlack(ctx context.Context, s settings) []finding {
	if !s.slack() {
		return []finding{{"Slack", findOK, "not set up", ""}}
	}
	var out []finding
	var ruled []string
	if book, err := openRules(s.PolicyFile); err == nil && book != nil { // a wrong file was told of
		ruled = book.rules().Approvers()
	}
	for _, f := range slackbot.Checkup(ctx, slackbot.CheckupOptions{
		BotToken: s.SlackBotToken.Reveal(), AppToken: s.SlackAppToken.Reveal(), SigningSecret: strings.Join(s.slackSecrets(), ","),
		Channel: s.SlackChannel, Approvers: s.SlackApprovers, Ruled: ruled, URL: s.SlackAPIURL, Now: p.Now,
	}) {
		state := findOK
		switch {
		case !f.OK:
			state = findWrong
		case f.Warn:
			state = findWarning
		}
		out = append(out, finding{"Slack " + f.What, state, f.Found, f.Fix})
	}
	return out
}

// checkMetrics asks whoever is where the metrics should be.
func (p *program) checkMetrics(ctx context.Context, s settings) finding {
	const about = "metrics"
	if s.MetricsAddr == "" {
		return finding{about, findOK, "not shown", ""}
	}
	url := "http://" + s.MetricsAddr + "/metrics"
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return finding{about, findWrong, "VPSGUARD_METRICS_ADDR is no address that can be asked", "Use 127.0.0.1:9090."}
	}
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		return finding{about, findOK, "at " + url + " while vpsguard serve runs; nobody answers there now", ""}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), mBuild.name+"{") {
		return finding{about, findWrong, "something else than vpsguard answers at " + url, "Set VPSGUARD_METRICS_ADDR to a port that is free."}
	}
	return finding{about, findOK, "at " + url, ""}
}

// said is what an error says to people.
func said(err error) string {
	var wrong *usageError
	if errors.As(err, &wrong) {
		return err.Error()
	}
	return public(err).Message
}
