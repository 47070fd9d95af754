package apiclient_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
)

// wire counts requests below net/http. It answers the first request of a
// connection and keeps that open; a second one is read and left without an
// answer, which is the sequence on which net/http repeats requests by itself.
// Writes are not even answered first if deaf is set.
type wire struct {
	net.Listener
	reads, writes, conns atomic.Int64
	deaf                 bool
}

func newWire(t *testing.T, deaf bool) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := &wire{Listener: l, deaf: deaf}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			w.conns.Add(1)
			go w.talk(conn)
		}
	}()
	return w
}

func (w *wire) talk(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	in := bufio.NewReader(conn)
	for n := 0; ; n++ {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Method == http.MethodGet {
			w.reads.Add(1)
		} else {
			w.writes.Add(1)
		}
		if n > 0 || w.deaf && r.Method != http.MethodGet {
			return
		}
		if r.Method != http.MethodGet {
			_, _ = fmt.Fprint(conn, "HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n")
			continue
		}
		const answer = `{"count":0,"results":[]}`
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer)
	}
}

func TestAWriteLeavesOnceWhateverBecomesOfTheConnection(t *testing.T) {
	for _, call := range calls {
		if call.effect == "" {
			continue
		}
		for _, transport := range []http.RoundTripper{nil, &http.Transport{}} {
			w := newWire(t, true)
			c := connect(t, "http://"+w.Addr().String()+vpsfake.BasePath, apiclient.Options{Transport: transport})
			_, err := c.Snapshots(t.Context(), 0)
			require.NoError(t, err, "a read leaves a kept connection behind")
			err = call.do(t.Context(), c)
			assert.Equal(t, apiclient.Uncertain, apiclient.KindOf(err), "%s: %v", call.name, err)
			assert.EqualValues(t, 1, w.writes.Load(), "%s was repeated", call.name)
			assert.EqualValues(t, 2, w.conns.Load(), "%s took the read's connection", call.name)
		}
	}
}

func TestNoWriteTakesAConnectionThatWasUsedBefore(t *testing.T) {
	w := newWire(t, false)
	c := connect(t, "http://"+w.Addr().String()+vpsfake.BasePath, apiclient.Options{})
	writes := int64(0)
	for _, call := range calls {
		if call.effect != "" {
			for range 2 {
				writes++
				assert.Equal(t, apiclient.Conflict, apiclient.KindOf(call.do(t.Context(), c)), call.name)
			}
		}
	}
	assert.Equal(t, writes, w.writes.Load())
	assert.Equal(t, writes, w.conns.Load())
}

func TestWritesSpeakHTTP1WhereReadsSpeakHTTP2(t *testing.T) {
	var protos []string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protos = append(protos, r.Method+" "+r.Proto)
		fixed(200, "[]")(w, r)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	c := connect(t, server.URL, apiclient.Options{Transport: server.Client().Transport})
	_, err := c.Snapshots(t.Context(), 0)
	require.NoError(t, err)
	require.Error(t, c.DeleteSnapshot(t.Context(), 801))
	assert.Equal(t, []string{"GET HTTP/2.0", "DELETE HTTP/1.1"}, protos, "HTTP/2 repeats refused streams by itself")
}

// A RoundTripper whose every try fails the same way.
type failing struct {
	tries atomic.Int64
	err   error
}

func (f *failing) RoundTrip(*http.Request) (*http.Response, error) {
	f.tries.Add(1)
	return nil, f.err
}

func TestOnlyADialErrorProvesThatAWriteNeverLeft(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: io.EOF}
	for _, row := range []struct {
		name  string
		err   error
		kind  apiclient.Kind
		tries int64
	}{
		{"a dial error is tried again", refused, apiclient.Unavailable, 3},
		{"an error while writing is not", &net.OpError{Op: "write", Net: "tcp", Err: io.EOF}, apiclient.Uncertain, 1},
		{"an error of an unknown kind is not", io.ErrUnexpectedEOF, apiclient.Uncertain, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, call := range calls {
				if call.effect == "" {
					continue
				}
				f := &failing{err: row.err}
				c := connect(t, "http://localhost/api/v1", apiclient.Options{Transport: f})
				assert.Equal(t, row.kind, apiclient.KindOf(call.do(t.Context(), c)), call.name)
				assert.Equal(t, row.tries, f.tries.Load(), call.name)
			}
		})
	}
}

func TestAWriteToAClosedPortIsUnavailableAndDialsThreeTimes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	dials := 0
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		dials++
		return new(net.Dialer).DialContext(ctx, network, l.Addr().String())
	}}
	c := connect(t, "http://localhost/api/v1", apiclient.Options{Transport: transport})
	err = c.DeleteSnapshot(t.Context(), 801)
	assert.Equal(t, apiclient.Unavailable, apiclient.KindOf(err), "%v", err)
	assert.Equal(t, 3, dials)
}

func TestATLSHandshakeThatFailsSendsNothing(t *testing.T) {
	served := atomic.Int64{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	c := connect(t, server.URL, apiclient.Options{}) // does not trust the certificate
	assert.Equal(t, apiclient.Unavailable, apiclient.KindOf(c.DeleteSnapshot(t.Context(), 801)))
	assert.Zero(t, served.Load())

	fake := newFake(vpsfake.Options{})
	trusting := httptest.NewTLSServer(fake)
	t.Cleanup(trusting.Close)
	c = connect(t, trusting.URL+vpsfake.BasePath, apiclient.Options{Transport: trusting.Client().Transport})
	require.NoError(t, c.DeleteSnapshot(t.Context(), 801), "one that succeeds does")
	fake.Inject(vpsfake.Fault{Name: vpsfake.ResetActed})
	assert.Equal(t, apiclient.Uncertain, apiclient.KindOf(c.DeleteSnapshot(t.Context(), 798)))
	assert.Equal(t, 2, fake.Sent(vpsfake.Delete))
	assert.False(t, fake.HasSnapshot(798))
}

func TestCancellingAWriteIsHarmlessOnlyBeforeItLeaves(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	fake := newFake(vpsfake.Options{OnMutation: func(vpsfake.Mutation) { cancel() }})
	fake.Inject(vpsfake.Fault{Name: vpsfake.Hang})
	c := serve(t, fake, apiclient.Options{})
	_, err := c.RestoreSnapshot(ctx, 801)
	assert.Equal(t, apiclient.Uncertain, apiclient.KindOf(err), "it had arrived")
	assert.ErrorIs(t, err, context.Canceled)

	_, err = c.RestoreSnapshot(ctx, 801)
	assert.Equal(t, apiclient.Unavailable, apiclient.KindOf(err), "it was never sent")
	assert.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, 1, fake.Sent(vpsfake.Overwrite))

	// While the connection is still being made, nothing has left either.
	ctx, cancel = context.WithCancel(t.Context())
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	c = connect(t, "http://localhost/api/v1", apiclient.Options{Transport: transport})
	_, err = c.RestoreSnapshot(ctx, 801)
	assert.Equal(t, apiclient.Unavailable, apiclient.KindOf(err), "it had no connection")
	assert.ErrorIs(t, err, context.Canceled)
}

func TestAnUnfollowedRedirectCarriesTheTokenNowhere(t *testing.T) {
	elsewhere := atomic.Int64{}
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		fake := newFake(vpsfake.Options{})
		fake.Inject(vpsfake.Fault{Name: vpsfake.Redirected, Status: status, Location: other.URL + "/" + token})
		c := serve(t, fake, apiclient.Options{})
		for _, call := range calls {
			err := call.do(t.Context(), c)
			require.Error(t, err)
			assert.NotContains(t, err.Error(), token)
		}
		assert.Equal(t, 1, fake.Reads("/servers/"))
	}
	assert.Zero(t, elsewhere.Load())
}
