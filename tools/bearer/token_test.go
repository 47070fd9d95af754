package bearer_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
	"github.com/vpsguard/vpsguard/policy/policytest"
	"github.com/vpsguard/vpsguard/tools/bearer"
)

func TestTokensThatAreNotMade(t *testing.T) {
	l := policytest.NewMemory(policytest.NewClock().Now)
	made(t, l, "ci-agent", policy.RoleRead)
	for name, token := range map[string]bearer.Token{
		"no name":               {Role: policy.RoleRead},
		"capitals":              {Name: "CI", Role: policy.RoleRead},
		"a subject":             {Name: "oidc:x", Role: policy.RoleRead},
		"what has a dash first": {Name: "-x", Role: policy.RoleRead},
		"a line break":          {Name: "x\n", Role: policy.RoleRead},
		"41 letters":            {Name: strings.Repeat("a", 41), Role: policy.RoleRead},
		"what begins like one":  {Name: "vpg_agent", Role: policy.RoleRead},
		"who needs no token":    {Name: "loopback", Role: policy.RoleRead},
		"no role":               {Name: "x"},
		"another role":          {Name: "x", Role: "admin"},
		"a hidden person":       {Name: "x", Role: policy.RoleRead, Person: "Ada\u202e"},
		"a name that is taken":  {Name: "ci-agent", Role: policy.RoleOperate},
	} {
		secret, _, err := bearer.New(t.Context(), l, ada, token, random)
		assert.Error(t, err, name)
		assert.Empty(t, secret, name)
	}
	_, err := bearer.Revoke(t.Context(), l, ada, "nobody")
	assert.Equal(t, policy.NotFound, policy.KindOf(err))
	for i := 1; i < 100; i++ {
		made(t, l, fmt.Sprint("t", i), policy.RoleRead)
	}
	_, _, err = bearer.New(t.Context(), l, ada, bearer.Token{Name: "one-more", Role: policy.RoleRead}, random)
	assert.Equal(t, policy.Conflict, policy.KindOf(err))
	assert.ErrorContains(t, err, "that is the most")
}

// TestWhatIsKeptOfAToken looks at every byte of a real ledger, with two processes on it.
func TestWhatIsKeptOfAToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	open := func() *ledger.Ledger {
		l, err := ledger.Open(t.Context(), "sqlite:"+path, ledger.Options{Now: time.Now})
		require.NoError(t, err)
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	one, other := open(), open()
	secret, token, err := bearer.New(t.Context(), one, ada, bearer.Token{Name: "ci-agent", Role: policy.RoleOperate, Person: "Ada"}, random)
	require.NoError(t, err)
	log := &buffer{}
	clock := policytest.NewClock()
	clock.Advance(time.Since(clock.Now()))
	at := func(l *ledger.Ledger) *gate {
		g := &gate{clock: clock, ledger: l, log: log}
		g.mount(t)
		return g
	}
	first, second := at(one), at(other)
	never, err := bearer.LastUse(t.Context(), other, token)
	require.NoError(t, err)
	assert.Zero(t, never)
	assert.Equal(t, "token:ci-agent", first.with(t, secret).actor(t).Subject)
	assert.Equal(t, "token:ci-agent", second.with(t, secret).actor(t).Subject)
	first.tokens.Close()
	second.tokens.Close()
	last, err := bearer.LastUse(t.Context(), other, token)
	require.NoError(t, err)
	assert.Equal(t, clock.Now().UTC().Truncate(time.Second), last)
	clock.Advance(30 * time.Second)
	first.with(t, secret)
	first.tokens.Close()
	again, err := bearer.LastUse(t.Context(), other, token)
	require.NoError(t, err)
	assert.Equal(t, last, again, "at most once a minute")

	left, err := bearer.Revoke(t.Context(), other, ada, "ci-agent")
	require.NoError(t, err)
	assert.Zero(t, left)
	clock.Advance(time.Second)
	assert.Equal(t, 401, first.with(t, secret).status)

	records, err := one.Records(t.Context(), 1, 100)
	require.NoError(t, err)
	var events []string
	for _, r := range records {
		b, err := r.Parse()
		require.NoError(t, err)
		assert.Equal(t, "Ada", b.By.Name)
		assert.Equal(t, "ci-agent", b.Detail["name"])
		assert.Equal(t, "operate", b.Detail["role"])
		assert.Equal(t, "Ada", b.Detail["person"])
		assert.NotContains(t, r.Body, token.Hash)
		events = append(events, string(b.Event))
	}
	assert.Equal(t, []string{"token.made", "token.revoked"}, events)
	_, err = one.Verify(t.Context(), func(int64) {})
	require.NoError(t, err)
	require.NoError(t, one.Close())
	require.NoError(t, other.Close())
	files, err := filepath.Glob(path + "*")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.NotContains(t, string(raw), secret[4:], file)
	}
	assert.NotContains(t, log.String(), secret[4:])
}

func TestATokenOfAnOlderOnesName(t *testing.T) {
	clock := policytest.NewClock()
	l := policytest.NewMemory(clock.Now)
	g := &gate{clock: clock, ledger: l, log: &buffer{}}
	g.mount(t)
	g.with(t, made(t, l, "ci-agent", policy.RoleRead)).actor(t)
	g.tokens.Close()
	_, err := bearer.Revoke(t.Context(), l, ada, "ci-agent")
	require.NoError(t, err)
	clock.Advance(time.Hour)
	_, token, err := bearer.New(t.Context(), l, ada, bearer.Token{Name: "ci-agent", Role: policy.RoleRead}, random)
	require.NoError(t, err)
	last, err := bearer.LastUse(t.Context(), l, token)
	require.NoError(t, err)
	assert.Zero(t, last, "that was the other one")
}

func TestASettingThatCannotBeReadLetsNobodyIn(t *testing.T) {
	g := newGate(t)
	require.NoError(t, g.ledger.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
		return tx.PutSetting(ctx, "tokens", `{"tokens":"`, policy.RecordBody{Event: "test", By: ada})
	}))
	assert.Equal(t, 503, g.ask(t).status)
	assert.Equal(t, 503, g.with(t, "vpg_"+strings.Repeat("a", 52)).status)
}

func TestLimitsAreBounded(t *testing.T) {
	clock := policytest.NewClock()
	l := bearer.NewLimits(time.Second, 2, clock.Now)
	assert.Zero(t, l.Take("a"))
	assert.Zero(t, l.Spent("a"))
	assert.Zero(t, l.Take("a"))
	assert.Equal(t, time.Second, l.Take("a"))
	assert.Equal(t, time.Second, l.Spent("a"))
	assert.Equal(t, time.Second, l.Take("a"), "what was refused is not counted")
	assert.Zero(t, l.Take("b"), "each has a limit of its own")
	clock.Advance(time.Second)
	assert.Zero(t, l.Take("a"))
	for i := range 20_000 {
		l.Take(fmt.Sprint("k", i))
	}
	assert.NotZero(t, l.Take("x1"), "those who are too many share one limit")
	assert.NotZero(t, l.Spent("x2"))
	assert.NotZero(t, l.Take("a"), "and drive nobody out")
	clock.Advance(time.Hour)
	assert.Zero(t, l.Take("x1"), "who waited is new again")
}
