package tools_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/operations"
	"github.com/vpsguard/vpsguard/policy/policytest"
	"github.com/vpsguard/vpsguard/tools"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// golden compares with a file under testdata, or rewrites it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "go test ./tools -update writes it")
	assert.Equal(t, string(want), got)
}

// house is the whole program behind the door: a simulated VPS.org over HTTP,
// the real operations, the real policy, an in-memory ledger.
type house struct {
	clock   *policytest.Clock
	fake    *vpsfake.Fake
	service *policy.Service
	server  *tools.Server
	log     *syncBuffer

	operations []policy.Operation // for a second process
}

const passphrase = "correct horse battery"

// quickHash is quick, as tests want it.
type quickHash struct{}

func (quickHash) Hash(s string) (string, error)   { return policy.RowHash(s), nil }
func (quickHash) Matches(hash, given string) bool { return hash == policy.RowHash(given) }

// setup is what a test changes of it.
type setup struct {
	alone  bool // without VPS.org and its operations; then nothing is on a network
	fake   vpsfake.Options
	policy policy.Config
	tools  tools.Options
}

func build(t testing.TB, edits ...func(*setup)) *house {
	t.Helper()
	h := &house{clock: policytest.NewClock(), log: &syncBuffer{}}
	random := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex
	s := setup{
		fake: vpsfake.Options{Now: h.clock.Now},
		policy: policy.Config{
			Ledger:  policytest.NewMemory(h.clock.Now),
			Account: func(context.Context) (policy.Account, error) { return policytest.Account, nil },
			Ways:    []policy.Way{policy.WaySlack, policy.WayTerminal},

			Passphrase: quickHash{},
			Random: func(b []byte) {
				mu.Lock()
				defer mu.Unlock()
				for i := range b {
					b[i] = byte(random.Uint32())
				}
			},
			ApproveWithin: 30 * time.Minute, StartWithin: 10 * time.Minute, CallTimeout: 5 * time.Second,
			PollEvery: 10 * time.Second, SettleWithin: 2 * time.Minute,
		},
		tools: tools.Options{
			Name: "vpsguard", Version: "test",
			Actor: func(_ context.Context, name string) policy.Actor {
				return policy.Actor{Door: policy.DoorMCP, Subject: "agent", Name: "agent", Client: name, Vouched: "test", Role: policy.RoleOperate}
			},
			Logger: slog.New(slog.NewTextHandler(h.log, nil)),
		},
	}
	for _, edit := range edits {
		edit(&s)
	}
	if !s.alone {
		h.fake = vpsfake.New(s.fake)
		web := httptest.NewServer(h.fake)
		t.Cleanup(web.Close)
		api, err := apiclient.New(web.URL+vpsfake.BasePath, h.fake.Token(), apiclient.Options{Timeout: 5 * time.Second})
		require.NoError(t, err)
		s.policy.Operations = append(operations.Catalogue(api), s.policy.Operations...)
	}
	h.operations = s.policy.Operations
	var err error
	h.service, err = policy.NewService(s.policy)
	require.NoError(t, err)
	if set, _ := h.service.HasPassphrase(t.Context()); !set && !s.policy.ReadOnly {
		require.NoError(t, h.service.SetPassphrase(t.Context(), policytest.Person("operator"), "", passphrase))
	}
	h.server, err = tools.New(h.service, s.tools)
	require.NoError(t, err)
	if t, ok := t.(*testing.T); ok {
		tools.Watch(h.server, func(tool string, schema any, r *mcp.CallToolResult) { conforms(t, tool, schema, r) })
	}
	return h
}

// schemas are those that were compiled, by their text.
var schemas sync.Map

// conforms checks a result of whichever test against what its tool promises. A question to
// the client is no result yet. It runs where the call does, so that it may not end a test
// (hence no [testing.T]): the goroutine would end, and the client wait for ever.
func conforms(t assert.TestingT, tool string, schema any, r *mcp.CallToolResult) {
	if r.NeedsInput() {
		return
	}
	promised, err := compiled(schema)
	if err == nil {
		var doc any
		if doc, err = jsonschema.UnmarshalJSON(bytes.NewReader(r.RawStructuredContent)); err == nil {
			err = promised.Validate(doc)
		}
	}
	assert.NoError(t, err, "%s: %s", tool, r.RawStructuredContent)
}

// alone leaves VPS.org out.
func alone(s *setup) { s.alone = true }

// with adds an operation of the test's own that reads.
func with(d policy.Descriptor, answer func(context.Context) (policy.Outcome, error)) func(*setup) {
	d.Effect, d.Title, d.Summary = policy.Read, "Of the test", "Only for this test."
	return func(s *setup) {
		s.policy.Operations = append(s.policy.Operations, policy.Operation{
			Descriptor: d,
			Answer: func(ctx context.Context, _ policy.Call, _ policy.Arguments) (policy.Outcome, error) {
				return answer(ctx)
			},
		})
	}
}

// door is a real client that has come in.
type door struct {
	t       testing.TB
	client  *client.Client
	tools   []mcp.Tool
	outputs map[string]*jsonschema.Schema
}

// answer is what a call gave.
type answer struct {
	text, raw string
	content   map[string]any
	failed    bool
}

// doors are all transports in both protocol eras.
var doors = map[string]func(*testing.T, *house) *door{
	"stdio, 2025-11-25": func(t *testing.T, h *house) *door {
		return h.stdio(t, client.WithProtocolVersion(mcp.LATEST_LEGACY_PROTOCOL_VERSION))
	},
	"stdio, 2026-07-28": func(t *testing.T, h *house) *door { return h.stdio(t) },
	"HTTP, 2025-11-25": func(t *testing.T, h *house) *door {
		return h.http(t, client.WithProtocolVersion(mcp.LATEST_LEGACY_PROTOCOL_VERSION))
	},
	"HTTP, 2026-07-28": func(t *testing.T, h *house) *door { return h.http(t) },
}

func (h *house) stdio(t testing.TB, options ...client.ClientOption) *door {
	t.Helper()
	in, toServer := io.Pipe()
	fromServer, out := io.Pipe()
	over := make(chan error, 1)
	go func() {
		err := h.server.Stdio(context.Background(), in, out)
		out.Close()
		over <- err
	}()
	seen := &syncBuffer{}
	c := client.NewClient(transport.NewIO(io.TeeReader(fromServer, seen), toServer, io.NopCloser(strings.NewReader(""))), options...)
	d := come(t, c)
	t.Cleanup(func() {
		require.NoError(t, toServer.Close())
		assert.NoError(t, <-over)
		onlyFrames(t, seen.String())
	})
	return d
}

// request writes a JSON-RPC request.
func request(id any, method, params string) string {
	raw, err := json.Marshal(id)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":%q,"params":%s}`, raw, method, params)
}

// say sends lines over stdio, ends the input, and gives all that came back.
func (h *house) say(t testing.TB, lines ...string) string {
	t.Helper()
	var out syncBuffer
	require.NoError(t, h.server.Stdio(t.Context(), strings.NewReader(strings.Join(lines, "\n")), &out))
	onlyFrames(t, out.String())
	return out.String()
}

// onlyFrames checks that an output holds one JSON-RPC message a line.
func onlyFrames(t testing.TB, out string) {
	t.Helper()
	for line := range strings.Lines(out) {
		var frame struct{ JSONRPC string }
		require.NoError(t, json.Unmarshal([]byte(line), &frame), "%s", line)
		require.Equal(t, "2.0", frame.JSONRPC)
	}
}

func (h *house) http(t testing.TB, options ...client.ClientOption) *door {
	t.Helper()
	c, err := client.NewStreamableHttpClient(h.serve(t, tools.HTTPOptions{}))
	require.NoError(t, err)
	for _, o := range options {
		o(c)
	}
	return come(t, c)
}

// serve mounts the door, and gives its URL.
func (h *house) serve(t testing.TB, o tools.HTTPOptions) string {
	t.Helper()
	web := httptest.NewServer(h.server.Handler(o))
	t.Cleanup(web.Close)
	return web.URL
}

// come initialises a client and compiles the schemas that it is shown.
func come(t testing.TB, c *client.Client) *door {
	t.Helper()
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.Start(t.Context()))
	var hello mcp.InitializeRequest
	hello.Params.ProtocolVersion = mcp.LATEST_PROTOCOL_VERSION
	hello.Params.ClientInfo = mcp.Implementation{Name: "example-client", Version: "1"}
	_, err := c.Initialize(t.Context(), hello)
	require.NoError(t, err)
	found, err := c.ListTools(t.Context(), mcp.ListToolsRequest{})
	require.NoError(t, err)
	d := &door{t: t, client: c, tools: found.Tools, outputs: map[string]*jsonschema.Schema{}}
	for _, tool := range found.Tools {
		d.outputs[tool.Name] = compile(t, tool.OutputSchema)
	}
	return d
}

func compile(t testing.TB, schema any) *jsonschema.Schema {
	t.Helper()
	s, err := compiled(schema)
	require.NoError(t, err)
	return s
}

// compiled gives a schema compiled, the same as before where it is the same.
func compiled(schema any) (*jsonschema.Schema, error) {
	raw, err := json.Marshal(schema)
	if err != nil {
		return nil, err
	}
	if known, ok := schemas.Load(string(raw)); ok {
		return known.(*jsonschema.Schema), nil
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("schema.json", doc); err != nil {
		return nil, err
	}
	s, err := compiler.Compile("schema.json")
	if err != nil {
		return nil, err
	}
	known, _ := schemas.LoadOrStore(string(raw), s)
	return known.(*jsonschema.Schema), nil
}

// call calls a tool with arguments as they stand, and checks what must hold of
// every result: it conforms to the tool's output schema, says something, and
// stays small where it is a failure.
func (d *door) call(tool, arguments string) answer {
	d.t.Helper()
	a, err := d.try(d.t.Context(), tool, arguments)
	require.NoError(d.t, err)
	return a
}

// try is call for what may fail, and for goroutines.
func (d *door) try(ctx context.Context, tool, arguments string) (answer, error) {
	var req mcp.CallToolRequest
	req.Params.Name = tool
	req.Params.RawArguments = json.RawMessage(arguments)
	got, err := d.client.CallTool(ctx, req)
	if err != nil {
		return answer{}, err
	}
	a := answer{raw: string(got.RawStructuredContent), failed: got.IsError}
	for _, c := range got.Content {
		text, _ := c.(mcp.TextContent)
		a.text += text.Text
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(a.raw))
	if err == nil {
		err = d.outputs[tool].Validate(doc)
	}
	err = errors.Join(err, json.Unmarshal([]byte(a.raw), &a.content))
	_, is := a.content["error"]
	switch {
	case err != nil:
		return a, fmt.Errorf("%s: %w", a.raw, err)
	case len(got.Content) != 1 || a.text == "":
		return a, fmt.Errorf("%s has no one text", a.raw)
	case a.failed != is, a.failed && len(a.text)+len(a.raw) > 1000:
		return a, fmt.Errorf("%s is no good failure", a.raw)
	}
	return a, nil
}

// at walks down an object.
func (a answer) at(path ...string) any {
	var v any = a.content
	for _, key := range path {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	return v
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
