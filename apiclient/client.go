package apiclient

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// DefaultBaseURL is where VPS.org serves its API (API documentation, "Base
// path").
const DefaultBaseURL = "https://admin.vps.org/api/v1"

const (
	defaultTimeout   = 30 * time.Second
	defaultBackoff   = 200 * time.Millisecond
	defaultUserAgent = "vpsguard"
)

// Options are what a Client can do without. The zero value is good for use.
type Options struct {
	// Timeout bounds one call with all its pages, tries and waits. 0 means 30 s.
	Timeout time.Duration
	// Backoff is the first pause between two tries; it doubles, with jitter of
	// half of it, up to 5 s. 0 means 200 ms.
	Backoff time.Duration
	// UserAgent is sent with every request. "" means "vpsguard".
	UserAgent string
	// Transport replaces the built-in one. A *http.Transport serves the reads as
	// it is; a clone that keeps no connections and speaks HTTP/1.1 only serves the
	// writes, and later changes to the original do not reach it. Any other
	// RoundTripper must itself send each request at most once and must not follow
	// redirects; since it may not report when a request leaves, its failed writes
	// are Uncertain unless it returns a dial error.
	Transport http.RoundTripper
	// Now dates a Retry-After that is a date when the answer has no Date header
	// of its own. nil means that such a Retry-After is ignored.
	Now func() time.Time
	// Observe is called before each try that is sent, retries included, with what
	// it asks for ("GET /snapshots/{id}/", one of about ten). The function that it
	// returns is called when that try has ended, with "" where it brought what was
	// asked for. Both may be called concurrently. nil observes nothing.
	Observe func(endpoint string) (ended func(Kind))
}

// Client talks to one VPS.org account. It is safe for concurrent use, and prints
// as its base URL alone.
type Client struct {
	base      *url.URL
	timeout   time.Duration
	backoff   time.Duration
	userAgent string
	now       func() time.Time
	observe   func(endpoint string) (ended func(Kind))
	reads     http.RoundTripper
	writes    http.RoundTripper
	// traced says that the transports report when they obtain a connection.
	traced bool
	// authorize and clean close over the token. No field holds it, so that no
	// way of printing a Client can reach it.
	authorize func(http.Header)
	clean     func(string) string
	// cutMargin is how much of a text cut at a limit may be part of a token.
	cutMargin int
	flights   flights
}

// New returns a client for the API at baseURL, usually [DefaultBaseURL], with
// the token from the developers page of the account. It sends nothing. The error
// is [Invalid] if the base URL is not HTTPS (or HTTP to a loopback host), carries
// credentials, a query or a fragment, or if the token cannot stand in a header.
// Neither is repeated in the error.
func New(baseURL, token string, o Options) (*Client, error) {
	base, err := parseBase(baseURL)
	if err != nil {
		return nil, err
	}
	if err := checkToken(token); err != nil {
		return nil, err
	}
	if o.Timeout < 0 || o.Backoff < 0 {
		return nil, setupError("the timeout and the back-off must not be negative")
	}
	c := &Client{
		base:      base,
		timeout:   o.Timeout,
		backoff:   o.Backoff,
		userAgent: o.UserAgent,
		now:       o.Now,
		observe:   o.Observe,
		authorize: func(h http.Header) { h.Set("Authorization", "Bearer "+token) },
		clean:     newCleaner(token),
		cutMargin: 3 * len(token),
	}
	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	if c.backoff == 0 {
		c.backoff = defaultBackoff
	}
	if c.userAgent == "" {
		c.userAgent = defaultUserAgent
	}
	if c.observe == nil {
		c.observe = func(string) func(Kind) { return func(Kind) {} }
	}
	c.reads, c.writes, c.traced = transports(o.Transport)
	return c, nil
}

// BaseURL returns the normalised base URL: lower-case scheme and host, no
// default port, no trailing slash, no credentials.
func (c *Client) BaseURL() string { return c.base.String() }

// String returns "VPS.org API at" and the base URL.
func (c *Client) String() string { return "VPS.org API at " + c.BaseURL() }

// Format writes [Client.String] for every verb, so that no verb walks the
// fields.
func (c *Client) Format(f fmt.State, _ rune) {
	if c == nil {
		_, _ = io.WriteString(f, "<nil>")
		return
	}
	_, _ = io.WriteString(f, c.String())
}

// MarshalText encodes the client as [Client.String], in JSON and in logs.
func (c *Client) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

func parseBase(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Opaque != "" || u.Hostname() == "" {
		// The parser's own words would repeat the text, which may hold credentials.
		return nil, setupError("the base URL is not a URL like " + DefaultBaseURL)
	}
	u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	switch {
	case u.User != nil:
		return nil, setupError("the base URL must not carry credentials")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, setupError("the base URL must not have a query or a fragment")
	case u.RawPath != "" || hasDots(u.Path):
		return nil, setupError("the path of the base URL must be plain")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, setupError("plain HTTP is for loopback hosts only, use https")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, setupError("the base URL must begin with https://")
	}
	u.Host = trimPort(u)
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}

func loopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// trimPort returns the host without the port that the scheme implies.
func trimPort(u *url.URL) string {
	port := u.Port()
	if port == "" || u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		return strings.TrimSuffix(u.Host, ":"+port)
	}
	return u.Host
}

func hasDots(path string) bool {
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

func checkToken(token string) error {
	if token == "" {
		return setupError("the API token is empty")
	}
	if len(token) > 4096 {
		return setupError("the API token is longer than 4096 characters")
	}
	for _, b := range []byte(token) {
		if b <= ' ' || b > '~' {
			return setupError("the API token holds a space, a line break or another character that no token has")
		}
	}
	return nil
}

func setupError(message string) *Error {
	return &Error{Kind: Invalid, Doing: "setting up the API client", Message: message}
}
