//go:build conformance

package tools_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// form is a question with the schema of its answer.
func form(message string, properties map[string]any, required ...string) mcp.ElicitationParams {
	if required == nil {
		required = []string{}
	}
	return mcp.ElicitationParams{
		Message:         message,
		RequestedSchema: map[string]any{"type": "object", "properties": properties, "required": required},
	}
}

var text = map[string]any{"type": "string"}

// asking are tools that ask the client something by requests of their own, as
// servers did before 2026-07-28.
func asking(lib *server.MCPServer) {
	lib.AddTool(mcp.NewTool("test_sampling", mcp.WithDescription("A fixture of the conformance suite."),
		mcp.WithString("prompt", mcp.Required())),
		func(ctx context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			question := mcp.CreateMessageRequest{CreateMessageParams: sampling(req.GetString("prompt", ""))}
			got, err := lib.RequestSampling(ctx, question) //nolint:staticcheck // deprecated, and still in the suite
			if err != nil {
				return mcp.NewToolResultError(err.Error()), nil
			}
			return says(fmt.Sprintf("LLM response: %v", got.Content)), nil
		})
	ask := func(ctx context.Context, params mcp.ElicitationParams) (*mcp.CallToolResult, error) {
		got, err := lib.RequestElicitation(ctx, mcp.ElicitationRequest{Params: params})
		if err != nil {
			return mcp.NewToolResultError(err.Error()), nil
		}
		return says(fmt.Sprintf("User response: action=%s, content=%v", got.Action, got.Content)), nil
	}
	lib.AddTool(mcp.NewTool("test_elicitation", mcp.WithDescription("A fixture of the conformance suite."),
		mcp.WithString("message", mcp.Required())),
		func(ctx context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return ask(ctx, form(req.GetString("message", ""), map[string]any{"username": text, "email": text}, "username", "email"))
		})
	fixture(lib, "test_elicitation_sep1034_defaults", func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return ask(ctx, form("With defaults", map[string]any{
			"name":     map[string]any{"type": "string", "default": "John Doe"},
			"age":      map[string]any{"type": "integer", "default": 30},
			"score":    map[string]any{"type": "number", "default": 95.5},
			"status":   map[string]any{"type": "string", "enum": []string{"active", "inactive", "pending"}, "default": "active"},
			"verified": map[string]any{"type": "boolean", "default": true},
		}))
	})
	titled := []any{map[string]any{"const": "value1", "title": "First"}, map[string]any{"const": "value2", "title": "Second"}}
	plain := map[string]any{"type": "string", "enum": []string{"option1", "option2"}}
	fixture(lib, "test_elicitation_sep1330_enums", func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return ask(ctx, form("With choices", map[string]any{
			"untitledSingle": plain,
			"titledSingle":   map[string]any{"type": "string", "oneOf": titled},
			"legacyEnum":     map[string]any{"type": "string", "enum": []string{"opt1", "opt2"}, "enumNames": []string{"One", "Two"}},
			"untitledMulti":  map[string]any{"type": "array", "items": plain},
			"titledMulti":    map[string]any{"type": "array", "items": map[string]any{"anyOf": titled}},
		}))
	})
}

func sampling(prompt string) mcp.CreateMessageParams {
	return mcp.CreateMessageParams{
		Messages:  []mcp.SamplingMessage{{Role: mcp.RoleUser, Content: mcp.NewTextContent(prompt)}},
		MaxTokens: 100,
	}
}

// sealed binds a state to this process: a fixture's stand-in for what the
// program's own states have.
func sealed(state string) string {
	mac := hmac.New(sha256.New, []byte("only the fixtures' key"))
	mac.Write([]byte(state))
	return state + "." + hex.EncodeToString(mac.Sum(nil))
}

// declared is what a client of 2026-07-28 says in each request that it can.
func declared(ctx context.Context) mcp.ClientCapabilities {
	if info := server.RequestProtocolInfoFromContext(ctx); info != nil && info.ClientCapabilities != nil {
		return *info.ClientCapabilities
	}
	return mcp.ClientCapabilities{}
}

var errState = errors.New("the state is not one of this server's")

// answered tells whether a form came back accepted with a field in it.
func answered(of mcp.InputResponses, id, field string) (any, bool) {
	got := server.ElicitationResponse(of, id)
	if got == nil || got.Action != mcp.ElicitationResponseActionAccept {
		return nil, false
	}
	content, _ := got.Content.(map[string]any)
	value, ok := content[field]
	return value, ok
}

// asking2026 are tools and a prompt that ask by coming back: multi round-trip
// requests, as from 2026-07-28 on.
func asking2026(lib *server.MCPServer) {
	name := form("What is your name?", map[string]any{"name": text}, "name")
	ok := form("Please confirm", map[string]any{"ok": map[string]any{"type": "boolean"}}, "ok")

	fixture(lib, "test_input_required_result_elicitation", func(_ context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		if who, is := answered(req.Params.InputResponses, "user_name", "name"); is {
			return says(fmt.Sprintf("Hello, %v!", who)), nil
		}
		return server.NewInputRequestBuilder("").Elicit("user_name", name).ToolResult(), nil
	})
	fixture(lib, "test_streaming_elicitation", func(_ context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return server.NewInputRequestBuilder("").Elicit("user_name", name).ToolResult(), nil
	})
	fixture(lib, "test_input_required_result_sampling", func(_ context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		if got := server.SamplingResponse(req.Params.InputResponses, "capital_question"); got != nil {
			return says(fmt.Sprint(got.Content)), nil
		}
		return server.NewInputRequestBuilder("").Sample("capital_question", sampling("What is the capital of France?")).ToolResult(), nil
	})
	fixture(lib, "test_input_required_result_list_roots", func(_ context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		if got := server.RootsResponse(req.Params.InputResponses, "client_roots"); got != nil {
			return says(fmt.Sprint(got.Roots)), nil
		}
		return server.NewInputRequestBuilder("").Roots("client_roots").ToolResult(), nil
	})
	stateful := func(_ context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		if len(req.Params.InputResponses) == 0 {
			return server.NewInputRequestBuilder(sealed("asked")).Elicit("confirm", ok).ToolResult(), nil
		}
		if req.Params.RequestState != sealed("asked") {
			return nil, errState
		}
		return says("state-ok"), nil
	}
	fixture(lib, "test_input_required_result_request_state", stateful)
	fixture(lib, "test_input_required_result_tampered_state", stateful)
	fixture(lib, "test_input_required_result_multiple_inputs", func(_ context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		in := req.Params.InputResponses
		_, named := answered(in, "user_name", "name")
		if named && server.SamplingResponse(in, "greeting") != nil && server.RootsResponse(in, "client_roots") != nil && req.Params.RequestState == sealed("three") {
			return says("all three"), nil
		}
		return server.NewInputRequestBuilder(sealed("three")).Elicit("user_name", name).
			Sample("greeting", sampling("Generate a greeting")).Roots("client_roots").ToolResult(), nil
	})
	fixture(lib, "test_input_required_result_multi_round", func(_ context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		switch req.Params.RequestState {
		case "":
			return server.NewInputRequestBuilder(sealed("first")).Elicit("step1", name).ToolResult(), nil
		case sealed("first"):
			color := form("What is your favorite color?", map[string]any{"color": text}, "color")
			return server.NewInputRequestBuilder(sealed("second")).Elicit("step2", color).ToolResult(), nil
		case sealed("second"):
			return says("three rounds"), nil
		default:
			return nil, errState
		}
	})
	fixture(lib, "test_input_required_result_capabilities", func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		ask := server.NewInputRequestBuilder("")
		can := declared(ctx)
		if can.Elicitation != nil {
			ask.Elicit("user_name", name)
		}
		if can.Sampling != nil {
			ask.Sample("greeting", sampling("Generate a greeting"))
		}
		return ask.ToolResult(), nil
	})
	fixture(lib, "test_missing_capability", func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		if declared(ctx).Sampling == nil {
			return nil, mcp.MissingRequiredClientCapabilityError{Capability: "sampling"}
		}
		return says("can"), nil
	})
	lib.AddPrompt(mcp.NewPrompt("test_input_required_result_prompt", mcp.WithPromptDescription("A fixture of the conformance suite.")),
		func(_ context.Context, req mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			if about, is := answered(req.Params.InputResponses, "user_context", "context"); is {
				return prompt(mcp.NewTextContent(fmt.Sprint(about))), nil
			}
			about := form("What context should the prompt use?", map[string]any{"context": text}, "context")
			return server.NewInputRequestBuilder("").Elicit("user_context", about).PromptResult(), nil
		})
}
