package slackbot

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/vpsguard/vpsguard/policy"
)

const (
	// leaseFor is how long one process keeps the cards of a request to itself
	// without writing anything down. Who finds a lease that is over goes on, so
	// that cards are right again within 15 seconds of a crash.
	leaseFor = 8 * time.Second
	// askFor is how long Slack is waited for: less than a lease lasts, so that no
	// two processes post the same card, and no older edit comes after a newer one.
	askFor = 6 * time.Second
	// reopenAfter is when a place is tried again where nothing could be shown:
	// the app may have been invited again.
	reopenAfter = 5 * time.Minute
	// giveUpAfter is how long it is tried to show how a request has ended.
	giveUpAfter = 24 * time.Hour
	// editEvery is how long news of a state that has not changed wait, so that
	// many of them become one edit.
	editEvery = 3 * time.Second
	// tryAgain is when something that could not be done is tried again.
	tryAgain = 5 * time.Second
	// mostPosts is how often a card is posted whose posting got no answer, with
	// pauses that grow to longestWait: some hours. Twins of it have no buttons.
	mostPosts   = 50
	longestWait = 5 * time.Minute
)

// shown is what the note of a request remembers: where it is shown, and which
// process is at it.
type shown struct {
	Places []*place  `json:"places"`
	By     string    `json:"by,omitempty"`
	Until  time.Time `json:"until,omitzero"`
	Over   time.Time `json:"over,omitzero"` // when it was first tried to show its end
}

// keeper keeps the cards of one request while it holds the lease.
type keeper struct {
	*Bot
	shown
	note policy.Note
	news bool // the request has changed meanwhile
	// ended tells whether nothing more is to be begun.
	ended func() error
}

// Tell shows a request as it stands wherever it is shown, and returns after
// which time it wants to be called again; 0 means that all is shown. Calling it
// too often, or from several processes at once, does no harm. It is what works
// off the nudges of [policy.Tx.Tell].
//
// What has begun when the context ends, or the door closes, is finished: a post whose
// answer nobody reads would be posted again. What waits for its turn has not begun.
func (b *Bot) Tell(ctx context.Context, id string) (time.Duration, error) {
	if b.ReadOnly {
		return 0, nil
	}
	account, err := b.Account(ctx)
	if err != nil {
		return tryAgain, err
	}
	if !b.enter(id) {
		return time.Second, nil // this process is at it
	}
	defer b.leave(id)
	over := ctx.Err
	ended := func() error { return errors.Join(over(), b.open.Err()) }
	ctx = context.WithoutCancel(ctx)
	for range 8 { // as often as there are news
		if err := ended(); err != nil {
			return tryAgain, err
		}
		k, wait, err := b.take(ctx, policy.ToldScope(account), id)
		if k == nil || err != nil {
			return wait, err
		}
		k.ended = ended
		wait, err = k.keep(ctx)
		if !k.news || err != nil {
			return wait, err
		}
	}
	return time.Second, nil
}

// take takes the lease on a request's cards; nil means that there is nothing to
// do, or not before some time.
func (b *Bot) take(ctx context.Context, scope, id string) (*keeper, time.Duration, error) {
	n, err := b.Notes.Note(ctx, scope, id)
	if err != nil || n.DueAt.IsZero() {
		if policy.KindOf(err) == policy.NotFound {
			err = nil
		}
		return nil, 0, err
	}
	now, err := b.Notes.Now(ctx)
	if err != nil {
		return nil, tryAgain, err
	}
	k := &keeper{Bot: b, note: n}
	if err := k.shown.read(n.Doc); err != nil {
		return nil, 0, err
	}
	// A lease that lasts longer than leases do was taken by a clock that was wrong.
	if left := k.Until.Sub(now); k.By != "" && k.By != b.name && left > 0 && left <= leaseFor {
		return nil, left, nil
	}
	k.By, k.Until = b.name, now.Add(leaseFor)
	err = k.put(ctx, k.Until)
	if policy.KindOf(err) == policy.Conflict {
		return nil, time.Second, nil // somebody was quicker, or there are news
	}
	return k, tryAgain, err
}

func (s *shown) read(doc string) error {
	if doc == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(doc), s); err != nil {
		return policy.Errorf(policy.Internal, "what was shown of a request cannot be read").Because(err)
	}
	return nil
}

func (k *keeper) put(ctx context.Context, due time.Time) error {
	raw, err := json.Marshal(k.shown)
	if err != nil {
		return err
	}
	n := k.note
	n.Doc, n.DueAt = string(raw), due
	stored, err := k.Notes.PutNote(ctx, n)
	if err == nil {
		k.note = stored
	}
	return err
}

// save writes down what was shown, and prolongs the lease. News that came
// meanwhile are remembered.
func (k *keeper) save(ctx context.Context) error {
	now, err := k.Notes.Now(ctx)
	if err != nil {
		return err
	}
	k.Until = now.Add(leaseFor)
	return k.write(ctx, k.Until)
}

func (k *keeper) write(ctx context.Context, due time.Time) error {
	for {
		err := k.put(ctx, due)
		if policy.KindOf(err) != policy.Conflict {
			return err
		}
		fresh, err := k.Notes.Note(ctx, k.note.Scope, k.note.Key)
		if err != nil {
			return err
		}
		var theirs shown
		if err := theirs.read(fresh.Doc); err != nil {
			return err
		}
		if theirs.By != k.name {
			return policy.Errorf(policy.Conflict, "another process shows %s now", k.note.Key)
		}
		k.note.Rev, k.news, due = fresh.Rev, true, fresh.DueAt
	}
}

// keep shows the request everywhere, and gives the lease back.
func (k *keeper) keep(ctx context.Context) (time.Duration, error) {
	st, err := k.Gate.Show(ctx, k.note.Key)
	wait := tryAgain
	if err == nil {
		wait, err = k.everywhere(ctx, st)
	}
	if policy.KindOf(err) == policy.Conflict {
		return time.Second, nil
	}
	if err != nil {
		wait = tryAgain
	}
	now, nowErr := k.Notes.Now(ctx)
	if nowErr != nil {
		return tryAgain, nowErr
	}
	k.By, k.Until = "", time.Time{}
	due := time.Time{}
	switch {
	case k.news, k.ended() != nil: // whoever looks next goes on
		due = now
	case wait > 0:
		due = now.Add(wait)
	}
	if released := k.release(ctx, due); err == nil {
		err = released
	}
	return wait, err
}

// release gives the lease back, unless another process has it already.
func (k *keeper) release(ctx context.Context, due time.Time) error {
	err := k.write(ctx, due)
	if policy.KindOf(err) == policy.Conflict {
		return nil
	}
	return err
}

// everywhere brings each card up to date.
func (k *keeper) everywhere(ctx context.Context, st policy.Standing) (wait time.Duration, err error) {
	if !st.Request.State.Open() {
		if k.Over.IsZero() {
			k.Over = st.Now
		}
		if st.Now.Sub(k.Over) > giveUpAfter {
			return 0, nil
		}
	}
	k.want(st.Request)
	for i := 0; i < len(k.Places); i++ { // a place that closes may open another
		if err := k.ended(); err != nil {
			return tryAgain, err
		}
		w, failed := k.at(ctx, st, k.Places[i])
		if failed != nil {
			return tryAgain, failed
		}
		if k.Places[i].Closed != "" {
			k.want(st.Request)
		}
		if w > 0 && (wait == 0 || w < wait) {
			wait = w
		}
	}
	return wait, nil
}

// want adds the places where a request ought to be shown: where it was asked
// for, and in the channel where people decide. Where nothing can be shown in the
// one, it is shown in the other, once.
func (k *keeper) want(r policy.Request) {
	asked, ok := readOrigin(r.Place)
	if ok && r.Actor.Door == policy.DoorSlack {
		k.add(asked.Channel, asked.Thread)
	}
	open := slices.ContainsFunc(k.Places, func(p *place) bool { return p.Closed == "" })
	if slices.Contains(r.Conditions.Ways, policy.WaySlack) || !open {
		k.add(k.Channel, "")
	}
}

func (k *keeper) add(channel, thread string) {
	same := func(p *place) bool { return p.Channel == channel && p.Thread == thread }
	if channel != "" && !slices.ContainsFunc(k.Places, same) {
		k.Places = append(k.Places, &place{Channel: channel, Thread: thread})
	}
}
