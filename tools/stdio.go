package tools

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"github.com/mark3labs/mcp-go/mcp"

	"github.com/vpsguard/vpsguard/policy"
)

const (
	mostMessage = 4 << 20 // bytes of one message over stdio
	mostCalls   = 1000    // that are being answered at once; then reading pauses
	mostIdle    = 4       // goroutines that are kept for the next call
)

// Stdio serves one client: a message a line on in, and nothing but answers, and
// forms for clients that show them, on out, each written whole. It returns nil when in has ended or ctx is done, and
// out's error when it cannot be written to. Before it returns, calls in flight
// are answered: all of them after the end of in; after the end of ctx those
// that only read or wait are ended a moment later. A read of in that never
// returns does not keep it.
//
// The library's own loop is not used: it loses answers at the end of in, lets
// five waiting calls block all others, and keeps one session for the process.
func (s *Server) Stdio(ctx context.Context, in io.Reader, out io.Writer) error {
	c := &conn{s: s, frames: newFrames(out), flying: map[string]*flight{}, slots: make(chan struct{}, mostCalls), jobs: make(chan func()), idle: make(chan struct{}, mostIdle)}
	session := &stdioSession{
		notes: make(chan mcp.JSONRPCNotification, 100),
		now:   func(n mcp.JSONRPCNotification) { c.frames.write(n, nil) },
		ask:   func(r mcp.JSONRPCRequest) { c.frames.write(r, nil) },
		over:  make(chan struct{}), waiting: map[string]chan message{},
	}
	c.session = session
	work, endWork := context.WithCancel(s.mcp.WithContext(context.WithoutCancel(ctx), session))
	defer endWork()
	streams, endStreams := context.WithCancel(work)
	defer endStreams()
	c.work, c.streams = work, streams

	over := make(chan struct{})
	var notes sync.WaitGroup
	notes.Go(func() { c.notify(session.notes, over) })

	err := c.read(ctx, in)
	endStreams()
	close(session.over)
	impatient := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(grace):
			endWork()
		case <-work.Done():
		}
	})
	defer impatient()
	c.calls.Wait()
	close(c.jobs)
	close(over)
	notes.Wait()
	return errors.Join(err, c.frames.failure())
}

// conn is one client on stdio.
type conn struct {
	s             *Server
	frames        *frames
	session       *stdioSession
	work, streams context.Context
	calls         sync.WaitGroup
	slots         chan struct{} // one for each call
	jobs          chan func()   // to a goroutine that is idle
	idle          chan struct{} // one for each of those

	mu     sync.Mutex
	flying map[string]*flight // by the id as it was sent
}

// flight is a request that is being answered.
type flight struct {
	cancel    context.CancelFunc
	cancelled bool
}

// read takes messages until there are no more.
func (c *conn) read(ctx context.Context, in io.Reader) error {
	lines := make(chan []byte)
	done := make(chan struct{})
	defer close(done)
	var failure error
	go func() { // a read cannot be interrupted; it is left behind when ctx ends
		defer close(lines)
		r := bufio.NewReaderSize(in, 1<<16)
		for {
			line, err := readLine(r)
			if len(line) > 0 {
				select {
				case lines <- line:
				case <-done:
					return
				}
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					failure = fmt.Errorf("reading messages: %w", err)
				}
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.frames.broken:
			return nil // nobody reads the answers
		case line, ok := <-lines:
			if !ok {
				return failure
			}
			c.take(ctx, line)
		}
	}
}

// tooLong stands for a message that was longer than [mostMessage].
var tooLong = []byte{0}

// readLine reads one line, however long; one that is too long is skipped.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for long := false; ; {
		part, err := r.ReadSlice('\n')
		if long = long || len(line)+len(part) > mostMessage; long {
			line = tooLong
		} else {
			line = append(line, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			if !long {
				line = bytes.TrimSpace(line)
			}
			return line, err
		}
	}
}

// message is what has to be known of a message before it is dispatched.
type message struct {
	Method string          `json:"method"`
	ID     json.RawMessage `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
	Params struct {
		RequestID json.RawMessage `json:"requestId"`
	} `json:"params"`
}

// take starts what a message asks for.
func (c *conn) take(ctx context.Context, line []byte) {
	if len(line) == 1 && line[0] == tooLong[0] {
		c.frames.write(protocolError(mcp.INVALID_REQUEST, fmt.Sprintf("a message may have %d bytes", mostMessage)), nil)
		return
	}
	var m message
	var wrong *json.UnmarshalTypeError
	if err := json.Unmarshal(line, &m); err != nil && (!errors.As(err, &wrong) || line[0] != '{') {
		c.frames.write(protocolError(mcp.PARSE_ERROR, "the message is not one JSON-RPC request"), nil)
		return
	}
	switch id := string(m.ID); {
	case m.Method == "" && (m.Result != nil || m.Error != nil):
		c.session.deliver(m)
	case m.Method == string(mcp.MethodNotificationCancelled):
		c.cancel(string(m.Params.RequestID))
	case id == "" || id == "null":
		c.handle(c.work, line)
	case m.Method == string(mcp.MethodInitialize): // what follows relies on it
		c.frames.write(c.handle(c.work, line), m.ID)
	default:
		c.start(ctx, m, line)
	}
}

// start answers a request beside the others.
func (c *conn) start(ctx context.Context, m message, line []byte) {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return
	}
	parent := c.work
	if m.Method == string(mcp.MethodSubscriptionsListen) {
		parent = c.streams
	}
	work, cancel := context.WithCancel(parent)
	f := &flight{cancel: cancel}
	c.mu.Lock()
	c.flying[string(m.ID)] = f
	c.mu.Unlock()
	c.calls.Add(1)
	c.run(func() {
		defer c.calls.Done()
		c.answer(work, f, line, m.ID)
	})
}

// run has a job done beside the others, by a goroutine that is idle if there
// is one: its stack has grown to what a call needs.
func (c *conn) run(job func()) {
	select {
	case c.jobs <- job:
		return
	default:
	}
	go func() {
		for {
			job()
			select {
			case c.idle <- struct{}{}:
			default:
				return // enough are idle
			}
			next, ok := <-c.jobs
			<-c.idle
			if !ok {
				return
			}
			job = next
		}
	}()
}

func (c *conn) answer(ctx context.Context, f *flight, line []byte, id json.RawMessage) {
	defer func() { <-c.slots }()
	defer f.cancel()
	answer := c.handle(ctx, line)
	c.mu.Lock()
	cancelled := f.cancelled
	if c.flying[string(id)] == f {
		delete(c.flying, string(id))
	}
	c.mu.Unlock()
	if cancelled { // nobody waits for it any more
		return
	}
	c.frames.write(answer, id)
}

// cancel ends a request of this client.
func (c *conn) cancel(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.flying[id]; f != nil {
		f.cancelled = true
		f.cancel()
	}
}

// handle lets the library dispatch a message. It must not end the process.
func (c *conn) handle(ctx context.Context, line []byte) (answer mcp.JSONRPCMessage) {
	defer func() {
		if p := recover(); p != nil {
			c.s.Logger.ErrorContext(ctx, "a message panicked", "panic", policy.PanicText(p), "stack", string(debug.Stack()))
			answer = protocolError(mcp.INTERNAL_ERROR, "something went wrong inside")
		}
	}()
	return c.s.mcp.HandleMessage(ctx, line)
}

// notify writes notifications until there are no more.
func (c *conn) notify(notes <-chan mcp.JSONRPCNotification, over <-chan struct{}) {
	for {
		select {
		case n := <-notes:
			c.frames.write(n, nil)
		case <-over:
			return
		}
	}
}
