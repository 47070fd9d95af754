package slackbot

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/slack-go/slack"

	"github.com/vpsguard/vpsguard/policy"
)

// transportStatus is how Socket Mode stands.
type transportStatus struct {
	// Connected is how many connections are open, also those on their way out.
	Connected int
	// LastEnvelope is when something was last delivered; zero if never.
	LastEnvelope time.Time
	// Others is how many connections of other programs the last hello has counted.
	Others int
	// LastError is why there are fewer connections than there should be; "" if not.
	LastError string
}

// socketBoard shows the state while runSockets runs. The zero value is ready.
type socketBoard struct {
	mu     sync.Mutex
	now    transportStatus
	wanted int
	ours   int // also those that are being opened
}

// status tells the state.
func (b *socketBoard) status() transportStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *socketBoard) want(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wanted = n
}

func (b *socketBoard) opening() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ours++
}

// greeted counts a hello, which tells how many connections the app has.
func (b *socketBoard) greeted(connections int) (others int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now.Connected++
	b.now.Others = max(0, connections-b.ours)
	if b.now.Connected >= b.wanted {
		b.now.LastError = ""
	}
	return b.now.Others
}

func (b *socketBoard) received(at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now.LastEnvelope = at
}

func (b *socketBoard) failed(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now.LastError = err.Error()
}

// closed ends what opening began.
func (b *socketBoard) closed(wasConnected bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ours--
	if wasConnected {
		b.now.Connected--
	}
}

// tokenRefused is Slack's word that the app-level token does not do.
type tokenRefused struct{ code string }

func (t tokenRefused) Error() string { return "Slack refuses the app-level token: " + t.code }

// refusedToken tells whether an error of apps.connections.open will not pass by
// itself. Its codes: https://docs.slack.dev/reference/methods/apps.connections.open
func refusedToken(err error) (tokenRefused, bool) {
	var status slack.StatusCodeError
	if errors.As(err, &status) && status.Code == http.StatusNotFound {
		return tokenRefused{"status 404"}, true
	}
	var answer slack.SlackErrorResponse
	if !errors.As(err, &answer) {
		return tokenRefused{}, false
	}
	switch answer.Err {
	case "invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "not_allowed_token_type",
		"missing_scope", "no_permission", "access_denied", "org_login_required", "ekm_access_denied":
		return tokenRefused{answer.Err}, true
	default:
		return tokenRefused{}, false
	}
}

// public says what to do.
func (t tokenRefused) public() *policy.Error {
	e := policy.Errorf(policy.Unavailable, "Slack refuses the app-level token (%s)", t.code).Because(t)
	switch t.code {
	case "not_allowed_token_type", "status 404":
		return e.WithHint("VPSGUARD_SLACK_APP_TOKEN must be an app-level token (xapp-…) of an app in which Socket Mode is turned on.")
	case "missing_scope", "no_permission", "access_denied":
		return e.WithHint("VPSGUARD_SLACK_APP_TOKEN must be an app-level token with the scope connections:write.")
	default:
		return e.WithHint("Generate an app-level token with the scope connections:write in the app's settings and set VPSGUARD_SLACK_APP_TOKEN to it.")
	}
}
