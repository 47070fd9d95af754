package slackbot

import "fmt"

// Names of what people press and fill in. A button's value is only a key for
// looking up; nothing else that comes back is believed.
const (
	actApprove     = "approve"       // opens the modal to approve
	actDeny        = "deny"          // opens the modal to deny
	actCancel      = "cancel"        // withdraws a request
	actAgain       = "again"         // asks again for the same
	actAgainNoCopy = "again_no_copy" // asks again, without a safety copy
	actUndo        = "undo"          // asks for the safety copy to be restored
	actShow        = "show"          // shows the request whose id is the value
	actPage        = "page"          // shows the next page of a listing
	actRow         = "row_"          // and a verb: asks for that, for a row
	actPick        = "pick:"         // and an argument: a menu to choose from
	actFill        = "fill:"         // and an argument: a field to write in
)

// Names of modals, and of the fields in them. They stay the same from one
// version of a modal to the next, so that Slack keeps what was typed.
const (
	viewApprove = "approve"
	viewDeny    = "deny"
	viewAsk     = "ask"
	viewTold    = "told"

	fieldTyped = "typed" // block and action: the server's name, typed
	fieldNote  = "note"  // block and action: what the person wants to add
	fieldAsk   = "ask:"  // block: and an argument
)

// rowValue is the value of a row's button: what to ask about.
func rowValue(kind string, server, point int64) string {
	return fmt.Sprintf("%s %d %d", kind, server, point)
}
