package slackfake

import (
	"fmt"
	"slices"
	"time"
)

// User is a person or a bot.
type User struct {
	ID, Name, RealName string
	// TZ is a name of the tz database; "" means UTC.
	TZ string
	// Team is the workspace the user belongs to; "" means this one.
	Team string

	Bot, Deleted, Admin bool
	// Guest is a multi-channel guest, SingleChannelGuest one of a single channel.
	Guest, SingleChannelGuest bool
	// Stranger is a member of another workspace who is seen only through a shared
	// channel.
	Stranger bool
	// Hidden users are answered with user_not_visible.
	Hidden bool
}

// Channel is a conversation.
type Channel struct {
	ID, Name string
	Private  bool
	Archived bool
	// ExtShared is shared with another organisation.
	ExtShared bool
	// Direct is a conversation of two people.
	Direct bool
	// Restricted lets only some people post; the app is not among them.
	Restricted bool
	// Members are users' ids, the app's own among them where it was invited.
	Members []string
}

// Group is a user group.
type Group struct {
	ID, Handle, Name string
	Users            []string
	Disabled         bool
	// IDP groups come from an identity provider, MembershipLocked ones cannot be
	// joined, of EditingRestricted ones only some may change the members.
	IDP, MembershipLocked, EditingRestricted bool
}

// AddUser adds a user, or replaces the one of that id.
func (f *Fake) AddUser(u User) {
	if u.Team == "" {
		u.Team = Team
	}
	if u.TZ == "" {
		u.TZ = "Etc/UTC"
	}
	if u.Name == "" {
		u.Name = u.ID
	}
	if u.RealName == "" {
		u.RealName = u.Name
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.users[u.ID] = &u
}

// ChangeUser changes a user.
func (f *Fake) ChangeUser(id string, change func(*User)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f.mustUser(id))
}

// AddChannel adds a conversation, or replaces the one of that id.
func (f *Fake) AddChannel(c Channel) {
	if c.Name == "" {
		c.Name = c.ID
	}
	c.Members = slices.Clone(c.Members)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.channels[c.ID] = &c
}

// ChangeChannel changes a conversation: archives it, takes the app out of it.
func (f *Fake) ChangeChannel(id string, change func(*Channel)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f.mustChannel(id))
}

// Kick takes users out of a conversation.
func (f *Fake) Kick(channel string, users ...string) {
	f.ChangeChannel(channel, func(c *Channel) {
		c.Members = slices.DeleteFunc(c.Members, func(u string) bool { return slices.Contains(users, u) })
	})
}

// AddGroup adds a user group, or replaces the one of that id.
func (f *Fake) AddGroup(g Group) {
	if g.Handle == "" {
		g.Handle = g.ID
	}
	if g.Name == "" {
		g.Name = g.Handle
	}
	g.Users = slices.Clone(g.Users)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.groups[g.ID] = &g
}

// ChangeGroup changes a user group.
func (f *Fake) ChangeGroup(id string, change func(*Group)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.groups[id]
	if g == nil {
		panic(fmt.Sprintf("slackfake: no group has the id %q", id))
	}
	change(g)
}

// RevokeToken makes every call with the bot token fail with code, such as
// "token_revoked", "invalid_auth" or "account_inactive"; "" makes it work again.
func (f *Fake) RevokeToken(code string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.revoked = code
}

// RevokeAppToken makes apps.connections.open fail with code, such as "invalid_auth";
// "" makes it work again. Open sockets stay.
func (f *Fake) RevokeAppToken(code string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.noSocket = code
}

// SetScopes changes what the bot token was granted.
func (f *Fake) SetScopes(scopes ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.scopes = slices.Clone(scopes)
}

// mustUser finds a user for a call of a test's own. The lock is held.
func (f *Fake) mustUser(id string) *User {
	u := f.users[id]
	if u == nil {
		panic(fmt.Sprintf("slackfake: nobody has the id %q", id))
	}
	return u
}

// mustChannel is like mustUser.
func (f *Fake) mustChannel(id string) *Channel {
	c := f.channels[id]
	if c == nil {
		panic(fmt.Sprintf("slackfake: no channel has the id %q", id))
	}
	return c
}

func (c *Channel) has(user string) bool { return slices.Contains(c.Members, user) }

func (u *User) location() *time.Location {
	l, err := time.LoadLocation(u.TZ)
	if err != nil {
		return time.UTC
	}
	return l
}

// json is the user as users.info shows it.
func (u *User) json(now time.Time) map[string]any {
	_, offset := now.In(u.location()).Zone()
	m := map[string]any{
		"id": u.ID, "team_id": u.Team, "name": u.Name, "real_name": u.RealName, "deleted": u.Deleted,
		"tz": u.TZ, "tz_label": u.TZ, "tz_offset": offset, "is_admin": u.Admin, "is_owner": false,
		"is_primary_owner": false, "is_restricted": u.Guest || u.SingleChannelGuest,
		"is_ultra_restricted": u.SingleChannelGuest, "is_bot": u.Bot, "is_app_user": false,
		"updated": Epoch.Unix(),
		"profile": map[string]any{
			"real_name": u.RealName, "display_name": u.Name, "team": u.Team,
			"real_name_normalized": u.RealName, "display_name_normalized": u.Name,
		},
	}
	if u.Team != Team || u.Stranger {
		m["is_stranger"] = u.Stranger
	}
	return m
}

func (c *Channel) json(members bool) map[string]any {
	m := map[string]any{
		"id": c.ID, "name": c.Name, "name_normalized": c.Name, "is_channel": !c.Private && !c.Direct,
		"is_group": c.Private && !c.Direct, "is_im": c.Direct, "is_mpim": false, "is_private": c.Private || c.Direct,
		"is_archived": c.Archived, "is_general": false, "is_shared": c.ExtShared, "is_ext_shared": c.ExtShared,
		"is_org_shared": false, "is_pending_ext_shared": false, "is_member": c.has(Bot), "created": Epoch.Unix(),
		"context_team_id": Team, "topic": map[string]any{"value": "", "creator": "", "last_set": 0},
		"purpose": map[string]any{"value": "", "creator": "", "last_set": 0},
	}
	if members {
		m["num_members"] = len(c.Members)
	}
	return m
}

func (g *Group) json(users bool) map[string]any {
	m := map[string]any{
		"id": g.ID, "team_id": Team, "is_usergroup": true, "is_subteam": true, "name": g.Name, "handle": g.Handle,
		"description": "", "is_external": false, "date_create": Epoch.Unix(), "date_update": Epoch.Unix(),
		"date_delete": 0, "auto_type": nil, "created_by": Ada, "updated_by": Ada, "deleted_by": nil,
		"user_count": len(g.Users), "prefs": map[string]any{"channels": []string{}, "groups": []string{}},
		"is_idp_group": g.IDP, "is_membership_locked": g.MembershipLocked, "is_editing_restricted": g.EditingRestricted,
	}
	if g.Disabled {
		m["date_delete"] = Epoch.Unix()
	}
	if users {
		m["users"] = append([]string{}, g.Users...)
	}
	return m
}
