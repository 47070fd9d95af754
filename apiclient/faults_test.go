package apiclient_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
)

// Every fault meets every call. Of a write each row says how often it may leave
// and what may be concluded; of a read, the same.
func TestEveryFaultMeetsEveryCall(t *testing.T) {
	type expectation struct {
		kind apiclient.Kind
		sent int
	}
	const fine = apiclient.Kind("")
	rows := []struct {
		faults      []string
		write, read expectation
		reason      string
	}{
		{
			[]string{vpsfake.Error500, vpsfake.Error500Acted},
			expectation{apiclient.Uncertain, 1},
			expectation{apiclient.Unavailable, 3},
			"a 5xx may come after the deed",
		},
		{
			[]string{vpsfake.Reset, vpsfake.ResetActed},
			expectation{apiclient.Uncertain, 1},
			expectation{apiclient.Unavailable, 3},
			"the connection was there, so the request may have been too",
		},
		{
			[]string{vpsfake.Hang, vpsfake.HangActed},
			expectation{apiclient.Uncertain, 1},
			expectation{apiclient.Unavailable, 1},
			"the deadline is spent on the first try",
		},
		{
			[]string{vpsfake.Slow},
			expectation{apiclient.Uncertain, 1},
			expectation{apiclient.Unavailable, 1},
			"an answer after the deadline is no answer",
		},
		{
			[]string{vpsfake.CutJSON, vpsfake.CutJSONActed},
			expectation{apiclient.Uncertain, 1},
			expectation{apiclient.Malformed, 3},
			"half an answer is none",
		},
		{
			[]string{vpsfake.CutBody, vpsfake.CutBodyActed},
			expectation{apiclient.Uncertain, 1},
			expectation{apiclient.Unavailable, 3},
			"the connection broke, which is not the content's fault",
		},
		{
			[]string{vpsfake.HTML, vpsfake.HTMLActed},
			expectation{apiclient.Uncertain, 1},
			expectation{apiclient.Malformed, 3},
			"a 200 from a login page says nothing",
		},
		{
			[]string{vpsfake.Empty, vpsfake.EmptyActed},
			expectation{apiclient.Uncertain, 1},
			expectation{apiclient.Malformed, 3},
			"only a delete has nothing to say, and says it with 204",
		},
		{
			[]string{vpsfake.Foreign, vpsfake.ForeignActed},
			expectation{apiclient.Uncertain, 1},
			expectation{apiclient.Malformed, 1},
			"whole JSON that is not the answer will not become it by asking again",
		},
		{
			[]string{vpsfake.Redirected, vpsfake.RedirectActed},
			expectation{apiclient.Uncertain, 1},
			expectation{apiclient.Malformed, 1},
			"some frameworks redirect after acting",
		},
		{
			[]string{vpsfake.HugeError},
			expectation{apiclient.Uncertain, 1},
			expectation{apiclient.Unavailable, 3},
			"a 5xx, however long",
		},
		{
			[]string{vpsfake.RateLimited},
			expectation{apiclient.RateLimited, 3},
			expectation{apiclient.RateLimited, 3},
			"turned away is the one answer after which a write may leave again",
		},
		{[]string{vpsfake.Unauthorized}, expectation{apiclient.Unauthorized, 1}, expectation{apiclient.Unauthorized, 1}, "a definite refusal"},
		{[]string{vpsfake.Forbidden}, expectation{apiclient.Forbidden, 1}, expectation{apiclient.Forbidden, 1}, "a definite refusal"},
		{[]string{vpsfake.NotFound}, expectation{apiclient.NotFound, 1}, expectation{apiclient.NotFound, 1}, "a definite refusal"},
		{[]string{vpsfake.Conflict}, expectation{apiclient.Conflict, 1}, expectation{apiclient.Conflict, 1}, "a definite refusal"},
		{[]string{vpsfake.EchoToken}, expectation{apiclient.Invalid, 1}, expectation{apiclient.Invalid, 1}, "a definite refusal"},
		{
			[]string{vpsfake.CreateVanishes, vpsfake.CreateFails, vpsfake.CreateSticks, vpsfake.RestoreVanishes, vpsfake.RestoreSticks},
			expectation{fine, 1},
			expectation{fine, 1},
			"what comes of it later is not in the answer",
		},
	}
	covered := map[string]bool{}
	for _, row := range rows {
		for _, fault := range row.faults {
			covered[fault] = true
			for _, call := range calls {
				t.Run(fault+" "+call.name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						fake := newFake(vpsfake.Options{Now: time.Now})
						fake.Inject(vpsfake.Fault{Name: fault, Delay: time.Hour})
						c := inMemory(t, fake, apiclient.Options{})
						start := time.Now()
						err := call.do(t.Context(), c)
						assert.LessOrEqual(t, time.Since(start), 30*time.Second, "every call ends")

						want, sent := row.read, fake.Reads(call.path)
						if call.effect != "" {
							want, sent = row.write, fake.Sent(call.effect)
							if call.name == "RestoreBackup" && (strings.HasPrefix(fault, vpsfake.Empty) || strings.HasPrefix(fault, vpsfake.Foreign)) {
								want.kind = fine // its answer is not documented
							}
							if strings.HasSuffix(fault, "-acted") {
								assert.Equal(t, 1, fake.Count(call.effect), "the fake did act")
							}
						}
						assert.Equal(t, want.kind, apiclient.KindOf(err), "%s: %v", row.reason, err)
						assert.Equal(t, want.kind == fine, err == nil)
						assert.Equal(t, want.sent, sent, row.reason)
						if err != nil && strings.HasPrefix(fault, vpsfake.HTML) {
							assert.ErrorContains(t, err, "an HTML page instead of JSON")
						}
						if err != nil {
							assert.NotContains(t, err.Error(), token)
							assert.LessOrEqual(t, len([]rune(err.Error())), 450)
						}
					})
				})
			}
		}
	}
	for _, name := range vpsfake.FaultNames() {
		assert.True(t, covered[name], "no row for %s", name)
	}
}

// Statuses that no fault has a name for.
func TestStatusesAreNamedByWhatMayHaveHappened(t *testing.T) {
	for _, row := range []struct {
		status      int
		write, read apiclient.Kind
		reason      string
	}{
		{202, apiclient.Uncertain, apiclient.Malformed, "accepted is not documented where a 201 or 204 is"},
		{206, apiclient.Uncertain, apiclient.Malformed, "a part of an answer"},
		{304, apiclient.Uncertain, apiclient.Malformed, "nobody asked whether it changed"},
		{307, apiclient.Uncertain, apiclient.Malformed, "redirects are refused, also those that keep the method"},
		{400, apiclient.Invalid, apiclient.Invalid, "documented: bad parameters, limits, invalid state"},
		{402, apiclient.Invalid, apiclient.Invalid, "another definite refusal"},
		{408, apiclient.Uncertain, apiclient.Unavailable, "a proxy's: the request may have been passed on"},
		{410, apiclient.NotFound, apiclient.NotFound, "gone is not there"},
		{418, apiclient.Invalid, apiclient.Invalid, "another definite refusal"},
		{422, apiclient.Invalid, apiclient.Invalid, "the other code for bad parameters"},
		{425, apiclient.Uncertain, apiclient.Unavailable, "too early, says something in between"},
		{499, apiclient.Uncertain, apiclient.Unavailable, "a proxy thought that we had gone"},
		{502, apiclient.Uncertain, apiclient.Unavailable, "the gateway lost the answer, not the request"},
		{503, apiclient.Uncertain, apiclient.Unavailable, "it may be said after the deed"},
		{599, apiclient.Uncertain, apiclient.Unavailable, "any 5xx"},
	} {
		c := serve(t, fixed(row.status, `{"detail":"so it is"}`), apiclient.Options{})
		for _, call := range calls {
			want := row.read
			if call.effect != "" {
				want = row.write
			}
			if call.name == "RestoreBackup" && row.status < 300 {
				want = ""
			}
			err := call.do(t.Context(), c)
			assert.Equal(t, want, apiclient.KindOf(err), "%d %s: %s", row.status, call.name, row.reason)
		}
	}
}
