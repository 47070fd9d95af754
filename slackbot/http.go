package slackbot

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// httpOptions are what the signed request URLs are made of.
type httpOptions struct {
	// Secrets are the app's signing secrets: one, or two while it is being rotated.
	Secrets []string
	// Intake is shared with whatever else delivers.
	Intake *intake
	Now    func() time.Time
	Log    *slog.Logger
	// MaxBody is how many bytes a request may have; 1 MiB if 0.
	MaxBody int64
}

// The paths of the request URLs.
const (
	pathCommands     = "/slack/commands"
	pathInteractions = "/slack/interactions"
	pathOptions      = "/slack/options"
	pathEvents       = "/slack/events"
)

const (
	contentForm = "application/x-www-form-urlencoded"
	contentJSON = "application/json"
)

// httpDoor takes what Slack posts to the request URLs.
type httpDoor struct {
	httpOptions
	r receiver
	// grumble bounds how much strangers can write into the log.
	grumble *rate.Limiter
}

// newHTTP serves the request URLs, to be mounted at /slack/. Everything is verified
// before it is read, and answered within 3 s however long it takes to work on. A
// receiver that panics is answered with 500, so that whoever acted sees an error.
func newHTTP(o httpOptions, r receiver) http.Handler {
	if o.MaxBody == 0 {
		o.MaxBody = 1 << 20
	}
	return &httpDoor{o, r, rate.NewLimiter(rate.Every(time.Second), 20)}
}

// ServeHTTP takes a request, or says why not.
func (h *httpDoor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// A client that hangs up ends the waiting; a receiver goes on.
	ctx, cancel := context.WithTimeout(r.Context(), answerWithin)
	defer cancel()

	want := contentForm
	switch r.URL.Path {
	case pathCommands, pathInteractions, pathOptions:
	case pathEvents:
		want = contentJSON
	default:
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "this address takes POST only", http.StatusMethodNotAllowed)
		return
	}
	if got, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || got != want {
		h.useless(w, r, http.StatusUnsupportedMediaType, "this address takes "+want+" only")
		return
	}
	body, ok := h.body(ctx, w, r)
	if !ok {
		return
	}
	var form url.Values
	var unreadable error
	if want == contentForm {
		form, unreadable = url.ParseQuery(string(body))
	}
	if form.Get("ssl_check") == "1" && !form.Has("command") && !form.Has("payload") {
		return // Slack looks at the certificate; 200 says nothing else, so it needs no signature
	}
	if err := verify(r.Header, body, h.Secrets, h.Now()); err != nil {
		if h.grumble.AllowN(h.Now(), 1) {
			h.Log.WarnContext(ctx, "refused a request that Slack did not sign", "path", r.URL.Path, "remote", r.RemoteAddr, "reason", err)
		}
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return
	}
	d, challenge, err := readPosted(r, form, body)
	switch {
	case err != nil, unreadable != nil:
		h.Log.ErrorContext(ctx, "a signed request cannot be read", "path", r.URL.Path)
		h.useless(w, r, http.StatusBadRequest, "the request cannot be read")
		return
	case challenge != "":
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = io.WriteString(w, challenge) // Slack may be gone
		return
	}
	ack, f := h.Intake.take(ctx, d, h.r)
	h.answer(w, d, ack, f)
}

// answer gives an acknowledgement, or an error that Slack shows.
func (h *httpDoor) answer(w http.ResponseWriter, d delivery, ack json.RawMessage, f reception) {
	switch f {
	case fateAcked:
		if len(ack) == 0 {
			return
		}
		w.Header().Set("Content-Type", contentJSON)
		_, _ = w.Write(ack) // Slack may be gone
	case fateBroken:
		if d.Kind == kindEvent {
			noRetry(w) // it would break again
		}
		http.Error(w, "something went wrong inside", http.StatusInternalServerError)
	case fateRefused:
		http.Error(w, "too much is under way", http.StatusServiceUnavailable)
	case fateGone:
		// Nobody reads it.
	}
}

// useless answers what would be answered so again.
func (h *httpDoor) useless(w http.ResponseWriter, r *http.Request, status int, message string) {
	if r.URL.Path == pathEvents {
		noRetry(w)
	}
	http.Error(w, message, status)
}

// noRetry asks Slack not to send an event again.
func noRetry(w http.ResponseWriter) { w.Header().Set("X-Slack-No-Retry", "1") }

// body reads a request whole: the signature is of the bytes.
func (h *httpDoor) body(ctx context.Context, w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	control := http.NewResponseController(w)
	stop := context.AfterFunc(ctx, func() { _ = control.SetReadDeadline(time.Unix(1, 0)) })
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.MaxBody))
	if !stop() {
		http.Error(w, "the request did not arrive in time", http.StatusRequestTimeout)
		return nil, false
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		h.useless(w, r, http.StatusRequestEntityTooLarge, "the request is larger than this server takes")
	case err != nil:
		http.Error(w, "the request did not arrive whole", http.StatusBadRequest)
	default:
		return b, true
	}
	return nil, false
}

// readPosted makes a delivery of a verified request, or finds the challenge in it.
//
// An event is known by its id. Anything else that has a trigger_id is like no other
// thing that anybody did, so its body is the key, also if Slack signs it again. What
// has none can be alike (somebody types the same into a menu), so that its key is the
// signature: a replay has the same one.
func readPosted(r *http.Request, form url.Values, body []byte) (d delivery, challenge string, err error) {
	d = delivery{Via: viaHTTP, Retry: r.Header.Get("X-Slack-Retry-Num") != "", Key: keyDigest("signature", []byte(r.Header.Get(signatureHeader)))}
	trigger := ""
	switch r.URL.Path {
	case pathEvents:
		head, err := headOf(body)
		if err != nil {
			return d, "", err
		}
		if head.Type == "url_verification" {
			if strings.TrimSpace(head.Challenge) == "" {
				return d, "", errors.New("reading a payload: a verification without a challenge")
			}
			return d, head.Challenge, nil
		}
		d.Kind, d.Body = kindEvent, body
		if head.EventID != "" {
			d.Key = eventKey(head.EventID)
		}
	case pathCommands:
		if !form.Has("command") {
			return d, "", errors.New("reading a form: there is no command")
		}
		d.Kind, trigger = kindCommand, form.Get("trigger_id")
		d.Body, err = commandForm(form)
		if err != nil {
			return d, "", err
		}
	default:
		payload := json.RawMessage(form.Get("payload"))
		head, err := headOf(payload)
		if err != nil {
			return d, "", err
		}
		d.Kind, d.Body, trigger = head.kind(), payload, head.TriggerID
	}
	if trigger != "" {
		d.Key = keyDigest("body", body)
	}
	return d, "", nil
}
