//go:build !((!cgo && !darwin && !windows && !plan9) || android || (osusergo && !windows && !plan9))

package main

// namedByEnv is false where os/user asks the system alone.
const namedByEnv = false
