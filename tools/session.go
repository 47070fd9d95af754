package tools

import (
	"sync"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

var (
	_ server.SessionWithClientInfo      = (*stdioSession)(nil)
	_ server.SessionWithProtocolVersion = (*stdioSession)(nil)
)

// stdioSession is what the library keeps of the one client on stdio.
type stdioSession struct {
	notes chan mcp.JSONRPCNotification  // of the library's
	now   func(mcp.JSONRPCNotification) // writes one at once

	mu      sync.Mutex
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
