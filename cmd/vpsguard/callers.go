package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/tools/bearer"
)

// guard is what asks for credentials before the MCP door over HTTP.
func (st *station) guard(now func() time.Time) *bearer.Guard {
	s := st.settings
	if s.OIDCIssuer != "" {
		st.issuer = bearer.NewIssuer(bearer.IssuerOptions{URL: s.OIDCIssuer, Audience: s.OIDCAudience, Now: now, Log: st.log})
	}
	return bearer.NewGuard(bearer.Options{
		Tokens: st.tokens, Issuer: st.issuer, Resource: strings.TrimRight(s.PublicURL, "/") + "/mcp", Now: now, Log: st.log,
		// Behind a proxy everybody comes from this host, by the proxy's name.
		Open: func(r *http.Request) bool { return !st.beyond && fromHere(r) },
	})
}

// How often one caller may call: an agent that works hard stays far below, and one that is
// caught in a loop does not keep VPS.org busy.
const (
	callsBurst = 100
	callsEvery = 200 * time.Millisecond
)

// callsOf tells callers who call too often how long to wait.
func (p *program) callsOf() func(policy.Actor) time.Duration {
	calls := bearer.NewLimits(callsEvery, callsBurst, p.pace())
	return func(a policy.Actor) time.Duration { return calls.Take(a.Key()) }
}

// anyCallers tells whether there is anything that could let a caller from another
// host in. What cannot be told now is found out while serving.
func (p *program) anyCallers(ctx context.Context, s settings) bool {
	if s.OIDCIssuer != "" {
		return true
	}
	l, err := p.findLedger(ctx, s, nil)
	if err != nil {
		return policy.KindOf(err) != policy.NotFound
	}
	defer func() { _ = l.Close() }() // it was only read
	_, use, err := bearer.List(ctx, l)
	return use || err != nil
}

// callers says what authenticates whoever calls over HTTP.
func (st *station) callers(ctx context.Context) string {
	n, use, err := st.tokens.Count(ctx)
	switch {
	case st.issuer != nil:
		if e := st.issuer.Ready(ctx); e != nil {
			return ready + ", but " + public(e).Message
		}
		return ready + ", for whoever signs in at " + st.settings.OIDCIssuer + ", and " + countTokens(n)
	case err != nil:
		return public(err).Message
	case use:
		return ready + ", for " + countTokens(n)
	case st.beyond:
		return ready + ", for nobody: no token was ever made"
	default:
		return ready + ", for all on this host: no token was ever made"
	}
}

// countTokens says how many tokens there are.
func countTokens(n int) string {
	switch n {
	case 0:
		return "no token"
	case 1:
		return "1 token"
	default:
		return fmt.Sprintf("%d tokens", n)
	}
}

// checkIssuer asks the issuer for what tokens are checked with.
func (p *program) checkIssuer(ctx context.Context, s settings) []finding {
	const about = "sign-in"
	if s.OIDCIssuer == "" {
		return nil
	}
	issuer := bearer.NewIssuer(bearer.IssuerOptions{
		URL: s.OIDCIssuer, Audience: s.OIDCAudience, Now: p.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err := issuer.Probe(ctx); err != nil {
		why := public(err).Message
		if cause := errors.Unwrap(err); cause != nil {
			why += ": " + policy.Clean(cause.Error(), 200)
		}
		return []finding{{about, findWrong, why, "Check VPSGUARD_OIDC_ISSUER, and that this host reaches it. Callers with tokens of ours get in meanwhile."}}
	}
	return []finding{{about, findOK, "callers need a token of " + s.OIDCIssuer + " for " + s.OIDCAudience + " with the scope " +
		bearer.ScopeRead + " or " + bearer.ScopeOperate, ""}}
}

// checkCallers says which tokens authenticate whoever calls serve over HTTP.
func checkCallers(ctx context.Context, s settings, l policy.Reader) finding {
	const about = "tokens"
	all, use, err := bearer.List(ctx, l)
	switch {
	case err != nil:
		return finding{about, findWrong, said(err), ""}
	case s.OIDCIssuer != "":
		return finding{about, findOK, "beside those of the issuer: " + countTokens(len(all)), ""}
	case len(all) > 0:
		return finding{about, findOK, "callers over HTTP need one; what counts: " + countTokens(len(all)), ""}
	case use:
		return finding{about, findWarning, "callers over HTTP need one, and all are revoked, so nobody gets in", "Make one: vpsguard token new NAME"}
	case !loopback(s.Addr) || s.PublicURL != "":
		return finding{about, findWarning, "none was ever made, so nobody from another host gets in", "Make one: vpsguard token new NAME"}
	default:
		return finding{about, findOK, "none was ever made; any program on this host may call serve", ""}
	}
}

// completeIssuer refuses half a configuration: somebody believes that callers have to sign in.
func (s *settings) completeIssuer() error {
	switch {
	case s.OIDCIssuer == "" && s.OIDCAudience == "":
		return nil
	case s.OIDCIssuer == "":
		return usagef("VPSGUARD_OIDC_ISSUER is not set, but VPSGUARD_OIDC_AUDIENCE is; set it to the issuer's URL, or remove the audience")
	case s.OIDCAudience == "":
		return usagef("VPSGUARD_OIDC_ISSUER is set and VPSGUARD_OIDC_AUDIENCE is not, so tokens that the issuer gave for others would count; set it to the audience that tokens for vpsguard have, such as its URL with /mcp")
	case s.PublicURL == "":
		return usagef("VPSGUARD_OIDC_ISSUER is set and VPSGUARD_PUBLIC_URL is not, so clients could not find out where to sign in; set it to the URL at which they reach serve")
	}
	return nil
}
