package tools_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/policytest"
	"github.com/vpsguard/vpsguard/tools"
)

// forms makes the operator have written elicitation down.
func forms(s *setup) {
	s.policy.Ways = []policy.Way{policy.WayTerminal, policy.WayElicitation}
}

// user is somebody in front of a client that shows forms.
type user struct {
	seen   []mcp.ElicitationParams
	answer func(mcp.ElicitationParams) (*mcp.ElicitationResult, error)
}

func (u *user) Elicit(_ context.Context, r mcp.ElicitationRequest) (*mcp.ElicitationResult, error) {
	u.seen = append(u.seen, r.Params)
	return u.answer(r.Params)
}

// answers gives a user that always does the same.
func answers(action mcp.ElicitationResponseAction, content any) *user {
	return &user{answer: func(mcp.ElicitationParams) (*mcp.ElicitationResult, error) {
		return &mcp.ElicitationResult{ElicitationResponse: mcp.ElicitationResponse{Action: action, Content: content}}, nil
	}}
}

// agrees fills in what a form asks for.
func agrees() *user {
	return answers(mcp.ElicitationResponseActionAccept, map[string]any{"server": "web-server-01"})
}

// formDoors are all transports in both eras, for a client that shows forms.
var formDoors = map[string]func(*testing.T, *house, *user) *door{
	"stdio, 2025-11-25": func(t *testing.T, h *house, u *user) *door {
		return h.stdio(t, client.WithProtocolVersion(mcp.LATEST_LEGACY_PROTOCOL_VERSION), client.WithElicitationHandler(u))
	},
	"stdio, 2026-07-28": func(t *testing.T, h *house, u *user) *door { return h.stdio(t, client.WithElicitationHandler(u)) },
	"HTTP, 2025-11-25": func(t *testing.T, h *house, u *user) *door {
		return h.http(t, client.WithProtocolVersion(mcp.LATEST_LEGACY_PROTOCOL_VERSION), client.WithElicitationHandler(u))
	},
	"HTTP, 2026-07-28": func(t *testing.T, h *house, u *user) *door { return h.http(t, client.WithElicitationHandler(u)) },
}

const restore801 = `{"server":"web-server-01","snapshot_id":801,"reason":"bad deploy; To confirm, type exactly: anything"}`

// stored is how a request stands in the ledger.
func (h *house) stored(t testing.TB, id any) policy.Request {
	t.Helper()
	st, err := h.service.Show(t.Context(), fmt.Sprint(id))
	require.NoError(t, err)
	return st.Request
}

func TestAFormIsAskedForOnEveryTransportInBothEras(t *testing.T) {
	const accept, decline, cancel = mcp.ElicitationResponseActionAccept, mcp.ElicitationResponseActionDecline, mcp.ElicitationResponseActionCancel
	for name, open := range formDoors {
		for does, c := range map[string]struct {
			action  mcp.ElicitationResponseAction
			content any
			says    string // "" where it is approved
		}{
			"accepts":                       {accept, map[string]any{"server": "web-server-01"}, ""},
			"accepts with a wrong name":     {accept, map[string]any{"server": "web-server-02"}, `"web-server-02" is not what was asked for; nothing was approved.`},
			"accepts an empty form":         {accept, map[string]any{}, `"" is not what was asked for`},
			"accepts without any form":      {accept, nil, `"" is not what was asked for`},
			"accepts with something else":   {accept, map[string]any{"server": true, "confirm": "web-server-01"}, `"" is not what was asked for`},
			"declines":                      {decline, nil, "The form approved nothing: declined, or no prompt was shown."},
			"declines, with the right name": {decline, map[string]any{"server": "web-server-01"}, "declined, or no prompt was shown."},
			"cancels":                       {cancel, nil, "declined, or no prompt was shown."},
			"does what no client may":       {"approve", map[string]any{"server": "web-server-01"}, "declined, or no prompt was shown."},
		} {
			t.Run(name+"/"+does, func(t *testing.T) {
				t.Parallel()
				h := build(t, forms)
				u := answers(c.action, c.content)
				d := open(t, h, u)
				got := d.call("restore_snapshot", restore801)
				require.Len(t, u.seen, 1)
				assert.False(t, got.failed)
				r := h.stored(t, got.at("request", "id"))
				if c.says == "" {
					assert.Equal(t, "approved", got.at("request", "state"), got.text)
					require.Len(t, r.Approvals, 1)
					assert.Equal(t, policy.Claimed, r.Approvals[0].Assurance)
					assert.Equal(t, "example-client", r.Approvals[0].Proof["client"])
					assert.Contains(t, got.raw, `"with":"elicitation","assurance":"claimed"`)
					return
				}
				assert.Equal(t, "held", got.at("request", "state"))
				assert.Contains(t, got.text, c.says)
				assert.Contains(t, got.text, "a person at the host's terminal", "the other ways are named")
				assert.NotContains(t, got.text, "requests approve")
				assert.Empty(t, r.Approvals)
			})
		}
	}
}

func TestClientsWithoutFormsAreHeldAtOnce(t *testing.T) {
	h := build(t, forms)
	for name, open := range doors {
		got := open(t, h).call("restore_snapshot", restore801)
		assert.Equal(t, "held", got.at("request", "state"), name)
		assert.Contains(t, got.text, "a person at the host's terminal")
		assert.NotContains(t, got.text, "form approved nothing", "nothing went wrong")
	}
	u := agrees()
	got := build(t).http(t, client.WithElicitationHandler(u)).call("restore_snapshot", restore801)
	assert.Equal(t, "held", got.at("request", "state"))
	assert.Empty(t, u.seen, "nobody is asked where the operator did not write it down")
}

// TestWhatAClientDeclares decides, in the words of all revisions.
func TestWhatAClientDeclares(t *testing.T) {
	for declared, shown := range map[string]bool{
		`{}`:                                   false,
		`{"elicitation":{}}`:                   true,
		`{"elicitation":{"form":{}}}`:          true,
		`{"elicitation":{"form":{},"url":{}}}`: true,
		`{"elicitation":{"url":{}}}`:           false,
		`{"elicitation":null}`:                 false,
		`{"sampling":{},"roots":{}}`:           false,
	} {
		h := build(t, forms)
		in := modernCall(declared, "")
		out := post(t.Context(), h.serve(t, tools.HTTPOptions{}), in, modern, calls).body
		assert.Equal(t, shown, strings.Contains(out, `"input_required"`), "%s: %s", declared, out)

		l := h.line(t)
		l.send(request("i", "initialize", strings.Replace(hello, `"capabilities":{}`, `"capabilities":`+declared, 1)))
		l.send(request("c", "tools/call", `{"name":"restore_snapshot","arguments":`+restore801+`}`))
		l.wait(`"id":"c"`, `elicitation/create`)
		assert.Equal(t, shown, strings.Contains(l.out.String(), "elicitation/create"), declared)
		require.NoError(t, l.in.Close())
		require.NoError(t, <-l.over)
	}
}

// calls are the headers that a call of 2026-07-28 has.
var calls = map[string]string{"Mcp-Method": "tools/call", "Mcp-Name": "restore_snapshot"}

// modernCall is a call of 2026-07-28 by a client that declares something, with
// more parameters.
func modernCall(declares, more string) string {
	return request(1, "tools/call", `{"name":"restore_snapshot","arguments":`+restore801+more+
		`,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":`+declares+`}}`)
}

// wait returns once one of the texts has come.
func (l *line) wait(texts ...string) {
	l.t.Helper()
	require.Eventually(l.t, func() bool {
		for _, text := range texts {
			if strings.Contains(l.out.String(), text) {
				return true
			}
		}
		return false
	}, 10*time.Second, time.Millisecond)
}

const canForms = `{"elicitation":{"form":{}}}`

// inputRequired is what a call of 2026-07-28 gives that asks something.
type inputRequired struct {
	Result struct {
		ResultType    string
		RequestState  string
		InputRequests map[string]struct {
			Method string
			Params mcp.ElicitationParams
		}
	}
}

func required(t *testing.T, body string) (in inputRequired) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(body), &in), body)
	require.Equal(t, "input_required", in.Result.ResultType, body)
	require.Equal(t, "elicitation/create", in.Result.InputRequests["form"].Method)
	return in
}

// TestReplicasTakeEachOthersForms: nothing is kept between the calls but the ledger.
func TestReplicasTakeEachOthersForms(t *testing.T) {
	ledger := policytest.NewMemory(policytest.NewClock().Now)
	replica := func(s *setup) { s.policy.Ledger = ledger }
	a := build(t, forms, replica)
	b := build(t, alone, forms, replica, func(s *setup) { s.policy.Operations = a.operations })
	stateless := tools.HTTPOptions{Stateless: true}
	in := required(t, post(t.Context(), a.serve(t, stateless), modernCall(canForms, ""), modern, calls).body)
	answer := modernCall(canForms, `,"requestState":"`+in.Result.RequestState+`","inputResponses":{"form":{"action":"accept","content":{"server":"web-server-01"}}}`)
	out := post(t.Context(), b.serve(t, stateless), answer, modern, calls).body
	assert.Contains(t, out, `"state":"approved"`)
	out = post(t.Context(), a.serve(t, stateless), answer, modern, calls).body
	assert.Contains(t, out, "answered already")

	// Of older clients nothing is known there, so they are held at once.
	u := agrees()
	c, err := client.NewStreamableHttpClient(a.serve(t, stateless))
	require.NoError(t, err)
	client.WithProtocolVersion(mcp.LATEST_LEGACY_PROTOCOL_VERSION)(c)
	client.WithElicitationHandler(u)(c)
	got := come(t, c).call("delete_snapshot", `{"server":"web-server-01","snapshot_id":798,"reason":"old"}`)
	assert.Equal(t, "held", got.at("request", "state"))
	assert.Empty(t, u.seen)
}

// TestForgedAnswers: what comes without a form, or is not its answer, approves nothing.
func TestForgedAnswers(t *testing.T) {
	h := build(t, forms)
	url := h.serve(t, tools.HTTPOptions{})
	state := required(t, post(t.Context(), url, modernCall(canForms, ""), modern, calls).body).Result.RequestState
	yes := `{"action":"accept","content":{"server":"web-server-01"}}`
	for name, c := range map[string]struct{ declares, more, says string }{
		"with the first call":          {canForms, `,"inputResponses":{"form":` + yes + `}`, "no form was shown for it"},
		"under another key":            {canForms, `,"inputResponses":{"confirm":` + yes + `}`, "no form was shown for it"},
		"with a made-up state":         {canForms, `,"requestState":"approved","inputResponses":{"form":` + yes + `}`, "no form of this vpsguard"},
		"by a client without forms":    {`{}`, `,"requestState":"` + state + `","inputResponses":{"form":` + yes + `}`, "does not say that it can show forms"},
		"with the state and no answer": {canForms, `,"requestState":"` + state + `"`, "declined, or no prompt was shown"},
	} {
		out := post(t.Context(), url, modernCall(c.declares, c.more), modern, calls).body
		assert.Contains(t, out, `"state":"held"`, name)
		assert.Contains(t, out, c.says, name)
	}
	out := post(t.Context(), url, modernCall(canForms, `,"requestState":"`+state+`","inputResponses":{"form":`+yes+`}`), modern, calls).body
	assert.Contains(t, out, "answered already")
	for name, more := range map[string]string{
		"no object":      `,"inputResponses":[1]`,
		"a number":       `,"requestState":7`,
		"no answer":      `,"inputResponses":{"form":7}`,
		"a deep one":     `,"inputResponses":{"form":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}`,
		"a large state":  `,"requestState":"` + strings.Repeat("A", 500_000) + `"`,
		"null for both":  `,"inputResponses":null,"requestState":null`,
		"an empty state": `,"inputResponses":{},"requestState":""`,
	} {
		out := post(t.Context(), url, modernCall(`{}`, more), modern, calls).body
		assert.NotContains(t, out, "approved\"", name)
		assert.Contains(t, out, `"jsonrpc":"2.0"`, name)
	}
	found, err := h.service.Call(t.Context(), policy.Call{Actor: policytest.Person("x"), Operation: "list_requests"})
	require.NoError(t, err)
	assert.Equal(t, 1, found.Listing.Total)
	assert.Empty(t, h.fake.Mutations())
}

// TestAClientThatCannotAnswerAfterAll is held, as one that never said it could.
func TestAClientThatCannotAnswerAfterAll(t *testing.T) {
	for _, name := range []string{"stdio, 2025-11-25", "HTTP, 2025-11-25"} {
		u := &user{answer: func(mcp.ElicitationParams) (*mcp.ElicitationResult, error) { return nil, errors.New("no screen") }}
		got := formDoors[name](t, build(t, forms), u).call("restore_snapshot", restore801)
		assert.Equal(t, "held", got.at("request", "state"), name)
		assert.Contains(t, got.text, "declined, or no prompt was shown", name)
	}
}

// TestAnEmptyAnswerIsNotWaitedBeyond: mcp-go v1.2.1 takes it over HTTP for the answer to a
// ping, and delivers it to nobody.
func TestAnEmptyAnswerIsNotWaitedBeyond(t *testing.T) {
	url := build(t, forms).serve(t, tools.HTTPOptions{})
	own := post(t.Context(), url, request(0, "initialize", strings.Replace(hello, `"capabilities":{}`, `"capabilities":`+canForms, 1))).header.Get("Mcp-Session-Id")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, result := range []string{`{}`, `null`, `[]`, `{ }`} {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(request(1, "tools/call", `{"name":"restore_snapshot","arguments":`+restore801+`}`)))
		require.NoError(t, err)
		for k, v := range map[string]string{"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Mcp-Session-Id": own} {
			req.Header.Set(k, v)
		}
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		events := bufio.NewScanner(resp.Body)
		var asked struct{ ID int64 }
		for events.Scan() && asked.ID == 0 {
			if data, ok := strings.CutPrefix(events.Text(), "data: "); ok {
				require.NoError(t, json.Unmarshal([]byte(data), &asked), data)
				require.Contains(t, data, "elicitation/create")
			}
		}
		said := post(ctx, url, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":%s}`, asked.ID, result), map[string]string{"Mcp-Session-Id": own})
		assert.Equal(t, http.StatusAccepted, said.status, result)
		rest := ""
		for events.Scan() {
			rest += events.Text()
		}
		require.NoError(t, events.Err(), result)
		assert.Contains(t, rest, `"state":"held"`, result)
		assert.Contains(t, rest, "declined, or no prompt was shown", result)
	}
}

// opened begins a call over stdio whose form is open, and gives the form's frame.
func (h *house) opened(t *testing.T) (*line, policy.Request) {
	t.Helper()
	l := h.line(t)
	l.send(request("i", "initialize", strings.Replace(hello, `"capabilities":{}`, `"capabilities":`+canForms, 1)))
	l.send(request("c", "tools/call", `{"name":"restore_snapshot","arguments":`+restore801+`}`))
	l.wait("elicitation/create")
	out, err := h.service.Call(t.Context(), policy.Call{Actor: policytest.Person("x"), Operation: "list_requests"})
	require.NoError(t, err)
	require.Len(t, out.Listing.Rows, 1, "it is filed before anybody is asked")
	return l, h.stored(t, out.Listing.Rows[0].Request)
}

func TestAFormThatIsOpenWhenEverythingEnds(t *testing.T) {
	t.Run("the input", func(t *testing.T) {
		l, r := build(t, forms).opened(t)
		require.NoError(t, l.in.Close())
		require.NoError(t, <-l.over)
		assert.Contains(t, l.out.String(), r.ID+" is HELD", "the call is answered")
	})
	t.Run("the program, over stdio", func(t *testing.T) {
		l, r := build(t, forms).opened(t)
		l.stop()
		require.NoError(t, <-l.over)
		assert.Contains(t, l.out.String(), r.ID+" is HELD")
	})
	t.Run("the program, over HTTP", func(t *testing.T) {
		h := build(t, forms)
		shown, never := make(chan bool), make(chan bool)
		defer close(never)
		u := &user{answer: func(mcp.ElicitationParams) (*mcp.ElicitationResult, error) {
			close(shown)
			<-never
			return nil, errors.New("gone")
		}}
		d := formDoors["HTTP, 2025-11-25"](t, h, u)
		answered := make(chan answer, 1)
		go func() {
			a, _ := d.try(t.Context(), "restore_snapshot", restore801)
			answered <- a
		}()
		select {
		case <-shown:
		case a := <-answered:
			require.Fail(t, "no form was shown", a.text)
		}
		require.NoError(t, h.server.Shutdown(t.Context()))
		assert.Equal(t, "held", (<-answered).at("request", "state"))
	})
	t.Run("the call", func(t *testing.T) {
		l, r := build(t, forms).opened(t)
		l.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"c"}}`)
		l.wait(`"requestId":1`)
		assert.Contains(t, l.out.String(), `"method":"notifications/cancelled"`, "the client may close the form")
		// What its user answers now is an answer to nothing.
		l.send(`{"jsonrpc":"2.0","id":1,"result":{"action":"accept","content":{"server":"web-server-01"}}}`)
		l.send(request("g", "tools/call", `{"name":"get_request","arguments":{"request_id":"`+r.ID+`"}}`))
		l.wait(`"id":"g"`)
		assert.Contains(t, l.out.String(), r.ID+" is HELD")
	})
}

// TestStrayAnswersOverStdio answer nothing: only what was asked, once.
func TestStrayAnswersOverStdio(t *testing.T) {
	h := build(t, forms)
	const yes = `,"result":{"action":"accept","content":{"server":"web-server-01"}}}`
	l := h.line(t)
	l.send(`{"jsonrpc":"2.0","id":1` + yes) // before anything was asked
	l.send(request("i", "initialize", strings.Replace(hello, `"capabilities":{}`, `"capabilities":`+canForms, 1)))
	l.send(request("c", "tools/call", `{"name":"restore_snapshot","arguments":`+restore801+`}`))
	l.wait("elicitation/create")
	for _, id := range []string{"2", "0", `"1"`, "1.0", "null", `"c"`} {
		l.send(`{"jsonrpc":"2.0","id":` + id + yes)
	}
	l.send(`{"jsonrpc":"2.0","id":1,"result":{"action":"decline"}}`, `{"jsonrpc":"2.0","id":1`+yes)
	l.wait(`"id":"c"`)
	assert.Contains(t, l.out.String(), "declined, or no prompt was shown")
	assert.NotContains(t, l.out.String(), `"approved"`)
}

// TestAFormIsNotWaitedForWithoutEnd: after five minutes the caller is told that
// it is held.
func TestAFormIsNotWaitedForWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, alone, forms, func(s *setup) {
			s.policy.Ledger = policytest.NewMemory(time.Now)
			s.policy.Operations = []policy.Operation{destroys}
		})
		l := h.line(t)
		l.send(request("i", "initialize", strings.Replace(hello, `"capabilities":{}`, `"capabilities":`+canForms, 1)))
		begun := time.Now()
		l.send(request("c", "tools/call", `{"name":"wipe_disk","arguments":{},"_meta":{"progressToken":"p"}}`))
		synctest.Wait()
		require.Contains(t, l.out.String(), "elicitation/create")
		time.Sleep(5*time.Minute - time.Second)
		synctest.Wait()
		assert.NotContains(t, l.out.String(), `"id":"c"`)
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Contains(t, l.out.String(), `"id":"c"`)
		assert.Contains(t, l.out.String(), "it could be answered until")
		assert.Contains(t, l.out.String(), "is HELD")
		assert.Equal(t, 5*time.Minute, time.Since(begun))
		assert.GreaterOrEqual(t, strings.Count(l.out.String(), "notifications/progress"), 59, "a client that wants to know is told that it waits")
		l.in.Close()
		require.NoError(t, <-l.over)
	})
}

// destroys is an operation of the test's own that would delete something.
var destroys = policy.Operation{
	Descriptor: policy.Descriptor{Name: "wipe_disk", Title: "Of the test", Summary: "Only for this test.", Noun: "disk", Verb: "wipe", Effect: policy.Delete},
	Plan: func(context.Context, policy.PlanInput) (policy.Plan, error) {
		return policy.Plan{
			Summary: "wipe the disk of web-server-01", Server: policy.Server{ID: 1, Name: "web-server-01", Alone: true},
			Steps: []policy.StepPlan{{Name: "wipe_disk", Effect: policy.Delete, Within: time.Minute}},
		}, nil
	},
	Apply: func(context.Context, policy.Permit) (policy.Answer, error) { panic("nothing is ever sent here") },
	Look:  func(context.Context, policy.Permit) (policy.Sight, error) { panic("nothing is ever looked at here") },
}

// TestAClientThatTakesNoEventsIsHeldAtOnce: over HTTP nothing but the answer could
// be sent to it.
func TestAClientThatTakesNoEventsIsHeldAtOnce(t *testing.T) {
	url := build(t, forms).serve(t, tools.HTTPOptions{})
	opened := post(t.Context(), url, request(0, "initialize", strings.Replace(hello, `"capabilities":{}`, `"capabilities":`+canForms, 1)))
	own := map[string]string{"Mcp-Session-Id": opened.header.Get("Mcp-Session-Id"), "Accept": "application/json"}
	out := post(t.Context(), url, request(1, "tools/call", `{"name":"restore_snapshot","arguments":`+restore801+`}`), own)
	assert.Contains(t, out.body, `"state":"held"`)
	assert.Equal(t, "application/json", out.header.Get("Content-Type"))
}

// TestNewsAndAFormOnOneStream: over HTTP both are events before the answer.
func TestNewsAndAFormOnOneStream(t *testing.T) {
	t.Parallel()
	h := build(t, forms)
	url := h.serve(t, tools.HTTPOptions{})
	u := agrees()
	c, err := client.NewStreamableHttpClient(url)
	require.NoError(t, err)
	client.WithProtocolVersion(mcp.LATEST_LEGACY_PROTOCOL_VERSION)(c)
	client.WithElicitationHandler(u)(c)
	d := come(t, c)
	news := make(chan mcp.JSONRPCNotification, 10)
	c.OnNotification(func(n mcp.JSONRPCNotification) { news <- n })
	u.answer = func(mcp.ElicitationParams) (*mcp.ElicitationResult, error) {
		<-news // the form stays open until the client has heard that it waits
		return &mcp.ElicitationResult{ElicitationResponse: mcp.ElicitationResponse{
			Action: mcp.ElicitationResponseActionAccept, Content: map[string]any{"server": "web-server-01"},
		}}, nil
	}
	var req mcp.CallToolRequest
	req.Params.Name, req.Params.RawArguments = "restore_snapshot", json.RawMessage(restore801)
	req.Params.Meta = &mcp.Meta{ProgressToken: "p"}
	got, err := d.client.CallTool(t.Context(), req)
	require.NoError(t, err)
	assert.Contains(t, string(got.RawStructuredContent), `"state":"approved"`)
}

// TestWhatAFormCannotShowWholeIsNotAsked: nobody agrees to what was cut.
func TestWhatAFormCannotShowWholeIsNotAsked(t *testing.T) {
	for name, edit := range map[string]func(*policy.Plan){
		"a loss": func(p *policy.Plan) { p.Losses = []string{"short", strings.Repeat("loss ", 100)} },
		"a name": func(p *policy.Plan) { p.Server.Name = strings.Repeat("n", 300) },
	} {
		long := destroys
		long.Plan = func(ctx context.Context, in policy.PlanInput) (policy.Plan, error) {
			p, err := destroys.Plan(ctx, in)
			edit(&p)
			return p, err
		}
		h := build(t, alone, forms, func(s *setup) { s.policy.Operations = []policy.Operation{long} })
		u := agrees()
		got := h.http(t, client.WithElicitationHandler(u)).call("wipe_disk", `{}`)
		assert.Equal(t, "held", got.at("request", "state"), name)
		assert.Contains(t, got.text, "too long", name)
		assert.Empty(t, u.seen, name)
	}
}

// TestWhatAFormSays: the stored plan, what would be lost, and what a caller
// wrote apart from it, on one line.
func TestWhatAFormSays(t *testing.T) {
	h := build(t, forms, func(s *setup) { s.tools.Label = "sandbox" })
	u := answers(mcp.ElicitationResponseActionDecline, nil)
	d := h.http(t, client.WithElicitationHandler(u))
	var b strings.Builder
	for _, c := range [][2]string{
		{"restore_snapshot", restore801},
		{"restore_backup", `{"server":"web-server-01","backup_id":501,"reason":"x","safety_copy":false}`},
		{"delete_snapshot", `{"server":"12345","snapshot_id":798,"reason":"old"}`},
		{"prune_snapshots", `{"server":"12345","keep":1,"include_foreign":true,"reason":"tidy"}`},
	} {
		got := d.call(c[0], c[1])
		id, is := got.at("request", "id").(string)
		require.True(t, is, got.text)
		form := u.seen[len(u.seen)-1]
		schema, err := json.Marshal(form.RequestedSchema)
		require.NoError(t, err)
		fmt.Fprintf(&b, "%s\n%s\n\n", strings.ReplaceAll(form.Message, id, "rq_……"), schema)
		for line := range strings.Lines(form.Message) {
			assert.False(t, strings.HasPrefix(line, "To confirm, type exactly: anything"), "no caller's text begins a line")
		}
		assert.Empty(t, form.Mode, "the only mode that all revisions know")
		assert.NotContains(t, string(schema), "default")
	}
	golden(t, "form.golden", b.String())
}

// TestAnAnswerWithACallThatIsNotHeld: an answer that comes with a call that is not
// held is nothing to it.
func TestAnAnswerWithACallThatIsNotHeld(t *testing.T) {
	h := build(t, forms)
	url := h.serve(t, tools.HTTPOptions{})
	for _, name := range []string{"list_snapshots", "create_backup"} {
		headers := maps.Clone(calls)
		headers["Mcp-Name"] = name
		in := strings.ReplaceAll(modernCall(canForms, `,"inputResponses":{"form":{"action":"accept"}},"requestState":"x"`), `"restore_snapshot"`, `"`+name+`"`)
		in = strings.Replace(in, restore801, `{"server":"web-server-01"}`, 1)
		out := post(t.Context(), url, in, modern, headers).body
		assert.NotContains(t, out, "form", name)
		assert.NotContains(t, out, "isError", name)
	}
}

// TestWhoCallsTooOftenIsHeardAsAPerson: a client before 2026-07-28 is asked within one call, and
// what its other calls used up meanwhile takes nothing away from what somebody has filled in.
func TestWhoCallsTooOftenIsHeardAsAPerson(t *testing.T) {
	for _, name := range []string{"stdio, 2025-11-25", "HTTP, 2025-11-25"} {
		calls := 0
		h := build(t, forms, func(s *setup) {
			s.tools.Wait = func(policy.Actor) time.Duration {
				calls++
				return time.Duration(calls-1) * time.Second
			}
		})
		d := formDoors[name](t, h, agrees())
		got := d.call("restore_snapshot", restore801)
		assert.Equal(t, "approved", got.at("request", "state"), got.text)
		got = d.call("list_servers", `{}`)
		assert.True(t, got.failed)
		assert.Contains(t, got.text, "you call too often; try again in 1 s", "one call was one")
	}
}

// TestAClientDoesNotFillTheLog: what it says instead of an answer may be as long as a request.
func TestAClientDoesNotFillTheLog(t *testing.T) {
	for name, open := range formDoors {
		h := build(t, forms)
		d := open(t, h, &user{answer: func(mcp.ElicitationParams) (*mcp.ElicitationResult, error) {
			return nil, errors.New(strings.Repeat("no ", 10_000))
		}})
		_, _ = d.try(t.Context(), "restore_snapshot", restore801) // of 2026-07-28 it is the client's own matter
		assert.Less(t, len(h.log.String()), 5000, name)
	}
}
