package slackbot

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/vpsguard/vpsguard/policy"
)

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
	return k.cards.post(ctx, channel, thread, m)
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
	err := k.cards.update(within, p.Channel, p.TS, m)
	switch {
	case err == nil:
		if p.Bare = false; p.Channel == k.Channel {
			k.troubled("")
		}
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
