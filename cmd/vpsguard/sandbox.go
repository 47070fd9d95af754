package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
)

const (
	sandboxLabel      = "sandbox"
	sandboxPassphrase = "sandbox"
	sandboxToken      = "sandbox"
	sandboxCreates    = 3 * time.Second
	sandboxRestores   = 5 * time.Second
)

// sandboxHonours are the variables that count in the sandbox. All others belong
// to the real world: its API, its database, its people.
var sandboxHonours = []string{
	"ADDR", "PUBLIC_URL", "READ_ONLY", "POLICY_FILE", "APPROVE_WITHIN", "START_WITHIN", "POLL_EVERY", "LOG_LEVEL", "LOG_FORMAT",
}

func (p *program) sandboxCommand() *cobra.Command {
	c := p.command("sandbox", "Try everything on a simulated VPS.org",
		"A VPS.org in memory with four servers, a ledger that is thrown away, and MCP over HTTP on\n"+
			"this host only. It needs no account, and of the variables only ADDR, PUBLIC_URL, READ_ONLY,\n"+
			"POLICY_FILE, APPROVE_WITHIN, START_WITHIN, POLL_EVERY and LOG_… count. The passphrase is:\n"+
			"sandbox. Ctrl+C ends it.",
		"  vpsguard sandbox\n  vpsguard requests --sandbox\n  claude mcp add vpsguard-sandbox -- vpsguard sandbox --stdio", noArguments)
	addr := c.Flags().String("addr", "", "listen on `HOST:PORT` instead of VPSGUARD_ADDR or 127.0.0.1:8080")
	stdio := c.Flags().Bool("stdio", false, "serve the client that starts this program, over standard input and output")
	c.RunE = func(c *cobra.Command, _ []string) error {
		s, err := p.sandboxEnvironment(c.Context())
		if err != nil {
			return err
		}
		if *addr != "" {
			if !isAddress(*addr) {
				return usagef("--addr must be a host and a port, such as 127.0.0.1:8080")
			}
			s.Addr = *addr
		}
		if !loopback(s.Addr) {
			return usagef("the sandbox is for this host only; use an address such as 127.0.0.1:8080")
		}
		return p.sandbox(c.Context(), s, *stdio)
	}
	return c
}

// sandboxEnvironment reads the variables that count, and refuses typing errors
// in all of them.
func (p *program) sandboxEnvironment(ctx context.Context) (settings, error) {
	var kept []string
	given := ours(p.Env)
	for name, value := range given {
		if key := strings.TrimPrefix(name, prefix); slices.Contains(sandboxHonours, key) {
			kept = append(kept, name+"="+value)
		}
	}
	if err := known(given); err != nil {
		return settings{}, err
	}
	for key, value := range map[string]string{"POLL_EVERY": "500ms", "LOG_LEVEL": "warn"} {
		if given[prefix+key] == "" {
			kept = append(kept, prefix+key+"="+value)
		}
	}
	return load(ctx, append(kept, prefix+"DATABASE=sqlite:unset", prefix+"API_TOKEN="+sandboxToken))
}

// sandbox runs until the context or the client ends.
func (p *program) sandbox(ctx context.Context, s settings, stdio bool) error {
	folder, err := os.MkdirTemp("", "vpsguard-sandbox-")
	if err != nil {
		return policy.Errorf(policy.Unavailable, "no temporary folder can be made for the sandbox").Because(err)
	}
	defer func() { _ = os.RemoveAll(folder) }() // what stays is the system's to clean
	s.Database = secret{"sqlite:" + filepath.Join(folder, "ledger.db")}
	world, err := p.simulate(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = world.Close() }()
	s.APIURL = "http://" + world.Addr + vpsfake.BasePath

	who := overLoopback
	if stdio {
		who = overStdio
	}
	st, err := p.station(ctx, s, sandboxLabel, who)
	if err != nil {
		return err
	}
	defer st.Close(ctx)
	known := make(chan error, 1)
	go func() { known <- st.knownPassphrase(ctx) }()
	forget, err := p.announce(sandboxState{
		PID: os.Getpid(), Started: p.Now().UTC(), Database: s.Database.Reveal(), APIURL: s.APIURL,
		PollEvery: s.PollEvery.String(), ReadOnly: s.ReadOnly, Policy: absolute(s.PolicyFile),
	})
	if err != nil {
		st.log.WarnContext(ctx, "requests --sandbox will not find this sandbox", "error", err)
	}
	defer forget()
	if stdio {
		p.banner(p.Stderr, "over this program's standard input and output", "claude mcp add sandbox -- "+p.self()+" sandbox --stdio")
		go func() {
			if err := <-known; err != nil && ctx.Err() == nil {
				st.log.WarnContext(ctx, "nobody can confirm in this sandbox", "error", err)
			}
		}()
		return p.serveStdio(ctx, st)
	}
	if err := <-known; err != nil {
		return err
	}
	listener, note, err := listenNear(ctx, s.Addr)
	if err != nil {
		return err
	}
	mcp := "http://" + listener.Addr().String() + "/mcp"
	p.banner(p.Stdout, mcp+note, "claude mcp add --transport http sandbox "+mcp)
	return p.serveHTTP(ctx, st, listener)
}

// absolute is a path for commands that run in another folder.
func absolute(path string) string {
	if whole, err := filepath.Abs(path); path != "" && err == nil {
		return whole
	}
	return path
}

// simulate serves a VPS.org that lives in memory.
func (p *program) simulate(ctx context.Context) (*http.Server, error) {
	listener, err := listen(ctx, "127.0.0.1:0", false)
	if err != nil {
		return nil, err
	}
	fake := vpsfake.New(vpsfake.Options{
		Now: p.Now, Token: sandboxToken, Demo: true, CreateTakes: sandboxCreates, RestoreTakes: sandboxRestores,
	})
	world := &http.Server{Addr: listener.Addr().String(), Handler: fake, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = world.Serve(listener) }() // ends with Close
	return world, nil
}

// knownPassphrase sets the sandbox's passphrase. It is shorter than a real one
// may be, and hashed cheaply: everybody knows it.
func (st *station) knownPassphrase(ctx context.Context) error {
	hash, err := forSandbox.Hash(sandboxPassphrase)
	if err != nil {
		return err
	}
	return st.ledger.Change(ctx, func(ctx context.Context, tx policy.Tx) error {
		return tx.PutSetting(ctx, "passphrase", hash, policy.RecordBody{
			Event: policy.EventPassphraseSet, By: policy.Actor{Subject: sandboxLabel, Name: sandboxLabel, Vouched: "itself"},
		})
	})
}

// listenNear takes another port where the wanted one is taken, and says so.
func listenNear(ctx context.Context, address string) (net.Listener, string, error) {
	listener, err := listen(ctx, address, false)
	if err == nil {
		return listener, "", nil
	}
	var wrong *usageError
	if errors.As(err, &wrong) {
		return nil, "", err
	}
	host, _, _ := net.SplitHostPort(address) // was checked
	listener, err = listen(ctx, net.JoinHostPort(host, "0"), false)
	return listener, " (" + address + " is taken)", err
}

// banner says in five lines what this is, where MCP is, and three commands to try.
func (p *program) banner(w io.Writer, mcp, connect string) {
	self := p.self()
	_, _ = fmt.Fprintf(w, `vpsguard sandbox: a simulated VPS.org and a throwaway ledger, nothing real; the passphrase is: %s
MCP: %s
  %s  # connect a client, then ask it to restore snapshot 801 over web-server-01
  %s  # see what waits for a person, and decide
  %s  # check the record of who agreed to what
`, sandboxPassphrase, mcp, connect, self+" requests --sandbox", self+" audit verify --sandbox")
}

// self is how this program was started, as people would type it.
func (p *program) self() string {
	path := p.Args[0]
	if strings.Contains(path, "go-build") {
		return "go run ./cmd/vpsguard"
	}
	name := filepath.Base(path)
	if found, err := exec.LookPath(name); err == nil && (path == name || found == path) {
		return name
	}
	return path
}
