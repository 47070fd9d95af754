package slackbot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/slack-go/slack"
)

// socketOptions are what Socket Mode is made of.
type socketOptions struct {
	// API opens connections with its app-level token.
	API *slack.Client
	// Dialer is nil for one of our own.
	Dialer *websocket.Dialer
	// Connections is how many are kept open; 2 if 0, of the 10 that Slack allows.
	Connections int
	// Intake is shared with whatever else delivers.
	Intake *intake
	// Board is where the state can be read; nil where nobody does.
	Board *socketBoard
	Now   func() time.Time
	Log   *slog.Logger
}

const (
	openWithin  = 10 * time.Second // each of: the address, the handshake, the hello
	pingWithin  = 30 * time.Second // Slack pings more often than that
	writeWithin = 5 * time.Second
	leavingFor  = 15 * time.Second // Slack closes 10 s after its warning
	// healthyAfter is how long a connection must last for the next one not to wait.
	healthyAfter = 10 * time.Second
	longestPause = 30 * time.Second

	largestEnvelope = 4 << 20
	// largestAck is where Slack drops an acknowledgement without a word. It says 20 KB;
	// this is the smaller reading.
	largestAck = 20_000
)

// sockets are the connections of one program.
//
// They are our own on gorilla/websocket, not slack-go's socketmode.Client, because
// that one closes a connection as soon as Slack asks it to go: what comes in the ten
// seconds until Slack closes it is lost, and so is what waits for its acknowledgement
// when the program stops. Here the next one is opened first, and the old one works
// on. slack-go opens them, and gives the shapes.
type sockets struct {
	socketOptions
	r     receiver
	lines sync.WaitGroup
}

// runSockets keeps connections to Slack and has what they bring received, until ctx
// ends: then it reads nothing more, gives the acknowledgements under way and closes.
// The receivers' own end is [intake.drain]'s.
//
// It comes back by itself from everything but Slack's refusal of the token while no
// connection is open. That is a *[policy.Error] that says which variable to correct,
// for readiness; whoever calls may try again, with long pauses.
func runSockets(ctx context.Context, o socketOptions, r receiver) error {
	if o.Connections == 0 {
		o.Connections = 2
	}
	if o.Board == nil {
		o.Board = &socketBoard{}
	}
	d := websocket.Dialer{Proxy: http.ProxyFromEnvironment}
	if o.Dialer != nil {
		d = *o.Dialer
	}
	d.HandshakeTimeout = openWithin
	d.WriteBufferSize = 2 * largestAck // Slack does not put fragments together (slack-go, defaultWriteBufferSize)
	o.Dialer = &d
	o.Board.want(o.Connections)

	s := &sockets{socketOptions: o, r: r}
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	var slots sync.WaitGroup
	turn := make(chan struct{})
	close(turn)
	for range o.Connections {
		mine, next := turn, make(chan struct{})
		turn = next
		slots.Go(func() {
			// One after the other, so that the count in each hello can be understood.
			select {
			case <-mine:
			case <-ctx.Done():
				return
			}
			if err := s.keep(ctx, sync.OnceFunc(func() { close(next) })); err != nil {
				end(err)
			}
		})
	}
	slots.Wait()
	s.lines.Wait()
	var refused tokenRefused
	if errors.As(context.Cause(ctx), &refused) {
		return refused.public()
	}
	return nil
}

// keep has one connection open until ctx ends. Opens are a second apart at least, and
// up to 30 s where connections do not last. tried is called after each attempt.
func (s *sockets) keep(ctx context.Context, tried func()) error {
	var old *wire
	for short := 1; ctx.Err() == nil; short++ {
		pause := time.NewTimer(pauseAfter(short))
		l, err := s.open(ctx)
		tried()
		if err == nil {
			lasted := l.last(ctx)
			if old != nil {
				old.stop() // more than one on its way out is one too many
			}
			if old = l; lasted {
				short = 0 // and pause is over long since
			}
		} else if ctx.Err() == nil {
			s.Log.WarnContext(ctx, "no connection to Slack", "reason", err, "failures_in_a_row", short)
			s.Board.failed(err)
			var refused tokenRefused
			if errors.As(err, &refused) && s.Board.status().Connected == 0 {
				return refused // otherwise Slack has taken it before, and may again
			}
			var limited *slack.RateLimitedError
			if errors.As(err, &limited) {
				sleep(ctx, limited.RetryAfter)
			}
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
	}
	return nil
}

// pauseAfter is how long after the start of the n-th short connection in a row the
// next one starts.
func pauseAfter(n int) time.Duration {
	if n > 5 {
		return longestPause
	}
	return time.Second << (n - 1)
}

// sleep waits, but not longer than ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// open makes a connection and waits for its hello.
func (s *sockets) open(ctx context.Context) (*wire, error) {
	s.Board.opening()
	conn, err := s.dial(ctx)
	if err != nil {
		s.Board.closed(false)
		return nil, err
	}
	l := &wire{s: s, conn: conn, hello: make(chan struct{}), told: make(chan struct{}), gone: make(chan struct{}), pen: make(chan struct{}, 1)}
	l.greeted, l.leave = sync.OnceFunc(func() { close(l.hello) }), sync.OnceFunc(func() { close(l.told) })
	ctx, l.stop = context.WithCancel(ctx)
	s.lines.Go(func() { l.run(ctx) })
	t := time.NewTimer(openWithin)
	defer t.Stop()
	select {
	case <-l.hello:
		return l, nil
	case <-l.gone:
		return nil, fmt.Errorf("opening a connection: %w", l.why)
	case <-t.C:
		l.close(errors.New("there was no hello"))
		return nil, errors.New("opening a connection: there was no hello")
	}
}

// dial asks Slack for an address and goes there. The address is a ticket, so no
// error may hold it.
func (s *sockets) dial(ctx context.Context) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*openWithin)
	defer cancel()
	_, address, err := s.API.StartSocketModeContext(ctx)
	if err != nil {
		if refused, ok := refusedToken(err); ok {
			return nil, refused
		}
		return nil, fmt.Errorf("asking for an address: %w", err)
	}
	if u, err := url.Parse(address); err != nil || u.Host == "" {
		return nil, errors.New("asking for an address: Slack gave none that can be used")
	}
	conn, resp, err := s.Dialer.DialContext(ctx, address, nil)
	if resp != nil && resp.Body != nil {
		defer func() { _ = resp.Body.Close() }()
	}
	if errors.Is(err, websocket.ErrBadHandshake) && resp != nil {
		return nil, fmt.Errorf("dialling: Slack answered with status %d", resp.StatusCode)
	}
	if err != nil {
		return nil, fmt.Errorf("dialling: %w", err)
	}
	conn.SetReadLimit(largestEnvelope)
	return conn, nil
}
