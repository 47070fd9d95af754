package tools

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/vpsguard/vpsguard/policy"
)

// grace is how long calls in flight may go on once the program has been told to
// stop; then their reads are ended. Clients that start a stdio server kill it
// about two seconds after they asked it to end.
const grace = 1500 * time.Millisecond

// Caller is what the door opens to: a [policy.Service].
type Caller interface {
	// Catalogue is what can be called, as data.
	Catalogue() []policy.Descriptor
	// Call is how everything comes in.
	Call(ctx context.Context, c policy.Call) (policy.Outcome, error)
}

// Options are what a [Server] is made of, beside its caller.
type Options struct {
	Name    string // the server's name for clients; "vpsguard" if empty
	Version string // its version
	// Instructions tell a model how the whole is meant; optional.
	Instructions string
	// Prompts and Resources are offered beside the tools, as far as their
	// operations are in the catalogue; optional.
	Prompts   []Prompt
	Resources []Resource
	// Label, such as "sandbox", stands in front of every text, and as a field of
	// that name with the value true in every structured result; optional.
	Label string
	// Actor tells who calls. The context is that of the HTTP request, or the one
	// given to Stdio; the name is what the client calls itself, unchecked.
	Actor func(ctx context.Context, clientName string) policy.Actor
	// Wait tells how long a caller who has called too often has to wait first, and 0 where it may
	// go on, which counts as a call; nil where nobody has to.
	Wait func(caller policy.Actor) time.Duration
	// Logger gets panics and failures; nil means that nothing is logged.
	Logger *slog.Logger
}

// Server is the MCP door. It may serve several transports at once.
type Server struct {
	Options
	caller Caller
	tools  map[string]policy.Descriptor
	waits  policy.Descriptor // of the call that shows a request; may be empty
	mcp    *server.MCPServer

	streams    context.Context // ends when listen streams have to
	endStreams context.CancelFunc
	work       context.Context // ends when calls in flight have to
	endWork    context.CancelFunc
	flights    flights
	ended      endedSessions

	mu   sync.Mutex
	libs []*server.StreamableHTTPServer
}

// New makes a server of a caller's catalogue. It fails with [policy.Invalid]
// where a descriptor cannot be a tool, so that a mistake stops start-up.
func New(c Caller, o Options) (*Server, error) {
	if o.Actor == nil {
		return nil, policy.Errorf(policy.Invalid, "the MCP door is not told who calls")
	}
	if o.Name == "" {
		o.Name = "vpsguard"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{Options: o, caller: c, tools: map[string]policy.Descriptor{}}
	s.streams, s.endStreams = context.WithCancel(context.Background())
	s.work, s.endWork = context.WithCancel(context.Background())
	hooks := &server.Hooks{}
	hooks.AddAfterSubscriptionsListen(listened)
	hooks.AddAfterListTools(s.offered)
	s.mcp = server.NewMCPServer(o.Name, o.Version,
		server.WithToolCapabilities(false), // none of the lists changes while the program runs
		server.WithInstructions(o.Instructions),
		server.WithHooks(hooks),
		server.WithPromptFilter(s.offeredPrompts),
	)
	s.mcp.Use(s.recovered)
	for _, d := range c.Catalogue() {
		if _, twice := s.tools[d.Name]; twice {
			return nil, policy.Errorf(policy.Invalid, "the operation %s is there twice", d.Name)
		}
		tool, err := newTool(d, o.Label)
		if err != nil {
			return nil, err
		}
		s.tools[d.Name] = d
		if d.Noun == "request" && d.Verb == "show" {
			s.waits = d
		}
		s.mcp.AddTool(tool, s.answer)
	}
	if err := errors.Join(s.addPrompts(), s.addResources()); err != nil {
		return nil, err
	}
	return s, nil
}

// offered leaves out of a list what the caller may not ask for: by who calls, and never by
// connection. A call of it nevertheless is the caller's to refuse, which says why, where the
// library's own filter says that there is no such tool.
func (s *Server) offered(ctx context.Context, _ any, _ *mcp.ListToolsRequest, result *mcp.ListToolsResult) {
	if s.Actor(ctx, clientName(ctx)).Operates() {
		return
	}
	result.Tools = slices.DeleteFunc(slices.Clone(result.Tools), func(t mcp.Tool) bool { return s.tools[t.Name].Effect != policy.Read })
}

// offeredPrompts leaves out those that tell a model to ask for what its caller may not.
func (s *Server) offeredPrompts(ctx context.Context, all []mcp.Prompt) []mcp.Prompt {
	if s.Actor(ctx, clientName(ctx)).Operates() {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(shown mcp.Prompt) bool {
		return slices.ContainsFunc(s.Prompts, func(p Prompt) bool {
			return p.Name == shown.Name && slices.ContainsFunc(p.Uses, func(name string) bool { return s.tools[name].Effect != policy.Read })
		})
	})
}

// Shutdown ends streams that only listen, refuses new requests over HTTP, and
// returns when those in flight are answered, or with the context's error. Reads
// that still go on after a moment are ended, and answered so. It does not close
// the listener, and does not end [Server.Stdio], which ends with its context.
func (s *Server) Shutdown(ctx context.Context) error {
	s.endStreams()
	idle := s.flights.close()
	s.mu.Lock()
	libs := s.libs
	s.mu.Unlock()
	for _, lib := range libs {
		if err := lib.Shutdown(ctx); err != nil {
			return err
		}
	}
	impatient := time.AfterFunc(grace, s.endWork)
	defer impatient.Stop()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		s.endWork()
		return ctx.Err()
	}
}

// flights counts requests that are being answered.
type flights struct {
	mu     sync.Mutex
	n      int
	closed bool
	idle   chan struct{}
}

// enter tells whether a request may still be taken; then leave must follow.
func (f *flights) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.n++
	return true
}

func (f *flights) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n--
	if f.closed && f.n == 0 {
		close(f.idle)
	}
}

// close takes no more, and gives a channel that closes when all have left.
func (f *flights) close() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.closed, f.idle = true, make(chan struct{})
		if f.n == 0 {
			close(f.idle)
		}
	}
	return f.idle
}

// newTool makes an MCP tool of a descriptor.
func newTool(d policy.Descriptor, label string) (mcp.Tool, error) {
	if err := check(d); err != nil {
		return mcp.Tool{}, err
	}
	tool := mcp.NewToolWithRawSchema(d.Name, d.Summary, inputSchema(d))
	tool.Title = d.Title
	tool.RawOutputSchema = outputSchema(d, label)
	tool.Annotations = mcp.ToolAnnotation{
		Title:           d.Title,
		ReadOnlyHint:    new(d.Effect == policy.Read),
		DestructiveHint: new(d.Effect.Destroys()),
		IdempotentHint:  new(d.Idempotent),
		// What concerns requests stays in our ledger; all else reaches VPS.org.
		OpenWorldHint: new(d.Noun != "request"),
	}
	return tool, nil
}
