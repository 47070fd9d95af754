package slackfake_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slack-go/slack"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// node returns a command in the folder with Slack's own packages, or skips the test.
func node(t *testing.T, env []string, arguments ...string) *exec.Cmd {
	t.Helper()
	dir := os.Getenv("VPSGUARD_SLACK_NODE")
	if dir == "" {
		dir = filepath.Join("..", "..", ".ci", "slack")
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "@slack", "bolt")); err != nil {
		t.Skipf("Slack's own packages are not installed: npm ci in .ci/slack, or VPSGUARD_SLACK_NODE says where (%v)", err)
	}
	if _, err := exec.LookPath("node"); err != nil {
		t.Skipf("Slack's own packages need Node: %v", err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "node", arguments...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

func surroundings(f *slackfake.Fake, mode string) []string {
	return []string{
		"SLACK_URL=" + f.URL(), "BOT_TOKEN=" + f.BotToken(), "APP_TOKEN=" + f.AppToken(),
		"SIGNING_SECRET=" + slackfake.DefaultSecret, "MODE=" + mode,
	}
}

// startBolt starts the app on Bolt and returns its port, 0 for Socket Mode.
func startBolt(t *testing.T, f *slackfake.Fake, mode string) int {
	t.Helper()
	cmd := node(t, surroundings(f, mode), "app.js")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	port := -1
	for lines.Scan() {
		if _, err := fmt.Sscanf(lines.Text(), "ready %d", &port); err == nil {
			break
		}
		t.Log(lines.Text())
	}
	var work sync.WaitGroup
	work.Go(func() {
		for lines.Scan() {
			t.Log("Bolt: " + lines.Text())
		}
	})
	t.Cleanup(func() {
		_ = in.Close()
		kill := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		work.Wait()
		assert.NoError(t, cmd.Wait())
		for line := range strings.Lines(complaints.String()) {
			if !strings.Contains(line, "A rate limit was exceeded") && !strings.Contains(line, "signature mismatch") {
				t.Errorf("Bolt complained: %s", line)
			}
		}
	})
	require.GreaterOrEqual(t, port, 0, "Bolt did not start: %s", &complaints)
	return port
}

func TestBoltApprovesOverSocketMode(t *testing.T) {
	t.Parallel()
	f, _ := serve(t, slackfake.Options{Now: time.Now})
	startBolt(t, f, "socket")
	require.NoError(t, f.AwaitSockets(within(t), 1))
	boltStory(t, f)
}

func TestBoltApprovesOverHTTP(t *testing.T) {
	t.Parallel()
	f, _ := serve(t, slackfake.Options{Now: time.Now})
	to := fmt.Sprintf("http://127.0.0.1:%d/slack/events", startBolt(t, f, "http"))
	f.SetReceiver(&slackfake.Receiver{Commands: to, Interactions: to, Events: to, Options: to})
	require.NoError(t, f.VerifyURL(within(t)))
	boltStory(t, f)

	f.SetReceiver(&slackfake.Receiver{Commands: to, Secret: "ffffffffffffffffffffffffffffffff"})
	out := f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "help").Wait()
	assert.Equal(t, slackfake.DispatchFailed, out.Error, "Bolt refuses another secret")
}

// boltStory is the whole way of an approval.
func boltStory(t *testing.T, f *slackfake.Fake) {
	t.Helper()
	ada, grace := f.User(slackfake.Ada), f.User(slackfake.Grace)
	out := ada.Slash(slackfake.Ops, "/vps", "help").Wait()
	require.True(t, out.Acked, out)
	require.Len(t, f.Ephemerals(slackfake.Ada), 1)
	assert.Equal(t, "one screen of help", f.Ephemerals(slackfake.Ada)[0].String())

	require.True(t, ada.Slash(slackfake.Ops, "/vps", "snapshot restore web-01 801").Wait().Acked)
	require.NoError(t, f.Await(within(t), func() bool { return len(f.Messages(slackfake.Ops)) == 1 }))
	m := f.Messages(slackfake.Ops)[0]
	assert.Equal(t, "*restore web-01*, asked by @ada\n[Approve…] [Deny…]", m.String())

	require.True(t, grace.Press(m, "Approve").Wait().Acked)
	v, open := f.View(slackfake.Grace)
	require.True(t, open)
	assert.Equal(t, []slackfake.Option{{Text: "snap of web", Value: "801"}}, grace.Type(v, "point", "web").Wait().Options)
	fill := func(name string) slackfake.Values {
		return slackfake.Values{"name": {"name": name}, "point": {"point": "snap of web"}}
	}
	assert.Equal(t, map[string]string{"name": "that is not its name"}, grace.Submit(v, fill("web-02")).Wait().Errors)
	require.True(t, grace.Submit(v, fill("web-01")).Wait().Acked)
	require.NoError(t, f.Await(within(t), func() bool { return f.Message(m.Channel, m.TS).Versions == 2 }))
	assert.Equal(t, "approved by @grace", f.Message(m.Channel, m.TS).String())
	assert.Empty(t, f.Views(slackfake.Grace))

	require.True(t, ada.Press(m, "Deny…").Wait().Acked, "somebody whose screen is behind")
	require.NoError(t, f.Await(within(t), func() bool { return f.Message(m.Channel, m.TS).Versions == 3 }))
	require.True(t, ada.Mention(slackfake.Ops, m.TS, "status").Wait().Acked)
	require.NoError(t, f.Await(within(t), func() bool { return len(f.Thread(m.Channel, m.TS)) == 3 }))
	assert.Equal(t, "you said: @vpsguard status", f.Thread(m.Channel, m.TS)[2].String())
	assert.Empty(t, f.Violations())
}

func TestBoltReconnectsAndRunsIntoTheThreeSeconds(t *testing.T) {
	t.Parallel() // Slack's client waits 5 s before it comes back
	f, _ := serve(t, slackfake.Options{})
	startBolt(t, f, "socket")
	require.NoError(t, f.AwaitSockets(within(t), 1))
	d := f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "sleep")
	f.Pass(slackfake.AckWithin)
	assert.Equal(t, slackfake.OperationTimeout, d.Wait().Error)
	assert.Equal(t, []string{"no-ack"}, rules(f))
	old := f.Sockets()[0]
	old.Disconnect("refresh_requested")
	require.NoError(t, f.Await(within(t), func() bool {
		now := f.Sockets()
		return len(now) == 1 && now[0].Number != old.Number
	}))
	assert.True(t, f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "help").Wait().Acked)
}

func TestBoltsClientsAgainstTheFake(t *testing.T) {
	t.Parallel()
	f, _ := serve(t, slackfake.Options{Now: time.Now})
	out, err := node(t, surroundings(f, ""), "--test", "clients.test.js").CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "# fail 0")
}

func TestBoltOnTheSignatureCorpus(t *testing.T) {
	file := filepath.Join(t.TempDir(), "corpus.json")
	b, err := json.Marshal(slackfake.SignatureCorpus(slackfake.Epoch))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, b, 0o600))
	out, err := node(t, []string{"SLACK_CORPUS=" + file}, "--test", "signatures.test.js").CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "# fail 0")
}

func TestSlackGoOnTheSignatureCorpus(t *testing.T) {
	for _, r := range slackfake.SignatureCorpus(time.Now()) {
		if strings.HasPrefix(r.Name, "300 s") || strings.HasPrefix(r.Name, "301 s") {
			continue // its clock cannot be set
		}
		accepted := false
		for _, secret := range r.Secrets {
			v, err := slack.NewSecretsVerifier(r.Header(), secret)
			if err != nil {
				continue
			}
			_, _ = v.Write([]byte(r.Body))
			accepted = accepted || v.Ensure() == nil
		}
		if r.Name == "upper-case hex" {
			assert.True(t, accepted, "slack-go decodes it, Bolt compares letters")
			continue
		}
		assert.Equal(t, r.Valid, accepted, r.Name)
	}
}
