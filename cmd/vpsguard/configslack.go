package main

import (
	"net/url"
	"slices"
	"strings"

	"github.com/vpsguard/vpsguard/policy"
)

// slackAPI is where Slack's API is.
const slackAPI = "https://slack.com/api/"

// slack tells whether the Slack door is open.
func (s settings) slack() bool { return s.SlackBotToken.Reveal() != "" }

// slackSecrets are those that signatures are checked with, the newest first.
func (s settings) slackSecrets() []string {
	var out []string
	for one := range strings.SplitSeq(s.SlackSigningSecret.Reveal(), ",") {
		if one = strings.TrimSpace(one); one != "" {
			out = append(out, one)
		}
	}
	return out
}

// completeSlack says which ways count unless told, and refuses half a
// configuration: somebody believes that people can confirm in Slack then.
func (s *settings) completeSlack() error {
	way := s.SlackAppToken.Reveal() != "" || s.SlackSigningSecret.Reveal() != ""
	any := s.slack() || way || len(s.SlackApprovers) > 0 || s.SlackChannel != ""
	if len(s.Confirm) == 0 {
		if s.Confirm = []string{string(policy.WayTerminal)}; any {
			s.Confirm = []string{string(policy.WaySlack), string(policy.WayTerminal)}
		}
	}
	counts := slices.Contains(s.Confirm, string(policy.WaySlack))
	if !any && !counts {
		return nil
	}
	api, err := url.Parse(s.APIURL)
	switch {
	case !s.slack():
		return usagef("VPSGUARD_SLACK_BOT_TOKEN is not set, but other settings are for Slack; set it to the app's bot token (xoxb-…), or use VPSGUARD_CONFIRM=terminal and no Slack settings")
	case !way:
		return usagef("VPSGUARD_SLACK_APP_TOKEN is not set, nor is VPSGUARD_SLACK_SIGNING_SECRET, so nothing could come in from Slack; set the first for Socket Mode or the second for HTTP")
	case counts && len(s.SlackApprovers) == 0:
		return usagef("VPSGUARD_SLACK_APPROVERS is not set, and an empty list means nobody; name users (U…) or groups (S…), or take slack out of VPSGUARD_CONFIRM")
	case counts && s.SlackChannel == "":
		return usagef("VPSGUARD_SLACK_CHANNEL is not set, and that is where people decide; set it to the id of a channel (C…), or take slack out of VPSGUARD_CONFIRM")
	case s.SlackAPIURL != slackAPI && (err != nil || !onLoopback(api)):
		return usagef("VPSGUARD_SLACK_API_URL is not Slack's, which only goes with a VPSGUARD_API_URL on this host; remove it")
	}
	return nil
}
