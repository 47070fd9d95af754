package ledger_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
)

// disk is a small file system of its own, where this process may make one.
func disk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("a file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
	return dir
}

func TestAFullDiskChangesNothingAndHealsWithoutARestart(t *testing.T) {
	dir := disk(t, "size=3m")
	l := open(t, "sqlite:"+dir+"/ledger.db", time.Now)
	require.NoError(t, count(t.Context(), l, "rq_first"))
	plug := filepath.Join(dir, "plug")
	f, err := os.Create(plug)
	require.NoError(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, f.Close())

	stored, failed := 1, error(nil)
	for n := 0; failed == nil && n < 1000; n++ {
		if failed = count(t.Context(), l, "rq_"+strings.Repeat("x", n+1)); failed == nil {
			stored++
		}
	}
	e := policy.Public(failed)
	assert.Equal(t, policy.Unavailable, e.Kind)
	assert.Equal(t, "the ledger's disk is full; nothing was changed", e.Message)
	assert.Equal(t, policy.Unavailable, policy.KindOf(l.Ready(t.Context())))
	note := policy.Note{Scope: "scope", Key: "key", Doc: strings.Repeat("x", 64<<10)}
	_, err = l.PutNote(t.Context(), note)
	assert.Equal(t, "the ledger's disk is full; nothing was changed", policy.Public(err).Message)
	_, err = l.Note(t.Context(), "scope", "key")
	assert.Equal(t, policy.NotFound, policy.KindOf(err))
	v, err := l.Verify(t.Context(), nil)
	require.NoError(t, err, "reading goes on")
	assert.Equal(t, stored, v.Requests, "what was acknowledged is there, and nothing else")
	_, err = ledger.Open(t.Context(), "sqlite:"+dir+"/another.db", ledger.Options{Now: time.Now})
	assert.Equal(t, policy.Unavailable, policy.KindOf(err))
	assert.Contains(t, policy.Public(err).Message, "disk is full")

	require.NoError(t, os.Remove(plug))
	require.NoError(t, count(t.Context(), l, "rq_last"))
	_, err = l.PutNote(t.Context(), note)
	require.NoError(t, err)
	v, err = l.Verify(t.Context(), nil)
	require.NoError(t, err)
	assert.Equal(t, stored+1, v.Requests)
	assert.Equal(t, stored+1, onSQLite.jobs(t, "sqlite:"+l.Path()))
}

func TestAReadOnlyDiskIsToldWhenOpening(t *testing.T) {
	dir := disk(t, "size=3m")
	url := "sqlite:" + dir + "/ledger.db"
	l := open(t, url, time.Now)
	require.NoError(t, l.Close())
	require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, "size=3m"))
	for _, c := range []struct{ url, says string }{
		{url, "cannot be opened to be written"},
		{"sqlite:" + dir + "/another.db", "its disk is read-only"},
		{"sqlite:" + dir + "/folder/another.db", "its disk is read-only"},
	} {
		_, err := ledger.Open(t.Context(), c.url, ledger.Options{Now: time.Now})
		require.Error(t, err)
		assert.Equal(t, policy.Unavailable, policy.KindOf(err))
		assert.Contains(t, policy.Public(err).Message, c.says)
	}
}

// TestFilesThatMayNotBeWritten opens them as another user, since root may write anything.
func TestFilesThatMayNotBeWritten(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	content, err := template()
	require.NoError(t, err)
	path := filepath.Join(dir, "ledger.db")
	require.NoError(t, os.WriteFile(path, content, 0o600))
	self := filepath.Join(dir, "self")
	binary, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(self, binary, 0o700))
	for name, mode := range map[string]os.FileMode{path: 0o444, self: 0o555, dir: 0o555} {
		require.NoError(t, os.Chmod(name, mode))
	}
	t.Cleanup(func() { require.NoError(t, os.Chmod(dir, 0o700)) })
	for _, c := range []struct{ url, says string }{
		{"sqlite:" + path, "cannot be used: the ledger is on a read-only disk, or its file is read-only"},
		{"sqlite:" + dir + "/another.db", "cannot be used: its folder may not be written"},
		{"sqlite:" + dir + "/folder/another.db", "cannot be used: its folder may not be written"},
	} {
		run := child(t, "open", c.url, "")
		other := exec.CommandContext(t.Context(), self)
		other.Env, other.Dir = run.Env, dir
		if os.Getuid() == 0 {
			other.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
		out, err := other.CombinedOutput()
		require.Error(t, err)
		assert.Contains(t, string(out), c.says)
	}
}
