package bearer_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/policytest"
	"github.com/vpsguard/vpsguard/tools/bearer"
)

// random is what tokens are made of.
func random(b []byte) { _, _ = rand.Read(b) }

var ada = policy.Actor{Door: policy.DoorTerminal, Subject: "ada (uid 1000)", Name: "Ada", Vouched: "operating system user"}

// made makes a token.
func made(t testing.TB, l policy.Ledger, name string, role policy.Role) string {
	t.Helper()
	secret, _, err := bearer.New(t.Context(), l, ada, bearer.Token{Name: name, Role: role}, random)
	require.NoError(t, err)
	return secret
}

// gate is a guard before a handler that says who calls.
type gate struct {
	clock  *policytest.Clock
	ledger policy.Ledger
	tokens *bearer.Tokens
	url    string
	log    *buffer
}

func newGate(t testing.TB, edits ...func(*bearer.Options)) *gate {
	t.Helper()
	g := &gate{clock: policytest.NewClock(), log: &buffer{}}
	g.ledger = policytest.NewMemory(g.clock.Now)
	g.mount(t, edits...)
	return g
}

// mount puts another guard before another handler.
func (g *gate) mount(t testing.TB, edits ...func(*bearer.Options)) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(g.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	g.tokens = bearer.NewTokens(g.ledger, g.clock.Now, log)
	o := bearer.Options{Tokens: g.tokens, Open: func(*http.Request) bool { return true }, Now: g.clock.Now, Log: log}
	for _, edit := range edits {
		edit(&o)
	}
	guard := bearer.NewGuard(o)
	mux := http.NewServeMux()
	mux.Handle("/mcp", guard.Before(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		actor, known := bearer.From(r.Context())
		_ = json.NewEncoder(w).Encode(map[string]any{"known": known, "actor": actor, "header": r.Header.Get("Authorization")})
	})))
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	t.Cleanup(g.tokens.Close)
	g.url = web.URL + "/mcp"
}

// reply is what came back.
type reply struct {
	status int
	header http.Header
	body   string
}

// actor is who was let through.
func (r reply) actor(t testing.TB) policy.Actor {
	t.Helper()
	require.Equal(t, http.StatusOK, r.status, r.body)
	var b struct{ Actor policy.Actor }
	require.NoError(t, json.Unmarshal([]byte(r.body), &b))
	return b.Actor
}

// ask sends a request with Authorization headers.
func (g *gate) ask(t testing.TB, authorization ...string) reply {
	t.Helper()
	return send(t, g.url, authorization...)
}

// with asks with a bearer token.
func (g *gate) with(t testing.TB, token string) reply {
	t.Helper()
	return g.ask(t, "Bearer "+token)
}

func send(t testing.TB, url string, authorization ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, url, strings.NewReader("{}"))
	require.NoError(t, err)
	req.Header["Authorization"] = authorization
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return reply{res.StatusCode, res.Header, string(body)}
}

type buffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// recorded asks a handler for a path.
func recorded(h http.Handler, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}
