package tools

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/mark3labs/mcp-go/server"

	"github.com/vpsguard/vpsguard/policy"
)

// A session's id says whose it is, so that knowing it is not enough to answer, cancel or
// listen in somebody else's place. It needs no secret: who calls is told by each request
// alone, and whoever puts another owner into an id has named another session. So it outlives
// the process, and is understood by any other one. For the same reason it says what the client
// calls itself, which is told once, when it opens the session.
const sessionPrefix = "mcp-session-"

const (
	// mostName is how much of a client's name is kept in an id, in code points.
	mostName = 40
	// mostSession is how long the longest id that is made is, in bytes. Ids are remembered, and
	// a caller could make up as many of their own as they like.
	mostSession = len(sessionPrefix) + 26 + 1 + 32 + 1 + (4*mostName*8+5)/6
)

// sessionOf makes an id that nobody has, for an owner and their client.
func sessionOf(owner, client string) string {
	drawn, name := rand.Text(), base64.RawURLEncoding.EncodeToString([]byte(policy.Clean(client, mostName)))
	return sessionPrefix + drawn + "-" + ownedBy(drawn, owner) + "-" + name
}

// parts takes an id apart; of what is none of ours, nothing is left.
func parts(session string) (drawn, mark, client string) {
	rest, ok := strings.CutPrefix(session, sessionPrefix)
	all := strings.SplitN(rest, "-", 3)
	if !ok || len(all) != 3 || len(session) > mostSession {
		return "", "", ""
	}
	name, err := base64.RawURLEncoding.DecodeString(all[2])
	if err != nil {
		return "", "", ""
	}
	return all[0], all[1], policy.Clean(string(name), mostName)
}

// owns tells whether a session is an owner's.
func owns(session, owner string) bool {
	drawn, mark, _ := parts(session)
	return drawn != "" && mark == ownedBy(drawn, owner)
}

func ownedBy(drawn, owner string) string {
	sum := sha256.Sum256([]byte(drawn + " " + owner))
	return hex.EncodeToString(sum[:16])
}

// opener is what a client calls itself that opens a session, on the way to its id.
type opener struct{}

// owners makes the ids of sessions by who opens them.
type owners struct{ s *Server }

// ResolveSessionIdManager is [server.SessionIdManagerResolver]'s. There is no request where
// the library ends sessions by itself.
func (o owners) ResolveSessionIdManager(r *http.Request) server.SessionIdManager {
	if r == nil {
		return owned{}
	}
	client, _ := r.Context().Value(opener{}).(string)
	return owned{o.s.Actor(r.Context(), "").Key(), client, &o.s.ended}
}

// owned makes and knows the ids of one owner; of nobody, where ended is nil.
type owned struct {
	owner, client string
	ended         *endedSessions
}

// Generate makes an id.
func (o owned) Generate() string { return sessionOf(o.owner, o.client) }

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

// mostEnded is how many ended sessions are remembered, the last ones; an id has 72 bytes and the client's name.
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
