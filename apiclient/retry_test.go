package apiclient_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
)

func TestRetryAfterIsObeyedUpToTheDeadline(t *testing.T) {
	const date = "Mon, 02 Jan 2006 15:04:05 GMT"
	for _, row := range []struct {
		name, retryAfter, date string
		timeout                time.Duration
		waits                  time.Duration // exactly; 0: between the back-off's bounds
		sent                   int
		reported               time.Duration
		reason                 string
	}{
		{"seconds are waited for", "7", "", 0, 14 * time.Second, 3, 7 * time.Second, "two pauses"},
		{
			"a date is read against the answer's own", "Mon, 02 Jan 2006 15:04:13 GMT", date, 0, 16 * time.Second, 3, 8 * time.Second,
			"the clocks of the two ends need not agree",
		},
		{"a date gone by asks for nothing", "Mon, 02 Jan 2006 15:04:00 GMT", date, 0, 0, 3, 0, "the usual back-off"},
		{"zero is the usual back-off", "0", "", 0, 0, 3, 0, "no hammering"},
		{"nonsense is the usual back-off", "soon", "", 0, 0, 3, 0, "not documented, so anything may come"},
		{"a negative number is the usual back-off", "-5", "", 0, 0, 3, 0, "not documented, so anything may come"},
		{"longer than the deadline is not waited for", "60", "", 0, -1, 1, time.Minute, "the caller hears at once how long"},
		{"the second pause does not fit", "7", "", 10 * time.Second, 7 * time.Second, 2, 7 * time.Second, "14 s are more than 10"},
		{"a huge number is believed up to a day", "99999999999", "", 0, -1, 1, 24 * time.Hour, "nor overflows"},
	} {
		for _, call := range calls {
			t.Run(row.name+" by "+call.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sent := 0
					c := inMemory(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						sent++
						w.Header().Set("Retry-After", row.retryAfter)
						if row.date != "" {
							w.Header().Set("Date", row.date)
						}
						w.WriteHeader(http.StatusTooManyRequests)
					}), apiclient.Options{Timeout: row.timeout})
					start := time.Now()
					err := call.do(t.Context(), c)
					took := time.Since(start)
					var e *apiclient.Error
					require.ErrorAs(t, err, &e)
					assert.Equal(t, apiclient.RateLimited, e.Kind)
					assert.Equal(t, row.reported, e.RetryAfter)
					assert.Equal(t, row.sent, sent, row.reason)
					switch row.waits {
					case -1:
						assert.Zero(t, took, row.reason)
					case 0:
						assert.GreaterOrEqual(t, took, 300*time.Millisecond, "200 and 400 ms, less half")
						assert.LessOrEqual(t, took, 900*time.Millisecond, "200 and 400 ms, and half as much")
					default:
						assert.Equal(t, row.waits, took, row.reason)
					}
				})
			})
		}
	}
}

func TestTheClockDatesARetryAfterWhenTheAnswerDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inMemory(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Date"] = nil
			w.Header().Set("Retry-After", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
			w.WriteHeader(http.StatusTooManyRequests)
		}), apiclient.Options{Now: time.Now})
		var e *apiclient.Error
		require.ErrorAs(t, c.DeleteBackup(t.Context(), 1), &e)
		assert.Equal(t, time.Hour, e.RetryAfter)
	})
}

func TestAReadRecoversFromTwoFailures(t *testing.T) {
	for _, fault := range []string{
		vpsfake.Error500, vpsfake.Reset, vpsfake.RateLimited, vpsfake.CutJSON, vpsfake.CutBody, vpsfake.HTML, vpsfake.Empty,
	} {
		fake := newFake(vpsfake.Options{})
		fake.Inject(vpsfake.Fault{Name: fault, Times: 2})
		c := serve(t, fake, apiclient.Options{})
		got, err := c.Snapshots(t.Context(), 12345)
		require.NoError(t, err, fault)
		assert.Len(t, got, 2)
		assert.Equal(t, 3, fake.Reads("/snapshots/"))
	}
}

func TestAWriteThatWasTurnedAwayTwiceIsCarriedOutOnce(t *testing.T) {
	fake := newFake(vpsfake.Options{})
	fake.Inject(vpsfake.Fault{Name: vpsfake.RateLimited, Times: 2})
	c := serve(t, fake, apiclient.Options{})
	s, err := c.CreateSnapshot(t.Context(), apiclient.NewSnapshot{ServerID: 12345, Name: "n", Description: "d"})
	require.NoError(t, err)
	assert.EqualValues(t, 802, s.ID)
	assert.Equal(t, 3, fake.Sent(vpsfake.Create))
	assert.Equal(t, 1, fake.Count(vpsfake.Create))
	for _, m := range fake.Mutations() {
		assert.JSONEq(t, `{"server_id":12345,"name":"n","description":"d"}`, m.Body, "each try has the whole body")
	}
}

func TestAnUncertainTryIsNotRepeatedAfterOneThatWasTurnedAway(t *testing.T) {
	fake := newFake(vpsfake.Options{})
	fake.Inject(vpsfake.Fault{Name: vpsfake.RateLimited, Times: 1})
	fake.Inject(vpsfake.Fault{Name: vpsfake.ResetActed})
	c := serve(t, fake, apiclient.Options{})
	_, err := c.RestoreBackup(t.Context(), 12345, 501)
	assert.Equal(t, apiclient.Uncertain, apiclient.KindOf(err))
	assert.Equal(t, 2, fake.Sent(vpsfake.Overwrite))
	assert.Equal(t, "backup:501", fake.ServerData(12345))
}

func TestCancellingDuringAPauseSaysThatNothingHappened(t *testing.T) {
	for _, call := range calls {
		synctest.Test(t, func(t *testing.T) {
			fake := newFake(vpsfake.Options{Now: time.Now})
			fake.Inject(vpsfake.Fault{Name: vpsfake.RateLimited, RetryAfter: "20"})
			c := inMemory(t, fake, apiclient.Options{})
			ctx, cancel := context.WithTimeout(apiclient.Fresh(t.Context()), 5*time.Second)
			defer cancel()
			start := time.Now()
			err := call.do(ctx, c)
			assert.Equal(t, 5*time.Second, time.Since(start))
			var e *apiclient.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, apiclient.Unavailable, e.Kind)
			assert.Equal(t, http.StatusTooManyRequests, e.Status)
			assert.Equal(t, 20*time.Second, e.RetryAfter)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
		})
	}
}

func TestTheDeadlineBoundsAllPagesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake(vpsfake.Options{Now: time.Now, PageSize: 1})
		fake.Inject(vpsfake.Fault{Name: vpsfake.Slow, Delay: 12 * time.Second})
		c := inMemory(t, fake, apiclient.Options{})
		start := time.Now()
		_, err := c.Backups(t.Context(), apiclient.BackupFilter{})
		assert.Equal(t, apiclient.Unavailable, apiclient.KindOf(err))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 30*time.Second, time.Since(start))
	})
}
