package main

import (
	"context"
	"crypto/subtle"
	"slices"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/vpsguard/vpsguard/policy"
)

// shortestPassphrase is how many characters one has at least.
const shortestPassphrase = 8

func (p *program) passphraseCommand() *cobra.Command {
	c := p.command("passphrase", "The passphrase that confirms at the terminal", "", "  vpsguard passphrase set", noArguments)
	set := p.command("set", "Set or change the passphrase of a ledger, at a terminal",
		"It is needed once for a ledger, before anybody can confirm or settle at the terminal.\n"+
			"Changing it needs the old one. It is read from the terminal itself, twice; no flag replaces that.\n"+
			"Keep it from the programs that you guard against.",
		"  vpsguard passphrase set", noArguments)
	out := outputFlag(set)
	set.RunE = p.atDesk(makesLedger, nil, out, func(d *desk, ctx context.Context, _ []string) error {
		t, err := openTerminal()
		if err != nil {
			return err
		}
		defer t.Close()
		changed, err := d.setPassphrase(ctx, t)
		if err != nil {
			return err
		}
		if out.json() {
			return d.printJSON(map[string]bool{"changed": changed, "set": true})
		}
		if changed {
			return d.printf("The passphrase is changed.\n")
		}
		can := "confirm and settle"
		if !slices.Contains(d.settings.ways(), policy.WayTerminal) {
			can = "settle" // what confirms is said elsewhere
		}
		return d.printf("The passphrase is set. People can %s at this host's terminal now.\n", can)
	})
	c.AddCommand(set)
	return c
}

// setPassphrase asks for the new one twice, and for the old one where there is one.
func (d *desk) setPassphrase(ctx context.Context, t *terminal) (changed bool, err error) {
	if changed, err = d.service.HasPassphrase(ctx); err != nil {
		return false, err
	}
	old := ""
	if changed {
		if old, err = t.askHidden(ctx, "The passphrase as it is now: "); err != nil {
			return false, err
		}
	}
	first, err := t.askHidden(ctx, "New passphrase: ")
	if err != nil {
		return false, err
	}
	if utf8.RuneCountInString(first) < shortestPassphrase {
		return false, policy.Errorf(policy.Invalid, "a passphrase has at least %d characters; nothing was changed", shortestPassphrase)
	}
	second, err := t.askHidden(ctx, "Once more: ")
	if err != nil {
		return false, err
	}
	if subtle.ConstantTimeCompare([]byte(first), []byte(second)) != 1 {
		return false, policy.Errorf(policy.Invalid, "these are two different ones; nothing was changed")
	}
	return changed, d.service.SetPassphrase(ctx, atTerminal(), old, first)
}
