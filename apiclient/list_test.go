package apiclient_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
)

func TestWhatAListMayLookLike(t *testing.T) {
	const malformed = apiclient.Malformed
	item := func(fields string) string { return `{"count":1,"results":[{` + fields + `}]}` }
	for _, row := range []struct {
		name, body string
		kind       apiclient.Kind
		ids        []int64
		reason     string
	}{
		{"an envelope", item(`"id":1`), "", []int64{1}, "documented"},
		{"a bare array", `[{"id":1},{"id":2}]`, "", []int64{1, 2}, "the envelope is seen in examples only"},
		{"an empty array", ` [] `, "", []int64{}, "no snapshots yet"},
		{"an empty envelope", `{"count":0,"results":[]}`, "", []int64{}, "no snapshots yet"},
		{"null results", `{"count":0,"results":null,"next":null}`, "", []int64{}, "a serializer's way to say none"},
		{"no count", `{"results":[{"id":1}]}`, "", []int64{1}, "nothing depends on it"},
		{"fewer items than counted", `{"count":2,"results":[{"id":1}]}`, malformed, nil, "a list cut silently would hide a recovery point"},
		{"an unknown status", item(`"id":1,"status":"archiving"`), "", []int64{1}, "statuses are seen in examples only"},
		{"a date-only time", item(`"id":1,"created_at":"2025-01-15"`), "", []int64{1}, "seen in the account"},
		{"a null server and description", item(`"id":1,"server":null,"description":null,"created_at":null`), "", []int64{1}, "an orphan is still a copy"},
		{"the same id twice", `[{"id":1,"name":"a"},{"id":1,"name":"b"},{"id":2}]`, "", []int64{1, 2}, "one row each"},
		{"the largest id", item(`"id":9223372036854775807`), "", []int64{9223372036854775807}, "an int64 holds it"},
		{"an id beyond", item(`"id":9223372036854775808`), malformed, nil, "rounding would name another object"},
		{"a fractional id", item(`"id":1.5`), malformed, nil, "rounding would name another object"},
		{"an id with an exponent", item(`"id":1e3`), malformed, nil, "no integer as documented"},
		{"an id as text", item(`"id":"7"`), malformed, nil, "no integer as documented"},
		{"an id that is true", item(`"id":true`), malformed, nil, "no integer as documented"},
		{"id zero", item(`"id":0`), malformed, nil, "ids are positive"},
		{"a negative id", item(`"id":-1`), malformed, nil, "ids are positive"},
		{"no id", item(`"name":"x"`), malformed, nil, "nothing to restore by"},
		{"a null item", `[null]`, malformed, nil, "nothing to restore by"},
		{"a negative server id", item(`"id":1,"server":{"id":-4}`), malformed, nil, "ids are positive"},
		{"a fractional server id", item(`"id":1,"server":{"id":4.2}`), malformed, nil, "it would belong to another server"},
		{"a time that is none", item(`"id":1,"created_at":"yesterday"`), malformed, nil, "age decides what is offered"},
		{"a time as a number", item(`"id":1,"created_at":1736966000}`), malformed, nil, "cut besides"},
		{"one bad item among good ones", `[{"id":1},{"id":0}]`, malformed, nil, "all or nothing"},
		{"something after the list", item(`"id":1`) + ` {"detail":"oops"}`, malformed, nil, "two answers are none"},
		{"a cut list", `{"count":2,"results":[{"id":1},{"id`, malformed, nil, "half a list is none"},
		{"an object that is no list", `{"detail":"maintenance"}`, malformed, nil, "absence of results is not emptiness"},
		{"a count alone", `{"count":0}`, malformed, nil, "absence of results is not emptiness"},
		{"null", `null`, malformed, nil, "absence of results is not emptiness"},
		{"a text", `"ok"`, malformed, nil, "not a list"},
		{"results that are an object", `{"results":{}}`, malformed, nil, "not a list"},
		{"a next that is a number", `{"results":[],"next":2}`, malformed, nil, "not a link"},
		{"a size with a fraction", item(`"id":1,"size_mb":12.5`), "", []int64{1}, "a figure to be shown"},
		{"a size as text", item(`"id":1,"size_mb":"big"`), malformed, nil, "the digest covers it"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := serve(t, fixed(200, row.body), apiclient.Options{})
			got, err := c.Snapshots(t.Context(), 0)
			assert.Equal(t, row.kind, apiclient.KindOf(err), "%s: %v", row.reason, err)
			if row.kind != "" {
				assert.Nil(t, got)
				return
			}
			ids := []int64{}
			for _, s := range got {
				ids = append(ids, s.ID)
			}
			assert.Equal(t, row.ids, ids, row.reason)
		})
	}
}

func TestAMalformedListSaysWhy(t *testing.T) {
	for body, says := range map[string]string{
		`[{"id":1,"created_at":"yesterday"}]`: "a time is in an unknown form",
		`[{"id":1.5}]`:                        "holds a number 1.5",
		`[{"id":1,`:                           "the answer is not whole JSON",
		`[{"id":0}]`:                          "an item has no positive id",
	} {
		_, err := serve(t, fixed(200, body), apiclient.Options{}).Snapshots(t.Context(), 0)
		assert.ErrorContains(t, err, "listing snapshots: the API's answer cannot be trusted (HTTP 200): ")
		assert.ErrorContains(t, err, says)
	}
}

func TestAListOfOneServerHoldsNoOtherServersItems(t *testing.T) {
	c := serve(t, fixed(200, `[{"id":1,"server":{"id":5}},{"id":2,"server":{"id":6}},{"id":3,"server":null}]`), apiclient.Options{})
	got, err := c.Snapshots(t.Context(), 5)
	require.NoError(t, err)
	require.Len(t, got, 2)
	assert.EqualValues(t, 1, got[0].ID)
	assert.EqualValues(t, 3, got[1].ID, "whose it is, is not known: that is for the caller to judge")
}

func TestPagesAreFollowedToTheEnd(t *testing.T) {
	fake := newFake(vpsfake.Options{PageSize: 2})
	for i := range 7 {
		fake.AddBackup(vpsfake.Point{ServerID: 12345, Description: fmt.Sprint(i)})
	}
	c := serve(t, fake, apiclient.Options{})
	got, err := c.Backups(t.Context(), apiclient.BackupFilter{ServerID: 12345})
	require.NoError(t, err)
	assert.Len(t, got, 10)
	assert.Equal(t, 5, fake.Reads("/backups/"))
}

func TestNextIsFollowedOnlyWhereTheTokenMayGoAnyway(t *testing.T) {
	for _, row := range []struct {
		name, next string // %s: host and port of the API
		followed   bool
	}{
		{"a query alone", "?page=2", true},
		{"a path", "/api/v1/snapshots/?page=2", true},
		{"the same origin in other letters", "HTTP://%s/api/v1/snapshots/?page=2", true},
		{"another path of the API", "http://%s/api/v1/snapshots/page/2/", true},
		{"another host", "http://evil.example/api/v1/snapshots/?page=2", false},
		{"another port", "http://localhost:1/api/v1/snapshots/?page=2", false},
		{"another scheme", "https://%s/api/v1/snapshots/?page=2", false},
		{"another host without a scheme", "//evil.example/api/v1/snapshots/?page=2", false},
		{"credentials", "http://me:pass@%s/api/v1/snapshots/?page=2", false},
		{"out of the API", "http://%s/admin/?page=2", false},
		{"out of the API by a prefix", "http://%s/api/v10/?page=2", false},
		{"out of the API by dots", "http://%s/api/v1/../../admin/", false},
		{"out of the API by hidden dots", "http://%s/api/v1/%%2e%%2e/admin/", false},
		{"an escaped slash", "http://%s/api/v1/a%%2fb/", false},
		{"no slash at the end", "http://%s/api/v1/snapshots?page=2", false},
		{"no URL", "http://[::1/", false},
		{"a script", "javascript:alert(1)", false},
		{"itself", "?", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			var paths []string
			c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				paths = append(paths, r.URL.RequestURI())
				if len(paths) > 1 {
					fixed(200, `{"count":2,"results":[{"id":2}],"next":null}`)(w, r)
					return
				}
				next := row.next
				if strings.Contains(next, "%") {
					next = fmt.Sprintf(next, r.Host)
				}
				fixed(200, fmt.Sprintf(`{"count":2,"results":[{"id":1}],"next":%q}`, next))(w, r)
			}), apiclient.Options{})
			got, err := c.Snapshots(t.Context(), 0)
			if row.followed {
				require.NoError(t, err)
				assert.Len(t, got, 2)
				return
			}
			assert.Equal(t, apiclient.Malformed, apiclient.KindOf(err), "%v", err)
			assert.Len(t, paths, 1)
			assert.NotContains(t, err.Error(), "evil")
		})
	}
}

func TestALoopOfPagesIsRefused(t *testing.T) {
	n := 0
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n++
		fixed(200, fmt.Sprintf(`{"results":[{"id":%d}],"next":"?page=%d"}`, n, 1+n%3))(w, r)
	}), apiclient.Options{})
	_, err := c.Snapshots(t.Context(), 0)
	assert.Equal(t, apiclient.Malformed, apiclient.KindOf(err))
	assert.LessOrEqual(t, n, 4)
}

func items(from, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":%d,"server":{"id":12345,"name":"web-server-01"},"name":"s","status":"completed","size_mb":5120,"created_at":"2025-01-15T18:30:00Z"}`, from+i)
	}
	return b.String()
}

func TestAHundredThousandItems(t *testing.T) {
	c := serve(t, fixed(200, `{"count":100000,"results":[`+items(1, 100_000)+`]}`), apiclient.Options{})
	got, err := c.Snapshots(t.Context(), 12345)
	require.NoError(t, err, "in one answer")
	assert.Len(t, got, 100_000)

	c = serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page := 0
		_, _ = fmt.Sscan(r.URL.Query().Get("page"), &page)
		next := "null"
		if page < 99 {
			next = fmt.Sprintf(`"?page=%d"`, page+1)
		}
		fixed(200, fmt.Sprintf(`{"count":100000,"next":%s,"results":[%s]}`, next, items(1+page*1000, 1000)))(w, r)
	}), apiclient.Options{})
	got, err = c.Snapshots(t.Context(), 0)
	require.NoError(t, err, "in a hundred pages")
	assert.Len(t, got, 100_000)
	assert.EqualValues(t, 100_000, got[99_999].ID)
}

func TestAnAnswerBeyondTheLimitIsRefused(t *testing.T) {
	body := `{"count":0,"results":[]}` + strings.Repeat(" ", 16<<20-24)
	c := serve(t, fixed(200, body), apiclient.Options{})
	_, err := c.Snapshots(t.Context(), 0)
	require.NoError(t, err, "16 MiB are read")
	c = serve(t, fixed(201, body+" "), apiclient.Options{})
	_, err = c.CreateBackup(t.Context(), apiclient.NewBackup{ServerID: 1})
	assert.Equal(t, apiclient.Uncertain, apiclient.KindOf(err))
	c = serve(t, fixed(200, body+" "), apiclient.Options{})
	_, err = c.Snapshots(t.Context(), 0)
	assert.Equal(t, apiclient.Malformed, apiclient.KindOf(err))
	assert.ErrorContains(t, err, "16 MiB")
}

func TestAnEndlessAnswerIsLeftAtTheLimit(t *testing.T) {
	for status, kind := range map[int]apiclient.Kind{200: apiclient.Malformed, 403: apiclient.Forbidden} {
		c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			chunk := []byte(strings.Repeat(" ", 1<<20))
			for {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}), apiclient.Options{Timeout: time.Minute})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err := c.Snapshots(ctx, 0)
		cancel()
		assert.Equal(t, kind, apiclient.KindOf(err), "%v", err)
	}
}
