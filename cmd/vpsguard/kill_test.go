//go:build unix

package main

import (
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
)

// scene is an approved request, a server process that works on it, and the means to kill that process at an exact moment. VPS.org lives in
// the test and goes on; its clock is moved by hand, so that nothing completes by
// itself.
type scene struct {
	*world
	t       *testing.T
	service *policy.Service
	ledger  *ledger.Ledger
	id      string

	late atomic.Int64 // how far VPS.org's clock is ahead

	mu     sync.Mutex
	victim *exec.Cmd
	killed chan struct{} // closed when the first process is dead
	once   sync.Once

	arrived, answered, reads hook
}

// hook is something to do at a moment, which may be changed while others look.
type hook struct {
	atomic.Pointer[func(vpsfake.Mutation)]
}

func (h *hook) set(f func(vpsfake.Mutation)) { h.Store(&f) }

func (h *hook) do(m vpsfake.Mutation) {
	if f := h.Load(); f != nil {
		(*f)(m)
	}
}

const longTime = time.Hour // of VPS.org's clock

// newScene has a restore with a safety copy held.
func newScene(t *testing.T) *scene {
	t.Helper()
	s := setScene(t)
	s.id = hold(t, s.service, "roll back")
	return s
}

// setScene has nothing held yet.
func setScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, killed: make(chan struct{})}
	s.world = newWorld(t, vpsfake.Options{
		Now:         func() time.Time { return time.Now().Add(time.Duration(s.late.Load())) },
		CreateTakes: longTime, RestoreTakes: longTime,
		OnMutation: s.arrived.do, AfterMutation: s.answered.do,
	})
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			s.reads.do(vpsfake.Mutation{Path: r.URL.Path})
		}
		s.fake.ServeHTTP(w, r)
	}))
	t.Cleanup(api.Close)
	s.env = append(s.env, "VPSGUARD_API_URL="+api.URL+vpsfake.BasePath, "VPSGUARD_API_TIMEOUT=1s")
	s.service, s.ledger = s.world.service(t)
	withPassphrase(t, s.service)
	return s
}

// run starts a server process.
func (s *scene) run() {
	cmd, _ := spawn(s.t, s.env, "serve")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.victim = cmd
}

// kill ends the first process as a power cut does, and returns when it is dead.
func (s *scene) kill() {
	s.once.Do(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		_ = s.victim.Process.Kill()
		_, _ = s.victim.Process.Wait()
		close(s.killed)
	})
}

// begin approves and starts the first process; the scene's hooks kill it.
func (s *scene) begin() {
	s.run()
	approve(s.t, s.service, s.id)
}

func (s *scene) dead() {
	s.t.Helper()
	select {
	case <-s.killed:
	case <-time.After(patience):
		s.t.Fatal("the process was not killed")
	}
}

// passes lets time pass at VPS.org.
func (s *scene) passes() { s.late.Add(int64(longTime)) }

func (s *scene) until(what string, ok func(policy.Request) bool) policy.Request {
	s.t.Helper()
	return until(s.t, s.service, s.id, what, ok)
}

func step(i int, state policy.StepState) func(policy.Request) bool {
	return func(r policy.Request) bool { return r.Steps[i].State == state }
}

func in(state policy.State) func(policy.Request) bool {
	return func(r policy.Request) bool { return r.State == state }
}

// truth checks what has to hold however often a process was killed.
func (s *scene) truth(r policy.Request, creates, overwrites int) {
	s.t.Helper()
	assert.Equal(s.t, creates, s.fake.Sent(vpsfake.Create), "the safety copy is sent at most once")
	assert.Equal(s.t, overwrites, s.fake.Sent(vpsfake.Overwrite), "the restore is sent at most once")
	s.recorded(r, creates+overwrites)
}

// recorded checks that there is one record for each start, before it, and that the audit is whole.
func (s *scene) recorded(r policy.Request, sent int) {
	s.t.Helper()
	assert.Len(s.t, r.Approvals, 1, "no approval is lost")
	started := map[string]int{}
	records, err := s.ledger.Records(s.t.Context(), 1, 0)
	require.NoError(s.t, err)
	for _, record := range records {
		b, err := record.Parse()
		require.NoError(s.t, err)
		if b.Event == policy.EventStarted {
			started[b.Detail["step"]+" "+b.Detail["target"]]++
		}
	}
	for name, n := range started {
		assert.Equal(s.t, 1, n, "%s has one record of its start", name)
	}
	assert.LessOrEqual(s.t, sent, len(started), "nothing was sent without a record before it")
	out, log, code := vpsguard(s.t, s.env, "audit", "verify")
	assert.Equal(s.t, 0, code, out+log)
}

// finishes lets both steps complete and checks that the restore is done.
func (s *scene) finishes() {
	s.t.Helper()
	s.until("the safety copy is accepted", func(r policy.Request) bool {
		return r.Steps[0].State != policy.StepUncertain && r.Steps[0].PointID != 0
	})
	s.passes()
	s.until("the restore is accepted", step(1, policy.StepAccepted))
	s.restores()
}

// restores lets the restore complete once it was seen to run.
func (s *scene) restores() {
	s.t.Helper()
	s.until("the restore was seen", func(r policy.Request) bool { return r.Steps[1].Seen })
	s.passes()
	r := s.until("the restore is done", in(policy.StateDone))
	assert.Equal(s.t, "snapshot:801", s.fake.ServerData(12345))
	require.NotNil(s.t, r.Undo, "the safety copy is there")
	s.truth(r, 1, 1)
}

func creates(m vpsfake.Mutation) bool    { return m.Effect == vpsfake.Create }
func overwrites(m vpsfake.Mutation) bool { return m.Effect == vpsfake.Overwrite }

// killOn gives a hook that kills the process at a mutation. Where the request is
// to be lost as well, it goes no further.
func (s *scene) killOn(which func(vpsfake.Mutation) bool, lost bool) func(vpsfake.Mutation) {
	return func(m vpsfake.Mutation) {
		if !which(m) {
			return
		}
		s.kill()
		if lost {
			panic(http.ErrAbortHandler)
		}
	}
}

func TestKilledAtEachStepOfARestore(t *testing.T) {
	t.Parallel()
	for name, story := range map[string]func(*scene){
		"after the approval was recorded": func(s *scene) {
			p := sitDown(s.t, s.env, "requests", "approve", s.id)
			p.reads("type web-server-01: ")
			p.types("web-server-01")
			p.reads("Passphrase: ")
			p.types(testPassphrase)
			p.reads("about to start")
			require.NoError(s.t, p.cmd.Process.Kill())
			s.run()
			s.finishes()
		},
		"when the copy's request had left and was lost": func(s *scene) {
			s.arrived.set(s.killOn(creates, true))
			s.begin()
			s.dead()
			assert.Equal(s.t, policy.StepStarted, s.until("", in(policy.StateRunning)).Steps[0].State)
			s.run()
			r := s.until("it ends", in(policy.StateFailed))
			assert.Contains(s.t, r.Why, "nothing was overwritten")
			assert.Equal(s.t, "live", s.fake.ServerData(12345))
			s.truth(r, 1, 0)
		},
		"when the copy was being taken and its answer was not there yet": func(s *scene) {
			s.answered.set(s.killOn(creates, false))
			s.begin()
			s.dead()
			assert.Equal(s.t, policy.StepStarted, s.until("", in(policy.StateRunning)).Steps[0].State)
			s.run()
			s.finishes()
		},
		"after the copy was accepted": func(s *scene) {
			s.begin()
			s.until("the copy is accepted", step(0, policy.StepAccepted))
			s.kill()
			s.run()
			s.finishes()
		},
		"after the copy was completed": func(s *scene) {
			s.begin()
			s.until("the copy is accepted", step(0, policy.StepAccepted))
			s.reads.set(func(vpsfake.Mutation) { // the reads before the next step
				if st, err := s.service.Show(s.t.Context(), s.id); err == nil && st.Request.Steps[0].State == policy.StepDone {
					s.kill()
				}
			})
			s.passes()
			s.dead()
			assert.Equal(s.t, policy.StepWaiting, s.until("", in(policy.StateRunning)).Steps[1].State)
			s.run()
			s.until("the restore is accepted", step(1, policy.StepAccepted))
			s.restores()
		},
		"when the restore's request had left and was lost": func(s *scene) {
			s.arrived.set(s.killOn(overwrites, true))
			s.begin()
			s.until("the copy is accepted", step(0, policy.StepAccepted))
			s.passes()
			s.dead()
			s.run()
			r := s.until("nobody knows", in(policy.StateUncertain))
			s.truth(r, 1, 1)
			s.settles("failed")
			s.settled(policy.StateFailed)
			assert.Equal(s.t, "live", s.fake.ServerData(12345))
		},
		"when the restore ran and its answer was not there yet": func(s *scene) {
			s.answered.set(s.killOn(overwrites, false))
			s.begin()
			s.until("the copy is accepted", step(0, policy.StepAccepted))
			s.passes()
			s.dead()
			s.run()
			s.restores()
		},
		"when the restore ran, and it was over before anybody looked": func(s *scene) {
			s.answered.set(s.killOn(overwrites, false))
			s.begin()
			s.until("the copy is accepted", step(0, policy.StepAccepted))
			s.passes()
			s.dead()
			s.passes()
			s.run()
			r := s.until("nobody knows", in(policy.StateUncertain))
			s.truth(r, 1, 1)
			s.settles("done")
			s.settled(policy.StateDone)
			assert.Equal(s.t, "snapshot:801", s.fake.ServerData(12345))
		},
		"after the restore was accepted": func(s *scene) {
			s.begin()
			s.until("the copy is accepted", step(0, policy.StepAccepted))
			s.passes()
			s.until("the restore is accepted", step(1, policy.StepAccepted))
			s.kill()
			s.run()
			s.restores()
		},
		"while it was restoring": func(s *scene) {
			s.begin()
			s.until("the copy is accepted", step(0, policy.StepAccepted))
			s.passes()
			s.until("the restore is accepted", step(1, policy.StepAccepted))
			looks := s.fake.Reads("/servers/")
			require.True(s.t, assertEventually(func() bool { return s.fake.Reads("/servers/") > looks+1 }), "it is watched")
			s.kill()
			s.run()
			s.restores()
		},
	} {
		t.Run(strings.ReplaceAll(name, "'", ""), func(t *testing.T) {
			t.Parallel()
			story(newScene(t))
		})
	}
}

// settles has a person say what came of it, at a terminal.
func (s *scene) settles(as string) {
	s.t.Helper()
	p := sitDown(s.t, s.env, "requests", "settle", s.id, "--as", as, "--note", "seen in the console")
	p.reads("Request " + s.id + ", uncertain")
	p.reads("Passphrase: ")
	p.types(testPassphrase)
	code, screen := p.leaves()
	assert.Equal(s.t, 0, code, screen)
}

// settled checks what a restore is once that was said.
func (s *scene) settled(as policy.State) {
	s.t.Helper()
	r := s.until("it is settled", in(as))
	assert.Contains(s.t, r.Why, "seen in the console")
	s.truth(r, 1, 1)
}
