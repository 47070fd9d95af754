package tools

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/mark3labs/mcp-go/mcp"

	"github.com/vpsguard/vpsguard/policy"
)

// Limits on what is shown.
const (
	mostRow   = 100 // bytes of a row's text
	mostError = 900 // bytes of an error result; 2026-07-28 adds about a hundred
	mostLine  = 400 // code points of a line about a plan
)

// encoder writes structured content, once: what it writes goes to the client
// as it is.
type encoder struct {
	bytes.Buffer
	json *json.Encoder
}

func newEncoder() *encoder {
	e := &encoder{}
	e.json = json.NewEncoder(&e.Buffer)
	e.json.SetEscapeHTML(false)
	return e
}

// value writes a value without the encoder's line end.
func (e *encoder) value(v any) error {
	if err := e.json.Encode(v); err != nil {
		return err
	}
	e.Truncate(e.Len() - 1)
	return nil
}

// open begins the object that every result is.
func (s *Server) open() (*encoder, string) {
	e := newEncoder()
	e.WriteByte('{')
	if s.Label != "" {
		e.WriteString(quoted(s.Label) + ":true,")
	}
	return e, s.label()
}

// label is what stands in front of every text.
func (s *Server) label() string {
	if s.Label == "" {
		return ""
	}
	return "[" + s.Label + "] "
}

// listing renders what a list found: a header line, a line an item, and a line
// that says how many there are and how to see more.
func (s *Server) listing(d policy.Descriptor, l policy.Listing) (*mcp.CallToolResult, error) {
	e, label := s.open()
	e.WriteString(fmt.Sprintf(`"total":%d,%s:[`, l.Total, quoted(d.Rows)))
	var b strings.Builder
	b.Grow((len(l.Rows) + len(l.Lines) + 2) * mostRow)
	b.WriteString(label + policy.Clean(l.Title, mostLine) + "\n")
	for i, row := range l.Rows {
		if i > 0 {
			e.WriteByte(',')
		}
		if err := e.value(row.Data); err != nil {
			return nil, err
		}
		b.WriteString(fit(row.Text) + "\n")
	}
	e.WriteByte(']')
	for _, about := range l.Lines {
		b.WriteString(policy.Clean(about, mostLine) + "\n")
	}
	if err := beside(e, l.Detail); err != nil {
		return nil, err
	}
	fmt.Fprintf(&b, "%d of %d", len(l.Rows), l.Total)
	switch {
	case l.Next != "":
		e.WriteString(`,"next_cursor":` + quoted(l.Next))
		b.WriteString("; next page: cursor=" + policy.Clean(l.Next, 40))
	case len(l.Rows) < l.Total:
		b.WriteString("; this is the last page")
	}
	e.WriteByte('}')
	return result(b.String(), e.Bytes(), false), nil
}

// fit makes a row's text a line of its own. What operations give is plain and
// short nearly always, and then costs next to nothing.
func fit(s string) string {
	plain := len(s) <= mostRow
	for i := 0; i < len(s) && plain; i++ {
		plain = s[i] >= ' ' && s[i] <= '~'
	}
	if plain {
		return s
	}
	return policy.Fit(s, mostRow)
}

// beside writes the fields of a struct after what is there already.
func beside(e *encoder, detail any) error {
	if detail == nil {
		return nil
	}
	from := e.Len()
	if err := e.value(detail); err != nil {
		return err
	}
	switch written := e.Bytes()[from:]; {
	case string(written) == "null" || string(written) == "{}":
		e.Truncate(from)
	case written[0] == '{':
		written[0] = ','
		e.Truncate(e.Len() - 1)
	default:
		return fmt.Errorf("the detail of a listing is a %T, not a struct", detail)
	}
	return nil
}

// failed renders a failure: kind, sentence, hint, cut so that all of it stays
// within a kilobyte.
func (s *Server) failed(f *policy.Error) *mcp.CallToolResult {
	var shown struct {
		Kind    policy.Kind `json:"kind"`
		Message string      `json:"message"`
		Hint    string      `json:"hint,omitempty"`
	}
	shown.Kind = f.Kind
	for most := 400; ; most -= 20 {
		shown.Message, shown.Hint = policy.Clean(f.Message, most), policy.Clean(f.Hint, most)
		e, label := s.open()
		e.WriteString(`"error":`)
		if err := e.value(shown); err != nil {
			panic(err) // text only
		}
		e.WriteByte('}')
		text := label + string(shown.Kind) + ": " + shown.Message
		if shown.Hint != "" {
			text += "\n" + shown.Hint
		}
		r := result(text, e.Bytes(), true)
		var sent bytes.Buffer // over HTTP the library escapes some characters more
		if json.HTMLEscape(&sent, appendResult(nil, r, text)); sent.Len() <= mostError || most <= 40 {
			return r
		}
	}
}

// result is a tool result of a text and its structured form.
func result(text string, structured []byte, failed bool) *mcp.CallToolResult {
	return &mcp.CallToolResult{
		Content:              []mcp.Content{mcp.TextContent{Type: "text", Text: text}},
		RawStructuredContent: structured,
		IsError:              failed,
	}
}
