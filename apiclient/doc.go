// Package apiclient speaks the VPS.org REST API: four calls on snapshots,
// three on backups, the restore from a backup, the list of servers and the
// account behind the token. It exists so that the rest of the program can treat
// "was it carried out?" as a question with a typed answer.
//
// # What it promises
//
//   - Every call ends: Options.Timeout (30 s unless told otherwise) bounds a
//     whole call with all its pages, tries and waits.
//   - A read (GET) is tried three times with exponential back-off and jitter, and
//     Retry-After is obeyed. Identical reads in flight share one request, except
//     under a context from [Fresh]. A read never joins one that began before this
//     client's last write had ended.
//   - A write (POST, DELETE) leaves at most once. It is sent again only when it
//     provably never left (no connection could be made) or was turned away (429).
//     The API has no idempotency key, so nothing else may repeat it; net/http's
//     own repeats are made impossible by giving each write its own connection.
//   - Redirects are refused, paths always end in "/", ids are positive
//     integers, and plain HTTP goes to loopback hosts only.
//   - The token is in no error, no log line and no printed or encoded form of a
//     [Client], also where the API echoes it.
//
// # What failing means
//
// Every error is an [*Error] with one [Kind] of a closed set. For a write the
// kinds fall in two halves. [Uncertain] says that it may have been carried out: a
// 5xx, a reset, a timeout, a cut or foreign body, a redirect, an answer that
// lacks what it must carry. All others say that it was not. Uncertain is never
// to be answered by sending again, only by reading.
//
// A list is all or nothing: one item that cannot be trusted (an id that is not a
// positive integer, a time that is none, a page that points to another origin)
// makes the list [Malformed]; items are not dropped or rounded. Unknown statuses
// are passed on as they stand.
//
// Sections named in this package's comments are those of the VPS.org API
// documentation.
package apiclient
