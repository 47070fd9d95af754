package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// watch looks at the ledger again and again: it sends people to what is held, lets
// restores end once they were seen, and settles what nobody can know but VPS.org.
func (d *badDay) watch(ctx context.Context) {
	for pause(ctx, 100*time.Millisecond) {
		_, filed, err := d.ledger.Requests(ctx, policy.Filter{Limit: 1})
		if err != nil {
			continue
		}
		found, _, err := d.ledger.Requests(ctx, policy.Filter{States: policy.OpenStates()})
		if err != nil {
			continue
		}
		open := map[string]policy.Request{}
		for _, r := range found {
			open[r.ID] = r
		}
		d.mu.Lock()
		d.open, d.filed = open, filed
		d.mu.Unlock()
		for _, r := range slices.Backward(found) {
			switch {
			case r.State == policy.StateHeld && !d.seen[r.ID]:
				d.seen[r.ID] = true
				for _, e := range d.fate(r) {
					if d.count("people: sent to %s", e.does); e.does != forget {
						d.errands <- e
					}
				}
			case r.Effect == policy.Overwrite && r.Decided() && r.Steps[len(r.Steps)-1].Seen && !d.ended[r.ID]:
				d.ended[r.ID] = true
				d.fake.SetServerStatus(r.Plan.Server.ID, "active")
			case r.State == policy.StateUncertain:
				d.settles(ctx, r)
			}
		}
	}
}

// settles has a person say what VPS.org's console shows, after a while in which
// the program may find out by itself.
func (d *badDay) settles(ctx context.Context, r policy.Request) {
	step := r.Steps[r.Current()]
	to, patience := policy.StateFailed, 1500*time.Millisecond
	happened := d.happened(r, step)
	if happened {
		to = policy.StateDone
	}
	if r.Effect == policy.Create || happened && (r.Effect == policy.Delete || d.fake.ServerStatus(r.Plan.Server.ID) == "restoring") {
		patience = 20 * time.Second // there is something to be seen
	}
	if time.Since(step.LostAt) < patience {
		return
	}
	_, err := d.service.Settle(ctx, r.ID, policy.Verdict{
		By: atTerminal(), Way: policy.WayTerminal, Digest: r.Plan.Digest, Secret: testPassphrase, Note: "seen in the console",
	}, to)
	d.count("people: an uncertain %s settled as %s, %s", r.Effect, to, outcomeOf(err))
}

// happened tells what VPS.org knows of a step.
func (d *badDay) happened(r policy.Request, step policy.Step) bool {
	return slices.ContainsFunc(d.fake.Mutations(), func(m vpsfake.Mutation) bool {
		return m.Acted && isFor(m, r, step) && !m.At.Before(step.StartedAt.Add(-time.Millisecond)) &&
			m.At.Before(step.StartedAt.Add(2*dayTimeout))
	})
}

// isFor tells whether a write could be a step of a request: creates carry its mark,
// others its target.
func isFor(m vpsfake.Mutation, r policy.Request, step policy.Step) bool {
	if step.Name == policy.StepSafetyCopy || r.Effect == policy.Create {
		return strings.Contains(m.Body, "[vpsguard "+r.ID+" "+r.Mark+"]")
	}
	target := step.Point // of several
	if target == nil {
		target = r.Plan.Target
	}
	path, method, body := fmt.Sprintf("/%ss/%d/", target.Kind, target.ID), "DELETE", ""
	switch r.Operation {
	case "restore_snapshot":
		path, method = path+"restore/", "POST"
	case "restore_backup":
		path, method = fmt.Sprintf("/servers/%d/restore/", r.Plan.Server.ID), "POST"
		body = fmt.Sprintf(`"backup_id":%d}`, target.ID)
	}
	return m.Method == method && m.Path == vpsfake.BasePath+path && strings.Contains(m.Body, body)
}

// dayBook is the ledger as it is at the end of a day.
type dayBook struct {
	requests map[string]policy.Request
	records  []policy.RecordBody
	starts   []*dayStart
}

// dayStart is a step that was recorded as started, with what came of it at VPS.org.
type dayStart struct {
	policy.RecordBody
	step    policy.Step
	request policy.Request
	sent    []vpsfake.Mutation // that may have been carried out
	turned  []vpsfake.Mutation // that were turned away before anything was done (429)
}

func (d *badDay) book() *dayBook {
	b := &dayBook{requests: map[string]policy.Request{}}
	f := policy.Filter{}
	for {
		page, _, err := d.ledger.Requests(d.t.Context(), f)
		require.NoError(d.t, err)
		for _, r := range page {
			b.requests[r.ID] = r
			f.Before = r.Seq
		}
		if len(page) < 1000 {
			break
		}
	}
	for from := int64(1); ; from += 1000 {
		page, err := d.ledger.Records(d.t.Context(), from, 1000)
		require.NoError(d.t, err)
		for _, raw := range page {
			body, err := raw.Parse()
			require.NoError(d.t, err)
			b.records = append(b.records, body)
			if body.Event != policy.EventStarted {
				continue
			}
			s := &dayStart{RecordBody: body, request: b.requests[body.Request]}
			i := slices.IndexFunc(s.request.Steps, func(s policy.Step) bool {
				return s.Name == body.Detail["step"] && (s.Point == nil || s.Point.String() == body.Detail["target"])
			})
			require.GreaterOrEqual(d.t, i, 0, "a step that no request has: %+v", body)
			s.step = s.request.Steps[i]
			b.starts = append(b.starts, s)
		}
		if len(page) < 1000 {
			return b
		}
	}
}

// tally holds what VPS.org knows against the ledger, and prints what there was.
func (d *badDay) tally() {
	t, b := d.t, d.book()
	d.sentOnce(b)
	d.sameCounts(b)
	personFirst(t, b, d.approvers)
	everyMoveRecorded(t, b)
	wishesOnce(t, b)
	said, wrong, code := vpsguard(t, d.env, "audit", "verify")
	assert.Equal(t, 0, code, said+wrong)
	t.Log(strings.TrimSpace(said))
	d.cardsAgree(b)
	d.prints(b)
}

// sentOnce finds the start of each write at VPS.org: none without, none twice.
func (d *badDay) sentOnce(b *dayBook) {
	for _, m := range d.fake.Mutations() {
		var of *dayStart // the latest before it
		for _, s := range b.starts {
			if !s.At.After(m.At.Add(time.Millisecond)) && isFor(m, s.request, s.step) && (of == nil || s.At.After(of.At)) {
				of = s
			}
		}
		switch {
		case of == nil:
			d.t.Errorf("%s %s was sent at %v and never recorded as started", m.Method, m.Path, m.At)
		case m.Fault == vpsfake.RateLimited:
			of.turned = append(of.turned, m)
		default:
			of.sent = append(of.sent, m)
			if late := m.At.Sub(of.At); late > dayTimeout+dayTimeout/2 {
				d.t.Errorf("%s of %s was sent %v after its start was recorded", of.step.Name, of.request, late)
			}
		}
	}
	steps := map[string]int{}
	for _, s := range b.starts {
		steps[s.Request+" "+s.step.Name+" "+s.Detail["target"]]++
		assert.LessOrEqual(d.t, len(s.sent), 1, "%s of %s was sent twice: %+v", s.step.Name, s.request, s.sent)
		assert.LessOrEqual(d.t, len(s.turned), 3, "%s of %s", s.step.Name, s.request)
	}
	for step, n := range steps {
		assert.Equal(d.t, 1, n, "%s was started more than once", step)
	}
}

// sameCounts holds what the ledger says of each step against what happened.
func (d *badDay) sameCounts(b *dayBook) {
	settled := map[string]bool{}
	for _, r := range b.records {
		if r.Event == policy.EventSettled {
			settled[r.Request] = true
		}
	}
	last := map[string]*dayStart{} // of several steps, the one that somebody had to settle
	for _, s := range b.starts {
		last[s.Request] = s
	}
	counts := map[policy.Effect]map[string]int{}
	for _, s := range b.starts {
		acted := len(s.sent) == 1 && s.sent[0].Acted
		knows, doubt := false, false
		switch s.step.State {
		case policy.StepDone, policy.StepAccepted:
			knows = true
		case policy.StepFailed:
			knows = s.step.PointID != 0 // it was made, and broke
		case policy.StepStarted, policy.StepUncertain, policy.StepWaiting:
			doubt = true // it was withdrawn, or ended, before anybody knew
		}
		doubt = doubt || settled[s.Request] && s == last[s.Request]
		if !doubt && knows != acted {
			d.t.Errorf("the ledger says %s of %s of %s, and VPS.org %v: %+v; %+v", s.step.State, s.step.Name, s.request, acted, s.step, s.sent)
		}
		effect := s.step.Effect
		if counts[effect] == nil {
			counts[effect] = map[string]int{}
		}
		c := counts[effect]
		c["started"]++
		for what, so := range map[string]bool{"happened at VPS.org": acted, "happened by the ledger": knows && !doubt, "uncertain": doubt, "uncertain, and happened": doubt && acted} {
			if so {
				c[what]++
			}
		}
	}
	for _, e := range []policy.Effect{policy.Create, policy.Overwrite, policy.Delete} {
		c := counts[e]
		d.t.Logf("%-9s %4d started, %4d happened at VPS.org = %4d by the ledger + %d of %d that were uncertain", e, c["started"],
			c["happened at VPS.org"], c["happened by the ledger"], c["uncertain, and happened"], c["uncertain"])
		assert.Equal(d.t, c["happened at VPS.org"], c["happened by the ledger"]+c["uncertain, and happened"], "%s", e)
		assert.Equal(d.t, c["happened at VPS.org"], d.fake.Count(vpsfake.Effect(e)), "VPS.org's own count of %s", e)
	}
}

// personFirst: what overwrites or deletes has a person's approval before its start.
func personFirst(t *testing.T, b *dayBook, approvers []slackfake.Person) {
	t.Helper()
	approved := map[string]policy.RecordBody{}
	for _, r := range b.records {
		switch r.Event {
		case policy.EventApproved:
			_, twice := approved[r.Request]
			assert.False(t, twice, "%s was approved twice", r.Request)
			approved[r.Request] = r
		case policy.EventStarted:
			if !policy.Effect(r.Detail["effect"]).Destroys() {
				continue
			}
			by, ok := approved[r.Request]
			ok = ok && by.Digest == r.Digest && (by.By.Door == policy.DoorTerminal ||
				by.By.Door == policy.DoorSlack && slices.ContainsFunc(approvers, func(p slackfake.Person) bool {
					return by.Detail["proof_user"] == p.ID() && by.By.Subject == slackfake.Team+":"+p.ID()
				}))
			assert.True(t, ok, "%s started without a person: %+v", r.Request, by)
		default:
		}
	}
}

// everyMoveRecorded: each request's records lead from nothing to how it stands.
func everyMoveRecorded(t *testing.T, b *dayBook) {
	t.Helper()
	at := map[string]policy.State{}
	moves := 0
	for _, r := range b.records {
		if r.Request == "" || r.To == "" {
			continue
		}
		assert.Equal(t, at[r.Request], r.From, "%s of %s does not follow", r.Event, r.Request)
		at[r.Request] = r.To
		moves++
	}
	for id, r := range b.requests {
		assert.Equal(t, at[id], r.State, "how %s stands is not recorded", id)
	}
	t.Logf("%d records, %d of them moved one of %d requests", len(b.records), moves, len(b.requests))
}

// wishesOnce: no two requests of one actor for the same thing are open at once.
func wishesOnce(t *testing.T, b *dayBook) {
	t.Helper()
	wishes := map[string][]policy.Request{}
	for _, r := range b.requests {
		key := r.Actor.Key() + " " + r.Purpose
		wishes[key] = append(wishes[key], r)
	}
	for _, all := range wishes {
		slices.SortFunc(all, func(a, b policy.Request) int { return a.FiledAt.Compare(b.FiledAt) })
		for i, r := range all[1:] {
			before := all[i]
			end := before.EndedAt
			if before.State == policy.StateExpired { // it had, when the clock said so
				for _, by := range []time.Time{before.ApproveBy, before.StartBy} {
					if !by.IsZero() && by.Before(end) {
						end = by
					}
				}
			}
			assert.False(t, r.FiledAt.Before(end), "%s was filed at %v, while %s was open", r, r.FiledAt, before)
		}
	}
}

// cardsAgree: each request has one card that says how it ended, and no other that
// can be pressed.
func (d *badDay) cardsAgree(b *dayBook) {
	wrong := []string{"not looked yet"}
	begun := time.Now()
	for told := begun; time.Since(begun) < 90*time.Second && len(wrong) > 0; {
		time.Sleep(dayPoll)
		if time.Since(told) >= 10*time.Second {
			told = time.Now()
			d.t.Logf("%v after everything had ended %d cards are not right", told.Sub(begun).Round(time.Second), len(wrong))
		}
		wrong = nil
		for id, r := range b.requests {
			if !r.Told() {
				continue
			}
			cards, right, pressed := d.cardsOf(id), 0, 0
			for _, m := range cards {
				says := strings.HasPrefix(m.Text, strings.ToUpper(string(r.State)))
				if says {
					right++
				}
				if len(m.Buttons()) > 0 {
					pressed++
				}
				if !says && len(m.Buttons()) > 0 || pressed > 1 {
					wrong = append(wrong, fmt.Sprintf("%s has a card too many that can be pressed: %s", r, d.cardStory(r, cards)))
				}
			}
			if right == 0 {
				wrong = append(wrong, fmt.Sprintf("%s has no card that says so: %s", r, d.cardStory(r, cards)))
			}
		}
	}
	for _, w := range wrong[:min(len(wrong), 5)] {
		d.t.Error(w)
	}
	d.t.Logf("cards were right %v after everything had ended; %d are wrong", time.Since(begun).Round(100*time.Millisecond), len(wrong))
}

// cardStory tells how the cards of a request came to be as they are.
func (d *badDay) cardStory(r policy.Request, cards []slackfake.Message) string {
	var b strings.Builder
	n, err := d.ledger.Note(d.t.Context(), policy.ToldScope(r.Account), r.ID)
	_, _ = fmt.Fprintf(&b, "filed %v, ended %v; note due %v, %v: %s", r.FiledAt, r.EndedAt, n.DueAt, err, n.Doc)
	for _, m := range cards {
		for _, was := range d.slack.History(m.Channel, m.TS) {
			at := was.At
			if !was.Edited.IsZero() {
				at = was.Edited
			}
			_, _ = fmt.Fprintf(&b, "\n  %s at %v: %.40q %v", m.TS, at.Format("15:04:05.000"), was.Text, says(was))
		}
	}
	return b.String()
}

// prints prints what was done, and what there was.
func (d *badDay) prints(b *dayBook) {
	states := map[string]int{}
	var decided, carried []time.Duration
	at := map[string]time.Time{}
	for _, r := range b.records {
		switch r.Event {
		case policy.EventHeld:
			at[r.Request] = r.At
		case policy.EventApproved:
			decided = append(decided, r.At.Sub(at[r.Request]))
			at[r.Request] = r.At
		case policy.EventDone:
			if from, ok := at[r.Request]; ok {
				carried = append(carried, r.At.Sub(from))
			}
		default:
		}
	}
	for _, r := range b.requests {
		states[fmt.Sprintf("%s %s", r.Operation, r.State)]++
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, v := range d.slack.Violations() {
		d.counts["Slack does not allow: "+v.Rule]++
	}
	var lines strings.Builder
	for _, m := range []map[string]int{states, d.counts} {
		for _, what := range slices.Sorted(maps.Keys(m)) {
			_, _ = fmt.Fprintf(&lines, "\n%5d %s", m[what], what)
		}
	}
	d.t.Log(lines.String())
	d.t.Logf("from held to approved %s; from approved to done %s", spread(decided), spread(carried))
	d.t.Logf("seed %d", d.seed)
}

// spread says how some times are spread.
func spread(all []time.Duration) string {
	if len(all) == 0 {
		return "never"
	}
	slices.Sort(all)
	at := func(share float64) time.Duration {
		return all[int(share*float64(len(all)-1))].Round(10 * time.Millisecond)
	}
	return fmt.Sprintf("%v at half, %v at 95%%, %v at most", at(0.5), at(0.95), at(1))
}
