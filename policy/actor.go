package policy

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Door is a way into the program.
type Door string

const (
	// DoorMCP is where AI clients call.
	DoorMCP Door = "mcp"
	// DoorSlack is where people in Slack call.
	DoorSlack Door = "slack"
	// DoorTerminal is the command line on the host.
	DoorTerminal Door = "terminal"
)

// Role is how far a credential reaches at the MCP door.
type Role string

const (
	// RoleRead is for looking only.
	RoleRead Role = "read"
	// RoleOperate is for looking and for asking for changes. It confirms nothing.
	RoleOperate Role = "operate"
)

// Actor is who calls: an identity that a door vouches for.
type Actor struct {
	Door    Door   `json:"door"`
	Subject string `json:"subject"`          // unique within the door, and stable
	Name    string `json:"name"`             // for people; proves nothing
	Client  string `json:"client,omitempty"` // what an MCP client calls itself; proves nothing
	Vouched string `json:"vouched"`          // what vouches for the subject
	Role    Role   `json:"role,omitempty"`   // how far its credential reaches; empty for people
	Person  string `json:"person,omitempty"` // whom its credential was made for; what that counts, rules say
	// ByMessage tells that a message said it, which whoever has the person's token may
	// have sent: a program as well.
	ByMessage bool `json:"by_message,omitempty"`
}

// Operates tells whether the actor may ask for changes. What a door does not say is
// no at the MCP door, where programs call, and yes where people do.
func (a Actor) Operates() bool {
	return a.Role == RoleOperate || a.Role == "" && a.Door != DoorMCP
}

// errReader refuses whoever may only look.
func errReader() *Error {
	return Errorf(Forbidden, "this caller may read, and ask for no changes").
		WithHint("Its operator can give it the role operate; reads work.")
}

// Key identifies the actor over all doors.
func (a Actor) Key() string { return string(a.Door) + ":" + a.Subject }

// Called is the name for people to read, "" where there is none. What somebody in Slack
// or at an issuer may have chosen to be called is in quotes, so that it cannot say what
// stands beside a name: a door, or who vouches.
func (a Actor) Called() string {
	name := Clean(a.Name, 80)
	if name != "" && (a.Door == DoorSlack || a.Door == DoorMCP && strings.HasPrefix(a.Subject, "oidc:")) {
		return strconv.Quote(name)
	}
	return name
}

// String is for people.
func (a Actor) String() string {
	if a.Door == "" { // the program itself
		return a.Name
	}
	if name := a.Called(); name != "" && a.Name != a.Subject {
		return name + " (" + string(a.Door) + ")"
	}
	return a.Subject + " (" + string(a.Door) + ")"
}

// Call is one call through a door.
type Call struct {
	Actor     Actor
	Operation string
	Arguments json.RawMessage // a JSON object, or empty for none
	Asks      bool            // the client can show its user a [Form]
	Answer    *FormAnswer     // what it says that came of one; nil where it says nothing
	Place     string          // where the door was called, in its own words, at most 500 bytes; decides nothing
	At        time.Time       // filled in by [Service.Call]: the clock that decides
	// News is told how the request stands while the call waits for it: at first, at
	// each change and every few seconds between, on the goroutine of the call and
	// never after it. What it does takes its time off the wait. Optional.
	News func(Standing)
}

// Account is whose servers a process works on. Only a process with the same
// account decides or runs a request.
type Account struct {
	URL   string `json:"url"`             // the API's base URL
	Owner string `json:"owner,omitempty"` // the e-mail address, from account/me; empty where it cannot be read
}

// sees tells whether a server's id means the same to two accounts. It does at one API,
// whoever owns the server: an owner's e-mail address may have been changed.
func (a Account) sees(b Account) bool { return a.URL == b.URL }

// String is for people.
func (a Account) String() string {
	if a.Owner == "" {
		return a.URL
	}
	return a.Owner + " at " + a.URL
}
