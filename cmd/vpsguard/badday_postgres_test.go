package main

import (
	"context"
	"math/rand/v2"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy/ledger/pgtest"
)

func TestABadDayOfThreeReplicasOnPostgreSQL(t *testing.T) {
	t.Parallel()
	w := newWorld(t, vpsfake.Options{})
	n := dayRequests(t, 20)
	w.badDay(t, dayPlan{
		requests: n, replicas: 3, kills: min(n/5, 60+n/20), every: calm(n, 1500*time.Millisecond), late: 2 * time.Minute,
		database: onPostgres(t, 3, calm(n, 5*time.Second)),
	})
}

// onPostgres is a server of the test's own, which every replica reaches over a line
// that can be cut.
func onPostgres(t *testing.T, replicas int, harmed time.Duration) database {
	t.Helper()
	server := pgtest.Start(t)
	direct := server.Database(t)
	lines := make([]*cable, replicas)
	for i := range lines {
		lines[i] = newCable(t, server.Address())
	}
	return database{
		url: direct, harmed: harmed,
		of: func(i int) string {
			u, err := url.Parse(direct)
			require.NoError(t, err)
			u.Host = lines[i].Addr().String()
			return u.String()
		},
		harm: func(ctx context.Context, dice *rand.Rand) string {
			line := lines[dice.IntN(replicas)]
			lasts := 200*time.Millisecond + time.Duration(dice.Int64N(int64(2*time.Second)))
			switch n := dice.IntN(10); {
			case n < 3:
				server.Stop(t, "immediate")
				pause(ctx, lasts/2)
				server.Run(t)
				return "stopped as by a power cut, and started"
			case n < 7:
				line.cut(true)
				pause(ctx, lasts)
				line.cut(false)
				return "a replica cut off"
			default:
				line.halt()
				pause(ctx, lasts)
				line.goOn()
				return "a replica's line halted"
			}
		},
	}
}

// cable is a line to a server that can be cut, and halted.
type cable struct {
	net.Listener
	to string

	mu    sync.Mutex
	ends  map[net.Conn]bool
	isCut bool
	moves chan struct{} // closed while bytes move
}

func newCable(t *testing.T, to string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &cable{Listener: l, to: to, ends: map[net.Conn]bool{}, moves: make(chan struct{})}
	close(c.moves)
	t.Cleanup(func() { _ = l.Close(); c.cut(true) })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go c.carry(near)
		}
	}()
	return c
}

// carry carries bytes both ways until one end closes.
func (c *cable) carry(near net.Conn) {
	defer func() { _ = near.Close() }()
	if !c.plug(near) {
		return
	}
	defer c.pull(near)
	far, err := net.Dial("tcp", c.to)
	if err != nil {
		return
	}
	defer func() { _ = far.Close() }()
	if !c.plug(far) {
		return
	}
	defer c.pull(far)
	done := make(chan struct{}, 2)
	pump := func(to, from net.Conn) {
		defer func() { done <- struct{}{} }()
		b := make([]byte, 32<<10)
		for {
			n, err := from.Read(b)
			c.mu.Lock()
			moves := c.moves
			c.mu.Unlock()
			<-moves
			if n > 0 {
				if _, err := to.Write(b[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
	go pump(far, near)
	go pump(near, far)
	<-done
}

func (c *cable) plug(end net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isCut {
		return false
	}
	c.ends[end] = true
	return true
}

func (c *cable) pull(end net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.ends, end)
}

// cut ends all connections and takes no more, or takes them again.
func (c *cable) cut(yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.isCut = yes
	for end := range c.ends {
		if yes {
			_ = end.Close()
		}
	}
}

// halt keeps what is on its way until goOn.
func (c *cable) halt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moves = make(chan struct{})
}

func (c *cable) goOn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.moves)
}
