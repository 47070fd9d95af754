package slackbot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/slack-go/slack"

	"github.com/vpsguard/vpsguard/policy"
)

var (
	errUnreadable    = errors.New("an answer that proves nothing")
	errBeforeSending = errors.New("it could not be sent")
)

// wholeAnswer tells whether an answer has what it must have: slack-go takes one without
// "ok" and without an error for a good one.
func wholeAnswer(err error, whole bool) error {
	if err == nil && !whole {
		return errUnreadable
	}
	return err
}

// textless refuses a message that screen readers and phones could not show.
func textless(method string) error {
	return policy.Errorf(policy.Internal, "vpsguard made a message without a text; it was not sent").
		Because(&slackError{Method: method, Code: "no_text", Fate: notSent})
}

// sending is what became of a call.
type sending int

const (
	// wasSent means that Slack did it.
	wasSent sending = iota
	// notSent means that Slack certainly did not.
	notSent
	// maybeSent means that nobody knows.
	maybeSent
)

// slackError is a call that failed. It holds no more than may be logged: never a
// body, an address or a token.
type slackError struct {
	Method string
	Code   string        // Slack's, or one of this program's for what Slack did not say
	Needed string        // the scope that is missing
	After  time.Duration // when to ask again, for codeRateLimited
	Fate   sending
	Err    error // the context's end, if that was it
}

const (
	codeRateLimited  = "ratelimited"
	codeNoConnection = "no_connection"
	codeNoAnswer     = "no_answer"
	codeUnreadable   = "unreadable_answer"
)

func (e *slackError) Error() string {
	s := e.Method + ": " + e.Code
	if e.Needed != "" {
		s += " (needs " + e.Needed + ")"
	}
	if e.After > 0 {
		s += fmt.Sprintf(" (for %v)", e.After)
	}
	return s
}

func (e *slackError) Unwrap() error { return e.Err }

// Sent is one call of Slack's Web API, as it went.
type Sent struct {
	Method  string // chat.postMessage, …, or response_url: one of about ten
	Outcome Fate
	Again   bool // the same was sent before
}

// Fate is how a call of Slack's Web API went. The set is closed.
type Fate string

const (
	// SentOK means that Slack did it.
	SentOK Fate = "ok"
	// SentLimited means that Slack asked for a pause.
	SentLimited Fate = "rate_limited"
	// SentRefused means that Slack said no.
	SentRefused Fate = "refused"
	// SentLost means that it may have been done.
	SentLost Fate = "lost"
	// SentNowhere means that there was no connection.
	SentNowhere Fate = "no_connection"
	// SentNotYet means that it was not sent, as its turn would have come too late.
	SentNotYet Fate = "held_back"
)

// outcome is the fate of a call, without Slack's own words: there is no end to them.
func (e *slackError) outcome() Fate {
	switch {
	case e == nil:
		return SentOK
	case e.Code == codeRateLimited:
		return SentLimited
	case e.Code == codeNoConnection:
		return SentNowhere
	case e.Fate == maybeSent:
		return SentLost
	default:
		return SentRefused
	}
}

var (
	// codeShape keeps what is not a code out of logs and cards.
	codeShape = regexp.MustCompile(`^[a-z0-9_]{1,60}$`)
	// scopeShape is a list of scopes.
	scopeShape = regexp.MustCompile(`^[a-z0-9_.:, -]{1,120}$`)
)

// halfDone are the errors after which, as Slack's documentation says, some of it may
// have been done all the same.
var halfDone = []string{"internal_error", "fatal_error", "request_timeout", "service_unavailable"}

// asSlackError turns any failure of a call into what may be told of it. unsent tells that
// there was no connection.
func asSlackError(method string, err error, unsent bool) *slackError {
	e := &slackError{Method: method, Code: codeNoAnswer, Fate: maybeSent}
	var limit *slack.RateLimitedError
	var refusal slack.SlackErrorResponse
	var status slack.StatusCodeError
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &limit):
		e.Code, e.Fate, e.After = codeRateLimited, notSent, max(limit.RetryAfter, time.Second)
	case errors.As(err, &refusal) && !codeShape.MatchString(refusal.Err):
		e.Code = codeUnreadable
	case errors.As(err, &refusal):
		e.Code = refusal.Err
		if !slices.Contains(halfDone, e.Code) {
			e.Fate = notSent
		}
		if e.Code == codeRateLimited {
			e.After = time.Second
		}
		if scopeShape.MatchString(refusal.Needed) {
			e.Needed = refusal.Needed
		}
	case errors.As(err, &status) && status.Code == http.StatusTooManyRequests: // without a Retry-After
		e.Code, e.Fate, e.After = codeRateLimited, notSent, time.Second
	case errors.As(err, &status):
		e.Code = fmt.Sprintf("http_%d", status.Code)
		if status.Code >= 400 && status.Code < 500 && status.Code != http.StatusRequestTimeout {
			e.Fate = notSent
		}
	case errors.Is(err, slack.ErrParametersMissing), errors.Is(err, slack.ErrBlockIDNotUnique), errors.Is(err, errBeforeSending):
		e.Code, e.Fate = "invalid_arguments", notSent
	case unsent:
		e.Code, e.Fate = codeNoConnection, notSent
	case errors.Is(err, errUnreadable), errors.As(err, &syntax), errors.As(err, &kind), errors.Is(err, io.ErrUnexpectedEOF):
		e.Code = codeUnreadable
	}
	for _, end := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, end) {
			e.Err = end
		}
	}
	return e
}

// reached tells what a call proves about what it wanted.
func reached(err error) sending {
	var e *slackError
	switch {
	case err == nil:
		return wasSent
	case errors.As(err, &e):
		return e.Fate
	default:
		return maybeSent
	}
}

// slackCode is Slack's word for what went wrong.
func slackCode(err error) string {
	var e *slackError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

var (
	goneCodes = []string{
		"edit_window_closed", "message_not_found", "cant_update_message", "thread_not_found",
		"channel_not_found", "not_in_channel", "is_archived", "channel_is_archived", "is_inactive",
	}
	tokenCodes = []string{
		"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "not_allowed_token_type",
		"no_permission", "org_login_required", "ekm_access_denied", "access_denied", "team_access_not_granted",
	}
	placeCodes = []string{"channel_not_found", "not_in_channel", "restricted_action", "user_not_in_channel"}
	// Slack's reference and its answers order these words differently.
	triggerCodes = []string{
		"trigger_expired", "expired_trigger_id", "trigger_exchanged", "exchanged_trigger_id", "invalid_trigger", "invalid_trigger_id",
	}
	shapeCodes = []string{
		"invalid_blocks", "invalid_blocks_format", "msg_too_long", "msg_blocks_too_long", "no_text", "invalid_arguments",
		"view_too_large", "invalid_json", "json_not_object", "invalid_form_data", "duplicate_external_id", "unknown_method",
	}
)

// gone tells whether a message can never be updated where it is: something has to be
// posted instead.
func gone(err error) bool { return slices.Contains(goneCodes, slackCode(err)) }

// lockedOut tells whether the token no longer works: trying again is of no use before
// somebody has done something about it.
func lockedOut(err error) bool { return slices.Contains(tokenCodes, slackCode(err)) }

// said puts a failed call into a sentence for people.
func said(err error) *policy.Error {
	var p *policy.Error
	var e *slackError
	if err == nil || errors.As(err, &p) || !errors.As(err, &e) {
		return policy.Public(err)
	}
	refusal := func(kind policy.Kind, text, hint string) *policy.Error {
		return policy.Errorf(kind, "%s (%s)", text, e.Code).WithHint("%s", hint).Because(err)
	}
	switch is := func(codes []string) bool { return slices.Contains(codes, e.Code) }; {
	case e.Code == codeRateLimited:
		return policy.Errorf(policy.Unavailable, "Slack asks vpsguard to wait").WithHint("Ask again in %s.", inSeconds(e.After)).Because(err)
	case is(tokenCodes):
		return refusal(policy.Unavailable, "Slack does not accept vpsguard's token",
			"Whoever runs vpsguard has to look at VPSGUARD_SLACK_BOT_TOKEN; vpsguard doctor says more.")
	case e.Code == "missing_scope":
		return refusal(policy.Unavailable, "the Slack app lacks a permission that vpsguard needs here",
			"Whoever runs vpsguard has to install the app again from its manifest; vpsguard doctor says which scope is missing.")
	case is(placeCodes):
		return refusal(policy.Conflict, "vpsguard cannot write in this channel", "Invite it there (/invite @vpsguard), and let it post there.")
	case e.Code == "is_archived", e.Code == "channel_is_archived":
		return refusal(policy.Conflict, "the channel is archived", "Use another channel.")
	case is(goneCodes):
		return refusal(policy.Conflict, "the message can no longer be changed", "")
	case is(triggerCodes):
		return refusal(policy.Expired, "the form could not be opened within the 3 seconds that Slack gives", "Press the button again.")
	case e.Code == "hash_conflict", e.Code == "not_found":
		return refusal(policy.Stale, "the form was closed or changed meanwhile", "Open it again.")
	case e.Code == "used_url", e.Code == "expired_url":
		return refusal(policy.Expired, "what was pressed is too old to be answered there", "Ask again.")
	case is(shapeCodes):
		return refusal(policy.Internal, "vpsguard made a message that Slack does not take", "The log of the program says more.")
	case e.Fate == maybeSent:
		return refusal(policy.Unavailable, "Slack's answer was lost", "Look whether it is there before you try again.")
	case e.Code == codeNoConnection:
		return refusal(policy.Unavailable, "Slack cannot be reached", "Try again.")
	default:
		return refusal(policy.Unavailable, "Slack refused it", "Try again, or ask whoever runs vpsguard.")
	}
}

// inSeconds is how long to wait, for people.
func inSeconds(d time.Duration) string {
	return policy.Span((d + time.Second - 1).Truncate(time.Second))
}
