package tools

import (
	"context"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// Library is the library's server behind the door, for tools of tests: the
// program has no such way past the gate.
func (s *Server) Library() *server.MCPServer { return s.mcp }

// Watch shows a test every result of every tool of the catalogue, before it is sent,
// with the schema that the tool promises. Tools of tests promise nothing.
func Watch(s *Server, see func(tool string, schema any, r *mcp.CallToolResult)) {
	s.mcp.Use(func(next server.ToolHandlerFunc) server.ToolHandlerFunc {
		return func(ctx context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			r, err := next(ctx, req)
			if _, ours := s.tools[req.Params.Name]; ours && err == nil {
				see(req.Params.Name, s.mcp.GetTool(req.Params.Name).Tool.RawOutputSchema, r)
			}
			return r, err
		}
	})
}
