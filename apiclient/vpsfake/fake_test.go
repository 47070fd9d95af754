package vpsfake_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
)

// clock is a clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: vpsfake.DocumentationTime} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// ask sends one request and returns status and body; a body of "" sends none.
func ask(f *vpsfake.Fake, method, path, body string) (int, string) {
	r := httptest.NewRequest(method, "/api/v1"+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+f.Token())
	w := httptest.NewRecorder()
	f.Handler().ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// want reads a golden file and takes the line breaks out; the order of keys
// stays.
func want(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "testdata", name))
	require.NoError(t, err)
	var compact bytes.Buffer
	require.NoError(t, json.Compact(&compact, b))
	return compact.String()
}

func TestAnswersAreByteForByteThoseOfTheDocumentation(t *testing.T) {
	c := newClock()
	f := vpsfake.New(vpsfake.Options{Now: c.Now, CreateTakes: time.Hour, RestoreTakes: time.Hour})
	for _, row := range []struct {
		method, path, body string
		status             int
		golden             string
	}{
		{"GET", "/snapshots/?server_id=12345", "", 200, "snapshots_list.json"},
		{"GET", "/backups/?server_id=12345", "", 200, "backups_list.json"},
		{"POST", "/snapshots/", `{"server_id": 12345, "name": "before-update-snapshot", "description": "Snapshot before system update"}`, 201, "snapshot_created.json"},
		{"POST", "/snapshots/801/restore/", "", 200, "snapshot_restore.json"},
	} {
		status, got := ask(f, row.method, row.path, row.body)
		assert.Equal(t, row.status, status, row.golden)
		assert.Equal(t, want(t, row.golden), got)
	}

	c = newClock()
	c.pass(-30 * time.Minute)
	f = vpsfake.New(vpsfake.Options{Now: c.Now, CreateTakes: time.Hour})
	status, got := ask(f, "POST", "/backups/", `{"server_id": 12345, "description": "Pre-deployment backup"}`)
	assert.Equal(t, 201, status)
	assert.Equal(t, want(t, "backup_created.json"), got)
	status, _ = ask(f, "POST", "/servers/12345/restore/", want(t, "backup_restore_request.json"))
	assert.Equal(t, 200, status)
}

func TestACreateIsInProgressUntilItsTimeHasCome(t *testing.T) {
	for _, row := range []struct {
		path, body string
		fault      string
		before     string
		after      string // "" for gone
	}{
		{"/snapshots/", `{"server_id":12345,"name":"n"}`, "", "in_progress", "completed"},
		{"/backups/", `{"server_id":12345}`, "", "in_progress", "completed"},
		{"/snapshots/", `{"server_id":12345,"name":"n"}`, vpsfake.CreateFails, "in_progress", "failed"},
		{"/backups/", `{"server_id":12345}`, vpsfake.CreateVanishes, "in_progress", ""},
		{"/snapshots/", `{"server_id":12345,"name":"n"}`, vpsfake.CreateSticks, "in_progress", "in_progress"},
	} {
		c := newClock()
		f := vpsfake.New(vpsfake.Options{Now: c.Now, CreateTakes: time.Minute})
		if row.fault != "" {
			f.Inject(vpsfake.Fault{Name: row.fault})
		}
		status, _ := ask(f, "POST", row.path, row.body)
		require.Equal(t, 201, status)
		look := func() (string, bool) {
			_, body := ask(f, "GET", row.path, "")
			var l struct {
				Results []struct {
					ID     int64
					Status string
					Size   *int64 `json:"size_mb"`
				}
			}
			require.NoError(t, json.Unmarshal([]byte(body), &l))
			for _, p := range l.Results {
				if p.ID == 802 || p.ID == 502 {
					return p.Status, p.Size != nil
				}
			}
			return "", false
		}
		c.pass(time.Minute - time.Nanosecond)
		got, sized := look()
		assert.Equal(t, row.before, got, row)
		assert.False(t, sized)
		c.pass(time.Nanosecond)
		got, sized = look()
		assert.Equal(t, row.after, got, row)
		assert.Equal(t, row.after == "completed", sized)
	}
}

func TestARestoreOverwritesAndTakesItsTime(t *testing.T) {
	c := newClock()
	f := vpsfake.New(vpsfake.Options{Now: c.Now, RestoreTakes: 5 * time.Minute})
	assert.Equal(t, "live", f.ServerData(12345))
	status, _ := ask(f, "POST", "/snapshots/801/restore/", "")
	require.Equal(t, 200, status)
	assert.Equal(t, "restoring", f.ServerStatus(12345))
	assert.Equal(t, "snapshot:801", f.ServerData(12345))

	for path, body := range map[string]string{
		"/snapshots/798/restore/": "", "/servers/12345/restore/": `{"backup_id":501}`,
		"/snapshots/": `{"server_id":12345,"name":"n"}`, "/backups/": `{"server_id":12345}`,
	} {
		status, _ = ask(f, "POST", path, body)
		assert.Equal(t, 400, status, "%s while restoring", path)
	}
	c.pass(5 * time.Minute)
	assert.Equal(t, "active", f.ServerStatus(12345))
	status, _ = ask(f, "POST", "/servers/12345/restore/", `{"backup_id":501}`)
	require.Equal(t, 200, status)
	assert.Equal(t, "backup:501", f.ServerData(12345))
	f.WriteServer(12345)
	assert.Equal(t, "live", f.ServerData(12345))
	assert.Equal(t, 2, f.Count(vpsfake.Overwrite))
	assert.Equal(t, 4, f.Sent(vpsfake.Overwrite))

	f = vpsfake.New(vpsfake.Options{Now: c.Now, RestoreTakes: time.Minute, RestoreShows: true})
	_, _ = ask(f, "POST", "/snapshots/801/restore/", "")
	c.pass(time.Hour)
	assert.Equal(t, "restoring", f.ServerStatus(12345), "nobody has looked")
	_, list := ask(f, "GET", "/servers/", "")
	assert.Contains(t, list, `"restoring"`)
	c.pass(time.Minute - time.Nanosecond)
	assert.Equal(t, "restoring", f.ServerStatus(12345))
	c.pass(time.Nanosecond)
	assert.Equal(t, "active", f.ServerStatus(12345))

	f = vpsfake.New(vpsfake.Options{Now: c.Now, RestoreTakes: time.Minute})
	f.Inject(vpsfake.Fault{Name: vpsfake.RestoreVanishes, Times: 1})
	f.Inject(vpsfake.Fault{Name: vpsfake.RestoreSticks})
	status, body := ask(f, "POST", "/snapshots/801/restore/", "")
	assert.Equal(t, 200, status)
	assert.Equal(t, want(t, "snapshot_restore.json"), body, "it says that it restores")
	assert.Equal(t, "live", f.ServerData(12345))
	assert.Zero(t, f.Count(vpsfake.Overwrite))
	_, _ = ask(f, "POST", "/snapshots/801/restore/", "")
	c.pass(time.Hour)
	assert.Equal(t, "restoring", f.ServerStatus(12345))
}

func TestRefusalsHaveTheDocumentedCodes(t *testing.T) {
	f := vpsfake.New(vpsfake.Options{Demo: true})
	f.SetSnapshotStatus(798, "in_progress")
	f.AddServer(7, "full")
	f.AddServer(8, "off")
	f.SetServerStatus(8, "suspended")
	suspended := f.AddSnapshot(vpsfake.Point{ServerID: 8, Name: "s"})
	for range vpsfake.MaxManualBackups {
		f.AddBackup(vpsfake.Point{ServerID: 7})
	}
	f.AddBackup(vpsfake.Point{ServerID: 12346, Type: "automatic"})
	for _, row := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"POST", "/snapshots/", `{"server_id":12347,"name":"sixth"}`, 400, "maximum of 5 snapshots"},
		{"POST", "/backups/", `{"server_id":7}`, 400, "maximum of 10 manual backups"},
		{"POST", "/backups/", `{"server_id":12346}`, 201, "in_progress"},
		{"POST", "/snapshots/", `{"server_id":12345,"name":"a b"}`, 400, "alphanumeric"},
		{"POST", "/snapshots/", `{"server_id":12345,"name":""}`, 400, "alphanumeric"},
		{"POST", "/snapshots/", `{"server_id":99,"name":"n"}`, 404, "Server"},
		{"POST", "/snapshots/", `{"name":"n"}`, 400, "server_id"},
		{"POST", "/snapshots/", `{"server_id":"x","name":"n"}`, 400, "Invalid parameters"},
		{"POST", "/backups/", `{`, 400, "Invalid parameters"},
		{"POST", "/backups/", `{"server_id":99}`, 404, "Server"},
		{"POST", "/snapshots/798/restore/", "", 400, "valid state"},
		{"POST", fmt.Sprintf("/snapshots/%d/restore/", suspended), "", 400, "valid state"},
		{"POST", "/snapshots/1/restore/", "", 404, "Snapshot"},
		{"POST", "/servers/12345/restore/", `{}`, 400, "backup_id"},
		{"POST", "/servers/12346/restore/", `{"backup_id":501}`, 404, "Backup"},
		{"POST", "/servers/99/restore/", `{"backup_id":501}`, 404, "Server"},
		{"DELETE", "/snapshots/1/", "", 404, "Snapshot"},
		{"DELETE", "/snapshots/798/", "", 204, ""},
		{"DELETE", "/snapshots/798/", "", 404, "Snapshot"},
		{"DELETE", "/backups/501/", "", 204, ""},
		{"DELETE", "/backups/501/", "", 404, "Backup"},
		{"PUT", "/snapshots/", "", 405, "not allowed"},
		{"GET", "/snapshots/801/", "", 405, "not allowed"},
		{"GET", "/snapshots/801", "", 301, ""},
		{"POST", "/snapshots", `{"server_id":12345,"name":"n"}`, 301, ""},
		{"GET", "/servers/12345/reboot/", "", 404, "Not found"},
		{"GET", "/snapshots/x/", "", 404, "Not found"},
		{"GET", "/snapshots/0/restore/", "", 404, "Not found"},
		{"GET", "/snapshots/?server_id=x", "", 400, "integer"},
	} {
		status, body := ask(f, row.method, row.path, row.body)
		assert.Equal(t, row.status, status, "%s %s: %s", row.method, row.path, body)
		assert.Contains(t, body, row.says)
	}

	r := httptest.NewRequest("DELETE", "/api/v1/snapshots/801/", http.NoBody)
	w := httptest.NewRecorder()
	before := len(f.Mutations())
	f.ServeHTTP(w, r)
	assert.Equal(t, 401, w.Code)
	assert.True(t, f.HasSnapshot(801))
	assert.Len(t, f.Mutations(), before, "without a token nothing is a mutation")

	f.DenyServers(true)
	status, _ := ask(f, "GET", "/servers/", "")
	assert.Equal(t, 403, status)
	status, _ = ask(f, "GET", "/snapshots/", "")
	assert.Equal(t, 200, status)
}

func TestTheDemoLooksLivedIn(t *testing.T) {
	now := time.Date(2026, 11, 21, 9, 30, 12, 0, time.UTC)
	f := vpsfake.New(vpsfake.Options{Now: func() time.Time { return now }, Demo: true})
	_, body := ask(f, "GET", "/servers/", "")
	assert.Contains(t, body, `"count":4`)
	for _, list := range []string{"/snapshots/", "/backups/"} {
		_, body = ask(f, "GET", list, "")
		var l struct {
			Results []struct {
				ID      int64
				Created time.Time  `json:"created_at"`
				Expires *time.Time `json:"expires_at"`
			}
		}
		require.NoError(t, json.Unmarshal([]byte(body), &l))
		assert.Greater(t, len(l.Results), 5)
		for _, p := range l.Results {
			assert.True(t, p.Created.Before(now), "%s %d is from the future", list, p.ID)
			assert.True(t, p.ID != 801 || now.Sub(p.Created) < 24*time.Hour, "the examples' newest snapshot is young")
			assert.True(t, p.Expires == nil || p.Expires.After(now), "%s %d has expired", list, p.ID)
		}
	}
	status, _ := ask(f, "POST", "/snapshots/", `{"server_id":12347,"name":"sixth"}`)
	assert.Equal(t, 400, status)
	status, _ = ask(f, "GET", "/servers/?status=stopped&location=amsterdam", "")
	assert.Equal(t, 200, status)
}

func TestAMutationIsToldBeforeAndAfterItActs(t *testing.T) {
	var told []string
	var f *vpsfake.Fake
	tell := func(when string) func(vpsfake.Mutation) {
		return func(m vpsfake.Mutation) {
			told = append(told, fmt.Sprintf("%s %s %s %s acted=%t exists=%t", when, m.Effect, m.Method, m.Path, m.Acted, f.HasBackup(499)))
		}
	}
	f = vpsfake.New(vpsfake.Options{OnMutation: tell("before"), AfterMutation: tell("after")})
	_, _ = ask(f, "DELETE", "/backups/499/", "")
	_, _ = ask(f, "DELETE", "/backups/499/", "")
	assert.Equal(t, []string{
		"before delete DELETE /api/v1/backups/499/ acted=false exists=true",
		"after delete DELETE /api/v1/backups/499/ acted=true exists=false",
		"before delete DELETE /api/v1/backups/499/ acted=false exists=false",
	}, told)
	assert.Equal(t, 1, f.Count(vpsfake.Delete))
	assert.Equal(t, 2, f.Sent(vpsfake.Delete))
}

func TestFaultsComeInTheirOrderAndNumber(t *testing.T) {
	f := vpsfake.New(vpsfake.Options{})
	f.Inject(vpsfake.Fault{Name: vpsfake.Conflict, Method: "DELETE", PathPrefix: "/snapshots/801/", After: 1, Times: 1})
	f.Inject(vpsfake.Fault{Name: vpsfake.Forbidden, Match: func(r *http.Request) bool { return r.Header.Get("Accept") == "no" }})
	f.Inject(vpsfake.Fault{Name: vpsfake.RateLimited, PathPrefix: "/backups/", RetryAfter: "9", Times: 1})
	for i, want := range []int{204, 409, 404} {
		status, _ := ask(f, "DELETE", "/snapshots/801/", "")
		assert.Equal(t, want, status, i)
	}
	status, _ := ask(f, "GET", "/backups/", "")
	assert.Equal(t, 429, status)
	status, _ = ask(f, "GET", "/backups/", "")
	assert.Equal(t, 200, status)
	f.Inject(vpsfake.Fault{Name: vpsfake.Error500, Status: 503})
	status, _ = ask(f, "GET", "/backups/", "")
	assert.Equal(t, 503, status)
	f.Heal()
	status, _ = ask(f, "GET", "/backups/", "")
	assert.Equal(t, 200, status)
	assert.Panics(t, func() { f.Inject(vpsfake.Fault{Name: "eror-500"}) })
	assert.Panics(t, func() { f.RenameServer(1, "x") })
}

func TestWhatHappensBehindTheBackIsSeen(t *testing.T) {
	f := vpsfake.New(vpsfake.Options{PageSize: 1})
	f.RenameServer(12345, "renamed")
	f.SetAccount("other@example.com")
	f.DeleteSnapshotBehindTheBack(801)
	f.DeleteBackupBehindTheBack(501)
	f.SetBackupStatus(499, "failed")
	id := f.AddSnapshot(vpsfake.Point{ServerID: 12345, Name: "mine"})
	assert.EqualValues(t, 802, id)
	_, body := ask(f, "GET", "/snapshots/", "")
	assert.Contains(t, body, `"name":"renamed"`)
	assert.Contains(t, body, `"next":"http://example.com/api/v1/snapshots/?page=2"`)
	_, body = ask(f, "GET", "/backups/?backup_type=manual", "")
	assert.Contains(t, body, `"status":"failed"`)
	_, body = ask(f, "GET", "/account/me/", "")
	assert.Contains(t, body, "other@example.com")
	assert.Contains(t, body, `"created_at":"2024-06-15"`)
	f.RemoveServer(12345)
	status, _ := ask(f, "POST", "/snapshots/798/restore/", "")
	assert.Equal(t, 404, status)
	assert.Empty(t, f.Mutations()[0].Body)
	assert.Equal(t, 1, f.Reads("/snapshots/"))
}

func TestManyClientsAtOnce(t *testing.T) {
	f := vpsfake.New(vpsfake.Options{Demo: true})
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for _, path := range []string{"/snapshots/", "/backups/", "/servers/"} {
				r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/api/v1"+path, http.NoBody)
				if !assert.NoError(t, err) {
					return
				}
				r.Header.Set("Authorization", "Bearer "+f.Token())
				resp, err := http.DefaultClient.Do(r)
				if assert.NoError(t, err) {
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			}
			f.Inject(vpsfake.Fault{Name: vpsfake.Slow, Method: "PUT"})
			_, _ = ask(f, "POST", "/snapshots/", `{"server_id":12346,"name":"n"}`)
			_ = f.Mutations()
			f.SetServerStatus(12346, []string{"active", "stopped"}[i%2])
		})
	}
	wg.Wait()
	assert.Equal(t, 4, f.Count(vpsfake.Create), "the limit holds: the demo has one of five")
}
