// Command vpsguard lets AI assistants and people take, list, restore and delete
// the snapshots and backups of VPS.org servers, and lets nothing be overwritten
// or deleted before a person has confirmed exactly that.
//
// This package is start-up, configuration, wiring and the command line. It
// decides nothing about requests: package policy does. It is the only one that
// knows the process: its environment, clock, streams, signals and terminal.
//
// # What it promises when things fail
//
//   - A wrong configuration stops start-up with one line that names the variable
//     and the fix, and exit code 2. Nothing is guessed and nothing is ignored.
//   - Over stdio, standard output carries MCP frames and nothing else. Logs go to
//     standard error.
//   - Secrets are never printed, whatever is printed with them.
//   - A confirmation is read from the controlling terminal, never from a pipe or
//     a flag.
//   - The first interrupt ends in-flight work and leaves; the second leaves at
//     once. What was cut off is found by the next process, since every step has
//     its record before it is sent.
package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() { os.Exit(run()) }

// run gives the process's own streams, environment and clock to the program.
func run() int {
	ctx, stop := untilSignal(context.Background())
	defer stop()
	p := &program{
		Args: os.Args, Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Now: time.Now,
	}
	// What a library prints by mistake must not get among MCP frames.
	os.Stdout = os.Stderr
	return p.Main(ctx)
}

// untilSignal gives a context that ends with the first interrupt. The second
// ends the process.
func untilSignal(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-signals:
			cancel()
		case <-ctx.Done():
		}
		<-signals
		os.Exit(exitFailed)
	}()
	return ctx, func() { signal.Stop(signals); cancel() }
}

// program is vpsguard with everything that it takes from its surroundings, so
// that tests can run it inside their own process.
type program struct {
	Args   []string // with the program's name
	Env    []string // NAME=value
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Now    func() time.Time
	// Pace, where set, is the clock by which it is kept how often callers may call, and how often
	// Slack is, instead of Now.
	Pace func() time.Time
	// Listening, where set, is told the address that serve and sandbox listen on.
	Listening func(address string)

	log     *slog.Logger // once the configuration is known
	metrics *metrics     // nil where nobody asked for them
}

// Main runs one command and gives the exit code.
func (p *program) Main(ctx context.Context) int {
	root := p.root()
	root.SetArgs(p.Args[1:])
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	p.complain(ctx, err)
	var wrong *usageError
	if errors.As(err, &wrong) {
		return exitUsage
	}
	return exitFailed
}
