package bearer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// fetchWithin is how long an issuer may take for a document.
	fetchWithin = 5 * time.Second
	// mostFetched is how large a document may be.
	mostFetched = 1 << 20
	// A token that is signed with an unknown key makes the keys be fetched, since they may be
	// new; so often at most, whoever sends how many.
	fetchesBurst = 5
	fetchesEvery = 5 * time.Second
	// longestPause is how long nothing is asked for after failures in a row.
	longestPause = 30 * time.Second
)

// unfetched is a document that could not be had.
type unfetched struct{ err error }

func (e *unfetched) Error() string { return e.err.Error() }
func (e *unfetched) Unwrap() error { return e.err }

// waiting is a document that is not asked for again before a time.
type waiting struct{ until time.Time }

func (e *waiting) Error() string { return "it was asked too often, or in vain, a moment ago" }

// fetcher gets an issuer's documents: small ones, in time, not too often, and only over a
// connection that nobody else can answer on.
type fetcher struct {
	inner http.RoundTripper
	now   func() time.Time

	mu    sync.Mutex
	pages map[string]*page // by URL; an issuer has two
}

// page is what is known about fetching a document.
type page struct {
	limit  *rate.Limiter
	failed int       // times in a row
	again  time.Time // when to try again after that
}

func newFetcher(now func() time.Time) *fetcher {
	return &fetcher{
		now: now, pages: map[string]*page{},
		inner: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: fetchWithin}).DialContext,
			TLSHandshakeTimeout: fetchWithin, ResponseHeaderTimeout: fetchWithin,
			ForceAttemptHTTP2: true, MaxIdleConns: 4, IdleConnTimeout: time.Minute,
		},
	}
}

func (f *fetcher) client() *http.Client {
	return &http.Client{
		Transport: f, Timeout: fetchWithin,
		// Where it leads to was not configured by anybody.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// RoundTrip is [http.RoundTripper]'s. All its errors are of type unfetched or waiting.
func (f *fetcher) RoundTrip(r *http.Request) (*http.Response, error) {
	now := f.now()
	f.mu.Lock()
	p := f.pages[r.URL.String()]
	if p == nil {
		p = &page{limit: rate.NewLimiter(rate.Every(fetchesEvery), fetchesBurst)}
		f.pages[r.URL.String()] = p
	}
	var waits *waiting
	if now.Before(p.again) {
		waits = &waiting{p.again}
	} else if !p.limit.AllowN(now, 1) {
		waits = &waiting{now.Add(fetchesEvery)}
	}
	f.mu.Unlock()
	if waits != nil {
		return nil, waits
	}
	res, err := f.get(r)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		pause := min(time.Second<<min(p.failed, 10), longestPause)
		p.failed, p.again = p.failed+1, f.now().Add(pause)
		return nil, &unfetched{err}
	}
	p.failed, p.again = 0, time.Time{}
	return res, nil
}

// get fetches a document whole.
func (f *fetcher) get(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !local(r.URL) {
		return nil, fmt.Errorf("%s is not https", r.URL.Redacted())
	}
	res, err := f.inner.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, mostFetched+1))
	switch {
	case err != nil:
		return nil, err
	case res.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s answers %s", r.URL.Redacted(), res.Status)
	case len(body) > mostFetched:
		return nil, errors.New(r.URL.Redacted() + " answers with more than 1 MB")
	}
	var document struct {
		Issuer string            `json:"issuer"`
		Keys   []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &document); err != nil || document.Issuer == "" && len(document.Keys) == 0 {
		return nil, errors.New(r.URL.Redacted() + " answers with neither a discovery document nor keys")
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, nil
}

// local tells whether a URL can only mean this host.
func local(u *url.URL) bool {
	return u.Scheme == "http" && (u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback())
}
