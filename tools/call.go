package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/vpsguard/vpsguard/policy"
)

// answer is the one handler of all tools.
func (s *Server) answer(ctx context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.work, cancel)()
	d := s.tools[req.Params.Name]
	actor := s.Actor(ctx, clientName(ctx))
	out, err := s.caller.Call(ctx, policy.Call{
		Actor: actor, Operation: d.Name, Arguments: arguments(req), News: s.progress(ctx, req),
	})
	switch {
	case err != nil:
	case out.Listing != nil && d.Rows != "":
		return s.listing(d, *out.Listing)
	case out.Standing != nil && d.Rows == "":
		return s.standing(*out.Standing)
	default:
		err = fmt.Errorf("an outcome of %s that its descriptor does not describe", d.Name)
	}
	e := policy.Public(err)
	if e.Kind == policy.Internal || e.Kind == policy.Unavailable || e.Kind == policy.Uncertain {
		s.Logger.WarnContext(ctx, "a call failed", "operation", d.Name, "door", actor.Door, "actor", policy.Clean(actor.Subject, 120),
			"kind", e.Kind, "error", err)
	}
	return s.failed(e), nil
}

// arguments are the bytes that the client sent. The library decodes numbers to
// floats beside them, where 2^53+1 and 1.0 look like other numbers.
func arguments(req mcp.CallToolRequest) json.RawMessage {
	if raw, ok := req.GetRawArguments().(json.RawMessage); ok {
		return raw
	}
	raw, err := json.Marshal(req.Params.Arguments) // a call that never was a message
	if err != nil {
		return json.RawMessage("[]") // refused as no object
	}
	return raw
}

// clientName is what the client calls itself: in its initialize, or in each
// request from 2026-07-28 on; the library keeps either in the session.
func clientName(ctx context.Context) string {
	if session, ok := server.ClientSessionFromContext(ctx).(server.SessionWithClientInfo); ok {
		return session.GetClientInfo().Name
	}
	return ""
}

// recovered turns a panic into an error result that tells nothing from inside.
// The library's own recovery shows the panic's text to the client.
func (s *Server) recovered(next server.ToolHandlerFunc) server.ToolHandlerFunc {
	return func(ctx context.Context, req mcp.CallToolRequest) (result *mcp.CallToolResult, err error) {
		defer func() {
			if p := recover(); p != nil {
				actor := s.Actor(ctx, clientName(ctx))
				s.Logger.ErrorContext(ctx, "a call panicked",
					"operation", req.Params.Name, "door", actor.Door, "actor", policy.Clean(actor.Subject, 120),
					"panic", policy.Clean(fmt.Sprint(p), 300), "stack", string(debug.Stack()))
				result, err = s.failed(policy.Public(fmt.Errorf("panic: %v", p))), nil
			}
		}()
		return next(ctx, req)
	}
}

// notify sends a notification that belongs to the call of this context. It is
// written when notify returns, so that no answer overtakes it.
func notify(ctx context.Context, method string, params map[string]any) error {
	n := mcp.JSONRPCNotification{JSONRPC: mcp.JSONRPC_VERSION}
	n.Method, n.Params.AdditionalFields = method, params
	if answer, ok := ctx.Value(streamKey{}).(*stream); ok {
		return answer.notify(n)
	}
	if session, ok := server.ClientSessionFromContext(ctx).(*stdioSession); ok {
		session.now(n)
	}
	return nil
}

// listened lets a subscription to nothing that is offered end a moment after it
// was acknowledged: the library does that by a notification, and over HTTP mcp-go
// v1.2.1 loses the last one before an answer (issue 969 there).
func listened(ctx context.Context, _ any, _ *mcp.SubscriptionsListenRequest, _ *mcp.SubscriptionsListenResult) {
	select {
	case <-time.After(25 * time.Millisecond): // 100 µs do on an idle machine, 2 ms not always on a busy one
	case <-ctx.Done():
	}
}
