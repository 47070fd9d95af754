package main

import (
	"context"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/vpsguard/vpsguard/policy"
)

func (p *program) stdioCommand() *cobra.Command {
	c := p.command("stdio", "Serve the MCP client that starts this program, over standard input and output",
		"Standard output carries MCP messages only; the log is on standard error.",
		"  claude mcp add vpsguard --env VPSGUARD_API_TOKEN_FILE=$HOME/.vps-token -- vpsguard stdio", noArguments)
	c.RunE = func(c *cobra.Command, _ []string) error {
		s, err := load(c.Context(), p.Env)
		if err != nil {
			return err
		}
		st, err := p.station(c.Context(), s, "", overStdio)
		if err != nil {
			return err
		}
		defer st.Close(c.Context())
		return p.serveStdio(c.Context(), st)
	}
	return c
}

// serveStdio serves until standard input or the context ends.
func (p *program) serveStdio(ctx context.Context, st *station) error {
	// A client that goes away must not kill a process that is recording an answer.
	signal.Ignore(syscall.SIGPIPE)
	if err := st.tools.Stdio(ctx, p.Stdin, p.Stdout); err != nil && ctx.Err() == nil {
		return policy.Errorf(policy.Unavailable, "serving over standard input and output stopped").Because(err)
	}
	return nil
}
