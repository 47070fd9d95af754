package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/vpsguard/vpsguard/policy"
)

// root is the command line.
func (p *program) root() *cobra.Command {
	root := p.command("vpsguard", "Snapshots and backups of VPS.org servers, with nothing destroyed before a person confirmed it",
		"Every overwrite and every delete is held until a person has confirmed exactly that.\n"+
			"Configuration comes from environment variables; see \"vpsguard help environment\".",
		"  vpsguard sandbox            try everything on a simulated VPS.org\n"+
			"  vpsguard stdio              serve an MCP client that starts this program\n"+
			"  vpsguard requests           see what waits for a person", noArguments)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetIn(p.Stdin)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%s; see %s --help", policy.Clean(err.Error(), 200), c.CommandPath())
	})
	root.AddCommand(
		p.serveCommand(), p.stdioCommand(), p.sandboxCommand(), p.requestsCommand(), p.passphraseCommand(),
		p.auditCommand(), p.ledgerCommand(), p.policyCommand(), p.tokenCommand(), p.slackCommand(), p.doctorCommand(), p.versionCommand(), environmentTopic(),
	)
	root.SetHelpCommand(p.helpCommand(root))
	return root
}

// command makes a command that shows its help unless it is given something to do.
func (p *program) command(use, short, long, example string, args cobra.PositionalArgs) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Long: strings.TrimSpace(short + ".\n\n" + long), Example: example, Args: args,
		DisableFlagsInUseLine: true, SuggestionsMinimumDistance: 3,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
}

// helpCommand is cobra's, with our exit code where the topic does not exist.
func (p *program) helpCommand(root *cobra.Command) *cobra.Command {
	c := p.command("help [COMMAND]", "Help on a command or a topic", "", "  vpsguard help requests approve\n  vpsguard help environment",
		cobra.ArbitraryArgs)
	c.RunE = func(_ *cobra.Command, args []string) error {
		topic, rest, err := root.Find(args)
		if err != nil || len(rest) > 0 {
			return usagef("there is no help on %q; see vpsguard --help", policy.Clean(strings.Join(args, " "), 60))
		}
		return topic.Help()
	}
	return c
}

// environmentTopic is the page on the configuration.
func environmentTopic() *cobra.Command {
	var b strings.Builder
	b.WriteString("Configuration comes from environment variables, and from nothing else. One that is\n" +
		"unknown or wrong stops start-up; one that is empty counts as not set.\n")
	for _, v := range variables() {
		fmt.Fprintf(&b, "\n%s\n    %s\n    Takes %s.", v.Name, v.About, v.Takes)
		if v.Default != "" {
			fmt.Fprintf(&b, " Unless set: %s.", v.Default)
		}
		if v.Secret {
			fmt.Fprintf(&b, "\n    %s_FILE may name a file that holds it instead.", v.Name)
		}
		b.WriteByte('\n')
	}
	b.WriteString("\nExamples:\n  VPSGUARD_API_TOKEN_FILE=/run/secrets/vps VPSGUARD_READ_ONLY=true vpsguard serve\n")
	return &cobra.Command{Use: "environment", Short: "The environment variables, each with a sentence", Long: b.String()}
}

// noArguments refuses arguments, and says what may have been meant.
func noArguments(c *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case c.HasAvailableSubCommands():
		hint := ""
		if like := c.SuggestionsFor(args[0]); len(like) > 0 {
			hint = fmt.Sprintf("; did you mean %s %s?", c.CommandPath(), like[0])
		}
		return usagef("there is no command %q below %s%s", policy.Clean(args[0], 40), c.CommandPath(), hint)
	}
	return usagef("%s takes no arguments; see %s --help", c.CommandPath(), c.CommandPath())
}

// oneID wants the id of a request.
func oneID(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("%s takes the id of one request, such as rq_7f3k9c", c.CommandPath())
	}
	if _, err := policy.ParseRequestID(args[0]); err != nil {
		return usagef("%s; ids look like rq_7f3k9c, and vpsguard requests list shows them", policy.Public(err).Message)
	}
	return nil
}

// output is the value of --output.
type output string

func (o *output) String() string { return string(*o) }

// Type is what the help calls it.
func (*output) Type() string { return "FORM" }

// Set takes text or json.
func (o *output) Set(v string) error {
	if v != "text" && v != "json" {
		return fmt.Errorf("it must be text or json") //nolint:perfsprint // one of its kind
	}
	*o = output(v)
	return nil
}

func (o *output) json() bool { return *o == "json" }

func outputFlag(c *cobra.Command) *output {
	o := output("text")
	c.Flags().Var(&o, "output", "text for people or json for programs")
	return &o
}

func (p *program) printJSON(v any) error { return writeJSON(p.Stdout, v) }

// writeJSON writes one line. JSON leaves some control characters as they are
// (RFC 8259, section 7), and a terminal may obey them; here none stays.
func writeJSON(w io.Writer, v any) error {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	var out strings.Builder
	for _, r := range b.String() {
		if r != '\n' && unicode.In(r, unicode.C, unicode.Zl, unicode.Zp) && r <= 0xffff {
			fmt.Fprintf(&out, `\u%04x`, r)
			continue
		}
		out.WriteRune(r)
	}
	_, err := io.WriteString(w, out.String())
	return written(err)
}

func (p *program) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(p.Stdout, format, args...)
	return written(err)
}

// written converts a failure to write what was asked for.
func written(err error) error {
	if err == nil {
		return nil
	}
	return policy.Errorf(policy.Unavailable, "the output could not be written").Because(err)
}
