// Package tools is the MCP door: it offers the catalogue of a [Caller] as MCP
// tools, over stdio and Streamable HTTP, and renders what comes back. It sees
// operations as data only, and decides nothing: there is no tool that approves,
// and no argument that confirms.
//
// # What it promises
//
//   - Every tool comes from one [policy.Descriptor]: name, title, hints, a strict
//     input schema and an output schema. The order of the list is stable.
//   - Arguments reach [policy.ParseArguments] as the bytes that the client sent,
//     so that nothing is rounded, coerced or lost on the way.
//   - A result holds structured content and a text that says the same. It is
//     encoded once. A held request is a normal result: it says what would be
//     lost, until when, and which person confirms where.
//   - A call that waits sends progress if the client asked for that: on the stream of
//     its own answer and before it, at each change and every few seconds.
//   - Nothing but MCP frames is written to the output of [Server.Stdio].
//
// # When things fail
//
// A call that fails is answered with an isError result of at most 1 kB: kind,
// sentence, hint. A panic is answered the same way, with kind internal and
// nothing from inside; the stack goes to the log. A client that goes away, or
// cancels, ends its reads; what was started in the ledger goes on there. When
// the program stops, calls in flight are answered first, see [Server.Stdio] and
// [Server.Shutdown]. Calls that wait for something are cut short then.
//
// # Protocol
//
// Both eras are served on one endpoint: 2024-11-05 to 2025-11-25 with
// initialize, and 2026-07-28 without. For clients of the older era HTTP keeps a
// session, with an end: it carries the client's name and what the client can do,
// and tells whose call a notifications/cancelled means. Nothing depends on it,
// so replicas do without ([HTTPOptions].Stateless). Tasks are not offered (a
// long wait is a second call), and no notification is sent unasked.
package tools
