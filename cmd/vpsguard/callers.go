package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
	"github.com/vpsguard/vpsguard/tools/bearer"
)

// guard is what asks for credentials before the MCP door over HTTP.
func (st *station) guard(now func() time.Time) *bearer.Guard {
	return bearer.NewGuard(bearer.Options{
		Tokens: st.tokens, Now: now, Log: st.log,
		// Behind a proxy everybody comes from this host, by the proxy's name.
		Open: func(r *http.Request) bool { return !st.beyond && fromHere(r) },
	})
}

// anyCallers tells whether there is anything that could let a caller from another
// host in. What cannot be told now is found out while serving.
func (p *program) anyCallers(ctx context.Context, s settings) bool {
	if errNoLedger(s) != nil {
		return false
	}
	l, err := ledger.Open(ctx, s.Database, ledger.Options{Now: p.Now})
	if err != nil {
		return true
	}
	defer func() { _ = l.Close() }() // it was only read
	_, use, err := bearer.List(ctx, l)
	return use || err != nil
}

// callers says what authenticates whoever calls over HTTP.
func (st *station) callers(ctx context.Context) string {
	n, use, err := st.tokens.Count(ctx)
	switch {
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
		return "nobody: all tokens are revoked"
	case 1:
		return "1 token"
	default:
		return fmt.Sprintf("%d tokens", n)
	}
}

// checkCallers says what authenticates whoever calls serve over HTTP.
func checkCallers(ctx context.Context, s settings, l policy.Reader) finding {
	const about = "MCP over HTTP"
	all, use, err := bearer.List(ctx, l)
	switch {
	case err != nil:
		return finding{about, findWrong, said(err), ""}
	case len(all) > 0:
		return finding{about, findOK, "callers need a token; what counts: " + countTokens(len(all)), ""}
	case use:
		return finding{about, findWarning, "callers need a token, and all are revoked, so nobody gets in", "Make one: vpsguard token new NAME"}
	case !loopback(s.Addr) || s.PublicURL != "":
		return finding{about, findWarning, "no token was ever made, so nobody from another host gets in", "Make one: vpsguard token new NAME"}
	default:
		return finding{about, findOK, "any program on this host may call; no token was ever made", ""}
	}
}
