package policy

import (
	"context"
	"encoding/json"
	"time"
)

// Names of settings, and how many wrong passphrases are taken.
const (
	settingPassphrase = "passphrase"
	settingGuesses    = "passphrase_guesses"
	mostGuesses       = 5
	guessesWithin     = 10 * time.Minute
)

// guesses are those of which none was right since, that is known.
type guesses struct {
	Wrong int       `json:"wrong"`
	Since time.Time `json:"since"`
}

// HasPassphrase tells whether the ledger has one.
func (s *Service) HasPassphrase(ctx context.Context) (bool, error) {
	hash, err := s.Ledger.Setting(ctx, settingPassphrase)
	return hash != "", err
}

// SetPassphrase sets or, with the old one, changes the ledger's passphrase.
func (s *Service) SetPassphrase(ctx context.Context, by Actor, old, passphrase string) error {
	if len([]rune(passphrase)) < 8 {
		return Errorf(Invalid, "a passphrase has at least 8 characters")
	}
	before, err := s.Ledger.Setting(ctx, settingPassphrase)
	if err != nil {
		return err
	}
	event := EventPassphraseSet
	if before != "" {
		event = EventPassphraseChanged
		if err := s.checkPassphrase(ctx, by, old); err != nil {
			return err
		}
	}
	hash, err := s.Passphrase.Hash(passphrase)
	if err != nil {
		return Errorf(Internal, "the passphrase could not be hashed").Because(err)
	}
	return s.Ledger.Change(ctx, func(ctx context.Context, tx Tx) error {
		now, err := tx.Setting(ctx, settingPassphrase)
		if err == nil && now != before {
			err = Errorf(Conflict, "the passphrase was changed by somebody else meanwhile")
		}
		if err != nil {
			return err
		}
		return tx.PutSetting(ctx, settingPassphrase, hash, RecordBody{Event: event, By: by})
	})
}

// checkPassphrase takes a few wrong guesses within ten minutes, each recorded,
// and then none at all until they are over. A right one clears those before it: some
// of them may have been right too, and the ledger was away before that was recorded.
func (s *Service) checkPassphrase(ctx context.Context, by Actor, secret string) error {
	hash, err := s.Ledger.Setting(ctx, settingPassphrase)
	if err != nil {
		return err
	}
	if hash == "" || s.Passphrase == nil {
		return Errorf(Forbidden, "no passphrase is set on this ledger, so nothing can be decided at the terminal").
			WithHint("Somebody at the host's terminal sets one first.")
	}
	// The guess is counted before it is checked, so that many at once count too.
	if err := s.guess(ctx, by, EventPassphraseAsked); err != nil {
		return err
	}
	if !s.Passphrase.Matches(hash, secret) {
		return Errorf(Forbidden, "the passphrase is wrong; nothing was decided")
	}
	return s.guess(ctx, by, EventPassphraseRight)
}

// guess records that somebody guesses, or that they were right.
func (s *Service) guess(ctx context.Context, by Actor, event Event) error {
	return s.Ledger.Change(ctx, func(ctx context.Context, tx Tx) error {
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		raw, err := tx.Setting(ctx, settingGuesses)
		if err != nil {
			return err
		}
		var g guesses
		if json.Unmarshal([]byte(raw), &g) != nil || now.Sub(g.Since) >= guessesWithin || now.Before(g.Since) { // it was ahead
			g = guesses{Since: now}
		}
		switch {
		case event == EventPassphraseRight:
			g.Wrong = 0
		case g.Wrong >= mostGuesses:
			return Errorf(Forbidden, "%d guesses at the passphrase were wrong, or broke off before that was known; no more are taken until %s",
				g.Wrong, Stamp(g.Since.Add(guessesWithin)))
		default:
			g.Wrong++
		}
		out, err := json.Marshal(g)
		if err != nil {
			return err
		}
		return tx.PutSetting(ctx, settingGuesses, string(out), RecordBody{Event: event, By: by})
	})
}
