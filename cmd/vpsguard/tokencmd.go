package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/tools/bearer"
)

func (p *program) tokenCommand() *cobra.Command {
	c := p.command("token", "Tokens with which MCP clients call over HTTP",
		"A token says who calls, and whether they may ask for changes; it confirms nothing. The\n"+
			"ledger keeps no token, only what one can be recognized by.",
		"  vpsguard token new ci-agent --role operate --for Ada\n  vpsguard token list\n  vpsguard token revoke ci-agent", noArguments)
	sandbox := sandboxFlag(c)
	c.AddCommand(p.tokenNewCommand(sandbox), p.tokenListCommand(sandbox), p.tokenRevokeCommand(sandbox))
	return c
}

// tokenOut is a token for programs; the token itself is there once, when it is made.
type tokenOut struct {
	Name     string      `json:"name"`
	Role     policy.Role `json:"role"`
	For      string      `json:"for,omitempty"`
	MadeAt   string      `json:"made_at"`
	MadeBy   string      `json:"made_by"`
	LastUsed string      `json:"last_used_at,omitempty"`
	Token    string      `json:"token,omitempty"`
}

func tokenJSON(t bearer.Token, lastUse time.Time) tokenOut {
	return tokenOut{Name: t.Name, Role: t.Role, For: t.Person, MadeAt: stamp(t.MadeAt), MadeBy: t.MadeBy, LastUsed: stamp(lastUse)}
}

func (p *program) tokenNewCommand(sandbox *string) *cobra.Command {
	c := p.command("new NAME", "Make a token and print it, this once",
		"Standard output carries the token and nothing else. It may read unless told otherwise. With\n"+
			"--for, what its holder asks for counts as asked for by that person, as the rules name them.\n"+
			"From the first token on, serve wants one from every caller, on this host too.",
		"  vpsguard token new ci-agent --role operate > ~/.vpsguard-token\n  vpsguard token new dashboard --output json", one("name, such as ci-agent"))
	role := c.Flags().String("role", string(policy.RoleRead), "read, or operate to ask for changes as well, by `ROLE`")
	person := c.Flags().String("for", "", "the `PERSON` who stands behind it")
	out := outputFlag(c)
	run := p.atDesk(makesLedger, sandbox, out, func(d *desk, ctx context.Context, args []string) error {
		if err := d.knownPerson(*person); err != nil {
			return err
		}
		_, use, err := bearer.List(ctx, d.ledger)
		if err != nil {
			return err
		}
		secret, made, err := bearer.New(ctx, d.ledger, atTerminal(), bearer.Token{Name: args[0], Role: policy.Role(*role), Person: *person}, random)
		if err != nil {
			return err
		}
		if out.json() {
			j := tokenJSON(made, time.Time{})
			j.Token = secret
			return d.printJSON(j)
		}
		if err := d.printf("%s\n", secret); err != nil {
			return err
		}
		text := "The token " + made.Name + " may read and ask for changes"
		if made.Role == policy.RoleRead {
			text = "The token " + made.Name + " may read; --role operate makes one that may ask for changes too"
		}
		say(d.Stderr, "", text+". It is not shown again.")
		if !use {
			say(d.Stderr, "", "From now on, whoever calls over HTTP needs a token, on this host too.")
		}
		return nil
	})
	c.RunE = func(c *cobra.Command, args []string) error {
		if *role != string(policy.RoleRead) && *role != string(policy.RoleOperate) {
			return usagef("--role must be read or operate")
		}
		return run(c, args)
	}
	return c
}

// knownPerson refuses a person whom the rules do not name: a slip of the pen would be
// somebody else than the one who approves.
func (d *desk) knownPerson(name string) error {
	if name == "" || d.settings.PolicyFile == "" {
		return nil
	}
	book, err := openRules(d.settings.PolicyFile)
	if err != nil {
		return err
	}
	if !book.rules().Knows(name) {
		return policy.Errorf(policy.NotFound, "people in the rules has no %q; nothing was made", policy.Clean(name, 80)).
			WithHint("Names are compared letter by letter; add the person there first.")
	}
	return nil
}

func (p *program) tokenListCommand(sandbox *string) *cobra.Command {
	c := p.command("list", "List the tokens that count", "", "  vpsguard token list\n  vpsguard token list --output json", noArguments)
	limit := c.Flags().Int("limit", policy.DefaultLimit, "at most `N` of them, up to 100")
	out := outputFlag(c)
	run := p.atDesk(needsLedger, sandbox, out, func(d *desk, ctx context.Context, _ []string) error {
		all, _, err := bearer.List(ctx, d.ledger)
		if err != nil {
			return err
		}
		shown := all[:min(*limit, len(all))]
		uses := make([]time.Time, len(shown))
		for i, t := range shown {
			if uses[i], err = bearer.LastUse(ctx, d.ledger, t); err != nil {
				return err
			}
		}
		if out.json() {
			rows := make([]tokenOut, 0, len(shown))
			for i, t := range shown {
				rows = append(rows, tokenJSON(t, uses[i]))
			}
			return d.printJSON(map[string]any{"total": len(all), "tokens": rows})
		}
		for i, t := range shown {
			say(d.Stdout, "", tokenLine(t, uses[i], p.Now()))
		}
		more := ""
		if len(shown) < len(all) {
			more = fmt.Sprintf("; all of them: --limit %d", len(all))
		}
		return d.printf("%d of %d%s\n", len(shown), len(all), more)
	})
	c.RunE = func(c *cobra.Command, args []string) error {
		if *limit < 1 || *limit > 100 {
			return usagef("--limit must be a whole number from 1 to 100")
		}
		return run(c, args)
	}
	return c
}

func tokenLine(t bearer.Token, lastUse, now time.Time) string {
	text := t.Name + " " + string(t.Role)
	if t.Person != "" {
		text += ", for " + policy.Clean(t.Person, 80)
	}
	text += ", made " + moment(t.MadeAt, now) + ", by " + policy.Clean(t.MadeBy, 80)
	if lastUse.IsZero() {
		return text + ", never used"
	}
	return text + ", last used " + moment(lastUse, now)
}

func (p *program) tokenRevokeCommand(sandbox *string) *cobra.Command {
	c := p.command("revoke NAME", "End a token",
		"Every server on the ledger refuses it within a second. Revoking the last one opens nothing:\n"+
			"nobody gets in over HTTP then until another is made.",
		"  vpsguard token revoke ci-agent", one("name, such as ci-agent"))
	out := outputFlag(c)
	c.RunE = p.atDesk(needsLedger, sandbox, out, func(d *desk, ctx context.Context, args []string) error {
		left, err := bearer.Revoke(ctx, d.ledger, atTerminal(), args[0])
		if err != nil {
			return err
		}
		if out.json() {
			return d.printJSON(map[string]any{"revoked": args[0], "left": left})
		}
		if left == 0 {
			return d.printf("The token %s is revoked. It was the last one: nobody gets in over HTTP with a token now.\n", args[0])
		}
		return d.printf("The token %s is revoked. Others left: %d.\n", args[0], left)
	})
	return c
}
