//go:build unix

package tools_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
)

// thing is a row as lists of snapshots have it.
type thing struct {
	ID         int64  `json:"id"`
	Name       string `json:"name"`
	Server     owner  `json:"server"`
	Status     string `json:"status"`
	SizeMB     int64  `json:"size_mb"`
	CreatedAt  string `json:"created_at"`
	AgeSeconds int64  `json:"age_seconds"`
}

type owner struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

func things(n int) []thing {
	out := make([]thing, n)
	for i := range out {
		out[i] = thing{
			int64(1000 + i), fmt.Sprintf("nightly-%04d", i),
			owner{12345, "web-server-01"},
			"completed",
			5120 + int64(i), "2025-01-15T18:30:00Z", 187264 + int64(i),
		}
	}
	return out
}

func (t thing) line() string {
	return fmt.Sprintf("%d %s of %s, %s, %d MB, 2 days 4 hours ago", t.ID, t.Name, t.Server.Name, t.Status, t.SizeMB)
}

// plainArguments and plainResult are how one writes the same list with the
// library alone.
type plainArguments struct {
	Server string `json:"server,omitempty" jsonschema:"Id or exact name"`
	Limit  int    `json:"limit,omitempty" jsonschema:"Rows at most"`
	Cursor string `json:"cursor,omitempty" jsonschema:"next_cursor of the page before"`
}

type plainResult struct {
	Total      int     `json:"total"`
	Snapshots  []thing `json:"snapshots"`
	NextCursor string  `json:"next_cursor,omitempty"`
}

// plainServer has a typed handler, structured content, and the library's
// validation of arguments and results.
func plainServer(of []thing) *server.MCPServer {
	s := server.NewMCPServer("plain", "1", server.WithInputSchemaValidation(), server.WithOutputSchemaValidation())
	tool := mcp.NewTool("list_things", mcp.WithDescription("All of them."),
		mcp.WithInputSchema[plainArguments](), mcp.WithOutputSchema[plainResult]())
	s.AddTool(tool, mcp.NewTypedToolHandler(func(_ context.Context, _ mcp.CallToolRequest, a plainArguments) (*mcp.CallToolResult, error) {
		page, next, err := policy.Page(of, a.Cursor, int64(a.Limit))
		if err != nil {
			return nil, err
		}
		var text strings.Builder
		text.WriteString("Things\n")
		for _, t := range page {
			text.WriteString(t.line() + "\n")
		}
		fmt.Fprintf(&text, "%d of %d; next page: cursor=%s", len(page), len(of), next)
		return mcp.NewToolResultStructured(plainResult{len(of), page, next}, text.String()), nil
	}))
	return s
}

// oursAlike has the same list behind the real policy and this door.
func oursAlike(b *testing.B, of []thing) *house {
	return build(b, alone, func(s *setup) {
		s.policy.Operations = append(s.policy.Operations, policy.Operation{
			Descriptor: policy.Descriptor{
				Name: "list_things", Title: "Things", Summary: "All of them.", Effect: policy.Read, Idempotent: true,
				Arguments: []policy.Argument{
					{Name: "server", Type: policy.String, Max: 200, About: "Id or exact name"}, policy.LimitArgument, policy.CursorArgument,
				},
				Rows: "snapshots",
				Record: []policy.Field{
					{Name: "id", Type: "integer"},
					{Name: "name", Type: "string"},
					{Name: "server", Type: "object"},
					{Name: "status", Type: "string"},
					{Name: "size_mb", Type: "integer"},
					{Name: "created_at", Type: "string"},
					{Name: "age_seconds", Type: "integer"},
				},
			},
			Answer: func(_ context.Context, _ policy.Call, a policy.Arguments) (policy.Outcome, error) {
				page, next, err := policy.Page(of, a.Text("cursor"), a.Number("limit", policy.DefaultLimit))
				if err != nil {
					return policy.Outcome{}, err
				}
				l := &policy.Listing{Title: "Things", Total: len(of), Next: next}
				for _, t := range page {
					l.Rows = append(l.Rows, policy.Row{Text: t.line(), Data: t})
				}
				return policy.Outcome{Listing: l}, nil
			},
		})
	})
}

// speaker is a client that costs next to nothing: it writes the same line, and
// reads one.
type speaker struct {
	in  *os.File
	out *bufio.Reader
}

func speak(b *testing.B, serve func(in io.Reader, out io.Writer) error) speaker {
	b.Helper()
	in, toServer, err := os.Pipe()
	require.NoError(b, err)
	fromServer, out, err := os.Pipe()
	require.NoError(b, err)
	over := make(chan struct{})
	go func() { _ = serve(in, out); close(over) }()
	b.Cleanup(func() { toServer.Close(); <-over; in.Close(); out.Close(); fromServer.Close() })
	s := speaker{toServer, bufio.NewReaderSize(fromServer, 1<<20)}
	s.ask(b, request(0, "initialize", hello))
	return s
}

func (s speaker) ask(b *testing.B, line string) []byte {
	if _, err := io.WriteString(s.in, line+"\n"); err != nil {
		b.Fatal(err)
	}
	got, err := s.out.ReadSlice('\n')
	if err != nil {
		b.Fatal(err)
	}
	return got
}

var listCall = request(1, "tools/call", `{"name":"list_things","arguments":{"limit":20}}`)

func both(b *testing.B) map[string]speaker {
	b.Helper()
	of := things(1003)
	ours := oursAlike(b, of)
	plain := server.NewStdioServer(plainServer(of))
	speakers := map[string]speaker{
		"vpsguard": speak(b, func(in io.Reader, out io.Writer) error { return ours.server.Stdio(context.Background(), in, out) }),
		"plain":    speak(b, func(in io.Reader, out io.Writer) error { return plain.Listen(context.Background(), in, out) }),
	}
	for name, s := range speakers {
		got := string(s.ask(b, listCall))
		require.NotContains(b, got, "isError", name)
		require.Contains(b, got, `"next_cursor":"20"`, name)
		require.Contains(b, got, "nightly-0019 of web-server-01", name)
	}
	return speakers
}

// used is the processor time that this process has had.
func used(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkListCallOverStdio lists 20 rows of 1003 over pipes.
func BenchmarkListCallOverStdio(b *testing.B) {
	for name, s := range both(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			before := used(b)
			for b.Loop() {
				s.ask(b, listCall)
			}
			b.ReportMetric(float64((used(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// BenchmarkListCallAgainstPlain is the same with both in turns, so that noise
// hits both alike. The ratio is to stay at 0.7 or less.
func BenchmarkListCallAgainstPlain(b *testing.B) {
	speakers := both(b)
	spent := map[string]time.Duration{}
	for b.Loop() {
		for _, name := range []string{"vpsguard", "plain"} {
			before := used(b)
			for range 500 {
				speakers[name].ask(b, listCall)
			}
			spent[name] += used(b) - before
		}
	}
	b.ReportMetric(float64(spent["vpsguard"].Microseconds())/float64(500*b.N), "vpsguard-cpu-µs/call")
	b.ReportMetric(float64(spent["plain"].Microseconds())/float64(500*b.N), "plain-cpu-µs/call")
	b.ReportMetric(float64(spent["vpsguard"])/float64(spent["plain"]), "ratio")
}
