package slackbot

import (
	"context"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/slack-go/slack"

	"github.com/vpsguard/vpsguard/policy"
)

const (
	// knownFor is how old an answer about a person may be where nothing is decided.
	knownFor = time.Minute
	// maxKnown is how many people are remembered.
	maxKnown = 2000
	// vouchedSlack is what vouches for whoever comes through Slack.
	vouchedSlack = "a request signed by Slack"
	// slackbotUser is Slack's own, which also speaks for its AI. users.info does not
	// call it a bot.
	slackbotUser = "USLACKBOT"
)

// PeopleOptions are what [NewPeople] needs.
type PeopleOptions struct {
	Token     string   // the bot token
	URL       string   // of the Web API; "" is Slack's own
	Approvers []string // each a [ValidApprover]; none means that nobody may confirm
	HTTP      *http.Client
	Now       func() time.Time
	Log       *slog.Logger
	// Observe is told of each call of Slack's Web API when it has ended; nil for
	// nobody. It may be called concurrently.
	Observe func(Sent)
}

// People knows who is who in the workspace, and who may confirm. What cannot be read
// is refused.
//
// A person is known by the organisation's id, or the workspace's where there is none,
// and the user's id. Names prove nothing.
type People struct {
	c         *client
	approvers []string

	homes   flights[identity]
	users   flights[*slack.User]
	members flights[[]string]
	handles flights[map[string]string]

	mu     sync.Mutex
	home   identity
	known  map[string]profile
	seemed map[string]seeming // by [People.Seems]
	called map[string]string  // what user groups are called, by id
	asked  time.Time          // when that was read
}

// profile is a person as seen at a time.
type profile struct {
	user *slack.User
	at   time.Time
}

// NewPeople returns a People that asks Slack nothing yet.
func NewPeople(o PeopleOptions) *People {
	return newPeople(newClient(clientOptions{Token: o.Token, URL: o.URL, HTTP: o.HTTP, Now: o.Now, Log: o.Log, Observe: o.Observe}), o.Approvers)
}

// newPeople shares a client, and so its limits, with the rest of the door.
func newPeople(c *client, approvers []string) *People {
	return &People{c: c, approvers: slices.Clone(approvers), known: make(map[string]profile)}
}

// Actor gives the actor for an identity that Slack has signed. Guests, strangers,
// bots, deleted users and those of other workspaces can do nothing at all. What Slack
// said of a person may be a minute old.
func (p *People) Actor(ctx context.Context, team, enterprise, user string) (policy.Actor, error) {
	home, err := p.at(ctx)
	if err != nil {
		return policy.Actor{}, unread("who you are", err)
	}
	if !home.signed(team, enterprise) {
		return policy.Actor{}, stranger()
	}
	if err := person(user); err != nil {
		return policy.Actor{}, err
	}
	u, err := p.seen(ctx, user)
	if err != nil {
		return policy.Actor{}, unread("who you are", err)
	}
	if err := home.admits(u); err != nil {
		return policy.Actor{}, err
	}
	if !home.from(team, u) {
		return policy.Actor{}, stranger()
	}
	return policy.Actor{
		Door: policy.DoorSlack, Subject: home.key() + ":" + u.ID, Name: nameOf(u), Vouched: vouchedSlack,
	}, nil
}

// at tells which workspace this is. It is read once, and again where that failed.
func (p *People) at(ctx context.Context) (identity, error) {
	p.mu.Lock()
	home := p.home
	p.mu.Unlock()
	if home.Team != "" {
		return home, nil
	}
	return p.homes.get(ctx, "", func(ctx context.Context) (identity, error) {
		home, err := p.c.who(ctx)
		if err == nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.home = home
		}
		return home, err
	})
}

// seen is a person as of the last minute.
func (p *People) seen(ctx context.Context, user string) (*slack.User, error) {
	p.mu.Lock()
	s, ok := p.known[user]
	p.mu.Unlock()
	if ok && p.c.now().Sub(s.at) < knownFor {
		return s.user, nil
	}
	return p.live(ctx, user)
}

// live is a person as of now: what is read after the call began.
func (p *People) live(ctx context.Context, user string) (*slack.User, error) {
	return p.users.get(ctx, user, func(ctx context.Context) (*slack.User, error) {
		at := p.c.now()
		u, err := p.c.user(ctx, user)
		p.mu.Lock()
		defer p.mu.Unlock()
		if err != nil {
			delete(p.known, user) // an old answer must not outlive a refusal
			return nil, err
		}
		if len(p.known) >= maxKnown {
			clear(p.known)
		}
		p.known[user] = profile{user: u, at: at}
		return u, nil
	})
}

// user is users.info.
func (c *client) user(ctx context.Context, id string) (u *slack.User, err error) {
	err = c.call(ctx, "users.info", "", askers, func(ctx context.Context) error {
		var err error
		u, err = c.api.GetUserInfoContext(ctx, id)
		return wholeAnswer(err, u != nil && u.ID == id)
	})
	return u, err
}

// userShape is what a person's id looks like.
var userShape = regexp.MustCompile(`^[UW][A-Z0-9]{1,30}$`)

// person refuses what is no person's id.
func person(user string) error {
	if user == slackbotUser {
		return bot()
	}
	if !userShape.MatchString(user) {
		return policy.Errorf(policy.Forbidden, "Slack did not say who you are; nothing was done")
	}
	return nil
}

// key is what people of this workspace are known by.
func (i identity) key() string {
	if i.Enterprise != "" {
		return i.Enterprise
	}
	return i.Team
}

// signed tells whether a signed identity may be one of this workspace. Inside an
// organisation the workspace may be another one; whether the person belongs to this
// one as well, [identity.admits] tells. An organisation that is not the known one is
// refused also in this workspace: nobody may count under two keys.
func (i identity) signed(team, enterprise string) bool {
	switch {
	case enterprise != "" && enterprise != i.Enterprise:
		return false
	case enterprise != "":
		return team != ""
	default: // some payloads have the organisation's id where the workspace's is
		return team != "" && (team == i.Team || team == i.Enterprise)
	}
}

// from tells whether the workspace of a signed identity is one that a person belongs
// to: inside an organisation it may be another one than this.
func (i identity) from(team string, u *slack.User) bool {
	return team == i.Team || i.Enterprise != "" && (team == i.Enterprise || team == u.TeamID || slices.Contains(u.Enterprise.Teams, team))
}

// admits tells whether a person may do anything here, by what Slack says now.
func (i identity) admits(u *slack.User) error {
	switch {
	case u.IsStranger || !i.has(u):
		return stranger()
	case u.Deleted:
		return policy.Errorf(policy.Forbidden, "your account in this workspace is deactivated, so you can do nothing with vpsguard")
	case u.IsBot, u.IsWorkflowBot, u.IsConnectorBot, u.ID == slackbotUser:
		return bot()
	case u.IsRestricted, u.IsUltraRestricted:
		return policy.Errorf(policy.Forbidden, "guests of this workspace can do nothing with vpsguard").
			WithHint("Ask a full member of the workspace.")
	default:
		return nil
	}
}

// has tells whether a person belongs to this workspace. In an organisation, Slack may
// name another of the person's workspaces as theirs.
func (i identity) has(u *slack.User) bool {
	return u.TeamID != "" && u.TeamID == i.Team ||
		i.Enterprise != "" && u.Enterprise.EnterpriseID == i.Enterprise &&
			(slices.Contains(u.Enterprise.Teams, i.Team) || i.Team == i.Enterprise)
}

func stranger() error {
	return policy.Errorf(policy.Forbidden, "only members of the workspace that vpsguard is installed in can do anything with it")
}

func bot() error {
	return policy.Errorf(policy.Forbidden, "bots and workflows can do nothing with vpsguard").WithHint("A person has to do it.")
}

// nobodyCodes mean that Slack knows no such person here.
var nobodyCodes = []string{"user_not_found", "user_not_visible", "users_not_found"}

// unread says that Slack could not be asked, or knows nobody of that id.
func unread(what string, err error) error {
	if slices.Contains(nobodyCodes, slackCode(err)) {
		return stranger()
	}
	e := policy.Errorf(policy.Unavailable, "Slack could not be asked %s (%s); nothing was done", what, why(err))
	return e.WithHint("%s", said(err).Hint).Because(err)
}

// why is Slack's word for what went wrong, for people.
func why(err error) string {
	if w := slackCode(err); w != "" {
		return w
	}
	return codeNoAnswer
}

// nameOf is what a person is called. It proves nothing.
func nameOf(u *slack.User) string {
	for _, name := range []string{u.Profile.DisplayName, u.Profile.RealName, u.RealName, u.Name} {
		if name = policy.Clean(name, 80); name != "" {
			return name
		}
	}
	return u.ID
}

// subject takes an actor's subject apart.
func subject(by policy.Actor) (key, user string) {
	if by.Door != policy.DoorSlack {
		return "", ""
	}
	key, user, _ = strings.Cut(by.Subject, ":")
	return key, user
}
