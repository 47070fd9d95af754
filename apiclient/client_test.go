package apiclient_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient"
)

func TestNewNormalisesTheBaseURLOrRefusesIt(t *testing.T) {
	for _, row := range []struct{ in, want, reason string }{
		{apiclient.DefaultBaseURL, "https://admin.vps.org/api/v1", "as documented"},
		{"https://admin.vps.org/api/v1///", "https://admin.vps.org/api/v1", "no slash at the end"},
		{"HTTPS://Admin.VPS.org:443/api/v1", "https://admin.vps.org/api/v1", "one spelling for the account's binding"},
		{"https://admin.vps.org:8443", "https://admin.vps.org:8443", "another port is another place"},
		{"http://localhost:8080/api/v1", "http://localhost:8080/api/v1", "loopback"},
		{"http://127.0.0.1/api/v1", "http://127.0.0.1/api/v1", "loopback"},
		{"http://127.8.9.1:80/api/v1", "http://127.8.9.1/api/v1", "loopback, default port"},
		{"http://[::1]:80/api/v1", "http://[::1]/api/v1", "loopback"},
		{"http://admin.vps.org/api/v1", "", "the token would travel in clear"},
		{"http://localhost.evil.example/", "", "not loopback"},
		{"http://127.0.0.1.evil.example/", "", "not loopback"},
		{"http://0.0.0.0/", "", "not loopback"},
		{"ftp://admin.vps.org/", "", "not HTTP"},
		{"admin.vps.org/api/v1", "", "no scheme"},
		{"", "", "no default by accident"},
		{"https://", "", "no host"},
		{"https://:443/", "", "no host"},
		{"https:admin.vps.org", "", "opaque"},
		{"https://me:" + secretPart + "@admin.vps.org/", "", "credentials"},
		{"https://admin.vps.org/?key=" + secretPart, "", "a query"},
		{"https://admin.vps.org/#" + secretPart, "", "a fragment"},
		{"https://admin.vps.org/a/../b", "", "dots"},
		{"https://admin.vps.org/%2e%2e/b", "", "hidden dots"},
		{"https://admin.vps.org/a%2fb", "", "an escaped slash"},
		{"https://" + secretPart + " x/", "", "no URL"},
	} {
		c, err := apiclient.New(row.in, token, apiclient.Options{})
		if row.want != "" {
			require.NoError(t, err, row.reason)
			assert.Equal(t, row.want, c.BaseURL(), row.reason)
			continue
		}
		assert.Nil(t, c)
		assert.Equal(t, apiclient.Invalid, apiclient.KindOf(err), "%s: %s", row.in, row.reason)
		assert.NotContains(t, fmt.Sprint(err), secretPart)
	}
	for _, bad := range []string{"", " ", "a b", "a\nb", "a\x00b", "tök", "a\u200bb", strings.Repeat("x", 4097)} {
		_, err := apiclient.New(apiclient.DefaultBaseURL, bad, apiclient.Options{})
		assert.Equal(t, apiclient.Invalid, apiclient.KindOf(err), "%q", bad)
		if len(bad) > 3 {
			assert.NotContains(t, err.Error(), bad)
		}
	}
	_, err := apiclient.New(apiclient.DefaultBaseURL, token, apiclient.Options{Timeout: -1})
	assert.Equal(t, apiclient.Invalid, apiclient.KindOf(err))
}

func TestWhatCannotBeRightIsNotSent(t *testing.T) {
	var sent atomic.Int64
	c := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { sent.Add(1) }), apiclient.Options{})
	ctx := t.Context()
	for _, id := range []int64{0, -1, math.MinInt64} {
		errs := []error{
			c.DeleteSnapshot(ctx, id), c.DeleteBackup(ctx, id),
			second(c.RestoreSnapshot(ctx, id)),
			second(c.RestoreBackup(ctx, id, 1)), second(c.RestoreBackup(ctx, 1, id)),
			second(c.CreateSnapshot(ctx, apiclient.NewSnapshot{ServerID: id, Name: "n"})),
			second(c.CreateBackup(ctx, apiclient.NewBackup{ServerID: id})),
		}
		if id != 0 { // 0 means all
			errs = append(errs, second(c.Snapshots(ctx, id)), second(c.Backups(ctx, apiclient.BackupFilter{ServerID: id})))
		}
		for i, err := range errs {
			assert.Equal(t, apiclient.Invalid, apiclient.KindOf(err), "%d: %v", i, err)
		}
	}
	for _, name := range []string{"", "a b", "a/b", "ä", "a\n", "a.b", strings.Repeat("x", 256)} {
		assert.Equal(t, apiclient.Invalid, apiclient.KindOf(second(c.CreateSnapshot(ctx, apiclient.NewSnapshot{ServerID: 1, Name: name}))), "%q", name)
	}
	assert.Equal(t, apiclient.Invalid, apiclient.KindOf(second(c.Backups(ctx, apiclient.BackupFilter{Type: "weekly"}))))

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	for _, call := range calls {
		err := call.do(cancelled, c)
		assert.Equal(t, apiclient.Unavailable, apiclient.KindOf(err), call.name)
		assert.ErrorIs(t, err, context.Canceled)
	}
	assert.Zero(t, sent.Load())
}

func second[T any](_ T, err error) error { return err }

func TestAnAnswerToAWriteMustBeTheAnswer(t *testing.T) {
	const good = `{"status":"success","snapshot":{"id":801},"server":{"id":12345}}`
	restore := func(c *apiclient.Client) error { return second(c.RestoreSnapshot(t.Context(), 801)) }
	create := func(c *apiclient.Client) error {
		return second(c.CreateSnapshot(t.Context(), apiclient.NewSnapshot{ServerID: 12345, Name: "n"}))
	}
	backup := func(c *apiclient.Client) error {
		return second(c.CreateBackup(t.Context(), apiclient.NewBackup{ServerID: 12345}))
	}
	for _, row := range []struct {
		name   string
		do     func(*apiclient.Client) error
		status int
		body   string
		kind   apiclient.Kind
	}{
		{"a restore that says what it must", restore, 200, good, ""},
		{"a restore with 201", restore, 201, good, ""},
		{"a restore of another snapshot", restore, 200, strings.Replace(good, "801", "802", 1), apiclient.Uncertain},
		{"a restore of no server", restore, 200, strings.Replace(good, "12345", "0", 1), apiclient.Uncertain},
		{"a restore without success", restore, 200, strings.Replace(good, "success", "error", 1), apiclient.Uncertain},
		{"a restore with something behind", restore, 200, good + "x", apiclient.Uncertain},
		{"a snapshot with its id", create, 201, `{"id":5,"server":{"id":12345}}`, ""},
		{"a snapshot with 200", create, 200, `{"id":5,"server":{"id":12345}}`, ""},
		{"a snapshot without id", create, 201, `{"server":{"id":12345}}`, apiclient.Uncertain},
		{"a snapshot of another server", create, 201, `{"id":5,"server":{"id":12346}}`, apiclient.Uncertain},
		{"a snapshot with a fractional id", create, 201, `{"id":5.5,"server":{"id":12345}}`, apiclient.Uncertain},
		{"a snapshot with a time that is none", create, 201, `{"id":5,"server":{"id":12345},"created_at":"x"}`, apiclient.Uncertain},
		{"a backup with its id", backup, 201, `{"id":5,"server":{"id":12345}}`, ""},
		{"a backup without id", backup, 201, `{"server":{"id":12345}}`, apiclient.Uncertain},
		{"a backup in a list", backup, 201, `[{"id":5,"server":{"id":12345}}]`, apiclient.Uncertain},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := row.do(serve(t, fixed(row.status, row.body), apiclient.Options{}))
			assert.Equal(t, row.kind, apiclient.KindOf(err), "%v", err)
			assert.Equal(t, row.kind == "", err == nil)
		})
	}
}

func TestKindOf(t *testing.T) {
	assert.Empty(t, apiclient.KindOf(nil))
	assert.Empty(t, apiclient.KindOf(errors.New("x")))
	assert.Equal(t, apiclient.Conflict, apiclient.KindOf(fmt.Errorf("x: %w", &apiclient.Error{Kind: apiclient.Conflict})))
}

func TestOptionsHaveDefaults(t *testing.T) {
	var agent string
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		agent = r.UserAgent()
		fixed(200, "[]")(w, r)
	}), apiclient.Options{Timeout: time.Minute})
	_, err := c.Snapshots(t.Context(), 0)
	require.NoError(t, err)
	assert.Equal(t, "vpsguard", agent)
}
