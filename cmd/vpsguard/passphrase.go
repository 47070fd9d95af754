package main

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/vpsguard/vpsguard/policy"
)

// slowHash hashes passphrases with Argon2id (RFC 9106). The parameters stand in
// the hash, so that they can be raised without breaking what is stored.
type slowHash struct {
	memory  uint32 // KiB
	time    uint32
	threads uint8
}

// forPeople is twice what RFC 9106, section 4, asks of hosts that are short of
// memory in passes, and its 64 MiB. Only the command line hashes: a server's
// idle memory does not see it.
var forPeople = slowHash{memory: 64 << 10, time: 3, threads: 2}

// forSandbox guards a passphrase that everybody knows.
var forSandbox = slowHash{memory: 1 << 10, time: 1, threads: 1}

var _ policy.PassphraseHash = slowHash{}

const (
	saltBytes = 16
	hashBytes = 32
	// mostMemory and mostTime bound what a hash may ask for, lest a changed ledger
	// exhausts the host. Such a ledger fails its audit as well.
	mostMemory = 1 << 20
	mostTime   = 64
)

// Hash gives "$argon2id$v=19$m=65536,t=3,p=2$SALT$HASH", as other programs do.
func (h slowHash) Hash(passphrase string) (string, error) {
	salt := make([]byte, saltBytes)
	if _, err := rand.Read(salt); err != nil {
		return "", err
	}
	sum := argon2.IDKey([]byte(passphrase), salt, h.time, h.memory, h.threads, hashBytes)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.time, h.threads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(sum)), nil
}

// Matches hashes again with the hash's own parameters. What it cannot read
// matches nothing.
func (slowHash) Matches(hash, passphrase string) bool {
	var (
		h       slowHash
		version int
	)
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return false
	}
	if n, err := fmt.Sscanf(parts[2], "v=%d", &version); n != 1 || err != nil || version != argon2.Version {
		return false
	}
	n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.threads)
	if n != 3 || err != nil || h.memory > mostMemory || h.time < 1 || h.time > mostTime || h.threads < 1 {
		return false
	}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil || len(salt) < 8 {
		return false
	}
	sum, err := base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil || len(sum) < 16 {
		return false
	}
	again := argon2.IDKey([]byte(passphrase), salt, h.time, h.memory, h.threads, uint32(len(sum))) //nolint:gosec // a few bytes
	return subtle.ConstantTimeCompare(sum, again) == 1
}
