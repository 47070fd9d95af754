package bearer

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/vpsguard/vpsguard/policy"
)

// mostToken is how long a token may be, in bytes; those of issuers are a few kB.
const mostToken = 16 << 10

// After so many failures at once an address has to wait, and may then fail once
// every few seconds. Whoever comes with a token that counts never waits.
const (
	failuresBurst = 20
	failuresEvery = 3 * time.Second
)

// So many requests of one caller are taken at once, and then one in so long a time. What they
// are for is not looked at here; how often a caller may call tools is said elsewhere, and is less.
const (
	requestsBurst = 500
	requestsEvery = 20 * time.Millisecond
)

// So many sessions one caller opens at once, and then one in so long a time: a part of what all
// callers together may.
const (
	openingsBurst = 40
	openingsEvery = 4 * time.Second
)

// mostAtOnce is how many requests of one caller are answered at a time. Most take no time, but some
// wait, and some only listen, for as long as their client likes.
const mostAtOnce = 500

// Options are what a [Guard] is made of.
type Options struct {
	Tokens *Tokens
	Issuer *Issuer // nil where there is none
	// Resource is the URL of the door as clients know it (RFC 8707), where there is an issuer.
	Resource string
	// Open tells whether a request without a credential is let through as long as there is no
	// kind of credential in use: one that only this host can have sent. Others find nothing then.
	Open func(*http.Request) bool
	Now  func() time.Time
	Log  *slog.Logger
}

// Guard stands before the MCP door.
type Guard struct {
	Options
	failures *Limits // by address
	requests *Limits // by caller
	openings *Limits // by caller
	inside   crowd   // by caller
}

// NewGuard makes a guard.
func NewGuard(o Options) *Guard {
	return &Guard{
		Options: o, failures: NewLimits(failuresEvery, failuresBurst, o.Now), requests: NewLimits(requestsEvery, requestsBurst, o.Now),
		openings: NewLimits(openingsEvery, openingsBurst, o.Now), inside: crowd{of: map[string]int{}},
	}
}

type actorKey struct{}

// From gives who calls, as the guard found out; false where it let somebody through without
// a credential.
func From(ctx context.Context) (policy.Actor, bool) {
	a, ok := ctx.Value(actorKey{}).(policy.Actor)
	return a, ok
}

// refusal is an answer to a request that is not let in.
type refusal struct {
	status  int
	kind    string // the error code of RFC 6750, section 3.1; "" where there was no token
	message string
	scope   string        // that is needed; "" for all that there are
	log     string        // what the log is told instead of the message; may be empty
	wait    time.Duration // when to come back; 0 where that is not known
}

// Before lets requests through to next, with who calls in their context.
func (g *Guard) Before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		actor, known, no := g.admit(r)
		if no != nil {
			g.refuse(w, *no)
			return
		}
		if !g.inside.enter(actor.Key()) {
			g.refuse(w, refusal{status: http.StatusTooManyRequests, message: "too many of your requests are being answered; end some first", wait: time.Second})
			return
		}
		defer g.inside.leave(actor.Key())
		if known {
			r = r.WithContext(context.WithValue(r.Context(), actorKey{}, actor))
		}
		// What follows needs no token, so it cannot tell one.
		r.Header = r.Header.Clone()
		r.Header.Del("Authorization")
		next.ServeHTTP(w, r)
	})
}

// admit tells who calls, or why nobody is let in.
func (g *Guard) admit(r *http.Request) (actor policy.Actor, known bool, no *refusal) {
	secret, given, no := credential(r)
	switch {
	case no != nil:
		return actor, false, no
	case !given:
		return actor, false, g.anonymous(r)
	}
	from := address(r.RemoteAddr)
	wait := g.failures.Spent(from)
	actor, no = g.identify(r.Context(), secret, wait == 0)
	switch {
	case no == nil:
		if wait := g.requests.Take(actor.Key()); wait > 0 {
			return actor, false, &refusal{status: http.StatusTooManyRequests, message: "you ask too often; try again later", wait: wait}
		}
		return actor, true, nil
	case no.status != http.StatusUnauthorized:
		return actor, false, no
	}
	if wait == 0 {
		wait = g.failures.Take(from)
	}
	if wait > 0 {
		return actor, false, &refusal{status: http.StatusTooManyRequests, message: "too many tokens were refused; try again later", wait: wait}
	}
	g.Log.InfoContext(r.Context(), "a token was refused", "from", from, "why", cmp.Or(no.log, no.message))
	return actor, false, no
}

// anonymous tells whether a request without a credential is let through.
func (g *Guard) anonymous(r *http.Request) *refusal {
	use, err := g.Issuer != nil, error(nil)
	if !use {
		use, err = g.Tokens.InUse(r.Context())
	}
	switch {
	case err != nil:
		return unavailable(err)
	case use:
		return &refusal{status: http.StatusUnauthorized, message: "this needs a token: send Authorization: Bearer and the token"}
	case !g.Open(r):
		return &refusal{status: http.StatusNotFound, message: "nothing is served here"}
	default:
		return nil
	}
}

// identify tells whose a token is. Where look is false, nobody is asked who could be
// kept busy by it.
func (g *Guard) identify(ctx context.Context, secret string, look bool) (policy.Actor, *refusal) {
	if g.Issuer != nil && !strings.HasPrefix(secret, tokenPrefix) {
		return g.Issuer.identify(ctx, secret)
	}
	found, ok, err := g.Tokens.Find(ctx, secret, look)
	switch {
	case err != nil:
		return policy.Actor{}, unavailable(err)
	case !ok:
		return policy.Actor{}, invalid("this token does not count here, or no longer")
	default:
		return found.Actor(), nil
	}
}

func invalid(message string) *refusal {
	return &refusal{status: http.StatusUnauthorized, kind: "invalid_token", message: message}
}

// unavailable is what cannot be told now. The client keeps its token and comes back.
func unavailable(err error) *refusal {
	return &refusal{status: http.StatusServiceUnavailable, message: "who calls cannot be told right now: " + policy.Public(err).Message, wait: 2 * time.Second}
}

// credential takes the token out of a request. RFC 6750, section 2, has it in one place
// at a time; here it is the header, since URLs are logged.
func credential(r *http.Request) (secret string, given bool, no *refusal) {
	wrong := func(message string) (string, bool, *refusal) {
		return "", false, &refusal{status: http.StatusBadRequest, kind: "invalid_request", message: message}
	}
	if r.URL.Query().Has("access_token") {
		return wrong("a token does not belong into a URL; send it in the Authorization header, and make another one: this one is in logs now")
	}
	values := r.Header.Values("Authorization")
	switch {
	case len(values) == 0:
		return "", false, nil
	case len(values) > 1:
		return wrong("there is more than one Authorization header")
	}
	scheme, secret, _ := strings.Cut(values[0], " ")
	secret = strings.Trim(secret, " ")
	switch {
	case !strings.EqualFold(scheme, "Bearer"): // another kind is none that counts
		return "", false, nil
	case secret == "", len(secret) > mostToken || strings.ContainsAny(secret, " ,\t"):
		return wrong("what the Authorization header holds is no token")
	}
	return secret, true, nil
}

// address is where a request comes from, as far as it is limited: an IPv6 host has
// 2^64 addresses of its own.
func address(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if ip = ip.Unmap(); ip.Is4() {
		return ip.String()
	}
	if prefix, err := ip.WithZone("").Prefix(64); err == nil {
		return prefix.String()
	}
	return ip.String()
}

// Opens counts a session that a caller opens, and gives how long they have to wait first. Whoever
// needs no credential cannot be told from others.
func (g *Guard) Opens(r *http.Request) time.Duration {
	a, known := From(r.Context())
	if !known {
		return 0
	}
	return g.openings.Take(a.Key())
}

// refuse writes a refusal: the challenge for programs, and a JSON-RPC error without an
// id, as the door itself answers what it does not take.
func (g *Guard) refuse(w http.ResponseWriter, no refusal) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	if no.wait > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(no.wait.Seconds()))))
	}
	if no.status == http.StatusUnauthorized || no.kind != "" {
		h.Set("WWW-Authenticate", g.challenge(no))
	}
	w.WriteHeader(no.status)
	var answer struct {
		JSONRPC string `json:"jsonrpc"`
		ID      any    `json:"id"`
		Error   struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	answer.JSONRPC, answer.Error.Code, answer.Error.Message = "2.0", -32600, no.message
	_ = json.NewEncoder(w).Encode(answer) // the client may be gone
}

// challenge is the value of WWW-Authenticate.
func (g *Guard) challenge(no refusal) string {
	parts := []string{`realm="vpsguard"`}
	if no.kind != "" {
		// RFC 6750, section 3: printable ASCII without quotes and backslashes.
		parts = append(parts, `error="`+no.kind+`"`, `error_description="`+no.message+`"`)
	}
	if g.Issuer != nil {
		// All scopes unless one is missing: a client that asked for less would never be offered
		// what it could ask more for.
		scope := cmp.Or(no.scope, ScopeRead+" "+ScopeOperate)
		parts = append(parts, `scope="`+scope+`"`, `resource_metadata="`+g.metadataURL()+`"`)
	}
	return "Bearer " + strings.Join(parts, ", ")
}
