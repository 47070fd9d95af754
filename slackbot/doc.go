// Package slackbot is the Slack door: it offers the catalogue of a [Gate] as a
// slash command and in mentions, shows requests as cards that follow them to
// their end, and is the place where people confirm. It sees operations as data
// only, and decides nothing: who may confirm is asked behind the gate, which asks
// [People] in turn.
//
// # What it promises
//
//   - Nothing but the submission of the form that showed the whole plan is ever
//     given to [Gate.Decide]: no text, mention, reaction or button is. In Slack
//     there are only keys to what a form is about; of a payload nothing is
//     believed but the identity that Slack has signed.
//   - Everything is acknowledged within 3 seconds, whatever else is slow. What is
//     to be changed is written down before that, and done after it, by this
//     process or by the next. A form closes when its decision is in the ledger.
//   - Whoever presses is told what really is. Nothing is dropped in silence.
//   - Foreign text is shown and never acted on: no mention, link or format can
//     come of it. Every message says the whole in its text, for screen readers.
//   - Tokens, secrets and response URLs are in no message, error or log.
//
// # When things fail
//
// What Slack cannot be asked is refused: nobody may confirm on a guess. A post
// whose answer was lost is not sent again before it is known where it may be; a
// card gets its buttons only by its first edit, so that one that nobody can find
// again is one that nobody can press. Cards that cannot be brought up to date are
// tried again until they can; where they never can, the outcome is told where it
// can be, once. Any number of processes may serve one Slack app on one ledger,
// and any may die: what it held is taken over within 15 seconds.
package slackbot
