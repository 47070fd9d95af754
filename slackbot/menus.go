package slackbot

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/vpsguard/vpsguard/policy"
)

const (
	mostPages = 50               // of a list, for one menu
	menuLives = 15 * time.Second // while somebody types
	mostMenus = 200              // that are remembered
)

// offer answers a menu that asks for its options while somebody types. It has as
// long as an acknowledgement; a list that takes longer offers nothing.
func (b *Bot) offer(ctx context.Context, i interaction) json.RawMessage {
	options, err := b.options(ctx, i)
	if err != nil {
		_ = b.public(ctx, &task{Who: i.who()}, err) // to the log; a menu can only stay empty
	}
	return menu(options)
}

// option is one line of a menu.
type option struct {
	Text, Value string
	find        string // what is searched in: more than is shown
}

func (b *Bot) options(ctx context.Context, i interaction) ([]option, error) {
	name, ok := strings.CutPrefix(i.ActionID, actPick)
	if !ok {
		return nil, nil
	}
	f, err := b.recall(ctx, i.View.Metadata, formAsk)
	if err != nil {
		return nil, err
	}
	actor, err := b.actor(ctx, i.who(), origin{})
	if err != nil {
		return nil, err
	}
	d, err := b.operation(f.Operation)
	if err != nil {
		return nil, err
	}
	n := slices.IndexFunc(d.Arguments, func(a policy.Argument) bool { return a.Name == name })
	if n < 0 {
		return nil, nil
	}
	given, _ := b.readAsked(d, f, i.View.State.Values)
	all, err := b.known(ctx, actor, d.Arguments[n].Of, serverOf(d, given))
	if err != nil {
		return nil, err
	}
	wanted := strings.ToLower(strings.TrimSpace(i.Value))
	all = slices.DeleteFunc(slices.Clone(all), func(o option) bool { return !strings.Contains(strings.ToLower(o.find), wanted) })
	return all[:min(len(all), mostOptions)], nil
}

// serverOf is the server that a call is about so far, or "".
func serverOf(d policy.Descriptor, given map[string]any) string {
	for _, a := range d.Arguments {
		if s, ok := given[a.Name].(string); ok && a.Of == ofServer {
			return s
		}
	}
	return ""
}

// menus remember for a moment what lists found.
type menuEntry struct {
	options []option
	until   time.Time
}

// known lists what an argument can name: all servers, or the recovery points of
// one kind on a server.
func (b *Bot) known(ctx context.Context, actor policy.Actor, of, server string) ([]option, error) {
	all := b.Gate.Catalogue()
	n := slices.IndexFunc(all, func(d policy.Descriptor) bool { return d.Noun == of && d.Verb == verbList && d.Effect == policy.Read })
	if of == "" || n < 0 {
		return nil, nil
	}
	key := of + "\n" + server
	if found, ok := b.remembered(key); ok {
		return found, nil
	}
	args := map[string]any{policy.LimitArgument.Name: policy.LimitArgument.Max}
	for _, a := range all[n].Arguments {
		if a.Of == ofServer && of != ofServer && server != "" {
			args[a.Name] = server
		}
	}
	// A list that takes longer than the menu waits is there for the next letter.
	return b.lists.get(ctx, key, func(ctx context.Context) ([]option, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(b.life, cancel)()
		if found, ok := b.remembered(key); ok { // by those who asked before
			return found, nil
		}
		found, err := b.pages(ctx, actor, all[n], args)
		if err != nil {
			return nil, err
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.menus) >= mostMenus {
			clear(b.menus)
		}
		b.menus[key] = menuEntry{found, b.Now().Add(menuLives)}
		return found, nil
	})
}

// remembered is what a list found a moment ago.
func (b *Bot) remembered(key string) ([]option, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m, ok := b.menus[key]
	return m.options, ok && b.Now().Before(m.until)
}

func (b *Bot) pages(ctx context.Context, actor policy.Actor, d policy.Descriptor, args map[string]any) (found []option, err error) {
	for range mostPages {
		raw, err := json.Marshal(args)
		if err != nil {
			return nil, err
		}
		out, err := b.Gate.Call(ctx, policy.Call{Actor: actor, Operation: d.Name, Arguments: raw})
		if err != nil {
			return nil, err
		}
		if out.Listing == nil {
			break
		}
		for _, row := range out.Listing.Rows {
			if o := optionOf(row, b.Now()); o.Value != "" {
				found = append(found, o)
			}
		}
		if out.Listing.Next == "" {
			break
		}
		args = maps.Clone(args)
		args[policy.CursorArgument.Name] = out.Listing.Next
	}
	return found, nil
}

// optionOf names a row in a menu; its value is an id, which is never ambiguous.
func optionOf(row policy.Row, now time.Time) option {
	switch {
	case row.Point != nil:
		return option{Text: pointOption(*row.Point, now), Value: strconv.FormatInt(row.Point.ID, 10), find: row.Text}
	case row.Server.ID != 0:
		return option{Text: row.Text, Value: strconv.FormatInt(row.Server.ID, 10), find: row.Text}
	default:
		return option{Text: row.Text, Value: row.Request, find: row.Text}
	}
}

// pointOption names a recovery point within the 75 characters of a menu: a long
// name is cut, and never its age, its size or its status.
func pointOption(p policy.Point, now time.Time) string {
	tail := ""
	if !p.CreatedAt.IsZero() {
		tail = ", " + policy.Ago(p.CreatedAt, now)
	}
	if p.SizeMB != nil && *p.SizeMB >= 0 {
		tail += ", " + humanize.Bytes(uint64(min(*p.SizeMB, 1<<43))*1_000_000)
	}
	if p.Status != "" {
		tail += ", " + policy.Clean(p.Status, 12)
	}
	head := fmt.Sprintf("%d", p.ID)
	if p.Name != "" {
		head += " " + p.Name
	}
	return policy.Clean(head, max(75-len(tail), 10)) + tail
}

// menu is the acknowledgement that holds the options of a menu.
func menu(options []option) json.RawMessage {
	type text struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	type line struct {
		Text  text   `json:"text"`
		Value string `json:"value"`
	}
	lines := make([]line, 0, len(options))
	for _, o := range options {
		lines = append(lines, line{text{"plain_text", policy.Clean(o.Text, 75)}, o.Value})
	}
	raw, err := json.Marshal(struct {
		Options []line `json:"options"`
	}{lines})
	if err != nil {
		panic(err) // texts only
	}
	if len(raw) >= largestAck { // Slack drops larger ones without a word
		return menu(options[:len(options)/2])
	}
	return raw
}
