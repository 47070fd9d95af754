package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/rules"
)

func (p *program) policyCommand() *cobra.Command {
	c := p.command("policy", "The operator's rules: check a file, and explain what it asks for",
		"Rules are in the file that VPSGUARD_POLICY_FILE names. They only tighten: what overwrites\n"+
			"or deletes takes a person whatever they say.",
		"  vpsguard policy check rules.yaml\n  vpsguard policy explain restore_snapshot --server web-server-01 --id 801", noArguments)
	c.AddCommand(p.policyCheckCommand(), p.policyExplainCommand())
	return c
}

// one takes one argument of a kind.
func one(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usagef("%s takes one %s", c.CommandPath(), what)
		}
		return nil
	}
}

func (p *program) policyCheckCommand() *cobra.Command {
	c := p.command("check FILE", "Check a rule file, without putting it in force",
		"It exits 1 where the file cannot be used, with the line and the column of what is wrong.",
		"  vpsguard policy check rules.yaml", one("rule file, such as rules.yaml"))
	out := outputFlag(c)
	c.RunE = func(_ *cobra.Command, args []string) error {
		raw, err := readAtMost(args[0], mostRules)
		if err != nil {
			return policy.Errorf(policy.NotFound, "%s cannot be read, or is larger than 1 MB", policy.Clean(args[0], 200)).Because(err)
		}
		r, err := rules.Parse(args[0], raw)
		if err != nil {
			return err
		}
		if out.json() {
			return p.printJSON(map[string]any{"file": args[0], "hash": r.Hash(), "total": len(r.Names()), "rules": r.Names()})
		}
		if err := p.printf("%s can be used: %d rules, hash %s\n", args[0], len(r.Names()), r.Hash()); err != nil {
			return err
		}
		for _, name := range r.Names() {
			if err := p.printf("  %s\n", name); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

// explained is what rules say of a call.
type explained struct {
	Operation  string            `json:"operation"`
	Plan       string            `json:"plan"`
	Rules      []rules.Match     `json:"rules"`
	Conditions policy.Conditions `json:"conditions"`
	Refused    string            `json:"refused,omitempty"`
}

func (p *program) policyExplainCommand() *cobra.Command {
	c := p.command("explain OPERATION", "Say which rules match a call, what follows, and why",
		"The call is planned as it would be, with reads only, and nothing is filed.",
		"  vpsguard policy explain restore_snapshot --server web-server-01 --id 801 --door mcp\n"+
			"  vpsguard policy explain create_backup --server web-server-01 --door slack --subject T01:U01", one("operation, such as restore_snapshot"))
	server := c.Flags().String("server", "", "id or exact name of the `SERVER`")
	id := c.Flags().Int64("id", 0, "id of the snapshot or backup")
	door := c.Flags().String("door", "mcp", "who calls: through mcp, slack or terminal")
	subject := c.Flags().String("subject", "", "who calls: the `IDENTITY` at that door")
	keep := c.Flags().Int64("keep", 0, "how many of the newest good ones a prune keeps")
	older := c.Flags().String("older-than", "", "how old what a prune deletes is at least, such as `7d`")
	foreign := c.Flags().Bool("include-foreign", false, "a prune deletes what vpsguard did not make, too")
	noCopy := c.Flags().Bool("no-safety-copy", false, "ask for no safety copy")
	reason := c.Flags().String("reason", "explained", "the `TEXT` of the reason")
	file := c.Flags().String("file", "", "judge by this `FILE` instead of the one in force")
	sandbox := sandboxFlag(c)
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if !slices.Contains([]string{"mcp", "slack", "terminal"}, *door) {
			return usagef("--door must be mcp, slack or terminal")
		}
		return p.atDesk(needsAccount, sandbox, out, func(d *desk, ctx context.Context, args []string) error {
			book, err := openRules(d.settings.PolicyFile)
			if *file != "" {
				book = &rulebook{path: *file}
				_, err = book.read()
			}
			switch {
			case err != nil:
				return err
			case book == nil:
				return usagef("there are no rules: set VPSGUARD_POLICY_FILE or give --file")
			}
			d.service.Judge, d.service.Person = book.Judge, book.Person
			given := map[string]any{"server": *server, "reason": *reason, "safety_copy": !*noCopy}
			if *id != 0 {
				given["snapshot_id"], given["backup_id"] = *id, *id
			}
			if *keep != 0 {
				given["keep"] = *keep
			}
			given["older_than"], given["include_foreign"] = *older, *foreign
			given["name"] = "explained"
			raw, err := argumentsOf(d.service.Catalogue(), args[0], given)
			if err != nil {
				return err
			}
			actor := policy.Actor{Door: policy.Door(*door), Subject: *subject, Name: *subject, Vouched: "this command line"}
			return d.explain(ctx, book.rules(), policy.Call{Actor: actor, Operation: args[0], Arguments: raw})
		})(c, args)
	}
	return c
}

// argumentsOf takes from what was given what an operation has arguments for.
func argumentsOf(all []policy.Descriptor, name string, given map[string]any) (json.RawMessage, error) {
	i := slices.IndexFunc(all, func(d policy.Descriptor) bool { return d.Name == name })
	if i < 0 {
		return nil, usagef("there is no operation %q; vpsguard help lists what there is", policy.Clean(name, 40))
	}
	taken := map[string]any{}
	for _, a := range all[i].Arguments {
		if v, ok := given[a.Name]; ok && v != "" && (a.Required || a.Name != "name") {
			taken[a.Name] = v
		}
	}
	return json.Marshal(taken)
}

func (d *desk) explain(ctx context.Context, r *rules.Rules, c policy.Call) error {
	facts, conditions, err := d.service.Foresee(ctx, c)
	e := explained{Operation: c.Operation, Conditions: conditions}
	if len(facts) > 0 {
		e.Plan = facts[0].Plan.Summary
	}
	switch {
	case policy.KindOf(err) == policy.Forbidden:
		e.Refused = public(err).Message
	case err != nil:
		return err
	}
	e.Rules = r.Explain(facts...)
	if d.out.json() {
		return d.printJSON(e)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s\n", c.Operation, e.Plan)
	for _, m := range e.Rules {
		state := "does not match"
		switch {
		case m.Failed != "":
			state = "cannot be told, so it denies: " + m.Failed
		case m.Matched:
			state = "matches: " + m.Outcome
		}
		if len(m.Targets) > 0 {
			state += fmt.Sprintf(" (for %s)", ids(m.Targets))
		}
		fmt.Fprintf(&b, "  %s (%s): %s\n", m.Name, m.Position, state)
	}
	switch {
	case e.Refused != "":
		fmt.Fprintf(&b, "It is refused: %s\n", e.Refused)
	case conditions.Approvals == 0:
		b.WriteString("It is carried out at once.\n")
	default:
		fmt.Fprintf(&b, "It is held: %s.\n", askedFor(conditions))
	}
	return d.printf("%s", b.String())
}

// ids lists numbers.
func ids(all []int64) string {
	out := make([]string, 0, len(all))
	for _, id := range all {
		out = append(out, strconv.FormatInt(id, 10))
	}
	return strings.Join(out, ", ")
}

// askedFor says in words what conditions ask for.
func askedFor(c policy.Conditions) string {
	out := c.Says()
	if c.Approvals == 1 {
		out = append([]string{"one person approves"}, out...)
	}
	if c.ApproveWithin > 0 {
		out = append(out, "they have "+policy.Span(c.ApproveWithin))
	}
	if c.StartWithin > 0 {
		out = append(out, "it starts within "+policy.Span(c.StartWithin))
	}
	return strings.Join(out, "; ")
}
