package bearer

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/vpsguard/vpsguard/policy"
)

const (
	// fresh is how old the list may be that a token is found in: how long a revoked
	// one may still count.
	fresh = time.Second
	// usedEvery is how often the use of a token is noted.
	usedEvery = time.Minute
	// noteWithin is how long noting it may take.
	noteWithin = 5 * time.Second
)

// Tokens knows the tokens of a ledger. It may be used concurrently.
type Tokens struct {
	ledger policy.Ledger
	now    func() time.Time
	log    *slog.Logger

	mu    sync.Mutex
	read  time.Time // when the reading of what follows began; zero for never
	all   []Token
	use   bool
	noted map[string]time.Time // when the use of a token was noted last, by name
	notes sync.WaitGroup
}

// NewTokens knows the tokens of a ledger. It reads nothing yet.
func NewTokens(l policy.Ledger, now func() time.Time, log *slog.Logger) *Tokens {
	return &Tokens{ledger: l, now: now, log: log, noted: map[string]time.Time{}}
}

// Close waits until what was to be noted is noted.
func (t *Tokens) Close() { t.notes.Wait() }

// InUse tells whether a token was ever made on the ledger. Where the ledger cannot be read
// now, what was read last is still so: what is made meanwhile cannot be read either.
func (t *Tokens) InUse(ctx context.Context) (bool, error) {
	_, use, err := t.list(ctx, fresh)
	if err == nil {
		return use, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.read.IsZero() {
		return false, err
	}
	return t.use, nil
}

// Count tells how many tokens count, and whether one was ever made.
func (t *Tokens) Count(ctx context.Context) (n int, use bool, err error) {
	all, use, err := t.list(ctx, fresh)
	return len(all), use, err
}

// Find gives the token that somebody sent, if it is one. Its error means that it
// cannot be told. Where look is false, nothing is read that was read a moment ago: a token
// that was made since is then not found.
func (t *Tokens) Find(ctx context.Context, secret string, look bool) (Token, bool, error) {
	if len(secret) != len(tokenPrefix)+tokenLetters || !strings.HasPrefix(secret, tokenPrefix) {
		return Token{}, false, nil
	}
	sum := sha256.Sum256([]byte(secret))
	ages := []time.Duration{fresh, 0}
	if !look {
		ages = ages[:1]
	}
	for _, age := range ages {
		all, _, err := t.list(ctx, age)
		if err != nil {
			return Token{}, false, err
		}
		if found, ok := find(all, sum); ok {
			t.used(ctx, found)
			return found, true, nil
		}
	}
	return Token{}, false, nil
}

// list gives the tokens as they were read at most so long ago.
func (t *Tokens) list(ctx context.Context, age time.Duration) ([]Token, bool, error) {
	now := t.now()
	t.mu.Lock()
	all, use, old := t.all, t.use, now.Sub(t.read)
	known := !t.read.IsZero() && old >= 0 && old < age
	t.mu.Unlock()
	if known {
		return all, use, nil
	}
	all, use, err := List(ctx, t.ledger)
	if err != nil {
		return nil, false, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !now.Before(t.read) { // a slow reading does not replace a later one
		t.read, t.all, t.use = now, all, use
	}
	return all, use, nil
}

// used is the note on the last use of a token.
type used struct {
	At time.Time `json:"at"`
}

// used notes that a token is used, beside the call and at most once a minute. A note that is
// lost does no harm.
func (t *Tokens) used(ctx context.Context, token Token) {
	now := t.now()
	t.mu.Lock()
	due := now.Sub(t.noted[token.Name]) >= usedEvery
	if due {
		t.noted[token.Name] = now
	}
	t.mu.Unlock()
	if !due {
		return
	}
	t.notes.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteWithin)
		defer cancel()
		err := t.note(ctx, token.Name, now)
		if err != nil && policy.KindOf(err) != policy.Conflict { // another process notes the same
			t.log.DebugContext(ctx, "the use of a token was not noted", "token", token.Name, "error", err)
		}
	})
}

func (t *Tokens) note(ctx context.Context, name string, now time.Time) error {
	n, err := t.ledger.Note(ctx, setting, name)
	if err != nil && policy.KindOf(err) != policy.NotFound {
		return err
	}
	if now.Sub(usedAt(n)) < usedEvery {
		return nil
	}
	raw, err := json.Marshal(used{now.UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	n.Scope, n.Key, n.Doc = setting, name, string(raw)
	_, err = t.ledger.PutNote(ctx, n)
	return err
}

// usedAt is what a note says; zero for never.
func usedAt(n policy.Note) time.Time {
	var u used
	_ = json.Unmarshal([]byte(n.Doc), &u) // there is no note yet
	return u.At
}

// LastUse tells when a token was used last, to the minute; zero for never.
func LastUse(ctx context.Context, l policy.Reader, t Token) (time.Time, error) {
	n, err := l.Note(ctx, setting, t.Name)
	switch at := usedAt(n); {
	case policy.KindOf(err) == policy.NotFound:
		return time.Time{}, nil
	case err != nil:
		return time.Time{}, err
	case at.Before(t.MadeAt.Truncate(time.Second)): // an older one of that name
		return time.Time{}, nil
	default:
		return at, nil
	}
}
