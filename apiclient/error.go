package apiclient

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind is why a call failed. The set is closed: a switch over it can be
// exhaustive.
type Kind string

// The kinds. Only Uncertain leaves open whether a write was carried out; after
// any other it was not.
const (
	// Invalid: refused before sending (an id of 0, a name with a space), or by
	// the API with 400, 422 or another 4xx that has no kind of its own.
	Invalid Kind = "invalid"
	// Unauthorized: 401, the token is missing, wrong or revoked.
	Unauthorized Kind = "unauthorized"
	// Forbidden: 403, the token lacks the permission.
	Forbidden Kind = "forbidden"
	// NotFound: 404 or 410, no such server, snapshot or backup.
	NotFound Kind = "not_found"
	// Conflict: 409.
	Conflict Kind = "conflict"
	// RateLimited: 429 after three tries, or with a Retry-After beyond the
	// deadline. Error.RetryAfter tells how long the API wants to be left alone.
	RateLimited Kind = "rate_limited"
	// Unavailable: the request was not sent, or a read failed on its way (no
	// connection, 5xx, timeout, cancelled).
	Unavailable Kind = "unavailable"
	// Uncertain: a write that may have been carried out. Never send it again;
	// read, and judge by what is there.
	Uncertain Kind = "uncertain"
	// Malformed: a read was answered with something that cannot be trusted (not
	// JSON, a cut body, an id that is no integer, a redirect).
	Malformed Kind = "malformed"
)

// Error is the only error type this package returns. It holds no token, no
// header and no address with credentials.
type Error struct {
	Kind Kind
	// Status is the HTTP status, 0 if there was no answer.
	Status int
	// Method and Path are what was called; Path is relative to the base URL. Both
	// are empty for errors of New.
	Method, Path string
	// Doing is the call in words: "restoring snapshot 801".
	Doing string
	// Message is the API's or the network's text: at most 300 code points, one
	// line, without control, bidi and zero-width characters, the token replaced.
	Message string
	// RetryAfter is what the API asked for, 0 if it did not.
	RetryAfter time.Duration

	// err is context.Canceled, context.DeadlineExceeded or nil.
	err error
	// again says that the same request may be sent once more.
	again bool
}

// Error returns a lower-case sentence: what was being done, what happened, and
// the API's own text where there is one.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Doing)
	b.WriteString(": ")
	b.WriteString(e.Kind.phrase())
	if e.Status != 0 {
		fmt.Fprintf(&b, " (HTTP %d)", e.Status)
	}
	if e.Message != "" {
		b.WriteString(": ")
		b.WriteString(e.Message)
	}
	return b.String()
}

// Unwrap returns context.Canceled or context.DeadlineExceeded where one of them
// ended the call, and nil otherwise: errors of the network are kept as text
// only.
func (e *Error) Unwrap() error { return e.err }

func (k Kind) phrase() string {
	switch k {
	case Invalid:
		return "invalid"
	case Unauthorized:
		return "the API does not accept the token"
	case Forbidden:
		return "the token lacks the permission"
	case NotFound:
		return "not found"
	case Conflict:
		return "conflict"
	case RateLimited:
		return "rate limited"
	case Unavailable:
		return "the API could not be reached"
	case Uncertain:
		return "it may or may not have been carried out"
	case Malformed:
		return "the API's answer cannot be trusted"
	}
	return "failed"
}

// KindOf returns the kind of the [*Error] in err's chain, and "" if there is
// none or err is nil.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}
