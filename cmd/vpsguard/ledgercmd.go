package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
)

func (p *program) ledgerCommand() *cobra.Command {
	c := p.command("ledger", "Where requests and the audit are stored", "", "  vpsguard ledger copy --from sqlite:/var/lib/vpsguard/ledger.db", noArguments)
	c.AddCommand(p.copyCommand())
	return c
}

func (p *program) copyCommand() *cobra.Command {
	c := p.command("copy", "Move a ledger to another database",
		"It copies requests, audit, settings and notes to an empty ledger, checks both, and closes\n"+
			"the first for good: it can be read, and refuses changes, lest two ledgers run the same\n"+
			"requests. So plan a few minutes: stop the programs on the first one, copy, point\n"+
			"VPSGUARD_DATABASE to the second, start them again. One that still runs on the first\n"+
			"does no harm; it says that the ledger was moved. If a step may be on its way to VPS.org,\n"+
			"nothing is copied. If copying fails, the first one stays in use as it is; if it was cut\n"+
			"off, the same command goes on or says what to do.\n\n"+
			"One of --from and --to may be left out: VPSGUARD_DATABASE then says it, or the file that\n"+
			"VPSGUARD_DATABASE_FILE names, so that no password has to be on a command line.",
		"  VPSGUARD_DATABASE_FILE=/etc/vpsguard/database vpsguard ledger copy --from sqlite:/var/lib/vpsguard/ledger.db\n"+
			"  vpsguard ledger copy --to postgres://vpsguard@db.internal/vpsguard", noArguments)
	from := c.Flags().String("from", "", "the ledger to move, as a `URL`")
	to := c.Flags().String("to", "", "the empty one that takes its place, as a `URL`")
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		s, err := load(c.Context(), p.Env)
		if err != nil {
			return err
		}
		switch {
		case *from == "" && *to == "":
			return usagef("%s needs --from or --to; VPSGUARD_DATABASE is the other one", c.CommandPath())
		case *from == "":
			*from = s.Database.Reveal()
		case *to == "":
			*to = s.Database.Reveal()
		}
		for name, url := range map[string]string{"from": *from, "to": *to} {
			if !isDatabase(url) {
				return usagef("--%s must be sqlite: and the path of a file, or postgres://USER:PASSWORD@HOST/DATABASE", name)
			}
		}
		return p.copyLedger(c.Context(), s, *from, *to, out)
	}
	return c
}

func (p *program) copyLedger(ctx context.Context, s settings, from, to string, out *output) (err error) {
	log := p.logger(s)
	source, err := p.findLedger(ctx, settings{Database: secret{from}}, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := ledger.Open(ctx, to, ledger.Options{Now: p.Now, Logger: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	last := ""
	found, err := ledger.Copy(ctx, source, target, atTerminal(), func(what string, rows int64) {
		if what != last || rows%50_000 == 0 {
			_, _ = fmt.Fprintf(p.Stderr, "%s: %s rows\n", what, humanize.Comma(rows))
		}
		last = what
	})
	if err != nil {
		return err
	}
	if out.json() {
		return p.printJSON(map[string]any{
			"from": source.Path(), "to": target.Path(), "records": found.Records, "requests": found.Requests, "settings": found.Settings,
			"notes": found.Notes, "open": found.Open, "head": found.Head,
		})
	}
	return p.printf("Moved from %s to %s: %s records, %s requests (%d open), %d settings, %s notes.\nHead: %s\nSet VPSGUARD_DATABASE to the second, and start vpsguard again; the first refuses changes now.\n",
		policy.Clean(source.Path(), 200), policy.Clean(target.Path(), 200), humanize.Comma(found.Records), humanize.Comma(int64(found.Requests)),
		found.Open, found.Settings, humanize.Comma(int64(found.Notes)), found.Head)
}
