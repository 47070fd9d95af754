package tools_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/tools"
)

func TestStoppingLetsCallsInFlightFinish(t *testing.T) {
	p := newPause()
	h := build(t, p.operation("list_pauses"))
	url := h.serve(t, tools.HTTPOptions{})
	own := session(t, url)
	answered := make(chan string, 1)
	go func() {
		answered <- post(t.Context(), url, request(7, "tools/call", `{"name":"list_pauses"}`), own).body
	}()
	ctx := <-p.begun
	stopped := make(chan error, 1)
	go func() { stopped <- h.server.Shutdown(t.Context()) }()
	require.Eventually(t, func() bool { // from then on nothing new is taken
		return post(t.Context(), url, request(8, "ping", `{}`), own).status == http.StatusServiceUnavailable
	}, 5*time.Second, time.Millisecond)
	require.NoError(t, ctx.Err())
	close(p.goOn)
	assert.Contains(t, <-answered, `"total":0`)
	assert.NoError(t, <-stopped)
	assert.NoError(t, h.server.Shutdown(t.Context()), "stopping twice is fine")
}

func TestStoppingCutsWaitingShort(t *testing.T) {
	p := newPause()
	h := build(t, p.operation("list_pauses"))
	url := h.serve(t, tools.HTTPOptions{})
	own := session(t, url)
	answered := make(chan string, 1)
	go func() {
		answered <- post(t.Context(), url, request(7, "tools/call", `{"name":"list_pauses"}`), own).body
	}()
	<-p.begun
	assert.NoError(t, h.server.Shutdown(t.Context()), "a call that waits does not keep the program")
	assert.Contains(t, <-answered, "unavailable", "and has an answer")
}

func TestStoppingHasAnEnd(t *testing.T) {
	p := newPause()
	h := build(t, p.operation("list_pauses"))
	url := h.serve(t, tools.HTTPOptions{})
	own := session(t, url)
	go post(t.Context(), url, request(7, "tools/call", `{"name":"list_pauses"}`), own)
	reading := <-p.begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, h.server.Shutdown(ctx), context.Canceled)
	<-reading.Done()
}

func TestStoppingEndsStreamsThatOnlyListen(t *testing.T) {
	h := build(t)
	url := h.serve(t, tools.HTTPOptions{})
	own := session(t, url)
	var all sync.WaitGroup
	open := make(chan struct{})
	all.Go(func() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		assert.NoError(t, err)
		req.Header.Set("Accept", "text/event-stream")
		req.Header.Set("Mcp-Session-Id", own["Mcp-Session-Id"])
		resp, err := http.DefaultClient.Do(req)
		if !assert.NoError(t, err) {
			close(open)
			return
		}
		defer resp.Body.Close()
		close(open)
		_, _ = resp.Body.Read(make([]byte, 1)) // until the server ends it
	})
	<-open
	require.NoError(t, h.server.Shutdown(t.Context()))
	all.Wait()
}
