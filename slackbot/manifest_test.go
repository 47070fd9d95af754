package slackbot

import (
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// settings are the lines of a manifest that are no comments.
func settings(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	return out
}

// The limits stand in https://docs.slack.dev/reference/app-manifest.
func TestTheManifestIsWithinSlacksLimits(t *testing.T) {
	within := map[string][2]int{ // by key, in the order of the file
		"name": {1, 35}, "long_description": {174, 4000}, "display_name": {1, 80}, "usage_hint": {0, 1000}, "description": {1, 140},
	}
	seen := map[string]bool{}
	for _, line := range settings(Manifest("")) {
		key, value, _ := strings.Cut(strings.TrimPrefix(line, "- "), ": ")
		value = strings.Trim(value, `"`)
		if l, ok := within[key]; ok {
			seen[key] = true
			assert.GreaterOrEqual(t, utf8.RuneCountInString(value), l[0], key)
			assert.LessOrEqual(t, utf8.RuneCountInString(value), l[1], key)
		}
		if key == "command" {
			assert.Regexp(t, `^/[a-z]{1,31}$`, value)
			seen[key] = true
		}
		// A plain value must not be cut by YAML.
		if !strings.Contains(line, `"`) {
			assert.NotRegexp(t, `: .*(: | #)`, line)
		}
		assert.NotContains(t, line, "\t")
	}
	assert.Len(t, seen, len(within)+1)
}

// yamlScopes are the bot scopes that a manifest asks for.
func yamlScopes(t *testing.T, text string) []string {
	t.Helper()
	_, rest, ok := strings.Cut(text, "    bot:\n")
	require.True(t, ok)
	list, _, ok := strings.Cut(rest, "settings:\n")
	require.True(t, ok)
	var out []string
	for _, line := range settings(list) {
		out = append(out, strings.TrimPrefix(line, "- "))
	}
	return out
}

func TestTheManifestAsksForWhatTheDoorUses(t *testing.T) {
	assert.Equal(t, neededScopes, yamlScopes(t, Manifest("")))
	assert.Equal(t, neededScopes, yamlScopes(t, Manifest("https://vpsguard.example")))
	for _, s := range usefulScopes {
		assert.Contains(t, Manifest(""), "# - "+s)
	}
	o := unlimited()
	o.Scopes = yamlScopes(t, Manifest(""))
	bubbleDesk(t, o, []string{"S0OPS"}, func(t *testing.T, d *desk) {
		// With them, and no others, nothing that the door calls is refused.
		d.fake.AddGroup(slackfake.Group{ID: "S0OPS", Users: []string{slackfake.Ada}})
		ts, err := d.c.post(t.Context(), slackfake.Ops, "", note("x"))
		require.NoError(t, err)
		require.NoError(t, d.c.update(t.Context(), slackfake.Ops, ts, note("y")))
		require.NoError(t, d.c.ephemeral(t.Context(), slackfake.Ops, "", slackfake.Ada, note("z")))
		_, err = d.c.permalink(t.Context(), slackfake.Ops, ts)
		require.NoError(t, err)
		_, err = d.c.openView(t.Context(), inPayload(t, d.fake.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", ""), "trigger_id"), modalOf("x"))
		require.NoError(t, err)
		require.NoError(t, d.people.Vouch(t.Context(), d.actor(slackfake.Ada)))
		_, err = d.c.groups(t.Context())
		require.NoError(t, err)
		assert.Empty(t, d.fake.Violations())
		// Each is needed: the source of no call does without.
		for _, s := range []string{"chat:write", "users:read", "usergroups:read"} {
			var fewer []string
			for _, other := range neededScopes {
				if other != s {
					fewer = append(fewer, other)
				}
			}
			d.fake.SetScopes(fewer...)
			_, failed := d.c.post(t.Context(), slackfake.Ops, "", note("x"))
			assert.True(t, failed != nil || d.people.Vouch(t.Context(), d.actor(slackfake.Ada)) != nil, "%s is not needed", s)
		}
	})
}

func TestTheManifestForSocketMode(t *testing.T) {
	text := Manifest("")
	file, err := os.ReadFile("manifest.yaml")
	require.NoError(t, err)
	assert.Equal(t, string(file), text)
	lines := settings(text)
	assert.Contains(t, lines, "socket_mode_enabled: true")
	for _, line := range lines {
		assert.NotRegexp(t, `^(url|request_url|message_menu_options_url):`, line)
	}
	for _, want := range []string{"- command: /vps", "should_escape: true", "- app_mention", "is_enabled: true", "token_rotation_enabled: false", "org_deploy_enabled: false"} {
		assert.Contains(t, lines, want)
	}
	assert.NotContains(t, text, "shortcuts:")
	assert.NotContains(t, strings.Join(lines, "\n"), "incoming-webhook")
}

func TestTheManifestForRequestURLs(t *testing.T) {
	for _, address := range []string{"https://vpsguard.example", "https://vpsguard.example/"} {
		text := Manifest(address)
		lines := settings(text)
		for _, want := range []string{
			`url: "https://vpsguard.example/slack/commands"`,
			`request_url: "https://vpsguard.example/slack/events"`,
			`request_url: "https://vpsguard.example/slack/interactions"`,
			`message_menu_options_url: "https://vpsguard.example/slack/options"`,
			"socket_mode_enabled: false",
		} {
			assert.Contains(t, lines, want)
		}
		assert.Len(t, lines, len(settings(Manifest("")))+4)
		assert.NotContains(t, text, "PUBLIC_URL/")
		assert.NotContains(t, text, "over HTTP")
		// Keys stand where their neighbours do.
		assert.Regexp(t, `(?m)^    - command: /vps\n(      .*\n)*      url: `, text)
		assert.Regexp(t, `(?m)^  event_subscriptions:\n    request_url: `, text)
		assert.Regexp(t, `(?m)^  interactivity:\n    is_enabled: true\n    request_url: .*\n    message_menu_options_url: `, text)
	}
	assert.Contains(t, Manifest("https://x\"\n  evil: true"), `url: "https://x\"\n  evil: true/slack/commands"`, "an address is one value")
}
