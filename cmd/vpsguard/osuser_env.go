//go:build (!cgo && !darwin && !windows && !plan9) || android || (osusergo && !windows && !plan9)

package main

// namedByEnv tells that os/user, built without the system's library, takes the name
// of who has no entry in /etc/passwd from $USER. The condition above is its own.
const namedByEnv = true
