package operations

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/policy"
)

// mostPruned is how many recovery points one request deletes: as many as a person
// reads before agreeing.
const mostPruned = 15

// prune makes an operation that deletes the old recovery points of a kind; send is
// the one call that deletes one.
func (h house) prune(d policy.Descriptor, kind string, send sendDelete) policy.Operation {
	d.Arguments = []policy.Argument{
		serverArgument,
		{Name: "keep", Type: policy.Integer, Required: true, Min: 1, Max: 100, About: "How many of the newest good ones stay"},
		{Name: "older_than", Type: policy.String, Max: 8, About: "Only what is older, as 36h, 7d or 2w"},
		{Name: "include_foreign", Type: policy.Boolean, Default: false, About: "Also what vpsguard did not make"},
		reasonArgument,
	}
	return h.removing(d, send, func(ctx context.Context, in policy.PlanInput) (policy.Plan, error) {
		return h.planPrune(ctx, in, kind, d.Name)
	})
}

// pruning is what somebody wants to be kept.
type pruning struct {
	kind    string
	keep    int
	older   time.Duration // 0 where age does not matter
	foreign bool          // what this program did not make goes too
}

func pruningOf(kind string, a policy.Arguments) (pruning, error) {
	older, err := ageOf(a.Text("older_than"))
	return pruning{kind, int(a.Number("keep", 1)), older, a.Flag("include_foreign", false)}, err
}

// mostAge is the greatest age that is taken.
const mostAge = 10 * 365 * 24 * time.Hour

// ageOf reads an age as people write it; "" is none.
func ageOf(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	unit := map[byte]time.Duration{'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}[text[len(text)-1]]
	n, err := strconv.ParseUint(text[:len(text)-1], 10, 32)
	if err == nil && unit > 0 && n > 0 && n <= uint64(mostAge/unit) {
		return time.Duration(n) * unit, nil
	}
	return 0, policy.Errorf(policy.Invalid, "older_than must be a whole number of hours, days or weeks, at most ten years, not %q", policy.Clean(text, 30)).
		WithHint("Write it as 36h, 7d or 2w.")
}

// params are how the targets were chosen, in words that are equal where it is.
func (w pruning) params() map[string]string {
	p := map[string]string{"keep": strconv.Itoa(w.keep)}
	if w.older > 0 {
		p["older_than"] = policy.Span(w.older)
	}
	if w.foreign {
		p["include_foreign"] = "true"
	}
	return p
}

// Why a recovery point stays, in the order in which people are told.
type staying int

const (
	goes       staying = iota
	newest             // one of the newest good ones that are kept
	young              // not old enough
	automatic          // VPS.org's own, which its retention ends
	incomplete         // not known to be good: it is for somebody to look at
	foreign            // not made by this program
)

// newest are those that are kept for being the newest.
func (w pruning) newest() string {
	if w.keep == 1 {
		return "the newest good one"
	}
	return fmt.Sprintf("the %d newest good ones", w.keep)
}

// says tells why something stays.
func (w pruning) says(s staying) string {
	switch s {
	case newest:
		if w.keep > 1 {
			return "one of " + w.newest()
		}
		return w.newest()
	case young:
		return "not older than " + policy.Span(w.older)
	case automatic:
		return "automatic (left to VPS.org's own retention)"
	case incomplete:
		return "not complete"
	default:
		return "not made by vpsguard"
	}
}

// counts tells whether a point is one of those of which the newest are kept.
// Automatic backups are not: VPS.org deletes them by itself.
func (w pruning) counts(p point) bool {
	return p.Kind == w.kind && p.good() && (p.Kind != kindBackup || isManualBackup(p)) && !p.CreatedAt.IsZero()
}

// stays tells why a point of the kind is not to be deleted now.
func (w pruning) stays(sc scene, p point) staying {
	newer := sc.count(func(q point) bool {
		return w.counts(q) && (q.CreatedAt.After(p.CreatedAt) || q.CreatedAt.Equal(p.CreatedAt) && q.ID > p.ID)
	})
	switch {
	case p.Kind == kindBackup && !isManualBackup(p):
		return automatic
	case !w.counts(p):
		return incomplete
	case newer < w.keep:
		return newest
	case w.older > 0 && sc.now.Sub(p.CreatedAt) <= w.older:
		return young
	case !w.foreign && !p.ours():
		return foreign
	}
	return goes
}

// ours tells whether this program made a point: it carries the mark.
func (p point) ours() bool { return mark.MatchString(p.description) }

// planPrune plans the removal of the old recovery points of a kind. What is deleted
// is fixed with the first plan; another one checks that it may still be.
func (h house) planPrune(ctx context.Context, in policy.PlanInput, kind, name string) (policy.Plan, error) {
	w, err := pruningOf(kind, in.Arguments)
	if err != nil {
		return policy.Plan{}, err
	}
	sc, err := h.scene(ctx, in)
	if err != nil {
		return policy.Plan{}, err
	}
	p := policy.Plan{Server: sc.server, Params: w.params(), Known: sc.known(nil)}
	if err := sc.still(in.Again != nil); err != nil {
		return p, err
	}
	if in.Again != nil {
		p.Targets, err = w.again(sc, in.Again)
	} else {
		err = w.choose(&p, sc)
	}
	if err != nil {
		return p, err
	}
	for range p.Targets {
		p.Steps = append(p.Steps, policy.StepPlan{Name: name, Effect: policy.Delete, Within: deleteWithin})
	}
	return p, nil
}

// still refuses while something on the server is unfinished: what is being made may
// never be good, and what is being restored from is needed.
func (sc scene) still(again bool) error {
	kind := policy.Conflict
	if again { // what was approved waits for the end of it
		kind = policy.Unavailable
	}
	if sc.server.Status == apiclient.ServerRestoring {
		return policy.Errorf(kind, "%s is being restored; nothing on it is pruned meanwhile", sc.server).WithHint("Ask again when that is over.")
	}
	for _, p := range sc.points {
		if p.Status == apiclient.StatusInProgress {
			return policy.Errorf(kind, "%s of %s is still being made; nothing on it is pruned meanwhile", p.Point, sc.server).
				WithHint("Ask again when it is complete.")
		}
	}
	return nil
}

// choose makes targets of all that may go, the oldest first, and puts them into words.
func (w pruning) choose(p *policy.Plan, sc scene) error {
	var may []point
	stay := map[staying]int{}
	for _, q := range slices.Backward(sc.points) {
		if q.Kind != w.kind {
			continue
		}
		why := w.stays(sc, q)
		if stay[why]++; why == goes {
			may = append(may, q)
		}
	}
	if len(may) == 0 {
		return w.nothing(sc, stay)
	}
	for _, t := range may[:min(len(may), mostPruned)] {
		p.Targets = append(p.Targets, policy.Target{Point: t.Point, Known: sc.known(&t)})
	}
	w.tell(p, sc, may, w.kept(stay))
	return nil
}

// nothing says what stays and why, where all does.
func (w pruning) nothing(sc scene, stay map[staying]int) error {
	kept := w.kept(stay)
	if kept == "" {
		return policy.Errorf(policy.Conflict, "there is nothing to prune: %s has no %ss", sc.server, w.kind)
	}
	hint := "A smaller keep, or a smaller older_than, lets more go."
	if stay[foreign] > 0 {
		hint = "What vpsguard did not make goes only with include_foreign."
	}
	return policy.Errorf(policy.Conflict, "there is nothing to prune: all %ss of %s stay (%s)", w.kind, sc.server, kept).WithHint("%s", hint)
}

// kept says how many points stay, and why.
func (w pruning) kept(stay map[staying]int) string {
	var out []string
	for s := newest; s <= foreign; s++ {
		switch n := stay[s]; {
		case n > 0 && s == newest:
			out = append(out, w.newest())
			if n < w.keep {
				out[0] = fmt.Sprintf("the only %d good ones", n)
			}
		case n > 0:
			out = append(out, fmt.Sprintf("%d %s", n, w.says(s)))
		}
	}
	return strings.Join(out, ", ")
}

// again checks the targets of a request that has some: what it has deleted itself
// is gone as expected, and the rest must be there and may not have become what
// stays. New candidates do not matter.
func (w pruning) again(sc scene, r *policy.Request) ([]policy.Target, error) {
	done := func(i int) bool { return i < len(r.Steps) && r.Steps[i].State == policy.StepDone }
	sc.points = slices.DeleteFunc(slices.Clone(sc.points), func(p point) bool {
		i := slices.IndexFunc(r.Plan.Targets, func(t policy.Target) bool { return t.Is(p.Point) })
		return i >= 0 && done(i) // VPS.org may still list it for a while
	})
	out := slices.Clone(r.Plan.Targets)
	gone := int64(0)
	for i, t := range out {
		if done(i) {
			gone++
			continue
		}
		at := slices.IndexFunc(sc.points, func(p point) bool { return p.Is(t.Point) })
		if at < 0 {
			return nil, policy.Errorf(policy.Conflict, "%s is not there any more", t.Point)
		}
		p := sc.points[at]
		out[i] = policy.Target{Point: p.Point, Known: sc.known(&p)}
		slots := &out[i].Known.FreeSnapshots
		if w.kind == kindBackup {
			slots = &out[i].Known.FreeBackups
		}
		*slots = max(*slots-gone, 0)                                 // what it has freed itself is no change
		if why := w.stays(sc, p); why != goes && why != incomplete { // another status is told as a change
			return nil, policy.Errorf(policy.Conflict, "%s would stay now: it is %s", t.Point, w.says(why))
		}
	}
	return out, nil
}

// tell puts a plan into words.
func (w pruning) tell(p *policy.Plan, sc scene, may []point, kept string) {
	n := len(p.Targets)
	targets := may[:n]
	p.Summary = fmt.Sprintf("delete %s of %s, keeping %s", plural(n, w.kind), sc.server, w.newest())
	if w.older > 0 {
		p.Summary += " and what is not older than " + policy.Span(w.older)
	}
	together, known := int64(0), true
	for _, t := range targets {
		if known = known && t.SizeMB != nil; known {
			together += *t.SizeMB
		}
	}
	loss := map[bool]string{true: "1 " + w.kind + ", named here, is gone for good", false: plural(n, w.kind) + ", each named here, are gone for good"}[n == 1]
	if known {
		loss += fmt.Sprintf(" (%d MB together)", together)
	}
	p.Losses = []string{loss}
	if len(may) > n {
		p.Warnings = append(p.Warnings, fmt.Sprintf("%d could go; these are the %d oldest, the most that go at once", len(may), n))
	}
	var alien []string
	for _, t := range targets {
		if !t.ours() {
			alien = append(alien, strconv.FormatInt(t.ID, 10))
		}
	}
	if len(alien) > 0 {
		p.Warnings = append(p.Warnings, "not made by vpsguard: "+strings.Join(alien, ", "))
	}
	if sc.server.Status == "" {
		p.Warnings = append(p.Warnings, "the API token may not read the server, so whether it is being restored is not known")
	}
	p.Notes = []string{"one after the other, the oldest first; the first that fails, or whose answer is lost, ends it"}
	if kept != "" {
		p.Notes = append(p.Notes, "what stays of its "+w.kind+"s: "+kept)
	}
	p.Notes = append(p.Notes, sc.remains(slices.DeleteFunc(slices.Clone(sc.points), func(q point) bool {
		return slices.ContainsFunc(targets, func(t point) bool { return t.Is(q.Point) })
	})))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
