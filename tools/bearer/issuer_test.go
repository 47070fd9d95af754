package bearer_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/policytest"
	"github.com/vpsguard/vpsguard/tools/bearer"
	"github.com/vpsguard/vpsguard/tools/bearer/issuertest"
)

const (
	audience = "https://vpsguard.example.com/mcp"
	sub      = "auth0|5f7c8ec7c33c6c004bbafe82"
)

// signIn is a gate where people sign in at an issuer.
func signIn(t *testing.T) (*gate, *issuertest.Issuer) {
	t.Helper()
	idp := issuertest.New(t)
	g := &gate{clock: policytest.NewClock(), log: &buffer{}}
	g.ledger = policytest.NewMemory(g.clock.Now)
	g.mount(t, behind(g, idp.URL))
	return g, idp
}

func behind(g *gate, issuer string) func(*bearer.Options) {
	return func(o *bearer.Options) {
		o.Issuer = bearer.NewIssuer(bearer.IssuerOptions{URL: issuer, Audience: audience, Now: g.clock.Now, Log: o.Log})
		o.Resource = audience
	}
}

// claims are those of a good token, with some changed; nil takes one away.
func (g *gate) claims(idp *issuertest.Issuer, changed map[string]any) map[string]any {
	c := map[string]any{
		"iss": idp.URL, "aud": audience, "sub": sub, "exp": g.clock.Now().Add(time.Hour).Unix(),
		"iat": g.clock.Now().Unix(), "scope": "openid vpsguard:operate", "preferred_username": "ada",
	}
	maps.Copy(c, changed)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func TestWhoSignsIn(t *testing.T) {
	g, idp := signIn(t)
	assert.Zero(t, idp.Fetched("/.well-known/openid-configuration"), "nothing is asked before somebody comes")
	got := g.with(t, idp.Token(g.claims(idp, nil)))
	assert.Equal(t, policy.Actor{
		Door: policy.DoorMCP, Subject: "oidc:" + idp.URL + "#auth0%7C5f7c8ec7c33c6c004bbafe82", Name: "ada", Role: policy.RoleOperate,
		Vouched: strings.TrimPrefix(idp.URL, "http://") + ", as " + sub,
	}, got.actor(t))
	for range 10 {
		g.with(t, idp.Token(g.claims(idp, nil))).actor(t)
	}
	assert.Equal(t, 1, idp.Fetched("/keys"), "keys that are known are not asked for")
	own := made(t, g.ledger, "ci-agent", policy.RoleRead)
	assert.Equal(t, "token:ci-agent", g.with(t, own).actor(t).Subject, "our own tokens count beside")
	for name, c := range map[string]struct {
		changed map[string]any
		role    policy.Role
	}{
		"scope as a text":                 {map[string]any{"scope": "vpsguard:read"}, policy.RoleRead},
		"scope as a list":                 {map[string]any{"scope": []string{"vpsguard:read", "vpsguard:operate"}}, policy.RoleOperate},
		"scp as a text":                   {map[string]any{"scope": nil, "scp": "vpsguard:read email"}, policy.RoleRead},
		"scp as a list":                   {map[string]any{"scope": nil, "scp": []string{"vpsguard:operate"}}, policy.RoleOperate},
		"read here and operate there":     {map[string]any{"scope": "vpsguard:read", "scp": []string{"vpsguard:operate"}}, policy.RoleOperate},
		"one audience of several":         {map[string]any{"aud": []string{"https://other.example.com", audience}}, policy.RoleOperate},
		"not valid before two minutes":    {map[string]any{"nbf": g.clock.Now().Add(2 * time.Minute).Unix()}, policy.RoleOperate}, // clocks differ
		"a scope that is neither of both": {map[string]any{"scope": 7, "scp": "vpsguard:read"}, policy.RoleRead},
	} {
		assert.Equal(t, c.role, g.with(t, idp.Token(g.claims(idp, c.changed))).actor(t).Role, name)
	}
}

func TestNobodyIsSomebodyElse(t *testing.T) {
	g, idp := signIn(t)
	for _, chosen := range []string{"x:ci-agent", "token:ci-agent", "#ci-agent", "a#b", "../ci-agent", "ci agent\n", "loopback", "%23"} {
		got := g.with(t, idp.Token(g.claims(idp, map[string]any{"sub": chosen}))).actor(t)
		rest, ok := strings.CutPrefix(got.Subject, "oidc:"+idp.URL+"#")
		require.True(t, ok, got.Subject)
		assert.NotContains(t, rest, "#")
		assert.Equal(t, policy.Clean(got.Subject, 300), got.Subject)
	}
	one := g.with(t, idp.Token(g.claims(idp, map[string]any{"sub": "%23"}))).actor(t)
	other := g.with(t, idp.Token(g.claims(idp, map[string]any{"sub": "#"}))).actor(t)
	assert.NotEqual(t, one.Subject, other.Subject)
	for name, want := range map[string]map[string]any{
		"ada@example.com": {"preferred_username": nil, "email": "ada@example.com", "email_verified": true},
		sub:               {"preferred_username": nil, "email": "boss@example.com", "email_verified": false},
		"robot":           {"preferred_username": nil, "email": "boss@example.com", "client_id": "robot"},
	} {
		assert.Equal(t, name, g.with(t, idp.Token(g.claims(idp, want))).actor(t).Name)
	}
}

// TestTokensOfAnIssuerThatDoNotCount takes each from a real issuer, but for what is wrong with it.
func TestTokensOfAnIssuerThatDoNotCount(t *testing.T) {
	g, idp := signIn(t)
	idp.RotateToRSA()
	stranger := issuertest.New(t)
	past := g.clock.Now().Add(-time.Second).Unix()
	good := idp.Token(g.claims(idp, nil))
	require.Equal(t, http.StatusOK, g.with(t, good).status)
	head, rest, _ := strings.Cut(good, ".")
	claims, signature, _ := strings.Cut(rest, ".")
	theirs := strings.Split(stranger.Token(g.claims(idp, nil)), ".")
	for _, c := range []struct {
		name, token, says string
	}{
		{"expired", idp.Token(g.claims(idp, map[string]any{"exp": past})), "this token has expired"},
		{"without an end", idp.Token(g.claims(idp, map[string]any{"exp": nil})), "this token has expired"},
		{"not valid yet", idp.Token(g.claims(idp, map[string]any{"nbf": g.clock.Now().Add(time.Hour).Unix()})), "does not count"},
		{"for others", idp.Token(g.claims(idp, map[string]any{"aud": "https://other.example.com"})), "does not count"},
		{"for nobody", idp.Token(g.claims(idp, map[string]any{"aud": nil})), "does not count"},
		{"for something longer", idp.Token(g.claims(idp, map[string]any{"aud": audience + "/"})), "does not count"},
		{"of another issuer, with our key", idp.Token(g.claims(idp, map[string]any{"iss": stranger.URL})), "does not count"},
		{"of nobody", idp.Token(g.claims(idp, map[string]any{"iss": nil})), "does not count"},
		{"of another issuer", stranger.Token(g.claims(stranger, nil)), "does not count"},
		{"of another issuer that calls itself ours", stranger.Token(g.claims(idp, nil)), "does not count"},
		{"signed by nobody", idp.Unsigned(g.claims(idp, nil)), "does not count"},
		{"with the signature taken away", head + "." + claims + ".", "does not count"},
		{"with somebody else's signature", head + "." + claims + "." + theirs[2], "does not count"},
		{"with other claims", head + "." + theirs[1] + "x." + signature, "does not count"},
		{"signed with the public key, as PEM", idp.Confused(g.claims(idp, nil), "pem"), "does not count"},
		{"signed with the public key, as DER", idp.Confused(g.claims(idp, nil), "der"), "does not count"},
		{"whose it is not said", idp.Token(g.claims(idp, map[string]any{"sub": nil})), "does not say whose"},
		{"of a subject that is too long", idp.Token(g.claims(idp, map[string]any{"sub": strings.Repeat("x", 256)})), "does not say whose"},
		{"no token at all", "nonsense", "does not count"},
		{"VPS.org's", "vps_4f9c2a7d81e6b350", "does not count"},
	} {
		g.clock.Advance(10 * time.Second) // so that failures and fetches are not what is seen
		got := g.with(t, c.token)
		assert.Equal(t, http.StatusUnauthorized, got.status, c.name)
		challenge := got.header.Get("Www-Authenticate")
		assert.Contains(t, challenge, `error="invalid_token"`, c.name)
		assert.Contains(t, challenge, `resource_metadata="https://vpsguard.example.com/.well-known/oauth-protected-resource/mcp"`, c.name)
		assert.Contains(t, got.body, c.says, c.name)
	}
	assert.NotContains(t, g.log.String(), claims, "no token is logged")
	assert.Contains(t, g.log.String(), "expected audience", "but what is wrong")
	challenge := g.ask(t).header.Get("Www-Authenticate")
	assert.NotContains(t, challenge, "error")
	assert.Contains(t, challenge, `scope="vpsguard:read vpsguard:operate"`)
}

func TestScopesThatReachTooShort(t *testing.T) {
	g, idp := signIn(t)
	for name, changed := range map[string]map[string]any{
		"none":              {"scope": nil},
		"others":            {"scope": "openid vpsguard:reader vpsguard:operate2 VPSGUARD:OPERATE vpsguard"},
		"others in a list":  {"scope": []string{"vpsguard:read vpsguard:operate"}},
		"one with a comma":  {"scope": "vpsguard:read,vpsguard:operate"},
		"roles are no such": {"scope": nil, "roles": []string{"vpsguard:operate"}},
	} {
		got := g.with(t, idp.Token(g.claims(idp, changed)))
		assert.Equal(t, http.StatusForbidden, got.status, name)
		challenge := got.header.Get("Www-Authenticate")
		assert.Contains(t, challenge, `error="insufficient_scope"`, name)
		assert.Contains(t, challenge, `scope="vpsguard:read"`, name)
		assert.Contains(t, challenge, `resource_metadata=`, name)
	}
}

func TestRotatedKeysAreFetched(t *testing.T) {
	g, idp := signIn(t)
	old := idp.Token(g.claims(idp, nil))
	require.Equal(t, http.StatusOK, g.with(t, old).status)
	idp.Rotate()
	assert.Equal(t, http.StatusOK, g.with(t, idp.Token(g.claims(idp, nil))).status, "at once")
	assert.Equal(t, http.StatusUnauthorized, g.with(t, old).status, "what the old key signed counts no more")
	idp.RotateToRSA()
	assert.Equal(t, http.StatusOK, g.with(t, idp.Token(g.claims(idp, nil))).status, "of another kind")
}

// TestUnknownKeysDoNotFloodTheIssuer: whoever sends how many tokens with keys that nobody has.
func TestUnknownKeysDoNotFloodTheIssuer(t *testing.T) {
	g, idp := signIn(t)
	good := idp.Token(g.claims(idp, nil))
	require.Equal(t, http.StatusOK, g.with(t, good).status)
	stranger := issuertest.New(t)
	var codes []int
	for range 60 {
		stranger.Rotate()
		codes = append(codes, g.with(t, stranger.Token(g.claims(idp, nil))).status)
	}
	assert.LessOrEqual(t, idp.Fetched("/keys"), 5)
	assert.Contains(t, codes, http.StatusUnauthorized)
	assert.NotContains(t, codes, http.StatusOK)
	assert.Equal(t, http.StatusOK, g.with(t, good).status, "whose key is known goes on")
	idp.Rotate()
	got := g.with(t, idp.Token(g.claims(idp, nil)))
	assert.Equal(t, http.StatusServiceUnavailable, got.status, "it may be a new key, so it is not called invalid")
	assert.NotEmpty(t, got.header.Get("Retry-After"))
	g.clock.Advance(10 * time.Second)
	assert.Equal(t, http.StatusOK, g.with(t, idp.Token(g.claims(idp, nil))).status)
}

func TestAnIssuerThatIsDown(t *testing.T) {
	g, idp := signIn(t)
	down := func(got reply, wait string) {
		t.Helper()
		assert.Equal(t, http.StatusServiceUnavailable, got.status)
		assert.Equal(t, wait, got.header.Get("Retry-After"))
		assert.Empty(t, got.header.Get("Www-Authenticate"))
		assert.Contains(t, got.body, "the issuer cannot be asked right now")
	}
	idp.Down(http.StatusBadGateway)
	token := idp.Token(g.claims(idp, nil))
	down(g.with(t, token), "2")
	down(g.with(t, token), "1")
	assert.Equal(t, 1, idp.Fetched("/.well-known/openid-configuration"), "it is not asked again at once")
	g.clock.Advance(time.Second)
	down(g.with(t, token), "2")
	own := made(t, g.ledger, "ci-agent", policy.RoleRead)
	assert.Equal(t, http.StatusOK, g.with(t, own).status, "our own tokens need no issuer")
	idp.Down(0)
	g.clock.Advance(2 * time.Second)
	assert.Equal(t, http.StatusOK, g.with(t, token).status, "no start-up is needed for it")

	idp.Down(http.StatusInternalServerError)
	assert.Equal(t, http.StatusOK, g.with(t, token).status, "known keys count while it is down")
	idp.Rotate()
	down(g.with(t, idp.Token(g.claims(idp, nil))), "2")
	assert.Equal(t, http.StatusUnauthorized, g.with(t, idp.Unsigned(g.claims(idp, nil))).status, "what no issuer could mend is invalid all the same")
	idp.Down(0)
	g.clock.Advance(time.Second)
	for _, broken := range []string{"<html>", "{}", `{"keys":[]}`, `{"keys":[{"kty":"RSA","kid":"x","n":7}]}`, `{"keys":"x"}`} {
		idp.Say("/keys", broken)
		idp.Rotate()
		g.clock.Advance(time.Minute)
		got := g.with(t, idp.Token(g.claims(idp, nil)))
		assert.Equal(t, http.StatusServiceUnavailable, got.status, broken)
	}
	idp.Say("/keys", "")
	g.clock.Advance(time.Minute)
	assert.Equal(t, http.StatusOK, g.with(t, idp.Token(g.claims(idp, nil))).status)
	assert.NotContains(t, g.log.String(), "token=")
}

func TestADiscoveryDocumentThatCannotBeTrusted(t *testing.T) {
	for name, c := range map[string]struct{ document, says string }{
		"of another issuer":            {`{"issuer":"https://other.example.com","jwks_uri":"%s/keys"}`, "calls itself otherwise than VPSGUARD_OIDC_ISSUER"},
		"without keys":                 {`{"issuer":"%s"}`, "cannot be asked right now"},
		"with keys that anybody sends": {`{"issuer":"%s","jwks_uri":"http://keys.example.com/keys"}`, "cannot be asked right now"},
		"with keys in a file":          {`{"issuer":"%s","jwks_uri":"file:///etc/passwd"}`, "cannot be asked right now"},
	} {
		g, idp := signIn(t)
		document := c.document
		if strings.Contains(document, "%s") {
			document = fmt.Sprintf(document, idp.URL)
		}
		idp.Say("/.well-known/openid-configuration", document)
		got := g.with(t, idp.Token(g.claims(idp, nil)))
		assert.Equal(t, http.StatusServiceUnavailable, got.status, name)
		assert.Contains(t, got.body, c.says, name)
	}
}

func TestWhereToSignIn(t *testing.T) {
	g, idp := signIn(t)
	log := slog.New(slog.DiscardHandler)
	guard := bearer.NewGuard(bearer.Options{
		Issuer:   bearer.NewIssuer(bearer.IssuerOptions{URL: idp.URL, Audience: audience, Now: g.clock.Now, Log: log}),
		Resource: audience, Now: g.clock.Now, Log: log,
	})
	mux := http.NewServeMux()
	guard.Mount(mux)
	for _, path := range []string{"/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"} {
		web := recorded(mux, path)
		assert.Equal(t, http.StatusOK, web.Code)
		body, err := io.ReadAll(web.Body)
		require.NoError(t, err)
		var found map[string]any
		require.NoError(t, json.Unmarshal(body, &found))
		assert.Equal(t, map[string]any{
			"resource": audience, "authorization_servers": []any{idp.URL}, "scopes_supported": []any{"vpsguard:read", "vpsguard:operate"},
			"bearer_methods_supported": []any{"header"}, "resource_name": "vpsguard",
		}, found)
	}
	assert.Equal(t, http.StatusNotFound, recorded(mux, "/.well-known/oauth-protected-resource/other").Code)
	mux = http.NewServeMux()
	bearer.NewGuard(bearer.Options{Now: g.clock.Now, Log: log}).Mount(mux)
	assert.Equal(t, http.StatusNotFound, recorded(mux, "/.well-known/oauth-protected-resource").Code, "without an issuer there is nowhere to sign in")
}

func TestProbing(t *testing.T) {
	g, idp := signIn(t)
	probe := func() error {
		i := bearer.NewIssuer(bearer.IssuerOptions{URL: idp.URL, Audience: audience, Now: g.clock.Now, Log: slog.New(slog.DiscardHandler)})
		return i.Probe(t.Context())
	}
	require.NoError(t, probe())
	idp.Say("/keys", "{}")
	assert.ErrorContains(t, probe(), "neither a discovery document nor keys")
	idp.Down(503)
	assert.ErrorContains(t, probe(), "503")
}
