package tools

import (
	"context"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// Watch shows a test every result of every tool, before it is sent, with the
// schema that the tool promises.
func Watch(s *Server, see func(tool string, schema any, r *mcp.CallToolResult)) {
	s.mcp.Use(func(next server.ToolHandlerFunc) server.ToolHandlerFunc {
		return func(ctx context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			r, err := next(ctx, req)
			if err == nil {
				see(req.Params.Name, s.mcp.GetTool(req.Params.Name).Tool.RawOutputSchema, r)
			}
			return r, err
		}
	})
}
