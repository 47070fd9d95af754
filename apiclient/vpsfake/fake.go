package vpsfake

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// DefaultToken is accepted where Options name no other.
	DefaultToken = "vps_fake_4f9c2a7d81e6b350"
	// BasePath is where the API lives below the host.
	BasePath = "/api/v1"

	// MaxSnapshots is the documented limit for one server.
	MaxSnapshots = 5
	// MaxManualBackups is the documented limit for one server; automatic ones do
	// not count.
	MaxManualBackups = 10
)

// DocumentationTime is the time of the create in the documentation's example, and
// what a Fake without a clock takes for now.
var DocumentationTime = time.Date(2025, 1, 16, 16, 15, 0, 0, time.UTC)

// Options are what a Fake can do without.
type Options struct {
	// Now is the clock. nil is a clock that stands at DocumentationTime.
	Now func() time.Time
	// Token is what requests must carry; "" means DefaultToken.
	Token string
	// CreateTakes is how long a snapshot or backup stays in_progress; with 0 the
	// next look finds it completed.
	CreateTakes time.Duration
	// RestoreTakes is how long a server stays restoring; with 0 nobody ever sees
	// it so.
	RestoreTakes time.Duration
	// RestoreShows has RestoreTakes count from when a client was first told that
	// the server is restoring: who looks late, on a busy machine, misses nothing.
	RestoreShows bool
	// Demo adds the servers of [Fake.Demo].
	Demo bool
	// PageSize splits lists into pages with a "next" link. 0 sends them whole, as
	// documented.
	PageSize int
	// BareLists sends lists as arrays without the documented envelope.
	BareLists bool
	// EmptyBackupRestore answers a restore from a backup with 202 and no body; its
	// answer is not documented.
	EmptyBackupRestore bool
	// OnMutation is called for each accepted request that would change something,
	// before anything is changed and without a lock held: it may block, or end
	// the process.
	OnMutation func(Mutation)
	// AfterMutation is called after acting and before the answer is sent.
	AfterMutation func(Mutation)
}

// Fake is one VPS.org account with its servers, snapshots and backups.
type Fake struct {
	o Options

	mu           sync.Mutex
	account      account
	servers      map[int64]*server
	snapshots    map[int64]*point
	backups      map[int64]*point
	lastSnapshot int64
	lastBackup   int64
	denyServers  bool
	faults       []*Fault
	mutations    []Mutation
	reads        map[string]int
	// quirk is the fault of the request being carried out, "" for none.
	quirk string
}

var _ http.Handler = (*Fake)(nil)

type account struct{ email, first, last, company string }

type server struct {
	id                                      int64
	name, hostname, status, ip, place, plan string
	created, updated                        time.Time
	// data names the point that the server's data comes from.
	data string
	// restored is when a restore ends, zero if none runs or it never ends.
	restored time.Time
	// unseen tells that restored is set anew when a client is told.
	unseen bool
}

// point is a snapshot or a backup.
type point struct {
	id          int64
	server      int64
	name        string // of a snapshot
	kind        string // of a backup: manual or automatic
	status      string
	size        int64 // MB, 0 while in progress
	created     time.Time
	expires     time.Time // zero: never
	description string
	// ready is when it stops being in_progress, zero if it does not.
	ready time.Time
	// fate is the status it then gets; "" makes it vanish.
	fate string
}

const (
	completed  = "completed"
	inProgress = "in_progress"
	active     = "active"
	restoring  = "restoring"
	stopped    = "stopped"
	manual     = "manual"
	automatic  = "automatic"
)

// New returns a Fake with exactly the data of the documentation's examples:
// server 12345 "web-server-01" with snapshots 801 and 798 and backups 501, 499
// and 495. The next ids are 802 and 502, as in the examples.
func New(o Options) *Fake {
	if o.Now == nil {
		o.Now = func() time.Time { return DocumentationTime }
	}
	if o.Token == "" {
		o.Token = DefaultToken
	}
	f := &Fake{
		o:         o,
		account:   account{email: "ops@example.com", first: "Ada", last: "Byron", company: "Example Ltd"},
		servers:   make(map[int64]*server),
		snapshots: make(map[int64]*point),
		backups:   make(map[int64]*point),
		reads:     make(map[string]int),
	}
	f.seed()
	if o.Demo {
		f.Demo()
	}
	return f
}

// Token returns the token that requests must carry.
func (f *Fake) Token() string { return f.o.Token }

// Handler returns the Fake itself.
func (f *Fake) Handler() http.Handler { return f }

// settle applies what time has brought. The lock is held.
func (f *Fake) settle() {
	now := f.o.Now()
	for _, points := range []map[int64]*point{f.snapshots, f.backups} {
		for id, p := range points {
			if p.ready.IsZero() || now.Before(p.ready) {
				continue
			}
			p.ready = time.Time{}
			switch p.fate {
			case "":
				delete(points, id)
			case completed:
				p.complete()
			default:
				p.status = p.fate
			}
		}
	}
	for _, s := range f.servers {
		if !s.restored.IsZero() && !s.unseen && !now.Before(s.restored) {
			s.status, s.updated, s.restored = active, s.restored, time.Time{}
		}
	}
}

func (p *point) complete() {
	p.status = completed
	if p.size == 0 {
		p.size = 4000 + p.id*37%1500
	}
}

// origin names the point as ServerData does.
func (p *point) origin() string {
	if p.kind != "" {
		return fmt.Sprintf("backup:%d", p.id)
	}
	return fmt.Sprintf("snapshot:%d", p.id)
}

func (f *Fake) serverName(id int64) string {
	if s := f.servers[id]; s != nil {
		return s.name
	}
	return ""
}

func (f *Fake) count(points map[int64]*point, server int64, kind string) int {
	n := 0
	for _, p := range points {
		if p.server == server && p.kind == kind {
			n++
		}
	}
	return n
}

// validName tells whether a snapshot may be called so: "alphanumeric, hyphens,
// underscore".
func validName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}
