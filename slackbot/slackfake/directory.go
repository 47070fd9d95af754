package slackfake

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strconv"
)

func (f *Fake) authTest(args) answer {
	a := answer{
		"ok": true, "url": "https://example.slack.com/", "team": "Example Ltd", "user": f.users[Bot].Name,
		"team_id": Team, "user_id": Bot, "bot_id": BotID, "is_enterprise_install": false,
	}
	if f.o.Enterprise != "" {
		a["enterprise_id"] = f.o.Enterprise
	}
	return a
}

func (f *Fake) usersInfo(in args) answer {
	u := f.users[in.str("user")]
	switch {
	case u == nil:
		return fail("user_not_found")
	case u.Hidden:
		return fail("user_not_visible")
	}
	return answer{"ok": true, "user": u.json(f.o.Now())}
}

func (f *Fake) usergroupsList(in args) answer {
	if f.o.FreePlan {
		return fail("plan_upgrade_required")
	}
	list := []map[string]any{}
	for _, g := range f.groups {
		if !g.Disabled || in.yes("include_disabled") {
			list = append(list, g.json(in.yes("include_users")))
		}
	}
	slices.SortFunc(list, func(a, b map[string]any) int { return cmp.Compare(text(a, "id"), text(b, "id")) })
	return answer{"ok": true, "usergroups": list}
}

func (f *Fake) usergroupsUsersList(in args) answer {
	if f.o.FreePlan {
		return fail("plan_upgrade_required")
	}
	g := f.groups[in.str("usergroup")]
	if g == nil || g.Disabled && !in.yes("include_disabled") {
		return fail("no_such_subteam")
	}
	return answer{"ok": true, "users": append([]string{}, g.Users...)}
}

func (f *Fake) conversationsInfo(in args) answer {
	c, code := f.conversation(in.str("channel"))
	if code != "" {
		return fail(code)
	}
	return answer{"ok": true, "channel": c.json(in.yes("include_num_members"))}
}

func (f *Fake) conversationsMembers(in args) answer {
	c, code := f.conversation(in.str("channel"))
	if code != "" {
		return fail(code)
	}
	limit, from := in.number("limit", 100), 0
	if cursor := in.str("cursor"); cursor != "" {
		b, err := base64.StdEncoding.DecodeString(cursor)
		n, err2 := strconv.Atoi(string(b))
		if err != nil || err2 != nil || n < 0 || n > len(c.Members) {
			return fail("invalid_cursor")
		}
		from = n
	}
	if limit < 1 || limit > 1000 {
		return fail("invalid_limit")
	}
	to, next := from+limit, ""
	if to < len(c.Members) {
		next = base64.StdEncoding.EncodeToString([]byte(strconv.Itoa(to)))
	}
	members := append([]string{}, c.Members[from:min(to, len(c.Members))]...)
	return answer{"ok": true, "members": members, "response_metadata": map[string]any{"next_cursor": next}}
}

func (a args) number(key string, usual int) int {
	switch v := a[key].(type) {
	case float64:
		return int(v)
	case string:
		if n, err := strconv.Atoi(v); err == nil {
			return n
		}
	}
	return usual
}

func (f *Fake) conversationsJoin(in args) answer {
	c, code := f.conversation(in.str("channel"))
	switch {
	case code != "":
		return fail(code)
	case c.Archived:
		return fail("is_archived")
	case c.Private || c.Direct:
		return fail("method_not_supported_for_channel_type")
	}
	if !c.has(Bot) {
		c.Members = append(c.Members, Bot)
	}
	return answer{"ok": true, "channel": c.json(false)}
}

func (f *Fake) conversationsOpen(in args) answer {
	u := f.users[in.str("users")]
	if u == nil {
		return fail("user_not_found")
	}
	return answer{"ok": true, "channel": map[string]any{"id": f.direct(u).ID}}
}
