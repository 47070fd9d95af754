package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/tools"
)

// maxBody is how large a request to /mcp may be.
const maxBody = 256 << 10

func (p *program) serveCommand() *cobra.Command {
	c := p.command("serve", "Serve MCP clients over HTTP at /mcp, and Slack",
		"It listens on VPSGUARD_ADDR. /mcp takes callers with a token (vpsguard token new, or of\n"+
			"VPSGUARD_OIDC_ISSUER); as long as none was ever made, it takes all on this host, and nobody\n"+
			"else. /slack/ is there where Slack signs what it sends (VPSGUARD_SLACK_SIGNING_SECRET). /healthz tells that it runs,\n"+
			"/readyz which part is not ready. /metrics has an address of its own,\n"+
			"VPSGUARD_METRICS_ADDR.",
		"  VPSGUARD_API_TOKEN_FILE=~/.vps-token vpsguard serve", noArguments)
	check := c.Flags().Bool("check", false, "only ask the server that runs at VPSGUARD_ADDR whether it is well")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *check {
			return p.checkServe(c.Context())
		}
		return p.serve(c.Context())
	}
	return c
}

func (p *program) serve(ctx context.Context) error {
	s, err := load(ctx, p.Env)
	if err != nil {
		return err
	}
	beyond := !loopback(s.Addr)
	if beyond && len(s.slackSecrets()) == 0 && !p.anyCallers(ctx, s) {
		return errBeyond()
	}
	// Before listening: without a token nothing would be served.
	if _, err := connect(s); err != nil {
		return err
	}
	listener, err := listen(ctx, s.Addr, beyond)
	if err != nil {
		return err
	}
	scraped, err := p.serveMetrics(ctx, s)
	if err != nil {
		_ = listener.Close()
		return err
	}
	defer scraped()
	st, err := p.station(ctx, s, "", overLoopback)
	if err != nil {
		_ = listener.Close()
		return err
	}
	defer st.Close(ctx)
	st.follow(follower{st.ledger, p.metrics, st.log})
	st.beyond = beyond || s.published()
	st.log.InfoContext(ctx, "serving MCP", "url", "http://"+listener.Addr().String()+"/mcp")
	if len(s.slackSecrets()) > 0 {
		st.log.InfoContext(ctx, "serving Slack", "url", "http://"+listener.Addr().String()+"/slack/")
	}
	return p.serveHTTP(ctx, st, listener)
}

// checkServe is the health check of images that hold nothing but this program.
func (p *program) checkServe(ctx context.Context) error {
	s, err := load(ctx, p.Env)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.Addr+"/healthz", nil)
	if err != nil {
		return usagef("VPSGUARD_ADDR is no address that can be asked; use 127.0.0.1:8080")
	}
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		return policy.Errorf(policy.Unavailable, "no vpsguard answers at %s", policy.Clean(s.Addr, 60)).Because(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return policy.Errorf(policy.Unavailable, "what answers at %s is not well: status %d", policy.Clean(s.Addr, 60), resp.StatusCode)
	}
	return p.printf("well\n")
}

func errBeyond() error {
	return usagef("VPSGUARD_ADDR is reachable from other hosts, where /mcp takes nobody without a token, and none was ever made, so nothing would be served; make one (vpsguard token new NAME), set VPSGUARD_OIDC_ISSUER, use 127.0.0.1:8080, or set VPSGUARD_SLACK_SIGNING_SECRET to serve Slack there")
}

// listen opens the port, and looks again whether only this host reaches it,
// unless others may: a name such as localhost may mean anything.
func listen(ctx context.Context, address string, beyond bool) (net.Listener, error) {
	var l net.ListenConfig
	listener, err := l.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, policy.Errorf(policy.Unavailable, "%s cannot be listened on; is something else running there?", policy.Clean(address, 60)).
			WithHint("VPSGUARD_ADDR=127.0.0.1:0 takes any free port.").Because(err)
	}
	if !beyond && !loopback(listener.Addr().String()) {
		_ = listener.Close()
		return nil, errBeyond()
	}
	return listener, nil
}

// serveHTTP serves until the context ends, and then ends what is in flight.
func (p *program) serveHTTP(ctx context.Context, st *station, listener net.Listener) error {
	server := &http.Server{
		Handler:           unread(st.routes()),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	if p.Listening != nil {
		p.Listening(listener.Addr().String())
	}
	select {
	case err := <-failed:
		return policy.Errorf(policy.Unavailable, "serving stopped").Because(err)
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), st.graceful())
	defer cancel()
	st.log.InfoContext(ctx, "stopping; an interrupt more stops at once")
	if err := errors.Join(st.tools.Shutdown(ctx), server.Shutdown(ctx)); err != nil {
		st.log.WarnContext(ctx, "some calls were cut off", "error", err)
		_ = server.Close() // what is left has had its time
	}
	return nil
}

// unreadWithin is how long a client that is answered without that may go on sending its body.
const unreadWithin = time.Second

// unread bounds how long a body is waited for that nobody reads, such as that of somebody who
// is refused: net/http wants it before the answer leaves, and waits without an end.
func unread(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r)
		if r.Body != http.NoBody {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(unreadWithin)) // the next request has its own
		}
	})
}

// routes are what is served over HTTP.
func (st *station) routes() http.Handler {
	mux := http.NewServeMux()
	options := tools.HTTPOptions{Hosts: st.hosts(), MaxBody: maxBody, Before: st.mcp.Before, Insufficient: st.mcp.Insufficient, Opens: st.mcp.Opens}
	mux.Handle("/mcp", st.tools.Handler(options))
	st.mcp.Mount(mux)
	if len(st.settings.slackSecrets()) > 0 && st.slack != nil {
		mux.Handle("/slack/", st.slack.Handler())
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if !options.Knows(r.Host) { // no web page is told what is wrong here
			http.Error(w, "this server is not known by that Host", http.StatusForbidden)
			return
		}
		st.readyz(w, r)
	})
	return mux
}

// published tells whether clients elsewhere are told to come, whatever stands between: a proxy
// that says nothing of itself looks like somebody on this host.
func (s settings) published() bool {
	u, err := url.Parse(s.PublicURL)
	return s.PublicURL != "" && (err != nil || !loopback(net.JoinHostPort(u.Hostname(), "0")))
}

// forwarded are the headers by which a proxy says that it asks for somebody else. Some put their
// own name for us into Host.
var forwarded = []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip"}

// fromHere tells whether somebody on this host asks, and not through a proxy: by the name that
// others use, or for somebody else.
func fromHere(r *http.Request) bool {
	if slices.ContainsFunc(forwarded, func(name string) bool { return len(r.Header.Values(name)) > 0 }) {
		return false
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return loopback(r.RemoteAddr) && (host == "localhost" || net.ParseIP(strings.Trim(host, "[]")).IsLoopback())
}

// hosts are the names, beside this host's own, that clients may use.
func (st *station) hosts() []string {
	u, err := url.Parse(st.settings.PublicURL)
	if err != nil || u.Host == "" {
		return nil
	}
	return []string{u.Host}
}
