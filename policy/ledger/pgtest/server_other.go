//go:build !unix

package pgtest

import (
	"sync/atomic"
	"testing"
)

// Server is a server of PostgreSQL that belongs to this process.
type Server struct {
	password string
	port     int
	up       atomic.Bool
}

func start([]string) (*Server, error) {
	return nil, missingError("tests start PostgreSQL on Unix only")
}

func (s *Server) end() {}

// Stop stops the server.
func (s *Server) Stop(t testing.TB, _ string) { t.Helper() }

// Run runs the server again.
func (s *Server) Run(t testing.TB) { t.Helper() }

// Dir is a folder that the server may write.
func (s *Server) Dir() string { return "" }
