package tools

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

var (
	_ server.SessionWithClientInfo      = (*stdioSession)(nil)
	_ server.SessionWithProtocolVersion = (*stdioSession)(nil)
	_ server.SessionWithElicitation     = (*stdioSession)(nil)
)

// stdioSession is what the library keeps of the one client on stdio.
type stdioSession struct {
	notes chan mcp.JSONRPCNotification  // of the library's
	now   func(mcp.JSONRPCNotification) // writes one at once
	ask   func(mcp.JSONRPCRequest)      // sends the client a request
	over  chan struct{}                 // closed when nothing comes from the client any more

	mu      sync.Mutex
	asked   int64                   // how many requests were sent to the client
	waiting map[string]chan message // for its answers, by the id as it was sent
	ready   bool
	info    mcp.Implementation
	can     mcp.ClientCapabilities
	version string
}

// SessionID is never sent anywhere on stdio.
func (s *stdioSession) SessionID() string { return "stdio" }

// NotificationChannel is where notifications for the client go.
func (s *stdioSession) NotificationChannel() chan<- mcp.JSONRPCNotification { return s.notes }

// Initialize marks that the client may be notified.
func (s *stdioSession) Initialize() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = true
}

// Initialized tells whether the client may be notified.
func (s *stdioSession) Initialized() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready
}

// SetClientInfo keeps what the client calls itself.
func (s *stdioSession) SetClientInfo(info mcp.Implementation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.info = info
}

// GetClientInfo is what the client calls itself.
func (s *stdioSession) GetClientInfo() mcp.Implementation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.info
}

// SetClientCapabilities keeps what the client says that it can.
func (s *stdioSession) SetClientCapabilities(can mcp.ClientCapabilities) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.can = can
}

// GetClientCapabilities is what the client says that it can.
func (s *stdioSession) GetClientCapabilities() mcp.ClientCapabilities {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.can
}

// SetProtocolVersion keeps the version that was agreed on.
func (s *stdioSession) SetProtocolVersion(version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version = version
}

// ProtocolVersion is the version that was agreed on; "" before.
func (s *stdioSession) ProtocolVersion() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version
}

// RequestElicitation asks the client to show a form, and waits for the answer.
// Where the wait ends first, the client is told that it may close the form.
func (s *stdioSession) RequestElicitation(ctx context.Context, request mcp.ElicitationRequest) (*mcp.ElicitationResult, error) {
	s.mu.Lock()
	s.asked++
	id, answer := s.asked, make(chan message, 1)
	key := strconv.FormatInt(id, 10)
	s.waiting[key] = answer
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.waiting, key)
	}()
	s.ask(mcp.JSONRPCRequest{
		JSONRPC: mcp.JSONRPC_VERSION, ID: mcp.NewRequestId(id), Params: request.Params,
		Request: mcp.Request{Method: string(mcp.MethodElicitationCreate)},
	})
	select {
	case m := <-answer:
		if m.Error != nil {
			return nil, fmt.Errorf("the client answered with an error: %.200s", m.Error)
		}
		var result mcp.ElicitationResult
		if err := json.Unmarshal(m.Result, &result); err != nil {
			return nil, fmt.Errorf("reading the client's answer: %w", err)
		}
		return &result, nil
	case <-s.over:
		return nil, errors.New("the client says nothing any more")
	case <-ctx.Done():
		s.now(mcp.JSONRPCNotification{JSONRPC: mcp.JSONRPC_VERSION, Notification: mcp.Notification{
			Method: string(mcp.MethodNotificationCancelled),
			Params: mcp.NotificationParams{AdditionalFields: map[string]any{"requestId": id, "reason": "nobody waits for it any more"}},
		}})
		return nil, ctx.Err()
	}
}

// deliver hands an answer to whoever waits for it; one to what was never asked,
// or was answered already, goes nowhere.
func (s *stdioSession) deliver(m message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if waits := s.waiting[string(m.ID)]; waits != nil {
		delete(s.waiting, string(m.ID))
		waits <- m
	}
}
