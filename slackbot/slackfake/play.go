package slackfake

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// play answers with a fault.
func (f *Fake) play(w http.ResponseWriter, r *http.Request, x *Fault, c Call, act func() answer) {
	name, happened := x.happened()
	if happened {
		act()
	} else if name != Slow {
		f.mu.Lock()
		c.Error = x.Name
		if x.Code != "" {
			c.Error = x.Code
		}
		f.calls = append(f.calls, c)
		f.mu.Unlock()
	}
	switch name {
	case InternalError:
		write(w, fail("internal_error"))
	case Error500:
		http.Error(w, "upstream connect error or disconnect/reset before headers", http.StatusInternalServerError)
	case Reset:
		reset(w)
	case Hang:
		select {
		case <-r.Context().Done():
		case <-f.ctx.Done():
		}
		panic(http.ErrAbortHandler)
	case CutJSON:
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = w.Write([]byte(`{"ok":true,"channel":"C1","ts":"17`))
	case HTML:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte("<!DOCTYPE html>\n<html><body>Server Error</body></html>"))
	case RateLimited:
		write(w, limited(max(x.RetryAfter, time.Second)))
	case Refused:
		write(w, fail(x.Code))
	case Slow:
		if f.pause(r, x.Delay) {
			write(w, act())
		}
	}
}

// pause waits on the Fake's clock and tells whether the client is still there.
func (f *Fake) pause(r *http.Request, d time.Duration) bool {
	over := make(chan struct{})
	stop := f.o.AfterFunc(d, func() { close(over) })
	defer stop()
	select {
	case <-over:
		return true
	case <-r.Context().Done():
	case <-f.ctx.Done():
	}
	return false
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
		// Lingering for 0 s makes the close a reset.
		_ = tcp.SetLinger(0)
	}
}
