//go:build unix

package pgtest

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

// Server is a server of PostgreSQL that belongs to this process.
type Server struct {
	dir, bin, password string
	port               int
	settings           []string
	as                 *syscall.SysProcAttr
	up                 atomic.Bool

	watch   *exec.Cmd
	control io.WriteCloser // to its watcher; closing it ends the server and removes its files
}

// watcher starts the server, says so, and stops it when it is told how. If it is
// told no more, whoever started it is done or dead; then nothing is kept.
const watcher = `
"$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -w -t 60 -o "$options" start >/dev/null 2>&1 || { echo failed; exit 1; }
echo up
if read -r mode; then
	"$bin/pg_ctl" -D "$dir/data" -m "$mode" -w -t 60 stop >/dev/null 2>&1
else
	"$bin/pg_ctl" -D "$dir/data" -m immediate -w -t 60 stop >/dev/null 2>&1
	rm -rf "$dir"
fi
`

// start makes a server's files and runs it.
func start(settings []string) (s *Server, err error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	s = &Server{bin: bin, password: rand.Text(), settings: settings, as: &syscall.SysProcAttr{Setpgid: true}}
	if s.dir, err = os.MkdirTemp(reachable(os.TempDir()), "pgtest"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(s.dir))
		}
	}()
	secret := filepath.Join(s.dir, "password")
	if err := os.WriteFile(secret, []byte(s.password), 0o600); err != nil {
		return nil, err
	}
	if os.Getuid() == 0 {
		if err := s.leaveRoot(secret); err != nil {
			return nil, err
		}
	}
	made := s.command(filepath.Join(bin, "initdb"), "-D", filepath.Join(s.dir, "data"), "-U", "postgres",
		"-A", "password", "--pwfile", secret, "--no-sync", "-E", "UTF8", "--locale", "C")
	if out, err := made.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	for range 5 { // somebody else may take the port meanwhile
		if s.port, err = free(); err != nil {
			return nil, err
		}
		if err = s.run(); err == nil {
			return s, nil
		}
	}
	return nil, err
}

// reachable is a folder that every user can get to: the one given, or /tmp.
func reachable(dir string) string {
	for d := dir; ; d = filepath.Dir(d) {
		info, err := os.Stat(d)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return "/tmp"
		}
		if d == filepath.Dir(d) {
			return dir
		}
	}
}

// leaveRoot gives the folder to a user who may run a server.
func (s *Server) leaveRoot(files ...string) error {
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return missingError("PostgreSQL refuses to be run by root, and there is neither the user postgres nor nobody")
		}
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	s.as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)} //nolint:gosec // ids of the system
	for _, file := range append(files, s.dir) {
		if err := os.Chown(file, uid, gid); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) command(name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(context.Background(), name, args...)
	c.Dir, c.SysProcAttr = s.dir, s.as
	c.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
	return c
}

// run runs the server and returns when it answers.
func (s *Server) run() (err error) {
	options := []string{
		"port=" + strconv.Itoa(s.port), "listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200",
		"shared_buffers=32MB", "fsync=off", "full_page_writes=off",
	}
	s.watch = s.command("/bin/sh", "-c", watcher)
	s.watch.Env = append(s.watch.Env, "bin="+s.bin, "dir="+s.dir, "options=-c "+strings.Join(append(options, s.settings...), " -c "))
	if s.control, err = s.watch.StdinPipe(); err != nil {
		return err
	}
	out, err := s.watch.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.watch.Start(); err != nil {
		return err
	}
	if said, _ := bufio.NewReader(out).ReadString('\n'); said == "up\n" {
		s.up.Store(true)
		return nil
	}
	_ = s.watch.Wait()
	log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return fmt.Errorf("it did not start: %s", log)
}

// end stops the server for good and removes its files.
func (s *Server) end() {
	if s.up.Swap(false) {
		_ = s.control.Close()
		_ = s.watch.Wait()
	}
	_ = os.RemoveAll(s.dir)
}

// Stop stops the server: "fast" ends its connections and writes all down,
// "immediate" is as if it had crashed.
func (s *Server) Stop(t testing.TB, mode string) {
	t.Helper()
	if s.up.Swap(false) {
		if _, err := fmt.Fprintln(s.control, mode); err != nil {
			t.Fatalf("stopping PostgreSQL: %v", err)
		}
		if err := s.watch.Wait(); err != nil {
			t.Fatalf("stopping PostgreSQL: %v", err)
		}
	}
}

// Run runs the server again after a [Server.Stop], on the same port.
func (s *Server) Run(t testing.TB) {
	t.Helper()
	if err := s.run(); err != nil {
		t.Fatalf("starting PostgreSQL: %v", err)
	}
}

// Dir is a folder that the server may write.
func (s *Server) Dir() string { return s.dir }

// programs finds the folder with PostgreSQL's programs.
func programs() (string, error) {
	var found []string
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			found = append(found, path)
		}
	}
	for _, where := range []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin"} {
		more, err := filepath.Glob(where + "/initdb")
		if err != nil {
			return "", err
		}
		found = append(found, more...)
	}
	for _, path := range found {
		if _, err := os.Stat(filepath.Join(filepath.Dir(path), "pg_ctl")); err == nil {
			return filepath.Dir(path), nil
		}
	}
	return "", missingError("PostgreSQL is not installed: there is no initdb on the PATH nor in /usr/lib/postgresql (on Debian: apt-get install postgresql)")
}

// free is a port that nobody listens on.
func free() (int, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(port)
}
