package slackbot

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/slack-go/slack"
)

// mostAnswer is how much of an answer is read.
const mostAnswer = 4 << 20

// clientOptions are what a client needs. The clock has to run: pauses end by it.
type clientOptions struct {
	Token string
	URL   string // of the Web API; "" is Slack's own
	HTTP  *http.Client
	Now   func() time.Time
	Log   *slog.Logger
	// Observe is told of each call when it has ended; nil for nobody.
	Observe func(Sent)
}

// client speaks Slack's Web API for the door. It keeps Slack's limits, obeys
// Retry-After for all its callers, and tells what a failed call proves: see [reached].
//
// It sends again only what was certainly not done, and an update, which can be done
// twice. A post whose answer was lost is the caller's to decide. Neither its errors
// nor what it logs hold a token, a response_url or a message.
type client struct {
	api    *slack.Client
	http   *http.Client
	url    string // of the Web API, with a slash at its end
	base   *url.URL
	key    []byte // seals tasks
	limits *limiter
	waits  patience // of what nobody waits for
	now    func() time.Time
	log    *slog.Logger
	told   func(Sent)
}

func newClient(o clientOptions) *client {
	if o.URL == "" {
		o.URL = slack.APIURL
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Observe == nil {
		o.Observe = func(Sent) {}
	}
	h := http.Client{}
	if o.HTTP != nil {
		h = *o.HTTP
	}
	// A redirect would carry the token, or a response_url's message, to another place.
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	h.Transport = shortAnswers{h.Transport}
	base, err := url.Parse(o.URL)
	if err != nil {
		base = &url.URL{} // every call fails; the configuration is checked where it is read
	}
	o.URL = strings.TrimSuffix(o.URL, "/") + "/"
	return &client{
		api:  slack.New(o.Token, slack.OptionAPIURL(o.URL), slack.OptionHTTPClient(&h)),
		http: &h, url: o.URL, base: base, key: sealKey(o.Token), limits: newLimiter(o.Now), waits: patient, now: o.Now, log: o.Log, told: o.Observe,
	}
}

// until is the same client, whose messages wait for their turn no longer than that.
func (c *client) until(closed <-chan struct{}) *client {
	o := *c
	o.waits.until = closed
	return &o
}

// shortAnswers cuts what no answer of Slack's is as long as.
type shortAnswers struct{ next http.RoundTripper }

func (s shortAnswers) RoundTrip(r *http.Request) (*http.Response, error) {
	next := s.next
	if next == nil {
		next = http.DefaultTransport
	}
	resp, err := next.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, mostAnswer), resp.Body}
	}
	return resp, err
}

// post posts a message in a channel, or in a thread of it, and returns its ts.
func (c *client) post(ctx context.Context, channel, thread string, m message) (ts string, err error) {
	const method = "chat.postMessage"
	if m.Text == "" {
		return "", textless(method)
	}
	err = c.call(ctx, method, channel, c.waits, func(ctx context.Context) error {
		var err error
		_, ts, err = c.api.PostMessageContext(ctx, channel, m.options(thread))
		return wholeAnswer(err, ts != "")
	})
	return ts, err
}

// update puts a message in the place of one of ours. It may be sent twice.
func (c *client) update(ctx context.Context, channel, ts string, m message) error {
	const method = "chat.update"
	if m.Text == "" {
		return textless(method)
	}
	send := func(ctx context.Context) error {
		options := []slack.MsgOption{m.options("")}
		if len(m.Blocks) == 0 {
			options = append(options, slack.MsgOptionBlocks()) // an empty list: those of before have to go
		}
		_, got, _, err := c.api.UpdateMessageContext(ctx, channel, ts, options...)
		return wholeAnswer(err, got != "")
	}
	err := c.call(ctx, method, channel, c.waits, send)
	if reached(err) == maybeSent && ctx.Err() == nil {
		err = c.recall(ctx, method, channel, c.waits, true, send)
	}
	return err
}

// ephemeral shows a message to one person, who may not see it: never a decision.
func (c *client) ephemeral(ctx context.Context, channel, thread, user string, m message) error {
	const method = "chat.postEphemeral"
	if m.Text == "" {
		return textless(method)
	}
	return c.call(ctx, method, channel, c.waits, func(ctx context.Context) error {
		ts, err := c.api.PostEphemeralContext(ctx, channel, user, m.options(thread))
		return wholeAnswer(err, ts != "")
	})
}

// openView opens a modal. The trigger_id lives 3 s and works once.
func (c *client) openView(ctx context.Context, triggerID string, v slack.ModalViewRequest) (viewID string, err error) {
	err = c.call(ctx, "views.open", "", hasty, func(ctx context.Context) error {
		resp, err := c.api.OpenViewContext(ctx, triggerID, v)
		if resp != nil {
			viewID = resp.ID
		}
		return wholeAnswer(err, viewID != "")
	})
	return viewID, err
}

// updateView changes a modal; with a hash only where it is still the one it was.
func (c *client) updateView(ctx context.Context, viewID, hash string, v slack.ModalViewRequest) error {
	return c.call(ctx, "views.update", "", askers, func(ctx context.Context) error {
		resp, err := c.api.UpdateViewContext(ctx, v, "", hash, viewID)
		return wholeAnswer(err, resp != nil && resp.ID != "")
	})
}

// permalink is the address of a message.
func (c *client) permalink(ctx context.Context, channel, ts string) (link string, err error) {
	err = c.call(ctx, "chat.getPermalink", "", askers, func(ctx context.Context) error {
		var err error
		link, err = c.api.GetPermalinkContext(ctx, &slack.PermalinkParameters{Channel: channel, Ts: ts})
		return wholeAnswer(err, link != "")
	})
	return link, err
}

// identity is what the bot token stands for.
type identity struct {
	Team, Enterprise string // "" where there is none
	BotUser, BotID   string
	URL              string // the workspace's
}

// who asks Slack whose the token is.
func (c *client) who(ctx context.Context) (identity, error) {
	resp, err := c.authTest(ctx)
	if err != nil {
		return identity{}, err
	}
	return identity{
		Team: resp.TeamID, Enterprise: resp.EnterpriseID, BotUser: resp.UserID, BotID: resp.BotID, URL: resp.URL,
	}, nil
}

// authTest is auth.test, with the header that tells the scopes.
func (c *client) authTest(ctx context.Context) (resp *slack.AuthTestResponse, err error) {
	err = c.call(ctx, "auth.test", "", askers, func(ctx context.Context) error {
		var err error
		resp, err = c.api.AuthTestContext(ctx)
		return wholeAnswer(err, resp != nil && resp.TeamID != "")
	})
	return resp, err
}

// respond answers a press or a command by its response_url, which works five times
// in 30 minutes. With replace it takes the place of the message that was acted on,
// otherwise only the person who acted sees it. Other hosts than Slack's and the one
// of the Web API are never sent to.
func (c *client) respond(ctx context.Context, responseURL string, m message, replace bool) error {
	const method = "response_url"
	if m.Text == "" {
		return textless(method)
	}
	if !c.ours(responseURL) {
		return &slackError{Method: method, Code: "not_slacks_address", Fate: notSent}
	}
	content := map[string]any{"text": m.Text, "replace_original": replace}
	if len(m.Blocks) > 0 {
		content["blocks"] = m.Blocks
	}
	if !replace {
		content["response_type"] = slack.ResponseTypeEphemeral
	}
	body, err := json.Marshal(content)
	if err != nil {
		return &slackError{Method: method, Code: "invalid_blocks", Fate: notSent}
	}
	return c.call(ctx, method, "", askers, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, responseURL, bytes.NewReader(body))
		if err != nil {
			return errBeforeSending
		}
		req.Header.Set("Content-Type", "application/json; charset=utf-8")
		resp, err := c.http.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		return readResponse(resp)
	})
}

// ours tells whether a response_url leads to Slack, or to what stands in for it.
func (c *client) ours(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.User != nil || u.Host == "" {
		return false
	}
	return u.Scheme == "https" && (u.Host == "hooks.slack.com" || u.Host == "hooks.slack-gov.com") ||
		u.Scheme == c.base.Scheme && u.Host == c.base.Host
}

// readResponse makes an error of what a response_url says.
func readResponse(resp *http.Response) error {
	body, err := io.ReadAll(resp.Body)
	var a struct {
		OK    bool   `json:"ok"`
		Error string `json:"error"`
	}
	switch wrong := json.Unmarshal(body, &a); {
	case wrong == nil && a.Error != "" && resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests:
		return slack.SlackErrorResponse{Err: a.Error}
	case resp.StatusCode == http.StatusTooManyRequests:
		after, err := time.ParseDuration(resp.Header.Get("Retry-After") + "s")
		if err != nil || after < time.Second {
			after = time.Second
		}
		return &slack.RateLimitedError{RetryAfter: after}
	case resp.StatusCode != http.StatusOK:
		return slack.StatusCodeError{Code: resp.StatusCode}
	case err != nil:
		return err
	case wrong == nil && a.OK, strings.TrimSpace(string(body)) == "ok":
		return nil
	default:
		return errUnreadable
	}
}

// options are the message for slack-go.
func (m message) options(thread string) slack.MsgOption {
	// The renderer has escaped the text.
	all := []slack.MsgOption{
		slack.MsgOptionText(m.Text, false), slack.MsgOptionDisableLinkUnfurl(), slack.MsgOptionDisableMediaUnfurl(),
	}
	if len(m.Blocks) > 0 {
		all = append(all, slack.MsgOptionBlocks(m.Blocks...))
	}
	if thread != "" {
		all = append(all, slack.MsgOptionTS(thread))
	}
	return slack.MsgOptionCompose(all...)
}
