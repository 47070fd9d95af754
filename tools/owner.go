package tools

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/mark3labs/mcp-go/server"
)

// A session's id says whose it is, so that knowing it is not enough to answer, cancel or
// listen in somebody else's place. It needs no secret: who calls is told by each request
// alone, and whoever puts another owner into an id has named another session. So it outlives
// the process, and is understood by any other one.
const sessionPrefix = "mcp-session-"

// sessionOf makes an id that nobody has, for an owner.
func sessionOf(owner string) string {
	drawn := rand.Text()
	return sessionPrefix + drawn + "-" + ownedBy(drawn, owner)
}

// owns tells whether a session is an owner's.
func owns(session, owner string) bool {
	rest, ok := strings.CutPrefix(session, sessionPrefix)
	drawn, mark, cut := strings.Cut(rest, "-")
	return ok && cut && drawn != "" && mark == ownedBy(drawn, owner)
}

func ownedBy(drawn, owner string) string {
	sum := sha256.Sum256([]byte(drawn + " " + owner))
	return hex.EncodeToString(sum[:16])
}

// owners makes the ids of sessions by who opens them.
type owners struct{ s *Server }

// ResolveSessionIdManager is [server.SessionIdManagerResolver]'s. There is no request where
// the library ends sessions by itself.
func (o owners) ResolveSessionIdManager(r *http.Request) server.SessionIdManager {
	if r == nil {
		return owned{}
	}
	return owned{o.s.Actor(r.Context(), "").Key(), &o.s.ended}
}

// owned makes and knows the ids of one owner; of nobody, where ended is nil.
type owned struct {
	owner string
	ended *endedSessions
}

// Generate makes an id.
func (o owned) Generate() string { return sessionOf(o.owner) }

// Validate tells whether an id is the caller's. What it says of the session is nothing: the library
// makes do with one that it has forgotten, and those that were ended do not come this far.
func (o owned) Validate(id string) (isTerminated bool, err error) {
	if !owns(id, o.owner) {
		return false, errors.New("it is somebody else's")
	}
	return false, nil
}

// Terminate remembers what its owner has ended. What was only idle for long goes on when its
// client does.
func (o owned) Terminate(id string) (isNotAllowed bool, err error) {
	if o.ended != nil && owns(id, o.owner) {
		o.ended.add(id)
	}
	return false, nil
}

// mostEnded is how many ended sessions are remembered, the last ones; an id has 71 bytes.
const mostEnded = 10_000

// endedSessions are those that clients have ended here, lest one goes on by mistake: no
// door is shut by it, for whoever may use an id may open another. Other replicas do not know.
type endedSessions struct {
	mu   sync.Mutex
	ids  map[string]bool
	turn []string // as they were ended
}

func (e *endedSessions) has(id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ids[id]
}

func (e *endedSessions) add(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ids[id] {
		return
	}
	if e.ids == nil {
		e.ids = map[string]bool{}
	}
	if len(e.turn) == mostEnded {
		delete(e.ids, e.turn[0])
		e.turn = e.turn[1:]
	}
	e.ids[id], e.turn = true, append(e.turn, id)
}
