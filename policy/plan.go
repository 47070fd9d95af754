package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Server is the server that a plan is about.
type Server struct {
	ID     int64  `json:"id"`
	Name   string `json:"name"`
	IP     string `json:"ip,omitempty"`
	Status string `json:"status,omitempty"` // empty where servers cannot be read
	// Alone tells that no other server of the account is known to have this
	// name, or this name as its id.
	Alone bool `json:"alone"`
}

// Typed is what a person types to confirm: the server's name, or its id where
// the name is not unique or not plain ASCII.
func (s Server) Typed() string {
	if s.Alone && Plain(s.Name) {
		return s.Name
	}
	return strconv.FormatInt(s.ID, 10)
}

// Others says what is known of other servers that have this name or id; "" where it is
// alone. Where servers cannot be read, neither can that.
func (s Server) Others() string {
	switch {
	case s.Alone:
		return ""
	case s.Status == "":
		return "WHETHER OTHER SERVERS HAVE THIS NAME OR ID TOO IS NOT KNOWN"
	default:
		return "OTHER SERVERS HAVE THIS NAME OR ID TOO"
	}
}

// String is for people.
func (s Server) String() string { return fmt.Sprintf("%s (%d)", Clean(s.Name, 64), s.ID) }

// Point is a recovery point: a snapshot or a backup.
type Point struct {
	Kind      string    `json:"kind"` // snapshot, backup
	ID        int64     `json:"id"`
	Name      string    `json:"name"` // backups have none; then what they are described as
	CreatedAt time.Time `json:"created_at"`
	SizeMB    *int64    `json:"size_mb,omitempty"`
	Status    string    `json:"status"`
}

// Is tells whether two recovery points are the same one.
func (p Point) Is(q Point) bool { return p.Kind == q.Kind && p.ID == q.ID }

// String is for people.
func (p Point) String() string {
	switch {
	case p.Name == "":
		return fmt.Sprintf("%s %d", p.Kind, p.ID)
	case p.Kind == "backup": // has no name, only somebody's words
		return fmt.Sprintf("%s %d, described as %q", p.Kind, p.ID, Clean(p.Name, 64))
	default:
		return fmt.Sprintf("%s %d %q", p.Kind, p.ID, Clean(p.Name, 64))
	}
}

// Target is one of several recovery points that a plan is about.
type Target struct {
	Point
	Known Known `json:"known"` // what rules judge it by
}

// CopyKind says what is taken before an overwrite.
type CopyKind string

const (
	// NoCopy means that there is no way back.
	NoCopy CopyKind = "none"
	// CopySnapshot means that a snapshot is taken first.
	CopySnapshot CopyKind = "snapshot"
	// CopyBackup means that a manual backup is taken first, the snapshot slots being full.
	CopyBackup CopyKind = "backup"
)

// StepPlan is one step of a plan.
type StepPlan struct {
	Name   string        `json:"name"`            // safety_copy, or the operation's name
	Effect Effect        `json:"effect"`          // what this step does
	Makes  string        `json:"makes,omitempty"` // the kind of recovery point that it makes
	Point  *Point        `json:"point,omitempty"` // the one of several targets that it is about; filled in by this package
	Within time.Duration `json:"within"`          // how long it is watched
}

// Plan is what would happen, as people are shown it. It is stored with its
// request and never made from a model's words.
type Plan struct {
	Summary    string            `json:"summary"` // "restore snapshot 801 … over web-server-01 (12345)"
	Server     Server            `json:"server"`
	Target     *Point            `json:"target,omitempty"`  // nil for creates, and where there are several
	Targets    []Target          `json:"targets,omitempty"` // several, in the order of their steps: one each
	LastGood   bool              `json:"last_good"`         // a delete of the last good recovery point
	SafetyCopy CopyKind          `json:"safety_copy,omitempty"`
	Params     map[string]string `json:"params,omitempty"` // for creates: name, description; for several targets: how they were chosen
	Losses     []string          `json:"losses,omitempty"`
	Warnings   []string          `json:"warnings,omitempty"`
	Notes      []string          `json:"notes,omitempty"`
	Steps      []StepPlan        `json:"steps"`
	MadeAt     time.Time         `json:"made_at"`
	Known      Known             `json:"known,omitzero"`

	// Account, Operation, Effect and Digest are filled in by this package.
	Account   Account `json:"account"`
	Operation string  `json:"operation"`
	Effect    Effect  `json:"effect"`
	Digest    string  `json:"digest"`
}

// MustType tells whether [Server.Typed] has to be typed to confirm: always where a
// slip of the finger could, and in Slack's form for what takes a server's data, its
// last good recovery point, or several at once.
func (p Plan) MustType(w Way) bool {
	return w != WaySlack || p.Effect != Delete || p.LastGood || len(p.Targets) > 0
}

// Known is what else was read while planning. Rules judge it; people do not agree
// to it, so it may change.
type Known struct {
	Location      string    `json:"location,omitempty"`    // of the server
	FreeSnapshots int64     `json:"free_snapshots"`        // slots left on the server
	FreeBackups   int64     `json:"free_backups"`          // slots left for manual backups
	BackupType    string    `json:"backup_type,omitempty"` // of the target: manual, automatic
	ExpiresAt     time.Time `json:"expires_at,omitzero"`   // of the target, where it does
	Newest        bool      `json:"newest,omitempty"`      // the target is the newest recovery point of its server
}

// facts are what a person agrees to, and nothing that changes by itself: no
// ages, no slots, not the server's status.
type facts struct {
	Version    int
	Account    Account
	Operation  string
	ServerID   int64
	ServerName string
	Target     *Point
	LastGood   bool
	SafetyCopy CopyKind
	Params     map[string]string
	Targets    []Point `json:",omitempty"` // the digests of plans without are as they always were
}

func (p Plan) facts() facts {
	return facts{
		1, p.Account, p.Operation, p.Server.ID, p.Server.Name, p.Target,
		p.LastGood, p.SafetyCopy, p.Params, p.several(),
	}
}

// sealed gives the plan with what this package adds.
func (p Plan) sealed(a Account, d Descriptor, now time.Time) Plan {
	p.Account, p.Operation, p.Effect, p.MadeAt = a, d.Name, d.Effect, now.UTC().Truncate(time.Millisecond)
	if p.Target != nil {
		t := *p.Target
		t.CreatedAt = t.CreatedAt.UTC()
		p.Target = &t
	}
	p.Targets, p.Steps = slices.Clone(p.Targets), slices.Clone(p.Steps)
	for i := range p.Targets {
		p.Targets[i].CreatedAt = p.Targets[i].CreatedAt.UTC()
		if i < len(p.Steps) {
			p.Steps[i].Point = &p.Targets[i].Point
		}
	}
	p.Digest = digest(p.facts())
	return p
}

// differs says in plain words what is no longer as it was shown; "" where all is.
func (p Plan) differs(now Plan) string {
	if p.Digest == now.Digest {
		return ""
	}
	var out []string
	changed := func(what string, a, b any) {
		if x, y := digest(a), digest(b); x != y {
			out = append(out, what)
		}
	}
	changed("the account", p.Account, now.Account)
	changed("the server's name", p.Server.Name, now.Server.Name)
	changed("the server", p.Server.ID, now.Server.ID)
	if p.Target != nil && now.Target != nil {
		a, b := *p.Target, *now.Target
		changed("the recovery point's name", a.Name, b.Name)
		changed("its time of creation", a.CreatedAt, b.CreatedAt)
		changed("its size", a.SizeMB, b.SizeMB)
		changed("its status", a.Status, b.Status)
	}
	for i, a := range p.Targets {
		if i < len(now.Targets) {
			changed(a.short(), a.Point, now.Targets[i].Point)
		}
	}
	changed("how many there are", len(p.Targets), len(now.Targets))
	changed("whether it is the last good recovery point", p.LastGood, now.LastGood)
	changed("the kind of safety copy that can be taken", p.SafetyCopy, now.SafetyCopy)
	if len(out) == 0 {
		return "the plan"
	}
	return strings.Join(out, ", ")
}

// purpose identifies what a call wants, whoever wants it and why: calls with the
// same purpose are duplicates, and denials bind to it.
func (p Plan) purpose(withCopy bool) string {
	f := p.facts()
	f.LastGood, f.ServerName, f.Targets = false, "", nil
	switch { // what counts is whether there is one, not which slots are free
	case !withCopy:
		f.SafetyCopy = ""
		if p.Effect == Delete { // nor how several were chosen
			f.Params = nil
		}
	case f.SafetyCopy == CopyBackup:
		f.SafetyCopy = CopySnapshot
	}
	if f.Target != nil {
		f.Target = &Point{Kind: f.Target.Kind, ID: f.Target.ID}
	}
	return digest(f)
}

func digest(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain data only
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}
