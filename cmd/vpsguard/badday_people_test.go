package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/slackbot/slackfake"
)

// asks asks for one thing after the other, some of it twice, in Slack or as a program.
func (d *badDay) asks(ctx context.Context, who int) {
	dice := d.dice("asks", uint64(who))
	for n := 1; pause(ctx, time.Duration(dice.IntN(100))*time.Millisecond); n++ {
		d.mu.Lock()
		open := len(d.open)
		d.mu.Unlock()
		if open >= d.plan.share(30, 125) {
			continue
		}
		w := d.wish(dice, fmt.Sprintf("job %d.%d", who, n))
		times := 1
		if dice.IntN(10) == 0 {
			times = 2 // as somebody does who got no answer
		}
		program := dice.IntN(4) == 0
		person := d.askers[dice.IntN(len(d.askers))]
		if dice.IntN(5) == 0 {
			person = d.approvers[dice.IntN(len(d.approvers))] // who may agree to what they asked for
		}
		var all sync.WaitGroup
		for i := range times {
			mine := rand.New(rand.NewPCG(dice.Uint64(), uint64(i)))
			all.Go(func() {
				if program {
					d.program(ctx, mine, w)
					return
				}
				out := person.Slash(slackfake.Ops, "/vps", w.typed).Wait()
				d.count("people: a command, acknowledged %v", out.Acked)
			})
		}
		all.Wait()
	}
}

// wish is something to ask for.
type wish struct {
	operation string
	args      map[string]any
	typed     string
}

// wish draws one.
func (d *badDay) wish(dice *rand.Rand, job string) wish {
	name := strings.NewReplacer(" ", "-", ".", "-").Replace(job)
	kind := []string{"snapshot", "backup"}[dice.IntN(2)]
	server, point := d.harbour.pick(dice, kind)
	verb := "create"
	switch n := dice.IntN(100); {
	case point != 0 && n < 35:
		verb = "restore"
	case point != 0 && n < 55:
		verb = "delete"
	case n < 63:
		return wish{
			operation: "prune_" + kind + "s", typed: fmt.Sprintf("%s prune %s keep=2 include_foreign=yes because %s", kind, server, job),
			args: map[string]any{"server": server, "keep": 2, "include_foreign": true, "reason": job},
		}
	}
	w := wish{operation: verb + "_" + kind, args: map[string]any{"server": server}}
	switch verb {
	case "create":
		w.typed = fmt.Sprintf("%s create %s description=%q", kind, server, job)
		w.args["description"] = job
		if kind == "snapshot" {
			w.typed = fmt.Sprintf("snapshot create %s %s", server, name)
			w.args = map[string]any{"server": server, "name": name}
		}
	default:
		w.args[kind+"_id"], w.args["reason"] = point, job
		more := ""
		if verb == "restore" && dice.IntN(5) == 0 {
			w.args["safety_copy"], more = false, " safety_copy=no"
		}
		w.typed = fmt.Sprintf("%s %s %s %d%s because %s", kind, verb, server, point, more, job)
	}
	return w
}

// program asks as a program does, follows what was held, and withdraws some of it.
func (d *badDay) program(ctx context.Context, dice *rand.Rand, w wish) {
	who := d.programs[dice.IntN(len(d.programs))]
	a, err := d.tool(ctx, dice, who, w.operation, w.args)
	switch {
	case err != nil:
		return
	case a.Error != nil:
		d.count("programs: refused, %s", a.Error.Kind)
		return
	case a.Request.ID == "":
		return
	}
	if dice.IntN(6) == 0 {
		if a, err = d.tool(ctx, dice, who, "cancel_request", map[string]any{"request_id": a.Request.ID}); err == nil {
			d.count("programs: withdrawn, refused %v", a.Error != nil)
		}
		return
	}
	_, _ = d.tool(ctx, dice, who, "get_request", map[string]any{"request_id": a.Request.ID, "wait_seconds": 1 + dice.IntN(2)})
}

// What people are sent to do.
const (
	approveOnce  = "approve"
	approveTwice = "approve, pressed twice"
	approveWrong = "approve, after typing another name"
	atTheHost    = "approve at the terminal"
	deny         = "deny"
	withdraw     = "withdraw"
	forget       = "forget"
)

// errand is what somebody is sent to do.
type errand struct {
	id, server, does string
}

// fate draws what people do about a request: for most of them one or two approve.
func (d *badDay) fate(r policy.Request) []errand {
	dice := d.dice(r.Reason, 1)
	e := errand{id: r.ID, server: r.Plan.Server.Typed()}
	does := func(all ...string) (out []errand) {
		for _, one := range all {
			e.does = one
			out = append(out, e)
		}
		return out
	}
	switch n := dice.IntN(100); {
	case n < 40:
		return does(approveOnce)
	case n < 50:
		return does(approveTwice)
	case n < 62:
		return does(approveOnce, approveOnce) // by two people, at once
	case n < 67:
		return does(approveOnce, atTheHost)
	case n < 70:
		return does(approveTwice, deny)
	case n < 74:
		return does(approveOnce, withdraw)
	case n < 79:
		return does(approveWrong)
	case n < 87:
		return does(atTheHost)
	case n < 92:
		return does(deny)
	case n < 96:
		return does(withdraw)
	default:
		return does(forget)
	}
}

// serves does errands, each until it is done or no use any more.
func (d *badDay) serves(ctx context.Context, who slackfake.Person) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-d.errands:
			for n := 0; n < 40 && ctx.Err() == nil; n++ {
				if d.does(ctx, who, e) {
					break
				}
				pause(ctx, 100*time.Millisecond)
			}
		}
	}
}

// does tries once, and tells whether there is nothing left to do.
func (d *badDay) does(ctx context.Context, who slackfake.Person, e errand) bool {
	r, err := d.ledger.Request(ctx, e.id)
	switch {
	case err != nil:
		return false // the database is away
	case r.State != policy.StateHeld && (e.does != withdraw || r.State != policy.StateApproved && r.State != policy.StateRunning):
		return true
	case e.does == atTheHost:
		_, err := d.service.Decide(ctx, e.id, policy.Verdict{
			By: atTerminal(), Way: policy.WayTerminal, Digest: r.Plan.Digest, Typed: e.server, Secret: testPassphrase,
		})
		d.count("people: %s, %s", e.does, outcomeOf(err))
		return policy.KindOf(err) != policy.Unavailable
	case e.does == withdraw:
		return d.presses(who, e, "Cancel")
	case e.does == deny:
		form, ok := d.form(ctx, who, e.id, "Deny")
		return ok && d.submits(who, e, form, slackfake.Values{"note": {"note": "not today"}}, 1)
	}
	form, ok := d.form(ctx, who, e.id, "Approve")
	if !ok {
		return false
	}
	values, times := slackfake.Values{}, 1
	if asksFor := slices.ContainsFunc(form.Blocks, func(b map[string]any) bool { return b["block_id"] == "typed" }); asksFor {
		values = typed(e.server)
		if e.does == approveWrong {
			d.submits(who, e, form, typed("srv-99"), 1)
		}
	}
	if e.does == approveTwice {
		times = 2
	}
	return d.submits(who, e, form, values, times)
}

func outcomeOf(err error) string {
	if err == nil {
		return "taken"
	}
	return "refused, " + string(policy.KindOf(err))
}

// presses presses a button of a card that needs no form.
func (d *badDay) presses(who slackfake.Person, e errand, button string) bool {
	card, ok := d.card(e.id, button)
	if !ok {
		return false
	}
	out := who.Press(card, button).Wait()
	d.count("people: %s, acknowledged %v", e.does, out.Acked)
	return out.Acked
}

// form opens a form of a card.
func (d *badDay) form(ctx context.Context, who slackfake.Person, id, button string) (v slackfake.View, ok bool) {
	card, ok := d.card(id, button)
	if !ok {
		return v, false
	}
	for _, old := range d.slack.Views(who.ID()) {
		who.CloseView(old)
	}
	if out := who.Press(card, button).Wait(); !out.Acked {
		d.count("people: a press that nobody acknowledged")
		return v, false
	}
	for end := time.Now().Add(3500 * time.Millisecond); time.Now().Before(end) && pause(ctx, 20*time.Millisecond); {
		if v, ok = d.slack.View(who.ID()); ok {
			if v.Submit == "" || !strings.Contains(v.String(), id) {
				who.CloseView(v)
				return v, false
			}
			return v, true
		}
	}
	d.count("people: a form that did not open")
	return v, false
}

// submits submits a form, so often at once.
func (d *badDay) submits(who slackfake.Person, e errand, form slackfake.View, values slackfake.Values, times int) bool {
	sent := make([]*slackfake.Delivery, 0, times)
	for range times {
		sent = append(sent, who.Submit(form, values))
	}
	done := false
	for _, s := range sent {
		switch out := s.Wait(); {
		case len(out.Errors) > 0:
			for _, says := range out.Errors {
				d.count("people: %s, told: %s", e.does, anyID.ReplaceAllString(says, "…"))
			}
		case out.Acked:
			d.count("people: %s, the form closed", e.does)
			done = true
		default:
			d.count("people: %s, not acknowledged: %s", e.does, out.Error)
		}
	}
	return done
}

// anyID is what is different in what people are told.
var anyID = regexp.MustCompile(`rq_[a-z0-9]{6}|[0-9]{4}-[0-9-]+ [0-9:]+ UTC|person[0-9]+|srv-[0-9]+|"[^"]*"`)

var cardOf = regexp.MustCompile(`Request: (rq_[a-z0-9]{6})`)

// card finds the card of a request that has a button.
func (d *badDay) card(id, button string) (slackfake.Message, bool) {
	for _, m := range slices.Backward(d.cardsOf(id)) {
		if slices.ContainsFunc(m.Buttons(), func(b slackfake.Button) bool { return strings.HasPrefix(b.Text, button) }) {
			return m, true
		}
	}
	return slackfake.Message{}, false
}

// cardsOf gives the cards of a request.
func (d *badDay) cardsOf(id string) []slackfake.Message {
	d.mu.Lock()
	last := d.last
	d.mu.Unlock()
	fresh := d.slack.Find(slackfake.Ops, func(m *slackfake.Message) bool { return m.TS > last && m.From == slackfake.Bot })
	says := make([]string, len(fresh))
	for i, m := range fresh { // Slack's lock comes before ours: its faults are counted under it
		says[i] = m.String()
	}
	d.mu.Lock()
	for i, m := range fresh {
		if found := cardOf.FindStringSubmatch(says[i]); found != nil && m.TS > d.last {
			d.cards[found[1]] = append(d.cards[found[1]], m.TS)
		}
		d.last = max(d.last, m.TS)
	}
	all := slices.Clone(d.cards[id])
	d.mu.Unlock()
	return d.slack.Find(slackfake.Ops, func(m *slackfake.Message) bool { return slices.Contains(all, m.TS) })
}

// slackFaults are those of a bad day, and how likely they are.
var slackFaults = map[string]float64{
	slackfake.InternalError: 0.01, slackfake.InternalErrorActed: 0.005, slackfake.Error500: 0.01, slackfake.Error500Acted: 0.005,
	slackfake.Reset: 0.01, slackfake.ResetActed: 0.01, slackfake.CutJSONActed: 0.005, slackfake.Slow: 0.02,
	slackfake.LoseAck: 0.02, slackfake.DropConnection: 0.01, slackfake.Twice: 0.03, slackfake.NotDelivered: 0.01,
}

// troubleInSlack has Slack misbehave until it heals.
func (d *badDay) troubleInSlack() {
	dice := d.dice("Slack", 0) // its lock guards it
	for _, name := range slackfake.FaultNames() {
		odds := slackFaults[name]
		if odds == 0 {
			continue
		}
		d.slack.Inject(slackfake.Fault{Name: name, Delay: 500 * time.Millisecond, Match: func(slackfake.Call) bool {
			if dice.Float64() >= odds {
				return false
			}
			d.count("Slack: %s", name)
			return true
		}})
	}
}
