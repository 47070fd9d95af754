package ledger_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
	"github.com/vpsguard/vpsguard/policy/policytest"
)

// sizes are how many closed requests there are.
var sizes = []int{100, 10_000, 1_000_000}

// restores is a service whose one operation needs no network, so that what it
// takes is the ledger's.
func restores(t testing.TB, l *ledger.Ledger) *policy.Service {
	s, err := policy.NewService(policy.Config{
		Ledger: l, Account: func(context.Context) (policy.Account, error) { return policytest.Account, nil },
		Operations: []policy.Operation{{
			Descriptor: policy.Descriptor{
				Name: "restore_snapshot", Title: "Restore", Summary: "Put it back.", Effect: policy.Overwrite,
				Arguments: []policy.Argument{{Name: "server", Type: policy.Integer, Max: 1 << 30}, {Name: "reason", Type: policy.String, Max: 200}},
			},
			Plan: func(_ context.Context, in policy.PlanInput) (policy.Plan, error) {
				p := policytest.Plan(policytest.Server(in.Arguments.Number("server", 0)))
				p.SafetyCopy, p.Steps = policy.NoCopy, p.Steps[1:]
				return p, nil
			},
			Apply: func(context.Context, policy.Permit) (policy.Answer, error) {
				return policy.Answer{Done: true, Message: "Snapshot restore completed"}, nil
			},
			Look: func(context.Context, policy.Permit) (policy.Sight, error) {
				return policy.Sight{View: policy.Finished}, nil
			},
		}},
		Ways:   []policy.Way{policy.WaySlack},
		Vouch:  func(context.Context, policy.Way, policy.Actor, [][]string) ([]string, error) { return nil, nil },
		Random: func(b []byte) { _, _ = rand.Read(b) },

		ApproveWithin: 30 * time.Minute, StartWithin: 10 * time.Minute, CallTimeout: 30 * time.Second,
		PollEvery: 10 * time.Second, SettleWithin: 2 * time.Minute,
	})
	require.NoError(t, err)
	return s
}

// restore asks for a restore, agrees and starts it, which ends it too, and tells
// how long each took.
func restore(s *policy.Service, agent string, server int) (took [3]time.Duration, err error) {
	ctx := context.Background()
	began := time.Now()
	lap := func(i int) { took[i], began = time.Since(began), time.Now() }
	out, err := s.Call(ctx, policy.Call{
		Actor: policytest.Agent(agent), Operation: "restore_snapshot",
		Arguments: json.RawMessage(fmt.Sprintf(`{"server":%d,"reason":"roll back"}`, server)),
	})
	if err != nil {
		return took, err
	}
	lap(0)
	r := out.Standing.Request
	_, err = s.Decide(ctx, r.ID, policy.Verdict{
		By: policytest.Person("U1"), Way: policy.WaySlack, Digest: r.Plan.Digest, Typed: r.Plan.Server.Typed(),
	})
	if err != nil {
		return took, err
	}
	lap(1)
	left, err := s.Advance(ctx, r.ID)
	if err == nil && left != 0 {
		err = fmt.Errorf("%s did not end", r.ID)
	}
	lap(2)
	return took, err
}

// agents and servers are those that closed requests are of; the first two of either
// have most of them.
const agents, servers = 20, 20

func agentOf(i int) string { return "agent-" + strconv.Itoa(oneOf(i, agents)) }
func serverOf(i int) int   { return 1000 + oneOf(i, servers) }

func oneOf(i, n int) int {
	if i%5 > 0 {
		return i % 2
	}
	return 2 + i/5%(n-2)
}

// fill fills a ledger with requests that have ended, one a minute until an hour
// ago: copies of one that went all the way, so that they are as large as those are.
func fill(t testing.TB, l *ledger.Ledger, n int) {
	_, err := restore(restores(t, l), "agent-0", 1000)
	require.NoError(t, err)
	done, _, err := l.Requests(t.Context(), policy.Filter{})
	require.NoError(t, err)
	whole := done[0]
	const page = 20_000
	for from := 1; from < n; from += page {
		require.NoError(t, l.Change(t.Context(), func(ctx context.Context, tx policy.Tx) error {
			for i := from; i < min(n, from+page); i++ {
				r := whole
				r.ID, r.Rev, r.Actor, r.Begun = idOf(i), 0, policytest.Agent(agentOf(i)), int64(i)
				r.Plan.Server = policytest.Server(int64(serverOf(i)))
				r.Purpose, r.Aim = policy.RowHash("purpose"+strconv.Itoa(serverOf(i))), policy.RowHash("aim"+strconv.Itoa(serverOf(i)))
				if i%4 == 0 {
					r.State, r.Begun = []policy.State{policy.StateDenied, policy.StateExpired, policy.StateFailed, policy.StateCancelled}[i/4%4], 0
				}
				r.EndedAt = whole.EndedAt.Add(-time.Hour - time.Duration(n-i)*time.Minute)
				r.FiledAt = r.EndedAt.Add(-10 * time.Minute)
				if _, err := tx.Put(ctx, r, policy.RecordBody{Event: policy.EventDone, By: r.Actor, From: policy.StateRunning, To: r.State}); err != nil {
					return err
				}
			}
			return nil
		}))
	}
}

// idOf is the id of a request, in no order, as they are.
func idOf(i int) string {
	x, b := uint32(i)*0x9e3779b1, make([]byte, 6)
	for j := range b {
		b[j] = byte(x>>(5*j)) & 31
	}
	return "rq_" + policy.NewID(b)
}

// grown is a ledger with a number of closed requests.
type grown struct {
	closed int
	*ledger.Ledger
	*policy.Service
	took [3]time.Duration // of each of steps, all rounds together
}

// BenchmarkGrowth measures on ledgers of each size, turn by turn, so that what
// disturbs one disturbs the others, and then on the largest 16 at once and the
// audit's check. It takes six to ten minutes and 10 GB of temporary files.
func BenchmarkGrowth(b *testing.B) {
	var all []*grown
	ago := func() time.Time { return time.Now().Add(-time.Hour) } // so that a caller may ask again in the copy
	for _, n := range sizes {
		l := open(b, fresh(b), ago)
		fill(b, l, n)
		all = append(all, &grown{closed: n, Ledger: l, Service: restores(b, l)})
	}
	b.Run("SQLite", func(b *testing.B) { measure(b, all) })
	for _, g := range all {
		to := open(b, freshPostgres(b), time.Now)
		began := time.Now()
		_, err := ledger.Copy(b.Context(), g.Ledger, to, policytest.Person("U1"), nil)
		require.NoError(b, err)
		b.Logf("%d closed requests copied to PostgreSQL in %s", g.closed, time.Since(began))
		g.Ledger, g.Service = to, restores(b, to)
	}
	b.Run("PostgreSQL", func(b *testing.B) { measure(b, all) })
}

func measure(b *testing.B, all []*grown) {
	const rounds = 100 // more, and a caller would have filed more than they may
	for _, g := range all {
		g.took = [3]time.Duration{}
	}
	for round := range rounds {
		for i := range all {
			g := all[(i+round)%len(all)]
			took, err := restore(g.Service, agentOf(round), serverOf(round))
			require.NoError(b, err)
			for i, d := range took {
				g.took[i] += d
			}
		}
	}
	for i, step := range []string{"hold", "decide", "start"} {
		for _, g := range all {
			b.ReportMetric(float64(g.took[i].Microseconds())/rounds, fmt.Sprintf("%s-%d-µs", step, g.closed))
			b.ReportMetric(float64(g.took[i])/float64(all[0].took[i]), fmt.Sprintf("%s-%d-ratio", step, g.closed))
		}
	}
	large := all[len(all)-1]
	b.ReportMetric(atOnce(b, large.Service), "16-writers-requests/s")
	began := time.Now()
	v, err := large.Verify(b.Context(), nil)
	require.NoError(b, err)
	b.ReportMetric(float64(v.Records+int64(v.Requests))/time.Since(began).Seconds(), "verify-rows/s")
}

// atOnce has 16 ask, agree and start, each on a server of its own, and gives how
// many requests end in a second.
func atOnce(b *testing.B, s *policy.Service) float64 {
	const writers, each = 16, 40
	began := time.Now()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for range each {
				if _, err := restore(s, "writer-"+strconv.Itoa(w), 2000+w); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	return writers * each / time.Since(began).Seconds()
}
