package tools

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
	"golang.org/x/time/rate"

	"github.com/vpsguard/vpsguard/policy"
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
	// Before, where set, wraps what answers requests with a known Host and Origin: it tells
	// who calls through their context, or refuses them. Nothing of a body was read by then.
	Before func(next http.Handler) http.Handler
	// Insufficient, where set, may answer a call of a tool that changes something, of a caller who
	// may only read, as OAuth has it (RFC 6750, section 3.1); where it does not, it says false.
	Insufficient func(w http.ResponseWriter, r *http.Request) bool
	// Opens, where set, counts a session that a caller opens, and tells how long they have to wait
	// first; 0 lets them.
	Opens func(r *http.Request) time.Duration
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
	opening *rate.Limiter // of sessions
	inner   http.Handler  // serve, behind what was asked for
	next    http.Handler
}

// Sessions keep memory until they are idle for long, so they are small and few:
// at most 16 kB may be said in opening one, and after a hundred at once one a
// second is opened.
const (
	mostOpening   = 16 << 10
	openingsBurst = 100
)

// Handler serves Streamable HTTP, to be mounted at one path. It checks Host and
// Origin, limits bodies, and keeps clients from cancelling each other's calls.
// It does not authenticate: that is what [HTTPOptions].Before is for.
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
		options = append(options, server.WithSessionIdleTTL(h.SessionIdle), server.WithSessionIdManagerResolver(owners{s}))
	}
	lib := server.NewStreamableHTTPServer(s.mcp, options...)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.libs = append(slices.Clip(s.libs), lib)
	g := &gate{
		HTTPOptions: h, s: s, origins: http.NewCrossOriginProtection(),
		opening: rate.NewLimiter(rate.Every(time.Second), openingsBurst), next: lib,
	}
	if g.inner = http.HandlerFunc(g.serve); h.Before != nil {
		g.inner = h.Before(g.inner)
	}
	return g
}

// ServeHTTP lets a request through, or says why not.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !g.Knows(r.Host) {
		refuse(w, http.StatusForbidden, "this server is not known by that Host")
		return
	}
	// The protection lets safe methods pass, but a GET opens a stream here.
	probe := http.Request{Method: http.MethodPost, Header: r.Header, Host: r.Host, URL: r.URL}
	if g.origins.Check(&probe) != nil {
		refuse(w, http.StatusForbidden, "requests of web pages from another Origin are not taken")
		return
	}
	g.inner.ServeHTTP(w, r)
}

// serve answers a request of a caller who was let in.
func (g *gate) serve(w http.ResponseWriter, r *http.Request) {
	if session := r.Header.Get(server.HeaderKeySessionID); session != "" && !g.Stateless && // nor do modern ones have any
		!mcp.IsModernProtocol(r.Header.Get(mcp.HeaderProtocolVersion)) &&
		(!owns(session, g.s.Actor(r.Context(), "").Key()) || g.s.ended.has(session)) {
		refuse(w, http.StatusNotFound, "there is no such session of yours; open another")
		return
	}
	if methods := []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete}; !slices.Contains(methods, r.Method) {
		w.Header().Set("Allow", strings.Join(methods, ", "))
		refuse(w, http.StatusMethodNotAllowed, "this address takes POST, and GET and DELETE of clients with a session")
		return
	}
	if wants := r.Method == http.MethodGet || r.Method == http.MethodDelete; wants && g.homeless(r.Header, nil) {
		refuse(w, http.StatusBadRequest, needsSession)
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
		if d, ok := g.s.tools[toolOf(body)]; ok && d.Effect != policy.Read && g.Insufficient != nil &&
			!g.s.Actor(r.Context(), "").Operates() && g.Insufficient(w, r) {
			return
		}
		switch method := methodOf(body); {
		case method == "":
			body = replied(body)
		case method == string(mcp.MethodNotificationCancelled) && g.stray(r.Header):
			w.WriteHeader(http.StatusAccepted)
			return
		case method != string(mcp.MethodInitialize) && g.homeless(r.Header, body):
			refuse(w, http.StatusBadRequest, needsSession)
			return
		case method == string(mcp.MethodInitialize) && len(body) > mostOpening:
			refuse(w, http.StatusRequestEntityTooLarge, "a session is opened with less than that")
			return
		case method == string(mcp.MethodInitialize):
			if wait := g.opens(r); wait > 0 {
				w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
				refuse(w, http.StatusTooManyRequests, "too many sessions are being opened; try again later")
				return
			}
			r = r.WithContext(context.WithValue(r.Context(), opener{}, clientOf(body)))
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer, ctx := newStream(w, r)
		w, r = answer, r.WithContext(ctx)
	}
	g.next.ServeHTTP(w, r)
}

// opens counts a session that is opened, and tells how long to wait first. The caller's own share
// comes before what all have together, so that nobody takes it all.
func (g *gate) opens(r *http.Request) time.Duration {
	if g.Opens != nil {
		if wait := g.Opens(r); wait > 0 {
			return wait
		}
	}
	if !g.opening.Allow() {
		return time.Second
	}
	return 0
}

// Knows tells whether a Host is ours. A page that had its name point to our
// address (DNS rebinding) comes with its own.
func (h HTTPOptions) Knows(host string) bool {
	name := host
	if bare, _, err := net.SplitHostPort(host); err == nil {
		name = bare
	}
	name = strings.TrimSuffix(strings.Trim(name, "[]"), ".")
	if strings.EqualFold(name, "localhost") {
		return true
	}
	if ip, err := netip.ParseAddr(name); err == nil && ip.IsLoopback() {
		return true
	}
	return slices.ContainsFunc(h.Hosts, func(known string) bool {
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

// methodOf reads what a body asks for, in the same way as the library, which
// answers what is wrong with it.
func methodOf(body []byte) string {
	var m struct {
		Method string `json:"method"`
	}
	_ = json.Unmarshal(body, &m)
	return m.Method
}

const needsSession = "this needs a session: open one with initialize, and send its Mcp-Session-Id"

// homeless tells whether a message, or a GET or DELETE, which have no body, comes without the session that
// it needs. The library says 404 to the first, which clients take for the end of a session that they had.
func (g *gate) homeless(h http.Header, body []byte) bool {
	if g.Stateless || h.Get(server.HeaderKeySessionID) != "" || mcp.IsModernProtocol(h.Get(mcp.HeaderProtocolVersion)) {
		return false
	}
	if body == nil {
		return true
	}
	var m struct {
		Method string `json:"method"`
		Params struct {
			Meta *mcp.Meta `json:"_meta"`
		} `json:"params"`
	}
	return json.Unmarshal(body, &m) == nil && m.Method != "" && !mcp.IsModernProtocol(m.Params.Meta.ProtocolVersion())
}

// toolOf reads which tool a body calls; "" for none.
func toolOf(body []byte) string {
	var m struct {
		Method string `json:"method"`
		Params struct {
			Name string `json:"name"`
		} `json:"params"`
	}
	if json.Unmarshal(body, &m) != nil || m.Method != string(mcp.MethodToolsCall) {
		return ""
	}
	return m.Params.Name
}

// clientOf reads what the client calls itself in the body that opens a session.
func clientOf(body []byte) string {
	var m struct {
		Params struct {
			ClientInfo struct {
				Name string `json:"name"`
			} `json:"clientInfo"`
		} `json:"params"`
	}
	_ = json.Unmarshal(body, &m)
	return m.Params.ClientInfo.Name
}

// stray tells whether a request cannot say whose call it cancels. In mcp-go v1.2.1 calls without a session are known by their JSON-RPC id alone, so that
// one client could cancel another's. From 2026-07-28 on clients cancel
// by closing the request; where nothing is kept, older ones can do the same.
func (g *gate) stray(h http.Header) bool {
	return g.Stateless || h.Get(server.HeaderKeySessionID) == "" || mcp.IsModernProtocol(h.Get(mcp.HeaderProtocolVersion))
}

// refuse answers with a JSON-RPC error that has no id.
func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(protocolError(mcp.INVALID_REQUEST, message)) // the client may be gone
}
