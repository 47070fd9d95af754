package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAPassphraseIsHashedSlowly(t *testing.T) {
	t.Parallel()
	hash, err := forPeople.Hash("correct horse")
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(hash, "$argon2id$v=19$m=65536,t=3,p=2$"), hash)
	assert.True(t, slowHash{}.Matches(hash, "correct horse"), "the parameters are the hash's own")
	assert.False(t, forPeople.Matches(hash, "correct horsf"))
	assert.False(t, forPeople.Matches(hash, ""))
	again, err := forPeople.Hash("correct horse")
	require.NoError(t, err)
	assert.NotEqual(t, hash, again, "each has a salt of its own")
}

func TestWhatIsNoHashMatchesNothing(t *testing.T) {
	t.Parallel()
	good, err := forSandbox.Hash("x")
	require.NoError(t, err)
	require.True(t, slowHash{}.Matches(good, "x"))
	for _, bad := range []string{
		"", "x", "$argon2id$", strings.Replace(good, "argon2id", "argon2i", 1), strings.Replace(good, "v=19", "v=16", 1),
		strings.Replace(good, "m=1024", "m=4294967295", 1), strings.Replace(good, "t=1", "t=0", 1),
		strings.Replace(good, "t=1", "t=4000000000", 1), strings.Replace(good, "p=1", "p=0", 1), good[:len(good)-30],
		good[:strings.LastIndex(good, "$")+1], good + "$", strings.Replace(good, "$m", "$x", 1),
	} {
		assert.False(t, slowHash{}.Matches(bad, "x"), bad)
		assert.False(t, slowHash{}.Matches(bad, ""), bad)
	}
}
