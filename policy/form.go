package policy

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// A form is how the person in front of an MCP client may confirm, where the
// operator wrote elicitation down. It is friction and no proof: a program can
// claim that somebody has filled it in. What holds is that a form belongs to one
// request, plan, caller and call, is answered once, and soon.

// Form is what an MCP client is to ask its user about a held request: the
// request's stored plan, and [Server.Typed] to be typed.
type Form struct {
	State string    // sealed; it comes back with the answer
	Until time.Time // from then on no answer is taken
}

// FormAnswer is what an MCP client says that its user did with a form. All of it
// is the client's word.
type FormAnswer struct {
	State    string            // of the [Form]; empty, or anything, where none was shown
	Accepted bool              // the user sent the form
	Typed    string            // what they typed there
	Proof    map[string]string // what the door has, such as what the client calls itself
}

const (
	formWithin   = 5 * time.Minute // for an answer, and never beyond the request's own clock
	mostForms    = 5               // about one request; then a caller cannot wear people down with more
	mostRefusals = 20              // of answers to one request that are recorded, lest a caller fills the audit
	keyBytes     = 32

	settingStateKey = "state_key"
	scopeForms      = "forms"
)

// formState is what a form's state holds, sealed.
type formState struct {
	Once      string    `json:"once"` // this form and no other
	Request   string    `json:"request"`
	Digest    string    `json:"digest"` // of the plan that is shown
	Actor     string    `json:"actor"`
	Operation string    `json:"operation"`
	Arguments string    `json:"arguments"` // their digest
	Until     time.Time `json:"until"`
}

// formNote is what the ledger remembers of a request's forms. That a form is
// taken from Open, by the note's compare-and-swap, is what lets one answer
// through, of however many at once in however many processes.
type formNote struct {
	Shown   int      `json:"shown"`
	Open    []string `json:"open,omitempty"` // those not answered yet
	Refused int      `json:"refused,omitempty"`
}

// sealer gives what seals states: with the key of the configuration, or the one
// that the ledger keeps for all processes on it. nil where there is none yet, and
// none is to be made.
func (s *Service) sealer(ctx context.Context, make bool) (cipher.AEAD, error) {
	key := s.StateKey
	if len(key) == 0 {
		text, err := s.Ledger.Setting(ctx, settingStateKey)
		if text == "" && err == nil && make {
			text, err = s.makeStateKey(ctx)
		}
		if err != nil || text == "" {
			return nil, err
		}
		if key, err = hex.DecodeString(text); err != nil {
			return nil, Errorf(Internal, "the ledger's key for forms cannot be read")
		}
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, Errorf(Internal, "the key for forms cannot be used").Because(err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// makeStateKey draws the ledger's key, unless another process just did.
func (s *Service) makeStateKey(ctx context.Context) (text string, err error) {
	err = s.Ledger.Change(ctx, func(ctx context.Context, tx Tx) error {
		if text, err = tx.Setting(ctx, settingStateKey); err != nil || text != "" {
			return err
		}
		key := [keyBytes]byte{}
		s.Random(key[:])
		text = hex.EncodeToString(key[:])
		return tx.PutSetting(ctx, settingStateKey, text, RecordBody{Event: EventStateKey, By: itself})
	})
	return text, err
}

// sealedAs is bound into each seal, so that it fits nothing else.
var sealedAs = []byte("vpsguard: a form, version 1")

// unsealed gives what a state holds, if one of this ledger's processes has sealed it.
func (s *Service) unsealed(ctx context.Context, state string) (f formState, err error) {
	foreign := Errorf(Forbidden, "it answers no form of this vpsguard, or a changed one")
	seal, err := s.sealer(ctx, false)
	if err != nil {
		return f, err
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(state)
	if seal == nil || err != nil {
		return f, foreign
	}
	if raw, err = seal.Open(nil, nil, raw, sealedAs); err != nil {
		return f, foreign
	}
	if json.Unmarshal(raw, &f) != nil {
		return formState{}, foreign
	}
	return f, nil
}

// form makes the form for a held request, where its caller can show one and what
// comes back would count; nil otherwise. The request is in the ledger already,
// so nothing is lost with the client.
func (s *Service) form(ctx context.Context, c Call, args Arguments, r Request) (*Form, error) {
	if !c.Asks || c.Answer != nil || r.State != StateHeld {
		return nil, nil
	}
	now, err := s.Ledger.Now(ctx)
	if err != nil || !s.wouldCount(ctx, c.Actor, r, now) {
		return nil, err
	}
	f := formState{
		Once: s.random(16), Request: r.ID, Digest: r.Plan.Digest, Actor: c.Actor.Key(), Operation: c.Operation,
		Arguments: digest(args), Until: now.Add(formWithin),
	}
	if r.ApproveBy.Before(f.Until) {
		f.Until = r.ApproveBy
	}
	seal, err := s.sealer(ctx, true)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(f)
	if err != nil {
		return nil, Errorf(Internal, "a form could not be written down").Because(err)
	}
	shown := true
	err = s.noteForm(ctx, r.ID, func(n *formNote) error {
		if shown = n.Shown < mostForms; shown {
			n.Shown, n.Open = n.Shown+1, append(n.Open, f.Once)
		}
		return nil
	})
	if err != nil || !shown {
		return nil, err
	}
	s.dropForms(ctx, now)
	return &Form{base64.RawURLEncoding.EncodeToString(seal.Seal(nil, nil, raw, sealedAs)), f.Until}, nil
}

// wouldCount tells whether a form that an actor fills in as it should be would
// count for a request, as things are: nobody is to be asked in vain.
func (s *Service) wouldCount(ctx context.Context, by Actor, r Request, now time.Time) bool {
	v := Verdict{By: by, Way: WayElicitation, Digest: r.Plan.Digest, Typed: r.Plan.Server.Typed()}
	_, err := s.agree(ctx, r, v, Claimed, nil, now)
	return err == nil && s.mayDecide(v) == nil
}

// noteForm changes what is remembered of a request's forms, unless f fails.
func (s *Service) noteForm(ctx context.Context, id string, f func(*formNote) error) error {
	r, err := s.Ledger.Request(ctx, id)
	if err != nil {
		return err
	}
	for range 100 { // each time that somebody else was first, somebody has got on
		n, err := s.Ledger.Note(ctx, scopeForms, r.ID)
		if err != nil && KindOf(err) != NotFound {
			return err
		}
		n.Scope, n.Key, n.DueAt = scopeForms, r.ID, r.ApproveBy.Add(time.Hour) // no form is open by then
		var about formNote
		if n.Doc != "" && json.Unmarshal([]byte(n.Doc), &about) != nil {
			return Errorf(Internal, "what is remembered of the forms of %s cannot be read", r.ID)
		}
		if err := f(&about); err != nil {
			return err
		}
		doc, err := json.Marshal(about)
		if err != nil {
			return Errorf(Internal, "a form could not be written down").Because(err)
		}
		n.Doc = string(doc)
		if _, err = s.Ledger.PutNote(ctx, n); KindOf(err) != Conflict {
			return err
		}
	}
	return Errorf(Unavailable, "too many forms of %s are being answered at once", r.ID)
}

// dropForms forgets the forms of requests that are long over. What cannot be
// dropped now is dropped later.
func (s *Service) dropForms(ctx context.Context, now time.Time) {
	over, _ := s.Ledger.Notes(ctx, scopeForms, now, 20)
	for _, n := range over {
		_ = s.Ledger.DropNote(ctx, n)
	}
}

// formAnswered takes the answer to a form. f is the form, where the state is one of
// ours; ours tells that it was shown to this caller for this call, who is told
// how its request stands. A refusal is in why; where f is known it is recorded.
func (s *Service) formAnswered(ctx context.Context, c Call, args Arguments) (f formState, ours bool, why error) {
	a := c.Answer
	if a.State == "" {
		return f, false, Errorf(Forbidden, "an answer came, and no form was shown for it")
	}
	f, err := s.unsealed(ctx, a.State)
	if err != nil {
		return f, false, err
	}
	v := Verdict{By: c.Actor, Way: WayElicitation, Digest: f.Digest, Typed: a.Typed, Proof: map[string]string{"form": f.Once}, form: &f}
	maps.Copy(v.Proof, a.Proof)
	ours = f.Actor == c.Actor.Key() && f.Operation == c.Operation && f.Arguments == digest(args)
	switch {
	case f.Actor != c.Actor.Key():
		why = Errorf(Forbidden, "it was shown to another caller")
	case !ours:
		why = Errorf(Forbidden, "it was shown for another call than this one")
	case !c.At.Before(f.Until):
		why = Errorf(Expired, "it could be answered until %s", Stamp(f.Until))
	case !c.Asks:
		why = Errorf(Forbidden, "this client does not say that it can show forms")
	default:
		why = s.noteForm(ctx, f.Request, f.spend)
	}
	if why == nil && !a.Accepted {
		why = Errorf(Forbidden, "declined, or no prompt was shown")
	}
	if why != nil {
		return f, ours, s.refuseForm(ctx, f.Request, v, why)
	}
	_, why = s.Decide(ctx, f.Request, v)
	return f, ours, why
}

// spend takes a form from those that may be answered.
func (f formState) spend(n *formNote) error {
	i := slices.Index(n.Open, f.Once)
	if i < 0 {
		return Errorf(Conflict, "it was answered already")
	}
	n.Open = slices.Delete(n.Open, i, i+1)
	return nil
}

// refuseForm records that an answer approved nothing, and gives the reason back.
func (s *Service) refuseForm(ctx context.Context, id string, v Verdict, why error) error {
	record := false
	err := s.noteForm(ctx, id, func(n *formNote) error {
		if record = n.Refused < mostRefusals; record {
			n.Refused++
		}
		return nil
	})
	if err == nil && !record {
		return why
	}
	return s.refused(ctx, id, v, why)
}

// filed gives the request of a call: of the form that it answers, or as any
// other. note says what came of an answer.
func (s *Service) filed(ctx context.Context, op Operation, c Call, args Arguments) (r Request, again bool, note string, err error) {
	if c.Answer == nil {
		r, again, err = s.file(ctx, op, c, args)
		return r, again, "", err
	}
	f, ours, why := s.formAnswered(ctx, c, args)
	if ours {
		r, err = s.Ledger.Request(ctx, f.Request)
		return r.At(c.At), false, formNoted(why), err
	}
	r, again, err = s.file(ctx, op, c, args)
	if err != nil || !slices.Contains(r.Conditions.Ways, WayElicitation) {
		return r, again, "", err // no form has to do with it
	}
	if f.Request == "" {
		why = s.refuseForm(ctx, r.ID, Verdict{By: c.Actor, Way: WayElicitation, Digest: r.Plan.Digest, Proof: c.Answer.Proof}, why)
	}
	return r, again, formNoted(why), nil
}

// formNoted says what came of the answer to a form.
func formNoted(why error) string {
	if why == nil {
		return "the form counts as one approval; that a person gave it is what this client says"
	}
	return "the form approved nothing: " + Public(why).Message
}
