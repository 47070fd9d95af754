package vpsfake

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// play answers with a fault.
func (f *Fake) play(w http.ResponseWriter, r *http.Request, x *Fault, act func() reply) {
	name, happened := strings.CutSuffix(x.Name, acted)
	if happened {
		act()
	}
	switch name {
	case Error500:
		if x.RetryAfter != "" {
			w.Header().Set("Retry-After", x.RetryAfter)
		}
		write(w, detail(x.status(http.StatusInternalServerError), "Internal server error."))
	case Reset:
		reset(w)
	case Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case CutJSON, CutBody, HTML, Empty, Foreign:
		garble(w, name)
	case Redirected:
		location := x.Location
		if location == "" {
			location = "https://elsewhere.example" + r.URL.Path
		}
		w.Header().Set("Location", location)
		w.WriteHeader(x.status(http.StatusFound))
	case RateLimited:
		if x.RetryAfter != "" {
			w.Header().Set("Retry-After", x.RetryAfter)
		}
		write(w, detail(http.StatusTooManyRequests, "Request was throttled."))
	case Unauthorized:
		write(w, detail(http.StatusUnauthorized, "Authentication token is invalid or missing."))
	case Forbidden:
		write(w, detail(http.StatusForbidden, "You do not have permission to perform this action."))
	case NotFound:
		write(w, detail(http.StatusNotFound, "Not found."))
	case Conflict:
		write(w, detail(http.StatusConflict, "Another operation is in progress."))
	case EchoToken:
		write(w, detail(x.status(http.StatusBadRequest), "Cannot use header Authorization: "+r.Header.Get("Authorization")))
	case HugeError:
		write(w, detail(x.status(http.StatusInternalServerError), strings.Repeat("Traceback. ", 100_000)))
	case Slow:
		if pause(r.Context(), x.Delay) {
			write(w, act())
		}
	default: // carried out, with the quirk that act knows of
		write(w, act())
	}
}

func (x *Fault) status(usual int) int {
	if x.Status != 0 {
		return x.Status
	}
	return usual
}

// garble answers 200 with something that is not the answer.
func garble(w http.ResponseWriter, name string) {
	body, kind := `{"id": 802, "server": {"id": 12345, "na`, "application/json"
	switch name {
	case CutBody:
		w.Header().Set("Content-Length", strconv.Itoa(2*len(body)))
	case HTML:
		body, kind = "<!DOCTYPE html>\n<html><body><h1>Sign in</h1></body></html>", "text/html; charset=utf-8"
	case Empty:
		body = ""
	case Foreign:
		body = `{"detail": "queued"}`
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write([]byte(body))
}

// reset ends the connection as a crash would, without an answer.
func reset(w http.ResponseWriter) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	conn, _, err := hijacker.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer func() { _ = conn.Close() }()
	raw := conn
	if secure, ok := raw.(*tls.Conn); ok {
		raw = secure.NetConn()
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		// Lingering for 0 s makes the close below a reset.
		_ = tcp.SetLinger(0)
		_ = tcp.Close()
	}
}

// pause waits for d and tells whether the client is still there.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
