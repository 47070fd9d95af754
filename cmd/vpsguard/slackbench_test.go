package main

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// burst is how many commands come at once.
const burst = 200

// rush starts a process, has VPS.org answer nothing any more, and has 20 people type
// 200 commands at once: reads, creates, restores and commands that open a form.
// early has VPS.org hang before the process even knows whose account it works on.
func rush(t testing.TB, early bool) (f *slackfake.Fake, outcomes []slackfake.Outcome) {
	t.Helper()
	w := newWorld(t, fast())
	w.env = append(w.env, "VPSGUARD_API_TIMEOUT=60s")
	f = w.withSlack(t, slackfake.Options{Limits: slackfake.NoLimits()})
	people := crowd(f, 20)
	if early {
		hang(w)
	}
	_, log := spawn(t, w.env, "serve")
	log.await(t, "serving MCP")
	require.NoError(t, f.AwaitSockets(t.Context(), 2))
	if !early {
		// It knows its account once it shows a card.
		asksFor(t, f, log)
		hang(w)
	}
	for _, d := range types(f, people) {
		outcomes = append(outcomes, d.Wait())
	}
	return f, outcomes
}

// types has people type 200 commands at once: reads, creates, restores and commands
// that open a form.
func types(f *slackfake.Fake, people []slackfake.Person) []*slackfake.Delivery {
	texts := []string{
		"snapshot list web-server-01", "snapshot create web-server-01 before-%d", "snapshot restore web-server-01 801 because of %d",
		"server list", "snapshot restore", "backup delete web-server-01 501 because of %d", "help", "snapshot create web-server-01",
		"request list", "backup create web-server-01",
	}
	sent := make([]*slackfake.Delivery, burst)
	for i := range sent {
		text := strings.ReplaceAll(texts[i%len(texts)], "%d", strconv.Itoa(i))
		sent[i] = people[(i/len(texts))%len(people)].Slash(slackfake.Ops, "/vps", text)
	}
	return sent
}

// TestNobodyWaitsForVPSOrg is the same by a clock that stands still while anything is
// done, so that what is waited for shows.
func TestNobodyWaitsForVPSOrg(t *testing.T) {
	t.Parallel()
	for name, early := range map[string]bool{"a process at work": false, "a process that has just started": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, false, 0, func(t *testing.T, c crew) {
				people := crowd(c.f, 20)
				if !early {
					asksFor(t, c.f, c.log)
				}
				c.vps.Inject(vpsfake.Fault{Name: vpsfake.Hang})
				for _, d := range types(c.f, people) {
					out := d.Wait()
					assert.True(t, out.Acked, d.What)
					assert.Less(t, out.Took, 500*time.Millisecond, d.What)
				}
				c.vps.Heal()
			})
		})
	}
}

// TestEverythingIsAcknowledgedWhileVPSOrgHangs holds the process to Slack's 3 s. How
// long it takes is measured by a benchmark.
func TestEverythingIsAcknowledgedWhileVPSOrgHangs(t *testing.T) {
	t.Parallel()
	for name, early := range map[string]bool{"a process at work": false, "a process that has just started": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, outcomes := rush(t, early)
			assert.Len(t, outcomes, burst)
			for _, out := range outcomes {
				assert.True(t, out.Acked, "%+v", out)
				assert.Empty(t, out.Error)
			}
			for _, v := range f.Violations() {
				assert.NotContains(t, []string{"no-ack", "late-ack"}, v.Rule, v)
			}
		})
	}
}

// BenchmarkAcknowledge measures how long 200 commands at once wait for their
// acknowledgement while each call to VPS.org hangs for a minute.
func BenchmarkAcknowledge(b *testing.B) {
	for name, early := range map[string]bool{"at work": false, "just started": true} {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				_, outcomes := rush(b, early)
				for _, out := range outcomes {
					took = append(took, out.Took)
				}
			}
			slices.Sort(took)
			at := func(share float64) float64 {
				return float64(took[min(len(took)-1, int(share*float64(len(took))))]) / float64(time.Millisecond)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(at(0.5), "p50-ms")
			b.ReportMetric(at(0.99), "p99-ms")
			b.ReportMetric(at(1), "max-ms")
		})
	}
}
