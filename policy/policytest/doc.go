// Package policytest helps to test what is built on policy: an in-memory
// [Memory] ledger, builders of requests with sensible defaults, a [Clock] to
// turn by hand, and [Ledger], the one suite that every ledger has to pass.
//
// # When things fail
//
// A [Memory] fails where it is told to ([Memory.FailCommits]), in pairs: the
// commit failed, and the commit happened although it was said to have failed.
// It is strict where a database would hang: the ledger that is used inside its
// own Change answers with an error of kind Internal.
//
// Nothing here is meant for production: the memory is gone with the process,
// and nothing delivers its nudges ([Memory.TakeDue] and [Memory.TakeTold] hand
// them to the test).
package policytest
