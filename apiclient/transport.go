package apiclient

import (
	"net"
	"net/http"
	"time"
)

// transports returns the round trippers for reads and for writes, and whether
// they report through httptrace when a connection is obtained.
//
// net/http sends a request again by itself when a kept connection turns out to
// be dead. The one for writes therefore keeps none: each write dials, so there
// is nothing to repeat on. It speaks HTTP/1.1 only, because HTTP/2 repeats
// refused streams.
func transports(custom http.RoundTripper) (reads, writes http.RoundTripper, traced bool) {
	t, ok := custom.(*http.Transport)
	if custom != nil && !ok {
		return custom, custom, false
	}
	if custom == nil {
		t = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSHandshakeTimeout:    10 * time.Second,
			MaxIdleConns:           8,
			MaxIdleConnsPerHost:    4,
			IdleConnTimeout:        60 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			ForceAttemptHTTP2:      true,
		}
	}
	w := t.Clone()
	w.DisableKeepAlives = true
	w.ForceAttemptHTTP2 = false
	w.TLSNextProto = nil
	w.Protocols = new(http.Protocols)
	w.Protocols.SetHTTP1(true)
	if w.TLSClientConfig != nil {
		w.TLSClientConfig.NextProtos = nil
	}
	return t, w, true
}
