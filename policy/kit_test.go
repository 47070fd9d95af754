package policy_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/operations"
	"github.com/vpsguard/vpsguard/policy/policytest"
)

const (
	web       = 12345 // web-server-01: snapshots 801, 798; backups 501, 499, 495
	passwords = "correct horse"
	poll      = 10 * time.Second
)

var (
	agent  = policytest.Agent("os:agent")
	other  = policytest.Agent("os:other-agent")
	ada    = policy.Actor{Door: policy.DoorTerminal, Subject: "ada", Name: "Ada", Vouched: "operating system user"}
	grace  = policy.Actor{Door: policy.DoorTerminal, Subject: "grace", Name: "Grace", Vouched: "operating system user"}
	anyone = policytest.Person("U1")
)

// house is a VPS.org, a ledger and a clock that any number of services share.
type house struct {
	tb     require.TestingT
	clock  *policytest.Clock
	fake   *vpsfake.Fake
	url    string
	ledger *policytest.Memory
	sent   *sendings
	before atomic.Pointer[func(*http.Request)] // called before each request to VPS.org
	bare   bool                                // no passphrase is set when a service is made
}

// sendings counts what was handed to the API's client, by request and step.
type sendings struct {
	mu    sync.Mutex
	count map[string]int
	check func(policy.Permit) // before it is sent
	after func(policy.Permit) // when VPS.org has answered, before the service knows
}

func (s *sendings) note(p policy.Permit) {
	s.mu.Lock()
	s.count[sending(p.Request(), p.Request().Current())]++
	check := s.check
	s.mu.Unlock()
	if check != nil {
		check(p)
	}
}

// sending names one step of a request.
func sending(r policy.Request, i int) string {
	name := r.ID + "/" + r.Steps[i].Name
	if point := r.Steps[i].Point; point != nil {
		name += fmt.Sprint("/", point.ID)
	}
	return name
}

type cleaner interface {
	require.TestingT
	Cleanup(func())
}

func newHouse(tb cleaner) *house {
	clock := policytest.NewClock()
	fake := vpsfake.New(vpsfake.Options{Now: clock.Now, CreateTakes: 4 * time.Minute, RestoreTakes: 8 * time.Minute})
	h := &house{
		tb: tb, clock: clock, fake: fake,
		ledger: policytest.NewMemory(clock.Now), sent: &sendings{count: map[string]int{}},
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if before := h.before.Load(); before != nil {
			(*before)(r)
		}
		fake.ServeHTTP(w, r)
	}))
	tb.Cleanup(web.Close)
	h.url = web.URL + vpsfake.BasePath
	return h
}

// quick is a passphrase hash for tests that need no slowness.
type quick struct{}

func (quick) Hash(p string) (string, error) {
	sum := sha256.Sum256([]byte(p))
	return hex.EncodeToString(sum[:]), nil
}

func (q quick) Matches(hash, p string) bool { h, _ := q.Hash(p); return h == hash }

// service is a process on the house's ledger.
func (h *house) service(change ...func(*policy.Config)) *policy.Service {
	api, err := apiclient.New(h.url, h.fake.Token(), apiclient.Options{Timeout: 2 * time.Second, Backoff: time.Millisecond})
	require.NoError(h.tb, err)
	ops := operations.Catalogue(api)
	for i, op := range ops {
		if apply := op.Apply; apply != nil {
			ops[i].Apply = func(ctx context.Context, p policy.Permit) (policy.Answer, error) {
				h.sent.note(p)
				a, err := apply(ctx, p)
				if h.sent.after != nil {
					h.sent.after(p)
				}
				return a, err
			}
		}
	}
	var seed uint64
	c := policy.Config{
		Operations: ops, Ledger: h.ledger,
		Account: func(context.Context) (policy.Account, error) {
			return policy.Account{URL: h.url, Owner: "ops@example.test"}, nil
		},
		Ways: []policy.Way{policy.WayTerminal}, Passphrase: quick{},
		Random: func(b []byte) {
			seed++
			sum := sha256.Sum256([]byte(fmt.Sprint(seed, h.clock.Now().UnixNano())))
			copy(b, sum[:])
		},
		ApproveWithin: 30 * time.Minute, StartWithin: 10 * time.Minute,
		CallTimeout: 30 * time.Second, PollEvery: poll, SettleWithin: 2 * time.Minute,
	}
	for _, f := range change {
		f(&c)
	}
	s, err := policy.NewService(c)
	require.NoError(h.tb, err)
	if set, _ := s.HasPassphrase(context.Background()); !set && !c.ReadOnly && !h.bare {
		require.NoError(h.tb, s.SetPassphrase(context.Background(), ada, "", passwords))
	}
	return s
}

// call calls an operation with arguments as a JSON object without braces.
func call(s *policy.Service, who policy.Actor, op, args string) (policy.Request, error) {
	out, err := s.Call(context.Background(), policy.Call{Actor: who, Operation: op, Arguments: json.RawMessage("{" + args + "}")})
	if err != nil || out.Standing == nil {
		return policy.Request{}, err
	}
	return out.Standing.Request, nil
}

func (h *house) file(s *policy.Service, who policy.Actor, op, args string) policy.Request {
	r, err := call(s, who, op, args)
	require.NoError(h.tb, err)
	return r
}

const (
	restore801 = `"server":"web-server-01","snapshot_id":801,"reason":"bad deploy"`
	delete801  = `"server":"web-server-01","snapshot_id":801,"reason":"old"`
	delete798  = `"server":"web-server-01","snapshot_id":798,"reason":"old"`
)

// yes is a person's whole agreement to a request as it is shown.
func yes(r policy.Request, by policy.Actor) policy.Verdict {
	return policy.Verdict{
		By: by, Way: policy.WayTerminal, Digest: r.Plan.Digest, Typed: r.Plan.Server.Typed(), Secret: passwords,
	}
}

func (h *house) approve(s *policy.Service, r policy.Request, by policy.Actor) {
	_, err := s.Decide(context.Background(), r.ID, yes(r, by))
	require.NoError(h.tb, err)
}

func (h *house) get(id string) policy.Request {
	r, err := h.ledger.Request(context.Background(), id)
	require.NoError(h.tb, err)
	return r.At(h.clock.Now())
}

// work is what a worker does: it takes the nudges that are due.
func (h *house) work(s *policy.Service) {
	for _, id := range h.ledger.TakeDue(h.clock.Now()) {
		_, _ = s.Advance(context.Background(), id)
	}
}

// pass lets time pass while a worker works and sweeps.
func (h *house) pass(s *policy.Service, d time.Duration) {
	h.work(s)
	for end := h.clock.Now().Add(d); h.clock.Now().Before(end); {
		h.clock.Advance(poll)
		h.work(s)
		_, _ = s.Sweep(context.Background())
	}
}

// events are those recorded about a request, in order.
func (h *house) events(id string) (out []string) {
	for _, rec := range h.ledger.Records() {
		if b, err := rec.Parse(); err == nil && b.Request == id {
			out = append(out, string(b.Event))
		}
	}
	return out
}

// sound checks what must hold for every ledger: the chain, the rows, and that
// every change of state has its record.
func (h *house) sound() {
	var chain policy.Chain
	last := map[string]policy.State{}
	for _, rec := range h.ledger.Records() {
		require.NoError(h.tb, chain.Next(rec))
		b, err := rec.Parse()
		require.NoError(h.tb, err)
		if b.To != "" {
			require.Equal(h.tb, last[b.Request], b.From, "record %d: the change before it has no record", b.Seq)
			last[b.Request] = b.To
		}
	}
	all, _, err := h.ledger.Requests(context.Background(), policy.Filter{})
	require.NoError(h.tb, err)
	for _, r := range all {
		require.Equal(h.tb, last[r.ID], r.State, "%s changed without a record", r.ID)
	}
	for step, n := range h.sent.count {
		require.LessOrEqual(h.tb, n, 1, "%s was sent %d times", step, n)
	}
}

// destroyed counts the overwrites and deletes that reached VPS.org at all.
func (h *house) destroyed() int {
	return h.fake.Sent(vpsfake.Overwrite) + h.fake.Sent(vpsfake.Delete)
}

func says(t *testing.T, err error, kind policy.Kind, words ...string) {
	t.Helper()
	require.Error(t, err)
	e := policy.Public(err)
	require.Equal(t, kind, e.Kind, e.Error())
	for _, w := range words {
		require.Contains(t, e.Message+" "+e.Hint, w)
	}
}

func holds(list []string, words string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, words) })
}
