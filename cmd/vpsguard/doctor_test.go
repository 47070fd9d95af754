package main

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/slackbot"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

func TestTheDoctorOfAHealthySetup(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	f := slackfake.New(slackfake.Options{Now: time.Now})
	web := httptest.NewServer(f)
	f.SetURL(web.URL)
	t.Cleanup(func() { f.Close(); web.Close() })
	env := append(w.env, "VPSGUARD_SLACK_BOT_TOKEN="+f.BotToken(), "VPSGUARD_SLACK_APP_TOKEN="+f.AppToken(),
		"VPSGUARD_SLACK_API_URL="+web.URL+"/api/", "VPSGUARD_SLACK_CHANNEL="+slackfake.Ops, "VPSGUARD_SLACK_APPROVERS="+slackfake.Grace)
	s, _ := w.service(t)
	withPassphrase(t, s)
	f.AddUser(slackfake.User{ID: "U0ALAN", Name: "alan"})
	env = append(env, "VPSGUARD_POLICY_FILE="+rulesFile(t, "version: 1\nrules: [{name: named, when: 'true', hold: {approvers: [U0ALAN, terminal]}}]\n"))

	out, log, code := vpsguard(t, env, "doctor")
	assert.Zero(t, code, out+log)
	for _, line := range []string{
		"ok       settings: complete; what confirms: slack, terminal\n",
		"ok       VPS.org: ops@example.com at ", ", servers: ",
		"ok       ledger: " + w.path + "\n", "ok       terminal: a passphrase is set\n",
		"ok       Slack bot token: works", "ok       Slack clock: agrees",
		"ok       Slack approver " + slackfake.Grace + ": grace\n", "ok       Slack approver U0ALAN: alan\n",
	} {
		assert.Contains(t, out, line)
	}
	assert.NotContains(t, out, "wrong ")
	for _, secret := range []string{testToken, f.BotToken(), f.AppToken()} {
		assert.NotContains(t, out+log, secret)
	}
	assert.Empty(t, f.Messages(slackfake.Ops), "it posts nothing")
}

func TestTheDoctorSaysWhatIsWrongAndHowToFixIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, fast())
	f := slackfake.New(slackfake.Options{Now: time.Now})
	web := httptest.NewServer(f)
	f.SetURL(web.URL)
	t.Cleanup(func() { f.Close(); web.Close() })
	f.ChangeUser(slackfake.Grace, func(u *slackfake.User) { u.Deleted = true })
	env := append(w.env, "VPSGUARD_SLACK_BOT_TOKEN="+f.BotToken(), "VPSGUARD_SLACK_APP_TOKEN=xapp-another",
		"VPSGUARD_SLACK_API_URL="+web.URL+"/api/", "VPSGUARD_SLACK_CHANNEL=C0NOWHERE", "VPSGUARD_SLACK_APPROVERS="+slackfake.Grace,
		"VPSGUARD_API_TOKEN=vps_wrong")
	out, log, code := vpsguard(t, env, "doctor", "--output", "json")
	assert.Equal(t, 1, code)
	assert.Contains(t, log, "things are wrong")
	var got struct {
		Total, Wrong int
		Findings     []finding
	}
	require.NoError(t, json.Unmarshal([]byte(out), &got), out)
	assert.Len(t, got.Findings, got.Total)
	wrong := map[string]string{}
	for _, f := range got.Findings {
		if f.State == findWrong {
			wrong[f.About] = f.Fix
		}
	}
	assert.Len(t, wrong, got.Wrong)
	assert.Contains(t, wrong, "VPS.org")
	fixes := out
	for _, what := range []string{"VPSGUARD_SLACK_APP_TOKEN", "C0NOWHERE", "U2"} {
		assert.Contains(t, fixes, what)
	}
	for about, fix := range wrong {
		assert.NotEmpty(t, fix, about)
	}
	assert.NotContains(t, out, "vps_wrong")
	assert.NotContains(t, out, "xapp-another")
}

func TestTheManifestIsPrinted(t *testing.T) {
	t.Parallel()
	out, _, code := vpsguard(t, bare(t), "slack", "manifest")
	assert.Zero(t, code)
	assert.Equal(t, slackbot.Manifest(""), out)
	out, _, code = vpsguard(t, bare(t), "slack", "manifest", "--url", "https://vpsguard.example.com")
	assert.Zero(t, code)
	for _, path := range []string{"commands", "interactions", "events", "options"} {
		assert.Contains(t, out, "https://vpsguard.example.com/slack/"+path)
	}
	_, log, code := vpsguard(t, bare(t), "slack", "manifest", "--url", "vpsguard.example.com/x")
	assert.Equal(t, 2, code)
	assert.True(t, strings.HasPrefix(log, "vpsguard: --url must be an https URL without a path"), log)
}
