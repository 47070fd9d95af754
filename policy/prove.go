package policy

import (
	"context"
	"slices"
	"strings"
	"time"
)

// mayDecide checks that a verdict comes by a way that counts here.
func (s *Service) mayDecide(v Verdict) error { return s.comes(v, s.Ways) }

// settles is the way to say what is so. That agrees to nothing and sends nothing, so
// it does not depend on what confirms; it takes somebody who can look, at the host.
var settles = []Way{WayTerminal}

// comes checks that a verdict comes by one of some ways, through its door.
func (s *Service) comes(v Verdict, ways []Way) error {
	door := map[Way]Door{WaySlack: DoorSlack, WayTerminal: DoorTerminal, WayElicitation: DoorMCP}[v.Way]
	switch {
	case s.ReadOnly:
		return ErrReadOnly()
	case !v.By.Operates():
		return errReader()
	case !slices.Contains(ways, v.Way), door == "", v.By.Door != door, v.By.Subject == "":
		return Errorf(Forbidden, "that way of deciding does not count here").WithHint("What counts: %s.", says(ways))
	}
	return nil
}

// prove finds out how sure it is that a person said something, by one of some ways,
// and which entries of some lists they are. When in doubt it refuses.
func (s *Service) prove(ctx context.Context, v Verdict, ways []Way, among [][]string) (a Assurance, as []string, err error) {
	if err := s.comes(v, ways); err != nil {
		return AssuranceNone, nil, err
	}
	switch v.Way {
	case WayTerminal:
		return Local, []string{EntryTerminal}, s.checkPassphrase(ctx, v.By, v.Secret)
	case WaySlack:
		as, err := s.vouch(ctx, v.Way, v.By, among)
		return Verified, as, err
	case WayElicitation:
		if v.form != nil { // opened and spent, see [Service.formAnswered]
			return Claimed, nil, nil
		}
	}
	return AssuranceNone, nil, errNobody()
}

// vouch asks whether an actor may confirm by a way. Nobody to ask means no.
func (s *Service) vouch(ctx context.Context, w Way, by Actor, among [][]string) ([]string, error) {
	if s.Vouch == nil {
		return nil, errNobody()
	}
	return s.Vouch(ctx, w, by, among)
}

func errNobody() error { return Errorf(Forbidden, "nobody may confirm that way here") }

// gone asks again about those who approved a while ago, and says so where it takes one
// of them who may not approve any more: they have left, or their account was closed.
// What was approved just now was asked just then.
func (s *Service) gone(ctx context.Context, r Request) (string, error) {
	now, err := s.Ledger.Now(ctx)
	if err != nil {
		return "", err
	}
	r.Approvals = slices.Clone(r.Approvals)
	var who []string
	asked := false
	for i, a := range r.Approvals {
		if a.Way != WaySlack || now.Sub(a.At) < vouchedFor || !slices.Contains(s.Ways, a.Way) {
			continue // where that way does not count, nothing starts
		}
		if s.Vouch == nil { // as at a terminal
			return "", Errorf(Unavailable, "whether who approved %s still may cannot be asked here; vpsguard serve asks Slack", r.ID)
		}
		asked = true
		as, err := s.vouch(ctx, a.Way, a.By, r.Conditions.Approvers)
		switch KindOf(err) {
		case "":
			r.Approvals[i].As = as
		case Forbidden:
			r.Approvals[i].Assurance = AssuranceNone
			who = append(who, a.By.String())
		default:
			return "", err
		}
	}
	switch {
	case !asked || s.met(r, r.Conditions.Ways):
		return "", nil
	case len(who) == 0:
		return "who approved it is not among those any more who have to", nil
	}
	return "who approved it may not any more: " + strings.Join(who, ", "), nil
}

// vouchedFor is how long an approval in Slack is believed without asking Slack again.
const vouchedFor = 5 * time.Minute
