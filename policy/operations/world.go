package operations

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/policy"
)

// point is a recovery point with what only lists and plans need.
type point struct {
	policy.Point
	server      apiclient.ServerRef
	backupType  string // manual, automatic; empty for snapshots
	expires     *time.Time
	description string // as VPS.org has it
	about       string // for people
}

// mark is what stands behind the description of what we made, see [described].
var mark = regexp.MustCompile(`\[vpsguard (rq_[a-z0-9]{6}) [a-z0-9]{8}\]$`)

// unmarked shows a description without the nonce in it.
func unmarked(s string) string {
	// Ours is the last one; whatever else looks like it is somebody's text.
	if i := mark.FindStringSubmatchIndex(s); i != nil {
		s = policy.Clean(s[:i[0]], 40) + " (vpsguard " + s[i[2]:i[3]] + ")"
	}
	return policy.Clean(s, 64)
}

func (p point) good() bool { return p.Status == apiclient.StatusCompleted }

func ofSnapshot(s apiclient.Snapshot) point {
	return point{
		Point:  policy.Point{Kind: kindSnapshot, ID: s.ID, Name: s.Name, CreatedAt: s.CreatedAt, SizeMB: s.SizeMB, Status: s.Status},
		server: s.Server, description: s.Description, about: unmarked(s.Description),
	}
}

func ofBackup(b apiclient.Backup) point {
	return point{
		// Backups have no name; people know them by their description.
		Point: policy.Point{
			Kind: kindBackup, ID: b.ID, Name: unmarked(b.Description), CreatedAt: b.CreatedAt, SizeMB: b.SizeMB, Status: b.Status,
		},
		server: b.Server, backupType: b.Type, expires: b.ExpiresAt, description: b.Description, about: unmarked(b.Description),
	}
}

// snapshots and backups read the points of one server, or of all for id 0. The
// server is checked here again, should the API not filter.
func (h house) snapshots(ctx context.Context, server int64) ([]point, error) {
	found, err := h.api.Snapshots(ctx, server)
	if err != nil {
		return nil, told("listing snapshots", err)
	}
	return points(found, ofSnapshot, server), nil
}

func (h house) backups(ctx context.Context, server int64, kind string) ([]point, error) {
	found, err := h.api.Backups(ctx, apiclient.BackupFilter{ServerID: server, Type: kind})
	if err != nil {
		return nil, told("listing backups", err)
	}
	out := points(found, ofBackup, server)
	return slices.DeleteFunc(out, func(p point) bool { return kind != "" && p.backupType != kind }), nil
}

// points converts, and sorts newest first: ids do not grow with time, so only
// the time of creation tells.
func points[T any](found []T, of func(T) point, server int64) []point {
	out := make([]point, 0, len(found))
	for _, f := range found {
		if p := of(f); server == 0 || p.server.ID == server {
			out = append(out, p)
		}
	}
	newestFirst(out)
	return out
}

func newestFirst(ps []point) {
	slices.SortStableFunc(ps, func(a, b point) int { return b.CreatedAt.Compare(a.CreatedAt) })
}

// all reads both kinds of one server, newest first.
func (h house) all(ctx context.Context, server int64) ([]point, error) {
	out, err := h.snapshots(ctx, server)
	if err != nil {
		return nil, err
	}
	backups, err := h.backups(ctx, server, "")
	if err != nil {
		return nil, err
	}
	out = append(out, backups...)
	newestFirst(out)
	return out, nil
}

// servers reads the server list. ok is false where the token may not: then
// servers are known from their recovery points only, without status and address.
func (h house) servers(ctx context.Context) (list []apiclient.Server, ok bool, err error) {
	list, err = h.api.Servers(ctx, apiclient.ServerFilter{})
	if err == nil {
		return list, true, nil
	}
	if k := apiclient.KindOf(err); k != apiclient.Forbidden && k != apiclient.NotFound {
		return nil, false, told("listing servers", err)
	}
	found, err := h.all(ctx, 0)
	if err != nil {
		return nil, false, err
	}
	for _, p := range found {
		if !slices.ContainsFunc(list, func(s apiclient.Server) bool { return s.ID == p.server.ID }) {
			list = append(list, apiclient.Server{ID: p.server.ID, Name: p.server.Name})
		}
	}
	return list, false, nil
}

// server finds the one server that a text means: its id or its exact name.
func (h house) server(ctx context.Context, text string) (policy.Server, error) {
	s, _, err := h.serverAt(ctx, text)
	return s, err
}

// serverAt is server, and says where it is.
func (h house) serverAt(ctx context.Context, text string) (_ policy.Server, location string, err error) {
	list, whole, err := h.servers(ctx)
	if err != nil {
		return policy.Server{}, "", err
	}
	var hits []apiclient.Server
	for _, s := range list {
		if s.Name == text || strconv.FormatInt(s.ID, 10) == text {
			hits = append(hits, s)
		}
	}
	switch len(hits) {
	case 1:
		s := hits[0]
		namesakes := 0
		for _, o := range list {
			if o.Name == s.Name || strconv.FormatInt(o.ID, 10) == s.Name {
				namesakes++
			}
		}
		return policy.Server{ID: s.ID, Name: s.Name, IP: s.IPAddress, Status: s.Status, Alone: whole && namesakes == 1}, s.Location, nil
	case 0:
		hint := "list_servers shows them; a name must be exact."
		if near := nearest(list, text); near != "" {
			hint = "Did you mean " + near + "? A name must be exact."
		}
		if !whole {
			hint = "The API token may not read the server list, so only servers with recovery points are known."
		}
		return policy.Server{}, "", policy.Errorf(policy.NotFound, "there is no server %q", policy.Clean(text, 64)).WithHint("%s", hint)
	default:
		names := make([]string, 0, len(hits))
		for _, s := range hits[:min(len(hits), 5)] {
			names = append(names, fmt.Sprintf("%s (id %d, %s)", policy.Clean(s.Name, 40), s.ID, s.IPAddress))
		}
		return policy.Server{}, "", policy.Errorf(policy.Invalid, "%q could mean %d servers: %s",
			policy.Clean(text, 64), len(hits), strings.Join(names, "; ")).WithHint("Use the id of the one that is meant, if no other has that name.")
	}
}

// nearest gives a server name that contains the text, or is contained in it.
func nearest(list []apiclient.Server, text string) string {
	for _, s := range list {
		a, b := strings.ToLower(s.Name), strings.ToLower(text)
		if a != "" && (strings.Contains(a, b) || strings.Contains(b, a) || off(a, b)) {
			return policy.Clean(s.Name, 64)
		}
	}
	return ""
}

// off tells whether two texts of one length differ in one place, or one has one letter more.
func off(a, b string) bool {
	if len(a) < len(b) {
		a, b = b, a
	}
	if len(a)-len(b) > 1 {
		return false
	}
	i := 0
	for i < len(b) && a[i] == b[i] {
		i++
	}
	if len(a) == len(b) {
		return i == len(b) || a[i+1:] == b[i+1:]
	}
	return a[i+1:] == b[i:]
}

// scene is what plans are made from: one server and its recovery points, read afresh.
type scene struct {
	server policy.Server
	place  string  // where the server is
	points []point // newest first, without what the request itself has made
	copy   *point  // what the request itself has made, if it is still there
	now    time.Time
}

func (h house) scene(ctx context.Context, in policy.PlanInput) (scene, error) {
	ctx = apiclient.Fresh(ctx)
	server, place, err := h.serverAt(ctx, in.Arguments.Text("server"))
	if err != nil {
		return scene{}, err
	}
	found, err := h.all(ctx, server.ID)
	if err != nil {
		return scene{}, err
	}
	sc := scene{server: server, place: place, points: found, now: in.Now}
	if in.Again == nil {
		return sc, nil
	}
	if own, ok := in.Again.Copy(); ok {
		if i := slices.IndexFunc(found, func(p point) bool { return p.Is(own) }); i >= 0 {
			made := found[i]
			sc.copy, sc.points = &made, slices.Delete(found, i, i+1)
		}
	}
	if in.Again.Effect.Destroys() && server.Status == apiclient.ServerRestoring {
		// Were ours sent now, nobody could tell whose restore is seen afterwards.
		return scene{}, policy.Errorf(policy.Unavailable, "%s is being restored; what was approved waits for the end of that", server)
	}
	return sc, nil
}

// target finds the recovery point that a call names, on that server and nowhere else.
func (h house) target(ctx context.Context, sc scene, kind string, id int64) (point, error) {
	for _, p := range sc.points {
		if p.Kind == kind && p.ID == id {
			return p, nil
		}
	}
	read := h.snapshots
	if kind == kindBackup {
		read = func(ctx context.Context, server int64) ([]point, error) { return h.backups(ctx, server, "") }
	}
	elsewhere, err := read(apiclient.Fresh(ctx), 0)
	if err != nil {
		return point{}, err
	}
	for _, p := range elsewhere {
		if p.ID == id {
			return point{}, policy.Errorf(policy.Invalid, "%s %d is of %s (%d), not of %s", kind, id, policy.Clean(p.server.Name, 64), p.server.ID, sc.server).
				WithHint("Check which server is meant; list_recovery_points shows what each one has.")
		}
	}
	return point{}, policy.Errorf(policy.NotFound, "%s has no %s %d", sc.server, kind, id).WithHint("list_recovery_points shows what it has.")
}

// known is what rules may judge beside the plan; target is nil for creates.
func (sc scene) known(target *point) policy.Known {
	k := policy.Known{
		Location:      policy.Clean(sc.place, 64),
		FreeSnapshots: int64(max(maxSnapshots-sc.count(isSnapshot), 0)), FreeBackups: int64(max(maxBackups-sc.count(isManualBackup), 0)),
	}
	if target == nil {
		return k
	}
	k.BackupType = target.backupType
	if target.expires != nil {
		k.ExpiresAt = target.expires.UTC()
	}
	k.Newest = !slices.ContainsFunc(sc.points, func(p point) bool { return p.CreatedAt.After(target.CreatedAt) })
	return k
}

func (sc scene) count(is func(point) bool) (n int) {
	for _, p := range sc.points {
		if is(p) {
			n++
		}
	}
	return n
}

func isSnapshot(p point) bool { return p.Kind == kindSnapshot }
func isManualBackup(p point) bool {
	return p.Kind == kindBackup && p.backupType == apiclient.BackupManual
}

// oldest names a few points, the oldest first, for whoever has to free a slot.
func (sc scene) oldest(is func(point) bool) string {
	var out []string
	for _, p := range slices.Backward(sc.points) {
		if is(p) && len(out) < 3 {
			out = append(out, fmt.Sprintf("%s (%s)", p.Point, policy.Ago(p.CreatedAt, sc.now)))
		}
	}
	return strings.Join(out, ", ")
}
