package policy

import (
	"slices"
	"time"
)

// Assurance says how sure it is that a person agreed.
type Assurance string

const (
	// AssuranceNone proves nothing.
	AssuranceNone Assurance = ""
	// Claimed means that an MCP client says its user filled in a form.
	Claimed Assurance = "claimed"
	// Local means that someone at a terminal on the host knew the passphrase.
	Local Assurance = "local"
	// Verified means a Slack-signed modal, submitted by a known approver.
	Verified Assurance = "verified"
)

// Way is a way to confirm.
type Way string

const (
	// WaySlack is the modal in Slack.
	WaySlack Way = "slack"
	// WayTerminal is a terminal on the host, with the passphrase.
	WayTerminal Way = "terminal"
	// WayElicitation is a form in the MCP client. It counts only where the operator wrote it down.
	WayElicitation Way = "elicitation"
)

// Says tells, for people and models, who can confirm this way. It never spells
// out a command: a model must not be led to one.
func (w Way) Says() string {
	switch w {
	case WaySlack:
		return "an approver in Slack"
	case WayTerminal:
		return "a person at the host's terminal"
	case WayElicitation:
		return "the person in front of the client that asked, in a form there"
	default:
		return "nobody"
	}
}

// assurance is what a way gives.
func (w Way) assurance() Assurance {
	switch w {
	case WaySlack:
		return Verified
	case WayTerminal:
		return Local
	case WayElicitation:
		return Claimed
	default:
		return AssuranceNone
	}
}

// Verdict is what a person says of a held request.
type Verdict struct {
	By     Actor
	Way    Way
	Digest string            // of the plan that the person was shown
	Typed  string            // what the person typed where the server's name is asked for
	Note   string            // optional, at most 500 characters
	Proof  map[string]string // what the door has, such as team, user, channel and message in Slack
	// Secret is the passphrase, for [WayTerminal]. It is checked here and never stored.
	Secret string
	form   *formState // that was answered, for [WayElicitation]; no door can make one
}

// Approval is one person's verdict as it is stored.
type Approval struct {
	By        Actor             `json:"by"`
	Way       Way               `json:"way"`
	Assurance Assurance         `json:"assurance"`
	Digest    string            `json:"digest"`
	Note      string            `json:"note,omitempty"`
	Person    string            `json:"person,omitempty"` // whom the rules in force said they are
	As        []string          `json:"as,omitempty"`     // which entries of [Conditions].Approvers they were
	Proof     map[string]string `json:"proof,omitempty"`
	At        time.Time         `json:"at"`
}

// Conditions are what has to be met before a request may run.
type Conditions struct {
	Approvals int   `json:"approvals"` // how many people; 0 only where nothing is destroyed
	Ways      []Way `json:"ways"`      // that count
	// Approvers are lists of who may approve: whoever approves is on each of them.
	// An entry is a Slack user (U…), a Slack user group (S…) or "terminal". None
	// means whoever a way allows.
	Approvers     [][]string    `json:"approvers,omitempty"`
	NotRequester  bool          `json:"not_requester,omitempty"`  // whoever asked does not count
	Delay         time.Duration `json:"delay,omitempty"`          // between the last approval and the start
	ApproveWithin time.Duration `json:"approve_within,omitempty"` // shorter than the process's, where set
	StartWithin   time.Duration `json:"start_within,omitempty"`   // shorter than the process's, where set
	SafetyCopy    bool          `json:"safety_copy,omitempty"`    // an overwrite must take one first
	Rules         []string      `json:"rules,omitempty"`          // which rules said so
	Hash          string        `json:"hash,omitempty"`           // of the rules that were in force
	Refused       string        `json:"refused,omitempty"`        // a rule's sentence, where it may not be asked at all
}

// by leaves out the ways by which nobody could agree to what an actor asks for: a
// form is answered where it was asked for, by whoever asked, who is on no list.
func (c Conditions) by(a Actor) []Way {
	return slices.DeleteFunc(slices.Clone(c.Ways), func(w Way) bool {
		return w == WayElicitation && (a.Door != DoorMCP || c.NotRequester || len(c.Approvers) > 0)
	})
}

// reached leaves out those of some ways by which nobody is on each list of approvers:
// whoever confirms at the terminal is "terminal", and in Slack the other entries.
func (c Conditions) reached(ways []Way) []Way {
	return slices.DeleteFunc(slices.Clone(ways), func(w Way) bool {
		return slices.ContainsFunc(c.Approvers, func(list []string) bool {
			return !slices.ContainsFunc(list, func(entry string) bool { return (entry == EntryTerminal) == (w == WayTerminal) })
		})
	})
}

// floorRule is the name of the rule that always holds.
const floorRule = "floor: what overwrites or deletes takes a person"

// floor is what no configuration goes below.
func floor(e Effect) Conditions {
	if e.Destroys() {
		return Conditions{Approvals: 1, Rules: []string{floorRule}}
	}
	return Conditions{}
}
