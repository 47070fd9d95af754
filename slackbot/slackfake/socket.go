package slackfake

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/gorilla/websocket"
)

// socket is a Socket Mode connection. Its fields but for conn and the channels belong
// to the Fake's lock.
type socket struct {
	f      *Fake
	number int
	conn   *websocket.Conn
	out    chan []byte
	gone   chan struct{}
	closed bool
	warned bool
}

// Socket is a Socket Mode connection that is open.
type Socket struct {
	// Number counts the connections there have been, from 1.
	Number int
	// Warned tells whether it was told to go.
	Warned bool

	s *socket
}

// Sockets returns the connections that are open, oldest first.
func (f *Fake) Sockets() []Socket {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]Socket, 0, len(f.sockets))
	for _, s := range f.sockets {
		out = append(out, Socket{Number: s.number, Warned: s.warned, s: s})
	}
	return out
}

// AwaitSockets waits until so many connections are open.
func (f *Fake) AwaitSockets(ctx context.Context, n int) error {
	return f.Await(ctx, func() bool { return len(f.Sockets()) == n })
}

// Disconnect tells the app to go, as Slack does every few hours: reason is "warning",
// "refresh_requested" or "link_disabled". With the first two the connection works on
// for WarnedBefore, with the last it ends at once.
func (x Socket) Disconnect(reason string) {
	f := x.s.f
	f.mu.Lock()
	defer f.mu.Unlock()
	x.s.warned = true
	x.s.sendJSON(map[string]any{"type": "disconnect", "reason": reason, "debug_info": map[string]any{"host": "slackfake"}})
	if reason == "link_disabled" {
		close(x.s.out)
		x.s.closed = true
		f.lost(x.s)
		return
	}
	f.o.AfterFunc(WarnedBefore, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		x.s.close()
	})
}

// Drop cuts the connection without a word.
func (x Socket) Drop() {
	x.s.f.mu.Lock()
	defer x.s.f.mu.Unlock()
	x.s.close()
}

// DisableSocketMode ends all connections with link_disabled and refuses new ones, as
// turning Socket Mode off in the app's settings does.
func (f *Fake) DisableSocketMode() {
	// Which error it is, is not documented.
	f.RevokeAppToken("not_allowed_token_type")
	for _, s := range f.Sockets() {
		s.Disconnect("link_disabled")
	}
}

// connectionsOpen hands out an address for a websocket.
func (f *Fake) connectionsOpen(args) answer {
	ticket := f.id("link")
	f.tickets[ticket] = true
	base := f.base()
	base.Scheme = map[string]string{"http": "ws", "https": "wss"}[base.Scheme]
	base.Path = "/link/"
	base.RawQuery = url.Values{"ticket": {ticket}, "app_id": {App}}.Encode()
	return answer{"ok": true, "url": base.String()}
}

// link is the websocket itself.
func (f *Fake) link(w http.ResponseWriter, r *http.Request) {
	ticket := r.URL.Query().Get("ticket")
	f.mu.Lock()
	valid := f.tickets[ticket] && f.ctx.Err() == nil
	delete(f.tickets, ticket)
	f.mu.Unlock()
	if !valid {
		http.Error(w, "unknown or used ticket", http.StatusForbidden)
		return
	}
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	conn, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	s := &socket{f: f, conn: conn, out: make(chan []byte, 4096), gone: make(chan struct{})}
	f.mu.Lock()
	if f.ctx.Err() != nil {
		f.mu.Unlock()
		_ = conn.Close()
		return
	}
	f.opened++
	s.number = f.opened
	if len(f.sockets) >= MaxSockets {
		f.violate("too-many-sockets", "more than %d connections", MaxSockets)
		s.sendJSON(map[string]any{"type": "disconnect", "reason": "too_many_websockets"})
		close(s.out)
		s.closed = true
	} else {
		f.sockets = append(f.sockets, s)
		s.sendJSON(map[string]any{
			"type": "hello", "num_connections": len(f.sockets), "connection_info": map[string]any{"app_id": App},
			"debug_info": map[string]any{
				"host": "slackfake", "build_number": 1, "approximate_connection_time": 18060,
				"started": f.o.Now().UTC().Format("2006-01-02 15:04:05.000"),
			},
		})
	}
	f.work.Add(2)
	f.notify()
	f.mu.Unlock()
	go s.write()
	s.read()
}

// pick chooses a connection in turn, another than not where there is one. The lock is
// held.
func (f *Fake) pick(not *socket) *socket {
	for range f.sockets {
		f.nextUp++
		s := f.sockets[f.nextUp%len(f.sockets)]
		if s != not || len(f.sockets) == 1 {
			return s
		}
	}
	return nil
}

// sendJSON queues a message. One who does not read loses the connection. The lock is
// held.
func (s *socket) sendJSON(v any) {
	if s.closed {
		return
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	select {
	case s.out <- b:
	default:
		s.close()
	}
}

// close ends the connection at once. The lock is held.
func (s *socket) close() {
	if s.closed {
		return
	}
	s.closed = true
	_ = s.conn.Close()
	close(s.out)
	s.f.lost(s)
}

// lost sends what was under way on a connection that is gone over another one. The
// lock is held.
func (f *Fake) lost(s *socket) {
	i := slices.Index(f.sockets, s)
	if i < 0 {
		return
	}
	f.sockets = slices.Delete(f.sockets, i, i+1)
	for _, envelope := range slices.Sorted(maps.Keys(f.pending)) {
		d := f.pending[envelope]
		if d == nil || d.socket != s {
			continue
		}
		if len(f.sockets) > 0 {
			d.send("connection_closed")
			continue
		}
		if d.Kind == EventsAPI {
			d.failed("", "connection_closed")
		}
		// Whoever pressed or typed waits until the time is over.
	}
	f.notify()
}

// write sends what is queued, and pings.
func (s *socket) write() {
	defer s.f.work.Done()
	defer func() { _ = s.conn.Close() }()
	ping := time.NewTicker(s.f.o.PingEvery)
	defer ping.Stop()
	for {
		var err error
		select {
		case b, ok := <-s.out:
			if !ok {
				return
			}
			err = s.conn.WriteMessage(websocket.TextMessage, b)
		case <-ping.C:
			err = s.conn.WriteMessage(websocket.PingMessage, []byte("Ping from slackfake"))
		case <-s.gone:
			return
		}
		if err != nil {
			return
		}
	}
}

// read takes acknowledgements until the connection ends.
func (s *socket) read() {
	defer s.f.work.Done()
	defer close(s.gone)
	for {
		kind, b, err := s.conn.ReadMessage()
		if err != nil {
			break
		}
		if kind == websocket.TextMessage {
			s.acknowledged(b)
		}
	}
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.close()
}

// acknowledged takes one message of the app.
func (s *socket) acknowledged(b []byte) {
	f := s.f
	f.mu.Lock()
	defer f.mu.Unlock()
	var ack struct {
		EnvelopeID string          `json:"envelope_id"`
		Payload    json.RawMessage `json:"payload"`
	}
	if err := json.Unmarshal(b, &ack); err != nil || ack.EnvelopeID == "" {
		f.violate("malformed-ack", "%.80q is no acknowledgement", b)
		return
	}
	if len(b) >= MaxAck {
		f.violate("ack-too-large", "an acknowledgement of %d bytes is dropped", len(b))
		return
	}
	d := f.pending[ack.EnvelopeID]
	if d == nil {
		i := slices.IndexFunc(f.delivered, func(d *Delivery) bool { return d.envelope == ack.EnvelopeID })
		if i < 0 {
			f.violate("malformed-ack", "nothing has the envelope_id %q", ack.EnvelopeID)
		} else if !f.delivered[i].out.Acked {
			f.violate("late-ack", "%s was acknowledged too late", f.delivered[i].What)
		}
		return
	}
	if d.loseAck {
		return
	}
	if empty(ack.Payload) {
		ack.Payload = nil
	} else if !d.accepts {
		f.violate("payload-not-accepted", "%s takes no payload in its acknowledgement", d.What)
		ack.Payload = nil
	}
	d.acknowledge(ack.Payload)
}
