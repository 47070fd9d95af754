package tools

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"

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
	return owned{o.s.Actor(r.Context(), "").Key()}
}

type owned struct{ owner string }

// Generate makes an id.
func (o owned) Generate() string { return sessionOf(o.owner) }

// Validate tells whether an id is the caller's. What it says of the session is nothing: the library
// makes do with one that it has forgotten.
func (o owned) Validate(id string) (isTerminated bool, err error) {
	if !owns(id, o.owner) {
		return false, errors.New("it is somebody else's")
	}
	return false, nil
}

// Terminate has nothing to remember: what the session held is dropped by the library.
func (o owned) Terminate(string) (isNotAllowed bool, err error) { return false, nil }
