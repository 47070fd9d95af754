package tools

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/vpsguard/vpsguard/policy"
)

// answer is the one handler of all tools.
func (s *Server) answer(ctx context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	if failed := s.tooOften(ctx); failed != nil {
		return s.failed(failed), nil
	}
	result, failed := s.call(ctx, s.tools[req.Params.Name], policy.Call{
		Arguments: arguments(req), News: s.progress(ctx, req), Asks: canAsk(ctx), Answer: formAnswer(ctx, req),
	})
	if failed != nil {
		return s.failed(failed), nil
	}
	return result, nil
}

// tooOften counts a call that came in, and refuses it where its caller has to wait first. What a
// person answers to a call is no other one: whatever the caller does meanwhile, it is heard.
func (s *Server) tooOften(ctx context.Context) *policy.Error {
	if s.Wait == nil {
		return nil
	}
	wait := s.Wait(s.Actor(ctx, clientName(ctx)))
	if wait <= 0 {
		return nil
	}
	return policy.Errorf(policy.Conflict, "you call too often; try again in %d s", int(math.Ceil(wait.Seconds()))).WithHint("Nothing was done.")
}

// call calls an operation for whoever asks, and renders what came of it.
func (s *Server) call(ctx context.Context, d policy.Descriptor, c policy.Call) (*mcp.CallToolResult, *policy.Error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.work, cancel)()
	c.Actor, c.Operation = s.Actor(ctx, clientName(ctx)), d.Name
	out, err := s.caller.Call(ctx, c)
	var result *mcp.CallToolResult
	switch {
	case err != nil:
	case out.Standing != nil && out.Standing.Form != nil:
		return s.ask(ctx, d, c, *out.Standing)
	case out.Listing != nil && d.Rows != "":
		result, err = s.listing(d, *out.Listing)
	case out.Standing != nil && d.Rows == "":
		result, err = s.standing(*out.Standing)
	default:
		err = fmt.Errorf("an outcome of %s that its descriptor does not describe", d.Name)
	}
	if err == nil {
		return result, nil
	}
	e := policy.Public(err)
	if e.Kind == policy.Internal || e.Kind == policy.Unavailable || e.Kind == policy.Uncertain {
		s.Logger.WarnContext(ctx, "a call failed", "operation", d.Name, "door", c.Actor.Door, "actor", policy.Clean(c.Actor.Subject, 120),
			"kind", e.Kind, "error", err)
	}
	return nil, e
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
// request from 2026-07-28 on. The library keeps either in the session; one that
// another process has opened says it by its id.
func clientName(ctx context.Context) string {
	session, ok := server.ClientSessionFromContext(ctx).(server.SessionWithClientInfo)
	if !ok {
		return ""
	}
	if name := session.GetClientInfo().Name; name != "" {
		return name
	}
	_, _, client := parts(session.SessionID())
	return client
}

// recovered turns a panic into an error result that tells nothing from inside.
// The library's own recovery shows the panic's text to the client.
func (s *Server) recovered(next server.ToolHandlerFunc) server.ToolHandlerFunc {
	return func(ctx context.Context, req mcp.CallToolRequest) (result *mcp.CallToolResult, err error) {
		defer func() {
			if p := recover(); p != nil {
				result, err = s.failed(s.panicked(ctx, req.Params.Name, p)), nil
			}
		}()
		return next(ctx, req)
	}
}

// panicked logs a panic that was recovered, and gives what may be said of it.
func (s *Server) panicked(ctx context.Context, operation string, p any) *policy.Error {
	actor := s.Actor(ctx, clientName(ctx))
	s.Logger.ErrorContext(ctx, "a call panicked",
		"operation", operation, "door", actor.Door, "actor", policy.Clean(actor.Subject, 120),
		"panic", policy.PanicText(p), "stack", string(debug.Stack()))
	return policy.Public(errors.New("panic: " + policy.PanicText(p)))
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
