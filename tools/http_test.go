package tools_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mark3labs/mcp-go/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/tools"
)

// modern marks a request as one of 2026-07-28.
var modern = map[string]string{"Mcp-Protocol-Version": "2026-07-28"}

const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`

// reply is what came back; its status is 0 where nothing did.
type reply struct {
	status int
	header http.Header
	body   string
}

// post sends one request as it stands.
func post(ctx context.Context, url, body string, headers ...map[string]string) reply {
	return send(ctx, http.MethodPost, url, body, headers...)
}

func send(ctx context.Context, method, url, body string, headers ...map[string]string) reply {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return reply{body: err.Error()}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	for _, h := range headers {
		for k, v := range h {
			req.Header.Set(k, v)
			if k == "Host" {
				req.Host = v
			}
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return reply{body: err.Error()}
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return reply{body: err.Error()}
	}
	return reply{resp.StatusCode, resp.Header, string(got)}
}

// session begins one of a client before 2026-07-28.
func session(t *testing.T, url string) map[string]string {
	t.Helper()
	r := post(t.Context(), url, request(0, "initialize", hello))
	require.Equal(t, http.StatusOK, r.status, r.body)
	return map[string]string{"Mcp-Session-Id": r.header.Get("Mcp-Session-Id")}
}

func TestOnlyKnownHostsAndOwnPagesComeIn(t *testing.T) {
	url := build(t).serve(t, tools.HTTPOptions{Hosts: []string{"vpsguard.example.com", "other.example.com:8443"}})
	own := strings.TrimPrefix(url, "http://")
	for name, c := range map[string]struct {
		headers map[string]string
		status  int
	}{
		"the address itself":                   {map[string]string{"Host": own}, 200},
		"localhost":                            {map[string]string{"Host": "localhost:8080"}, 200},
		"localhost in capitals":                {map[string]string{"Host": "LocalHost"}, 200},
		"IPv6 loopback":                        {map[string]string{"Host": "[::1]:8080"}, 200},
		"a host of the list":                   {map[string]string{"Host": "vpsguard.example.com"}, 200},
		"the same with a port":                 {map[string]string{"Host": "VPSguard.example.com:443"}, 200},
		"a host with its port":                 {map[string]string{"Host": "other.example.com:8443"}, 200},
		"the same with another port":           {map[string]string{"Host": "other.example.com:1"}, 403},
		"a page that points its name here":     {map[string]string{"Host": "evil.example"}, 403}, // DNS rebinding
		"a name that begins like ours":         {map[string]string{"Host": "localhost.evil.example"}, 403},
		"a name that ends like ours":           {map[string]string{"Host": "evil-vpsguard.example.com"}, 403},
		"a private address that is not ours":   {map[string]string{"Host": "192.168.0.1"}, 403},
		"a page of the same origin":            {map[string]string{"Origin": url}, 200},
		"a page of another origin":             {map[string]string{"Origin": "http://evil.example"}, 403},
		"a page of another port":               {map[string]string{"Origin": "http://127.0.0.1:1"}, 403},
		"a page without an origin of its own":  {map[string]string{"Origin": "null"}, 403},
		"a browser that says cross-site":       {map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		"a browser that says same-origin":      {map[string]string{"Sec-Fetch-Site": "same-origin"}, 200},
		"both wrong":                           {map[string]string{"Host": "evil.example", "Origin": "http://evil.example"}, 403},
		"a rebound page is same-origin to it":  {map[string]string{"Host": "evil.example", "Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}, 403},
		"another content type than JSON":       {map[string]string{"Content-Type": "text/plain"}, 400}, // what a form could send
		"a protocol version that nobody knows": {map[string]string{"Mcp-Protocol-Version": "1999-01-01"}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			r := post(t.Context(), url, request(0, "initialize", hello), c.headers)
			assert.Equal(t, c.status, r.status, r.body)
			if c.status == http.StatusForbidden {
				assert.Contains(t, r.body, `"jsonrpc":"2.0"`)
				// A GET opens a stream, so it is checked, too.
				assert.Equal(t, http.StatusForbidden, send(t.Context(), http.MethodGet, url, "", c.headers).status)
			}
		})
	}
}

func TestABodyHasItsLimits(t *testing.T) {
	h := build(t)
	url := h.serve(t, tools.HTTPOptions{})
	big := request(1, "tools/call", `{"name":"list_servers","arguments":{"status":"`+strings.Repeat("x", 1<<20)+`"}}`)
	r := post(t.Context(), url, big, session(t, url))
	assert.Equal(t, http.StatusRequestEntityTooLarge, r.status)
	var refused frame
	require.NoError(t, json.Unmarshal([]byte(r.body), &refused))
	assert.Equal(t, -32600, refused.Error.Code)
	assert.Equal(t, "null", string(refused.ID))
	assert.Contains(t, refused.Error.Message, "larger")

	small := h.serve(t, tools.HTTPOptions{MaxBody: 10})
	assert.Equal(t, http.StatusRequestEntityTooLarge, post(t.Context(), small, request(1, "ping", `{}`)).status)
}

func TestSessionsAreFewAndSmall(t *testing.T) {
	h := build(t)
	url := h.serve(t, tools.HTTPOptions{})
	open := func(name string) reply {
		return post(t.Context(), url, fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",`+
			`"capabilities":{},"clientInfo":{"name":%q,"version":"1"}}}`, name))
	}
	assert.Equal(t, http.StatusRequestEntityTooLarge, open(strings.Repeat("n", 17<<10)).status)
	opened, refused := 0, 0
	for range 300 {
		switch got := open("client"); got.status {
		case http.StatusOK:
			opened++
		case http.StatusTooManyRequests:
			refused++
			assert.Equal(t, "1", got.header.Get("Retry-After"))
		}
	}
	assert.GreaterOrEqual(t, opened, 100)
	assert.GreaterOrEqual(t, refused, 150, "what is more has to wait")
}

// TestWhatThisAddressDoesNotTake is told as the transport has it: 404 is for a session that is over.
func TestWhatThisAddressDoesNotTake(t *testing.T) {
	url := build(t).serve(t, tools.HTTPOptions{})
	for _, method := range []string{http.MethodPut, http.MethodPatch, http.MethodOptions} {
		got := send(t.Context(), method, url, "")
		assert.Equal(t, http.StatusMethodNotAllowed, got.status, method)
		assert.Equal(t, "GET, HEAD, POST, DELETE", got.header.Get("Allow"), method)
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		got := send(t.Context(), method, url, "")
		assert.Equal(t, http.StatusBadRequest, got.status, method)
		assert.Contains(t, got.body, "open one with initialize", method)
	}
	list := request(1, "tools/list", "{}")
	got := post(t.Context(), url, list)
	assert.Equal(t, http.StatusBadRequest, got.status)
	assert.Contains(t, got.body, "open one with initialize")
	assert.Equal(t, http.StatusOK, post(t.Context(), url, list, session(t, url)).status)
	assert.Equal(t, http.StatusNotFound, post(t.Context(), url, list, map[string]string{"Mcp-Session-Id": "mcp-session-a-b-c"}).status)

	got = post(t.Context(), url, request(1, "tools/list", "{"+meta+"}"))
	assert.Equal(t, http.StatusBadRequest, got.status)
	assert.Contains(t, got.body, "header is required", "one of 2026-07-28 needs none, but has to say so")
	url = build(t).serve(t, tools.HTTPOptions{Stateless: true})
	assert.Equal(t, http.StatusOK, post(t.Context(), url, list).status)
}

func TestABodyThatDoesNotComeIsNotWaitedFor(t *testing.T) {
	url := build(t).serve(t, tools.HTTPOptions{BodyWithin: 50 * time.Millisecond})
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	assert.Equal(t, http.StatusRequestTimeout, resp.StatusCode)
}

// TestNobodyCancelsACallOfAnother: in mcp-go v1.2.1 calls that belong to no
// session are known by their JSON-RPC id alone.
func TestNobodyCancelsACallOfAnother(t *testing.T) {
	guessed := map[string]string{"Mcp-Session-Id": "1"}
	victims := map[string]struct {
		options tools.HTTPOptions
		call    func(t *testing.T, url string) (body string, headers map[string]string)
	}{
		"of 2026-07-28": {tools.HTTPOptions{}, func(*testing.T, string) (string, map[string]string) {
			return request(7, "tools/call", `{"name":"list_pauses",`+meta+`}`),
				map[string]string{"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "list_pauses"}
		}},
		"of 2025-11-25 in a session": {tools.HTTPOptions{}, func(t *testing.T, url string) (string, map[string]string) {
			return request(7, "tools/call", `{"name":"list_pauses"}`), session(t, url)
		}},
		"without sessions, with a guessed one": {tools.HTTPOptions{Stateless: true}, func(*testing.T, string) (string, map[string]string) {
			return request(7, "tools/call", `{"name":"list_pauses"}`), guessed
		}},
		"of 2025-11-25 without sessions": {tools.HTTPOptions{Stateless: true}, func(*testing.T, string) (string, map[string]string) {
			return request(7, "tools/call", `{"name":"list_pauses"}`), nil
		}},
	}
	someSession := session(t, build(t).serve(t, tools.HTTPOptions{})) // another one of the same caller's
	cancels := func(method, params string) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","method":"%s","params":%s}`, method, params)
	}
	attacks := map[string]struct {
		body    string
		headers []map[string]string
	}{
		"plainly":                 {cancels("notifications/cancelled", `{"requestId":7}`), nil},
		"with a made-up session":  {cancels("notifications/cancelled", `{"requestId":7}`), []map[string]string{someSession}},
		"with a guessed session":  {cancels("notifications/cancelled", `{"requestId":7}`), []map[string]string{guessed}},
		"as a modern client":      {cancels("notifications/cancelled", `{"requestId":7,`+meta+`}`), []map[string]string{modern, {"Mcp-Method": "notifications/cancelled"}}},
		"modern with a session":   {cancels("notifications/cancelled", `{"requestId":7,`+meta+`}`), []map[string]string{modern, someSession, {"Mcp-Method": "notifications/cancelled"}}},
		"modern in the body only": {cancels("notifications/cancelled", `{"requestId":7,`+meta+`}`), []map[string]string{someSession}},
		"modern in the header":    {cancels("notifications/cancelled", `{"requestId":7}`), []map[string]string{modern, someSession}},
		"with an escaped method":  {cancels(`notifications\/\u0063ancelled`, `{"requestId":7}`), nil},
		"with a key in capitals":  {`{"jsonrpc":"2.0","METHOD":"notifications/cancelled","params":{"requestId":7}}`, nil},
		"with an id of its own":   {`{"jsonrpc":"2.0","id":1,"method":"notifications/cancelled","params":{"requestId":7}}`, nil},
	}
	for name, v := range victims {
		t.Run(name, func(t *testing.T) {
			p := newPause()
			url := build(t, p.operation("list_pauses")).serve(t, v.options)
			body, headers := v.call(t, url)
			answered := make(chan string, 1)
			go func() {
				answered <- post(t.Context(), url, body, headers).body
			}()
			ctx := <-p.begun
			for how, a := range attacks {
				r := post(t.Context(), url, a.body, a.headers...)
				require.NoError(t, ctx.Err(), "cancelled %s", how)
				if how != "with a guessed session" && how != "modern in the body only" { // these are no good requests
					assert.Equal(t, http.StatusAccepted, r.status, "%s: %s", how, r.body)
				}
			}
			close(p.goOn)
			assert.Contains(t, <-answered, `"total":0`)
		})
	}
}

func TestAClientCancelsItsOwnCallOverHTTP(t *testing.T) {
	p := newPause()
	url := build(t, p.operation("list_pauses")).serve(t, tools.HTTPOptions{})
	own := session(t, url)
	go post(t.Context(), url, request(7, "tools/call", `{"name":"list_pauses"}`), own)
	ctx := <-p.begun
	r := post(t.Context(), url, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}`, own)
	assert.Equal(t, http.StatusAccepted, r.status)
	<-ctx.Done()
}

func TestAClientThatGoesAwayEndsItsReads(t *testing.T) {
	for name, headers := range map[string]map[string]string{"2025-11-25": nil, "2026-07-28": {"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "list_pauses"}} {
		t.Run(name, func(t *testing.T) {
			p := newPause()
			url := build(t, p.operation("list_pauses")).serve(t, tools.HTTPOptions{})
			ctx, away := context.WithCancel(t.Context())
			params := `{"name":"list_pauses"}`
			if headers == nil {
				headers = session(t, url)
			} else {
				params = `{"name":"list_pauses",` + meta + `}`
			}
			go post(ctx, url, request(7, "tools/call", params), headers)
			reading := <-p.begun
			away()
			<-reading.Done()
		})
	}
}

// TestAStartedWriteIsFinished: the client goes away while VPS.org is at it.
func TestAStartedWriteIsFinished(t *testing.T) {
	arrived, goOn := make(chan struct{}), make(chan struct{})
	h := build(t, func(s *setup) {
		s.fake.OnMutation = func(vpsfake.Mutation) { close(arrived); <-goOn }
	})
	url := h.serve(t, tools.HTTPOptions{})
	ctx, away := context.WithCancel(t.Context())
	own := session(t, url)
	go post(ctx, url, request(7, "tools/call", `{"name":"create_snapshot","arguments":{"server":"12345","name":"kept"}}`), own)
	<-arrived
	away()
	close(goOn)
	require.Eventually(t, func() bool { // the answer is recorded, though nobody waits for it
		out, err := h.service.Call(t.Context(), policy.Call{Operation: "list_requests"})
		require.NoError(t, err)
		st, err := h.service.Show(t.Context(), out.Listing.Rows[0].Request)
		require.NoError(t, err)
		return st.Request.Steps[0].PointID == 802
	}, 5*time.Second, 5*time.Millisecond)
	assert.Equal(t, 1, h.fake.Count(vpsfake.Create))
}

func TestAClientIsKnownByTheNameItGives(t *testing.T) {
	names := make(chan string, 10)
	naming := func(s *setup) {
		s.tools.Actor = func(_ context.Context, name string) policy.Actor {
			if name != "" { // asked for the session's owner, whoever they call themselves
				names <- name
			}
			return policy.Actor{Door: policy.DoorMCP, Subject: "agent", Client: name, Vouched: "test", Role: policy.RoleOperate}
		}
	}
	h := build(t, naming)
	for name, come := range doors {
		t.Run(name, func(t *testing.T) {
			come(t, h).call("list_servers", `{}`)
			assert.Equal(t, "example-client", <-names, "as it lists the tools")
			assert.Equal(t, "example-client", <-names, "as it calls one")
		})
	}
	t.Run("a modern client may be nameless", func(t *testing.T) {
		url := h.serve(t, tools.HTTPOptions{})
		body := post(t.Context(), url, request(7, "tools/call", `{"name":"list_servers",`+meta+`}`),
			map[string]string{"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "list_servers"}).body
		assert.Contains(t, body, "web-server-01")
		assert.Empty(t, names)
	})
	t.Run("another process knows it by the session", func(t *testing.T) {
		opened := post(t.Context(), h.serve(t, tools.HTTPOptions{}), request(0, "initialize", hello), nil)
		session := map[string]string{"Mcp-Session-Id": opened.header.Get("Mcp-Session-Id")}
		body := post(t.Context(), build(t, naming).serve(t, tools.HTTPOptions{}), request(7, "tools/call", `{"name":"list_servers"}`), session).body
		assert.Contains(t, body, "web-server-01")
		assert.Equal(t, "script", <-names)
	})
}

type identity struct{}

func TestWhoeverMountsTheDoorTellsWhoCalls(t *testing.T) {
	h := build(t, func(s *setup) {
		s.tools.Actor = func(ctx context.Context, _ string) policy.Actor {
			who, _ := ctx.Value(identity{}).(string)
			return policy.Actor{Door: policy.DoorMCP, Subject: who, Vouched: "test", Role: policy.RoleOperate}
		}
	})
	inner := h.server.Handler(tools.HTTPOptions{})
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), identity{}, r.Header.Get("Authorization"))))
	})}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = web.Serve(listener) }()
	defer web.Close()
	url := "http://" + listener.Addr().String()
	anna, bob := map[string]string{"Authorization": "anna"}, map[string]string{"Authorization": "bob"}
	own := map[string]string{"Mcp-Session-Id": post(t.Context(), url, request(0, "initialize", hello), anna).header.Get("Mcp-Session-Id")}
	call := request(1, "tools/call", `{"name":"restore_snapshot","arguments":`+restore+`}`)
	assert.Contains(t, post(t.Context(), url, call, own, anna).body, `"name":"anna"`)

	// A session is its owner's: who else knows its id can neither call, answer, listen nor end in it.
	for how, body := range map[string]string{
		"calling": call, "answering": `{"jsonrpc":"2.0","id":1,"result":{"action":"accept","content":{}}}`,
		"cancelling": `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`,
	} {
		assert.Equal(t, http.StatusNotFound, post(t.Context(), url, body, own, bob).status, how)
	}
	bare := func(method, who string) int {
		req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
		require.NoError(t, err)
		req.Header.Set("Mcp-Session-Id", own["Mcp-Session-Id"])
		req.Header.Set("Authorization", who)
		req.Header.Set("Accept", "text/event-stream")
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		return res.StatusCode
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		assert.Equal(t, http.StatusNotFound, bare(method, "bob"), method)
	}
	assert.Contains(t, post(t.Context(), url, call, own, anna).body, `"name":"anna"`, "it goes on")

	// What its owner has ended is over, as clients rely on to begin anew.
	assert.Equal(t, http.StatusOK, bare(http.MethodDelete, "anna"))
	assert.Equal(t, http.StatusNotFound, post(t.Context(), url, call, own, anna).status)
	assert.Equal(t, http.StatusNotFound, bare(http.MethodGet, "anna"))
}

// TestAnAbandonedSessionIsForgotten: the library keeps about 13 kB for each
// initialize, for ever unless told.
func TestAnAbandonedSessionIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var name, kept string
		h := build(t, alone, func(s *setup) {
			s.tools.Actor = func(ctx context.Context, given string) policy.Actor {
				name = given
				if session, ok := server.ClientSessionFromContext(ctx).(server.SessionWithClientInfo); ok {
					kept = session.GetClientInfo().Name
				}
				return policy.Actor{Door: policy.DoorMCP, Subject: "agent", Vouched: "test", Role: policy.RoleOperate}
			}
		})
		door := h.server.Handler(tools.HTTPOptions{SessionIdle: 10 * time.Minute})
		ask := func(body, session string) *httptest.ResponseRecorder {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost/mcp", strings.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Mcp-Session-Id", session)
			w := httptest.NewRecorder()
			door.ServeHTTP(w, r)
			require.Equal(t, http.StatusOK, w.Code, w.Body)
			return w
		}
		session := ask(request(0, "initialize", hello), "").Header().Get("Mcp-Session-Id")
		list := request(1, "tools/call", `{"name":"list_requests"}`)
		time.Sleep(9 * time.Minute) // of the bubble
		ask(list, session)
		assert.Equal(t, "script", kept, "as long as it is used it is kept")
		time.Sleep(16 * time.Minute)
		ask(list, session)
		assert.Empty(t, kept, "it is forgotten")
		assert.Equal(t, "script", name, "but the client may go on, and is known by its name")
		require.NoError(t, h.server.Shutdown(t.Context()))
	})
}

func TestReplicasKeepNothing(t *testing.T) {
	one, other := build(t), build(t)
	urls := []string{one.serve(t, tools.HTTPOptions{Stateless: true}), other.serve(t, tools.HTTPOptions{Stateless: true})}
	assert.Empty(t, post(t.Context(), urls[0], request(0, "initialize", hello)).header.Get("Mcp-Session-Id"))
	for i := range 4 {
		assert.Contains(t, post(t.Context(), urls[i%2], request(i+1, "tools/call", `{"name":"list_servers"}`)).body, "web-server-01")
	}
}
