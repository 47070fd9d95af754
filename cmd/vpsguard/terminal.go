package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"golang.org/x/term"

	"github.com/vpsguard/vpsguard/policy"
)

// terminal is the controlling terminal of this process: a person, and not what
// standard input happens to be. A pipe, a file or a flag cannot answer for them.
type terminal struct{ in, out *os.File }

// openTerminal opens the controlling terminal.
func openTerminal() (*terminal, error) {
	in, out := "/dev/tty", "/dev/tty"
	if runtime.GOOS == "windows" {
		in, out = "CONIN$", "CONOUT$"
	}
	t := &terminal{}
	var err error
	if t.in, err = os.OpenFile(in, os.O_RDWR, 0); err == nil {
		t.out, err = os.OpenFile(out, os.O_RDWR, 0)
	}
	if err != nil || !term.IsTerminal(int(t.in.Fd())) {
		t.Close()
		return nil, policy.Errorf(policy.Forbidden, "this takes a person at a terminal; it cannot be done through a pipe or by a program").
			WithHint("Open a terminal on this host and type the command there.").Because(err)
	}
	return t, nil
}

// Close lets go of the terminal.
func (t *terminal) Close() {
	for _, f := range []*os.File{t.in, t.out} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// Write lets text through and nothing that a terminal would obey.
func (t *terminal) Write(b []byte) (int, error) {
	if _, err := io.WriteString(t.out, printable(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}

// printable takes out every control character but line breaks.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && (r < ' ' || r >= 0x7f && r < 0xa0) {
			return -1
		}
		return r
	}, s)
}

// ask prints a question and reads one line.
func (t *terminal) ask(ctx context.Context, question string) (string, error) {
	_, _ = fmt.Fprint(t, question)
	return t.read(ctx, t.line)
}

// askHidden is ask without showing what is typed. The echo is off before the
// question stands there, so that nobody is quicker.
func (t *terminal) askHidden(ctx context.Context, question string) (string, error) {
	fd := int(t.in.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return "", policy.Errorf(policy.Unavailable, "this terminal cannot hide what is typed; nothing was done").Because(err)
	}
	defer func() { _ = term.Restore(fd, before) }() // with an interrupt as well
	return t.read(ctx, func() (string, error) {
		return term.NewTerminal(both{t.in, t.out}, "").ReadPassword(question)
	})
}

// both is what the terminal reads from and writes to.
type both struct {
	io.Reader
	io.Writer
}

// read reads until the line or the context ends.
func (t *terminal) read(ctx context.Context, how func() (string, error)) (string, error) {
	type answer struct {
		text string
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		text, err := how()
		answers <- answer{text, err}
	}()
	select {
	case a := <-answers:
		if a.err != nil {
			return "", policy.Errorf(policy.Unavailable, "nothing was typed; nothing was done").Because(a.err)
		}
		return strings.TrimRight(a.text, "\r\n"), nil
	case <-ctx.Done():
		_, _ = io.WriteString(t.out, "\r\n")
		return "", policy.Errorf(policy.Unavailable, "interrupted; nothing was done").Because(ctx.Err())
	}
}

// line reads byte by byte, so that what comes after it stays for whoever reads next.
func (t *terminal) line() (string, error) {
	var b strings.Builder
	one := make([]byte, 1)
	for b.Len() < 4096 {
		n, err := t.in.Read(one)
		switch {
		case n == 1 && one[0] == '\n':
			return b.String(), nil
		case n == 1:
			b.WriteByte(one[0])
		case err != nil && b.Len() > 0:
			return b.String(), nil
		case err != nil:
			return "", err
		}
	}
	return "", io.ErrShortBuffer
}
