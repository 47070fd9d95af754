//go:build conformance

package tools_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/tools"
)

// TestServeFixtures is no test by itself. It puts what the official conformance
// suite wants to find (tools, resources and prompts of given names) on this
// package's own server, beside the real tools, and serves it over HTTP until
// standard input ends: the suite then sees our transport, gate and middleware.
// .ci/conformance builds it with the tag conformance, and runs the suite.
func TestServeFixtures(t *testing.T) {
	h := build(t)
	lib := h.server.Library()
	for _, can := range []server.ServerOption{ // what the program itself does not offer
		server.WithToolCapabilities(true), server.WithResourceCapabilities(true, true), server.WithPromptCapabilities(true),
		server.WithCompletions(), server.WithLogging(), server.WithElicitation(),
	} {
		can(lib)
	}
	lib.EnableSampling()
	contents(lib)
	notifying(lib)
	asking(lib)
	asking2026(lib)
	resources(lib)
	prompts(lib)

	web := httptest.NewServer(h.server.Handler(tools.HTTPOptions{}))
	defer web.Close()
	_, err := fmt.Fprintf(os.Stdout, "{\"url\":%q}\n", web.URL)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, os.Stdin) // whatever ends it, the suite has gone
	require.NoError(t, err)
	require.Empty(t, h.fake.Mutations())
}

// A picture of one pixel, and a sound of no length.
var (
	pixel = base64.StdEncoding.EncodeToString([]byte("GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff" +
		"!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"))
	sound = base64.StdEncoding.EncodeToString([]byte("RIFF$\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00" +
		"@\x1f\x00\x00@\x1f\x00\x00\x01\x00\x08\x00data\x00\x00\x00\x00"))
)

func says(text string) *mcp.CallToolResult { return mcp.NewToolResultText(text) }

func embedded(uri, kind, text string) mcp.EmbeddedResource {
	return mcp.NewEmbeddedResource(mcp.TextResourceContents{URI: uri, MIMEType: kind, Text: text})
}

// fixture adds a tool without arguments.
func fixture(lib *server.MCPServer, name string, answer server.ToolHandlerFunc) {
	lib.AddTool(mcp.NewTool(name, mcp.WithDescription("A fixture of the conformance suite.")), answer)
}

// contents are tools that answer with each kind of content.
func contents(lib *server.MCPServer) {
	for name, content := range map[string][]mcp.Content{
		"test_simple_text":       {mcp.NewTextContent("This is a simple text response for testing.")},
		"test_image_content":     {mcp.NewImageContent(pixel, "image/gif")},
		"test_audio_content":     {mcp.NewAudioContent(sound, "audio/wav")},
		"test_embedded_resource": {embedded("test://embedded-resource", "text/plain", "An embedded resource.")},
		"test_multiple_content_types": {
			mcp.NewTextContent("Text, a picture and a resource:"), mcp.NewImageContent(pixel, "image/gif"),
			embedded("test://mixed-content-resource", "application/json", `{"test":"data","value":123}`),
		},
	} {
		fixture(lib, name, func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return &mcp.CallToolResult{Content: content}, nil
		})
	}
	fixture(lib, "test_error_handling", func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return mcp.NewToolResultError("This tool intentionally returns an error for testing"), nil
	})
	// The suite looks whether the schema arrives as it was written.
	lib.AddTool(mcp.NewToolWithRawSchema("json_schema_2020_12_tool", "A fixture of the conformance suite.", json.RawMessage(`{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
		"$defs": {"address": {"$anchor": "addressDef", "type": "object",
			"properties": {"street": {"type": "string"}, "city": {"type": "string"}}}},
		"properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"},
			"contactMethod": {"type": "string", "enum": ["phone", "email"]}, "phone": {"type": "string"}, "email": {"type": "string"}},
		"allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
		"if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
		"then": {"required": ["phone"]}, "else": {"required": ["email"]}, "additionalProperties": false}`)),
		func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) { return says("taken"), nil })
	lib.AddTool(mcp.NewToolWithRawSchema("test_custom_header", "A fixture of the conformance suite.", json.RawMessage(
		`{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}},"required":["region"]}`)),
		func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) { return says("taken"), nil })
}

// notifying are tools that notify while they work, and tools that change lists.
func notifying(lib *server.MCPServer) {
	pause := func(i int) {
		if i > 0 {
			time.Sleep(50 * time.Millisecond) // as the suite wants it
		}
	}
	logs := func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		for i, said := range []string{"Tool execution started", "Tool processing data", "Tool execution completed"} {
			pause(i)
			if info := server.RequestProtocolInfoFromContext(ctx); server.IsModernRequest(ctx) && info.LogLevel == "" {
				continue // a client of 2026-07-28 has to ask for it
			}
			err := tools.Notify(ctx, "notifications/message", map[string]any{"level": "info", "logger": "fixtures", "data": said})
			if err != nil {
				return nil, err
			}
		}
		return says("logged"), nil
	}
	fixture(lib, "test_tool_with_logging", logs)
	fixture(lib, "test_logging_tool", logs)
	fixture(lib, "test_tool_with_progress", func(ctx context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		for i, done := range []int{0, 50, 100} {
			pause(i)
			if req.Params.Meta == nil || req.Params.Meta.ProgressToken == nil {
				continue
			}
			err := tools.Notify(ctx, "notifications/progress", map[string]any{
				"progressToken": req.Params.Meta.ProgressToken, "progress": done, "total": 100,
			})
			if err != nil {
				return nil, err
			}
		}
		return says("done"), nil
	})
	fixture(lib, "test_reconnection", func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return says("answered on the stream of the call"), nil // no stream is ever cut off and resumed here
	})
	fixture(lib, "test_trigger_tool_change", func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		fixture(lib, "test_added", func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) { return says("here"), nil })
		return says("changed"), nil
	})
	fixture(lib, "test_trigger_prompt_change", func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		lib.AddPrompt(mcp.NewPrompt("test_added_prompt", mcp.WithPromptDescription("A fixture of the conformance suite.")), func(context.Context, mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			return prompt(mcp.NewTextContent("here")), nil
		})
		return says("changed"), nil
	})
}

func resources(lib *server.MCPServer) {
	for _, r := range []struct {
		uri, kind string
		contents  mcp.ResourceContents
	}{
		{"test://static-text", "text/plain", mcp.TextResourceContents{URI: "test://static-text", MIMEType: "text/plain", Text: "A text."}},
		{"test://static-binary", "image/gif", mcp.BlobResourceContents{URI: "test://static-binary", MIMEType: "image/gif", Blob: pixel}},
		{"test://watched-resource", "text/plain", mcp.TextResourceContents{URI: "test://watched-resource", MIMEType: "text/plain", Text: "It never changes."}},
	} {
		lib.AddResource(mcp.NewResource(r.uri, strings.TrimPrefix(r.uri, "test://"),
			mcp.WithResourceDescription("A fixture of the conformance suite."), mcp.WithMIMEType(r.kind)),
			func(context.Context, mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
				return []mcp.ResourceContents{r.contents}, nil
			})
	}
	lib.AddResourceTemplate(mcp.NewResourceTemplate("test://template/{id}/data", "template",
		mcp.WithTemplateDescription("A fixture of the conformance suite."), mcp.WithTemplateMIMEType("application/json")),
		func(_ context.Context, req mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
			id := strings.TrimSuffix(strings.TrimPrefix(req.Params.URI, "test://template/"), "/data")
			text, err := json.Marshal(map[string]any{"id": id, "templateTest": true, "data": "Data for ID: " + id})
			return []mcp.ResourceContents{mcp.TextResourceContents{URI: req.Params.URI, MIMEType: "application/json", Text: string(text)}}, err
		})
}

// prompt is what a user would say.
func prompt(contents ...mcp.Content) *mcp.GetPromptResult {
	out := &mcp.GetPromptResult{}
	for _, c := range contents {
		out.Messages = append(out.Messages, mcp.NewPromptMessage(mcp.RoleUser, c))
	}
	return out
}

func prompts(lib *server.MCPServer) {
	add := func(name string, args []string, answer func(map[string]string) *mcp.GetPromptResult) {
		options := []mcp.PromptOption{mcp.WithPromptDescription("A fixture of the conformance suite.")}
		for _, a := range args {
			options = append(options, mcp.WithArgument(a, mcp.ArgumentDescription("An argument."), mcp.RequiredArgument()))
		}
		lib.AddPrompt(mcp.NewPrompt(name, options...), func(_ context.Context, req mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			return answer(req.Params.Arguments), nil
		})
	}
	add("test_simple_prompt", nil, func(map[string]string) *mcp.GetPromptResult {
		return prompt(mcp.NewTextContent("This is a simple prompt for testing."))
	})
	add("test_prompt_with_arguments", []string{"arg1", "arg2"}, func(a map[string]string) *mcp.GetPromptResult {
		return prompt(mcp.NewTextContent(fmt.Sprintf("Prompt with arguments: arg1='%s', arg2='%s'", a["arg1"], a["arg2"])))
	})
	add("test_prompt_with_embedded_resource", []string{"resourceUri"}, func(a map[string]string) *mcp.GetPromptResult {
		return prompt(embedded(a["resourceUri"], "text/plain", "Embedded."), mcp.NewTextContent("Please process the resource above."))
	})
	add("test_prompt_with_image", nil, func(map[string]string) *mcp.GetPromptResult {
		return prompt(mcp.NewImageContent(pixel, "image/gif"), mcp.NewTextContent("Please describe the picture above."))
	})
}
