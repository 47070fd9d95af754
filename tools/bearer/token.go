package bearer

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vpsguard/vpsguard/policy"
)

const (
	// tokenPrefix is what people and scanners for secrets know a token by.
	tokenPrefix = "vpg_"
	// tokenLetters are 260 random bits, 5 a letter.
	tokenLetters = 52
	// setting is where the ledger keeps tokens: one value, so that each change of it
	// is one audit record.
	setting = "tokens"
	// mostTokens bounds the value, and with it what a look-up costs.
	mostTokens = 100
)

// Token is what is known of a token: everything but the token.
type Token struct {
	Name   string      `json:"name"`             // unique among those that count
	Role   policy.Role `json:"role"`             // how far it reaches
	Person string      `json:"person,omitempty"` // whom it was made for
	// Hash is the SHA-256 of the token, in hexadecimal. A slow hash protects what
	// people choose, since it makes guessing slow. 260 random bits cannot be guessed
	// however fast the hash is, and a slow one would let anybody keep us busy.
	Hash   string    `json:"hash"`
	MadeAt time.Time `json:"made_at"`
	MadeBy string    `json:"made_by"`
}

// stored is the setting's value.
type stored struct {
	Tokens []Token `json:"tokens"`
}

// parse reads the setting. Whether there ever was a token is in use: a ledger that
// never had one says nothing at all.
func parse(value string) (all []Token, use bool, err error) {
	if value == "" {
		return nil, false, nil
	}
	var s stored
	if err := json.Unmarshal([]byte(value), &s); err != nil {
		return nil, true, policy.Errorf(policy.Internal, "the tokens in the ledger cannot be read").Because(err)
	}
	return s.Tokens, true, nil
}

// tokenName is what can be said aloud, put into a rule file and told from subjects
// of other kinds.
var tokenName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,39}$`)

// repeated is what may be said of something that was given as a name: it may be a
// token, which people confuse with its name.
func repeated(name string) string {
	if strings.HasPrefix(name, tokenPrefix) || len(name) > 40 {
		return "what was given, which may be a token"
	}
	return strconv.Quote(policy.Clean(name, 40))
}

// subjectOf is who calls with a token of a name.
func subjectOf(name string) string { return "token:" + name }

// Actor is who calls with the token.
func (t Token) Actor() policy.Actor {
	vouched := "the token " + t.Name
	if t.Person != "" {
		vouched += ", made for " + t.Person
	}
	return policy.Actor{
		Door: policy.DoorMCP, Subject: subjectOf(t.Name), Name: t.Name, Vouched: vouched, Role: t.Role, Person: t.Person,
	}
}

// New makes a token and gives it, this once; the ledger keeps its hash. Only a name
// that no other token has will do: whoever calls is known by it. t says Name, Role
// and Person. random fills with random bytes.
func New(ctx context.Context, l policy.Ledger, by policy.Actor, t Token, random func([]byte)) (secret string, made Token, err error) {
	switch {
	case !tokenName.MatchString(t.Name), t.Name == "loopback", strings.HasPrefix(t.Name, tokenPrefix):
		return "", t, policy.Errorf(policy.Invalid, "a token's name has up to 40 small letters, digits, dots, dashes and underscores, such as ci-agent, not %s", repeated(t.Name))
	case t.Role != policy.RoleRead && t.Role != policy.RoleOperate:
		return "", t, policy.Errorf(policy.Invalid, "a role is read or operate, not %q", policy.Clean(string(t.Role), 20))
	case policy.Clean(t.Person, 80) != t.Person:
		return "", t, policy.Errorf(policy.Invalid, "the name of a person is at most 80 characters that can be seen")
	}
	bytes := make([]byte, tokenLetters)
	random(bytes)
	secret = tokenPrefix + policy.NewID(bytes)
	sum := sha256.Sum256([]byte(secret))
	t.Hash, t.MadeBy = hex.EncodeToString(sum[:]), policy.Clean(by.Name, 80)
	err = change(ctx, l, by, policy.EventTokenMade, func(all []Token, now time.Time) ([]Token, Token, error) {
		t.MadeAt = now
		switch {
		case slices.ContainsFunc(all, func(old Token) bool { return old.Name == t.Name }):
			return nil, t, policy.Errorf(policy.Conflict, "there is a token %s already; nothing was made", t.Name).
				WithHint("Take another name, or revoke that one first.")
		case len(all) >= mostTokens:
			return nil, t, policy.Errorf(policy.Conflict, "there are %d tokens; that is the most", len(all)).WithHint("Revoke one that is not used.")
		}
		return append(all, t), t, nil
	})
	if err != nil {
		return "", t, err
	}
	return secret, t, nil
}

// Revoke ends a token. left is how many others there are. The name may be used again;
// whoever calls with it then is known as the same caller.
func Revoke(ctx context.Context, l policy.Ledger, by policy.Actor, name string) (left int, err error) {
	err = change(ctx, l, by, policy.EventTokenRevoked, func(all []Token, _ time.Time) ([]Token, Token, error) {
		i := slices.IndexFunc(all, func(t Token) bool { return t.Name == name })
		if i < 0 {
			return nil, Token{}, policy.Errorf(policy.NotFound, "there is no token called %s", repeated(name)).WithHint("vpsguard token list shows all.")
		}
		left = len(all) - 1
		return slices.Delete(slices.Clone(all), i, i+1), all[i], nil
	})
	return left, err
}

// change changes the list of tokens and records what became of one of them.
func change(ctx context.Context, l policy.Ledger, by policy.Actor, event policy.Event,
	f func(all []Token, now time.Time) (changed []Token, one Token, err error),
) error {
	return l.Change(ctx, func(ctx context.Context, tx policy.Tx) error {
		now, err := tx.Now(ctx)
		if err != nil {
			return err
		}
		value, err := tx.Setting(ctx, setting)
		if err != nil {
			return err
		}
		all, _, err := parse(value)
		if err != nil {
			return err
		}
		all, one, err := f(all, now)
		if err != nil {
			return err
		}
		slices.SortFunc(all, func(a, b Token) int { return strings.Compare(a.Name, b.Name) })
		raw, err := json.Marshal(stored{all})
		if err != nil {
			return err
		}
		return tx.PutSetting(ctx, setting, string(raw), policy.RecordBody{Event: event, By: by, Detail: map[string]string{
			"name": one.Name, "role": string(one.Role), "person": one.Person,
		}})
	})
}

// List gives the tokens that count, by name, and whether there ever was one.
func List(ctx context.Context, l policy.Reader) (all []Token, use bool, err error) {
	value, err := l.Setting(ctx, setting)
	if err != nil {
		return nil, false, err
	}
	return parse(value)
}

// find gives the token with a hash. It takes as long for one as for another.
func find(all []Token, sum [sha256.Size]byte) (found Token, ok bool) {
	hash := []byte(hex.EncodeToString(sum[:]))
	for _, t := range all {
		if subtle.ConstantTimeCompare([]byte(t.Hash), hash) == 1 {
			found, ok = t, true
		}
	}
	return found, ok
}
