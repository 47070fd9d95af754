package slackfake

import (
	"context"
	"net"
	"net/http"
	"sync"
)

// Wire is a network inside the process, for tests in a bubble of testing/synctest,
// where waiting on a real network would stop the time. A server listens on it, and
// clients of HTTP and of websockets take its DialContext.
type Wire struct {
	once   sync.Once
	conns  chan net.Conn
	closed chan struct{}
}

var _ net.Listener = (*Wire)(nil)

// NewWire returns a Wire on which nobody listens yet.
func NewWire() *Wire { return &Wire{conns: make(chan net.Conn), closed: make(chan struct{})} }

// Accept waits for the next connection.
func (w *Wire) Accept() (net.Conn, error) {
	select {
	case c := <-w.conns:
		return c, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

// Close ends Accept and DialContext. Connections stay.
func (w *Wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	return nil
}

// Addr is the address of everybody on the Wire.
func (w *Wire) Addr() net.Addr { return wireAddr{} }

type wireAddr struct{}

func (wireAddr) Network() string { return "wire" }
func (wireAddr) String() string  { return "slack.test:80" }

// DialContext connects to whoever listens, whatever the address.
func (w *Wire) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case w.conns <- there:
		return here, nil
	case <-w.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Client returns a client whose connections go over the Wire.
func (w *Wire) Client() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: w.DialContext, MaxIdleConnsPerHost: 32}}
}
