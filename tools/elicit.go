package tools

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/vpsguard/vpsguard/policy"
)

// The one thing that is ever asked for, and the one field of its form.
const (
	formID    = "form"
	formField = "server"
	mostTyped = 200 // code points
	formNews  = 5 * time.Second
)

// whole tells whether a form can show all of a plan: what is cut, nobody can
// agree to.
func whole(p policy.Plan) bool {
	tooLong := func(l string) bool { return utf8.RuneCountInString(l) > mostLine }
	return !slices.ContainsFunc(slices.Concat([]string{p.Summary, p.Account.String()}, p.Losses, p.Warnings, p.Notes), tooLong) &&
		utf8.RuneCountInString(p.Server.Typed()) <= mostTyped
}

// modern tells whether a call is of the era since 2026-07-28, in which a client
// is asked by a result and answers with a second call. Before that the server
// sends it a request.
func modern(ctx context.Context) bool {
	return mcp.IsModernProtocol(server.RequestProtocolVersion(ctx))
}

// canAsk tells whether the client has declared that it can show its user forms:
// in this call, or in its initialize. Only URLs are no forms; neither form nor
// URL means forms, as clients of 2025-06-18 say it.
func canAsk(ctx context.Context) bool {
	var can *mcp.ElicitationCapability
	if modern(ctx) {
		if info := server.RequestProtocolInfoFromContext(ctx); info != nil && info.ClientCapabilities != nil {
			can = info.ClientCapabilities.Elicitation
		}
	} else if session, ok := server.ClientSessionFromContext(ctx).(interface {
		server.SessionWithClientInfo
		server.SessionWithElicitation
	}); ok {
		can = session.GetClientCapabilities().Elicitation
		if answer, ok := ctx.Value(streamKey{}).(*stream); ok && !answer.takes {
			return false // it could not be sent anything but the answer
		}
	}
	return can != nil && (can.Form != nil || can.URL == nil)
}

// formAnswer is what a call says that came of a form; nil where it says nothing
// of one.
func formAnswer(ctx context.Context, req mcp.CallToolRequest) *policy.FormAnswer {
	p := req.Params
	if p.RequestState == "" && len(p.InputResponses) == 0 {
		return nil
	}
	return filled(ctx, p.RequestState, server.ElicitationResponse(p.InputResponses, formID))
}

// filled is what a client says that its user did with a form. That it was
// accepted is one thing, what was typed another: some clients accept without
// showing anything.
func filled(ctx context.Context, state string, got *mcp.ElicitationResult) *policy.FormAnswer {
	a := &policy.FormAnswer{State: state, Proof: map[string]string{
		"client": policy.Clean(clientName(ctx), 40), "protocol": policy.Clean(server.RequestProtocolVersion(ctx), 20),
	}}
	if got != nil && got.Action == mcp.ElicitationResponseActionAccept {
		content, _ := got.Content.(map[string]any)
		a.Accepted = true
		a.Typed, _ = content[formField].(string)
	}
	return a
}

// ask has the client show a form about a held request. A client of the older era
// is asked here and now, and the call goes on with its answer as if it had come
// with a second one. The library could do that, but would make an error of a
// client that cannot answer after all, and wait for it without an end.
func (s *Server) ask(ctx context.Context, d policy.Descriptor, c policy.Call, st policy.Standing) (*mcp.CallToolResult, *policy.Error) {
	if !whole(st.Request.Plan) {
		st.Note = "no form is shown, since the plan is too long for one"
		result, err := s.standing(st)
		return result, policy.Public(err)
	}
	form := s.form(st)
	if modern(ctx) {
		return server.NewInputRequestBuilder(st.Form.State).Elicit(formID, form).ToolResult(), nil
	}
	answer, err := s.elicit(ctx, c, form, st)
	if err != nil { // then nobody has agreed; it waits as before
		s.Logger.InfoContext(ctx, "a client did not answer a form", "request", st.Request.ID, "error", policy.Clean(err.Error(), 300))
	}
	c.Answer = filled(ctx, st.Form.State, answer)
	return s.call(ctx, d, c)
}

// elicit sends the form and waits for what comes back: until no answer is taken
// any more, or the program stops. A client that asked for progress is told
// meanwhile that the call waits for a person, lest it gives up.
func (s *Server) elicit(ctx context.Context, c policy.Call, form mcp.ElicitationParams, st policy.Standing) (*mcp.ElicitationResult, error) {
	ctx, cancel := context.WithTimeout(ctx, st.Form.Until.Sub(st.Now))
	defer cancel()
	defer context.AfterFunc(s.streams, cancel)()
	var news sync.WaitGroup
	answered := make(chan struct{})
	defer func() { close(answered); news.Wait() }()
	if c.News != nil {
		news.Go(func() {
			again := time.NewTicker(formNews)
			defer again.Stop()
			for {
				select {
				case <-answered:
					return
				case <-again.C:
					c.News(st)
				}
			}
		})
	}
	return s.mcp.RequestElicitation(ctx, mcp.ElicitationRequest{Params: form})
}

// form says what somebody agrees to, from the stored plan, and wants the
// server's name typed. It gives no default: an answer without a person's hand is
// what it is to keep out.
func (s *Server) form(st policy.Standing) mcp.ElicitationParams {
	typed := st.Request.Plan.Server.Typed()
	about := "Type " + typed + " to confirm. If in doubt, decline."
	schema := object(property{formField, `{"type":"string","title":"Server","description":` + quoted(about) + fmt.Sprintf(`,"minLength":1,"maxLength":%d}`, mostTyped), true})
	schema = strings.Replace(schema, `,"additionalProperties":false`, "", 1) // clients know no more than the specification's subset
	return mcp.ElicitationParams{Message: s.asks(st), RequestedSchema: json.RawMessage(schema)}
}

// asks is the text of a form. What callers wrote stands last, in quotes.
func (s *Server) asks(st policy.Standing) string {
	var t lines
	r := st.Request
	_, label := s.open()
	t.say("%svpsguard asks: do you confirm %s? You have until %s.", label, r.ID, policy.Stamp(st.Form.Until))
	t.say("What would happen: %s", sentence(r.Plan.Summary))
	t.say("Server: %s%s, of %s.", r.Plan.Server, address(r.Plan.Server), policy.Clean(r.Account.String(), mostLine))
	t.plan(r, st.Now)
	if r.Conditions.Approvals > 1 {
		t.say("It takes %d different people; %d so far.", r.Conditions.Approvals, st.Agreed)
	}
	t.asked(r)
	t.say("To confirm, type exactly: %s", r.Plan.Server.Typed())
	return strings.TrimSpace(t.String())
}

func address(of policy.Server) string {
	if of.IP == "" {
		return ""
	}
	return fmt.Sprintf(", IP address %s", policy.Clean(of.IP, 45))
}

// replied is what a client answers to the server. An empty result is an error, since whoever
// asked has got nothing: mcp-go v1.2.1 takes it for the answer to a ping, and lets them wait.
func replied(body []byte) []byte {
	var m struct {
		ID            mcp.RequestId
		Result, Error json.RawMessage
	}
	if json.Unmarshal(body, &m) != nil || m.ID.IsNil() || !empty(m.Result) || !empty(m.Error) {
		return body
	}
	answer := protocolError(mcp.INTERNAL_ERROR, "the client's answer is empty")
	answer.ID = m.ID
	out, err := json.Marshal(answer)
	if err != nil {
		return body
	}
	return out
}

func empty(value json.RawMessage) bool {
	var b bytes.Buffer
	_ = json.Compact(&b, value) // it is JSON, or nothing
	return slices.Contains([]string{"", "null", "{}", "[]"}, b.String())
}
