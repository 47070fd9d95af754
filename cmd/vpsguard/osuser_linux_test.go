package main

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestOneUserIsOnePersonWhateverUSERSays runs itself as somebody without an entry in
// /etc/passwd where it may. Without cgo it has what it is about.
func TestOneUserIsOnePersonWhateverUSERSays(t *testing.T) {
	const as = "VPSGUARD_TEST_UID"
	if uid, err := strconv.Atoi(os.Getenv(as)); err == nil {
		require.NoError(t, syscall.Setreuid(uid, -1)) // what the test made stays its own to remove
		subject, _ := localUser()
		_, _ = os.Stderr.WriteString(subject)
		return
	}
	uid, says := os.Getuid(), ""
	if uid == 0 {
		uid, says = 54321, "uid 54321"
	}
	for _, name := range []string{"ada", "grace", ""} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$") //nolint:gosec // this very test
		cmd.Env = append(bare(t), as+"="+strconv.Itoa(uid), "USER="+name)
		var said bytes.Buffer
		cmd.Stderr = &said
		require.NoError(t, cmd.Run())
		if says == "" {
			says = said.String()
		}
		assert.Equal(t, says, said.String(), "USER=%s", name)
	}
}

func TestAUserInPasswd(t *testing.T) {
	const text = "root:x:0:0:root:/root:/bin/sh\n#ada:x:7:7::/:/\n+ada:x:7:7::/:/\nada:x:7\nada:x:7:7:Ada Lovelace,,,:/home/ada:/bin/sh\ngrace:x:7:7::/:/bin/sh\nalan:x:77:7::/:\n"
	u, err := inPasswd(text, 7)
	require.NoError(t, err)
	assert.Equal(t, []string{"ada", "7"}, []string{u.Username, u.Uid}, "the first that is whole")
	u, err = inPasswd(text, 77)
	require.NoError(t, err)
	assert.Equal(t, "alan", u.Username)
	_, err = inPasswd(text, 8)
	assert.Error(t, err)
}
