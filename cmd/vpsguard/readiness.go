package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// ready is what a part that is ready says.
	ready = "ready"
	// lookWithin is how long a look may take.
	lookWithin = 3 * time.Second
	// lookAgain is how old a look may be. A look writes to the ledger and may ask
	// VPS.org; whoever can reach /readyz must not be able to keep either busy.
	lookAgain = time.Second
)

// look is the last look at the parts that cost something to look at. Callers
// take turns.
type look struct {
	mu              sync.Mutex
	at              time.Time
	ledger, account string
}

// looks gives what the ledger and the account say. It may be a second old.
func (st *station) looks(ctx context.Context) (ledger, account string) {
	l := &st.looked
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.at.IsZero() && time.Since(l.at) < lookAgain {
		return l.ledger, l.account
	}
	// One caller's end must not fail the others.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookWithin)
	defer cancel()
	var both sync.WaitGroup
	l.ledger, l.account = ready, ready
	both.Go(func() {
		// A ledger that can be read and not written is not ready: nothing can be
		// filed, decided or run. Who only reads needs no more than that.
		if err := st.ledger.Ready(ctx, !st.settings.ReadOnly); err != nil {
			l.ledger = public(err).Message
		}
	})
	both.Go(func() {
		if _, err := st.account.Get(ctx); err != nil {
			l.account = public(err).Message
		}
	})
	both.Wait()
	l.at = time.Now()
	return l.ledger, l.account
}

// readiness tells for each part whether it is ready, and why not.
func (st *station) readiness(ctx context.Context) map[string]string {
	ledger, account := st.looks(ctx)
	parts := map[string]string{"ledger": ledger, "account": account, "worker": ready, "mcp": st.callers(ctx)}
	switch {
	case st.settings.ReadOnly:
		delete(parts, "worker")
	case !st.worker.working.Load():
		parts["worker"] = "it waits for the ledger and the account"
	}
	if st.rules != nil {
		parts["rules"] = ready
		if err := st.rules.Problem(); err != nil {
			parts["rules"] = ready + ", but the file has changed and cannot be used; the old rules are in force: " + public(err).Message
		}
	}
	if st.slack != nil {
		parts["slack"] = ready
		if err := st.slack.Ready(); err != nil {
			parts["slack"] = public(err).Message
		} else if trouble := st.slack.Trouble(); trouble != "" {
			parts["slack"] = ready + ", but " + trouble
		}
	}
	return parts
}

// readyz answers whether all parts are ready, and people on this host which are not.
func (st *station) readyz(w http.ResponseWriter, r *http.Request) {
	parts, status := st.readiness(r.Context()), http.StatusOK
	for _, says := range parts {
		if says != ready && !strings.HasPrefix(says, ready+",") {
			status = http.StatusServiceUnavailable
		}
	}
	answer := map[string]any{"ready": status == http.StatusOK}
	if fromHere(r) { // others are told no more than that
		answer["parts"] = parts
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // whoever asked may be gone
}
