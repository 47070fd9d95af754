package tools_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/tools"
)

// wires send one tools/call as it stands and give all that came back, in its
// order, over both transports and in both eras.
var wires = map[string]func(t *testing.T, h *house, params string) []string{
	"stdio, 2025-11-25": func(t *testing.T, h *house, params string) []string {
		out := strings.Split(strings.TrimSpace(h.say(t, request(0, "initialize", hello), request(7, "tools/call", params))), "\n")
		return out[1:]
	},
	"stdio, 2026-07-28": func(t *testing.T, h *house, params string) []string {
		return strings.Split(strings.TrimSpace(h.say(t, request(7, "tools/call", asModern(params)))), "\n")
	},
	"HTTP, 2025-11-25": func(t *testing.T, h *house, params string) []string {
		url := h.serve(t, tools.HTTPOptions{})
		return events(post(t.Context(), url, request(7, "tools/call", params), session(t, url)))
	},
	"HTTP, 2026-07-28": func(t *testing.T, h *house, params string) []string {
		return events(post(t.Context(), h.serve(t, tools.HTTPOptions{}), request(7, "tools/call", asModern(params)), called(params)))
	},
	"HTTP, without sessions": func(t *testing.T, h *house, params string) []string {
		return events(post(t.Context(), h.serve(t, tools.HTTPOptions{Stateless: true}), request(7, "tools/call", params)))
	},
}

// asModern adds what a request of 2026-07-28 carries.
func asModern(params string) string {
	own := strings.TrimSuffix(strings.TrimPrefix(meta, `"_meta":{`), "}")
	if strings.Contains(params, `"_meta":{`) {
		return strings.Replace(params, `"_meta":{`, `"_meta":{`+own+`,`, 1)
	}
	return strings.TrimSuffix(params, "}") + "," + meta + "}"
}

// called are the headers that say the same.
func called(params string) map[string]string {
	var p struct{ Name string }
	_ = json.Unmarshal([]byte(params), &p) // the test's own
	return map[string]string{"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": p.Name}
}

// events are the messages of a stream, or the one that came alone.
func events(r reply) (out []string) {
	if !strings.HasPrefix(r.header.Get("Content-Type"), "text/event-stream") {
		return []string{r.body}
	}
	for line := range strings.Lines(r.body) {
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			out = append(out, strings.TrimSpace(data))
		}
	}
	return out
}

// news is a progress notification.
type news struct {
	Method string
	Params struct {
		ProgressToken json.RawMessage
		Progress      float64
		Message       string
	}
}

// heard gives the messages of the notifications before an answer, after a look at all
// that must hold of them.
func heard(t *testing.T, frames []string, token string) (messages []string) {
	t.Helper()
	require.NotEmpty(t, frames)
	require.Contains(t, frames[len(frames)-1], `"id":7`, "the answer comes last")
	last := 0.0
	for _, f := range frames[:len(frames)-1] {
		var n news
		require.NoError(t, json.Unmarshal([]byte(f), &n), f)
		require.Equal(t, "notifications/progress", n.Method)
		require.Equal(t, token, string(n.Params.ProgressToken), "as it was sent")
		require.Greater(t, n.Params.Progress, last, "it grows")
		last = n.Params.Progress
		messages = append(messages, n.Params.Message)
	}
	return messages
}

// only is the one request that there is, once it is as wanted.
func (h *house) only(t *testing.T, ok func(policy.Request) bool) (r policy.Request) {
	t.Helper()
	require.Eventually(t, func() bool {
		out, err := h.service.Call(t.Context(), policy.Call{Operation: "list_requests"})
		if err != nil || len(out.Listing.Rows) != 1 {
			return false
		}
		st, err := h.service.Show(t.Context(), out.Listing.Rows[0].Request)
		r = st.Request
		return err == nil && ok(r)
	}, 10*time.Second, 2*time.Millisecond)
	return r
}

// until lets a request go on, as a worker does, until it is as wanted. As long as the call
// that filed it is at it, nobody else in this process is.
func (h *house) until(t *testing.T, id string, ok func(policy.Request) bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err := h.service.Advance(t.Context(), id)
		require.NoError(t, err)
		st, err := h.service.Show(t.Context(), id)
		require.NoError(t, err)
		return ok(st.Request)
	}, 10*time.Second, 2*time.Millisecond)
}

func accepted(r policy.Request) bool { return r.Steps[0].State == policy.StepAccepted }

// overheard is a caller whose news the test hears, too.
type overheard struct {
	*policy.Service
	told chan<- policy.Request
}

func (o overheard) Call(ctx context.Context, c policy.Call) (policy.Outcome, error) {
	if news := c.News; news != nil {
		c.News = func(st policy.Standing) {
			news(st)
			o.told <- st.Request
		}
	}
	return o.Service.Call(ctx, c)
}

func TestAClientThatAskedForProgressIsToldOfACreate(t *testing.T) {
	for name, wire := range wires {
		for _, token := range []string{`"p-1"`, `42`} {
			t.Run(name+", "+token, func(t *testing.T) {
				h := build(t, func(s *setup) { s.fake.CreateTakes = 4 * time.Minute })
				told := make(chan policy.Request, 1000)
				var err error
				h.server, err = tools.New(overheard{h.service, told}, h.server.Options)
				require.NoError(t, err)
				came := make(chan []string, 1)
				go func() {
					came <- wire(t, h, `{"name":"create_snapshot","arguments":{"server":"12345","name":"kept","wait":true},"_meta":{"progressToken":`+token+`}}`)
				}()
				r := <-told
				for !accepted(r) { // from then on it only waits
					r = <-told
				}
				h.advance(t, r.ID, 2*time.Minute)
				for !r.Steps[0].Seen {
					r = <-told
				}
				h.advance(t, r.ID, 3*time.Minute)
				frames := <-came
				messages := heard(t, frames, token)
				require.GreaterOrEqual(t, len(messages), 3, frames)
				assert.Equal(t, `take a snapshot named "kept" of web-server-01 (12345): about to start`, messages[0])
				assert.Regexp(t, `^snapshot 802 of web-server-01: in progress, `, messages[len(messages)-1])
				assert.Contains(t, frames[len(frames)-1], `"state":"done"`)
			})
		}
	}
}

func TestAClientThatAskedForProgressIsToldThatPeopleAreWaitedFor(t *testing.T) {
	for name, wire := range wires {
		t.Run(name, func(t *testing.T) {
			h := build(t, func(s *setup) { s.tools.Label = "sandbox" })
			held, err := h.service.Call(t.Context(), policy.Call{Operation: "restore_snapshot", Arguments: json.RawMessage(restore)})
			require.NoError(t, err)
			id := held.Standing.Request.ID
			frames := wire(t, h, fmt.Sprintf(`{"name":"get_request","arguments":{"request_id":%q,"wait_seconds":1},"_meta":{"progressToken":"p"}}`, id))
			messages := heard(t, frames, `"p"`)
			require.Len(t, messages, 1)
			assert.Equal(t, `[sandbox] restore snapshot 801 "pre-migration-snapshot" over web-server-01 (12345): `+
				`waits for a person to confirm it, until 2025-01-17 23:01 UTC (in 30 minutes)`, messages[0])
			assert.NotContains(t, strings.Join(frames, ""), "roll back", "whose reason it is, is another")
		})
	}
}

func TestNobodyIsNotifiedUnasked(t *testing.T) {
	for name, wire := range wires {
		t.Run(name, func(t *testing.T) {
			h := build(t)
			for _, mark := range []string{
				``, `,"_meta":{}`, `,"_meta":{"progressToken":null}`, `,"_meta":{"progressToken":{"a":1}}`, `,"_meta":{"progressToken":true}`,
				`,"_meta":{"progressToken":1.5}`, `,"_meta":{"progressToken":9007199254740993}`, // as a float it is another call's
			} {
				assert.Len(t, wire(t, h, `{"name":"create_snapshot","arguments":{"server":"12345","name":"kept"}`+mark+`}`), 1, mark)
			}
			r := h.only(t, accepted)
			assert.Len(t, wire(t, h, `{"name":"get_request","arguments":{"request_id":"`+r.ID+`","wait_seconds":1}}`), 1)
			assert.Len(t, wire(t, h, `{"name":"get_request","arguments":{"request_id":"`+r.ID+`"},"_meta":{"progressToken":"p"}}`), 1, "it does not wait")
		})
	}
}

// TestACallRepeatedAfterABrokenStreamDoublesNothing: from 2026-07-28 on a broken
// stream loses the call, and the client sends it again under another id.
func TestACallRepeatedAfterABrokenStreamDoublesNothing(t *testing.T) {
	const create = `{"name":"create_snapshot","arguments":{"server":"12345","name":"kept","wait":true},"_meta":{"progressToken":"p"}}`
	for name, c := range map[string]struct {
		params  string
		headers func(t *testing.T, url string) map[string]string
	}{
		"2025-11-25": {create, session},
		"2026-07-28": {asModern(create), func(*testing.T, string) map[string]string { return called(create) }},
	} {
		t.Run(name, func(t *testing.T) {
			h := build(t, func(s *setup) { s.fake.CreateTakes = 4 * time.Minute })
			url := h.serve(t, tools.HTTPOptions{})
			headers := c.headers(t, url)
			ctx, breaks := context.WithCancel(t.Context())
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(request(7, "tools/call", c.params)))
			require.NoError(t, err)
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Accept", "application/json, text/event-stream")
			for k, v := range headers {
				req.Header.Set(k, v)
			}
			resp, err := http.DefaultClient.Do(req)
			require.NoError(t, err)
			_, err = bufio.NewReader(resp.Body).ReadString('\n')
			require.NoError(t, err, "the stream has begun")
			breaks()
			resp.Body.Close()

			again := make(chan []string, 1)
			go func() { again <- events(post(t.Context(), url, request(8, "tools/call", c.params), headers)) }()
			id := h.only(t, accepted).ID
			h.clock.Advance(5 * time.Minute)
			h.until(t, id, func(r policy.Request) bool { return r.State == policy.StateDone })
			frames := <-again
			answer := frames[len(frames)-1]
			assert.Contains(t, answer, id, "it is the same request")
			assert.Contains(t, answer, `"state":"done"`)
			assert.Contains(t, answer, "nothing new was filed")
			assert.Equal(t, 1, h.fake.Sent(vpsfake.Create))
		})
	}
}
