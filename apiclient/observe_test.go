package apiclient_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
)

// TestEachTryIsObserved makes every call with an API that fails once, and looks at
// what an observer hears: no id, and no path that the API has named.
func TestEachTryIsObserved(t *testing.T) {
	const getOnce = " unavailable; "
	want := map[string]string{
		"CreateSnapshot": "POST /snapshots/ uncertain", "RestoreSnapshot": "POST /snapshots/{id}/restore/ uncertain",
		"DeleteSnapshot": "DELETE /snapshots/{id}/ uncertain", "CreateBackup": "POST /backups/ uncertain",
		"RestoreBackup": "POST /servers/{id}/restore/ uncertain", "DeleteBackup": "DELETE /backups/{id}/ uncertain",
		"Account": "GET /account/me/" + getOnce + "GET /account/me/ ", "Servers": "GET /servers/" + getOnce + "GET /servers/ ",
		"Snapshots": "GET /snapshots/" + getOnce + "GET /snapshots/ ", "Backups": "GET /backups/" + getOnce + "GET /backups/ ",
	}
	for _, c := range calls {
		synctest.Test(t, func(t *testing.T) {
			fake := vpsfake.New(vpsfake.Options{Now: time.Now, Token: token})
			fake.Inject(vpsfake.Fault{Name: vpsfake.Error500, Times: 1})
			said := ""
			client := inMemory(t, fake, apiclient.Options{Observe: func(endpoint string) func(apiclient.Kind) {
				if said != "" {
					said += "; "
				}
				said += endpoint
				return func(k apiclient.Kind) { said += " " + string(k) }
			}})
			_ = c.do(t.Context(), client) // the writes fail: that is what is observed
			assert.Equal(t, want[c.name], said, c.name)
		})
	}
	t.Run("pages", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			heard := map[string]int{}
			client := inMemory(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next := `"/api/v1/snapshots/7/of-its-own/"`
				if r.URL.Path != "/api/v1/snapshots/" {
					next = "null"
				}
				_, _ = w.Write([]byte(`{"count":0,"next":` + next + `,"previous":null,"results":[]}`))
			}), apiclient.Options{Observe: func(endpoint string) func(apiclient.Kind) {
				return func(k apiclient.Kind) { heard[endpoint+" "+string(k)]++ }
			}})
			_, err := client.Snapshots(t.Context(), 12345)
			assert.NoError(t, err)
			assert.Equal(t, map[string]int{"GET /snapshots/ ": 2}, heard, "a link does not name an endpoint")
		})
	})
}
