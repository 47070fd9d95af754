package tools_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/tools"
)

// traps are what was seen to go wrong in mcp-go v1.2.1, and the tests that would see it
// come back: the folder, and the name.
var traps = []struct {
	seen  string
	tests []string
}{
	{"the last notification before an answer is lost over HTTP, or comes out of another stream of the session", []string{
		"tools.TestTheLastNotificationArrives", "tools.TestAClientThatAskedForProgressIsToldOfACreate",
		"tools.TestASubscriptionToNothingIsAcknowledged",
	}},
	{"any client cancels another's call by guessing its id", []string{"tools.TestNobodyCancelsACallOfAnother"}},
	{"task-augmented calls are cancelled at once", []string{"tools.TestATaskIsACall", "tools.TestTasksAreNotOffered"}},
	{"answers still being made are lost at the end of input", []string{
		"tools.TestNoAnswerIsLostAtTheEndOfInput", "tools.TestTheEndOfInputWaitsForCallsInFlight",
	}},
	{"what the server says by itself bypasses the lock on the output", []string{"tools.TestFramesAreWholeOnAnyOutput"}},
	{"parallel servers of mcptest share one session", []string{"tools.TestNoTestSharesASession", "tools.TestTwoClientsOnTwoLinesDoNotMix"}},
	{"one tool made in the wrong way empties the list", []string{"tools.TestEveryToolCanBeSent", "tools.TestToolsAreTheCatalogueOnEveryDoor"}},
	{"an abandoned initialize is kept for ever", []string{"tools.TestAnAbandonedSessionIsForgotten", "tools.TestSessionsAreFewAndSmall"}},
	{"what one replica was asked, the other does not know", []string{
		"tools.TestReplicasKeepNothing", "tools.TestReplicasTakeEachOthersForms", "vpsguard.TestAReplicaTakesTheFormOfADeadOne",
	}},
	{"there is no check of bearer tokens", []string{"bearer.TestATokenSaysWhoCalls", "vpsguard.TestBeyondTheHostATokenIsNeeded"}},
	{"a form is shown to clients that have none, and an accept counts that came with the first call", []string{
		"tools.TestClientsWithoutFormsAreHeldAtOnce", "tools.TestAFormIsAskedForOnEveryTransportInBothEras",
	}},
	{"an empty answer to a form is delivered to nobody over HTTP", []string{"tools.TestAnEmptyAnswerIsNotWaitedBeyond"}},
	{"stopping waits for streams that only listen", []string{"tools.TestStoppingEndsSubscriptions", "tools.TestStoppingEndsStreamsThatOnlyListen"}},
	{"there is no limit on bodies", []string{"tools.TestABodyHasItsLimits", "tools.TestABodyThatDoesNotComeIsNotWaitedFor"}},
	{"Origin is not checked, and Host only on loopback", []string{"tools.TestOnlyKnownHostsAndOwnPagesComeIn"}},
	{"validation messages are Go dumps", []string{"tools.TestWrongArgumentsAreRefusedWithASentence", "tools.TestNoMessageIsADump"}},
	{"a recovered panic shows its text", []string{"tools.TestAPanicIsAnErrorResultWithTheRightID", "tools.TestAPanicInTheLibraryEndsNothing"}},
}

// parsed gives the Go files of a folder and those below it, by their path.
func parsed(t *testing.T, root string) map[string]*ast.File {
	t.Helper()
	out := map[string]*ast.File{}
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata" || d.Name() == ".git"):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go"):
			return nil
		}
		out[path], err = parser.ParseFile(token.NewFileSet(), path, nil, 0)
		return err
	}))
	return out
}

func TestEveryTrapHasItsTests(t *testing.T) {
	there := map[string]bool{}
	for path, f := range parsed(t, "..") {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && strings.HasSuffix(path, "_test.go") {
				there[filepath.Base(filepath.Dir(path))+"."+fn.Name.Name] = true
			}
		}
	}
	for _, trap := range traps {
		assert.NotEmpty(t, trap.tests, trap.seen)
		for _, name := range trap.tests {
			assert.True(t, there[name], "%s: there is no test %s", trap.seen, name)
		}
	}
}

// TestNoTestSharesASession: mcptest keeps one session for the whole process.
func TestNoTestSharesASession(t *testing.T) {
	for path, f := range parsed(t, "..") {
		for _, i := range f.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			require.NoError(t, err)
			assert.NotEqual(t, "github.com/mark3labs/mcp-go/mcptest", name, path)
		}
	}
}

// TestEveryToolCanBeSent: the library answers with nothing at all where one tool of the list
// cannot be marshalled, so each is looked at as it came.
func TestEveryToolCanBeSent(t *testing.T) {
	for name, list := range map[string]func(t *testing.T, h *house) string{
		"stdio, 2025-11-25": func(t *testing.T, h *house) string { return h.say(t, request(1, "tools/list", `{}`)) },
		"stdio, 2026-07-28": func(t *testing.T, h *house) string { return h.say(t, request(1, "tools/list", `{`+meta+`}`)) },
		"HTTP, 2025-11-25": func(t *testing.T, h *house) string {
			url := h.serve(t, tools.HTTPOptions{})
			return post(t.Context(), url, request(1, "tools/list", `{}`), session(t, url)).body
		},
		"HTTP, 2026-07-28": func(t *testing.T, h *house) string {
			return post(t.Context(), h.serve(t, tools.HTTPOptions{}), request(1, "tools/list", `{`+meta+`}`), modern,
				map[string]string{"Mcp-Method": "tools/list"}).body
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := build(t)
			var got struct {
				Result struct {
					Tools []struct {
						Name                      string
						InputSchema, OutputSchema struct {
							Type                 string
							AdditionalProperties any
						}
					}
				}
			}
			require.NoError(t, json.Unmarshal([]byte(list(t, h)), &got))
			require.Len(t, got.Result.Tools, len(h.service.Catalogue()))
			for _, tool := range got.Result.Tools {
				assert.Equal(t, "object", tool.InputSchema.Type, tool.Name)
				assert.Equal(t, false, tool.InputSchema.AdditionalProperties, tool.Name)
				assert.Equal(t, "object", tool.OutputSchema.Type, tool.Name)
			}
		})
	}
}

func TestTasksAreNotOffered(t *testing.T) {
	h := build(t)
	assert.NotContains(t, h.say(t, request(0, "initialize", hello)), `"tasks"`)
	for _, method := range []string{"tasks/list", "tasks/get", "tasks/result", "tasks/cancel"} {
		got := frames(t, h.say(t, request(0, "initialize", hello), request(1, method, `{"taskId":"1"}`)))["1"]
		require.NotNil(t, got.Error, method)
		assert.Equal(t, -32601, got.Error.Code, method)
	}
	got := frames(t, h.say(t, request(1, "tools/call", `{"name":"list_servers","arguments":{},"task":{"ttl":60000}}`)))["1"]
	require.NotNil(t, got.Result)
	assert.Contains(t, string(got.Result.StructuredContent), "web-server-01", "who asks for one is answered at once")
}

// crumbs is an output that takes a byte at a time, as a slow pipe may.
type crumbs struct{ syncBuffer }

func (c *crumbs) Write(p []byte) (int, error) {
	for i := range p {
		if _, err := c.syncBuffer.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// TestFramesAreWholeOnAnyOutput has many calls answer and notify at once.
func TestFramesAreWholeOnAnyOutput(t *testing.T) {
	h := build(t)
	lines := []string{request(0, "initialize", hello)}
	var held answer
	{
		d := h.stdio(t)
		held = d.call("restore_snapshot", restore)
	}
	for i := range 40 {
		lines = append(lines,
			request(2*i+1, "tools/call", `{"name":"list_snapshots","arguments":{}}`),
			request(2*i+2, "tools/call", fmt.Sprintf(`{"name":"get_request","arguments":{"request_id":%q,"wait_seconds":1},"_meta":{"progressToken":%d}}`,
				held.at("request", "id"), i)))
	}
	var out crumbs
	require.NoError(t, h.server.Stdio(t.Context(), strings.NewReader(strings.Join(lines, "\n")), &out))
	onlyFrames(t, out.String())
	assert.Equal(t, 81+40, strings.Count(out.String(), "\n"), "each answer, and a notification for each that waits")
}

// TestNoMessageIsADump looks at all that is said of wrong arguments.
func TestNoMessageIsADump(t *testing.T) {
	h := build(t)
	d := h.stdio(t)
	var all sync.WaitGroup
	for _, w := range wrong {
		all.Go(func() {
			a, err := d.try(t.Context(), w.tool, w.arguments)
			if !assert.NoError(t, err) {
				return
			}
			for _, not := range []string{"&{", "map[", "json:", "unmarshal", "interface", "panic", "runtime", ".go:", "schema", "<root>", "validation failed"} {
				assert.NotContains(t, a.text+a.raw, not, w.name)
			}
		})
	}
	all.Wait()
}
