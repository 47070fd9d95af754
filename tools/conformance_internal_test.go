//go:build conformance

package tools

import (
	"context"

	"github.com/mark3labs/mcp-go/server"
)

// Library is the library's server behind the door, for the fixtures alone: the
// program has no such way past the gate.
func (s *Server) Library() *server.MCPServer { return s.mcp }

// Notify is how handlers here notify.
func Notify(ctx context.Context, method string, params map[string]any) error {
	return notify(ctx, method, params)
}
