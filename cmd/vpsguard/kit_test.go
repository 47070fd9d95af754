package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
	"github.com/vpsguard/vpsguard/policy/ledger/pgtest"
)

// TestMain makes the test binary the program as well: "vpsguard" is on the PATH
// of every test, and is a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(whole{m}, map[string]func(){"vpsguard": main, "vpsguard-odd": odd})
}

// whole is all tests, and the end of what they have started.
type whole struct{ m *testing.M }

func (w whole) Run() int { return pgtest.Main(w.m) }

// patience is how long a real process may take for anything.
const patience = 20 * time.Second

const (
	testToken      = "vps_test_4f9c2a7d81e6b350"
	testPassphrase = "correct horse battery"
)

// world is a VPS.org and a ledger for one test.
type world struct {
	fake *vpsfake.Fake
	env  []string
	path string // of the ledger
}

func newWorld(t testing.TB, o vpsfake.Options) *world {
	t.Helper()
	if o.Token == "" {
		o.Token = testToken
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	w := &world{fake: vpsfake.New(o), path: filepath.Join(t.TempDir(), "ledger.db")}
	api := httptest.NewServer(w.fake)
	t.Cleanup(api.Close)
	w.env = append(bare(t), "VPSGUARD_API_URL="+api.URL+vpsfake.BasePath, "VPSGUARD_API_TOKEN="+o.Token,
		"VPSGUARD_DATABASE=sqlite:"+w.path, "VPSGUARD_POLL_EVERY=50ms", "VPSGUARD_API_TIMEOUT=1500ms", "VPSGUARD_ADDR=127.0.0.1:0")
	return w
}

// fast is a VPS.org on which a restore is seen, on a busy machine too: what is not
// seen to begin is not known to have ended.
func fast() vpsfake.Options {
	return vpsfake.Options{CreateTakes: 100 * time.Millisecond, RestoreTakes: 500 * time.Millisecond, RestoreShows: true}
}

// bare is an environment in which nothing of the host's shows.
func bare(t testing.TB) []string {
	t.Helper()
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir()}
}

// service gives the test's own way in, on the same ledger, until the test ends.
func (w *world) service(t *testing.T) (*policy.Service, *ledger.Ledger) {
	t.Helper()
	s, err := load(t.Context(), w.env)
	require.NoError(t, err)
	client, err := connect(s)
	require.NoError(t, err)
	l, err := ledger.Open(t.Context(), s.Database.Reveal(), ledger.Options{Now: time.Now})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	book, err := openRules(s.PolicyFile)
	require.NoError(t, err)
	service, err := newService(s, l, client, &account{client: client}, nil, book)
	require.NoError(t, err)
	service.Passphrase = forSandbox // cheap; the hash carries its parameters
	return service, l
}

// withPassphrase sets the passphrase of the ledger.
func withPassphrase(t *testing.T, s *policy.Service) {
	t.Helper()
	require.NoError(t, s.SetPassphrase(t.Context(), atTerminal(), "", testPassphrase))
}

// hold files a restore of snapshot 801 over web-server-01 and gives its id.
func hold(t *testing.T, s *policy.Service, reason string) string {
	t.Helper()
	args, err := json.Marshal(map[string]any{"server": "web-server-01", "snapshot_id": 801, "reason": reason})
	require.NoError(t, err)
	out, err := s.Call(t.Context(), policy.Call{Actor: overStdio("claude-code"), Operation: "restore_snapshot", Arguments: args})
	require.NoError(t, err)
	require.Equal(t, policy.StateHeld, out.Standing.Request.State)
	return out.Standing.Request.ID
}

// approve approves as the command line does, without its terminal.
func approve(t *testing.T, s *policy.Service, id string) {
	t.Helper()
	st, err := s.Show(t.Context(), id)
	require.NoError(t, err)
	_, err = s.Decide(t.Context(), id, policy.Verdict{
		By: atTerminal(), Way: policy.WayTerminal, Digest: st.Request.Plan.Digest,
		Typed: st.Request.Plan.Server.Typed(), Secret: testPassphrase,
	})
	require.NoError(t, err)
}

// until waits for a request to be as wanted.
func until(t *testing.T, s *policy.Service, id, what string, ok func(policy.Request) bool) policy.Request {
	t.Helper()
	var r policy.Request
	require.Eventually(t, func() bool {
		st, err := s.Show(t.Context(), id)
		r = st.Request
		return err == nil && ok(r)
	}, patience, 5*time.Millisecond, "%s", what)
	return r
}

// vpsguard runs the program to its end, inside the test's own process.
func vpsguard(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out, log bytes.Buffer
	p := &program{
		Args: append([]string{"vpsguard"}, args...), Env: env, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &log, Now: time.Now,
	}
	code = p.Main(ctx)
	return out.String(), log.String(), code
}

// spawn starts the program and leaves it running until the test ends.
func spawn(t testing.TB, env []string, args ...string) (*exec.Cmd, *lines) {
	t.Helper()
	log := &lines{}
	cmd := exec.Command("vpsguard", args...) //nolint:noctx // ended below
	cmd.Env, cmd.Stdout, cmd.Stderr = env, log, log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd, log
}

// ended waits for the end of a process, but not for ever.
func ended(cmd *exec.Cmd) error {
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	return cmd.Wait()
}

// lines collects what a process prints.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// await waits until it was printed, and gives all that was.
func (l *lines) await(t testing.TB, text string) string {
	t.Helper()
	if !assertEventually(func() bool { return strings.Contains(l.String(), text) }) {
		t.Fatalf("%q was not printed; this was:\n%s", text, l.String())
	}
	return l.String()
}

func assertEventually(ok func() bool) bool {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return false
}

// greet initializes an MCP client.
func greet(t *testing.T, c *client.Client) *client.Client {
	t.Helper()
	t.Cleanup(func() { _ = c.Close() })
	var hello mcp.InitializeRequest
	hello.Params.ProtocolVersion = "2025-06-18"
	hello.Params.ClientInfo = mcp.Implementation{Name: "test-client", Version: "1"}
	_, err := c.Initialize(t.Context(), hello)
	require.NoError(t, err)
	return c
}

// promises are output schemas, compiled, by their text.
var promises sync.Map

// keepsPromise checks a result against the output schema that its client is shown; a tool
// that this client is not offered has none.
func keepsPromise(t *testing.T, c *client.Client, name string, r *mcp.CallToolResult) {
	t.Helper()
	listed, err := c.ListTools(t.Context(), mcp.ListToolsRequest{})
	require.NoError(t, err)
	for _, tool := range listed.Tools {
		if tool.Name != name || r.NeedsInput() {
			continue
		}
		raw, err := json.Marshal(tool.OutputSchema)
		require.NoError(t, err)
		schema, ok := promises.Load(string(raw))
		if !ok {
			doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
			require.NoError(t, err)
			compiler := jsonschema.NewCompiler()
			require.NoError(t, compiler.AddResource("schema.json", doc))
			schema, err = compiler.Compile("schema.json")
			require.NoError(t, err)
			promises.Store(string(raw), schema)
		}
		content, err := json.Marshal(r.StructuredContent)
		require.NoError(t, err)
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
		require.NoError(t, err)
		require.NoError(t, schema.(*jsonschema.Schema).Validate(doc), "%s: %s", name, content)
	}
}

// tool calls a tool and gives its text and its structured content.
func tool(t *testing.T, c *client.Client, name string, args map[string]any) (string, map[string]any) {
	t.Helper()
	var call mcp.CallToolRequest
	call.Params.Name, call.Params.Arguments = name, args
	result, err := c.CallTool(t.Context(), call)
	require.NoError(t, err)
	keepsPromise(t, c, name, result)
	require.NotEmpty(t, result.Content)
	text, ok := result.Content[0].(mcp.TextContent)
	require.True(t, ok)
	raw, err := json.Marshal(result.StructuredContent)
	require.NoError(t, err)
	var structured map[string]any
	require.NoError(t, json.Unmarshal(raw, &structured))
	return text.Text, structured
}
