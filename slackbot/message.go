package slackbot

import "github.com/slack-go/slack"

// message is what is posted in Slack. Its text alone carries the whole decision:
// screen readers and phones show nothing else. Its blocks show the same.
type message struct {
	Text   string
	Blocks []slack.Block
}
