package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/ledger"
)

// desk is what the commands on requests and on the audit work with: a ledger
// that servers may be using at the same time.
type desk struct {
	*program
	settings settings
	log      *slog.Logger
	ledger   *ledger.Ledger
	account  *account // nil without a token
	service  *policy.Service
	out      *output
}

// needs says what a command needs beside the ledger.
type needs int

const (
	needsLedger  needs = iota
	needsAccount       // it decides something, so it has to know whose servers these are
	makesLedger        // it may be the first to use the ledger
)

// atDesk gives the function of a command that works on a ledger.
func (p *program) atDesk(n needs, sandbox *string, out *output, do func(d *desk, ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		ctx := c.Context()
		s, err := p.deskSettings(ctx, sandbox)
		if err != nil {
			return err
		}
		d := &desk{program: p, settings: s, log: p.logger(s), out: out}
		if n == needsAccount && s.APIToken.Reveal() == "" {
			return errNoToken()
		}
		book, noRules := openRules(s.PolicyFile)
		if n == makesLedger {
			d.ledger, err = p.openLedger(s, d.log)(ctx)
		} else {
			d.ledger, err = p.findLedger(ctx, s, d.log)
		}
		if err != nil {
			return err
		}
		defer func() {
			if err := d.ledger.Close(); err != nil {
				d.log.WarnContext(ctx, "the ledger could not be closed", "error", err)
			}
		}()
		if s.APIToken.Reveal() != "" {
			client, err := connect(s)
			if err != nil {
				return err
			}
			d.account = &account{client: client}
			d.service, err = newService(s, d.ledger, client, d.account, nil, book)
			if err != nil {
				return err
			}
		} else if d.service, err = newService(s, d.ledger, nil, nil, nil, book); err != nil {
			return err
		}
		if noRules != nil { // nothing is judged then; withdrawing and looking go on
			d.log.ErrorContext(ctx, noRules.Error())
			d.service.Judge = func(context.Context, policy.Facts) (policy.Conditions, error) {
				return policy.Conditions{}, policy.Errorf(policy.Forbidden, "%s", noRules).WithHint("Correct the rule file first.")
			}
		}
		return do(d, ctx, args)
	}
}

// deskSettings are the environment's, or those of a sandbox that runs here.
func (p *program) deskSettings(ctx context.Context, sandbox *string) (settings, error) {
	if sandbox != nil && *sandbox != "" {
		return p.sandboxSettings(ctx, *sandbox)
	}
	return load(ctx, p.Env)
}

func (p *program) requestsCommand() *cobra.Command {
	c := p.command("requests", "See what waits for a person, and decide",
		"Alone, on a terminal, it lists what waits and lets you pick one. Elsewhere it lists.",
		"  vpsguard requests\n  vpsguard requests approve rq_7f3k9c\n  vpsguard requests --sandbox", noArguments)
	sandbox := sandboxFlag(c)
	out := outputFlag(c)
	c.RunE = p.atDesk(needsLedger, sandbox, out, func(d *desk, ctx context.Context, _ []string) error {
		if !out.json() && isTerminal(p.Stdout) && isTerminal(p.Stdin) {
			return d.pick(ctx)
		}
		return d.list(ctx, map[string]any{"state": string(policy.StateHeld)})
	})
	c.AddCommand(
		p.listCommand(sandbox), p.showCommand(sandbox), p.approveCommand(sandbox),
		p.denyCommand(sandbox), p.cancelCommand(sandbox), p.settleCommand(sandbox),
	)
	return c
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (p *program) listCommand(sandbox *string) *cobra.Command {
	c := p.command("list", "List requests, newest first", "",
		"  vpsguard requests list --state held\n  vpsguard requests list --server web-server-01 --output json", noArguments)
	state := c.Flags().String("state", "", "only those in this `STATE`: held, approved, running, uncertain, done, …")
	server := c.Flags().String("server", "", "only those of this server, by `ID` or exact name")
	limit := c.Flags().Int("limit", policy.DefaultLimit, "at most `N` of them, up to 100")
	cursor := c.Flags().String("cursor", "", "the next page, as the one before named it")
	out := outputFlag(c)
	c.RunE = p.atDesk(needsLedger, sandbox, out, func(d *desk, ctx context.Context, _ []string) error {
		args := map[string]any{"limit": *limit}
		for name, value := range map[string]string{"state": *state, "server": *server, "cursor": *cursor} {
			if value != "" {
				args[name] = value
			}
		}
		return d.list(ctx, args)
	})
	return c
}

// list shows what list_requests answers.
func (d *desk) list(ctx context.Context, args map[string]any) error {
	l, err := d.listing(ctx, args)
	if err != nil {
		return err
	}
	if d.out.json() {
		rows := make([]any, 0, len(l.Rows))
		for _, row := range l.Rows {
			rows = append(rows, row.Data)
		}
		return d.printJSON(struct {
			Total    int    `json:"total"`
			Requests []any  `json:"requests"`
			Next     string `json:"next_cursor,omitempty"`
		}{l.Total, rows, l.Next})
	}
	for _, row := range l.Rows {
		say(d.Stdout, "", row.Text)
	}
	more := ""
	if l.Next != "" {
		more = "; the next page: vpsguard requests list"
		for _, name := range []string{"state", "server", "limit"} {
			switch v := args[name].(type) {
			case string:
				more += fmt.Sprintf(" --%s %q", name, v)
			case int:
				more += fmt.Sprintf(" --%s %d", name, v)
			}
		}
		more += " --cursor " + l.Next
	}
	return d.printf("%d of %d%s\n", len(l.Rows), l.Total, more)
}

func (d *desk) listing(ctx context.Context, args map[string]any) (*policy.Listing, error) {
	out, err := d.call(ctx, "list_requests", args)
	if err != nil {
		return nil, err
	}
	return out.Listing, nil
}

// call makes a call through the terminal's door.
func (d *desk) call(ctx context.Context, operation string, args map[string]any) (policy.Outcome, error) {
	raw, err := json.Marshal(args)
	if err != nil {
		return policy.Outcome{}, err
	}
	return d.service.Call(ctx, policy.Call{Actor: atTerminal(), Operation: operation, Arguments: raw})
}

func (p *program) showCommand(sandbox *string) *cobra.Command {
	c := p.command("show ID", "Show one request, whole", "",
		"  vpsguard requests show rq_7f3k9c\n  vpsguard requests show rq_7f3k9c --wait 50s --output json", oneID)
	wait := c.Flags().Duration("wait", 0, "wait until its state changes, for at most `TIME` (50s)")
	out := outputFlag(c)
	c.RunE = p.atDesk(needsLedger, sandbox, out, func(d *desk, ctx context.Context, args []string) error {
		given := map[string]any{"request_id": args[0]}
		if *wait > 0 {
			given["wait_seconds"] = int((*wait + time.Second - 1) / time.Second)
		}
		answer, err := d.call(ctx, "get_request", given)
		if err != nil {
			return err
		}
		return d.show(*answer.Standing)
	})
	return c
}

// show prints how a request stands.
func (d *desk) show(st policy.Standing) error {
	if d.out.json() {
		return d.printJSON(standingJSON(st))
	}
	card(d.Stdout, st)
	return nil
}

// tell prints how a request stands, in one line for people.
func (d *desk) tell(w io.Writer, st policy.Standing) error {
	if d.out.json() {
		return d.printJSON(standingJSON(st))
	}
	r := st.Request
	text := r.ID + " is " + string(r.State)
	if r.Why != "" {
		text += ": " + r.Why
	}
	say(w, "", text)
	return nil
}
