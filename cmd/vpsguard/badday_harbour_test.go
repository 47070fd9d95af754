package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
)

// harbour is the VPS.org of a bad day: servers with recovery points, faults, and
// somebody who tends it from its own side.
type harbour struct {
	d        *badDay
	url      string
	troubled atomic.Bool
	dice     *rand.Rand // of its faults: the fake's lock guards it

	mu      sync.Mutex
	servers []int64
	names   map[int64]string
	points  map[int64][]harbourPoint // by server, as of the last look
	owner   map[int64]int64          // the server of each snapshot there ever was
	strikes *rand.Rand               // of its killing whoever has sent a write
	brief   map[string]bool          // paths of restores that are over before anybody can look
}

// harbourPoint is a recovery point as VPS.org lists it.
type harbourPoint struct {
	ID          int64     `json:"id"`
	Kind        string    `json:"-"`
	Type        string    `json:"backup_type"`
	Status      string    `json:"status"`
	CreatedAt   time.Time `json:"created_at"`
	Description string    `json:"description"`
}

// tending marks what comes from VPS.org's own side: it never fails, and is no read of
// the program's.
const tending = "X-Tending"

// fault is one that may happen, and how likely it is.
type dayFault struct {
	name  string
	write bool
	odds  float64
	more  vpsfake.Fault
}

var dayFaults = []dayFault{
	{vpsfake.Slow, false, 0.03, vpsfake.Fault{Delay: 300 * time.Millisecond}},
	{vpsfake.Error500, false, 0.02, vpsfake.Fault{}},
	{vpsfake.RateLimited, false, 0.01, vpsfake.Fault{RetryAfter: "1"}},
	{vpsfake.Reset, false, 0.01, vpsfake.Fault{}},
	{vpsfake.CutBody, false, 0.01, vpsfake.Fault{}},
	{vpsfake.HTML, false, 0.003, vpsfake.Fault{}},
	{vpsfake.Hang, false, 0.003, vpsfake.Fault{}},
	{vpsfake.Slow, true, 0.04, vpsfake.Fault{Delay: 400 * time.Millisecond}},
	{vpsfake.Error500, true, 0.02, vpsfake.Fault{}},
	{vpsfake.Error500Acted, true, 0.03, vpsfake.Fault{}},
	{vpsfake.RateLimited, true, 0.03, vpsfake.Fault{}},
	{vpsfake.Conflict, true, 0.01, vpsfake.Fault{}},
	{vpsfake.Reset, true, 0.02, vpsfake.Fault{}},
	{vpsfake.ResetActed, true, 0.03, vpsfake.Fault{}},
	{vpsfake.CutBody, true, 0.01, vpsfake.Fault{}},
	{vpsfake.CutBodyActed, true, 0.02, vpsfake.Fault{}},
	{vpsfake.Hang, true, 0.01, vpsfake.Fault{}},
	{vpsfake.HangActed, true, 0.02, vpsfake.Fault{}},
}

// newHarbour makes a VPS.org with servers. A create takes a moment, and a restore
// lasts until the ledger says that it was seen.
func newHarbour(d *badDay) *harbour {
	h := &harbour{
		d: d, dice: d.dice("VPS.org", 0), names: map[int64]string{}, points: map[int64][]harbourPoint{},
		strikes: d.dice("strikes", 0), owner: map[int64]int64{}, brief: map[string]bool{},
	}
	d.fake = vpsfake.New(vpsfake.Options{
		Now: time.Now, Token: testToken, CreateTakes: 300 * time.Millisecond, RestoreTakes: time.Hour, OnMutation: h.arrived, AfterMutation: h.acted,
	})
	api := httptest.NewServer(d.fake)
	d.t.Cleanup(api.Close)
	h.url = api.URL + vpsfake.BasePath
	for id := int64(20001); id <= int64(20000+d.plan.share(10, 250)); id++ {
		h.servers, h.names[id] = append(h.servers, id), fmt.Sprintf("srv-%02d", id%100)
		d.fake.AddServer(id, h.names[id])
		for range 2 {
			h.add(id)
		}
		for range 3 {
			d.fake.AddBackup(vpsfake.Point{ServerID: id, CreatedAt: time.Now().Add(-time.Hour)})
		}
	}
	h.look(d.t.Context())
	for _, x := range dayFaults {
		fault := x.more
		fault.Name, fault.Match = x.name, func(r *http.Request) bool { return h.fails(x, r) }
		d.fake.Inject(fault)
	}
	return h
}

// add puts a snapshot on a server, from its own side.
func (h *harbour) add(server int64) {
	h.d.fake.AddSnapshot(vpsfake.Point{
		ServerID: server, Name: fmt.Sprintf("old-%d", time.Now().UnixNano()), CreatedAt: time.Now().Add(-2 * time.Hour),
	})
}

// fails tells whether a fault happens to a request now. The fake's lock is held.
func (h *harbour) fails(x dayFault, r *http.Request) bool {
	write := r.Method != http.MethodGet
	if !h.troubled.Load() || r.Header.Get(tending) != "" || write != x.write || h.dice.Float64() >= x.odds {
		return false
	}
	kind := "read"
	if write {
		kind = "write"
	}
	h.d.count("VPS.org: a %s, %s", kind, x.name)
	if strings.HasSuffix(x.name, "-acted") && h.dice.IntN(3) == 0 {
		h.mu.Lock()
		h.brief[r.URL.Path] = true
		h.mu.Unlock()
	}
	return true
}

// strike has whoever sent a write killed, one time in so many.
func (h *harbour) strike(of int, when string) bool {
	h.mu.Lock()
	now := h.troubled.Load() && h.strikes.IntN(of) == 0
	h.mu.Unlock()
	return now && h.d.strike(when)
}

// arrived is called before anything is done.
func (h *harbour) arrived(vpsfake.Mutation) { h.strike(16, "before VPS.org had acted") }

// acted ends at once a restore whose answer is lost and which nobody shall see.
func (h *harbour) acted(m vpsfake.Mutation) {
	h.mu.Lock()
	brief := h.brief[m.Path]
	delete(h.brief, m.Path)
	var server int64
	if _, err := fmt.Sscanf(m.Path, vpsfake.BasePath+"/servers/%d/restore/", &server); err != nil {
		var snapshot int64
		if _, err := fmt.Sscanf(m.Path, vpsfake.BasePath+"/snapshots/%d/restore/", &snapshot); err == nil {
			server = h.owner[snapshot]
		}
	}
	h.mu.Unlock()
	if brief && m.Effect == vpsfake.Overwrite && server != 0 {
		h.d.fake.SetServerStatus(server, "active")
	}
	if h.strike(10, "before VPS.org had answered") && m.Effect == vpsfake.Overwrite && server%2 == 0 {
		h.d.fake.SetServerStatus(server, "active") // nobody will ever see it, here too
	}
}

// list reads points from VPS.org's own side.
func (h *harbour) list(ctx context.Context, kind string, server int64) (out []harbourPoint) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/%ss/?server_id=%d", h.url, kind, server), nil)
	require.NoError(h.d.t, err)
	req.Header.Set("Authorization", "Bearer "+testToken)
	req.Header.Set(tending, "1")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil // the day is over
	}
	defer func() { _ = resp.Body.Close() }()
	var body struct{ Results []harbourPoint }
	_ = json.NewDecoder(resp.Body).Decode(&body)
	for i := range body.Results {
		body.Results[i].Kind = kind
	}
	return body.Results
}

func (h *harbour) look(ctx context.Context) {
	for _, server := range h.servers {
		snapshots := h.list(ctx, "snapshot", server)
		all := append(snapshots, h.list(ctx, "backup", server)...)
		h.mu.Lock()
		h.points[server] = all
		for _, p := range snapshots {
			h.owner[p.ID] = server
		}
		h.mu.Unlock()
	}
}

// young tells whether a point may be one that the program still waits for. One that
// goes before it was seen leaves a request that watches for it until its deadline,
// which is longer than any day here. The lock is held.
func (h *harbour) young(p harbourPoint) bool {
	if time.Since(p.CreatedAt) < 5*time.Second {
		return true
	}
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	for id := range h.d.open {
		if strings.Contains(p.Description, id) {
			return true
		}
	}
	return false
}

// pick gives a server, and one of its points of a kind; 0 where there is none.
func (h *harbour) pick(dice *rand.Rand, kind string) (name string, point int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	server := h.servers[dice.IntN(len(h.servers))]
	var all []int64
	for _, p := range h.points[server] {
		if p.Kind == kind && p.Status == "completed" && !h.young(p) {
			all = append(all, p.ID)
		}
	}
	if len(all) == 0 {
		return h.names[server], 0
	}
	return h.names[server], all[dice.IntN(len(all))]
}

// tend keeps slots free and points there, as people at VPS.org's console do, and takes
// away now and then what somebody wants to restore.
func (h *harbour) tend(ctx context.Context) {
	dice := h.d.dice("tends", 0)
	for pause(ctx, 250*time.Millisecond) {
		h.look(ctx)
		for _, server := range h.servers {
			h.mu.Lock()
			points := h.points[server]
			h.mu.Unlock()
			h.tidy(points, "snapshot", 4, h.d.fake.DeleteSnapshotBehindTheBack)
			h.tidy(points, "backup", 8, h.d.fake.DeleteBackupBehindTheBack)
			if len(slices.DeleteFunc(slices.Clone(points), func(p harbourPoint) bool { return p.Kind != "snapshot" })) < 2 {
				h.add(server)
			}
		}
		if dice.IntN(40) == 0 {
			h.takeAway()
		}
	}
}

// tidy removes the oldest of a kind where there are too many. What an open request is
// about stays: whether it was there is what lost answers are settled by.
func (h *harbour) tidy(points []harbourPoint, kind string, most int, remove func(int64)) {
	var all []harbourPoint
	for _, p := range points {
		if p.Kind == kind && p.Type != "automatic" {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, func(a, b harbourPoint) int { return cmp.Compare(a.ID, b.ID) })
	for _, p := range all[:max(0, len(all)-most+1)] {
		if h.there(p) && !h.used(p) {
			h.d.count("VPS.org: %s deleted at the console", kind)
			remove(p.ID)
		}
	}
}

func (h *harbour) there(p harbourPoint) bool {
	if p.Kind == "snapshot" {
		return h.d.fake.HasSnapshot(p.ID)
	}
	return h.d.fake.HasBackup(p.ID)
}

// used tells whether an open request is about a point, or has made it. It asks the
// ledger: what was open a moment ago is not enough.
func (h *harbour) used(p harbourPoint) bool {
	open, _, err := h.d.ledger.Requests(context.Background(), policy.Filter{States: policy.OpenStates()})
	if err != nil {
		return true
	}
	for _, r := range open {
		is := func(t policy.Target) bool { return t.Kind == p.Kind && t.ID == p.ID }
		target := r.Plan.Target != nil && is(policy.Target{Point: *r.Plan.Target})
		if target || slices.ContainsFunc(r.Plan.Targets, is) || strings.Contains(p.Description, r.ID) {
			return true
		}
	}
	return time.Since(p.CreatedAt) < 5*time.Second // it may be somebody's whose request is not seen yet
}

// takeAway removes the target of a restore that still waits for people.
func (h *harbour) takeAway() {
	h.d.mu.Lock()
	var targets []policy.Point
	deletes := map[policy.Point]bool{}
	for _, r := range h.d.open {
		for _, t := range r.Plan.Targets {
			deletes[policy.Point{Kind: t.Kind, ID: t.ID}] = true
		}
		if r.Plan.Target == nil || r.Plan.Target.Kind != "snapshot" {
			continue
		}
		p := policy.Point{Kind: r.Plan.Target.Kind, ID: r.Plan.Target.ID}
		if r.Effect == policy.Delete {
			deletes[p] = true
		} else if r.State == policy.StateHeld {
			targets = append(targets, p)
		}
	}
	h.d.mu.Unlock()
	for _, p := range targets {
		if !deletes[p] && h.d.fake.HasSnapshot(p.ID) {
			h.d.count("VPS.org: a snapshot that somebody wants to restore is deleted at the console")
			h.d.fake.DeleteSnapshotBehindTheBack(p.ID)
			return
		}
	}
}
