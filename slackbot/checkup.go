package slackbot

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"

	"github.com/vpsguard/vpsguard/policy"
)

// CheckupOptions are the settings that [Checkup] looks at.
type CheckupOptions struct {
	BotToken, AppToken, SigningSecret string
	Channel                           string
	Approvers                         []string
	Ruled                             []string // approvers whom rules name

	URL  string // of the Web API; "" is Slack's own
	HTTP *http.Client
	Now  func() time.Time
}

// Finding is what was found about one thing. It holds no secret.
type Finding struct {
	What  string // what was looked at
	OK    bool   // the door works with it
	Warn  bool   // it works, but somebody should look at it
	Found string // how it is
	Fix   string // what to do about it; "" where nothing is
}

// checkup collects findings.
type checkup struct {
	o     CheckupOptions
	c     *client
	home  identity
	grant []string // scopes
	found []Finding
}

// Checkup asks Slack about everything the door needs, for vpsguard doctor. It changes
// nothing and posts nothing. For a moment it opens a Socket Mode connection, as only
// that tells how many others there are.
func Checkup(ctx context.Context, o CheckupOptions) []Finding {
	c := &checkup{o: o, c: newClient(clientOptions{Token: o.BotToken, URL: o.URL, HTTP: o.HTTP, Now: o.Now})}
	works := c.token(ctx)
	if works {
		c.scopes()
	}
	c.socket(ctx)
	c.secret()
	if works {
		c.channel(ctx)
		c.approvers(ctx)
	}
	return c.found
}

func (c *checkup) fine(what, format string, args ...any) {
	c.found = append(c.found, Finding{What: what, OK: true, Found: fmt.Sprintf(format, args...)})
}

func (c *checkup) warn(what, found, fix string) {
	c.found = append(c.found, Finding{What: what, OK: true, Warn: true, Found: found, Fix: fix})
}

func (c *checkup) wrong(what, found, fix string) {
	c.found = append(c.found, Finding{What: what, Found: found, Fix: fix})
}

const botTokenFix = "Copy the Bot User OAuth Token (xoxb-…) from the app's page, OAuth & Permissions, to VPSGUARD_SLACK_BOT_TOKEN."

// token tells whether the bot token works.
func (c *checkup) token(ctx context.Context) bool {
	const what = "bot token"
	if c.o.BotToken == "" {
		c.wrong(what, "VPSGUARD_SLACK_BOT_TOKEN is not set", botTokenFix)
		return false
	}
	sent := c.o.Now()
	resp, err := c.c.authTest(ctx)
	switch {
	case lockedOut(err):
		c.wrong(what, "Slack does not accept it ("+why(err)+")", botTokenFix)
		return false
	case err != nil:
		c.wrong(what, "Slack could not be asked ("+why(err)+")", "See that this host reaches https://slack.com, and try again.")
		return false
	case resp.BotID == "" || strings.HasPrefix(c.o.BotToken, "xoxp-"):
		c.wrong(what, "it is a person's token, so vpsguard would act in that person's name", botTokenFix)
		return false
	case strings.HasPrefix(c.o.BotToken, "xoxe"):
		c.warn(what, "it is one of those that end after 12 hours", "Turn token rotation off for the app and install it again; vpsguard does not renew tokens.")
	case resp.TeamID == resp.EnterpriseID:
		c.warn(what, "the app is installed for a whole organisation, where user groups cannot be read", "Install it in one workspace.")
	default:
		c.fine(what, "works, as %s in %s (%s)", policy.Clean(resp.User, 80), policy.Clean(resp.Team, 80), policy.Clean(resp.TeamID, 30))
	}
	c.home = identity{Team: resp.TeamID, Enterprise: resp.EnterpriseID, BotUser: resp.UserID, BotID: resp.BotID, URL: resp.URL}
	for _, s := range strings.Split(resp.Header.Get("X-OAuth-Scopes"), ",") {
		if s = strings.TrimSpace(s); s != "" {
			c.grant = append(c.grant, s)
		}
	}
	c.clock(resp.Header.Get("Date"), sent)
	return true
}

const (
	skewWarns = time.Minute
	// skewBreaks is what Slack's signatures allow.
	skewBreaks = 5 * time.Minute
)

// clock compares this host's clock with Slack's.
func (c *checkup) clock(date string, sent time.Time) {
	const what = "clock"
	const fix = "Set this host's clock, with NTP; signed requests of a time more than 5 minutes away are refused."
	theirs, err := http.ParseTime(date)
	if err != nil {
		c.warn(what, "Slack did not tell the time", "")
		return
	}
	// Slack's time is one between sending and now, in whole seconds.
	var off time.Duration
	now := c.o.Now()
	late := "behind"
	switch {
	case theirs.Add(time.Second).Before(sent):
		off, late = sent.Sub(theirs), "ahead of"
	case theirs.After(now):
		off = theirs.Sub(now)
	}
	found := fmt.Sprintf("%s %s Slack's", policy.Span(off), late)
	switch {
	case off > skewBreaks:
		c.wrong(what, found, fix)
	case off > skewWarns:
		c.warn(what, found, fix)
	default:
		c.fine(what, "agrees with Slack's")
	}
}

// scopes compares what was granted with what the door needs.
func (c *checkup) scopes() {
	const what = "scopes"
	var missing, more []string
	for _, s := range neededScopes {
		if !slices.Contains(c.grant, s) {
			missing = append(missing, s)
		}
	}
	for _, s := range c.grant {
		if !slices.Contains(neededScopes, s) && !slices.Contains(usefulScopes, s) {
			more = append(more, policy.Clean(s, 60))
		}
	}
	switch {
	case len(c.grant) == 0:
		c.warn(what, "Slack did not tell which were granted", "")
	case len(missing) > 0:
		c.wrong(what, "missing: "+strings.Join(missing, ", "),
			"Add them on the app's page, OAuth & Permissions, Bot Token Scopes, and install the app again.")
	case len(more) > 0:
		c.warn(what, "more than needed: "+strings.Join(more, ", "),
			"Remove them on the app's page, OAuth & Permissions: who gets hold of the token gets these too.")
	default:
		c.fine(what, "%s", strings.Join(c.grant, ", "))
	}
}

// helloWithin is how long a socket may take to say hello.
const helloWithin = 10 * time.Second

// socket opens a connection and reads how many there are.
func (c *checkup) socket(ctx context.Context) {
	const what = "app token"
	const fix = "Make an app-level token (xapp-…) with the scope connections:write on the app's page, Basic Information, " +
		"set VPSGUARD_SLACK_APP_TOKEN to it, and turn Socket Mode on."
	switch {
	case c.o.AppToken == "" && c.o.SigningSecret == "":
		c.wrong("way in", "neither VPSGUARD_SLACK_APP_TOKEN nor VPSGUARD_SLACK_SIGNING_SECRET is set, so nothing of Slack's arrives", fix)
		return
	case c.o.AppToken == "":
		return
	}
	api := slack.New("", slack.OptionAppLevelToken(c.o.AppToken), slack.OptionAPIURL(c.c.url), slack.OptionHTTPClient(c.c.http))
	// The first call is for what goes wrong: the client below would try for ever.
	if err := c.c.call(ctx, "apps.connections.open", "", askers, func(ctx context.Context) error {
		_, url, err := api.StartSocketModeContext(ctx)
		return wholeAnswer(err, url != "")
	}); err != nil {
		c.wrong(what, "no connection can be opened ("+why(err)+")", fix)
		return
	}
	others, ok := hello(ctx, api)
	switch {
	case !ok:
		c.wrong(what, "Slack gives an address, but no websocket can be opened there", "See that this host reaches wss://wss-primary.slack.com, also through its proxy.")
	case others > 0:
		c.warn(what, fmt.Sprintf("works; connections that are open beside this one: %d", others),
			"A running vpsguard has two. Where there are others, another program uses the same token and gets part of what people press: give it an app of its own.")
	default:
		c.fine(what, "works, and nobody else uses it")
	}
}

// hello opens a connection and tells how many others there are. It ends at once,
// before Slack has much of an occasion to send something there.
func hello(ctx context.Context, api *slack.Client) (others int, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, helloWithin)
	over := make(chan struct{})
	s := socketmode.New(api)
	go func() {
		defer close(over)
		_ = s.RunContext(ctx)
	}()
	defer func() { cancel(); <-over }()
	for tries := 0; tries < 2; {
		select {
		case e := <-s.Events:
			switch {
			case e.Type == socketmode.EventTypeHello && e.Request != nil:
				return max(e.Request.NumConnections-1, 0), true
			case e.Type == socketmode.EventTypeConnecting:
				tries++ // slack-go begins again without a pause where a socket ends at once
			case e.Type == socketmode.EventTypeConnectionError:
				return 0, false
			}
		case <-over:
			return 0, false
		case <-ctx.Done():
			return 0, false
		}
	}
	return 0, false
}

var secretShape = regexp.MustCompile(`^[0-9a-f]{32}$`)

// secret looks at the signing secret's form; whether it is the right one, only a
// signed request tells.
func (c *checkup) secret() {
	const what = "signing secret"
	switch {
	case c.o.SigningSecret == "":
	case slices.ContainsFunc(strings.Split(c.o.SigningSecret, ","), func(s string) bool { return !secretShape.MatchString(strings.Trim(s, " ")) }):
		c.wrong(what, "it does not look like one: 32 digits and letters a to f",
			"Copy the Signing Secret from the app's page, Basic Information, to VPSGUARD_SLACK_SIGNING_SECRET; not the Client Secret or the Verification Token.")
	default:
		c.fine(what, "well-formed")
	}
}

// channel looks at where cards are posted.
func (c *checkup) channel(ctx context.Context) {
	const what = "channel"
	const fix = "Set VPSGUARD_SLACK_CHANNEL to the id (C…) of a channel and invite vpsguard there: /invite @vpsguard"
	id := policy.Clean(c.o.Channel, 40)
	if id == "" {
		c.wrong(what, "VPSGUARD_SLACK_CHANNEL is not set", fix)
		return
	}
	if !slices.ContainsFunc(usefulScopes, func(s string) bool { return slices.Contains(c.grant, s) }) {
		c.glimpse(ctx, id, fix)
		return
	}
	var ch *slack.Channel
	err := c.c.call(ctx, "conversations.info", "", askers, func(ctx context.Context) error {
		var err error
		ch, err = c.c.api.GetConversationInfoContext(ctx, &slack.GetConversationInfoInput{ChannelID: c.o.Channel})
		return wholeAnswer(err, ch != nil && ch.ID != "")
	})
	switch {
	case slackCode(err) == "missing_scope": // the one for the other sort of channel
		c.glimpse(ctx, id, fix)
	case slackCode(err) == "channel_not_found":
		c.wrong(what, id+" does not exist, or is private and vpsguard is not in it", fix)
	case err != nil:
		c.wrong(what, id+" could not be looked at ("+why(err)+")", "Try again.")
	case ch.IsArchived:
		c.wrong(what, id+" is archived", fix)
	case !ch.IsMember:
		c.wrong(what, "vpsguard is not in "+id, fix)
	case ch.IsExtShared || ch.IsPendingExtShared:
		c.warn(what, id+" is shared with another company, whose people see every card", "Use a channel that is not shared; they can press, but never do anything.")
	default:
		c.fine(what, "vpsguard is in #%s (%s)", policy.Clean(ch.Name, 80), id)
	}
}

// glimpse finds out about a channel what needs no scope: whether it can be seen.
// There is no message at the time 1, and what Slack then says tells the two apart.
func (c *checkup) glimpse(ctx context.Context, id, fix string) {
	const what = "channel"
	_, err := c.c.permalink(ctx, c.o.Channel, "0000000001.000000")
	switch slackCode(err) {
	case "message_not_found":
		c.warn(what, id+" exists; whether vpsguard is in it, and whether it is shared with another company, cannot be told without the scope channels:read, or groups:read where it is private",
			"Look in Slack: vpsguard has to be among the channel's apps (/invite @vpsguard). Or grant the scope.")
	case "channel_not_found":
		c.wrong(what, id+" does not exist, or is private and vpsguard is not in it", fix)
	default:
		c.wrong(what, id+" could not be looked at ("+why(err)+")", "Try again.")
	}
}

// approvers looks at each entry of the list.
func (c *checkup) approvers(ctx context.Context) {
	if len(c.o.Approvers) == 0 {
		c.wrong("approvers", "VPSGUARD_SLACK_APPROVERS is empty, so nobody may confirm", "Set it to the ids of people (U…) or user groups (S…).")
		return
	}
	named := map[string]string{} // what names each
	all := slices.Clone(c.o.Approvers)
	for _, id := range all {
		named[id] = settingApprovers
	}
	for _, id := range c.o.Ruled {
		if named[id] == "" {
			named[id] = ruleFile
			all = append(all, id)
		}
	}
	var groups []slack.UserGroup
	var err error
	if slices.ContainsFunc(all, isGroup) {
		groups, err = c.c.groups(ctx)
	}
	for _, id := range all {
		what := "approver " + policy.Clean(id, 40)
		switch {
		case !ValidApprover(id):
			c.wrong(what, "it is neither a person's id (U…, W…) nor a user group's (S…)",
				"In Slack, open the person's profile, or the group, and choose \"Copy member ID\" or \"Copy group ID\".")
		case isGroup(id) && err != nil:
			c.wrong(what, "it could not be read ("+why(err)+")", groupHint(err, named[id]))
		case isGroup(id):
			c.group(what, id, named[id], groups)
		default:
			c.person(ctx, what, id, named[id])
		}
	}
}

func (c *checkup) person(ctx context.Context, what, id, named string) {
	fix := "Remove it from " + named + "."
	u, err := c.c.user(ctx, id)
	if slices.Contains(nobodyCodes, slackCode(err)) {
		c.wrong(what, "nobody in this workspace has this id", fix)
		return
	}
	if err != nil {
		c.wrong(what, "Slack could not be asked ("+why(err)+")", said(err).Hint)
		return
	}
	if c.home.admits(u) != nil {
		c.wrong(what, nameOf(u)+" is deactivated, a guest, a bot, or of another workspace, and can never confirm", fix)
		return
	}
	c.fine(what, "%s", nameOf(u))
}

func (c *checkup) group(what, id, named string, all []slack.UserGroup) {
	i := slices.IndexFunc(all, func(g slack.UserGroup) bool { return g.ID == id })
	if i < 0 {
		c.wrong(what, "no user group has this id", "Correct "+named+".")
		return
	}
	g, name := all[i], "@"+policy.Clean(all[i].Handle, 80)
	switch {
	case g.DateDelete != 0:
		c.wrong(what, name+" is disabled", "Enable the group, or correct "+named+".")
	case g.UserCount == 0:
		c.wrong(what, name+" has no members", "Add the people who may confirm to the group.")
	case !g.IsIDPGroup && !g.IsMembershipLocked:
		c.warn(what, fmt.Sprintf("%s, members: %d; anyone who may edit this group can make themselves an approver", name, g.UserCount),
			"Let only admins edit user groups (Slack's settings, Permissions), or name the people themselves.")
	default:
		c.fine(what, "%s, members: %d", name, g.UserCount)
	}
}
