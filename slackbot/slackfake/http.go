package slackfake

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Receiver is an app that has request URLs instead of Socket Mode.
type Receiver struct {
	Commands, Interactions, Events, Options string
	// Secret signs the requests; "" means DefaultSecret.
	Secret string
	// Skew is how far the timestamps are ahead of the Fake's clock.
	Skew time.Duration
}

// SetReceiver delivers to request URLs from now on. nil goes back to Socket Mode.
func (f *Fake) SetReceiver(r *Receiver) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.receiver = nil
	if r != nil {
		c := *r
		if c.Secret == "" {
			c.Secret = DefaultSecret
		}
		f.receiver = &c
	}
}

// SetURL tells the Fake under which address apps reach it, such as
// "http://127.0.0.1:8080". It learns that by itself from the first request.
func (f *Fake) SetURL(address string) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		panic(fmt.Sprintf("slackfake: %q is no address", address))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.address = &url.URL{Scheme: u.Scheme, Host: u.Host}
}

// URL returns the address of the Fake, "" if it is not known yet.
func (f *Fake) URL() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.address == nil {
		return ""
	}
	return f.address.String()
}

// base is the address of the Fake. The lock is held.
func (f *Fake) base() url.URL {
	if f.address == nil {
		panic("slackfake: nobody has called yet, so the address is not known; see SetURL")
	}
	return *f.address
}

// learn keeps the address a request was sent to.
func (f *Fake) learn(r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.address == nil && r.Host != "" {
		f.address = &url.URL{Scheme: "http", Host: r.Host}
		if r.TLS != nil {
			f.address.Scheme = "https"
		}
	}
}

// signedRequest is a request as it was sent.
type signedRequest struct {
	url    string
	header http.Header
	body   []byte
}

func (r *signedRequest) send(ctx context.Context, c *http.Client) (status int, header http.Header, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(r.body))
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header = r.header.Clone()
	resp, err := c.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, resp.Header, body, err
}

// Replay sends the request of a delivery over HTTP once more, as somebody who has
// seen it could, and returns the status of the answer.
func (d *Delivery) Replay(ctx context.Context) (int, error) {
	d.f.mu.Lock()
	r := d.signed
	d.f.mu.Unlock()
	if r == nil {
		return 0, errors.New("replaying: it was not delivered over HTTP")
	}
	status, _, _, err := r.send(ctx, d.f.o.Client)
	return status, err
}

func (f *Fake) sign(target string, body []byte, kind string) *signedRequest {
	h := Sign(f.receiver.Secret, f.o.Now().Add(f.receiver.Skew), body)
	h.Set("Content-Type", kind)
	h.Set("User-Agent", "Slackbot 1.0 (+https://api.slack.com/robots)")
	h.Set("Accept", "application/json,*/*")
	return &signedRequest{url: target, header: h, body: body}
}

// overHTTP posts the payload. The lock is held.
func (d *Delivery) overHTTP(reason, fault string) {
	f := d.f
	target := map[string]string{
		SlashCommands: f.receiver.Commands, Interactive: f.receiver.Interactions, EventsAPI: f.receiver.Events,
	}[d.Kind]
	if d.options {
		target = f.receiver.Options
	}
	if target == "" || fault == DropConnection {
		d.failed(DispatchFailed, "connection_failed")
		return
	}
	body, kind := d.form()
	r := f.sign(target, body, kind)
	if d.Kind == EventsAPI && reason != "" {
		r.header.Set("X-Slack-Retry-Num", strconv.Itoa(d.attempt))
		r.header.Set("X-Slack-Retry-Reason", map[string]string{"timeout": "http_timeout"}[reason])
		if reason != "timeout" {
			r.header.Set("X-Slack-Retry-Reason", reason)
		}
	}
	d.signed, d.reached, d.loseAck = r, true, fault == LoseAck
	attempt := d.attempt
	times := 1 + btoi(fault == Twice)
	f.work.Add(times)
	for i := range times {
		go func() {
			defer f.work.Done()
			ctx, cancel := context.WithCancel(f.ctx)
			defer cancel()
			defer f.o.AfterFunc(AckWithin, cancel)()
			status, header, answer, err := r.send(ctx, f.o.Client)
			if i == 0 {
				d.answeredHTTP(attempt, status, header, answer, err)
			}
		}()
	}
}

// answeredHTTP takes the answer to a posted payload.
func (d *Delivery) answeredHTTP(attempt, status int, header http.Header, body []byte, err error) {
	d.f.mu.Lock()
	defer d.f.mu.Unlock()
	if d.over || d.attempt != attempt || errors.Is(err, context.Canceled) || d.loseAck {
		return // the time is over, or will be
	}
	switch {
	case err != nil:
		d.failed(DispatchFailed, "connection_failed")
	case status < 200 || status > 299 || d.Kind != EventsAPI && status != http.StatusOK:
		d.f.violate("bad-status", "%s was answered with status %d", d.What, status)
		if header.Get("X-Slack-No-Retry") == "1" {
			d.finish(DispatchFailed)
			return
		}
		d.failed(DispatchFailed, "http_error")
	default:
		d.acknowledge(d.answerBody(header, body))
	}
}

// answerBody turns the body of an answer into what a payload over Socket Mode is.
func (d *Delivery) answerBody(header http.Header, body []byte) json.RawMessage {
	s := strings.TrimSpace(string(body))
	if s == "" || s == "{}" {
		return nil
	}
	if kind, _, _ := mime.ParseMediaType(header.Get("Content-Type")); kind == "application/json" {
		return json.RawMessage(s)
	}
	if d.Kind == SlashCommands {
		// Text is said to the caller.
		b, err := json.Marshal(map[string]any{"text": s})
		if err != nil {
			panic(err)
		}
		return b
	}
	if d.accepts {
		d.f.violate("not-json", "%s was answered with %.60q", d.What, s)
		return json.RawMessage(`{"response_action":"not JSON"}`)
	}
	return nil
}

// VerifyURL does what Slack does when the events' request URL is set: it sends a
// challenge that has to come back.
func (f *Fake) VerifyURL(ctx context.Context) error {
	f.mu.Lock()
	challenge := f.id("challenge")
	body, err := json.Marshal(map[string]any{"token": "unused", "challenge": challenge, "type": "url_verification"})
	if err != nil {
		panic(err)
	}
	r := f.sign(f.receiver.Events, body, "application/json")
	f.mu.Unlock()
	status, _, got, err := r.send(ctx, f.o.Client)
	switch {
	case err != nil:
		return fmt.Errorf("verifying the URL: %w", err)
	case status != http.StatusOK || !strings.Contains(string(got), challenge):
		return fmt.Errorf("verifying the URL: status %d, %.80q", status, got)
	}
	return nil
}

// form is the payload as it is sent over HTTP: a form for all but events.
func (d *Delivery) form() (body []byte, kind string) {
	if d.Kind == EventsAPI {
		return d.payload, "application/json"
	}
	values := url.Values{}
	if d.Kind == Interactive {
		values.Set("payload", string(d.payload))
	} else {
		var m map[string]any
		if err := json.Unmarshal(d.payload, &m); err != nil {
			panic(err)
		}
		for key, v := range m {
			switch v := v.(type) {
			case string:
				values.Set(key, v)
			case bool:
				values.Set(key, map[bool]string{true: "true", false: "false"}[v])
			}
		}
	}
	return []byte(values.Encode()), "application/x-www-form-urlencoded"
}
