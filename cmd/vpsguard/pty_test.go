//go:build unix

package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
)

// person sits at a terminal that the program was started on.
type person struct {
	t      *testing.T
	cmd    *exec.Cmd
	tty    *os.File
	screen *lines
	seen   int
	stdout *bytes.Buffer // nil where standard output is the terminal too
	ended  chan struct{}
}

// sitDown starts the program on a terminal of its own.
func sitDown(t *testing.T, env []string, args ...string) *person {
	t.Helper()
	return sitDownWith(t, env, nil, args...)
}

func sitDownWith(t *testing.T, env []string, stdout *bytes.Buffer, args ...string) *person {
	t.Helper()
	p := &person{t: t, screen: &lines{}, stdout: stdout, ended: make(chan struct{})}
	p.cmd = exec.Command("vpsguard", args...) //nolint:noctx // ended below
	p.cmd.Env = env
	if stdout != nil {
		p.cmd.Stdout = stdout
	}
	var err error
	p.tty, err = pty.Start(p.cmd)
	require.NoError(t, err)
	go func() {
		defer close(p.ended)
		_, _ = io.Copy(p.screen, p.tty) // ends with an error when the program does
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.tty.Close()
	})
	return p
}

// reads waits until the text stands on the screen, after what was read before.
func (p *person) reads(text string) {
	p.t.Helper()
	ok := assertEventually(func() bool {
		all := p.screen.String()
		i := strings.Index(all[p.seen:], text)
		if i >= 0 {
			p.seen += i + len(text)
		}
		return i >= 0
	})
	require.True(p.t, ok, "%q is not on the screen:\n%s", text, p.screen.String())
}

// types types a line, and Enter as the key sends it.
func (p *person) types(text string) {
	p.t.Helper()
	_, err := io.WriteString(p.tty, text+"\r")
	require.NoError(p.t, err)
}

// leaves waits for the program's end and gives its exit code and the screen.
func (p *person) leaves() (code int, screen string) {
	p.t.Helper()
	late := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(p.t, err)
	}
	<-p.ended
	return p.cmd.ProcessState.ExitCode(), p.screen.String()
}

// alone runs the program without a controlling terminal, as a program does that
// runs in the background.
func alone(t *testing.T, env []string, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "vpsguard", args...)
	var out, log bytes.Buffer
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, strings.NewReader(stdin), &out, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Run(); cmd.ProcessState == nil {
		require.NoError(t, err)
	}
	return out.String(), log.String(), cmd.ProcessState.ExitCode()
}
