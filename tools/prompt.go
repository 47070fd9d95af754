package tools

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"

	"github.com/vpsguard/vpsguard/policy"
)

// Prompt is a text that a person picks in their client to begin something, with
// what they fill in. It calls nothing: a model reads it as its user's words.
type Prompt struct {
	Name, Title, Description string
	// Arguments are all texts, with a Max.
	Arguments []policy.Argument
	// Uses names the operations that the text tells a model to call. Where one of
	// them is not in the catalogue, the prompt is not offered.
	Uses []string
	// Text has {name} where an argument is to stand: cleaned and in quotes, since
	// it may have been copied from anywhere; "not said" where it was left out.
	Text string
}

// hole is where an argument stands in a [Prompt].
var hole = regexp.MustCompile(`\{([a-z_]+)\}`)

// addPrompts offers the prompts whose operations are all there.
func (s *Server) addPrompts() error {
	for _, p := range s.Prompts {
		if err := p.check(); err != nil {
			return err
		}
		if !s.offers(p.Uses...) {
			continue
		}
		shown := mcp.NewPrompt(p.Name, mcp.WithPromptTitle(p.Title), mcp.WithPromptDescription(p.Description))
		for _, a := range p.Arguments {
			shown.Arguments = append(shown.Arguments, mcp.PromptArgument{Name: a.Name, Description: a.About, Required: a.Required})
		}
		s.mcp.AddPrompt(shown, func(_ context.Context, req mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
			text, err := p.filled(req.Params.Arguments)
			if err != nil {
				return nil, spoken(err)
			}
			return mcp.NewGetPromptResult(p.Description, []mcp.PromptMessage{
				mcp.NewPromptMessage(mcp.RoleUser, mcp.NewTextContent(s.label()+text)),
			}), nil
		})
	}
	return nil
}

// offers tells whether all of some operations are in the catalogue.
func (s *Server) offers(names ...string) bool {
	for _, name := range names {
		if _, ok := s.tools[name]; !ok {
			return false
		}
	}
	return true
}

// check refuses what cannot be a prompt.
func (p Prompt) check() error {
	wrong := func(what string) error {
		return policy.Errorf(policy.Invalid, "prompt %q: %s", policy.Clean(p.Name, 64), what)
	}
	if !toolName.MatchString(p.Name) || p.Title == "" || p.Description == "" {
		return wrong("it has no name that a prompt can have, no title or no description")
	}
	left := map[string]bool{}
	for _, h := range hole.FindAllStringSubmatch(p.Text, -1) {
		left[h[1]] = true
	}
	for _, a := range p.Arguments {
		if a.Type != policy.String || a.Max == 0 || a.About == "" || !left[a.Name] {
			return wrong(fmt.Sprintf("the argument %q cannot be", a.Name))
		}
		delete(left, a.Name)
	}
	if len(left) > 0 {
		return wrong("its text has room for what is no argument")
	}
	return nil
}

// filled gives the text with the arguments in it.
func (p Prompt) filled(given map[string]string) (string, error) {
	clean := make(map[string]string, len(given))
	for name, value := range given { // people may write several lines; what is too long is refused, not cut
		clean[name] = policy.Clean(value, maxPrompt)
	}
	raw, err := json.Marshal(clean)
	if err != nil {
		return "", err
	}
	args, err := policy.ParseArguments(policy.Descriptor{Name: p.Name, Arguments: p.Arguments}, raw)
	if err != nil {
		return "", err
	}
	return hole.ReplaceAllStringFunc(p.Text, func(h string) string { // once: what stands in an argument is no hole
		if value := args.Text(strings.Trim(h, "{}")); value != "" {
			return fmt.Sprintf("%q", value)
		}
		return "not said"
	}), nil
}

// maxPrompt is more than any argument of a prompt may have.
const maxPrompt = 5000

// spoken makes a failure one sentence for whoever asked. mcp-go v1.2.1 gives all
// failures of prompts and resources the code of an internal error.
func spoken(err error) error {
	e := policy.Public(err)
	return fmt.Errorf("%s: %s", e.Kind, policy.Clean(strings.TrimSpace(ended(e.Message)+" "+e.Hint), mostError))
}
