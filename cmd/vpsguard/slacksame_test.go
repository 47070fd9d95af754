package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
	"github.com/vpsguard/vpsguard/slackbot"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
	"github.com/vpsguard/vpsguard/tools"
)

// twin is a world whose clock and chance are those of every other twin.
type twin struct {
	t       *testing.T
	clock   *slackfake.Clock
	fake    *vpsfake.Fake
	service *policy.Service
	ledger  *ledger.Ledger
}

// newTwin makes a world behind a VPS.org address that all twins share, one after
// the other.
func newTwin(t *testing.T, url string, now *atomic.Pointer[vpsfake.Fake]) *twin {
	t.Helper()
	w := &twin{t: t, clock: slackfake.NewClock(slackfake.Epoch)}
	w.fake = vpsfake.New(vpsfake.Options{Token: testToken, Now: w.clock.Now, CreateTakes: 2 * time.Minute, RestoreTakes: 3 * time.Minute})
	w.fake.AddBackup(vpsfake.Point{ServerID: 12345, Description: "before the move", CreatedAt: slackfake.Epoch.Add(-9000 * time.Hour)}) // one to prune
	now.Store(w.fake)
	s, err := load(t.Context(), append(bare(t), "VPSGUARD_API_URL="+url, "VPSGUARD_API_TOKEN="+testToken,
		"VPSGUARD_DATABASE=sqlite:"+filepath.Join(t.TempDir(), "ledger.db")))
	require.NoError(t, err)
	c, err := connect(s)
	require.NoError(t, err)
	w.ledger, err = ledger.Open(t.Context(), s.Database.Reveal(), ledger.Options{Now: w.clock.Now})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.ledger.Close()) })
	w.service, err = newService(s, w.ledger, c, &account{client: c}, nil, nil)
	require.NoError(t, err)
	chance := rand.New(rand.NewPCG(1, 2))
	w.service.Passphrase, w.service.Random = forSandbox, func(b []byte) {
		for i := range b {
			b[i] = byte(chance.Uint32())
		}
	}
	withPassphrase(t, w.service)
	return w
}

// door makes calls in a twin.
type door func(d policy.Descriptor, args map[string]any)

// overMCP is a client of the MCP door.
func (w *twin) overMCP() door {
	s, err := tools.New(w.service, tools.Options{Actor: func(_ context.Context, name string) policy.Actor { return overLoopback(name) }})
	require.NoError(w.t, err)
	web := httptest.NewServer(s.Handler(tools.HTTPOptions{}))
	w.t.Cleanup(web.Close)
	c, err := client.NewStreamableHttpClient(web.URL)
	require.NoError(w.t, err)
	greet(w.t, c)
	return func(d policy.Descriptor, args map[string]any) {
		_, out := tool(w.t, c, d.Name, args)
		require.NotContains(w.t, out, "error")
	}
}

// overSlack is somebody who types commands, over signed HTTP.
func (w *twin) overSlack() door {
	f := slackfake.New(slackfake.Options{Now: time.Now, Limits: slackfake.NoLimits()})
	slack := httptest.NewServer(f)
	f.SetURL(slack.URL)
	account, err := w.service.Account(w.t.Context())
	require.NoError(w.t, err)
	bot, err := slackbot.New(slackbot.Options{
		Gate: w.service, Notes: w.ledger, Account: func(context.Context) (policy.Account, error) { return account, nil },
		People: slackbot.NewPeople(slackbot.PeopleOptions{
			Token: f.BotToken(), URL: slack.URL + "/api/", Approvers: []string{slackfake.Grace}, Now: time.Now,
		}),
		Channel: slackfake.Ops, Secrets: []string{testSecret}, Now: time.Now, Random: random,
	})
	require.NoError(w.t, err)
	web := httptest.NewServer(bot.Handler())
	w.t.Cleanup(func() {
		over, cancel := context.WithCancel(context.Background())
		cancel()
		bot.Run(over) // ends what is in flight
		f.Close()
		web.Close()
		slack.Close()
	})
	f.SetReceiver(&slackfake.Receiver{Commands: web.URL + "/slack/commands", Secret: testSecret})
	return func(d policy.Descriptor, args map[string]any) {
		before, err := w.ledger.Head(w.t.Context())
		require.NoError(w.t, err)
		text, because := d.Noun+" "+d.Verb, ""
		for _, a := range d.Arguments {
			switch v, ok := args[a.Name]; {
			case !ok:
			case a.Name == "reason":
				because = fmt.Sprintf(" because %v", v)
			default:
				text += fmt.Sprintf(" %s=%q", a.Name, fmt.Sprint(v))
			}
		}
		shown := len(f.Messages(slackfake.Ops)) // a card comes when the call is over
		only := len(f.Ephemerals(slackfake.Ada))
		require.True(w.t, f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", text+because).Wait().Acked)
		require.True(w.t, assertEventually(func() bool {
			if d.Effect == policy.Read {
				return len(f.Ephemerals(slackfake.Ada)) > only
			}
			head, err := w.ledger.Head(w.t.Context())
			return err == nil && head > before && (d.Noun == "request" || len(f.Messages(slackfake.Ops)) > shown)
		}), "%s: %s", text, everything(f))
		for _, m := range f.Ephemerals(slackfake.Ada)[only:] {
			require.NotContains(w.t, m.String(), "Not understood")
		}
	}
}

// runs decides what is held, at the terminal, and lets the clock run until nothing
// is open any more.
func (w *twin) runs() {
	w.t.Helper()
	for range 40 {
		open, _, err := w.ledger.Requests(w.t.Context(), policy.Filter{States: policy.OpenStates()})
		require.NoError(w.t, err)
		if len(open) == 0 {
			return
		}
		for _, r := range open {
			if r.State == policy.StateHeld {
				approve(w.t, w.service, r.ID)
			}
			_, err := w.service.Advance(w.t.Context(), r.ID)
			require.NoError(w.t, err)
		}
		w.clock.Pass(30 * time.Second)
	}
	open, _, err := w.ledger.Requests(w.t.Context(), policy.Filter{States: policy.OpenStates()})
	w.t.Fatalf("something never ends: %+v %v", open, err)
}

// audited are the records, without what a door may change: the time is the clock's.
func (w *twin) audited() (out []string, by []policy.Actor) {
	w.t.Helper()
	records, err := w.ledger.Records(w.t.Context(), 1, 0)
	require.NoError(w.t, err)
	for _, r := range records {
		b, err := r.Parse()
		require.NoError(w.t, err)
		by = append(by, b.By)
		for k, v := range b.Detail {
			b.Detail[k] = strings.ReplaceAll(v, b.By.String(), "whoever called")
		}
		b.By, b.Row = policy.Actor{}, "" // the row holds the actor
		raw, err := json.MarshalIndent(b, "", "  ")
		require.NoError(w.t, err)
		out = append(out, string(raw))
	}
	return out, by
}

// TestBothDoorsLeaveTheSameRecords calls each operation of the catalogue through both
// doors, in worlds that are equal.
func TestBothDoorsLeaveTheSameRecords(t *testing.T) {
	t.Parallel()
	var fake atomic.Pointer[vpsfake.Fake]
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fake.Load().ServeHTTP(w, r) }))
	t.Cleanup(api.Close)
	url := api.URL + vpsfake.BasePath
	values := map[string]any{
		"server": "web-server-01", "snapshot_id": 801, "backup_id": 501, "name": "before-upgrade", "description": "made by hand",
		"reason": "the upgrade broke login", "keep": 1, "older_than": "36h", "include_foreign": true,
	}
	for _, d := range newTwin(t, url, &fake).service.Catalogue() {
		t.Run(d.Name, func(t *testing.T) {
			var records [2][]string
			var by [2][]policy.Actor
			for i, open := range []func(*twin) door{(*twin).overMCP, (*twin).overSlack} {
				w := newTwin(t, url, &fake)
				start, _ := w.audited()
				call := open(w)
				args := map[string]any{}
				for _, a := range d.Arguments {
					v, known := values[a.Name]
					if a.Name == "request_id" { // there has to be one
						for _, other := range w.service.Catalogue() {
							if other.Name == "restore_snapshot" {
								call(other, map[string]any{"server": "web-server-01", "snapshot_id": 801, "reason": "roll back"})
							}
						}
						found, _, err := w.ledger.Requests(t.Context(), policy.Filter{})
						require.NoError(t, err)
						require.Len(t, found, 1)
						v, known = found[0].ID, true
					}
					require.True(t, known || !a.Required, "what %s is called with has to be added here", a.Name)
					if known {
						args[a.Name] = v
					}
				}
				call(d, args)
				said, _ := w.audited()
				w.runs()
				records[i], by[i] = w.audited()
				switch {
				case d.Effect == policy.Read && args["request_id"] == nil:
					assert.Equal(t, start, records[i], "a read leaves no record")
				case d.Effect == policy.Read:
					assert.Len(t, said, len(start)+1, "a read leaves no record beside the one of what it reads")
				default:
					assert.Greater(t, len(records[i]), len(start))
				}
			}
			assert.Equal(t, records[0], records[1])
			require.Len(t, by[1], len(by[0]))
			differ := 0
			for i, mcp := range by[0] {
				if slack := by[1][i]; mcp != slack {
					differ++
					assert.Equal(t, policy.DoorMCP, mcp.Door)
					assert.Equal(t, policy.DoorSlack, slack.Door)
					assert.True(t, strings.HasSuffix(slack.Subject, ":"+slackfake.Ada), slack.Subject)
				}
			}
			if d.Effect != policy.Read {
				assert.Positive(t, differ, "the door is in the record")
			}
			t.Logf("%d records, %d of them by whoever called", len(records[0]), differ)
		})
	}
}
