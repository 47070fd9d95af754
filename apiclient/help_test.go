package apiclient_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
)

const token = "vps_s3cr3t+/T0ken=with.all~kinds"

// serve answers over real HTTP and returns a client with quick back-off.
func serve(t testing.TB, h http.Handler, o apiclient.Options) *apiclient.Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return connect(t, server.URL+vpsfake.BasePath, o)
}

func connect(t testing.TB, base string, o apiclient.Options) *apiclient.Client {
	t.Helper()
	if o.Backoff == 0 {
		o.Backoff = time.Millisecond
	}
	c, err := apiclient.New(base, token, o)
	require.NoError(t, err)
	return c
}

// inMemory serves h on pipes, so that it works inside a synctest bubble.
func inMemory(t testing.TB, h http.Handler, o apiclient.Options) *apiclient.Client {
	t.Helper()
	l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Hour}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	transport := &http.Transport{DialContext: l.dial}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		<-done
	})
	o.Transport = transport
	c, err := apiclient.New("http://localhost/api/v1", token, o)
	require.NoError(t, err)
	return c
}

type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// fixed answers everything with one status and body.
func fixed(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

func golden(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return string(b)
}

func newFake(o vpsfake.Options) *vpsfake.Fake {
	o.Token = token
	return vpsfake.New(o)
}

// call is one method of the client with good arguments for the seeds.
type call struct {
	name   string
	effect vpsfake.Effect // "" for a read
	path   string         // of a read, below the base
	do     func(context.Context, *apiclient.Client) error
}

var calls = []call{
	{"CreateSnapshot", vpsfake.Create, "", func(ctx context.Context, c *apiclient.Client) error {
		_, err := c.CreateSnapshot(ctx, apiclient.NewSnapshot{ServerID: 12345, Name: "before-update"})
		return err
	}},
	{"RestoreSnapshot", vpsfake.Overwrite, "", func(ctx context.Context, c *apiclient.Client) error {
		_, err := c.RestoreSnapshot(ctx, 801)
		return err
	}},
	{"DeleteSnapshot", vpsfake.Delete, "", func(ctx context.Context, c *apiclient.Client) error {
		return c.DeleteSnapshot(ctx, 801)
	}},
	{"CreateBackup", vpsfake.Create, "", func(ctx context.Context, c *apiclient.Client) error {
		_, err := c.CreateBackup(ctx, apiclient.NewBackup{ServerID: 12345})
		return err
	}},
	{"RestoreBackup", vpsfake.Overwrite, "", func(ctx context.Context, c *apiclient.Client) error {
		_, err := c.RestoreBackup(ctx, 12345, 501)
		return err
	}},
	{"DeleteBackup", vpsfake.Delete, "", func(ctx context.Context, c *apiclient.Client) error {
		return c.DeleteBackup(ctx, 501)
	}},
	{"Account", "", "/account/me/", func(ctx context.Context, c *apiclient.Client) error {
		_, err := c.Account(ctx)
		return err
	}},
	{"Servers", "", "/servers/", func(ctx context.Context, c *apiclient.Client) error {
		_, err := c.Servers(ctx, apiclient.ServerFilter{})
		return err
	}},
	{"Snapshots", "", "/snapshots/", func(ctx context.Context, c *apiclient.Client) error {
		_, err := c.Snapshots(ctx, 12345)
		return err
	}},
	{"Backups", "", "/backups/", func(ctx context.Context, c *apiclient.Client) error {
		_, err := c.Backups(ctx, apiclient.BackupFilter{ServerID: 12345})
		return err
	}},
}
