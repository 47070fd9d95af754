package apiclient_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
)

// gate holds every GET until it is opened, and counts.
type gate struct {
	next http.Handler
	open chan struct{}
	gets atomic.Int64
	gone atomic.Int64
}

func newGate(next http.Handler) *gate { return &gate{next: next, open: make(chan struct{})} }

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		g.gets.Add(1)
		select {
		case <-g.open:
		case <-r.Context().Done():
			g.gone.Add(1)
			return
		}
	}
	g.next.ServeHTTP(w, r)
}

func TestIdenticalReadsInFlightShareOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(newFake(vpsfake.Options{Now: time.Now}))
		c := inMemory(t, g, apiclient.Options{})
		lists := make([][]apiclient.Snapshot, 20)
		var wg sync.WaitGroup
		for i := range lists {
			wg.Go(func() {
				var err error
				lists[i], err = c.Snapshots(t.Context(), 12345)
				assert.NoError(t, err)
			})
		}
		wg.Go(func() { _, err := c.Snapshots(t.Context(), 0); assert.NoError(t, err) })
		synctest.Wait()
		assert.EqualValues(t, 2, g.gets.Load(), "another query is another read")
		close(g.open)
		wg.Wait()
		assert.EqualValues(t, 2, g.gets.Load())

		*lists[0][0].SizeMB, lists[0][0].Name = 1, "changed"
		assert.EqualValues(t, 5120, *lists[1][0].SizeMB, "each caller owns its list")
		assert.Equal(t, "pre-migration-snapshot", lists[1][0].Name)

		_, err := c.Snapshots(t.Context(), 12345)
		require.NoError(t, err)
		assert.EqualValues(t, 3, g.gets.Load(), "a read that has landed is not kept")
	})
}

func TestFreshReadsAreNeverShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(newFake(vpsfake.Options{Now: time.Now}))
		c := inMemory(t, g, apiclient.Options{})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				_, err := c.Backups(apiclient.Fresh(t.Context()), apiclient.BackupFilter{})
				assert.NoError(t, err)
			})
		}
		wg.Go(func() { _, err := c.Backups(t.Context(), apiclient.BackupFilter{}); assert.NoError(t, err) })
		synctest.Wait()
		assert.EqualValues(t, 5, g.gets.Load())
		close(g.open)
		wg.Wait()
	})
}

func TestACallerThatGivesUpLeavesTheOthersTheirAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(newFake(vpsfake.Options{Now: time.Now}))
		c := inMemory(t, g, apiclient.Options{})
		impatient, cancel := context.WithCancel(t.Context())
		var first, second error
		var wg sync.WaitGroup
		wg.Go(func() { _, first = c.Account(impatient) })
		synctest.Wait()
		wg.Go(func() { _, second = c.Account(t.Context()) })
		synctest.Wait()
		cancel()
		synctest.Wait()
		assert.ErrorIs(t, first, context.Canceled, "it need not wait for the others")
		assert.Equal(t, apiclient.Unavailable, apiclient.KindOf(first))
		close(g.open)
		wg.Wait()
		assert.NoError(t, second)
		assert.EqualValues(t, 1, g.gets.Load())
		assert.Zero(t, g.gone.Load())
	})
}

func TestTheLastCallerThatGivesUpEndsTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(newFake(vpsfake.Options{Now: time.Now}))
		c := inMemory(t, g, apiclient.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { _, err := c.Account(ctx); assert.ErrorIs(t, err, context.Canceled) })
		}
		synctest.Wait()
		cancel()
		wg.Wait()
		synctest.Wait()
		assert.EqualValues(t, 1, g.gone.Load(), "cancelling reaches the API")

		close(g.open)
		_, err := c.Account(t.Context())
		assert.NoError(t, err, "the next one starts anew")
	})
}

func TestAReadAfterAWriteDoesNotJoinOneFromBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(newFake(vpsfake.Options{Now: time.Now}))
		c := inMemory(t, g, apiclient.Options{})
		var wg sync.WaitGroup
		wg.Go(func() { _, err := c.Snapshots(t.Context(), 0); assert.NoError(t, err) })
		synctest.Wait()
		require.NoError(t, c.DeleteSnapshot(t.Context(), 801))
		wg.Go(func() {
			got, err := c.Snapshots(t.Context(), 0)
			assert.NoError(t, err)
			assert.Len(t, got, 1)
		})
		synctest.Wait()
		assert.EqualValues(t, 2, g.gets.Load())
		close(g.open)
		wg.Wait()
	})
}

func TestManyCallersAtOnce(t *testing.T) {
	fake := newFake(vpsfake.Options{Demo: true})
	c := serve(t, fake, apiclient.Options{})
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if i%8 == 0 {
				go cancel()
			}
			if i%3 == 0 {
				ctx = apiclient.Fresh(ctx)
			}
			for _, call := range calls {
				_ = call.do(ctx, c)
			}
		})
	}
	wg.Wait()
	got, err := c.Backups(t.Context(), apiclient.BackupFilter{ServerID: 12346})
	require.NoError(t, err)
	assert.Len(t, got, 9)
}
