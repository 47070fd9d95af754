package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/vpsguard/vpsguard/slackbot"
)

func (p *program) slackCommand() *cobra.Command {
	c := p.command("slack", "Set up the Slack app", "", "  vpsguard slack manifest", noArguments)
	manifest := p.command("manifest", "Print the app's manifest, for Slack to make the app from",
		"Paste it at https://api.slack.com/apps, under \"Create New App\", \"From a manifest\". Unless\n"+
			"told, it is for Socket Mode, which needs no public URL.",
		"  vpsguard slack manifest > manifest.yaml\n  vpsguard slack manifest --url https://vpsguard.example.com", noArguments)
	url := manifest.Flags().String("url", "", "for HTTP instead: the `URL` at which Slack reaches vpsguard serve")
	manifest.RunE = func(*cobra.Command, []string) error {
		if *url != "" && (!isOrigin(*url) || !strings.HasPrefix(*url, "https:")) { // Slack takes no other
			return usagef("--url must be an https URL without a path, such as https://vpsguard.example.com")
		}
		return p.printf("%s", slackbot.Manifest(*url))
	}
	c.AddCommand(manifest)
	return c
}
