package apiclient

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sethvargo/go-retry"
)

const (
	tries       = 3
	longestWait = 5 * time.Second
	// maxRetryAfter caps what is believed of a Retry-After header.
	maxRetryAfter = 24 * time.Hour
)

// try sends r until it is answered for good, at most three times. What may be
// sent again is decided in send, where it is known whether the request left.
func (c *Client) try(ctx context.Context, r request) (any, error) {
	var last *Error
	var waited time.Duration
	schedule := retry.WithMaxRetries(tries-1,
		retry.WithCappedDuration(longestWait,
			retry.WithJitterPercent(50, retry.NewExponential(c.backoff))))
	pause := func() (time.Duration, bool) {
		wait, stop := schedule.Next()
		wait = max(wait, last.RetryAfter)
		waited += wait
		// No use in waiting past the deadline only to say what is known now.
		return wait, stop || waited >= c.timeout
	}
	value, err := retry.DoValue(ctx, retry.BackoffFunc(pause), func(ctx context.Context) (any, error) {
		value, err := c.send(ctx, r)
		if err != nil && errors.As(err, &last) && last.again {
			return nil, retry.RetryableError(err)
		}
		return value, err
	})
	if err == nil {
		return value, nil
	}
	var known *Error
	if errors.As(err, &known) {
		return nil, known
	}
	// The context ended before the first try or during a pause: nothing of a
	// write is on its way.
	e := c.notSent(r, ctx.Err())
	if last != nil {
		e.Status, e.RetryAfter = last.Status, last.RetryAfter
		e.Message = ended(ctx.Err()) + " while waiting to try again"
	}
	return nil, e
}

// retryAfter reads the Retry-After header: seconds, or a date against the
// answer's own Date header (against now where it has none).
func retryAfter(h http.Header, now func() time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if value == "" {
		return 0
	}
	var wait time.Duration
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		wait = time.Duration(min(seconds, int64(maxRetryAfter/time.Second))) * time.Second
	} else if until, err := http.ParseTime(value); err == nil {
		from, err := http.ParseTime(h.Get("Date"))
		switch {
		case err == nil:
			wait = until.Sub(from)
		case now != nil:
			wait = until.Sub(now())
		}
	}
	return max(0, min(wait, maxRetryAfter))
}
