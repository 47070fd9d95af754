//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
)

func TestAPersonApprovesWhileAServerRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	service, _ := w.service(t)
	withPassphrase(t, service)
	id := hold(t, service, "the deploy broke login\u202e")
	_, log := spawn(t, w.env, "serve")
	log.await(t, "serving MCP")

	p := sitDown(t, w.env, "requests", "approve", id)
	p.reads("Request " + id + ", held")
	p.reads("type web-server-01: ")
	card := p.screen.String()
	for _, want := range []string{
		`restore snapshot 801 "pre-migration-snapshot" over web-server-01 (12345)`, "id 12345", "192.0.2.45", "ops@example.com",
		"everything written to web-server-01 since 2025-01-15 18:30 UTC", "5.1 GB", "expected: a snapshot is taken",
		"through MCP", "operating system user that started it", "calls itself: claude-code", "its reason: the deploy broke login",
		"Not checked, in the caller's own words:", "29 minutes",
	} {
		assert.Contains(t, card, want)
	}
	p.types("web-server-01")
	p.reads("Passphrase: ")
	p.types(testPassphrase)
	p.reads("safety copy: done")
	p.reads("restore snapshot: done")
	code, screen := p.leaves()
	assert.Equal(t, 0, code)
	assert.Contains(t, screen, id+" is done")
	assert.NotContains(t, screen, testPassphrase, "a passphrase is not echoed")
	assert.NotContains(t, screen, "\x1b", "foreign text brings no escape sequence along")
	assert.NotContains(t, screen, "\u202e")

	assert.Equal(t, 1, w.fake.Sent(vpsfake.Create))
	assert.Equal(t, 1, w.fake.Sent(vpsfake.Overwrite))
	assert.Equal(t, "snapshot:801", w.fake.ServerData(12345))
	out, _, code := vpsguard(t, w.env, "audit", "verify")
	assert.Equal(t, 0, code, out)
}

func TestApproveRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(p *person)
		says string
	}{
		{"another server's name", func(p *person) {
			p.reads("type web-server-01: ")
			p.types("db-server-01")
		}, "that is not web-server-01; nothing was approved"},
		{"just Enter", func(p *person) {
			p.reads("type web-server-01: ")
			p.types("")
		}, "nothing was approved"},
		{"a wrong passphrase", func(p *person) {
			p.reads("type web-server-01: ")
			p.types("web-server-01")
			p.reads("Passphrase: ")
			p.types("open sesame")
		}, "the passphrase is wrong"},
		{"an interrupt at the passphrase", func(p *person) {
			p.reads("type web-server-01: ")
			p.types("web-server-01")
			p.reads("Passphrase: ")
			require.NoError(p.t, p.cmd.Process.Signal(os.Interrupt))
		}, "interrupted; nothing was done"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, fast())
			service, _ := w.service(t)
			withPassphrase(t, service)
			id := hold(t, service, "why not")
			p := sitDown(t, w.env, "requests", "approve", id)
			c.do(p)
			code, screen := p.leaves()
			assert.Equal(t, 1, code)
			assert.Contains(t, screen, c.says)
			st, err := service.Show(t.Context(), id)
			require.NoError(t, err)
			assert.Equal(t, policy.StateHeld, st.Request.State)
			assert.Empty(t, w.fake.Mutations())
		})
	}
}

func TestApproveRefusesBeforeItAsks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	service, _ := w.service(t)
	id := hold(t, service, "first thing in the morning")
	try := func(env []string) string {
		code, screen := sitDown(t, env, "requests", "approve", id).leaves()
		assert.Equal(t, 1, code)
		assert.NotContains(t, screen, "Passphrase:")
		return screen
	}
	assert.Contains(t, try(w.env), "Run: vpsguard passphrase set", "no passphrase was ever set")
	withPassphrase(t, service)
	assert.Contains(t, try(append(w.env, "VPSGUARD_READ_ONLY=true")), "a read-only vpsguard decides nothing")
	assert.Contains(t, try(append(w.env, "VPSGUARD_CONFIRM=none")), "nobody can confirm anything")
	w.fake.SetAccount("somebody@else.example")
	assert.Contains(t, try(w.env), "belongs to another account (ops@example.com")
}

// TestSettlingWhereTheTerminalDoesNotConfirm: an on-call engineer at the host can say what
// is so, and approve nothing.
func TestSettlingWhereTheTerminalDoesNotConfirm(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	service, _ := w.service(t)
	withPassphrase(t, service)
	id := hold(t, service, "roll back")
	w.fake.Inject(vpsfake.Fault{Name: vpsfake.Reset, PathPrefix: "/snapshots/801/restore"})
	approve(t, service, id)
	spawn(t, w.env, "serve")
	until(t, service, id, "nobody knows", in(policy.StateUncertain))
	w.fake.Heal()

	for _, confirm := range []string{"elicitation", "none"} {
		env := append(w.env, "VPSGUARD_CONFIRM="+confirm)
		_, screen := sitDown(t, env, "requests", "approve", id).leaves()
		assert.NotContains(t, screen, "Passphrase:")
	}
	p := sitDown(t, append(w.env, "VPSGUARD_CONFIRM=elicitation"), "requests", "settle", id, "--as", "failed", "--note", "seen in the panel")
	p.reads("You say that this is failed.")
	p.reads("Passphrase: ")
	p.types(testPassphrase)
	code, screen := p.leaves()
	assert.Equal(t, 0, code, screen)
	r := until(t, service, id, "it is settled", in(policy.StateFailed))
	assert.Contains(t, r.Why, "seen in the panel")
}

func TestApproveUnderRules(t *testing.T) {
	t.Parallel()
	rule := func(asks string) string {
		return "version: 1\nrules:\n" +
			"  - name: restores are looked at twice\n    when: operation.effect == \"overwrite\"\n    hold: {" + asks + "}\n"
	}
	ruled := func(asks string) (*world, *policy.Service, string) {
		w := newWorld(t, fast())
		w.env = append(w.env, "VPSGUARD_POLICY_FILE="+rulesFile(t, rule(asks)))
		service, _ := w.service(t)
		withPassphrase(t, service)
		return w, service, hold(t, service, "under rules")
	}
	approve := func(w *world, id string) (code int, screen string) {
		p := sitDown(t, w.env, "requests", "approve", id)
		p.reads("type web-server-01: ")
		p.types("web-server-01")
		p.reads("Passphrase: ")
		p.types(testPassphrase)
		return p.leaves()
	}

	w, service, id := ruled("approvals: 2")
	code, screen := approve(w, id)
	assert.Zero(t, code, screen)
	for _, line := range []string{
		"Needs     2 more to confirm", "Rules     restores are looked at twice", "They ask  2 different people approve",
		"your confirmation is recorded; 1 of 2", id + " is held",
	} {
		assert.Contains(t, screen, line)
	}
	code, screen = approve(w, id)
	assert.Equal(t, 1, code)
	assert.Contains(t, screen, "Needs     1 more to confirm")
	assert.Contains(t, screen, "you have approved "+id+" already; it takes 2 people")
	st, err := service.Show(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, policy.StateHeld, st.Request.State)
	r, err := service.Decide(t.Context(), id, policy.Verdict{
		By: atHost("grace"), Way: policy.WayTerminal, Digest: st.Request.Plan.Digest, Typed: "web-server-01", Secret: testPassphrase,
	})
	require.NoError(t, err)
	assert.Equal(t, policy.StateApproved, r.State)

	w, service, id = ruled("approvals: 1")
	put(t, strings.TrimPrefix(w.env[len(w.env)-1], "VPSGUARD_POLICY_FILE="), freeze)
	code, screen = approve(w, id)
	assert.Equal(t, 1, code)
	assert.Contains(t, screen, `the rule "freeze" refuses this: Nothing is changed now.`, "the rules of now count too")
	st, err = service.Show(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, policy.StateHeld, st.Request.State)

	w, service, id = ruled("approvals: 1")
	put(t, strings.TrimPrefix(w.env[len(w.env)-1], "VPSGUARD_POLICY_FILE="), rule("approvers: [S0ONCALL]"))
	code, screen = approve(w, id)
	assert.Equal(t, 1, code)
	assert.Contains(t, screen, "you are not among those who may approve "+id+": S0ONCALL")
	st, err = service.Show(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, policy.StateHeld, st.Request.State)
	assert.Empty(t, st.Request.Approvals)
	assert.Empty(t, w.fake.Mutations())

	service, _ = w.service(t) // by these rules from the beginning
	_, err = service.Call(t.Context(), policy.Call{
		Actor: overStdio("claude-code"), Operation: "restore_snapshot", Arguments: json.RawMessage(`{"server":"web-server-01","snapshot_id":798,"reason":"x"}`),
	})
	require.ErrorContains(t, err, "nobody can confirm this", "it is not held in vain: Slack is not set up")

	w, service, id = ruled("approvers: [S0ONCALL, terminal], delay: 1h")
	st, err = service.Show(t.Context(), id)
	require.NoError(t, err)
	r, err = service.Decide(t.Context(), id, policy.Verdict{
		By: atTerminal(), Way: policy.WayTerminal, Digest: st.Request.Plan.Digest, Typed: "web-server-01", Secret: testPassphrase,
	})
	require.NoError(t, err, "the day Slack is down")
	assert.Equal(t, policy.StateApproved, r.State)
	out, _, code := vpsguard(t, w.env, "requests", "show", id)
	assert.Zero(t, code)
	assert.Contains(t, out, "it starts by itself at ")
	assert.Contains(t, out, "until then it can be withdrawn")
	out, _, code = vpsguard(t, w.env, "requests", "cancel", id)
	assert.Zero(t, code)
	assert.Contains(t, out, id+" is cancelled")
}

func TestApproveTakesARealTerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	service, _ := w.service(t)
	withPassphrase(t, service)
	id := hold(t, service, "a program tries")
	for _, args := range [][]string{{"requests", "approve", id}, {"requests", "settle", id, "--as", "done"}, {"passphrase", "set"}} {
		out, log, code := alone(t, w.env, "web-server-01\n"+testPassphrase+"\n", args...)
		assert.Equal(t, 1, code, args)
		assert.Empty(t, out)
		assert.Contains(t, log, "this takes a person at a terminal")
	}
	st, err := service.Show(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, policy.StateHeld, st.Request.State)
}

func TestApproveOffersToRunIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	service, _ := w.service(t)
	withPassphrase(t, service)
	id := hold(t, service, "no server runs")
	var stdout bytes.Buffer
	p := sitDownWith(t, w.env, &stdout, "requests", "approve", strings.ToUpper(strings.TrimPrefix(id, "rq_")), "--output", "json")
	p.reads("type web-server-01: ")
	p.types("web-server-01")
	p.reads("Passphrase: ")
	p.types(testPassphrase)
	p.reads("about to start")
	p.reads("Run it here, now? [y/N] ")
	assert.Empty(t, w.fake.Mutations(), "nothing is sent before somebody runs it")
	p.types("y")
	p.reads("restore snapshot: done")
	code, _ := p.leaves()
	assert.Equal(t, 0, code)
	var end standingOut
	require.NoError(t, json.Unmarshal(stdout.Bytes(), &end), "standard output holds the JSON alone: %s", stdout.String())
	assert.Equal(t, policy.StateDone, end.Request.State)
	require.NotNil(t, end.Request.Result)
	assert.NotNil(t, end.Request.Result.Undo)
}

func TestApproveLeavesWhenToldSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	service, _ := w.service(t)
	withPassphrase(t, service)
	id := hold(t, service, "no server runs")
	p := sitDown(t, w.env, "requests", "approve", id)
	p.reads("type web-server-01: ")
	p.types("web-server-01")
	p.reads("Passphrase: ")
	p.types(testPassphrase)
	p.reads("about to start")
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGINT))
	code, screen := p.leaves()
	assert.Equal(t, 1, code)
	assert.Contains(t, screen, "You stopped following")
	st, err := service.Show(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, policy.StateApproved, st.Request.State)
}

func TestAPersonPicksFromAList(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	service, _ := w.service(t)
	id := hold(t, service, "pick me")
	p := sitDown(t, w.env, "requests")
	p.reads("1  " + id + ` restore snapshot 801 "pre-migration-snapshot" over web-server-01 (12345): asked `)
	p.reads("expires in ")
	p.reads("Which one?")
	p.types("1")
	p.reads("Request " + id)
	p.reads("approve, deny, or Enter to leave: ")
	p.types("deny")
	code, screen := p.leaves()
	assert.Equal(t, 0, code)
	assert.Contains(t, screen, id+" is denied")

	code, screen = sitDown(t, w.env, "requests").leaves()
	assert.Equal(t, 0, code)
	assert.Contains(t, screen, "Nothing waits for a person.")
}

func TestPassphraseSet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	set := func(answers ...string) (int, string) {
		p := sitDown(t, w.env, "passphrase", "set")
		for i := 0; i < len(answers); i += 2 {
			p.reads(answers[i])
			p.types(answers[i+1])
		}
		return p.leaves()
	}
	code, screen := set("New passphrase: ", "short")
	assert.Equal(t, 1, code)
	assert.Contains(t, screen, "at least 8 characters")
	code, screen = set("New passphrase: ", testPassphrase, "Once more: ", testPassphrase+"x")
	assert.Equal(t, 1, code)
	assert.Contains(t, screen, "two different ones")
	code, screen = set("New passphrase: ", testPassphrase, "Once more: ", testPassphrase)
	assert.Equal(t, 0, code, screen)
	assert.NotContains(t, screen, testPassphrase)

	code, screen = set("as it is now: ", "a wrong one", "New passphrase: ", "another one", "Once more: ", "another one")
	assert.Equal(t, 1, code)
	assert.Contains(t, screen, "the passphrase is wrong")
	code, screen = set("as it is now: ", testPassphrase, "New passphrase: ", "another one", "Once more: ", "another one")
	assert.Equal(t, 0, code, screen)
	assert.Contains(t, screen, "is changed")

	out, _, code := vpsguard(t, w.env, "audit", "list")
	assert.Equal(t, 0, code)
	assert.Contains(t, out, "passphrase.set")
	assert.Contains(t, out, "passphrase.changed")
	export, _, code := vpsguard(t, w.env, "audit", "export")
	assert.Equal(t, 0, code)
	assert.NotRegexp(t, "argon2id|another one|horse", out+export, "neither the passphrase nor its hash")
}
