package tools

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"

	"github.com/mark3labs/mcp-go/mcp"
)

// stream is the answer to one POST. What its call notifies of is written into it
// as events, each before [stream.notify] returns, and the answer becomes the last
// event. mcp-go v1.2.1 cannot be left to do that: it hands notifications to another
// goroutine, which loses the last one before the answer (issue 969 there), and where
// a client has more than one request or a GET open in its session, they
// come out of any of them. Whatever the library streams itself passes through.
type stream struct {
	http.ResponseWriter
	takes bool // the client takes events

	mu     sync.Mutex
	begun  bool // the header is sent
	ours   bool // by notify, so that the library does not know
	events bool // what the library writes is events already
}

type streamKey struct{}

// newStream makes a stream, and the context by which the call finds it.
func newStream(w http.ResponseWriter, r *http.Request) (*stream, context.Context) {
	s := &stream{ResponseWriter: w}
	for _, accept := range r.Header.Values("Accept") {
		s.takes = s.takes || strings.Contains(accept, "text/event-stream")
	}
	return s, context.WithValue(r.Context(), streamKey{}, s)
}

// notify writes a notification at once. It is dropped where the client takes no
// events: then it gets the answer alone.
func (s *stream) notify(n mcp.JSONRPCNotification) error {
	raw, err := json.Marshal(n)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.takes || s.begun && !s.ours && !s.events {
		return nil
	}
	if !s.begun {
		s.begun, s.ours = true, true
		s.Header().Set("Content-Type", "text/event-stream")
		s.Header().Set("Cache-Control", "no-cache")
		s.ResponseWriter.WriteHeader(http.StatusOK)
	}
	if _, err := s.ResponseWriter.Write(event(raw)); err != nil {
		return err
	}
	return http.NewResponseController(s.ResponseWriter).Flush()
}

func event(message []byte) []byte {
	out := append([]byte("event: message\ndata: "), bytes.TrimSpace(message)...)
	return append(out, "\n\n"...)
}

// WriteHeader sends the header that the library has made, unless one was sent.
func (s *stream) WriteHeader(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = strings.HasPrefix(s.Header().Get("Content-Type"), "text/event-stream")
	if s.ours {
		return
	}
	s.begun = true
	s.ResponseWriter.WriteHeader(status)
}

// Write writes what the library writes: an answer, whole, or events.
func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun = true
	out := p
	if s.ours && !s.events {
		out = event(p)
	}
	if _, err := s.ResponseWriter.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush sends what was written.
func (s *stream) Flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = http.NewResponseController(s.ResponseWriter).Flush() // a client that has gone is noticed by the next write
}

// Unwrap is for [http.ResponseController].
func (s *stream) Unwrap() http.ResponseWriter { return s.ResponseWriter }
