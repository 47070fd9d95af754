package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAFullDiskIsNotReady fills the ledger's disk under a server that runs, and
// empties it again.
func TestAFullDiskIsNotReady(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=3m"); err != nil {
		t.Skipf("a file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, syscall.MNT_DETACH)) })
	w := newWorld(t, fast())
	url, _, stop := serving(t, append(w.env, "VPSGUARD_DATABASE=sqlite:"+dir+"/ledger.db"), "serve")
	becomes(t, url, http.StatusOK)
	plug := filepath.Join(dir, "plug")
	f, err := os.Create(plug)
	require.NoError(t, err)
	for err == nil {
		_, err = f.WriteString(strings.Repeat("x", 4096))
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, f.Close())
	// The write-ahead log has some room left in it.
	assert.Contains(t, becomes(t, url, http.StatusServiceUnavailable), `"ledger":"the ledger's disk is full; nothing was changed"`)
	require.NoError(t, os.Remove(plug))
	becomes(t, url, http.StatusOK)
	assert.Equal(t, 0, stop())
}
