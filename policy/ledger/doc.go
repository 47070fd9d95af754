// Package ledger keeps requests, the audit, settings, notes and queued work in
// one SQL database, as the contract of [policy.Ledger] asks: SQLite in one file,
// for any number of processes on one machine, or PostgreSQL, for processes on any
// number of machines. The SQL is the same, but for what makes the tables.
//
// # What is stored
//
// A request is one JSON document, with a few of its values beside it as columns
// to find it by. The document is the truth. Each change of it stores a record
// with the document's hash in the audit, in the same transaction. Records are
// chained by hashes ([policy.Chain]); the row of the audit's head is the end of
// the chain, and taking it is what makes changes serial: on PostgreSQL by locking
// it, on SQLite by the lock on the file. Queued work lies in
// River's own tables in the same database and is inserted in the same
// transaction; nothing is ever decided from it.
//
// Notes are what doors remember. Nothing is decided from them either, and they
// are in no record: [Ledger.Verify] does not look at them, and storing one does
// not take the audit's head. Telling doors of a request marks its note as due
// and queues a job in a queue of its own for the doors of an account, unless the note
// was due before: then its job is still to come, or a sweep finds it. Where no
// process has a door, such jobs wait for an hour and are then removed by
// whoever works; a door that comes later finds the notes due.
//
// # Versions
//
// The tables have a version, and each file under schema makes one from the one
// before. A version has the same tables on both kinds of database. Opening a ledger
// of an older version upgrades it, in one transaction, while others may be opening
// it too; there is no way back but a copy of it. (On PostgreSQL the queue's tables
// cannot be made in the same transaction. Who finds ours alone makes them.)
//
// Programs of several versions run side by side, and may be started and ended, while
// one replaces the other: the tables name the oldest version of a program that may
// use them. Each file under schema says so: it leaves that as it is where the programs
// before can work with what it makes, and otherwise raises it to its own. Then older
// programs do not open the ledger, and in those that have it open the next change
// fails, with the advice to start the newer one. A program drops what it does not
// know of a request; so whatever a request has to keep raises it too. (Programs that
// know no version after 3 do not look, and refuse all newer ones.)
//
// # When things fail
//
//   - A change that fails anywhere is rolled back whole, a panic included. A
//     failing commit (a full disk) stores nothing, and the ledger works again
//     once there is room, without a restart.
//   - A process that is killed leaves either the whole change or nothing.
//   - An error inside a change that its function overlooks makes the change fail
//     all the same; half of a change is never committed.
//   - A nudge, to a door too, may be lost, late or doubled: a worker that dies keeps its job for
//     [rescueAfter], and while the process that schedules is gone, nothing that
//     lies in the future is delivered for about 17 seconds. Whoever needs more
//     sweeps the requests and notes that are due.
//   - A process that hangs in the middle of a change on PostgreSQL holds up the
//     others' changes for at most [idleInChange]; then the server ends its
//     connection, and what it had begun is not stored. SQLite has no such server.
//   - While PostgreSQL cannot be reached, calls fail after about two seconds, with
//     kind Unavailable; when it is back they work again, without a restart. Only
//     beginning is ever tried again.
//   - A commit whose answer was lost fails, and its error says that it may be stored
//     or not. Whoever sees it must not act as if it were.
//   - What went wrong inside is in the Err of a [policy.Error], for logs only.
//
// # Limits
//
// The chain is not keyed: it shows that rows were changed, not that a person who
// can write the file has written the whole of it anew, or has taken away its last
// records, their head and what they say of requests and settings. Who needs that
// keeps the head that [Ledger.Verify] returns elsewhere, and compares.
//
// # Clocks
//
// On PostgreSQL the server's clock decides, in records, deadlines and jobs, and the
// replicas' own clocks may differ. On SQLite it is the host's.
//
// BUG: A PostgreSQL standby that is not synchronous may lack the last changes when
// it takes over, also records of starts. Use synchronous replication, or look at
// what VPS.org has done before replicas are pointed at it. A process that misses
// what it has stored or seen changes nothing any more and says so; one that starts
// anew cannot know.
//
// BUG: PostgreSQL has to be reached directly or through a pooler that keeps sessions:
// locks and notifications belong to a session.
//
// BUG: A process that waits for the write lock of SQLite notices the end of its
// context only when the lock is had, or after ten seconds.
//
// BUG: Network file systems cannot share SQLite's memory between machines. The
// ledger must lie on a local disk. And a process that has a ledger open must not
// open its file by other means: closing that would drop SQLite's locks.
package ledger
