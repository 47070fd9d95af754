// Package vpsfake is a VPS.org that lives in memory: the sandbox runs on it and
// every test of a caller of the API talks to it over real HTTP. It is an
// [http.Handler], so it can be served by httptest, inside the program or by a
// process of its own.
//
// It keeps state: a create is "in_progress" until [Options].CreateTakes has
// passed and "completed" from then on; a restore makes the server "restoring" for
// RestoreTakes and overwrites its data, which [Fake.ServerData] makes visible. It
// knows the documented limits, codes and messages, counts every mutation, and
// fails on demand ([Fake.Inject]), mostly in pairs: "it failed" and "it failed but
// it happened".
//
// All time comes from [Options].Now, and changes that time brings are worked out
// when somebody looks: there are no goroutines and nothing to close.
//
// What it promises when misused: an unknown fault's name or an id that does not
// exist in a call of a test's own panics, as that is a mistake in the test.
// Everything is safe for concurrent use.
//
// It shares no type with package apiclient, lest both be wrong in the same way.
package vpsfake
