package slackfake

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a signed request.
const (
	SignatureHeader = "X-Slack-Signature"
	TimestampHeader = "X-Slack-Request-Timestamp"
)

// Sign returns the headers with which Slack signs a request that has this body.
func Sign(secret string, at time.Time, body []byte) http.Header {
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = fmt.Fprintf(mac, "v0:%s:%s", stamp, body)
	return http.Header{
		TimestampHeader: {stamp},
		SignatureHeader: {"v0=" + hex.EncodeToString(mac.Sum(nil))},
	}
}

// SignedRequest is a request for a verifier to judge.
type SignedRequest struct {
	Name string `json:"name"`
	// Secrets are those that the receiver knows; one that fits is enough.
	Secrets   []string `json:"secrets"`
	Signature string   `json:"signature"`
	Timestamp string   `json:"timestamp"`
	Body      string   `json:"body"`
	// Now is the receiver's clock, in seconds since 1970.
	Now int64 `json:"now"`
	// Valid is what a verifier should say: five minutes either way, and the letter of
	// the documentation. Bolt is what Slack's own framework says; it takes requests
	// from the future, however far.
	Valid bool `json:"valid"`
	Bolt  bool `json:"bolt"`
}

// Header returns the request's headers.
func (r SignedRequest) Header() http.Header {
	h := http.Header{}
	if r.Signature != "" {
		h.Set(SignatureHeader, r.Signature)
	}
	if r.Timestamp != "" {
		h.Set(TimestampHeader, r.Timestamp)
	}
	return h
}

// SignatureCorpus returns requests, good and bad, for a receiver whose clock shows
// now.
func SignatureCorpus(now time.Time) []SignedRequest {
	const body = "token=x&command=%2Fvps&text=snapshot+restore+web-01+because+%22it+broke%22&user_id=U1"
	const secret, older = DefaultSecret, "0123456789abcdef0123456789abcdef"
	make := func(name, with string, ahead time.Duration, change func(*SignedRequest)) SignedRequest {
		h := Sign(with, now.Add(ahead), []byte(body))
		r := SignedRequest{
			Name: name, Secrets: []string{secret}, Signature: h.Get(SignatureHeader), Timestamp: h.Get(TimestampHeader),
			Body: body, Now: now.Unix(), Valid: true, Bolt: true,
		}
		if change != nil {
			change(&r)
		}
		return r
	}
	refused := func(change func(*SignedRequest)) func(*SignedRequest) {
		return func(r *SignedRequest) {
			r.Valid, r.Bolt = false, false
			if change != nil {
				change(r)
			}
		}
	}
	future := func(r *SignedRequest) { r.Valid = false }
	two := func(r *SignedRequest) { r.Secrets = []string{secret, older} }
	return []SignedRequest{
		make("good", secret, 0, nil),
		make("300 s old", secret, -300*time.Second, nil),
		make("301 s old", secret, -301*time.Second, refused(nil)),
		make("a day old", secret, -24*time.Hour, refused(nil)),
		make("300 s ahead", secret, 300*time.Second, nil),
		make("301 s ahead", secret, 301*time.Second, future),
		make("a day ahead", secret, 24*time.Hour, future),
		make("another body", secret, 0, refused(func(r *SignedRequest) { r.Body += "2" })),
		make("an empty body", secret, 0, refused(func(r *SignedRequest) { r.Body = "" })),
		make("another timestamp", secret, 0, refused(func(r *SignedRequest) { r.Timestamp = strconv.FormatInt(now.Unix()-1, 10) })),
		make("another secret", "ffffffffffffffffffffffffffffffff", 0, refused(nil)),
		make("without v0", secret, 0, refused(func(r *SignedRequest) { r.Signature = strings.TrimPrefix(r.Signature, "v0=") })),
		make("v1", secret, 0, refused(func(r *SignedRequest) { r.Signature = strings.Replace(r.Signature, "v0", "v1", 1) })),
		make("cut short", secret, 0, refused(func(r *SignedRequest) { r.Signature = r.Signature[:40] })),
		make("only v0", secret, 0, refused(func(r *SignedRequest) { r.Signature = "v0=" })),
		make("no signature", secret, 0, refused(func(r *SignedRequest) { r.Signature = "" })),
		make("upper-case hex", secret, 0, refused(func(r *SignedRequest) {
			r.Signature = "v0=" + strings.ToUpper(strings.TrimPrefix(r.Signature, "v0="))
		})),
		make("two secrets, signed with the new one", secret, 0, two),
		make("two secrets, signed with the old one", older, 0, two),
		make("two secrets, signed with neither", "ffffffffffffffffffffffffffffffff", 0, refused(two)),
	}
}
