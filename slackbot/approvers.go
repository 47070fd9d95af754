package slackbot

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/vpsguard/vpsguard/policy"
)

// approverShape is a person's id or a user group's.
var approverShape = regexp.MustCompile(`^[UWS][A-Z0-9]{1,30}$`)

// ValidApprover tells whether an entry of VPSGUARD_SLACK_APPROVERS is the id of a
// person (U…, W…) or of a user group (S…). Names and handles are not: they change.
func ValidApprover(id string) bool { return approverShape.MatchString(id) && id != slackbotUser }

// Approvers are those who may confirm, as configured.
func (p *People) Approvers() []string { return slices.Clone(p.approvers) }

// Vouch returns nil when an actor may confirm now: somebody on the list, or in a user
// group on it, who may do anything here at all. Slack is asked each time, after the
// call began; nothing remembered counts. What cannot be read vouches for nobody.
func (p *People) Vouch(ctx context.Context, by policy.Actor) error {
	if len(p.approvers) == 0 {
		return policy.Errorf(policy.Forbidden, "nobody may confirm in Slack: VPSGUARD_SLACK_APPROVERS is empty")
	}
	home, err := p.at(ctx)
	if err != nil {
		return unread("whether you may confirm", err)
	}
	key, user := subject(by)
	if key != home.key() {
		return stranger()
	}
	if err := person(user); err != nil {
		return err
	}
	if err := p.listed(ctx, user); err != nil {
		return err
	}
	u, err := p.live(ctx, user)
	if err != nil {
		return unread("who you are", err)
	}
	return home.admits(u)
}

// Vouches is [policy.Config].Vouch: whether an actor may confirm in Slack now, and
// which entries of some lists they are.
func (p *People) Vouches(ctx context.Context, w policy.Way, by policy.Actor, among [][]string) ([]string, error) {
	if w != policy.WaySlack {
		return nil, policy.Errorf(policy.Forbidden, "nobody may confirm that way here")
	}
	if err := p.Vouch(ctx, by); err != nil {
		return nil, err
	}
	return p.Among(ctx, by, among)
}

// Among tells which entries of some lists, ids of people and of user groups, an actor
// is now. Groups are read as for [People.Vouch]. Nobody is in one that cannot be read;
// it is an error where only that group could have put them on a list.
func (p *People) Among(ctx context.Context, by policy.Actor, lists [][]string) (as []string, err error) {
	_, user := subject(by)
	unread := map[string]error{}
	entries := slices.Concat(lists...)
	slices.Sort(entries)
	for _, entry := range slices.Compact(entries) {
		is := entry == user
		if isGroup(entry) {
			is, unread[entry] = p.isIn(ctx, entry, user, ruleFile)
		}
		if is {
			as = append(as, entry)
		}
	}
	for _, list := range lists {
		if slices.ContainsFunc(list, func(entry string) bool { return slices.Contains(as, entry) }) {
			continue
		}
		for _, entry := range list {
			if err := unread[entry]; err != nil {
				return nil, err
			}
		}
	}
	return as, nil
}

// seemsFor is how long an answer of [People.Seems] holds.
const seemsFor = 20 * time.Second

// Seems tells what [People.Vouch] told of an actor a moment ago, or asks it. It is
// for opening forms, where presses may be many; whoever submits one is asked anew.
func (p *People) Seems(ctx context.Context, by policy.Actor) error {
	now := p.c.now()
	p.mu.Lock()
	was, ok := p.seemed[by.Subject]
	p.mu.Unlock()
	if age := now.Sub(was.at); ok && age >= 0 && age < seemsFor {
		return was.err
	}
	err := p.Vouch(ctx, by)
	if k := policy.KindOf(err); k != "" && k != policy.Forbidden {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seemed == nil || len(p.seemed) > mostSeemed {
		p.seemed = map[string]seeming{}
	}
	p.seemed[by.Subject] = seeming{err, now}
	return err
}

// mostSeemed is how many people are remembered by [People.Seems].
const mostSeemed = 1000

// seeming is what was told of somebody at a time.
type seeming struct {
	err error
	at  time.Time
}

// listed tells whether a person is on the list. A group that cannot be read makes
// nobody an approver, and does not keep others from being one.
func (p *People) listed(ctx context.Context, user string) error {
	if slices.Contains(p.approvers, user) {
		return nil
	}
	var failed error
	for _, group := range p.approvers {
		if !isGroup(group) {
			continue
		}
		in, err := p.isIn(ctx, group, user, settingApprovers)
		if err != nil && failed == nil {
			failed = err
		}
		if in {
			return nil
		}
	}
	if failed != nil {
		return failed
	}
	return policy.Errorf(policy.Forbidden, "you are not one of those who may confirm").WithHint("Ask %s.", p.whoMay(ctx))
}

// isIn tells whether a person is in a user group now, which something names.
func (p *People) isIn(ctx context.Context, group, user, named string) (bool, error) {
	members, err := p.members.get(ctx, group, func(ctx context.Context) ([]string, error) {
		return p.c.groupMembers(ctx, group)
	})
	if err != nil {
		return false, policy.Errorf(policy.Unavailable,
			"whether you may confirm could not be read: Slack does not show the members of user group %s (%s); nothing was done",
			group, why(err)).WithHint("%s", groupHint(err, named)).Because(err)
	}
	return slices.Contains(members, user), nil
}

func isGroup(id string) bool { return strings.HasPrefix(id, "S") }

// What names approvers, for whoever has to correct it.
const (
	settingApprovers = "VPSGUARD_SLACK_APPROVERS"
	ruleFile         = "the rule file"
)

// groupHint tells what to do about a user group that could not be read.
func groupHint(err error, named string) string {
	switch slackCode(err) {
	case "no_such_subteam", "subteam_not_found":
		return "Whoever runs vpsguard has to correct " + named + ": the group does not exist or is disabled."
	case "plan_upgrade_required":
		return "User groups need a paid Slack plan: " + named + " has to name people."
	default:
		return said(err).Hint
	}
}

// groupMembers is usergroups.users.list. A group that is disabled has none.
func (c *client) groupMembers(ctx context.Context, id string) (members []string, err error) {
	err = c.call(ctx, "usergroups.users.list", "", askers, func(ctx context.Context) error {
		var err error
		members, err = c.api.GetUserGroupMembersContext(ctx, id, slack.GetUserGroupMembersOptionIncludeDisabled(false))
		return err
	})
	return members, err
}

// groups is usergroups.list, with those that are disabled.
func (c *client) groups(ctx context.Context) (all []slack.UserGroup, err error) {
	err = c.call(ctx, "usergroups.list", "", askers, func(ctx context.Context) error {
		var err error
		all, err = c.api.GetUserGroupsContext(ctx, slack.GetUserGroupsOptionIncludeDisabled(true), slack.GetUserGroupsOptionIncludeCount(true))
		return err
	})
	return all, err
}

const (
	// namedWithin is how long naming the approvers may take: ids do as well.
	namedWithin = time.Second
	// handlesFor is how old the names of user groups may be.
	handlesFor = 10 * time.Minute
	// mostNamed is how many approvers a refusal names.
	mostNamed = 5
)

// whoMay names the approvers for people; by id where Slack does not say more at once.
func (p *People) whoMay(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, namedWithin)
	defer cancel()
	named := make([]string, 0, mostNamed)
	for _, id := range p.approvers[:min(len(p.approvers), mostNamed)] {
		name := id
		if isGroup(id) {
			if handle := p.handle(ctx, id); handle != "" {
				name = "someone of @" + handle
			}
		} else if u, err := p.seen(ctx, id); err == nil {
			name = nameOf(u)
		}
		named = append(named, name)
	}
	if more := len(p.approvers) - len(named); more > 0 {
		return strings.Join(named, ", ") + ", or another approver"
	}
	if last := len(named) - 1; last > 0 {
		return strings.Join(named[:last], ", ") + " or " + named[last]
	}
	return named[0]
}

// handle is what a user group is called, or "".
func (p *People) handle(ctx context.Context, group string) string {
	p.mu.Lock()
	called, fresh := p.called[group], !p.asked.IsZero() && p.c.now().Sub(p.asked) < handlesFor
	p.mu.Unlock()
	if fresh {
		return called
	}
	names, err := p.handles.get(ctx, "", func(ctx context.Context) (map[string]string, error) {
		all, err := p.c.groups(ctx)
		if err != nil {
			return nil, err
		}
		names := make(map[string]string, len(all))
		for _, g := range all {
			names[g.ID] = policy.Clean(g.Handle, 80)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.called, p.asked = names, p.c.now()
		return names, nil
	})
	if err != nil {
		return ""
	}
	return names[group]
}
