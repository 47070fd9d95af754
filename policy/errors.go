package policy

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

// Kind says what sort of failure an [Error] is. The set is closed: doors turn
// each kind into their own form of answer.
type Kind string

const (
	// Invalid means the call itself is wrong; the message says what would be right.
	Invalid Kind = "invalid"
	// NotFound means that what was named does not exist, or not there.
	NotFound Kind = "not_found"
	// Forbidden means that this caller, or this process, may not do it.
	Forbidden Kind = "forbidden"
	// Conflict means that the state of things does not allow it now.
	Conflict Kind = "conflict"
	// Expired means that a request's clock ran out first.
	Expired Kind = "expired"
	// Stale means that the world is no longer what was shown.
	Stale Kind = "stale"
	// Unavailable means that something needed could not be reached. Nothing was changed.
	Unavailable Kind = "unavailable"
	// Uncertain means that a change may have happened, and nobody knows.
	Uncertain Kind = "uncertain"
	// Internal means a fault of this program.
	Internal Kind = "internal"
)

// Error is a failure that people may be told: Message and Hint never hold
// internal text or secrets. Err is for logs only.
type Error struct {
	Kind    Kind
	Message string // one sentence: what is wrong
	Hint    string // one sentence: what would be right; may be empty
	Err     error  // the cause, for logs; may be nil
}

// Error tells the message and, for logs, the cause.
func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an [Error] of a kind from a format. The result is shown to
// people, so no argument may hold internal text.
func Errorf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// WithHint adds what would be right.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// Because adds a cause, for logs only.
func (e *Error) Because(err error) *Error {
	e.Err = err
	return e
}

// Public converts any error to what people may be told. Text that is not made
// for people stays in Err.
func Public(err error) *Error {
	var e *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Errorf(Unavailable, "the call ended before there was an answer").WithHint("Try again.").Because(err)
	default:
		return Errorf(Internal, "something went wrong inside vpsguard; nothing more is known here").
			WithHint("The log of the program says more.").Because(err)
	}
}

// PanicText is what may be logged of a panic: the runtime's own words, or else the
// type alone. The value of any other can hold what was in hand, secrets and texts
// from outside; where it came from is in the stack.
func PanicText(p any) string {
	var e runtime.Error
	if err, ok := p.(error); ok && errors.As(err, &e) {
		return e.Error()
	}
	return fmt.Sprintf("a %T", p)
}

// KindOf tells the kind of any error; [Internal] where it is not an [Error].
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	return Public(err).Kind
}
