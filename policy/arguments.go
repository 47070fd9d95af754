package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxArguments is how many bytes of arguments are looked at, at all.
const maxArguments = 64 << 10

// maxInteger is the largest integer that every JSON client can send unharmed
// (RFC 8259, section 6).
const maxInteger = 1<<53 - 1

// Type is the type of an argument.
type Type string

const (
	// String is text without control characters.
	String Type = "string"
	// Integer is a whole number, at most 2^53-1.
	Integer Type = "integer"
	// Boolean is true or false.
	Boolean Type = "boolean"
)

// Argument describes one argument of an operation. Doors make schemas, forms
// and grammars from it; [ParseArguments] enforces it.
type Argument struct {
	Name     string
	Type     Type
	About    string   // for a model and for people
	Required bool     //
	Max      int64    // String: code points; Integer: largest value
	Min      int64    // Integer: smallest value
	Enum     []string // String: the values allowed, where limited
	Default  any      // for schemas; nil where there is none
	Of       string   // what it names (server, snapshot, backup), for menus; may be empty
}

// Arguments are parsed and checked arguments.
type Arguments map[string]any

// Has tells whether an argument was given.
func (a Arguments) Has(name string) bool { _, ok := a[name]; return ok }

// Text gives a string argument, or "".
func (a Arguments) Text(name string) string { s, _ := a[name].(string); return s }

// Number gives an integer argument, or the other value.
func (a Arguments) Number(name string, other int64) int64 {
	if n, ok := a[name].(int64); ok {
		return n
	}
	return other
}

// Flag gives a boolean argument, or the other value.
func (a Arguments) Flag(name string, other bool) bool {
	if b, ok := a[name].(bool); ok {
		return b
	}
	return other
}

// ParseArguments checks raw JSON against the descriptor: nothing is coerced,
// rounded, ignored or guessed. Its errors are [Invalid] and say what would be
// right.
func ParseArguments(d Descriptor, raw json.RawMessage) (Arguments, error) {
	if len(raw) > maxArguments {
		return nil, Errorf(Invalid, "the arguments are larger than %d bytes", maxArguments)
	}
	given, err := readObject(raw)
	if err != nil {
		return nil, err
	}
	out := make(Arguments, len(given))
	for name, value := range given {
		i := slices.IndexFunc(d.Arguments, func(a Argument) bool { return a.Name == name })
		if i < 0 {
			return nil, Errorf(Invalid, "%s has no argument %q", d.Name, Clean(name, 40)).WithHint("%s", takes(d))
		}
		if value == nil && !d.Arguments[i].Required { // an explicit null is as good as none
			continue
		}
		if out[name], err = d.Arguments[i].check(value); err != nil {
			return nil, err
		}
	}
	for _, a := range d.Arguments {
		if a.Required && !out.Has(a.Name) {
			return nil, Errorf(Invalid, "%s needs the argument %q: %s", d.Name, a.Name, a.About).WithHint("%s", takes(d))
		}
	}
	return out, nil
}

// readObject reads one JSON object with no key twice and nothing behind it.
func readObject(raw json.RawMessage) (map[string]any, error) {
	out := map[string]any{}
	if len(bytes.TrimSpace(raw)) == 0 {
		return out, nil
	}
	wrong := Errorf(Invalid, "the arguments are not one JSON object")
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		if err == nil && t == nil {
			return out, nil // null
		}
		return nil, wrong
	}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, wrong
		}
		if _, twice := out[name]; twice {
			return nil, Errorf(Invalid, "the argument %q is given twice", Clean(name, 40))
		}
		var value any
		if err := d.Decode(&value); err != nil {
			return nil, wrong
		}
		out[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, wrong
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, wrong
	}
	return out, nil
}

func (a Argument) check(value any) (any, error) {
	switch a.Type {
	case String:
		return a.checkText(value)
	case Integer:
		number, ok := value.(json.Number)
		n, err := strconv.ParseInt(string(number), 10, 64)
		least, most := a.Min, a.Max
		if most == 0 {
			most = maxInteger
		}
		if !ok || err != nil || n < least || n > most {
			return nil, Errorf(Invalid, "%s must be a whole number from %d to %d, not %s", a.Name, least, most, shown(value))
		}
		return n, nil
	case Boolean:
		b, ok := value.(bool)
		if !ok {
			return nil, Errorf(Invalid, "%s must be true or false, not %s", a.Name, shown(value))
		}
		return b, nil
	default:
		return nil, Errorf(Internal, "the argument %s has no type", a.Name)
	}
}

func (a Argument) checkText(value any) (string, error) {
	s, ok := value.(string)
	switch {
	case !ok:
		return "", Errorf(Invalid, "%s must be text, not %s", a.Name, shown(value))
	case a.Max > 0 && int64(utf8.RuneCountInString(s)) > a.Max:
		return "", Errorf(Invalid, "%s has %d characters; at most %d are taken", a.Name, utf8.RuneCountInString(s), a.Max)
	case strings.ContainsFunc(s, unicode.IsControl):
		return "", Errorf(Invalid, "%s holds control characters; plain text is taken", a.Name)
	case a.Required && strings.TrimSpace(s) == "":
		return "", Errorf(Invalid, "%s is empty: %s", a.Name, a.About)
	case len(a.Enum) > 0 && !slices.Contains(a.Enum, s):
		return "", Errorf(Invalid, "%s must be one of %s, not %s", a.Name, strings.Join(a.Enum, ", "), shown(s))
	}
	return strings.TrimSpace(s), nil
}

// shown tells a wrong value briefly, so that the caller knows which it was.
func shown(value any) string {
	switch v := value.(type) {
	case nil:
		return "null"
	case string:
		return fmt.Sprintf("the text %q", Clean(v, 30))
	case json.Number:
		return Clean(v.String(), 30)
	case bool:
		return strconv.FormatBool(v)
	default:
		return "a list or an object"
	}
}

func takes(d Descriptor) string {
	names := make([]string, 0, len(d.Arguments))
	for _, a := range d.Arguments {
		if a.Required {
			names = append(names, a.Name)
		} else {
			names = append(names, a.Name+"?")
		}
	}
	if len(names) == 0 {
		return "It takes no arguments."
	}
	return "It takes: " + strings.Join(names, ", ") + "."
}
