package apiclient_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient"
)

var web = apiclient.ServerRef{ID: 12345, Name: "web-server-01"}

func day(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

func megabytes(n int64) *int64 { return &n }

func TestDecodesTheDocumentedSnapshots(t *testing.T) {
	c := serve(t, fixed(200, golden(t, "snapshots_list.json")), apiclient.Options{})
	got, err := c.Snapshots(t.Context(), 12345)
	require.NoError(t, err)
	assert.Equal(t, []apiclient.Snapshot{
		{
			ID: 801, Server: web, Name: "pre-migration-snapshot", Status: apiclient.StatusCompleted,
			SizeMB: megabytes(5120), CreatedAt: day("2025-01-15T18:30:00Z"), Description: "Before major migration",
		},
		{
			ID: 798, Server: web, Name: "weekly-snapshot-2025-01-08", Status: apiclient.StatusCompleted,
			SizeMB: megabytes(4856), CreatedAt: day("2025-01-08T12:00:00Z"), Description: "Weekly snapshot",
		},
	}, got)
}

func TestDecodesTheDocumentedBackupsInTheirOrder(t *testing.T) {
	c := serve(t, fixed(200, golden(t, "backups_list.json")), apiclient.Options{})
	got, err := c.Backups(t.Context(), apiclient.BackupFilter{ServerID: 12345})
	require.NoError(t, err)
	require.Len(t, got, 3)
	expires := day("2025-02-16T03:00:00Z")
	assert.Equal(t, apiclient.Backup{
		ID: 501, Server: web, Type: apiclient.BackupAutomatic, Status: apiclient.StatusCompleted, SizeMB: megabytes(4523),
		CreatedAt: day("2025-01-16T03:00:00Z"), ExpiresAt: &expires, Description: "Automatic daily backup",
	}, got[0])
	assert.Equal(t, apiclient.Backup{
		ID: 499, Server: web, Type: apiclient.BackupManual, Status: apiclient.StatusCompleted, SizeMB: megabytes(4456),
		CreatedAt: day("2025-01-14T10:30:00Z"), Description: "Pre-update backup",
	}, got[1])
	assert.EqualValues(t, 495, got[2].ID)

	got, err = c.Backups(t.Context(), apiclient.BackupFilter{Type: apiclient.BackupManual})
	require.NoError(t, err)
	require.Len(t, got, 1, "an API that ignores the filter does not defeat it")
	assert.EqualValues(t, 499, got[0].ID)
}

// recorded is what the API got to see of one request.
type recorded struct {
	method, uri, auth, agent, contentType, body string
	length                                      int64
}

func record(status int, body string, into *[]recorded) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		*into = append(*into, recorded{
			r.Method, r.URL.RequestURI(), r.Header.Get("Authorization"), r.Header.Get("User-Agent"),
			r.Header.Get("Content-Type"), string(b), r.ContentLength,
		})
		fixed(status, body)(w, r)
	}
}

func TestSendsWhatIsDocumentedAndDecodesTheAnswer(t *testing.T) {
	const jsonType = "application/json"
	for _, row := range []struct {
		name   string
		status int
		answer string
		do     func(*apiclient.Client) (any, error)
		want   any
		sent   recorded
	}{
		{
			"a snapshot is created with server, name and description", 201, golden(t, "snapshot_created.json"),
			func(c *apiclient.Client) (any, error) {
				return c.CreateSnapshot(t.Context(), apiclient.NewSnapshot{ServerID: 12345, Name: "before-update-snapshot", Description: "Snapshot before system update"})
			},
			apiclient.Snapshot{
				ID: 802, Server: web, Name: "before-update-snapshot", Status: apiclient.StatusInProgress,
				CreatedAt: day("2025-01-16T16:15:00Z"), Description: "Snapshot before system update",
				Message: "Snapshot is being created. This may take 3-10 minutes depending on server size.",
			},
			recorded{
				method: "POST", uri: "/api/v1/snapshots/", contentType: jsonType,
				body: `{"server_id":12345,"name":"before-update-snapshot","description":"Snapshot before system update"}`,
			},
		},
		{
			"a backup has no name", 201, golden(t, "backup_created.json"),
			func(c *apiclient.Client) (any, error) {
				return c.CreateBackup(t.Context(), apiclient.NewBackup{ServerID: 12345, Description: "Pre-deployment backup"})
			},
			apiclient.Backup{
				ID: 502, Server: web, Type: apiclient.BackupManual, Status: apiclient.StatusInProgress,
				CreatedAt: day("2025-01-16T15:45:00Z"), Description: "Pre-deployment backup",
				Message: "Backup is being created. This may take several minutes depending on server size.",
			},
			recorded{
				method: "POST", uri: "/api/v1/backups/", contentType: jsonType,
				body: `{"server_id":12345,"description":"Pre-deployment backup"}`,
			},
		},
		{
			"a snapshot is restored by its path alone", 200, golden(t, "snapshot_restore.json"),
			func(c *apiclient.Client) (any, error) { return c.RestoreSnapshot(t.Context(), 801) },
			apiclient.RestoreStarted{
				Message: "Server is being restored from snapshot. This may take 5-15 minutes.", Server: web,
				ServerStatus: apiclient.ServerRestoring, SnapshotID: 801,
			},
			recorded{method: "POST", uri: "/api/v1/snapshots/801/restore/"},
		},
		{
			"a backup is restored through its server", 200, `{"message":"On its way","server":{"id":12345,"name":"web-server-01","status":"restoring"}}`,
			func(c *apiclient.Client) (any, error) { return c.RestoreBackup(t.Context(), 12345, 501) },
			apiclient.RestoreStarted{Message: "On its way", Server: web, ServerStatus: apiclient.ServerRestoring},
			recorded{method: "POST", uri: "/api/v1/servers/12345/restore/", contentType: jsonType, body: `{"backup_id":501}`},
		},
		{
			"an empty answer to it is accepted", 202, "",
			func(c *apiclient.Client) (any, error) { return c.RestoreBackup(t.Context(), 12345, 501) },
			apiclient.RestoreStarted{Server: apiclient.ServerRef{ID: 12345}},
			recorded{method: "POST", uri: "/api/v1/servers/12345/restore/", contentType: jsonType, body: `{"backup_id":501}`},
		},
		{
			"so is one of another form", 200, `[1, {"server": "none"}]`,
			func(c *apiclient.Client) (any, error) { return c.RestoreBackup(t.Context(), 12345, 501) },
			apiclient.RestoreStarted{Server: apiclient.ServerRef{ID: 12345}},
			recorded{method: "POST", uri: "/api/v1/servers/12345/restore/", contentType: jsonType, body: `{"backup_id":501}`},
		},
		{
			"a snapshot is deleted", 204, "",
			func(c *apiclient.Client) (any, error) { return nil, c.DeleteSnapshot(t.Context(), 801) }, nil,
			recorded{method: "DELETE", uri: "/api/v1/snapshots/801/"},
		},
		{
			"a backup is deleted", 204, "",
			func(c *apiclient.Client) (any, error) { return nil, c.DeleteBackup(t.Context(), 501) }, nil,
			recorded{method: "DELETE", uri: "/api/v1/backups/501/"},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			var sent []recorded
			c := serve(t, record(row.status, row.answer, &sent), apiclient.Options{UserAgent: "vpsguard/test"})
			got, err := row.do(c)
			require.NoError(t, err)
			assert.Equal(t, row.want, got)
			row.sent.auth, row.sent.agent, row.sent.length = "Bearer "+token, "vpsguard/test", int64(len(row.sent.body))
			assert.Equal(t, []recorded{row.sent}, sent)
		})
	}
}

func TestFiltersAreSentAndTheServerListDecodes(t *testing.T) {
	var sent []recorded
	c := serve(t, record(200, `{"count":2,"results":[
		{"id":7,"name":"a","hostname":"a.example","status":"migrating","ip_address":"192.0.2.1","location":"new-york",
		 "plan":{"id":3,"name":"VPS 3","vcpus":2,"memory":4096,"storage":"80 GB"},"os":{"id":"debian-13","name":"Debian 13"},
		 "created_at":"2025-01-02","updated_at":"2025-01-02T03:04:05.678+02:00","extra":1},
		{"id":8,"name":"b","status":"active","location":{"id":1,"name":"Berlin"},"plan":null,"os":"Debian","ip_address":null}]}`, &sent), apiclient.Options{})
	got, err := c.Servers(t.Context(), apiclient.ServerFilter{Status: "a&b", Location: "x"})
	require.NoError(t, err)
	require.Equal(t, []apiclient.Server{
		{
			ID: 7, Name: "a", Hostname: "a.example", Status: "migrating", IPAddress: "192.0.2.1", Location: "new-york",
			Plan: apiclient.Plan{ID: 3, Name: "VPS 3", VCPUs: 2, Memory: "4096", Storage: "80 GB"}, OS: apiclient.OS{Name: "Debian 13"},
			CreatedAt: day("2025-01-02T00:00:00Z"), UpdatedAt: day("2025-01-02T01:04:05.678Z"),
		},
		{ID: 8, Name: "b", Status: "active", Location: "Berlin", OS: apiclient.OS{Name: "Debian"}},
	}, got, "unknown statuses, odd details and date-only times decode")
	assert.Equal(t, "/api/v1/servers/?location=x&status=a%26b", sent[0].uri)

	_, err = c.Backups(t.Context(), apiclient.BackupFilter{ServerID: 5, Type: apiclient.BackupAutomatic})
	require.NoError(t, err)
	assert.Equal(t, "/api/v1/backups/?backup_type=automatic&server_id=5", sent[1].uri)
}

func TestTheAccountDecodes(t *testing.T) {
	var sent []recorded
	c := serve(t, record(200, `{"account":{"email":"a@example.com","first_name":"A","last_name":"B","company_name":null,"created_at":"2024-06-15"},
		"token":{"name":"ci","permissions":["servers:read","snapshots"]}}`, &sent), apiclient.Options{})
	got, err := c.Account(t.Context())
	require.NoError(t, err)
	assert.Equal(t, apiclient.Account{
		Email: "a@example.com", FirstName: "A", LastName: "B", CreatedAt: day("2024-06-15T00:00:00Z"),
		TokenName: "ci", Permissions: []string{"servers:read", "snapshots"},
	}, got)
	assert.Equal(t, "/api/v1/account/me/", sent[0].uri)

	c = serve(t, fixed(200, `{"token":{"name":"ci"}}`), apiclient.Options{})
	_, err = c.Account(t.Context())
	assert.Equal(t, apiclient.Malformed, apiclient.KindOf(err), "an account without an email binds nothing")
}
