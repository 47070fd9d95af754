package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

var responseURL = regexp.MustCompile(`/response/[^"\\]+`)

// TestNoSecretIsToldInSlackOrElsewhere has everything go wrong that can, with
// everything logged, and looks for what must never be told in all that comes out.
func TestNoSecretIsToldInSlackOrElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	f := w.withSlack(t, slackfake.Options{Limits: slackfake.NoLimits()})
	w.env = append(w.env, "VPSGUARD_SLACK_SIGNING_SECRET="+testSecret, "VPSGUARD_LOG_LEVEL=debug")
	cmd, log := spawn(t, w.env, "serve")
	log.await(t, "serving MCP")
	require.NoError(t, f.AwaitSockets(t.Context(), 2))
	ada, grace := f.User(slackfake.Ada), f.User(slackfake.Grace)
	_, card := asksFor(t, f, log)

	// n says how often to go on, so that every fault meets every kind of call.
	everyKind := func() {
		var all []*slackfake.Delivery
		for _, text := range []string{
			"help", "server list", "snapshot restore", "snapshot list no-such-server", "request list", "request show rq_7f3k9c",
			"snapshot create web-server-01 with-" + fmt.Sprint(time.Now().UnixNano()), "nonsense", "backup delete web-server-01 501 because " + f.BotToken()[:6],
		} {
			all = append(all, ada.Slash(slackfake.Ops, "/vps", text))
		}
		all = append(all, ada.Mention(slackfake.Ops, "", "server list"), grace.Press(card, "Approve"), grace.Press(card, "Deny"), ada.Press(card, "Cancel"))
		for _, d := range all {
			d.Wait()
		}
	}
	for _, fault := range []slackfake.Fault{
		{Name: slackfake.Error500},
		{Name: slackfake.HTML},
		{Name: slackfake.CutJSON},
		{Name: slackfake.Reset},
		{Name: slackfake.Refused, Code: "invalid_blocks"},
		{Name: slackfake.Refused, Code: "token_revoked"},
		{Name: slackfake.Error500, Method: "response_url"},
	} {
		f.Inject(fault)
		everyKind()
		f.Heal()
	}
	for _, fault := range []string{vpsfake.EchoToken, vpsfake.HugeError, vpsfake.HTML, vpsfake.Unauthorized} {
		w.fake.Inject(vpsfake.Fault{Name: fault})
		everyKind()
		w.fake.Heal()
	}
	f.RevokeAppToken("invalid_auth")
	for _, s := range f.Sockets() {
		s.Drop()
	}
	log.await(t, "no connection to Slack")
	deliverTo(t, f, log)
	everyKind()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, slackURL.FindString(log.String())+"commands", strings.NewReader("command=%2Fvps&text=help&token="+f.BotToken()))
	require.NoError(t, err)
	req.Header = slackfake.Sign("ffffffffffffffffffffffffffffffff", time.Now(), []byte("other"))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	_ = res.Body.Close()
	assert.Equal(t, http.StatusUnauthorized, res.StatusCode)
	doctor, complaints, _ := vpsguard(t, w.env, "doctor")
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	_ = ended(cmd)
	audit, said, code := vpsguard(t, w.env, "audit", "list", "--output", "json")
	require.Equal(t, 0, code, said)

	secrets := map[string]string{
		"the bot token": f.BotToken(), "the app token": f.AppToken(), "the signing secret": testSecret, "the API token": testToken,
	}
	for _, d := range f.Deliveries() {
		if url := responseURL.FindString(string(d.Payload())); url != "" {
			secrets["the response_url "+url] = url
		}
	}
	require.Greater(t, len(secrets), 100, "response URLs are there to be told")
	told := map[string]string{"standard output and error": log.String() + doctor + complaints, "the audit": audit + said}
	sent, err := json.Marshal(f.Calls(""))
	require.NoError(t, err)
	told["what is sent to Slack"] = string(sent)
	told["what people see"] = everything(f)
	files, err := filepath.Glob(w.path + "*")
	require.NoError(t, err)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		told[filepath.Base(file)] = string(raw)
	}
	assert.Contains(t, told["ledger.db"]+told["ledger.db-wal"], "request.held", "the ledger can be read")
	for where, text := range told {
		for what, secret := range secrets {
			if strings.Contains(text, secret) {
				i := strings.Index(text, secret)
				t.Errorf("%s is in %s: %q", what, where, text[max(0, i-200):min(len(text), i+len(secret)+40)])
			}
		}
	}
}
