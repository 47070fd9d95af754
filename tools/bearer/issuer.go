package bearer

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/vpsguard/vpsguard/policy"
)

// The scopes that an issuer may grant. Who may operate may also read.
const (
	ScopeRead    = "vpsguard:read"
	ScopeOperate = "vpsguard:operate"
)

// algorithms are those in which only the issuer can sign. Without the list a token could be
// signed with the issuer's public key as if it were a secret, or not at all (RFC 8725, section 3.1).
var algorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
}

// IssuerOptions are what an [Issuer] is made of.
type IssuerOptions struct {
	URL      string // as its tokens and its discovery document say, letter by letter
	Audience string // which its tokens must be for
	Now      func() time.Time
	Log      *slog.Logger
}

// Issuer checks access tokens of an OAuth 2.1 issuer: JSON Web Tokens that are signed
// with the keys that its OpenID discovery document leads to. Nothing is asked of it before the
// first token comes. It may be used concurrently.
type Issuer struct {
	IssuerOptions
	fetch *fetcher

	mu       sync.Mutex // held while the discovery document is fetched, which is done once
	verifier *oidc.IDTokenVerifier
}

// NewIssuer makes an issuer, and sends nothing.
func NewIssuer(o IssuerOptions) *Issuer {
	return &Issuer{IssuerOptions: o, fetch: newFetcher(o.Now)}
}

// Ready tells whether the issuer can be asked: whether it was found, or why not.
func (i *Issuer) Ready(ctx context.Context) error {
	_, err := i.discovered(ctx)
	return err
}

// Probe tells whether the issuer and its keys can be asked, by looking at a token that
// nobody signed.
func (i *Issuer) Probe(ctx context.Context) error {
	encode := base64.RawURLEncoding.EncodeToString
	nobody := encode([]byte(`{"alg":"RS256","kid":"nobody"}`)) + "." + encode([]byte(`{}`)) + "." + encode([]byte("nobody"))
	verifier, err := i.discovered(ctx)
	if err != nil {
		return err
	}
	var lost error
	if _, err := verifier.Verify(context.WithValue(ctx, watchKey{}, &lost), nobody); err != nil && lost == nil {
		return nil
	}
	return i.outage(ctx, lost)
}

// discovered gives what checks tokens. Failures are remembered by the fetcher, which says
// when to try again.
func (i *Issuer) discovered(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.verifier != nil {
		return i.verifier, nil
	}
	// Whoever gives up waiting does not end it for those who come next.
	ctx = oidc.ClientContext(context.WithoutCancel(ctx), i.fetch.client())
	provider, err := oidc.NewProvider(ctx, i.URL)
	var found struct {
		Keys string `json:"jwks_uri"`
	}
	if err == nil {
		err = provider.Claims(&found)
	}
	if err == nil && found.Keys == "" {
		err = errors.New("its discovery document names no keys")
	}
	if err != nil {
		return nil, i.outage(ctx, err)
	}
	i.verifier = oidc.NewVerifier(i.URL, watched{oidc.NewRemoteKeySet(ctx, found.Keys)}, &oidc.Config{
		ClientID: i.Audience, SupportedSigningAlgs: algorithms, Now: i.Now,
	})
	i.Log.InfoContext(ctx, "the issuer was found", "issuer", i.URL)
	return i.verifier, nil
}

// outage is what is told where the issuer cannot be asked.
func (i *Issuer) outage(ctx context.Context, err error) error {
	var waits *waiting
	if !errors.As(err, &waits) {
		i.Log.WarnContext(ctx, "the issuer could not be asked", "issuer", i.URL, "error", policy.Clean(err.Error(), 300))
	}
	var mismatch *oidc.IssuerMismatchError
	if errors.As(err, &mismatch) {
		return policy.Errorf(policy.Unavailable, "the issuer calls itself otherwise than VPSGUARD_OIDC_ISSUER does, which has to be the same letter by letter").Because(err)
	}
	return policy.Errorf(policy.Unavailable, "the issuer cannot be asked right now").Because(err)
}

// watched tells beside the error whether the keys could be fetched at all: go-oidc tells
// it in words alone.
type watched struct{ keys oidc.KeySet }

type watchKey struct{}

// VerifySignature is [oidc.KeySet]'s.
func (w watched) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	payload, err := w.keys.VerifySignature(ctx, jwt)
	var (
		broken *unfetched
		waits  *waiting
	)
	lost := errors.As(err, &broken) || errors.As(err, &waits) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		err != nil && strings.HasPrefix(err.Error(), "fetching keys") // such as a key that cannot be read
	if seen, ok := ctx.Value(watchKey{}).(*error); ok && lost {
		*seen = err
	}
	return payload, err
}

// scopes are a claim that is a text with blanks between (RFC 9068) or a list.
type scopes []string

// UnmarshalJSON takes both; what is neither grants nothing.
func (s *scopes) UnmarshalJSON(raw []byte) error {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		*s = strings.Fields(text)
		return nil
	}
	var list []string
	if json.Unmarshal(raw, &list) == nil {
		*s = list
	}
	return nil
}

// claims are those of a token that count, beside what go-oidc checks.
type claims struct {
	Subject  string `json:"sub"`
	Scope    scopes `json:"scope"`
	Scp      scopes `json:"scp"`
	Username string `json:"preferred_username"`
	Email    string `json:"email"`
	Verified any    `json:"email_verified"` // some issuers send a text
	Client   string `json:"client_id"`
	Party    string `json:"azp"`
}

// role is how far a token reaches; "" for not at all.
func (c claims) role() policy.Role {
	var role policy.Role
	for _, s := range append(c.Scope[:len(c.Scope):len(c.Scope)], c.Scp...) {
		switch {
		case s == ScopeOperate:
			return policy.RoleOperate
		case s == ScopeRead:
			role = policy.RoleRead
		}
	}
	return role
}

// name is for people, and proves nothing: they may have chosen it themselves.
func (c claims) name() string {
	email := ""
	if c.Verified == true || c.Verified == "true" {
		email = c.Email
	}
	for _, name := range []string{c.Username, email, c.Client, c.Party} {
		if name = policy.Clean(name, 80); name != "" {
			return name
		}
	}
	return policy.Clean(c.Subject, 80)
}

// mostSubject is how long a subject may be (OpenID Connect Core, section 2).
const mostSubject = 255

// identify tells whose a token is, or why it counts for nothing.
func (i *Issuer) identify(ctx context.Context, secret string) (policy.Actor, *refusal) {
	verifier, err := i.discovered(ctx)
	if err != nil {
		return policy.Actor{}, i.later(err)
	}
	var lost error
	token, err := verifier.Verify(context.WithValue(ctx, watchKey{}, &lost), secret)
	if lost != nil {
		return policy.Actor{}, i.later(i.outage(ctx, lost))
	}
	if err != nil {
		return policy.Actor{}, wrong(err, secret)
	}
	var c claims
	switch err := token.Claims(&c); {
	case err != nil:
		return policy.Actor{}, wrong(err, secret)
	case c.Subject == "" || len(c.Subject) > mostSubject:
		return policy.Actor{}, invalid("this token does not say whose it is")
	case c.role() == "":
		return policy.Actor{}, insufficient(ScopeRead)
	}
	return policy.Actor{
		Door: policy.DoorMCP,
		// The issuer has no "#" in it, and the rest cannot hold one: nobody is somebody else.
		Subject: "oidc:" + i.URL + "#" + url.PathEscape(c.Subject), Name: c.name(), Role: c.role(),
		Vouched: fmt.Sprintf("%s, as %s", host(i.URL), policy.Clean(c.Subject, 40)),
	}, nil
}

func host(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil {
		return "the issuer"
	}
	return u.Host
}

// wrong refuses a token. What exactly is wrong is for the log; the caller, who may be
// somebody else than its owner, is told only what a good client can do about it.
func wrong(err error, secret string) *refusal {
	no := invalid("this token does not count here")
	var expired *oidc.TokenExpiredError
	if errors.As(err, &expired) {
		no = invalid("this token has expired")
	}
	no.log = policy.Clean(strings.ReplaceAll(err.Error(), secret, "[token]"), 300)
	return no
}

// later is what cannot be told now; the issuer's outages say until when.
func (i *Issuer) later(err error) *refusal {
	no := unavailable(err)
	var waits *waiting
	if errors.As(err, &waits) {
		no.wait = max(waits.until.Sub(i.Now()), time.Second)
	}
	return no
}

// insufficient refuses a token that reaches too short.
func insufficient(scope string) *refusal {
	return &refusal{
		status: http.StatusForbidden, kind: "insufficient_scope", scope: scope,
		message: "this needs a token with the scope " + scope,
	}
}
