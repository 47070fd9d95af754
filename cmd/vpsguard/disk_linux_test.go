package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// onSmallDisk puts the ledger of a world on a small file system of its own, where this
// process may make one.
func (w *world) onSmallDisk(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m,mode=700"); err != nil {
		t.Skipf("a file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() { assert.NoError(t, syscall.Unmount(dir, 0)) })
	w.path = filepath.Join(dir, "ledger.db")
	w.env = append(w.env, "VPSGUARD_DATABASE=sqlite:"+w.path)
	return dir
}

// fill leaves no room on a disk, until the file that it returns is removed.
func fill(t *testing.T, dir string) (plug string) {
	t.Helper()
	plug = filepath.Join(dir, "plug")
	f, err := os.Create(plug)
	require.NoError(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, f.Close())
	return plug
}

// reads checks that all that changes nothing is answered.
func reads(t *testing.T, url, session string, names ...string) {
	t.Helper()
	for _, name := range names {
		a, err := rawClient{session: session}.call(t.Context(), url, name, map[string]any{})
		require.NoError(t, err)
		assert.Nil(t, a.Error, name)
	}
}

// TestAFullDiskIsToldAtEveryDoorAndHeals fills the disk under a process that serves.
func TestAFullDiskIsToldAtEveryDoorAndHeals(t *testing.T) {
	w := newWorld(t, fast())
	f := w.withSlack(t, slackfake.Options{Limits: slackfake.NoLimits()})
	dir := w.onSmallDisk(t)
	r := w.replicas(t, 1)[0] // ends before its disk does
	url := r.address()
	require.NoError(t, f.AwaitSockets(t.Context(), 2))
	id, card := asksFor(t, f, r.log)
	ready := func() (int, string) { return get(t, url+"/readyz") }
	require.True(t, assertEventually(func() bool { status, _ := ready(); return status == http.StatusOK }))

	plug := fill(t, dir)
	full := "the ledger's disk is full; nothing was changed"
	create := func(n int) toolAnswer {
		a, err := rawClient{}.call(t.Context(), url, "create_backup", map[string]any{"server": "web-server-01", "description": fmt.Sprint("n ", n)})
		require.NoError(t, err)
		return a
	}
	taken := 0
	a := create(0)
	for ; a.Error == nil && taken < 6; a = create(taken) { // there may be some room inside the files
		taken++
	}
	require.NotNil(t, a.Error, "%d were taken", taken)
	assert.Equal(t, full, a.Error.Message)
	a, err := rawClient{}.call(t.Context(), url, "cancel_request", map[string]any{"request_id": id})
	require.NoError(t, err)
	require.NotNil(t, a.Error)
	reads(t, url, "", "list_servers", "list_snapshots", "list_backups", "list_requests")
	a, err = rawClient{}.call(t.Context(), url, "get_request", map[string]any{"request_id": id})
	require.NoError(t, err)
	assert.Equal(t, "held", a.Request.State)
	status, says := ready() // what it writes is small, and may have found room once more
	assert.True(t, assertEventually(func() bool { status, says = ready(); return status == http.StatusServiceUnavailable }), says)
	assert.Contains(t, says, "disk is full")

	told := func(who, what, says string) {
		t.Helper()
		watch(t, f, r.log, what, func() bool {
			return slices.ContainsFunc(f.Ephemerals(who), func(m slackfake.Message) bool {
				return strings.Contains(m.String(), says)
			})
		})
	}
	require.True(t, f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "snapshot create web-server-01 while-full").Wait().Acked)
	told(slackfake.Ada, "a command that changes something is refused", "disk is full")
	require.True(t, f.User(slackfake.Edsger).Slash(slackfake.Ops, "/vps", "server list").Wait().Acked)
	told(slackfake.Edsger, "a list is answered", "web-server-01")
	grace := f.User(slackfake.Grace)
	require.True(t, grace.Press(card, "Approve").Wait().Acked)
	told(slackfake.Grace, "a form that cannot be written down does not open", "disk is full")
	assert.Zero(t, w.fake.Sent("overwrite"))

	require.NoError(t, os.Remove(plug))
	require.True(t, assertEventually(func() bool { status, says = ready(); return status == http.StatusOK }), says)
	form := opens(t, f, r.log, grace, card)
	require.Empty(t, grace.Submit(form, typed("web-server-01")).Wait().Errors)
	watch(t, f, r.log, "it is done", func() bool { return strings.Contains(f.Message(slackfake.Ops, card.TS).Text, "DONE") })
	r.kill()
	said, wrong, code := vpsguard(t, w.env, "audit", "verify")
	assert.Equal(t, 0, code, said+wrong)
}

// TestAReadOnlyDiskIsToldAtEveryDoor starts a process on a ledger that it may not write.
func TestAReadOnlyDiskIsToldAtEveryDoor(t *testing.T) {
	w := newWorld(t, fast())
	f := w.withSlack(t, slackfake.Options{Limits: slackfake.NoLimits()})
	dir := w.onSmallDisk(t)
	_, l := w.service(t)
	require.NoError(t, l.Close())
	require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, "size=4m"))
	r := w.replicas(t, 1)[0]
	url := r.address()
	require.NoError(t, f.AwaitSockets(t.Context(), 2))
	status, says := get(t, url+"/readyz")
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Contains(t, says, "cannot be opened to be written")
	// Who may call over HTTP is in the ledger, so that nobody is let in unknown.
	_, err := rawClient{}.call(t.Context(), url, "create_backup", map[string]any{"server": "web-server-01"})
	assert.ErrorContains(t, err, "cannot be opened to be written")
	require.True(t, f.User(slackfake.Edsger).Slash(slackfake.Ops, "/vps", "server list").Wait().Acked)
	watch(t, f, r.log, "what only reads goes on", func() bool {
		return slices.ContainsFunc(f.Ephemerals(slackfake.Edsger), func(m slackfake.Message) bool { return strings.Contains(m.String(), "web-server-01") })
	})
	require.True(t, f.User(slackfake.Ada).Slash(slackfake.Ops, "/vps", "snapshot create web-server-01 read-only").Wait().Acked)
	watch(t, f, r.log, "it is refused", func() bool {
		return slices.ContainsFunc(f.Ephemerals(slackfake.Ada), func(m slackfake.Message) bool { return strings.Contains(m.String(), "cannot be opened to be written") })
	})
	assert.Empty(t, w.fake.Mutations())
	r.kill()
	require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=4m"))
	said, wrong, code := vpsguard(t, w.env, "audit", "verify")
	assert.Equal(t, 0, code, said+wrong)
}
