package bearer_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/policytest"
	"github.com/vpsguard/vpsguard/tools/bearer"
)

func TestATokenSaysWhoCalls(t *testing.T) {
	g := newGate(t)
	secret, _, err := bearer.New(t.Context(), g.ledger, ada, bearer.Token{Name: "ci-agent", Role: policy.RoleOperate, Person: "Ada"}, random)
	require.NoError(t, err)
	assert.Regexp(t, `^vpg_[2-9a-km-np-z]{52}$`, secret)
	got := g.with(t, secret)
	assert.Equal(t, policy.Actor{
		Door: policy.DoorMCP, Subject: "token:ci-agent", Name: "ci-agent", Vouched: "the token ci-agent, made for Ada",
		Role: policy.RoleOperate, Person: "Ada",
	}, got.actor(t))
	assert.Contains(t, got.body, `"header":""`, "what follows is not told the token")
	assert.Equal(t, policy.RoleRead, g.with(t, made(t, g.ledger, "dashboard", policy.RoleRead)).actor(t).Role)
	assert.Equal(t, http.StatusOK, g.ask(t, "bearer   "+secret).status, "the scheme has no case (RFC 9110, section 11.1)")
}

func TestWhatIsNoToken(t *testing.T) {
	g := newGate(t)
	good := made(t, g.ledger, "ci-agent", policy.RoleOperate)
	revoked := made(t, g.ledger, "old", policy.RoleOperate)
	_, err := bearer.Revoke(t.Context(), g.ledger, ada, "old")
	require.NoError(t, err)
	var hash string
	all, _, err := bearer.List(t.Context(), g.ledger)
	require.NoError(t, err)
	for _, one := range all {
		hash = one.Hash
	}
	for name, c := range map[string]struct {
		authorization []string
		status        int
		challenge     string
	}{
		"none":                     {nil, http.StatusUnauthorized, `Bearer realm="vpsguard"`},
		"another scheme":           {[]string{"Basic " + good}, http.StatusUnauthorized, `Bearer realm="vpsguard"`},
		"one that was revoked":     {[]string{"Bearer " + revoked}, http.StatusUnauthorized, `error="invalid_token"`},
		"one that never was":       {[]string{"Bearer vpg_" + strings.Repeat("a", 52)}, http.StatusUnauthorized, `error="invalid_token"`},
		"a shorter one":            {[]string{"Bearer " + good[:len(good)-1]}, http.StatusUnauthorized, `error="invalid_token"`},
		"a longer one":             {[]string{"Bearer " + good + "a"}, http.StatusUnauthorized, `error="invalid_token"`},
		"in capitals":              {[]string{"Bearer " + strings.ToUpper(good)}, http.StatusUnauthorized, `error="invalid_token"`},
		"its name":                 {[]string{"Bearer ci-agent"}, http.StatusUnauthorized, `error="invalid_token"`},
		"its hash":                 {[]string{"Bearer " + hash}, http.StatusUnauthorized, `error="invalid_token"`},
		"a token of VPS.org":       {[]string{"Bearer vps_4f9c2a7d81e6b350"}, http.StatusUnauthorized, `error="invalid_token"`},
		"what looks like a JWT":    {[]string{"Bearer e30.e30.e30"}, http.StatusUnauthorized, `error="invalid_token"`},
		"an empty one":             {[]string{"Bearer"}, http.StatusBadRequest, `error="invalid_request"`},
		"two headers":              {[]string{"Bearer " + good, "Bearer " + good}, http.StatusBadRequest, `error="invalid_request"`},
		"two in one":               {[]string{"Bearer " + good + ", Bearer " + good}, http.StatusBadRequest, `error="invalid_request"`},
		"one of twenty kilobytes":  {[]string{"Bearer " + strings.Repeat("a", 20<<10)}, http.StatusBadRequest, `error="invalid_request"`},
		"one with another in it":   {[]string{"Bearer " + good + " " + good}, http.StatusBadRequest, `error="invalid_request"`},
		"a good one beside others": {[]string{"Basic x", "Bearer " + good}, http.StatusBadRequest, `error="invalid_request"`},
	} {
		got := g.ask(t, c.authorization...)
		assert.Equal(t, c.status, got.status, name)
		assert.Contains(t, got.header.Get("Www-Authenticate"), c.challenge, name)
		assert.True(t, json.Valid([]byte(got.body)), "%s: %s", name, got.body)
		assert.NotContains(t, got.body+got.header.Get("Www-Authenticate"), good[4:20], name)
	}
	assert.NotContains(t, g.ask(t).header.Get("Www-Authenticate"), "error", "who sent nothing made no mistake (RFC 6750, section 3.1)")
	for _, query := range []string{"?access_token=" + good, "?x=1&access%5Ftoken=" + good} {
		got := send(t, g.url+query, "Bearer "+good)
		assert.Equal(t, http.StatusBadRequest, got.status, "URLs are logged")
		assert.Contains(t, got.body, "does not belong into a URL")
	}
	assert.Equal(t, http.StatusOK, g.with(t, good).status, "it was the tokens")
	assert.NotContains(t, g.log.String(), good[4:20])
	assert.NotContains(t, g.log.String(), revoked[4:20])
}

func TestWhoNeedsNoToken(t *testing.T) {
	g := newGate(t)
	got := g.ask(t)
	assert.Equal(t, http.StatusOK, got.status, "there never was one, and only this host reaches it")
	assert.Contains(t, got.body, `"known":false`)
	assert.Equal(t, http.StatusUnauthorized, g.with(t, "vpg_"+strings.Repeat("a", 52)).status, "one of another ledger is not ignored")

	g.mount(t, func(o *bearer.Options) { o.Open = func(*http.Request) bool { return false } })
	assert.Equal(t, http.StatusNotFound, g.ask(t).status, "for other hosts there is nothing")

	g.mount(t)
	assert.Equal(t, http.StatusOK, g.ask(t).status)
	made(t, g.ledger, "ci-agent", policy.RoleRead)
	g.clock.Advance(time.Second)
	assert.Equal(t, http.StatusUnauthorized, g.ask(t).status, "from the first one on everybody needs one")
	_, err := bearer.Revoke(t.Context(), g.ledger, ada, "ci-agent")
	require.NoError(t, err)
	g.clock.Advance(time.Second)
	assert.Equal(t, http.StatusUnauthorized, g.ask(t).status, "revoking the last one opens nothing")
}

// TestARevokedTokenCountsNowhereSoon has two processes on one ledger.
func TestARevokedTokenCountsNowhereSoon(t *testing.T) {
	g := newGate(t)
	secret := made(t, g.ledger, "ci-agent", policy.RoleOperate)
	first := g.url
	g.mount(t)
	for _, url := range []string{first, g.url} {
		assert.Equal(t, http.StatusOK, send(t, url, "Bearer "+secret).status)
	}
	_, err := bearer.Revoke(t.Context(), g.ledger, ada, "ci-agent")
	require.NoError(t, err)
	g.clock.Advance(time.Second)
	for _, url := range []string{first, g.url} {
		assert.Equal(t, http.StatusUnauthorized, send(t, url, "Bearer "+secret).status)
	}
	again := made(t, g.ledger, "ci-agent", policy.RoleRead)
	assert.Equal(t, policy.RoleRead, g.with(t, again).actor(t).Role, "a new one counts at once")
	assert.Equal(t, http.StatusUnauthorized, g.with(t, secret).status, "and does not bring back the old one")
}

// failing is a ledger that cannot be read at times.
type failing struct {
	policy.Ledger
	down bool
}

func (f *failing) Setting(ctx context.Context, name string) (string, error) {
	if f.down {
		return "", policy.Errorf(policy.Unavailable, "the ledger cannot be reached").Because(errors.New("dial tcp 192.0.2.1:5432: vpg_secret"))
	}
	return f.Ledger.Setting(ctx, name)
}

func TestWhatCannotBeToldIsNotInvalid(t *testing.T) {
	clock := policytest.NewClock()
	f := &failing{Ledger: policytest.NewMemory(clock.Now), down: true}
	g := &gate{clock: clock, ledger: f, log: &buffer{}}
	g.mount(t)
	secret := made(t, f.Ledger, "ci-agent", policy.RoleOperate)
	check := func(got reply) {
		t.Helper()
		assert.Equal(t, http.StatusServiceUnavailable, got.status)
		assert.Equal(t, "2", got.header.Get("Retry-After"))
		assert.Empty(t, got.header.Get("Www-Authenticate"))
		assert.NotContains(t, got.body, "invalid")
		assert.NotContains(t, got.body, "192.0.2.1")
	}
	check(g.with(t, secret))
	check(g.ask(t))
	f.down = false
	assert.Equal(t, http.StatusOK, g.with(t, secret).status)
	f.down = true
	g.clock.Advance(time.Second)
	check(g.with(t, secret))
	check(g.with(t, "vpg_"+strings.Repeat("a", 52)))
	assert.Equal(t, http.StatusUnauthorized, g.ask(t).status, "that one is needed is known")

	open := &failing{Ledger: policytest.NewMemory(clock.Now)}
	g.ledger = open
	g.mount(t)
	require.Equal(t, http.StatusOK, g.ask(t).status)
	open.down = true
	g.clock.Advance(time.Hour)
	assert.Equal(t, http.StatusOK, g.ask(t).status, "no token can be made in a ledger that cannot be reached")
}

func TestACallerWhoAsksTooOften(t *testing.T) {
	g := newGate(t)
	busy, calm := made(t, g.ledger, "busy", policy.RoleRead), made(t, g.ledger, "calm", policy.RoleRead)
	for i := range 500 {
		require.Equal(t, http.StatusOK, g.with(t, busy).status, i)
	}
	got := g.with(t, busy)
	assert.Equal(t, http.StatusTooManyRequests, got.status)
	assert.Equal(t, "1", got.header.Get("Retry-After"))
	assert.Equal(t, http.StatusOK, g.with(t, calm).status)
	g.clock.Advance(time.Second)
	assert.Equal(t, http.StatusOK, g.with(t, busy).status)
}

// TestACallerWhoAsksForTooMuchAtOnce: streams and calls that wait cost for as long as they last.
func TestACallerWhoAsksForTooMuchAtOnce(t *testing.T) {
	g := newGate(t)
	busy, calm := made(t, g.ledger, "busy", policy.RoleRead), made(t, g.ledger, "calm", policy.RoleRead)
	inside, end := make(chan struct{}), make(chan struct{})
	guard := bearer.NewGuard(bearer.Options{Tokens: g.tokens, Now: g.clock.Now, Log: slog.New(slog.DiscardHandler)})
	h := guard.Before(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { inside <- struct{}{}; <-end }))
	ask := func(token string) int {
		r := httptest.NewRequest(http.MethodGet, "/mcp", http.NoBody)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	var all sync.WaitGroup
	for range 500 {
		all.Go(func() { assert.Equal(t, http.StatusOK, ask(busy)) })
		<-inside
	}
	g.clock.Advance(time.Minute) // so that it is not how often
	assert.Equal(t, http.StatusTooManyRequests, ask(busy))
	all.Go(func() { assert.Equal(t, http.StatusOK, ask(calm)) })
	<-inside
	close(end)
	all.Wait()
	all.Go(func() { assert.Equal(t, http.StatusOK, ask(busy)) })
	<-inside
	all.Wait()
}

// TestGuessingIsSlowedDown: failures cost, also for those who come with good tokens from the same
// address, but never what they came for.
func TestGuessingIsSlowedDown(t *testing.T) {
	g := newGate(t)
	good := made(t, g.ledger, "ci-agent", policy.RoleOperate)
	require.Equal(t, http.StatusOK, g.with(t, good).status)
	guess := func(i int) reply { return g.with(t, fmt.Sprintf("vpg_%052d", i)) }
	for i := range 20 {
		require.Equal(t, http.StatusUnauthorized, guess(i).status, i)
	}
	got := guess(21)
	assert.Equal(t, http.StatusTooManyRequests, got.status)
	assert.Equal(t, "3", got.header.Get("Retry-After"))
	assert.Equal(t, http.StatusOK, g.with(t, good).status, "others behind the same proxy go on")
	assert.Equal(t, 20, strings.Count(g.log.String(), "a token was refused"), "the log is not flooded")
	g.clock.Advance(3 * time.Second)
	assert.Equal(t, http.StatusUnauthorized, guess(22).status)
	assert.Equal(t, http.StatusTooManyRequests, guess(23).status)
}
