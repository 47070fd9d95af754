// Package operations is the catalogue: one file an operation, and one line in
// the list of [Catalogue]. An operation plans (reading only), sends its steps
// when package policy permits it, and looks how they went.
//
// What it promises when things fail: a plan that cannot read the servers still
// works, from what the recovery points say of their server; a plan that cannot
// read the recovery points fails. A write whose answer was lost is reported as
// policy.Uncertain and is never sent again from here.
//
// Facts about VPS.org (limits, durations, statuses) are from its REST API
// documentation, pages "Snapshots" and "Backups".
package operations
