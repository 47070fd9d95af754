package tools

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"github.com/mark3labs/mcp-go/mcp"
)

// appendFrame writes an answer as one line. A tool result that holds one text
// and encoded content, as all of ours do, is put together without marshalling
// its content a second time; id, where given, is what the client sent.
func appendFrame(to []byte, answer mcp.JSONRPCMessage, id json.RawMessage) ([]byte, error) {
	switch m := answer.(type) {
	case mcp.JSONRPCResponse:
		r, ok := m.Result.(*mcp.CallToolResult)
		if text, is := plain(r); ok && is {
			to = append(to, `{"jsonrpc":"2.0","id":`...)
			to = append(to, id...)
			to = append(to, `,"result":`...)
			to = appendResult(to, r, text)
			return append(to, "}\n"...), nil
		}
		m.ID = mcp.NewRequestId(id)
		answer = m
	case mcp.JSONRPCError:
		if id != nil {
			m.ID = mcp.NewRequestId(id)
			answer = m
		}
	}
	raw, err := json.Marshal(answer)
	if err != nil {
		return to, err
	}
	return append(append(to, raw...), '\n'), nil
}

// plain gives the one text of a result of the shape that [appendResult] writes.
func plain(r *mcp.CallToolResult) (string, bool) {
	if r == nil || len(r.Content) != 1 || len(r.RawStructuredContent) == 0 || len(r.InputRequests) > 0 || r.RequestState != "" {
		return "", false
	}
	t, ok := r.Content[0].(mcp.TextContent)
	return t.Text, ok && t.Annotations == nil && t.Meta == nil
}

func appendResult(to []byte, r *mcp.CallToolResult, text string) []byte {
	to = append(to, '{')
	if r.Meta != nil {
		to = append(to, `"_meta":`...)
		to = append(append(to, quoted(r.Meta)...), ',')
	}
	if r.ResultType != "" {
		to = append(to, `"resultType":`...)
		to = append(append(to, quoted(r.ResultType)...), ',')
	}
	if r.IsError {
		to = append(to, `"isError":true,`...)
	}
	to = append(to, `"content":[{"type":"text","text":`...)
	to = appendText(to, text)
	to = append(to, `}],"structuredContent":`...)
	to = append(to, r.RawStructuredContent...)
	return append(to, '}')
}

// appendText writes a text as a JSON string. All text that we write is valid
// UTF-8 and has been cleaned, so that little has to be escaped.
func appendText(to []byte, s string) []byte {
	e := newEncoder()
	e.Grow(len(s) + 64)
	if err := e.value(s); err != nil {
		panic(err) // a string
	}
	return append(to, e.Bytes()...)
}

// frames writes whole lines to an output, one at a time.
type frames struct {
	broken chan struct{} // closed by the first write that failed

	mu  sync.Mutex
	out io.Writer
	buf []byte
	err error // of that write; nothing more is written then
}

func newFrames(out io.Writer) *frames { return &frames{out: out, broken: make(chan struct{})} }

// write sends an answer, or an error in its place where it cannot be written
// down. Where the output fails, that is kept.
func (f *frames) write(answer mcp.JSONRPCMessage, id json.RawMessage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil || answer == nil {
		return
	}
	frame, err := appendFrame(f.buf[:0], answer, id)
	if err != nil {
		if frame, err = appendFrame(f.buf[:0], protocolError(mcp.INTERNAL_ERROR, "the answer could not be written down"), id); err != nil {
			return
		}
	}
	if cap(frame) <= 1<<16 {
		f.buf = frame[:0]
	}
	if _, f.err = f.out.Write(frame); f.err != nil {
		close(f.broken)
	}
}

// failure is why the output could not be written to.
func (f *frames) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return fmt.Errorf("writing answers: %w", f.err)
	}
	return nil
}

// protocolError is an answer for what never became a call.
func protocolError(code int, message string) mcp.JSONRPCError {
	return mcp.JSONRPCError{JSONRPC: mcp.JSONRPC_VERSION, Error: mcp.NewJSONRPCErrorDetails(code, message, nil)}
}
