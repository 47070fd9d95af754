// Package policy is the rule of the house: it decides what may reach the
// VPS.org API, when, and who has to agree first. It imports the standard
// library only, so that a reviewer can read all of it.
//
// # What it promises
//
//   - No overwrite and no delete is sent without at least one explicit
//     confirmation by a person, whatever the configuration, the rules, the
//     door, a race or a crash ([Service.Decide], and again in the transaction
//     that starts a step).
//   - A confirmation covers exactly the plan that was shown ([Plan.Digest]). A
//     step is planned again right before it is sent; if the world moved, the
//     request ends as [Stale] and nothing is sent.
//   - Each step is sent at most once. A record of the start is durable before
//     the call leaves. A lost answer is never repeated: it is [Uncertain] until
//     reading proves what happened or a person settles it.
//   - A change of a request and its audit record are one transaction
//     ([Tx.Put] is the only way to change one).
//
// # The way of a call
//
// A door (MCP, Slack, the terminal) makes a [Call] and hands it to
// [Service.Call]. Reads are answered at once. Everything else is planned and
// becomes a [Request] in the [Ledger]: approved at once where nothing is
// destroyed, held otherwise. [Service.Decide] adds a person's verdict.
// [Service.Advance] moves a request on: it starts steps, watches them, settles
// lost answers and lets clocks run out. Whoever calls it, and how often, does
// not matter; the request's row decides.
//
// # When things fail
//
// A ledger that cannot commit means that nothing is sent. A process that dies
// between the record and the answer leaves a step that is never sent again. An
// API that cannot be read leaves a request waiting until its clock ends.
package policy
