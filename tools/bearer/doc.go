// Package bearer says who calls the MCP door over HTTP: it stands before the door's
// handler ([Guard]) and turns a bearer token into a [policy.Actor]. There are two
// kinds of them: vpsguard's own ([Tokens]), made at the command line and kept as
// hashes in the ledger, and those of an OAuth 2.1 issuer ([Issuer]).
//
// # What it promises
//
//   - A token is taken from the Authorization header and from nowhere else. It is
//     never logged, stored, answered with or sent anywhere; what VPS.org is called
//     with comes from the configuration alone.
//   - Once a token was made on a ledger, or an issuer is configured, every request
//     needs one, on this host too. Revoking the last token opens nothing.
//   - A revoked token is refused within a second, by every process on the ledger.
//   - Who calls is told by the token alone, never by a session: subjects are
//     "token:NAME" and "oidc:ISSUER#SUB", and neither can be mistaken for the other.
//
// # When things fail
//
// A request that is not let in is answered with 401 and a challenge (RFC 6750,
// section 3; RFC 9728, section 5.1), or with 403 where the token reaches too short.
// What cannot be told right now, since the ledger or the issuer cannot be asked, is
// 503 with Retry-After, and never "invalid token": a client would throw away a good
// one. After many failures an address is answered with 429 until it may try again.
package bearer
