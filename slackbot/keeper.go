package slackbot

import (
	"context"
	"encoding/json"
	"fmt"
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

// place is where a request is shown, by one card.
//
// A card is posted without its buttons, and gets them by its first edit, once it
// is written down where it is. So a card whose posting got no answer, and which
// nobody can ever change again, is at least one that nobody can press.
type place struct {
	Channel string    `json:"channel"`
	Thread  string    `json:"thread,omitempty"`
	TS      string    `json:"ts,omitempty"`      // of the card
	Posts   int       `json:"posts,omitempty"`   // that were begun and did not fail for certain
	Version string    `json:"version,omitempty"` // of what the card shows
	State   string    `json:"state,omitempty"`   // that it shows
	At      time.Time `json:"at,omitzero"`       // of the last edit
	Bare    bool      `json:"bare,omitempty"`    // it has no buttons yet
	Fixed   bool      `json:"fixed,omitempty"`   // messages cannot be edited here
	Closed  string    `json:"closed,omitempty"`  // why nothing can be shown here
	Since   time.Time `json:"since,omitzero"`    // when that was seen last
	Ended   bool      `json:"ended,omitempty"`   // the last line was begun
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
// What has begun when the context ends is finished: a post whose answer nobody
// reads would be posted again.
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
	ended, ctx := ctx.Err, context.WithoutCancel(ctx)
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

// at brings one card up to date, and ends it with a line below it.
func (k *keeper) at(ctx context.Context, st policy.Standing, p *place) (time.Duration, error) {
	if p.Closed != "" && st.Now.Sub(p.Since).Abs() >= reopenAfter && p.matters(st) {
		p.Closed = ""
	}
	if p.Closed == "" {
		wait, err := k.card(ctx, st, p)
		if wait > 0 || err != nil {
			return wait, err
		}
	}
	var wait time.Duration
	if p.Closed != "" && p.matters(st) && p.Version != versionOf(st, true) {
		wait = reopenAfter
	}
	if st.Request.State.Open() || p.Ended {
		return wait, nil
	}
	later, err := k.ending(ctx, st, p)
	return max(wait, later), err
}

// matters tells whether something is still to be shown in a place: what goes on,
// or a card that shows what is no longer so.
func (p *place) matters(st policy.Standing) bool { return p.TS != "" || st.Request.State.Open() }

// closes notes that nothing can be shown in a place now.
func (k *keeper) closes(p *place, now time.Time, err error) {
	p.Closed, p.Since = slackCode(err), now
	if p.Channel == k.Channel {
		k.troubled("cards cannot be posted in " + p.Channel + " (" + p.Closed + ")")
	}
}

// card posts or edits one card. A wait means that it is not up to date yet.
func (k *keeper) card(ctx context.Context, st policy.Standing, p *place) (time.Duration, error) {
	for p.Closed == "" {
		buttons := p.TS != "" || p.Fixed
		version := versionOf(st, buttons)
		if p.Version == version || p.Fixed && p.TS != "" {
			return 0, nil
		}
		state := string(st.Request.State)
		if early := editEvery - st.Now.Sub(p.At); p.TS != "" && !p.Bare && p.State == state && early > 0 && early <= editEvery {
			return early, nil
		}
		wait, err := k.send(ctx, st, p, buttons)
		if wait > 0 || err != nil {
			return wait, err
		}
		if p.Closed == "" && p.TS != "" {
			p.Version, p.State, p.At = version, state, st.Now
		}
		if err := k.save(ctx); err != nil {
			return tryAgain, err
		}
	}
	return 0, nil
}

// send posts a card or edits it, and notes in p what came of it.
func (k *keeper) send(ctx context.Context, st policy.Standing, p *place, buttons bool) (time.Duration, error) {
	asked, _ := readOrigin(st.Request.Place)
	m := k.face.card(st, cardOptions{
		First: p.TS == "" && p.Posts == 0, Buttons: buttons, Key: st.Request.ID, ByMessage: asked.ByMessage,
	})
	if p.TS != "" {
		return k.edit(ctx, p, m, st.Now)
	}
	if p.Posts >= mostPosts {
		p.Closed, p.Since = "no answer to a post", st.Now
		return 0, nil
	}
	if p.Posts > 0 { // a post more while Slack answers nothing would only be one more that is lost
		if _, err := k.whoAmI(ctx); err != nil {
			return tryAgain, nil //nolint:nilerr // Slack is down; it is asked again
		}
	}
	p.Posts++ // before it is sent: what may be there must not be forgotten
	if err := k.save(ctx); err != nil {
		p.Posts--
		return tryAgain, err
	}
	ts, err := k.post(ctx, p.Channel, p.Thread, m)
	switch {
	case err == nil:
		p.TS, p.Bare = ts, !buttons
		if p.Channel == k.Channel {
			k.troubled("")
		}
	case gone(err), slices.Contains(placeCodes, slackCode(err)):
		p.Posts--
		k.closes(p, st.Now, err)
		k.Log.WarnContext(ctx, "a card cannot be posted", "request", st.Request.ID, "channel", p.Channel, "error", err)
	default:
		if reached(err) == notSent {
			p.Posts--
		}
		k.Log.WarnContext(ctx, "posting a card failed; trying again", "request", st.Request.ID, "channel", p.Channel, "error", err)
		return min(tryAgain<<min(max(p.Posts-1, 0), 10), longestWait), nil
	}
	return 0, nil
}

// post posts within a lease.
func (k *keeper) post(ctx context.Context, channel, thread string, m message) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	return k.client.post(ctx, channel, thread, m)
}

// whoAmI asks Slack something that does no harm.
func (k *keeper) whoAmI(ctx context.Context) (identity, error) {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	return k.client.who(ctx)
}

// edit changes a card. Where it cannot be changed, what comes of the request is
// told below it; only a card that has no buttons yet is posted again, whole.
func (k *keeper) edit(ctx context.Context, p *place, m message, now time.Time) (time.Duration, error) {
	within, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	err := k.client.update(within, p.Channel, p.TS, m)
	switch {
	case err == nil:
		p.Bare = false
	case !gone(err):
		k.Log.WarnContext(ctx, "editing a card failed; trying again", "request", k.note.Key, "channel", p.Channel, "error", err)
		return tryAgain, nil
	default:
		k.Log.WarnContext(ctx, "a card cannot be edited", "request", k.note.Key, "channel", p.Channel, "error", err)
		switch slackCode(err) {
		case "edit_window_closed", "cant_update_message":
			if p.Fixed = true; p.Bare {
				p.TS, p.Version = "", ""
			}
		case "message_not_found": // somebody deleted it
			p.TS, p.Version = "", ""
		default:
			k.closes(p, now, err)
		}
	}
	return 0, nil
}

// ending posts the last line, once: below the card, or where it can be said.
func (k *keeper) ending(ctx context.Context, st policy.Standing, p *place) (time.Duration, error) {
	p.Ended = true // before it is sent, so that it is said once at most
	if p.TS == "" && p.Closed != "" {
		return 0, nil // nothing was ever shown here
	}
	if err := k.save(ctx); err != nil {
		p.Ended = false
		return tryAgain, err
	}
	thread := p.Thread
	if thread == "" {
		thread = p.TS
	}
	m := k.face.ending(st)
	_, err := k.post(ctx, p.Channel, thread, m)
	switch {
	case err == nil:
		return 0, nil
	case reached(err) != notSent:
		k.Log.WarnContext(ctx, "whether the end of a request was told is not known", "request", st.Request.ID, "error", err)
		return 0, nil
	case gone(err):
		k.closes(p, st.Now, err)
		return 0, nil
	}
	p.Ended = false
	return tryAgain, nil
}

// versionOf names what a card shows, without the ages that change by themselves.
func versionOf(st policy.Standing, buttons bool) string {
	return fmt.Sprintf("%d %s %v %v %t", st.Request.Rev, st.Request.State, st.Others, st.WaitsFor, buttons)
}
