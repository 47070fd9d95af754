package slackbot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"
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

// wire is one connection. It lives longer than it is wanted: after Slack has told it
// to go it works on until Slack closes it.
type wire struct {
	s    *sockets
	conn *websocket.Conn
	stop context.CancelFunc // ends the reading, then the line

	hello, told, gone chan struct{} // closed when it was greeted, should be replaced, is over
	greeted, leave    func()
	leaving           *time.Timer // belongs to run; nil until Slack has told it to go
	once              sync.Once
	why               error // may be read when gone is closed

	pen  chan struct{} // held by who writes
	acks sync.WaitGroup
}

// last waits until a line should be replaced and tells whether it lasted.
func (l *wire) last(ctx context.Context) bool {
	t := time.NewTimer(healthyAfter)
	defer t.Stop()
	select {
	case <-l.told:
		return false
	case <-t.C:
	}
	select {
	case <-l.told:
	case <-ctx.Done():
	}
	return true
}

// close ends a line at once. The first reason counts.
func (l *wire) close(why error) {
	l.once.Do(func() {
		l.why = why
		_ = l.conn.Close()
		close(l.gone)
		l.leave()
	})
}

// run reads until the line ends or ctx does. In the second case it still gives the
// acknowledgements that are under way.
func (l *wire) run(ctx context.Context) {
	silent := time.AfterFunc(pingWithin, func() { l.close(errors.New("there was no ping")) })
	defer silent.Stop()
	pong := l.conn.PingHandler()
	l.conn.SetPingHandler(func(data string) error {
		silent.Reset(pingWithin)
		return pong(data)
	})
	deaf := context.AfterFunc(ctx, func() { _ = l.conn.SetReadDeadline(time.Unix(1, 0)) })
	for {
		_, b, err := l.conn.ReadMessage()
		if err != nil {
			if ctx.Err() == nil {
				l.close(err)
				if l.leaving == nil {
					l.s.Board.failed(fmt.Errorf("a connection was lost: %w", l.why))
				}
			}
			break
		}
		silent.Reset(pingWithin)
		l.handle(b)
	}
	deaf()
	l.acks.Wait()
	if ctx.Err() != nil {
		_ = l.write(func() error {
			return l.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Time{})
		})
	}
	l.close(errors.New("it is not wanted any more"))
	l.stop()
	if l.leaving != nil {
		l.leaving.Stop()
	}
	select {
	case <-l.hello:
		l.s.Board.closed(true)
	default:
		l.s.Board.closed(false)
	}
	l.s.Log.InfoContext(ctx, "a connection to Slack ended", "reason", l.why)
}

// write has the connection for itself. Slack must take what is written in time.
func (l *wire) write(f func() error) error {
	select {
	case l.pen <- struct{}{}:
	case <-l.gone:
		return errors.New("the connection has ended")
	}
	defer func() { <-l.pen }()
	defer time.AfterFunc(writeWithin, func() { l.close(errors.New("nobody reads at the other end")) }).Stop()
	return f()
}

// handle takes one message. It does not wait for anything.
func (l *wire) handle(b []byte) {
	var q socketmode.Request
	var mismatch *json.UnmarshalTypeError
	if err := json.Unmarshal(b, &q); err != nil && !errors.As(err, &mismatch) {
		l.s.Log.Error("Slack sent something that is no JSON", "bytes", len(b))
		return
	}
	switch q.Type {
	case socketmode.RequestTypeHello:
		select {
		case <-l.hello:
			return // once is enough
		default:
		}
		others := l.s.Board.greeted(q.NumConnections)
		l.s.Log.Info("connected to Slack", "connections", q.NumConnections)
		if others > 0 {
			l.s.Log.Warn("another program uses the same Slack app and gets a part of what people do", "connections", others)
		}
		l.greeted()
	case socketmode.RequestTypeDisconnect:
		l.s.Log.Info("Slack ends a connection soon", "reason", q.Reason)
		if l.leaving == nil {
			l.leaving = time.AfterFunc(leavingFor, l.stop)
		}
		l.leave()
	default:
		if q.EnvelopeID == "" {
			l.s.Log.Error("Slack sent something without an envelope_id", "type", q.Type)
			return
		}
		l.s.Board.received(l.s.Now())
		l.acks.Go(func() { l.deliver(q) })
	}
}

// deliver has an envelope received and acknowledges it in time. What cannot be read
// is acknowledged too: it would be the same the next time.
func (l *wire) deliver(q socketmode.Request) {
	d, err := envelope(q)
	if err != nil {
		l.s.Log.Error("an envelope cannot be read", "type", q.Type, "envelope_id", q.EnvelopeID, "reason", err)
		l.acknowledge(q, nil)
		return
	}
	// The connection's end is not the delivery's: Slack will ask for it on another.
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	ack, f := l.s.Intake.take(ctx, d, l.s.r)
	switch {
	case f == fateAcked, f == fateBroken && d.Kind == kindEvent:
		l.acknowledge(q, ack)
	default:
		// Whoever acted is told by Slack that it did not work; what was refused
		// may come again.
	}
}

// envelope makes a delivery.
func envelope(q socketmode.Request) (delivery, error) {
	d := delivery{Key: "envelope:" + q.EnvelopeID, Retry: q.RetryAttempt > 0, Via: viaSocket, Body: q.Payload}
	head, err := headOf(q.Payload)
	if err != nil {
		return d, err
	}
	switch q.Type {
	case socketmode.RequestTypeSlashCommands:
		d.Kind = kindCommand
		d.Body, err = commandJSON(q.Payload)
	case socketmode.RequestTypeInteractive:
		d.Kind = head.kind()
	case socketmode.RequestTypeEventsAPI:
		d.Kind = kindEvent
		if head.EventID != "" {
			d.Key = eventKey(head.EventID)
		}
	default:
		err = errors.New("nothing of that type is known")
	}
	return d, err
}

// acknowledge answers an envelope.
func (l *wire) acknowledge(q socketmode.Request, ack json.RawMessage) {
	answer := socketmode.Response{EnvelopeID: q.EnvelopeID}
	if len(ack) > 0 {
		if q.AcceptsResponsePayload {
			answer.Payload = ack
		} else {
			l.s.Log.Warn("an answer is dropped: this takes none", "type", q.Type, "envelope_id", q.EnvelopeID)
		}
	}
	b, err := json.Marshal(answer)
	if err != nil || len(b) >= largestAck {
		l.s.Log.Error("an answer is dropped: it is too large or no JSON", "type", q.Type, "envelope_id", q.EnvelopeID, "bytes", len(ack))
		answer.Payload = nil
		b, err = json.Marshal(answer)
	}
	if err == nil {
		err = l.write(func() error { return l.conn.WriteMessage(websocket.TextMessage, b) })
	}
	if err != nil {
		l.s.Log.Warn("an acknowledgement could not be given", "type", q.Type, "envelope_id", q.EnvelopeID, "reason", err)
	}
}
