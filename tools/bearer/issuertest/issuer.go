// Package issuertest is an OpenID issuer for tests: it serves a discovery document and
// keys over HTTP on this host, signs what it is told to, rotates its keys, and can be
// down. It shares nothing with what checks its tokens.
package issuertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// Issuer is an issuer. Its fields are set before it is asked; its methods may be used concurrently.
type Issuer struct {
	URL string // what it calls itself

	mu      sync.Mutex
	key     key
	down    int // the status that it answers with; 0 while it is up
	says    map[string]string
	fetched map[string]int
	tb      testing.TB
}

type key struct {
	id   string
	sign crypto.Signer
}

// New starts an issuer with one key, until the test ends.
func New(tb testing.TB) *Issuer {
	tb.Helper()
	i := &Issuer{tb: tb, fetched: map[string]int{}, says: map[string]string{}}
	web := httptest.NewServer(i)
	tb.Cleanup(web.Close)
	i.URL = web.URL
	i.Rotate()
	return i
}

// ServeHTTP serves the two documents.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fetched[r.URL.Path]++
	if i.down != 0 {
		http.Error(w, "down", i.down)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if says, ok := i.says[r.URL.Path]; ok {
		_, _ = fmt.Fprint(w, says)
		return
	}
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		_ = json.NewEncoder(w).Encode(map[string]any{
			"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token",
			// What it says about algorithms must not widen what is taken.
			"id_token_signing_alg_values_supported": []string{"RS256", "ES256", "HS256", "none"},
		})
	case "/keys":
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{i.key.public()}})
	default:
		http.NotFound(w, r)
	}
}

// Down makes it answer everything with a status; 0 brings it back.
func (i *Issuer) Down(status int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = status
}

// Say makes it answer a path with a text; "" brings back the document.
func (i *Issuer) Say(path, text string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.says[path] = text; text == "" {
		delete(i.says, path)
	}
}

// Fetched counts how often a path was asked for.
func (i *Issuer) Fetched(path string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetched[path]
}

// Rotate signs with a new key on the curve P-256 from now on, and forgets the old one.
func (i *Issuer) Rotate() {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	i.use(k, err)
}

// RotateToRSA is Rotate to an RSA key, which takes longer to make.
func (i *Issuer) RotateToRSA() {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	i.use(k, err)
}

func (i *Issuer) use(k crypto.Signer, err error) {
	i.tb.Helper()
	if err != nil {
		i.tb.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.key = key{rand.Text(), k}
}

// Token signs claims with the key that it has.
func (i *Issuer) Token(claims map[string]any) string {
	i.tb.Helper()
	i.mu.Lock()
	k := i.key
	i.mu.Unlock()
	alg := "RS256"
	if _, ok := k.sign.(*ecdsa.PrivateKey); ok {
		alg = "ES256"
	}
	signed := part(map[string]any{"alg": alg, "kid": k.id, "typ": "at+jwt"}) + "." + part(claims)
	sum := sha256.Sum256([]byte(signed))
	var (
		signature []byte
		err       error
	)
	switch s := k.sign.(type) {
	case *ecdsa.PrivateKey:
		r, t, e := ecdsa.Sign(rand.Reader, s, sum[:])
		signature, err = make([]byte, 64), e
		r.FillBytes(signature[:32])
		t.FillBytes(signature[32:])
	default:
		signature, err = k.sign.Sign(rand.Reader, sum[:], crypto.SHA256)
	}
	if err != nil {
		i.tb.Fatal(err)
	}
	return signed + "." + encode(signature)
}

// Unsigned makes a token with alg none (RFC 7519, section 6).
func (i *Issuer) Unsigned(claims map[string]any) string {
	return part(map[string]any{"alg": "none"}) + "." + part(claims) + "."
}

// Confused makes a token that is signed with the public key as if that were a shared
// secret, in one of the forms in which attackers have it: "pem" or "der".
func (i *Issuer) Confused(claims map[string]any, form string) string {
	i.tb.Helper()
	i.mu.Lock()
	k := i.key
	i.mu.Unlock()
	secret, err := x509.MarshalPKIXPublicKey(k.sign.Public())
	if err != nil {
		i.tb.Fatal(err)
	}
	if form == "pem" {
		secret = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: secret})
	}
	signed := part(map[string]any{"alg": "HS256", "kid": k.id}) + "." + part(claims)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(signed))
	return signed + "." + encode(mac.Sum(nil))
}

// public is a key as RFC 7517 has it.
func (k key) public() map[string]any {
	switch p := k.sign.Public().(type) {
	case *rsa.PublicKey:
		return map[string]any{
			"kty": "RSA", "use": "sig", "alg": "RS256", "kid": k.id,
			"n": encode(p.N.Bytes()), "e": encode(big.NewInt(int64(p.E)).Bytes()),
		}
	case *ecdsa.PublicKey:
		raw, err := p.Bytes()
		if err != nil {
			panic(err)
		}
		return map[string]any{"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": k.id, "x": encode(raw[1:33]), "y": encode(raw[33:])}
	default:
		panic("no such key")
	}
}

func part(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return encode(raw)
}

func encode(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }
