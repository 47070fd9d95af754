// Command vpsorg is a simulated VPS.org in a process of its own, with a witness
// beside it: the end-to-end suites ask the witness what really arrived, so that
// "nothing was changed" does not rest on vpsguard's own word.
//
// It prints one line of JSON, the API's URL and the witness's, and runs until
// its standard input ends.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
)

const (
	createTakes  = 700 * time.Millisecond
	restoreTakes = 2500 * time.Millisecond
	server       = 12345
)

// seen is one write that arrived.
type seen struct {
	Effect vpsfake.Effect `json:"effect"`
	Method string         `json:"method"`
	Path   string         `json:"path"`
	Acted  bool           `json:"acted"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "vpsorg:", err)
		os.Exit(1)
	}
}

func run() error {
	fake := vpsfake.New(vpsfake.Options{
		Now: time.Now, Token: os.Getenv("VPSORG_TOKEN"), Demo: true, CreateTakes: createTakes, RestoreTakes: restoreTakes,
	})
	mux := http.NewServeMux()
	mux.Handle(vpsfake.BasePath+"/", fake)
	mux.HandleFunc("GET /witness", func(w http.ResponseWriter, _ *http.Request) {
		writes := []seen{}
		for _, m := range fake.Mutations() {
			writes = append(writes, seen{m.Effect, m.Method, m.Path, m.Acted})
		}
		w.Header().Set("Content-Type", "application/json")
		// The suite may have gone: there is nobody to tell.
		_ = json.NewEncoder(w).Encode(map[string]any{"writes": writes, "data": fake.ServerData(server)})
	})
	var l net.ListenConfig
	listener, err := l.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	web := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // whatever ends it, the suite has gone
		_ = web.Close()
	}()
	base := "http://" + listener.Addr().String()
	if err := json.NewEncoder(os.Stdout).Encode(map[string]string{"api": base + vpsfake.BasePath, "witness": base + "/witness"}); err != nil {
		return err
	}
	if err := web.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
