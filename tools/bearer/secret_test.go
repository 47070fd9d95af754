package bearer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/tools/bearer"
	"github.com/vpsguard/vpsguard/tools/bearer/issuertest"
)

// other is a text with another letter, of those that tokens and hashes have, at a place.
func other(s string, at int) string {
	letter := byte('2')
	if s[at] == letter {
		letter = '3'
	}
	return s[:at] + string(letter) + s[at+1:]
}

// refusedAll sends tokens of which none counts, slowly enough that it is not their number.
func (g *gate) refusedAll(t *testing.T, tokens map[string]string) {
	t.Helper()
	for name, token := range tokens {
		g.clock.Advance(5 * time.Second)
		got := g.with(t, token)
		assert.Equal(t, http.StatusUnauthorized, got.status, name)
		assert.Contains(t, got.header.Get("Www-Authenticate"), `error="invalid_token"`, name)
	}
}

// TestATokenIsKnownWhole sends what differs from a token in one place only.
func TestATokenIsKnownWhole(t *testing.T) {
	g := newGate(t)
	good, second := made(t, g.ledger, "ci-agent", policy.RoleOperate), made(t, g.ledger, "dashboard", policy.RoleRead)
	near := map[string]string{
		"the beginning of one and the end of another": good[:30] + second[30:],
		"without its last letter":                     good[:len(good)-1],
		"without its first":                           "vpg_" + good[5:],
		"with one more":                               good + "2",
		"twice":                                       good + good[4:],
		"its beginning alone":                         good[:20],
	}
	for at := len("vpg_"); at < len(good); at++ {
		near[fmt.Sprint("with another letter at ", at)] = other(good, at)
	}
	g.refusedAll(t, near)
	assert.Equal(t, "token:ci-agent", g.with(t, good).actor(t).Subject, "it was the tokens")
}

// TestAHashIsComparedWhole keeps hashes in the ledger that a token's hash begins or ends
// like, or contains.
func TestAHashIsComparedWhole(t *testing.T) {
	g := newGate(t)
	good := made(t, g.ledger, "ci-agent", policy.RoleOperate)
	kept, _, err := bearer.List(t.Context(), g.ledger)
	require.NoError(t, err)
	hash := kept[0].Hash
	require.Len(t, hash, 64)
	keeps := func(hash string) {
		raw, err := json.Marshal(map[string]any{"tokens": []bearer.Token{{Name: "ci-agent", Role: policy.RoleOperate, Hash: hash}}})
		require.NoError(t, err)
		require.NoError(t, g.ledger.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
			return tx.PutSetting(ctx, "tokens", string(raw), policy.RecordBody{Event: "test", By: ada})
		}))
	}
	near := []string{"", "*", hash + "0", "0" + hash, hash + hash, hash[1:], strings.ToUpper(hash), " " + hash, hash + "\x00"}
	for n := 1; n < len(hash); n++ {
		near = append(near, hash[:n], hash[n:])
	}
	for at := range len(hash) {
		near = append(near, other(hash, at))
	}
	for _, one := range near {
		keeps(one)
		g.refusedAll(t, map[string]string{fmt.Sprintf("%q instead of %q", one, hash): good})
	}
	keeps(hash)
	g.clock.Advance(5 * time.Second)
	assert.Equal(t, "token:ci-agent", g.with(t, good).actor(t).Subject, "it was the hashes")
}

// deaf is a ledger that can neither be read nor written, once it is told so.
type deaf struct {
	policy.Ledger
	now bool
}

var errDeaf = errors.New("the disk is gone")

func (d *deaf) Setting(ctx context.Context, name string) (string, error) {
	if d.now {
		return "", errDeaf
	}
	return d.Ledger.Setting(ctx, name)
}

func (d *deaf) Note(ctx context.Context, scope, key string) (policy.Note, error) {
	if d.now {
		return policy.Note{}, errDeaf
	}
	return d.Ledger.Note(ctx, scope, key)
}

// TestNobodyIsToldAToken has everything go wrong with tokens that can, with everything
// logged, and looks for any piece of them in what is logged, answered and said.
func TestNobodyIsToldAToken(t *testing.T) {
	g, idp := signIn(t)
	ledger := &deaf{Ledger: g.ledger}
	g.ledger = ledger
	g.mount(t, behind(g, idp.URL))
	good, revoked := made(t, ledger, "ci-agent", policy.RoleOperate), made(t, ledger, "gone", policy.RoleRead)
	_, err := bearer.Revoke(t.Context(), ledger, ada, "gone")
	require.NoError(t, err)
	stranger := issuertest.New(t)
	claims := func(of *issuertest.Issuer, changed map[string]any) map[string]any {
		c := g.claims(of, map[string]any{"exp": g.clock.Now().Add(10_000 * time.Hour).Unix()}) // the clock goes on below
		maps.Copy(c, changed)
		return c
	}
	signed := map[string]string{
		"a good one of the issuer":      idp.Token(claims(idp, nil)),
		"one that has expired":          idp.Token(claims(idp, map[string]any{"exp": g.clock.Now().Add(-time.Hour).Unix()})),
		"one for others":                idp.Token(claims(idp, map[string]any{"aud": "https://other.example.com"})),
		"one of another issuer":         stranger.Token(claims(stranger, nil)),
		"one with somebody else's key":  stranger.Token(claims(idp, nil)),
		"one that nobody signed":        idp.Unsigned(claims(idp, nil)),
		"one signed with a public key":  idp.Confused(claims(idp, nil), "pem"),
		"one without a scope":           idp.Token(claims(idp, map[string]any{"scope": "openid"})),
		"one that says not whose it is": idp.Token(claims(idp, map[string]any{"sub": ""})),
	}
	secrets := map[string]string{"ours": good, "a revoked one": revoked, "what VPS.org gave": "vps_4f9c2a7d81e6b3504f9c2a7d81e6b3504f9c2a7d81e6"}
	for name, token := range signed {
		secrets[name] = token
		secrets[name+", cut short"] = token[:len(token)-9]
		secrets[name+", with its payload broken"] = strings.Replace(token, ".", ".%", 1)
	}
	var told strings.Builder
	statuses := map[int]int{}
	everyWay := func() {
		for _, token := range secrets {
			for _, sent := range []string{token, token + "2", token[:len(token)-1], other(token, len(token)-1), strings.ToUpper(token)} {
				g.clock.Advance(time.Minute)
				for _, authorization := range [][]string{{"Bearer " + sent}, {"Basic " + sent}, {"Bearer " + sent, "Bearer " + sent}, {"Bearer " + sent + " x"}} {
					got := g.ask(t, authorization...)
					statuses[got.status]++
					if got.status != http.StatusOK { // who is let in is told to our own handler
						_, _ = fmt.Fprintln(&told, got.header, got.body)
					}
				}
				_, _, err := g.tokens.Find(t.Context(), sent, true)
				_, _ = fmt.Fprintf(&told, "%v %+v %#v\n", err, err, err)
			}
			_, _ = fmt.Fprintln(&told, send(t, g.url+"?access_token="+token).body)
			// Somebody confuses a token with its name.
			_, err := bearer.Revoke(t.Context(), ledger, ada, token)
			require.Error(t, err)
			_, _ = fmt.Fprintf(&told, "%v %+v\n", err, policy.Public(err))
			_, _, err = bearer.New(t.Context(), ledger, ada, bearer.Token{Name: token, Role: policy.RoleRead}, random)
			require.Error(t, err, token)
			_, _ = fmt.Fprintf(&told, "%v %+v\n", err, policy.Public(err))
		}
	}
	everyWay()
	ledger.now = true
	everyWay()
	ledger.now = false
	for _, status := range []int{http.StatusUnauthorized, http.StatusBadGateway} {
		idp.Down(status)
		idp.Rotate()
		g.mount(t, behind(g, idp.URL)) // which has yet to find it
		everyWay()
	}
	g.tokens.Close()
	for _, status := range []int{200, 400, 401, 403, 503} {
		assert.NotZero(t, statuses[status], "%d was answered: %v", status, statuses)
	}
	assert.Contains(t, g.log.String(), "a token was refused")
	assert.Contains(t, g.log.String(), "the issuer could not be asked")
	assert.Contains(t, told.String(), errDeaf.Error())
	const piece = 12
	for what, token := range secrets {
		for _, part := range strings.Split(strings.TrimPrefix(token, "vpg_"), ".") {
			if strings.HasPrefix(part, "eyJ") && len(part) < 200 {
				continue // a header, which says nothing
			}
			for i := 0; i+piece <= len(part); i++ {
				for where, text := range map[string]string{"the log": g.log.String(), "what was said": told.String()} {
					require.NotContains(t, text, part[i:i+piece], "%s is in %s", what, where)
				}
			}
		}
	}
}

// TestKeysComeOverNoLineThatAnybodyCanSpeakOn has an issuer's document lead to keys over
// plain HTTP, at a host that could be any other. They are there, and are not fetched.
func TestKeysComeOverNoLineThatAnybodyCanSpeakOn(t *testing.T) {
	g, idp := signIn(t)
	// It leads here, where such an address means this host; and it is none of this host's own.
	there := strings.Replace(idp.URL, "127.0.0.1", "0.0.0.0", 1)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, there+"/keys", nil)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Skip("0.0.0.0 does not lead to this host on this system")
	}
	require.NoError(t, res.Body.Close())
	before := idp.Fetched("/keys")
	idp.Say("/.well-known/openid-configuration", fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, idp.URL, there+"/keys"))
	got := g.with(t, idp.Token(g.claims(idp, nil)))
	assert.Equal(t, http.StatusServiceUnavailable, got.status, got.body)
	assert.Equal(t, before, idp.Fetched("/keys"))
	assert.Contains(t, g.log.String(), "is not https")
	probed := bearer.NewIssuer(bearer.IssuerOptions{URL: idp.URL, Audience: audience, Now: g.clock.Now, Log: slog.New(slog.DiscardHandler)}).Probe(t.Context())
	assert.ErrorContains(t, probed, "is not https", "whoever looks for the fault finds it")
	idp.Say("/.well-known/openid-configuration", "")
	g.clock.Advance(time.Minute)
	g.mount(t, behind(g, idp.URL))
	assert.Equal(t, http.StatusOK, g.with(t, idp.Token(g.claims(idp, nil))).status, "it was the address")
}
