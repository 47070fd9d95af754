// Package rules reads the operator's rule file and judges calls by it: what a
// team asks for beyond the floor, written down where it can be reviewed.
//
// # The language
//
// A file is YAML: `version: 1`, `people` and `rules`. A rule has a name, a
// condition (when) and what follows where it holds: hold, which asks for
// people, time or a safety copy, or deny with a sentence.
//
//	version: 1
//	people:                      # identities that are one person
//	  - {name: Ada, slack: U01, terminal: ada, agents: [ci-agent]}
//	rules:
//	  - name: production restores take two people
//	    when: operation.effect == "overwrite" && server.name.startsWith("prod-")
//	    hold: {approvals: 2, approvers: [S0123ABCD], not_requester: true}
//	  - name: christmas freeze
//	    when: now >= timestamp("2026-12-20T00:00:00Z") && now < timestamp("2027-01-03T00:00:00Z")
//	    deny: Change freeze until 3 January. Ask in #incident-command for an exception.
//
// A hold may have approvals (1 to 10), approvers (Slack users U… and W…, Slack
// user groups S…, terminal), not_requester: true, delay (1s to 24h),
// approve_within and start_within (1m to 24h), and safety_copy: required. `hold:
// {}` asks for one person. A `#` that is directly followed by something belongs to
// a name or a sentence, as in the channel above; a comment begins with "# ".
//
// A condition is written in CEL (https://cel.dev): its standard library and its
// functions on strings (lowerAscii, split, substring, …) except those that make
// texts. It is type-checked when the file is read, and so are the dates,
// durations, patterns and fixed words in it: `server.nam` and
// `operation.effect == "overwirte"` do not load.
//
// # The variables
//
//   - operation: name, noun, verb, effect (string; "create", "overwrite", "delete")
//   - actor: door ("mcp", "slack", "terminal"), subject, name, role, agent (string),
//     by_message (bool)
//   - server: id (int), name, status, location (string), free_snapshot_slots,
//     free_backup_slots (int)
//   - target: kind ("snapshot", "backup", ""), name, status, backup_type
//     ("manual", "automatic", "") (string), id (int), size_mb (int, megabytes),
//     age (duration), expires_at (timestamp), last_recovery_point, newest (bool)
//   - request: reason (string), safety_copy (bool)
//   - now (timestamp, UTC)
//
// [Reference] has a sentence on each. What is not known is empty, 0 or false, and
// has(…) of it is false; but an unknown size is -1, and what does not expire goes
// a hundred years from now. A create has no target: target.kind is "", and all
// else of it is not known. actor.role is empty until a door says one.
//
// # How rules add up
//
// All rules that match apply, and of each field the strictest counts: any deny,
// the most approvals, approvers who are on every list, the longest delay, the
// shortest clocks. Where no named approver is on every list, or fewer than have to
// approve, the call is refused and says so.
//
// Where several recovery points are deleted at once, each is judged by itself, as a
// prune and as the delete of that one, and the rules that match for any apply.
//
// # What can never be done
//
//   - Go below the floor: there is no allow, no hold: false, no approvals: 0, and
//     no rule takes back what another asks for.
//   - Judge a read: looking is never held or refused.
//   - Pass by failing: a condition that fails while running refuses, and names its
//     rule. One that takes too long fails.
//   - Read anything: a condition sees the variables and nothing else. It has no
//     access to files, networks, environment or to Go.
//   - Trust what a client calls itself: no variable and no person is made from it.
package rules
