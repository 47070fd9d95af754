package tools_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
)

// frame is one line of output.
type frame struct {
	ID     json.RawMessage
	Result *struct {
		IsError           bool
		StructuredContent json.RawMessage
	}
	Error *struct {
		Code    int
		Message string
	}
}

func frames(t *testing.T, out string) map[string]frame {
	t.Helper()
	got := map[string]frame{}
	for line := range strings.Lines(out) {
		var f frame
		require.NoError(t, json.Unmarshal([]byte(line), &f), line)
		_, twice := got[string(f.ID)]
		require.False(t, twice, "%s was answered twice", f.ID)
		got[string(f.ID)] = f
	}
	return got
}

const hello = `{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"script","version":"1"}}`

// script is what a shell pipes in: everything at once, then the end.
func script(calls int) []string {
	lines := []string{request(0, "initialize", hello), `{"jsonrpc":"2.0","method":"notifications/initialized"}`}
	for i := range calls {
		lines = append(lines, request(i+1, "tools/call", `{"name":"list_snapshots","arguments":{"limit":1}}`))
	}
	return lines
}

func TestNoAnswerIsLostAtTheEndOfInput(t *testing.T) {
	h := build(t)
	for range 200 {
		got := frames(t, h.say(t, script(10)...))
		require.Len(t, got, 11)
		for id, f := range got {
			require.NotNil(t, f.Result, "%s", id)
			require.False(t, f.Result.IsError, "%s", f.Result.StructuredContent)
		}
	}
}

// TestAScriptIsKnownByItsName: its initialize is not overtaken by its calls.
func TestAScriptIsKnownByItsName(t *testing.T) {
	h := build(t, func(s *setup) {
		s.tools.Actor = func(_ context.Context, name string) policy.Actor {
			assert.Equal(t, "script", name)
			return policy.Actor{Door: policy.DoorMCP, Subject: "agent", Client: name, Vouched: "test", Role: policy.RoleOperate}
		}
	})
	for range 50 {
		h.say(t, script(2)...)
	}
}

// pause is an operation that tells when it begins, and waits to be let go on.
type pause struct {
	begun chan context.Context
	goOn  chan struct{}
}

func newPause() *pause {
	return &pause{begun: make(chan context.Context, 100), goOn: make(chan struct{})}
}

func (p *pause) operation(name string) func(*setup) {
	return with(policy.Descriptor{Name: name, Rows: "things", Record: []policy.Field{{Name: "id", Type: "integer"}}}, func(ctx context.Context) (policy.Outcome, error) {
		p.begun <- ctx
		select {
		case <-p.goOn:
			return policy.Outcome{Listing: &policy.Listing{Title: "Things"}}, nil
		case <-ctx.Done():
			return policy.Outcome{}, ctx.Err()
		}
	})
}

// line is a client that writes single lines.
type line struct {
	t    *testing.T
	in   *io.PipeWriter
	out  *syncBuffer
	over chan error
	stop context.CancelFunc
}

func (h *house) line(t *testing.T) *line {
	t.Helper()
	in, w := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	l := &line{t: t, in: w, out: &syncBuffer{}, over: make(chan error, 1), stop: cancel}
	go func() { l.over <- h.server.Stdio(ctx, in, l.out) }()
	t.Cleanup(func() { cancel(); w.Close(); in.Close() })
	return l
}

func (l *line) send(lines ...string) {
	l.t.Helper()
	for _, one := range lines {
		_, err := io.WriteString(l.in, one+"\n")
		require.NoError(l.t, err)
	}
}

func TestTheEndOfInputWaitsForCallsInFlight(t *testing.T) {
	p := newPause()
	l := build(t, p.operation("list_pauses")).line(t)
	l.send(request(1, "tools/call", `{"name":"list_pauses"}`))
	ctx := <-p.begun
	require.NoError(t, l.in.Close())
	assert.NoError(t, ctx.Err(), "it is not cancelled")
	close(p.goOn)
	require.NoError(t, <-l.over)
	assert.False(t, frames(t, l.out.String())["1"].Result.IsError)
}

func TestTheEndOfTheProgramAnswersCallsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quick, slow := newPause(), newPause()
		h := build(t, alone, quick.operation("list_quick"), slow.operation("list_slow"))
		l := h.line(t)
		l.send(request(1, "tools/call", `{"name":"list_quick"}`), request(2, "tools/call", `{"name":"list_slow"}`))
		<-quick.begun
		ctx := <-slow.begun
		before := time.Now()
		l.stop()
		synctest.Wait()
		assert.NoError(t, ctx.Err(), "at first nothing is cut short")
		close(quick.goOn)
		require.NoError(t, <-l.over)
		got := frames(t, l.out.String())
		assert.False(t, got["1"].Result.IsError, "what could be finished was")
		assert.Contains(t, string(got["2"].Result.StructuredContent), "unavailable", "and the rest has an answer, too")
		assert.Less(t, time.Since(before), 2*time.Second, "before clients lose patience")
	})
}

func TestAClientCancelsItsOwnCall(t *testing.T) {
	p := newPause()
	l := build(t, p.operation("list_pauses")).line(t)
	l.send(request("a", "tools/call", `{"name":"list_pauses"}`), request("b", "tools/call", `{"name":"list_pauses"}`))
	one, two := <-p.begun, <-p.begun
	l.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"a","reason":"enough"}}`)
	select { // which of the two came first is not said
	case <-one.Done():
		assert.NoError(t, two.Err())
	case <-two.Done():
		assert.NoError(t, one.Err())
	}
	close(p.goOn)
	require.NoError(t, l.in.Close())
	require.NoError(t, <-l.over)
	got := frames(t, l.out.String())
	assert.NotContains(t, got, `"a"`, "nobody waits for that answer")
	assert.Contains(t, got, `"b"`)
}

func TestACallMayBeCancelledBeforeItBegan(t *testing.T) {
	p := newPause()
	h := build(t, p.operation("list_pauses"))
	got := frames(t, h.say(t,
		request(1, "tools/call", `{"name":"list_pauses"}`),
		`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`,
		request(2, "ping", `{}`),
	))
	assert.Len(t, got, 1, "the input ended, and nothing was left waiting")
}

// TestWaitingCallsDoNotBlockOthers: the library's own loop has five workers.
func TestWaitingCallsDoNotBlockOthers(t *testing.T) {
	p := newPause()
	h := build(t, p.operation("list_pauses"))
	d := h.stdio(t)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			_, err := d.try(t.Context(), "list_pauses", `{}`)
			assert.NoError(t, err)
		})
	}
	for range 50 {
		<-p.begun
	}
	assert.False(t, d.call("list_servers", `{}`).failed)
	close(p.goOn)
	all.Wait()
}

func TestWhatIsNoRequestIsAnsweredAsTheProtocolSays(t *testing.T) {
	h := build(t)
	for name, c := range map[string]struct {
		line string
		code int // 0: no answer at all
	}{
		"no JSON":                          {`hello`, -32700},
		"half a message":                   {`{"jsonrpc":"2.0","id":1,`, -32700},
		"a batch":                          {`[{"jsonrpc":"2.0","id":1,"method":"ping"}]`, -32700},
		"an unknown method":                {request(1, "tools/approve", `{}`), -32601},
		"a method that is a number":        {`{"jsonrpc":"2.0","id":1,"method":5}`, -32700},
		"another version":                  {`{"jsonrpc":"1.0","id":1,"method":"ping"}`, -32600},
		"parameters that are a list":       {`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}`, -32600},
		"too long a message":               {`{"jsonrpc":"2.0","id":1,"method":"` + strings.Repeat("x", 5<<20) + `"}`, -32600},
		"an empty line":                    {"", 0},
		"an answer to nothing":             {`{"jsonrpc":"2.0","id":9,"result":{}}`, 0},
		"an error to nothing":              {`{"jsonrpc":"2.0","id":9,"error":{"code":1,"message":"x"}}`, 0},
		"a notification of unknown kind":   {`{"jsonrpc":"2.0","method":"notifications/x","params":{}}`, 0},
		"a cancellation of nothing":        {`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":77}}`, 0},
		"a cancellation that is no object": {`{"jsonrpc":"2.0","method":"notifications/cancelled","params":[1]}`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			out := h.say(t, c.line, request("after", "ping", `{}`))
			got := frames(t, out)
			require.Contains(t, got, `"after"`, "the door stays open")
			delete(got, `"after"`)
			if c.code == 0 {
				assert.Empty(t, got)
				return
			}
			require.Len(t, got, 1)
			for _, f := range got {
				require.NotNil(t, f.Error, out)
				assert.Equal(t, c.code, f.Error.Code)
			}
		})
	}
}

func TestIDsComeBackAsTheyWereSent(t *testing.T) {
	h := build(t)
	for _, id := range []string{`1`, `"1"`, `9007199254740993`, `1.50`, `-7`, `"𝔘 \u00e4"`} { // floats would change some
		line := `{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":{"name":"list_servers"}}`
		assert.Contains(t, h.say(t, line), `"id":`+id+`,`)
		line = `{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":{"name":"none"}}`
		assert.Contains(t, frames(t, h.say(t, line)), id)
		line = `{"jsonrpc":"2.0","id":` + id + `,"method":"ping"}`
		assert.Contains(t, frames(t, h.say(t, line)), id)
	}
}

type brokenPipe struct{ after int }

func (b *brokenPipe) Write(p []byte) (int, error) {
	if b.after--; b.after < 0 {
		return 0, errors.New("broken pipe")
	}
	return len(p), nil
}

func TestAnOutputThatNobodyReadsEndsTheDoor(t *testing.T) {
	h := build(t)
	in, w := io.Pipe()
	defer w.Close()
	over := make(chan error, 1)
	go func() { over <- h.server.Stdio(t.Context(), in, &brokenPipe{after: 1}) }()
	for i := range 3 {
		_, _ = io.WriteString(w, request(i, "ping", `{}`)+"\n") // the door may be gone
	}
	assert.ErrorContains(t, <-over, "broken pipe")
}

func TestAnInputThatBreaksIsTold(t *testing.T) {
	h := build(t)
	in := io.MultiReader(strings.NewReader(request(1, "ping", `{}`)+"\n"), iotestErr{})
	var out bytes.Buffer
	assert.ErrorContains(t, h.server.Stdio(t.Context(), in, &out), "cable cut")
	assert.Contains(t, out.String(), `"id":1`)
}

type iotestErr struct{}

func (iotestErr) Read([]byte) (int, error) { return 0, errors.New("cable cut") }

func TestTwoClientsOnTwoLinesDoNotMix(t *testing.T) {
	h := build(t)
	var all sync.WaitGroup
	for range 4 {
		d := h.stdio(t)
		for i := range 25 {
			all.Go(func() {
				a, err := d.try(t.Context(), "list_snapshots", fmt.Sprintf(`{"limit":%d}`, 1+i%2))
				assert.NoError(t, err)
				assert.Len(t, a.content["snapshots"], 1+i%2)
			})
		}
	}
	all.Wait()
}
