package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/vpsguard/vpsguard/policy"
)

// auditPage is how many records are held in memory at a time.
const auditPage = 500

func (p *program) auditCommand() *cobra.Command {
	c := p.command("audit", "Who asked for what, who agreed, and what came of it",
		"Each record carries the hash of the one before it, so that a changed or missing one shows.",
		"  vpsguard audit list --limit 20\n  vpsguard audit verify", noArguments)
	sandbox := sandboxFlag(c)
	c.AddCommand(p.auditListCommand(sandbox), p.auditVerifyCommand(sandbox), p.auditExportCommand(sandbox))
	return c
}

// recordOut is one record for programs. The hash is the SHA-256, in hexadecimal,
// of prev, a line break and body, so body is a string and kept byte for byte.
type recordOut struct {
	Seq  int64  `json:"seq"`
	Prev string `json:"prev"`
	Hash string `json:"hash"`
	Body string `json:"body"`
}

func (p *program) auditListCommand(sandbox *string) *cobra.Command {
	c := p.command("list", "List the last records", "", "  vpsguard audit list --limit 50\n  vpsguard audit list --request rq_7f3k9c --output json",
		noArguments)
	request := c.Flags().String("request", "", "only those about the request `ID`")
	limit := c.Flags().Int("limit", policy.DefaultLimit, "at most the last `N`, up to 1000")
	out := outputFlag(c)
	run := p.atDesk(needsLedger, sandbox, out, func(d *desk, ctx context.Context, _ []string) error {
		id := ""
		if *request != "" {
			id, _ = policy.ParseRequestID(*request) // was checked
		}
		records, err := d.last(ctx, id, *limit)
		if err != nil {
			return err
		}
		return d.printRecords(records)
	})
	c.RunE = func(c *cobra.Command, args []string) error {
		if *limit < 1 || *limit > 1000 {
			return usagef("--limit must be a whole number from 1 to 1000")
		}
		if *request != "" {
			if err := oneID(c, []string{*request}); err != nil {
				return err
			}
		}
		return run(c, args)
	}
	return c
}

// last gives the last records, all or those about one request.
func (d *desk) last(ctx context.Context, request string, limit int) ([]policy.Record, error) {
	var from int64
	if request == "" {
		head, err := d.ledger.Head(ctx)
		if err != nil {
			return nil, err
		}
		from = max(head-int64(limit)+1, 1)
	} else if r, err := d.ledger.Request(ctx, request); err != nil {
		return nil, err
	} else {
		from = r.Seq
	}
	var out []policy.Record
	err := d.records(ctx, from, func(r policy.Record) error {
		if request != "" {
			if b, err := r.Parse(); err != nil || b.Request != request {
				return nil //nolint:nilerr // what cannot be read is about nobody here; verify tells
			}
		}
		if out = append(out, r); len(out) > limit {
			out = out[1:]
		}
		return nil
	})
	return out, err
}

// records hands on all records from a number on, with few in memory at a time.
func (d *desk) records(ctx context.Context, from int64, each func(policy.Record) error) error {
	for {
		page, err := d.ledger.Records(ctx, from, auditPage)
		if err != nil {
			return err
		}
		for _, r := range page {
			if err := each(r); err != nil {
				return err
			}
		}
		if len(page) < auditPage {
			return nil
		}
		from = page[len(page)-1].Seq + 1
	}
}

func (d *desk) printRecords(records []policy.Record) error {
	for _, r := range records {
		if d.out.json() {
			if err := d.printJSON(recordOut{r.Seq, r.Prev, r.Hash, r.Body}); err != nil {
				return err
			}
			continue
		}
		b, err := r.Parse()
		if err != nil {
			say(d.Stdout, fmt.Sprintf("%6d  ", r.Seq), "this record cannot be read")
			continue
		}
		say(d.Stdout, fmt.Sprintf("%6d  ", r.Seq), recordLine(b))
	}
	return nil
}

func recordLine(b policy.RecordBody) string {
	text := b.At.UTC().Format("2006-01-02 15:04:05 UTC") + "  " + string(b.Event)
	if b.Request != "" {
		text += " " + b.Request
	}
	if b.To != "" && b.To != b.From {
		text += " → " + string(b.To)
	}
	by := ", by "
	switch b.Event {
	case policy.EventHeld:
		by = ", asked by "
	case policy.EventAllowed:
		by = ", which takes nobody; asked by "
	default:
	}
	text += by + policy.Clean(b.By.String(), 200)
	for _, key := range []string{"plan", "step", "why", "name", "role", "person"} {
		if v := b.Detail[key]; v != "" {
			text += ", " + key + ": " + policy.Clean(v, 160)
		}
	}
	return text
}

func (p *program) auditVerifyCommand(sandbox *string) *cobra.Command {
	c := p.command("verify", "Check that no record and no request was changed, added or removed",
		"It ends with exit code 1 at the first row that is wrong, and names it. Keep the head\n"+
			"somewhere else: whoever may write the file could write the whole of it anew.",
		"  vpsguard audit verify\n  vpsguard audit verify --output json", noArguments)
	out := outputFlag(c)
	c.RunE = p.atDesk(needsLedger, sandbox, out, func(d *desk, ctx context.Context, _ []string) error {
		found, err := d.ledger.Verify(ctx, func(done int64) {
			if done >= 50_000 && done/1000%50 == 0 {
				_, _ = fmt.Fprintf(d.Stderr, "%s rows checked\n", humanize.Comma(done))
			}
		})
		if err != nil {
			if d.out.json() && policy.KindOf(err) == policy.Conflict {
				return errors.Join(d.printJSON(map[string]any{"ok": false, "broken": public(err).Message}), err)
			}
			return err
		}
		if d.out.json() {
			return d.printJSON(map[string]any{"ok": true, "records": found.Records, "requests": found.Requests, "head": found.Head})
		}
		return d.printf("The audit is whole: %s records, %s requests.\nHead: %s\n",
			humanize.Comma(found.Records), humanize.Comma(int64(found.Requests)), found.Head)
	})
	return c
}

func (p *program) auditExportCommand(sandbox *string) *cobra.Command {
	c := p.command("export", "Write all records as JSON, one a line",
		"Each line has seq, prev, hash and body. The hash is the SHA-256 of prev, a line break and\n"+
			"body, so that others can check the chain without vpsguard.",
		"  vpsguard audit export --file audit.jsonl", noArguments)
	file := c.Flags().String("file", "", "write to `FILE`, which must not exist yet; standard output unless set")
	from := c.Flags().Int64("from", 1, "begin with record `N`")
	out := output("json")
	c.RunE = p.atDesk(needsLedger, sandbox, &out, func(d *desk, ctx context.Context, _ []string) error {
		if *file == "" {
			_, err := d.export(ctx, *from, d.Stdout)
			return err
		}
		f, err := os.OpenFile(*file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return policy.Errorf(policy.Conflict, "the file exists already; nothing was written").WithHint("Name another one.")
		}
		if err != nil {
			return policy.Errorf(policy.Unavailable, "the file cannot be made").Because(err)
		}
		n, err := d.export(ctx, *from, f)
		if err = errors.Join(err, written(f.Close())); err != nil {
			return errors.Join(err, os.Remove(*file)) // half an export looks like a whole one
		}
		_, _ = fmt.Fprintf(d.Stderr, "%s records written\n", humanize.Comma(n))
		return nil
	})
	return c
}

// export writes the records and says how many they were.
func (d *desk) export(ctx context.Context, from int64, w io.Writer) (n int64, err error) {
	buffer := bufio.NewWriter(w)
	err = d.records(ctx, from, func(r policy.Record) error {
		n++
		return writeJSON(buffer, recordOut{r.Seq, r.Prev, r.Hash, r.Body})
	})
	return n, errors.Join(err, written(buffer.Flush()))
}
