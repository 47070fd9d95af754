package tools

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// HTTPOptions are what a handler is made of.
type HTTPOptions struct {
	// Hosts are the values of Host that are taken beside loopback names, with
	// or without a port.
	Hosts []string
	// MaxBody is how many bytes a request may have; 1 MiB if 0.
	MaxBody int64
	// BodyWithin is how long a client may take to send them; 15 s if 0.
	BodyWithin time.Duration
	// Stateless keeps nothing between requests, as replicas need it. Clients
	// before 2026-07-28 are then nameless, and cannot cancel by notification.
	Stateless bool
	// SessionIdle is how long the session of a client before 2026-07-28 is kept
	// after its last request; 30 min if 0. It holds the client's name and what it
	// can do, nothing else, and the client may go on after its end.
	SessionIdle time.Duration
}

// gate stands before the library's handler, with what the library does not do.
type gate struct {
	HTTPOptions
	s       *Server
	origins *http.CrossOriginProtection
	next    http.Handler
}

// Handler serves Streamable HTTP, to be mounted at one path. It checks Host and
// Origin, limits bodies, and keeps clients from cancelling each other's calls.
// It does not authenticate: whoever mounts it does, and tells who calls through
// the request's context.
func (s *Server) Handler(h HTTPOptions) http.Handler {
	if h.MaxBody == 0 {
		h.MaxBody = 1 << 20
	}
	if h.BodyWithin == 0 {
		h.BodyWithin = 15 * time.Second
	}
	if h.SessionIdle == 0 {
		h.SessionIdle = 30 * time.Minute
	}
	options := []server.StreamableHTTPOption{
		server.WithStreamableHTTPLogger(s.Logger),
		server.WithDisableLocalhostProtection(true), // Host is checked here, whatever the address
	}
	if h.Stateless {
		options = append(options, server.WithStateLess(true))
	} else {
		options = append(options, server.WithSessionIdleTTL(h.SessionIdle))
	}
	lib := server.NewStreamableHTTPServer(s.mcp, options...)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.libs = append(slices.Clip(s.libs), lib)
	return &gate{h, s, http.NewCrossOriginProtection(), lib}
}

// ServeHTTP lets a request through, or says why not.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !g.knows(r.Host) {
		refuse(w, http.StatusForbidden, "this server is not known by that Host")
		return
	}
	// The protection lets safe methods pass, but a GET opens a stream here.
	probe := http.Request{Method: http.MethodPost, Header: r.Header, Host: r.Host, URL: r.URL}
	if g.origins.Check(&probe) != nil {
		refuse(w, http.StatusForbidden, "requests of web pages from another Origin are not taken")
		return
	}
	if !g.s.flights.enter() {
		refuse(w, http.StatusServiceUnavailable, "the server is stopping")
		return
	}
	defer g.s.flights.leave()
	if r.Method == http.MethodGet || r.Header.Get("Mcp-Method") == string(mcp.MethodSubscriptionsListen) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(g.s.streams, cancel)()
		r = r.WithContext(ctx)
	}
	if r.Method == http.MethodPost {
		body, ok := g.body(w, r)
		if !ok {
			return
		}
		if g.strayCancel(r.Header, body) {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	g.next.ServeHTTP(w, r)
}

// knows tells whether a Host is ours. A page that had its name point to our
// address (DNS rebinding) comes with its own.
func (g *gate) knows(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.Trim(name, "[]"), ".")
	if strings.EqualFold(name, "localhost") {
		return true
	}
	if ip, err := netip.ParseAddr(name); err == nil && ip.IsLoopback() {
		return true
	}
	return slices.ContainsFunc(g.Hosts, func(known string) bool {
		return strings.EqualFold(known, host) || strings.EqualFold(known, name)
	})
}

// body reads a request whole, so that nothing behind has to wait for it.
func (g *gate) body(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	control := http.NewResponseController(w)
	late := time.AfterFunc(g.BodyWithin, func() { _ = control.SetReadDeadline(time.Unix(1, 0)) })
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, g.MaxBody))
	if !late.Stop() {
		refuse(w, http.StatusRequestTimeout, "the request did not arrive in time")
		return nil, false
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		refuse(w, http.StatusRequestEntityTooLarge, "the request is larger than this server takes")
	case err != nil:
		refuse(w, http.StatusBadRequest, "the request did not arrive whole")
	default:
		return body, true
	}
	return nil, false
}

// strayCancel tells whether a body cancels a call without saying whose. In
// mcp-go v1.2.1 calls without a session are known by their JSON-RPC id alone,
// so that one client could cancel another's. From 2026-07-28 on clients cancel
// by closing the request; where nothing is kept, older ones can do the same.
func (g *gate) strayCancel(h http.Header, body []byte) bool {
	var m struct {
		Method string `json:"method"`
	}
	_ = json.Unmarshal(body, &m) // the library reads it in the same way, and answers
	return m.Method == string(mcp.MethodNotificationCancelled) &&
		(g.Stateless || h.Get(server.HeaderKeySessionID) == "" || mcp.IsModernProtocol(h.Get(mcp.HeaderProtocolVersion)))
}

// refuse answers with a JSON-RPC error that has no id.
func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(protocolError(mcp.INVALID_REQUEST, message)) // the client may be gone
}
