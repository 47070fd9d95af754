// Package ledger keeps requests, the audit, settings and queued work in one SQL
// database, as the contract of [policy.Ledger] asks. Today that is SQLite in
// one file, for any number of processes on one machine.
//
// # What is stored
//
// A request is one JSON document, with a few of its values beside it as columns
// to find it by. The document is the truth. Each change of it stores a record
// with the document's hash in the audit, in the same transaction. Records are
// chained by hashes ([policy.Chain]); the row of the audit's head is the end of
// the chain, and taking it is what makes changes serial. Queued work lies in
// River's own tables in the same database and is inserted in the same
// transaction; nothing is ever decided from it.
//
// # When things fail
//
//   - A change that fails anywhere is rolled back whole, a panic included. A
//     failing commit (a full disk) stores nothing, and the ledger works again
//     once there is room, without a restart.
//   - A process that is killed leaves either the whole change or nothing.
//   - An error inside a change that its function overlooks makes the change fail
//     all the same; half of a change is never committed.
//   - A nudge may be lost, late or doubled: a worker that dies keeps its job for
//     [rescueAfter], and while the process that schedules is gone, nothing that
//     lies in the future is delivered for about 17 seconds. Whoever needs more
//     sweeps the requests that are due.
//   - What went wrong inside is in the Err of a [policy.Error], for logs only.
//
// # Limits
//
// The chain is not keyed: it shows that rows were changed, not that a person who
// can write the file has written the whole of it anew, or has taken away its last
// records, their head and what they say of requests and settings. Who needs that
// keeps the head that [Ledger.Verify] returns elsewhere, and compares.
//
// BUG: A process that waits for the write lock of SQLite notices the end of its
// context only when the lock is had, or after ten seconds.
//
// BUG: Network file systems cannot share SQLite's memory between machines. The
// ledger must lie on a local disk. And a process that has a ledger open must not
// open its file by other means: closing that would drop SQLite's locks.
package ledger
