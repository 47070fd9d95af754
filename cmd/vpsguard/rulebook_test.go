package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
	"github.com/vpsguard/vpsguard/policy/rules"
)

const (
	twoPeople = `version: 1
rules:
  - name: two people
    when: operation.effect == "overwrite"
    hold: {approvals: 2}
`
	freeze = `version: 1
rules:
  - name: freeze
    when: operation.effect != "read"
    deny: Nothing is changed now.
`
	misspelt = `version: 1
rules:
  - name: two people
    when: operation.effect == "overwirte"
    hold: {approvals: 2}
# of another length than the one that is right
`
)

// rulesFile writes a rule file and gives its path.
func rulesFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rules.yaml")
	put(t, path, text)
	return path
}

func put(t testing.TB, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
}

// replace puts a new file in the place of another at once, as editors and
// configuration management do.
func replace(t testing.TB, path, text string) {
	t.Helper()
	put(t, path+".new", text)
	require.NoError(t, os.Rename(path+".new", path))
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func TestAWrongRuleFileStopsStartUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	path := rulesFile(t, misspelt)
	large := rulesFile(t, "version: 1\n#"+strings.Repeat("x", mostRules))
	for _, c := range []struct{ path, says string }{
		{path, "VPSGUARD_POLICY_FILE cannot be used: " + path + `:4:31: `},
		{large, "VPSGUARD_POLICY_FILE cannot be used: the rule file cannot be read, or is larger than 1 MB"},
		{path + ".none", "VPSGUARD_POLICY_FILE cannot be used: the rule file cannot be read"},
		{t.TempDir(), "VPSGUARD_POLICY_FILE cannot be used: the rule file cannot be read"},
	} {
		for _, command := range [][]string{{"serve"}, {"stdio"}} {
			out, log, code := vpsguard(t, append(w.env, "VPSGUARD_POLICY_FILE="+c.path), command...)
			assert.Equal(t, 2, code, "%s: %s", command, log)
			assert.Empty(t, out)
			assert.True(t, strings.HasPrefix(log, "vpsguard: "+c.says), log)
			assert.Equal(t, 1, strings.Count(log, "\n"), "one line: %s", log)
		}
	}
	assert.Empty(t, w.fake.Mutations())
}

func TestWithoutARuleFileThereAreNoRules(t *testing.T) {
	t.Parallel()
	book, err := openRules("")
	require.NoError(t, err)
	assert.Nil(t, book)
}

// TestAChangedRuleFileIsNoticed changes the file in every way that files change.
// Nothing waits here: whether it was touched is asked at once.
func TestAChangedRuleFileIsNoticed(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(path string){
		"written":          func(path string) { put(t, path, freeze) },
		"replaced at once": func(path string) { replace(t, path, freeze) },
		"replaced by one that is as long and as old": func(path string) {
			info, err := os.Stat(path)
			require.NoError(t, err)
			put(t, path+".new", strings.Replace(twoPeople, "2}", "3}", 1))
			require.NoError(t, os.Chtimes(path+".new", info.ModTime(), info.ModTime()))
			require.NoError(t, os.Rename(path+".new", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			book, err := openRules(rulesFile(t, twoPeople))
			require.NoError(t, err)
			assert.False(t, book.touched(), "nobody has touched it")
			change(book.path)
			assert.True(t, book.touched())
			changed, err := book.read()
			require.NoError(t, err)
			assert.True(t, changed)
			assert.NotEqual(t, hashOf(twoPeople), book.rules().Hash())
			assert.False(t, book.touched(), "it was read")

			replace(t, book.path, mustRead(t, book.path))
			assert.True(t, book.touched())
			changed, err = book.read()
			require.NoError(t, err)
			assert.False(t, changed, "the same rules in a new file")
		})
	}
}

func mustRead(t testing.TB, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(raw)
}

// TestWhatCannotBeUsedKeepsTheOldRules makes a file useless in every way, and
// heals it.
func TestWhatCannotBeUsedKeepsTheOldRules(t *testing.T) {
	t.Parallel()
	aside := func(path string) string { return path + ".aside" }
	for name, c := range map[string]struct {
		spoil, heal func(path string)
		says        string
	}{
		"a typing error": {
			func(path string) { put(t, path, misspelt) }, func(path string) { put(t, path, twoPeople) }, ":4:",
		},
		"empty": {
			func(path string) { put(t, path, "") }, func(path string) { replace(t, path, twoPeople) }, "there is nothing in it",
		},
		"moved away and back": {
			func(path string) { require.NoError(t, os.Rename(path, aside(path))) },
			func(path string) { require.NoError(t, os.Rename(aside(path), path)) }, "cannot be read",
		},
		"too large": {
			func(path string) { put(t, path, "#"+strings.Repeat("x", mostRules)) },
			func(path string) { put(t, path, twoPeople) }, "larger than 1 MB",
		},
		"a folder in its place": {
			func(path string) {
				require.NoError(t, os.Rename(path, aside(path)))
				require.NoError(t, os.Mkdir(path, 0o700))
			},
			func(path string) {
				require.NoError(t, os.Remove(path))
				require.NoError(t, os.Rename(aside(path), path))
			}, "cannot be read",
		},
	} {
		t.Run(name, func(t *testing.T) {
			book, err := openRules(rulesFile(t, twoPeople))
			require.NoError(t, err)
			c.spoil(book.path)
			require.True(t, book.touched())
			changed, err := book.read()
			require.Error(t, err)
			assert.False(t, changed)
			assert.Contains(t, public(book.Problem()).Message, c.says)
			assert.Equal(t, hashOf(twoPeople), book.rules().Hash(), "the old ones stay")
			conditions, err := book.Judge(t.Context(), policy.Facts{})
			require.NoError(t, err)
			assert.Equal(t, hashOf(twoPeople), conditions.Hash)
			assert.False(t, book.touched(), "it is told once")

			c.heal(book.path)
			require.True(t, book.touched(), "what is good again is noticed")
			changed, err = book.read()
			require.NoError(t, err)
			assert.False(t, changed)
			assert.NoError(t, book.Problem())
		})
	}
}

// TestHalfAFileIsReadAgainWhenItIsWhole writes a file in two parts.
func TestHalfAFileIsReadAgainWhenItIsWhole(t *testing.T) {
	t.Parallel()
	path := rulesFile(t, twoPeople)
	book, err := openRules(path)
	require.NoError(t, err)
	put(t, path, freeze[:40])
	_, err = book.read()
	require.Error(t, err)
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(freeze[40:])
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.True(t, book.touched())
	changed, err := book.read()
	require.NoError(t, err)
	assert.True(t, changed)
}

// watching runs the watch of a rulebook in a bubble, on a ledger of its own.
type watching struct {
	t      *testing.T
	book   *rulebook
	ledger *ledger.Ledger
	log    *lines
	hangup chan os.Signal
}

func watched(t *testing.T, text string, play func(w *watching)) {
	t.Helper()
	path := rulesFile(t, text)
	db := filepath.Join(t.TempDir(), "ledger.db")
	synctest.Test(t, func(t *testing.T) {
		w := &watching{t: t, log: &lines{}, hangup: make(chan os.Signal, 1)}
		var err error
		w.ledger, err = ledger.Open(t.Context(), "sqlite:"+db, ledger.Options{Now: time.Now})
		require.NoError(t, err)
		defer func() { require.NoError(t, w.ledger.Close()) }()
		w.book, err = openRules(path)
		require.NoError(t, err)
		s, err := policy.NewService(policy.Config{Ledger: w.ledger, Judge: w.book.Judge, Person: w.book.Person})
		require.NoError(t, err)
		ctx, stop := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() {
			w.book.watch(ctx, w.hangup, s, slog.New(slog.NewTextHandler(w.log, nil)))
			close(over)
		}()
		synctest.Wait()
		play(w)
		stop()
		<-over
	})
}

// pass lets time pass until the file was looked at.
func (w *watching) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// loads are the hashes of the rules that were recorded as in force, from a chain
// that holds.
func (w *watching) loads() (hashes []string) {
	_, err := w.ledger.Verify(w.t.Context(), nil)
	require.NoError(w.t, err)
	records, err := w.ledger.Records(w.t.Context(), 1, 100)
	require.NoError(w.t, err)
	for _, r := range records {
		b, err := r.Parse()
		require.NoError(w.t, err)
		require.Equal(w.t, policy.EventRules, b.Event)
		require.Equal(w.t, policy.Event("rules.loaded"), b.Event)
		require.Equal(w.t, w.book.path, b.Detail["file"])
		hashes = append(hashes, b.Detail["hash"])
	}
	return hashes
}

func TestEachLoadOfRulesIsRecorded(t *testing.T) {
	t.Parallel()
	watched(t, twoPeople, func(w *watching) {
		assert.Equal(t, []string{hashOf(twoPeople)}, w.loads(), "those at start-up")
		w.pass(time.Minute)
		assert.Len(t, w.loads(), 1, "nothing has changed")

		replace(t, w.book.path, freeze)
		w.pass(rulesEvery)
		assert.Equal(t, []string{hashOf(twoPeople), hashOf(freeze)}, w.loads(), "found without being told")

		put(t, w.book.path, twoPeople)
		w.hangup <- syscall.SIGHUP
		synctest.Wait()
		assert.Equal(t, []string{hashOf(twoPeople), hashOf(freeze), hashOf(twoPeople)}, w.loads(), "at once, when told")
		w.hangup <- syscall.SIGHUP
		synctest.Wait()
		assert.Len(t, w.loads(), 3, "the same rules are not loaded again")
	})
}

func TestWhatCannotBeUsedIsToldOnce(t *testing.T) {
	t.Parallel()
	const told = "the new rules cannot be used; the old ones stay in force"
	for name, spoil := range map[string]func(path string){
		"wrong": func(path string) { put(t, path, misspelt) },
		"gone":  func(path string) { require.NoError(t, os.Remove(path)) },
	} {
		t.Run(name, func(t *testing.T) {
			watched(t, twoPeople, func(w *watching) {
				spoil(w.book.path)
				w.pass(time.Minute)
				assert.Equal(t, 1, strings.Count(w.log.String(), told), w.log.String())
				assert.NotContains(t, w.log.String(), "there was no answer")
				require.Error(t, w.book.Problem())
				assert.Equal(t, hashOf(twoPeople), w.book.rules().Hash())
				w.hangup <- syscall.SIGHUP
				synctest.Wait()
				assert.Equal(t, 2, strings.Count(w.log.String(), told), "whoever asks is answered")
				assert.Len(t, w.loads(), 1)

				put(t, w.book.path, twoPeople)
				w.pass(rulesEvery)
				require.NoError(t, w.book.Problem())
				assert.Contains(t, w.log.String(), "the rule file is again the one that is in force")
				assert.Len(t, w.loads(), 1, "they were in force all the time")
			})
		})
	}
}

// TestReadyzAndDoctorTellOfWrongRules runs the program, changes its file and
// sends the signal.
func TestReadyzAndDoctorTellOfWrongRules(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	path := rulesFile(t, twoPeople)
	env := append(w.env, "VPSGUARD_POLICY_FILE="+path)
	cmd, log := spawn(t, env, "serve")
	url := regexp.MustCompile(`url=(http://[0-9.:]+)`).FindStringSubmatch(log.await(t, "serving MCP"))[1]
	log.await(t, "rules are in force")
	ready := func() (status int, says string) {
		resp, err := http.Get(url + "/readyz") //nolint:noctx // a test's own server
		require.NoError(t, err)
		defer func() { _ = resp.Body.Close() }()
		raw, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		var got struct{ Parts map[string]string }
		require.NoError(t, json.Unmarshal(raw, &got))
		return resp.StatusCode, got.Parts["rules"]
	}
	require.True(t, assertEventually(func() bool { status, _ := ready(); return status == http.StatusOK }))
	_, says := ready()
	assert.Equal(t, "ready", says)
	out, _, _ := vpsguard(t, env, "doctor")
	assert.Contains(t, out, "ok       rules: 1 rules, hash "+hashOf(twoPeople))

	put(t, path, misspelt)
	require.NoError(t, cmd.Process.Signal(syscall.SIGHUP))
	assert.Contains(t, log.await(t, "the new rules cannot be used"), path+":4:")
	status, says := ready()
	assert.Equal(t, http.StatusOK, status, "it goes on serving, under the old rules")
	assert.Contains(t, says, "ready, but the file has changed and cannot be used; the old rules are in force: "+path+":4:")
	out, _, code := vpsguard(t, env, "doctor")
	assert.Equal(t, 1, code)
	assert.Contains(t, out, "wrong    rules: ")
	assert.Contains(t, out, "vpsguard policy check FILE looks at it")

	put(t, path, freeze)
	require.NoError(t, cmd.Process.Signal(syscall.SIGHUP))
	log.await(t, hashOf(freeze))
	_, says = ready()
	assert.Equal(t, "ready", says)
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	require.NoError(t, ended(cmd))
	out, _, code = vpsguard(t, env, "audit", "list")
	assert.Zero(t, code)
	assert.Equal(t, 2, strings.Count(out, "rules.loaded"), out)
	out, _, code = vpsguard(t, env, "audit", "export")
	assert.Zero(t, code)
	assert.Contains(t, out, hashOf(twoPeople))
	assert.Contains(t, out, hashOf(freeze))
	_, _, code = vpsguard(t, env, "audit", "verify")
	assert.Zero(t, code)
}

func TestPolicyCheck(t *testing.T) {
	t.Parallel()
	good, bad := rulesFile(t, twoPeople), rulesFile(t, misspelt)
	out, log, code := vpsguard(t, bare(t), "policy", "check", good)
	assert.Zero(t, code, log)
	assert.Equal(t, fmt.Sprintf("%s can be used: 1 rules, hash %s\n  two people\n", good, hashOf(twoPeople)), out)

	out, _, code = vpsguard(t, bare(t), "policy", "check", good, "--output", "json")
	assert.Zero(t, code)
	var got struct {
		File, Hash string
		Total      int
		Rules      []string
	}
	require.NoError(t, json.Unmarshal([]byte(out), &got), out)
	assert.Equal(t, good, got.File)
	assert.Equal(t, hashOf(twoPeople), got.Hash)
	assert.Equal(t, []string{"two people"}, got.Rules)
	assert.Equal(t, 1, got.Total)

	for path, says := range map[string]string{bad: bad + ":4:31: ", bad + ".none": "cannot be read", t.TempDir(): "cannot be read"} {
		out, log, code = vpsguard(t, bare(t), "policy", "check", path)
		assert.Equal(t, 1, code)
		assert.Empty(t, out)
		assert.Contains(t, log, says)
	}
	for _, args := range [][]string{{"policy", "check"}, {"policy", "check", good, good}, {"policy", "explain"}} {
		_, log, code = vpsguard(t, bare(t), args...)
		assert.Equal(t, 2, code)
		assert.Contains(t, log, "takes one ")
	}
	for _, example := range []string{"small-team", "agency", "regulated"} {
		_, log, code = vpsguard(t, bare(t), "policy", "check", filepath.Join("..", "..", "policy", "rules", "examples", example+".yaml"))
		assert.Zero(t, code, log)
	}
}

// explainedRules match, do not match, fail and deny, each where it should.
const explainedRules = `version: 1
people:
  - {name: Ada, slack: U0ADA, agents: [ci-agent]}
rules:
  - name: restores take two people
    when: operation.effect == "overwrite"
    hold: {approvals: 2, approvers: [S0ONCALL, terminal], not_requester: true, delay: 10m, approve_within: 15m, start_within: 5m, safety_copy: required}
  - name: deletes wait
    when: operation.effect == "delete"
    hold: {delay: 1h}
  - name: agents ask
    when: operation.effect == "create" && actor.door == "mcp"
    hold: {}
  - name: not by this agent
    when: operation.effect == "delete" && actor.agent == "ci-agent"
    deny: The agent deletes nothing.
  - name: old servers
    when: operation.effect == "delete" && actor.door == "slack" && 10 / (server.id - 12345) > 1
    hold: {approvals: 3}
  - name: releases stay for long
    when: operation.name == "delete_snapshot" && target.name.startsWith("release-") && target.age < duration("48000h")
    hold: {approvals: 2}
`

func TestPolicyExplain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	s, _ := w.service(t) // there is a ledger
	for i, days := range []int{3000, 1000} {
		w.fake.AddSnapshot(vpsfake.Point{
			ServerID: 12345, Name: fmt.Sprint("release-", i+1), Description: "[vpsguard rq_7f3k9c abcdefgh]", CreatedAt: time.Now().AddDate(0, 0, -days),
		})
	}
	env := append(w.env, "VPSGUARD_POLICY_FILE="+rulesFile(t, explainedRules))
	var b strings.Builder
	for _, args := range [][]string{
		{"restore_snapshot", "--id", "801", "--door", "mcp"},
		{"restore_snapshot", "--id", "801", "--no-safety-copy"},
		{"delete_snapshot", "--id", "798", "--door", "terminal", "--subject", "ada"},
		{"delete_snapshot", "--id", "798", "--door", "mcp", "--subject", "os:ci-agent"},
		{"delete_backup", "--id", "499", "--door", "slack", "--subject", "T01:U0ADA"},
		{"create_backup", "--door", "mcp"},
		{"create_snapshot", "--door", "slack"},
		{"restore_snapshot", "--id", "4711"},
		{"list_servers"},
		{"reboot"},
		{"create_backup", "--door", "window"},
		{"prune_snapshots", "--keep", "2"},
		{"prune_snapshots", "--keep", "2", "--older-than", "200w"},
		{"prune_snapshots", "--keep", "1", "--include-foreign", "--door", "mcp", "--subject", "os:ci-agent"},
		{"prune_snapshots"},
	} {
		out, log, code := vpsguard(t, env, append([]string{"policy", "explain", "--server", "web-server-01"}, args...)...)
		fmt.Fprintf(&b, "$ vpsguard policy explain %s\n%s%s(%d)\n\n", strings.Join(args, " "), out, log, code)
	}
	text := strings.ReplaceAll(b.String(), filepath.Dir(strings.TrimPrefix(env[len(env)-1], "VPSGUARD_POLICY_FILE=")), "/etc")
	text = regexp.MustCompile(`\d+ (years?|months?|weeks?|days?)( \d+ \w+)? ago`).ReplaceAllString(text, "… ago")
	golden(t, "explain.golden", text)
	assert.Empty(t, w.fake.Mutations())
	out, err := s.Call(t.Context(), policy.Call{Actor: atTerminal(), Operation: "list_requests", Arguments: []byte("{}")})
	require.NoError(t, err)
	assert.Zero(t, out.Listing.Total, "nothing is filed")
	records, _, code := vpsguard(t, env, "audit", "list")
	assert.Zero(t, code)
	assert.NotContains(t, records, "rules.loaded", "nothing is put in force")
}

func TestPolicyExplainInJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	w.service(t)
	file := rulesFile(t, explainedRules)
	explain := func(args ...string) (e explained) {
		out, log, code := vpsguard(t, w.env, append([]string{"policy", "explain", "--server", "web-server-01", "--output", "json"}, args...)...)
		require.Zero(t, code, log)
		require.NoError(t, json.Unmarshal([]byte(out), &e), out)
		return e
	}
	e := explain("restore_snapshot", "--id", "801", "--file", file)
	assert.Equal(t, 2, e.Conditions.Approvals)
	assert.Equal(t, 10*time.Minute, e.Conditions.Delay)
	assert.Equal(t, hashOf(explainedRules), e.Conditions.Hash)
	assert.Empty(t, e.Refused)
	require.Len(t, e.Rules, 6)
	assert.Equal(t, rules.Match{
		Name: "restores take two people", Matched: true, Position: file + ":5:5", Outcome: e.Rules[0].Outcome,
	}, e.Rules[0])
	assert.False(t, e.Rules[1].Matched)
	e = explain("delete_backup", "--id", "499", "--door", "slack", "--subject", "T01:U0ADA", "--file", file)
	assert.NotEmpty(t, e.Rules[4].Failed)
	assert.Contains(t, e.Refused, "old servers")

	_, log, code := vpsguard(t, w.env, "policy", "explain", "create_backup", "--server", "web-server-01")
	assert.Equal(t, 2, code)
	assert.Contains(t, log, "there are no rules: set VPSGUARD_POLICY_FILE or give --file")
	bad := rulesFile(t, misspelt)
	_, log, code = vpsguard(t, w.env, "policy", "explain", "create_backup", "--server", "web-server-01", "--file", bad)
	assert.Equal(t, 1, code)
	assert.True(t, strings.HasPrefix(log, "vpsguard: "+bad+":4:31: "), log)
}
