package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vpsguard/vpsguard/policy"
)

func (p *program) approveCommand(sandbox *string) *cobra.Command {
	c := p.command("approve ID", "Confirm one request, at a terminal",
		"It shows the whole plan, wants the server's name typed and then the passphrase, and\n"+
			"follows the work to its end. Both are read from the terminal itself; no flag, pipe or\n"+
			"file replaces them. Servers may go on running meanwhile.",
		"  vpsguard requests approve rq_7f3k9c", oneID)
	out := outputFlag(c)
	c.RunE = p.atDesk(needsAccount, sandbox, out, func(d *desk, ctx context.Context, args []string) error {
		t, err := openTerminal()
		if err != nil {
			return err
		}
		defer t.Close()
		st, err := d.standing(ctx, args[0])
		if err != nil {
			return err
		}
		card(t, st)
		return d.approve(ctx, t, st)
	})
	return c
}

// standing reads a request by its id as people type it.
func (d *desk) standing(ctx context.Context, typed string) (policy.Standing, error) {
	id, err := policy.ParseRequestID(typed)
	if err != nil {
		return policy.Standing{}, err
	}
	return d.service.Show(ctx, id)
}

// approve asks the person at the terminal, who has just been shown the card,
// and follows the work.
func (d *desk) approve(ctx context.Context, t *terminal, st policy.Standing) error {
	r := st.Request
	if err := d.mayAsk(ctx, r, policy.StateHeld); err != nil {
		return err
	}
	want := r.Plan.Server.Typed()
	// The last thing to be read before the answer is ours, not the caller's.
	back := ""
	if strings.Contains(r.WayBack(), "NO WAY BACK") {
		back = " There is NO WAY BACK."
	}
	typed, err := t.ask(ctx, fmt.Sprintf("This will %s.%s\nTo confirm exactly this, type %s: ", policy.Clean(r.Plan.Summary, 300), back, want))
	if err != nil {
		return err
	}
	if typed != want {
		return policy.Errorf(policy.Invalid, "that is not %s; nothing was approved", want).
			WithHint("Check that this is the server that you mean, and start again.")
	}
	passphrase, err := t.askHidden(ctx, "Passphrase: ")
	if err != nil {
		return err
	}
	_, err = d.service.Decide(ctx, r.ID, policy.Verdict{
		By: atTerminal(), Way: policy.WayTerminal, Digest: r.Plan.Digest, Typed: typed, Secret: passphrase,
	})
	if err != nil {
		return err
	}
	return d.follow(ctx, t, r.ID)
}

// mayAsk finds every reason not to ask a person, before they type anything.
func (d *desk) mayAsk(ctx context.Context, r policy.Request, state policy.State) error {
	switch {
	case d.settings.ReadOnly:
		return policy.Errorf(policy.Forbidden, "VPSGUARD_READ_ONLY is true here; a read-only vpsguard decides nothing")
	case state == policy.StateUncertain: // to settle takes the terminal, whatever confirms
	case len(d.settings.ways()) == 0:
		return policy.Errorf(policy.Forbidden, "VPSGUARD_CONFIRM is none here; nobody can confirm anything")
	case !slices.Contains(d.settings.ways(), policy.WayTerminal):
		return policy.Errorf(policy.Forbidden, "VPSGUARD_CONFIRM does not name terminal here, so nothing can be confirmed at one")
	}
	if state == policy.StateUncertain {
		if err := d.service.MaySettle(ctx, r); err != nil {
			return err
		}
		return d.hasPassphrase(ctx)
	}
	if r.State != state {
		why := ""
		if r.Why != "" {
			why = ": " + policy.Clean(r.Why, 300)
		}
		return policy.Errorf(policy.Conflict, "%s is %s%s; only one that is %s can be decided so", r.ID, r.State, why, state)
	}
	account, err := d.account.Get(ctx)
	if err != nil {
		return err
	}
	if account != r.Account {
		return policy.Errorf(policy.Forbidden, "%s belongs to another account (%s); this one is %s", r.ID, r.Account, account).
			WithHint("Use the API token of that account. Where its e-mail address was changed, start vpsguard serve anew, and ask again.")
	}
	return d.hasPassphrase(ctx)
}

func (d *desk) hasPassphrase(ctx context.Context) error {
	set, err := d.service.HasPassphrase(ctx)
	if err == nil && !set {
		err = policy.Errorf(policy.Forbidden, "no passphrase is set on this ledger, so nothing can be decided at the terminal").
			WithHint("Run: vpsguard passphrase set")
	}
	return err
}

// pick lists what waits, and lets the person at the terminal decide one.
func (d *desk) pick(ctx context.Context) error {
	l, err := d.listing(ctx, map[string]any{"state": string(policy.StateHeld), "limit": 100})
	if err != nil {
		return err
	}
	if len(l.Rows) == 0 {
		return d.printf("Nothing waits for a person.\n")
	}
	t, err := openTerminal()
	if err != nil {
		return err
	}
	defer t.Close()
	for i, row := range l.Rows {
		st, err := d.standing(ctx, row.Request)
		if err != nil {
			return err
		}
		r := st.Request
		say(t, fmt.Sprintf("%3d  ", i+1), fmt.Sprintf("%s %s: asked %s, expires %s", r.ID, r.Plan.Summary, policy.Ago(r.FiledAt, st.Now), policy.Ago(r.ApproveBy, st.Now)))
	}
	if l.Next != "" {
		say(t, "", fmt.Sprintf("These are the newest %d of %d.", len(l.Rows), l.Total))
	}
	typed, err := t.ask(ctx, "Which one? Its number, or Enter to leave: ")
	if err != nil || typed == "" {
		return err
	}
	n, err := strconv.Atoi(strings.TrimSpace(typed))
	if err != nil || n < 1 || n > len(l.Rows) {
		return policy.Errorf(policy.Invalid, "there is no such number; nothing was done")
	}
	st, err := d.standing(ctx, l.Rows[n-1].Request)
	if err != nil {
		return err
	}
	card(t, st)
	if d.account == nil {
		return errNoToken()
	}
	typed, err = t.ask(ctx, "approve, deny, or Enter to leave: ")
	switch {
	case err != nil:
		return err
	case strings.EqualFold(typed, "approve"):
		return d.approve(ctx, t, st)
	case strings.EqualFold(typed, "deny"):
		return d.deny(ctx, st.Request, "")
	}
	return d.printf("Nothing was done.\n")
}

func (p *program) denyCommand(sandbox *string) *cobra.Command {
	c := p.command("deny ID", "Refuse one request", "One person's no is enough. A program cannot ask for the same again for 10 minutes.",
		"  vpsguard requests deny rq_7f3k9c --reason \"wrong server\"", oneID)
	reason := c.Flags().String("reason", "", "why, as `TEXT` for whoever asked")
	out := outputFlag(c)
	c.RunE = p.atDesk(needsAccount, sandbox, out, func(d *desk, ctx context.Context, args []string) error {
		st, err := d.standing(ctx, args[0])
		if err != nil {
			return err
		}
		return d.deny(ctx, st.Request, *reason)
	})
	return c
}

func (d *desk) deny(ctx context.Context, r policy.Request, reason string) error {
	if _, err := d.service.Deny(ctx, r.ID, policy.Verdict{
		By: atTerminal(), Way: policy.WayTerminal, Digest: r.Plan.Digest, Note: reason,
	}); err != nil {
		return err
	}
	return d.ended(ctx, r.ID)
}

// ended tells how a request stands after it was decided here.
func (d *desk) ended(ctx context.Context, id string) error {
	st, err := d.service.Show(ctx, id)
	if err != nil {
		return err
	}
	return d.tell(d.Stdout, st)
}

func (p *program) cancelCommand(sandbox *string) *cobra.Command {
	c := p.command("cancel ID", "Withdraw one request", "It works until the step that overwrites or deletes has started.",
		"  vpsguard requests cancel rq_7f3k9c", oneID)
	out := outputFlag(c)
	c.RunE = p.atDesk(needsAccount, sandbox, out, func(d *desk, ctx context.Context, args []string) error {
		id, err := policy.ParseRequestID(args[0])
		if err != nil {
			return err
		}
		if _, err := d.service.Cancel(ctx, id, atTerminal()); err != nil {
			return err
		}
		return d.ended(ctx, id)
	})
	return c
}

func (p *program) settleCommand(sandbox *string) *cobra.Command {
	c := p.command("settle ID --as done|failed", "Say what came of an uncertain request, at a terminal",
		"An answer of VPS.org was lost and reading proved nothing. Look at the server first; then\n"+
			"say what is so. It is recorded with your name, sends nothing, and lets other work on that\n"+
			"server go on. It works whatever VPSGUARD_CONFIRM names; the passphrase is read from the\n"+
			"terminal itself.",
		"  vpsguard requests settle rq_7f3k9c --as failed --note \"the console shows no restore\"", oneID)
	as := c.Flags().String("as", "", "what came of it: `done|failed`")
	note := c.Flags().String("note", "", "how you know, as `TEXT`")
	out := outputFlag(c)
	run := p.atDesk(needsAccount, sandbox, out, func(d *desk, ctx context.Context, args []string) error {
		t, err := openTerminal()
		if err != nil {
			return err
		}
		defer t.Close()
		st, err := d.standing(ctx, args[0])
		if err != nil {
			return err
		}
		card(t, st)
		return d.settle(ctx, t, st.Request, policy.State(*as), *note)
	})
	c.RunE = func(c *cobra.Command, args []string) error {
		if *as != string(policy.StateDone) && *as != string(policy.StateFailed) {
			return usagef("%s needs --as done or --as failed", c.CommandPath())
		}
		return run(c, args)
	}
	return c
}

func (d *desk) settle(ctx context.Context, t *terminal, r policy.Request, as policy.State, note string) error {
	if err := d.mayAsk(ctx, r, policy.StateUncertain); err != nil {
		return err
	}
	what := "this"
	if p := r.Steps[r.Current()].Point; p != nil { // one of several
		what = "the delete of " + p.String()
	}
	say(t, "", fmt.Sprintf("You say that %s is %s. It is recorded with your name; nothing is sent.", what, as))
	passphrase, err := t.askHidden(ctx, "Passphrase: ")
	if err != nil {
		return err
	}
	if _, err := d.service.Settle(ctx, r.ID, policy.Verdict{
		By: atTerminal(), Way: policy.WayTerminal, Digest: r.Plan.Digest, Note: note, Secret: passphrase,
	}, as); err != nil {
		return err
	}
	return d.ended(ctx, r.ID)
}
