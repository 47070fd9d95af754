package main

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/policy"
)

var update = flag.Bool("update", false, "rewrite golden files")

// golden compares with a file below testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o750))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), got, "go test ./cmd/vpsguard -run %s -update rewrites it", t.Name())
}

func TestWhatHoldsUnlessSet(t *testing.T) {
	t.Parallel()
	s, err := load(t.Context(), []string{"HOME=/home/ada", "VPSGUARD_API_TOKEN=vps_x", "VPSGUARD_CONFIRM=", "OTHER=1"})
	require.NoError(t, err)
	assert.Equal(t, settings{
		APIToken: secret{"vps_x"}, APIURL: apiclient.DefaultBaseURL, APITimeout: 30 * time.Second, Addr: "127.0.0.1:8080",
		Database: s.Database, Confirm: []string{"terminal"}, ApproveWithin: 30 * time.Minute, StartWithin: 10 * time.Minute,
		PollEvery: 10 * time.Second, SlackAPIURL: slackAPI, LogLevel: "info", LogFormat: "text",
	}, s)
	assert.True(t, strings.HasPrefix(s.Database.Reveal(), "sqlite:/home/ada/"), s.Database.Reveal())
	assert.Equal(t, []policy.Way{policy.WayTerminal}, s.ways())

	s, err = load(t.Context(), []string{"HOME=/home/ada", "XDG_STATE_HOME=/state", "VPSGUARD_CONFIRM=none"})
	require.NoError(t, err)
	assert.Equal(t, "sqlite:/state/vpsguard/ledger.db", s.Database.Reveal())
	assert.Empty(t, s.ways(), "none means nobody")
}

// TestWrongConfigurations freezes the lines that people see. No line repeats a
// value: each is set to something that could be a secret in the wrong place.
func TestWrongConfigurations(t *testing.T) {
	t.Parallel()
	const leak = "vps_s3cret"
	dir := t.TempDir()
	empty := filepath.Join(dir, leak+"-empty")
	require.NoError(t, os.WriteFile(empty, []byte("\n"), 0o600))
	var b strings.Builder
	for _, set := range []string{
		"API_TOKEN=" + leak + " with a blank",
		"API_TOKEN=" + leak + "|API_TOKEN_FILE=" + empty,
		"API_TOKEN_FILE=" + leak,
		"API_TOKEN_FILE=" + empty,
		"API_TOKEN_FILE=" + dir,
		"API_URL=http://" + leak + ".example/api/v1",
		"API_URL=https://ops:" + leak + "@admin.vps.org/api/v1",
		"API_URL=" + leak,
		"API_TIMEOUT=" + leak,
		"API_TIMEOUT=30",
		"API_TIMEOUT=0s",
		"ADDR=" + leak,
		"ADDR=127.0.0.1:99999",
		"PUBLIC_URL=" + leak,
		"PUBLIC_URL=https://vpsguard.example.com/" + leak,
		"DATABASE=" + leak,
		"DATABASE=mysql://root:" + leak + "@db/x",
		"DATABASE=postgres://root:" + leak + "@db/",
		"DATABASE=sqlite::memory:",
		"READ_ONLY=" + leak,
		"READ_ONLY=yes",
		"CONFIRM=" + leak,
		"CONFIRM=terminal,none",
		"CONFIRM=slack,slack",
		"CONFIRM=elicitation,none",
		"STATE_KEY=" + leak,
		"STATE_KEY=" + strings.Repeat("ab", 31),
		"APPROVE_WITHIN=-1m",
		"START_WITHIN=10 minutes",
		"POLL_EVERY=1ns",
		"LOG_LEVEL=" + leak,
		"LOG_FORMAT=xml",
		"SLACK_BOT_TOKEN=" + leak,
		"SLACK_APP_TOKEN=xapp-" + leak + " x",
		"SLACK_APP_TOKEN=xoxb-" + leak,
		"SLACK_SIGNING_SECRET=" + leak,
		"SLACK_SIGNING_SECRET_FILE=/run/" + leak,
		"SLACK_APPROVERS=ada@example.com," + leak,
		"SLACK_CHANNEL=#" + leak,
		"SLACK_API_URL=http://" + leak + ".example/api/",
		"OIDC_ISSUER=http://" + leak + ".example",
		"OIDC_ISSUER=https://login.example.com/?x=" + leak,
		"OIDC_ISSUER=https://ops:" + leak + "@login.example.com",
		"OIDC_AUDIENCE=" + leak + " x",
		"OIDC_ISSUER=https://" + leak + ".example",
		"OIDC_AUDIENCE=" + leak,
		"OIDC_ISSUER=https://" + leak + ".example|OIDC_AUDIENCE=" + leak,
		"METRICS_ADDR=0.0.0.0:9090",
		"METRICS_ADDR=" + leak,
		"READONLY=true",
		"API_KEY=" + leak,
		"APITOKEN=" + leak,
		"CONFRIM=none",
		"SOMETHING_ELSE_ALTOGETHER=1",
	} {
		env := []string{"HOME=/home/ada"}
		for pair := range strings.SplitSeq(set, "|") {
			env = append(env, prefix+pair)
		}
		_, err := load(t.Context(), env)
		var wrong *usageError
		require.ErrorAs(t, err, &wrong, set)
		name, _, _ := strings.Cut(set, "=")
		assert.Contains(t, err.Error(), prefix+name, "the variable is named")
		assert.NotContains(t, err.Error(), leak)
		assert.NotContains(t, err.Error(), "\n")
		fmt.Fprintf(&b, "%s\n    %s\n", strings.ReplaceAll(set, dir, "/tmp"), err)
	}
	b.WriteString(halfSlack(t, leak))
	_, err := load(t.Context(), nil)
	require.Error(t, err)
	fmt.Fprintf(&b, "no home folder\n    %s\n", err)
	golden(t, "config.golden", b.String())
}

// halfSlack are the lines where some of the settings for Slack are missing: then
// somebody believes that people can confirm there.
func halfSlack(t *testing.T, leak string) string {
	t.Helper()
	var b strings.Builder
	for _, set := range []string{
		"SLACK_APPROVERS=U1",
		"CONFIRM=slack",
		"SLACK_BOT_TOKEN=xoxb-" + leak,
		"SLACK_BOT_TOKEN=xoxb-" + leak + "|SLACK_APP_TOKEN=xapp-" + leak,
		"SLACK_BOT_TOKEN=xoxb-" + leak + "|SLACK_APP_TOKEN=xapp-" + leak + "|SLACK_APPROVERS=U1",
		"SLACK_BOT_TOKEN=xoxb-" + leak + "|SLACK_APP_TOKEN=xapp-" + leak + "|SLACK_APPROVERS=U1|SLACK_CHANNEL=C1|SLACK_API_URL=http://127.0.0.1:1/",
	} {
		env := []string{"HOME=/home/ada"}
		for pair := range strings.SplitSeq(set, "|") {
			env = append(env, prefix+pair)
		}
		_, err := load(t.Context(), env)
		var wrong *usageError
		require.ErrorAs(t, err, &wrong, set)
		assert.NotContains(t, err.Error(), leak)
		fmt.Fprintf(&b, "%s\n    %s\n", set, err)
	}
	return b.String()
}

func TestTheSettingsForSlack(t *testing.T) {
	t.Parallel()
	slack := []string{
		"HOME=/home/ada", "VPSGUARD_SLACK_BOT_TOKEN=xoxb-1", "VPSGUARD_SLACK_APP_TOKEN=xapp-1",
		"VPSGUARD_SLACK_APPROVERS=U1, S2", "VPSGUARD_SLACK_CHANNEL=C1",
	}
	s, err := load(t.Context(), slack)
	require.NoError(t, err)
	assert.Equal(t, []policy.Way{policy.WaySlack, policy.WayTerminal}, s.ways(), "unless told")
	assert.Equal(t, []string{"U1", "S2"}, s.SlackApprovers)

	s, err = load(t.Context(), append(slack, "VPSGUARD_CONFIRM=slack"))
	require.NoError(t, err)
	assert.Equal(t, []policy.Way{policy.WaySlack}, s.ways())

	s, err = load(t.Context(), append(slack[:3:3], "VPSGUARD_CONFIRM=terminal"))
	require.NoError(t, err, "commands only: nobody confirms in Slack, so neither approvers nor a channel are needed")
	assert.Equal(t, []policy.Way{policy.WayTerminal}, s.ways())

	one, two := strings.Repeat("0123abcd", 4), strings.Repeat("4567cdef", 4)
	s, err = load(t.Context(), append(slack, "VPSGUARD_SLACK_SIGNING_SECRET="+one+", "+two))
	require.NoError(t, err)
	assert.Equal(t, []string{one, two}, s.slackSecrets(), "two while it is changed")
}

func TestElicitationCountsOnlyWhereItIsWritten(t *testing.T) {
	t.Parallel()
	s, err := load(t.Context(), []string{"HOME=/home/ada"})
	require.NoError(t, err)
	assert.Equal(t, []policy.Way{policy.WayTerminal}, s.ways())
	assert.Len(t, checkSettings(s), 1)

	key := strings.Repeat("K", 32)
	for _, text := range []string{
		hex.EncodeToString([]byte(key)), base64.StdEncoding.EncodeToString([]byte(key)), base64.RawURLEncoding.EncodeToString([]byte(key)),
	} {
		s, err = load(t.Context(), []string{"HOME=/home/ada", "VPSGUARD_CONFIRM=terminal, elicitation", "VPSGUARD_STATE_KEY=" + text})
		require.NoError(t, err)
		got, _ := sealKey(s.StateKey.Reveal())
		assert.Equal(t, key, string(got))
	}
	assert.Equal(t, []policy.Way{policy.WayTerminal, policy.WayElicitation}, s.ways())
	found := checkSettings(s)
	require.Len(t, found, 2)
	assert.Equal(t, findWarning, found[1].State)
	assert.Contains(t, found[1].Found, "no proof")
}

func TestAWrongConfigurationStopsEveryCommand(t *testing.T) {
	t.Parallel()
	env := append(bare(t), "VPSGUARD_CONFRIM=none")
	for _, command := range []string{
		"serve", "stdio", "sandbox", "requests", "requests list", "requests approve rq_7f3k9c", "passphrase set", "audit verify",
	} {
		args := strings.Fields(command)
		out, log, code := vpsguard(t, env, args...)
		assert.Equal(t, 2, code, args)
		assert.Empty(t, out)
		assert.Equal(t, "vpsguard: VPSGUARD_CONFRIM is no variable of vpsguard; did you mean VPSGUARD_CONFIRM?\n", log)
	}
}

func TestASecretMayComeFromAFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte("vps_from_file\n"), 0o600))
	s, err := load(t.Context(), []string{"HOME=/home/ada", "VPSGUARD_API_TOKEN_FILE=" + file})
	require.NoError(t, err)
	assert.Equal(t, "vps_from_file", s.APIToken.Reveal())
}

func TestSecretsAreNeverPrinted(t *testing.T) {
	t.Parallel()
	const leak = "vps_s3cret"
	s, err := load(t.Context(), []string{"HOME=/home/ada", "VPSGUARD_API_TOKEN=" + leak})
	require.NoError(t, err)
	raw, err := json.Marshal(s)
	require.NoError(t, err)
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "settings", s, "token", s.APIToken, "pointer", &s)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "settings", s, "token", s.APIToken)
	all := log.String() + string(raw)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		all += fmt.Sprintf(verb, s) + fmt.Sprintf(verb, &s) + fmt.Sprintf(verb, s.APIToken)
	}
	assert.NotContains(t, all, leak)
	assert.NotContains(t, all, fmt.Sprintf("%x", leak))
	assert.Contains(t, all, "[set]")
}

func TestEveryVariableIsDocumented(t *testing.T) {
	t.Parallel()
	help := environmentTopic().Long
	for _, v := range variables() {
		assert.NotEmpty(t, v.About, v.Name)
		assert.NotEmpty(t, v.Takes, v.Name)
		assert.True(t, strings.HasSuffix(v.About, "."), "%s has a sentence", v.Name)
		assert.Contains(t, help, v.Name+"\n")
		assert.NotNil(t, checks[strings.TrimPrefix(v.Name, prefix)], "%s is checked", v.Name)
	}
	assert.Len(t, checks, len(variables()), "nothing else is checked")
	assert.Equal(t, apiclient.DefaultBaseURL, variables()[1].Default)
}

func TestReadmeListsTheVariables(t *testing.T) {
	var b strings.Builder
	b.WriteString("| Variable | Unless set | |\n|---|---|---|\n")
	for _, v := range variables() {
		value := ""
		if v.Default != "" {
			value = "`" + v.Default + "`"
		}
		file := ""
		if v.Secret {
			file = " `" + v.Name + "_FILE` may name a file that holds it."
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s Takes %s.%s |\n", v.Name, value, v.About, v.Takes, file)
	}
	inReadme(t, "environment", b.String())
}
