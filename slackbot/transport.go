package slackbot

import (
	"context"
	"net/http"
	"time"

	"github.com/slack-go/slack"

	"github.com/vpsguard/vpsguard/policy"
)

// retryTokenAfter is how long a refused token is left alone: somebody has to
// change something first.
const retryTokenAfter = 30 * time.Second

// Handler serves what Slack sends over HTTP, to be mounted at /slack/. It
// answers within 3 s, whatever else is slow.
func (b *Bot) Handler() http.Handler { return b.http }

// listen keeps Socket Mode open until the context ends.
func (b *Bot) listen(ctx context.Context) {
	for ctx.Err() == nil {
		err := runSockets(ctx, socketOptions{API: b.sockets, Dialer: b.Dialer, Intake: b.intake, Board: &b.board, Now: b.Now, Log: b.Log}, b.receive)
		if err == nil {
			return
		}
		b.Log.ErrorContext(ctx, "Socket Mode is not open; trying again", "error", err, "pause", retryTokenAfter)
		select {
		case <-time.After(retryTokenAfter):
		case <-ctx.Done():
		}
	}
}

// Ready tells why nothing can come in from Slack, or nil. HTTP is always ready:
// whether Slack reaches it is not known here.
func (b *Bot) Ready() error {
	st := b.board.status()
	if b.AppToken == "" || st.Connected > 0 {
		return nil
	}
	if st.LastError != "" {
		return policy.Errorf(policy.Unavailable, "Socket Mode is not open: %s", policy.Clean(st.LastError, 200))
	}
	return policy.Errorf(policy.Unavailable, "Socket Mode is not open yet")
}

// Heard tells when Slack has last delivered something, zero for never, and how many
// connections of Socket Mode are open.
func (b *Bot) Heard() (last time.Time, connections int) {
	st := b.board.status()
	return st.LastEnvelope, st.Connected
}

// socketAPI is the client that opens Socket Mode.
func socketAPI(o Options, url string, hc *http.Client) *slack.Client {
	options := []slack.Option{slack.OptionAppLevelToken(o.AppToken), slack.OptionHTTPClient(hc)}
	if url != "" {
		options = append(options, slack.OptionAPIURL(url))
	}
	return slack.New("", options...)
}
