package main

import (
	"fmt"
	"io"
	"log/slog"
)

// secret is a value that is never printed: every way of formatting it says
// whether it is set, and no more.
type secret struct{ value string }

// Reveal gives the value, to those that have to send it.
func (s secret) Reveal() string { return s.value }

// String says "[set]" or "[not set]".
func (s secret) String() string {
	if s.value == "" {
		return "[not set]"
	}
	return "[set]"
}

// Format covers every verb, so that none walks the fields.
func (s secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// GoString is [secret.String].
func (s secret) GoString() string { return s.String() }

// MarshalText is [secret.String], for JSON too.
func (s secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue is [secret.String].
func (s secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// EnvDecode takes the value of an environment variable.
func (s *secret) EnvDecode(value string) error {
	s.value = value
	return nil
}
