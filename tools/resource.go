package tools

import (
	"context"
	"encoding/json"
	"maps"
	"regexp"
	"slices"

	"github.com/mark3labs/mcp-go/mcp"

	"github.com/vpsguard/vpsguard/policy"
)

// Resource is what an operation that lists something gives, at an address.
type Resource struct {
	URI                      string // a template with one variable, an argument of the operation
	Name, Title, Description string
	Operation                string         // that answers; it only reads
	Arguments                map[string]any // with which it is called beside
}

// template is what all known clients fill in alike.
var template = regexp.MustCompile(`^[a-z]+:(/[a-z-]*)*/\{([a-z_]+)\}(/[a-z-]+)*$`)

// addResources offers the resources whose operations are there.
func (s *Server) addResources() error {
	for _, r := range s.Resources {
		if !s.offers(r.Operation) {
			continue
		}
		d := s.tools[r.Operation]
		parts := template.FindStringSubmatch(r.URI)
		if parts == nil || r.Name == "" || r.Title == "" || d.Effect != policy.Read || d.Rows == "" ||
			!slices.ContainsFunc(d.Arguments, func(a policy.Argument) bool { return a.Name == parts[2] && a.Type == policy.String }) {
			return policy.Errorf(policy.Invalid, "resource %q cannot be one of %s", policy.Clean(r.URI, 100), d.Name)
		}
		shown := mcp.NewResourceTemplate(r.URI, r.Name, mcp.WithTemplateTitle(r.Title),
			mcp.WithTemplateDescription(r.Description), mcp.WithTemplateMIMEType("application/json"))
		s.mcp.AddResourceTemplate(shown, func(ctx context.Context, req mcp.ReadResourceRequest) ([]mcp.ResourceContents, error) {
			return s.read(ctx, req.Params.URI, d, r.Arguments, parts[2], req.Params.Arguments[parts[2]])
		})
	}
	return nil
}

// read answers what stands at an address, in the same way as a call.
func (s *Server) read(ctx context.Context, uri string, d policy.Descriptor, beside map[string]any, name string, value any) (out []mcp.ResourceContents, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, spoken(s.panicked(ctx, d.Name, p))
		}
	}()
	args := maps.Clone(beside)
	if args == nil {
		args = map[string]any{}
	}
	if values, ok := value.([]string); ok && len(values) == 1 { // so the library gives it
		value = values[0]
	}
	args[name] = value
	raw, err := json.Marshal(args)
	if err != nil {
		return nil, spoken(err)
	}
	if failed := s.tooOften(ctx); failed != nil {
		return nil, spoken(failed)
	}
	result, failed := s.call(ctx, d, policy.Call{Arguments: raw})
	if failed != nil {
		return nil, spoken(failed)
	}
	return []mcp.ResourceContents{
		mcp.TextResourceContents{URI: uri, MIMEType: "application/json", Text: string(result.RawStructuredContent)},
	}, nil
}
