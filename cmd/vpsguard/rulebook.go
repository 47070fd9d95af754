package main

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/rules"
)

const (
	// rulesEvery is how often the rule file is looked at.
	rulesEvery = 2 * time.Second
	// mostRules is how large a rule file may be, in bytes.
	mostRules = 1 << 20
)

// rulebook keeps the operator's rules in force: those of VPSGUARD_POLICY_FILE. A
// file that changes is read whole or not at all: what cannot be used leaves the
// rules as they were.
type rulebook struct {
	path string

	mu      sync.Mutex
	now     *rules.Rules
	seen    os.FileInfo // the file as it was looked at last; nil where it was not there
	problem error       // why the file as it is now is not in force
}

// openRules reads the rule file at start-up, where a wrong one stops the program.
// Without a file there is no rulebook.
func openRules(path string) (*rulebook, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // no rules is what most have
	}
	b := &rulebook{path: path}
	if _, err := b.read(); err != nil {
		return nil, usagef("VPSGUARD_POLICY_FILE cannot be used: %s", public(err).Message)
	}
	return b, nil
}

// read reads the file, and tells whether its rules are others than before. What
// cannot be used leaves the rules as they were, and is a problem from then on.
func (b *rulebook) read() (changed bool, err error) {
	// Looked at before it is read: what is written meanwhile is another file.
	info, err := os.Stat(b.path)
	if err != nil {
		info, err = nil, policy.Errorf(policy.Invalid, "the rule file cannot be read").Because(err)
	}
	var r *rules.Rules
	if err == nil {
		r, err = b.parse()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen, b.problem = info, err
	if err != nil {
		return false, err
	}
	changed = b.now == nil || b.now.Hash() != r.Hash()
	b.now = r
	return changed, nil
}

func (b *rulebook) parse() (*rules.Rules, error) {
	raw, err := readAtMost(b.path, mostRules)
	if err != nil {
		return nil, policy.Errorf(policy.Invalid, "the rule file cannot be read, or is larger than 1 MB").Because(err)
	}
	return rules.Parse(b.path, raw)
}

// rules are those in force.
func (b *rulebook) rules() *rules.Rules {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

// Judge is [policy.Config].Judge.
func (b *rulebook) Judge(_ context.Context, f policy.Facts) (policy.Conditions, error) {
	return b.rules().Judge(f), nil
}

// Person is [policy.Config].Person.
func (b *rulebook) Person(a policy.Actor) string { return b.rules().Person(a) }

// Problem is why the file as it is now is not in force; nil where it is.
func (b *rulebook) Problem() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.problem
}

// touched tells whether the file is another one than was read.
func (b *rulebook) touched() bool {
	info, err := os.Stat(b.path)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		return b.seen != nil // tell it once
	}
	return b.seen == nil || !os.SameFile(info, b.seen) || info.ModTime() != b.seen.ModTime() ||
		info.Size() != b.seen.Size() || info.Mode() != b.seen.Mode()
}

// watch reads the file again when it changes, or when it is told to, and records
// what is in force. It returns when the context ends.
func (b *rulebook) watch(ctx context.Context, told <-chan os.Signal, service *policy.Service, log *slog.Logger) {
	tick := time.NewTicker(rulesEvery)
	defer tick.Stop()
	b.record(ctx, service, log)
	for {
		select {
		case <-ctx.Done():
			return
		case <-told:
		case <-tick.C:
			if !b.touched() {
				continue
			}
		}
		before := b.Problem()
		changed, err := b.read()
		switch {
		case err != nil:
			log.ErrorContext(ctx, "the new rules cannot be used; the old ones stay in force", "file", b.path, "error", public(err).Message)
		case changed:
			b.record(ctx, service, log)
		case before != nil:
			log.InfoContext(ctx, "the rule file is again the one that is in force", "file", b.path, "hash", b.rules().Hash())
		}
	}
}

// record writes down which rules are in force, also where the program ends just
// now. That it cannot be written down does not weaken them.
func (b *rulebook) record(ctx context.Context, service *policy.Service, log *slog.Logger) {
	r := b.rules()
	defer log.InfoContext(ctx, "rules are in force", "file", b.path, "rules", len(r.Names()), "hash", r.Hash())
	for pause := time.Second; ; pause = min(2*pause, 30*time.Second) {
		err := service.RulesLoaded(context.WithoutCancel(ctx), r.Hash(), b.path, r.Names())
		switch {
		case err == nil:
			return
		case policy.KindOf(err) != policy.Unavailable || ctx.Err() != nil:
			log.WarnContext(ctx, "that these rules are in force was not recorded", "error", err)
			return
		}
		log.WarnContext(ctx, "that these rules are in force is not recorded yet; trying again", "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}
