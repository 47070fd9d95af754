package apiclient

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
)

const (
	maxBody      = 16 << 20
	maxErrorBody = 64 << 10
)

// request is one call of the API: what to send and what counts as success.
type request struct {
	doing  string
	method string
	url    *url.URL
	// endpoint is what the client asks for, without ids. A link to a next page
	// does not change it.
	endpoint string
	body     []byte
	// accepts tells the statuses of success.
	accepts func(status int) bool
	// decode reads the whole body of a success. An error that is errNotWhole
	// lets a read be tried again.
	decode func(body []byte) (any, error)
}

func (r request) write() bool { return r.method != http.MethodGet }

// send makes one try. All it returns besides the decoded answer is an *Error.
func (c *Client) send(ctx context.Context, r request) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, c.notSent(r, err)
	}
	var connected atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	req, err := c.newRequest(traced, r)
	if err != nil {
		return nil, c.notSent(r, nil)
	}
	transport := c.reads
	if r.write() {
		transport = c.writes
	}
	ended := c.observe(r.endpoint)
	value, err := c.exchange(ctx, r, transport, req, &connected)
	ended(KindOf(err))
	return value, err
}

// exchange sends a request and reads what comes back.
func (c *Client) exchange(ctx context.Context, r request, by http.RoundTripper, req *http.Request, connected *atomic.Bool) (any, error) {
	resp, err := by.RoundTrip(req)
	if err != nil || resp == nil {
		return nil, c.lost(ctx, r, err, connected.Load())
	}
	defer func() { _ = resp.Body.Close() }()
	return c.judge(ctx, r, resp)
}

func (c *Client) newRequest(ctx context.Context, r request) (*http.Request, error) {
	var body io.Reader
	if r.body != nil {
		body = bytes.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, r.url.String(), body)
	if err != nil {
		return nil, err
	}
	// Without GetBody net/http has nothing to send a second time.
	req.GetBody = nil
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.userAgent)
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	c.authorize(req.Header)
	return req, nil
}

// lost names a try that brought no answer. A write without a connection was
// never sent; one that had a connection may have been carried out.
func (c *Client) lost(ctx context.Context, r request, err error, connected bool) *Error {
	e := c.newError(r, Unavailable)
	e.err = ctx.Err()
	var op *net.OpError
	dial := !connected && errors.As(err, &op) && op.Op == "dial"
	if r.write() && !dial && (connected || !c.traced) {
		e.Kind = Uncertain
	}
	e.again = e.err == nil && (dial || !r.write())
	switch {
	case e.err != nil:
		e.Message = ended(e.err)
	case err != nil:
		e.Message = c.clean(err.Error())
	}
	return e
}

// judge turns an answer into a value or into an error by its status, then by its
// body.
func (c *Client) judge(ctx context.Context, r request, resp *http.Response) (any, error) {
	if !r.accepts(resp.StatusCode) {
		return nil, c.refusal(r, resp)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	var value any
	message := ""
	switch {
	case err != nil:
		message = "the answer broke off"
		if ctx.Err() != nil {
			message = ended(ctx.Err())
		}
	case len(body) > maxBody:
		message = "the answer is longer than 16 MiB"
	default:
		var bad error
		if value, bad = r.decode(body); bad == nil {
			return value, nil
		}
		message = bad.Error()
		if looksLikeHTML(body) {
			message = "an HTML page instead of JSON"
		}
		err = bad
	}
	e := c.newError(r, Malformed)
	e.Status, e.Message, e.err = resp.StatusCode, c.clean(message), ctx.Err()
	var bad *contentError
	cutOff := err != nil && !errors.As(err, &bad) && !errors.Is(err, errNotWhole)
	switch {
	case r.write():
		e.Kind = Uncertain
	case cutOff:
		e.Kind, e.again = Unavailable, e.err == nil
	default:
		e.again = errors.Is(err, errNotWhole) && e.err == nil
	}
	return nil, e
}

// refusal names an answer whose status is no success.
func (c *Client) refusal(r request, resp *http.Response) *Error {
	e := c.newError(r, kindOfStatus(resp.StatusCode, r.write()))
	e.Status = resp.StatusCode
	e.RetryAfter = retryAfter(resp.Header, c.now)
	e.again = e.Kind == RateLimited || e.Kind == Unavailable
	// What of the text cannot be read is not needed: the status has spoken.
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody+1))
	if len(body) > maxErrorBody {
		body = body[:max(0, maxErrorBody-c.cutMargin)]
	}
	e.Message = c.clean(errorText(body))
	return e
}

func kindOfStatus(status int, write bool) Kind {
	switch status {
	case http.StatusUnauthorized:
		return Unauthorized
	case http.StatusForbidden:
		return Forbidden
	case http.StatusNotFound, http.StatusGone:
		return NotFound
	case http.StatusConflict:
		return Conflict
	case http.StatusTooManyRequests:
		return RateLimited
	}
	// 408, 425 and 499 are said by things in between, which may have passed the
	// request on.
	passing := status == http.StatusRequestTimeout || status == http.StatusTooEarly || status == 499
	switch {
	case status >= 400 && status < 500 && !passing:
		return Invalid
	case write:
		return Uncertain
	case status >= 400:
		return Unavailable
	}
	return Malformed
}

func (c *Client) newError(r request, k Kind) *Error {
	return &Error{Kind: k, Method: r.method, Path: strings.TrimPrefix(r.url.Path, c.base.Path), Doing: r.doing}
}

// notSent is the error of a request that did not leave; cause is nil or the
// context's error.
func (c *Client) notSent(r request, cause error) *Error {
	e := c.newError(r, Unavailable)
	e.err, e.Message = cause, "it was not sent"
	if cause != nil {
		e.Message = ended(cause) + " before it was sent"
	}
	return e
}

func ended(cause error) string {
	if errors.Is(cause, context.DeadlineExceeded) {
		return "the deadline passed"
	}
	return "the call was cancelled"
}
