package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/policy"
)

// usageError is a command line or a configuration that cannot be used. Its text
// is one line, made for people.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// errSaid ends a command with exit code 1 when everything was said already.
var errSaid = errors.New("said already")

// complain tells people what went wrong, and nothing that is not made for them.
func (p *program) complain(ctx context.Context, err error) {
	var wrong *usageError
	switch {
	case errors.Is(err, errSaid):
		return
	case errors.As(err, &wrong):
		say(p.Stderr, "vpsguard: ", wrong.text)
		return
	}
	e := public(err)
	say(p.Stderr, "vpsguard: ", e.Message)
	if e.Hint != "" {
		say(p.Stderr, "  ", e.Hint)
	}
	if cause := errors.Unwrap(e); cause != nil && p.log != nil {
		p.log.DebugContext(ctx, "the command failed", "error", cause)
	}
}

// public converts any error to what people may be told at the command line.
func public(err error) *policy.Error {
	e := policy.Public(err)
	var told *policy.Error
	if e.Kind == policy.Internal && !errors.As(err, &told) {
		return e.WithHint("With VPSGUARD_LOG_LEVEL=debug the log on standard error says more.")
	}
	return e
}

// fromAPI converts an error of the API client; its texts hold no secrets.
func fromAPI(err error, doing string) error {
	kind := policy.Unavailable
	hint := "Is VPSGUARD_API_URL right, and can this host reach it?"
	switch apiclient.KindOf(err) {
	case apiclient.Unauthorized:
		kind, hint = policy.Forbidden, "Make a token on the developers page of the account and put it where VPSGUARD_API_TOKEN (or _FILE) has it."
	case apiclient.Forbidden:
		kind, hint = policy.Forbidden, "The token lacks a permission."
	case apiclient.RateLimited:
		hint = "Try again in a minute."
	case apiclient.Invalid, apiclient.NotFound, apiclient.Conflict, apiclient.Unavailable, apiclient.Uncertain, apiclient.Malformed:
	}
	return policy.Errorf(kind, "%s", describe(err, doing)).WithHint("%s", hint).Because(err)
}

// describe gives the sentence of the API client, which says what was being done.
func describe(err error, doing string) string {
	var e *apiclient.Error
	if errors.As(err, &e) {
		return policy.Clean(e.Error(), 300)
	}
	return doing + ": there was no answer"
}

// say writes one line. Everything that is shown to people passes here or
// through [policy.Clean]: no foreign text brings a line break or an escape
// sequence along.
func say(w io.Writer, before, text string) {
	_, _ = fmt.Fprintf(w, "%s%s\n", before, policy.Clean(text, 1000))
}
