package apiclient

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// errNotWhole says that a body is not one whole JSON text: cut, foreign, empty,
// or followed by something else.
var errNotWhole = errors.New("the answer is not whole JSON")

// contentError says that a body is JSON but does not carry what it must.
type contentError struct{ reason string }

func (e *contentError) Error() string { return e.reason }

func contentErrorf(format string, args ...any) error {
	return &contentError{reason: fmt.Sprintf(format, args...)}
}

// unmarshal decodes body into v. Its errors are errNotWhole or a *contentError,
// and quote nothing longer than a number.
func unmarshal(body []byte, v any) error {
	err := json.Unmarshal(body, v)
	if err == nil {
		return nil
	}
	var syntax *json.SyntaxError
	var typed *json.UnmarshalTypeError
	var content *contentError
	switch {
	case errors.As(err, &syntax), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errNotWhole
	case errors.As(err, &content):
		return content
	case errors.As(err, &typed):
		return contentErrorf("%s holds a %s", strings.TrimPrefix("the field "+typed.Field, "the field ."), cut(typed.Value, 40))
	}
	return contentErrorf("the answer does not have the documented form")
}

// moment is a time as the API writes it. RFC 3339 is documented, date-only is
// seen in the account's example; a time without zone is read as UTC.
type moment struct{ time.Time }

var layouts = []string{time.RFC3339Nano, time.DateOnly, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999"}

func (m *moment) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	// No form of a time needs escaping, so what stands between the quotes is it.
	if len(b) < 2 || b[0] != '"' {
		return contentErrorf("a time is not a text")
	}
	s := string(b[1 : len(b)-1])
	if s == "" {
		return nil
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, s); err == nil {
			m.Time = t.UTC()
			return nil
		}
	}
	return contentErrorf("a time is in an unknown form")
}

// megabytes is size_mb: null until known; fractions are rounded, it is a figure
// to be shown.
type megabytes struct{ n *int64 }

func (m *megabytes) UnmarshalJSON(b []byte) error {
	m.n = nil
	if string(b) == "null" {
		return nil
	}
	if n, err := strconv.ParseInt(string(b), 10, 64); err == nil {
		m.n = &n
		return nil
	}
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil || math.Abs(f) >= 1<<53 {
		return contentErrorf("size_mb is not a number of megabytes")
	}
	n := int64(math.Round(f))
	m.n = &n
	return nil
}

func (m megabytes) value() *int64 {
	if m.n == nil {
		return nil
	}
	n := *m.n
	return &n
}

// loose is a detail that nothing depends on and whose type is not documented: a
// text, a number, or an object with a name, all read as text.
type loose string

func (l *loose) UnmarshalJSON(b []byte) error {
	var v any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return errNotWhole
	}
	if object, ok := v.(map[string]any); ok {
		v = object["name"]
	}
	switch v := v.(type) {
	case string:
		*l = loose(v)
	case json.Number:
		*l = loose(v.String())
	case bool:
		*l = loose(strconv.FormatBool(v))
	default:
		*l = ""
	}
	return nil
}

func (l loose) int() int64 {
	n, err := strconv.ParseInt(string(l), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func looksLikeHTML(body []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")) }

// errorText finds the sentence in an error body. Its form is not documented, so
// all common ones are tried; what is no JSON is taken as it stands, except that
// nobody is helped by the source of an HTML page.
func errorText(body []byte) string {
	if looksLikeHTML(body) {
		return "an HTML page instead of JSON"
	}
	var v any
	if json.Unmarshal(body, &v) != nil {
		return string(body)
	}
	return sentence(v, 0)
}

func sentence(v any, depth int) string {
	if depth > 3 {
		return ""
	}
	switch v := v.(type) {
	case string:
		return v
	case []any:
		var parts []string
		for _, item := range v {
			if s := sentence(item, depth+1); s != "" {
				parts = append(parts, s)
			}
		}
		return strings.Join(parts, " ")
	case map[string]any:
		for _, key := range []string{"detail", "message", "error"} {
			if s := sentence(v[key], depth+1); s != "" {
				return s
			}
		}
		var parts []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if s := sentence(v[key], depth+1); s != "" {
				parts = append(parts, key+": "+s)
			}
		}
		return strings.Join(parts, "; ")
	}
	return ""
}
