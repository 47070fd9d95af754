package slackbot

import (
	_ "embed"
	"strconv"
	"strings"
)

// socketManifest is the app for Socket Mode. Its comments "over HTTP:" are what an app
// with request URLs has beside.
//
//go:embed manifest.yaml
var socketManifest string

// neededScopes are those of the manifest: the fewest the door works with.
var neededScopes = []string{"commands", "chat:write", "app_mentions:read", "users:read", "usergroups:read"}

// usefulScopes are those that [Checkup] makes use of where they were granted.
var usefulScopes = []string{"channels:read", "groups:read"}

// Manifest is the Slack app as Slack takes it, in YAML: with request URLs below
// publicURL, or for Socket Mode where that is "".
func Manifest(publicURL string) string {
	if publicURL == "" {
		return socketManifest
	}
	const marked, mode = "# over HTTP: ", "socket_mode_enabled: "
	var b strings.Builder
	for line := range strings.Lines(socketManifest) {
		indent, what, url := strings.Cut(line, marked)
		if url {
			key, path, _ := strings.Cut(strings.TrimSuffix(what, "\n"), ": PUBLIC_URL")
			line = indent + key + ": " + strconv.Quote(strings.TrimRight(publicURL, "/")+path) + "\n"
		}
		b.WriteString(strings.Replace(line, mode+"true", mode+"false", 1))
	}
	return b.String()
}
