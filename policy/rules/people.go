package rules

import (
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/vpsguard/vpsguard/policy"
)

// people map identities of doors to persons.
type people struct {
	slack  map[string]string // by user id
	users  map[string]string // by the name of a user of the host
	whole  map[string]string // by "name (uid 1000)"
	agents map[string]string // by subject, or by what is behind its last colon
	names  map[string]int    // the line of each person
}

// Person is the name of the person whom an identity is mapped to, "" if there is
// none. What an MCP client calls itself never counts. A credential that was made for
// somebody is theirs if they are among people, and nobody's if these say otherwise.
func (r *Rules) Person(a policy.Actor) string { return r.people.person(a) }

// Knows tells whether a person is among people, by exactly that name.
func (r *Rules) Knows(name string) bool { return r.people.names[name] > 0 }

func (p people) person(a policy.Actor) string {
	mapped := p.mapped(a)
	switch {
	case a.Person == "" || a.Person == mapped:
		return mapped
	case mapped == "" && p.names[a.Person] > 0:
		return a.Person
	default:
		return ""
	}
}

// mapped is whom people say an identity is.
func (p people) mapped(a policy.Actor) string {
	switch a.Door {
	case policy.DoorSlack:
		_, user, ok := strings.Cut(a.Subject, ":")
		if !ok {
			return ""
		}
		return p.slack[user]
	case policy.DoorTerminal:
		if name, ok := userOf(a.Subject); ok {
			if who := p.whole[a.Subject]; who != "" {
				return who
			}
			return p.users[name]
		}
		return p.users[a.Subject]
	case policy.DoorMCP:
		if who := p.agents[a.Subject]; who != "" {
			return who
		}
		return p.agents[agentOf(a.Subject)]
	default:
		return ""
	}
}

// userOf takes "ada (uid 1000)" apart.
func userOf(subject string) (string, bool) {
	i := strings.LastIndex(subject, " (uid ")
	if i < 0 || !strings.HasSuffix(subject, ")") {
		return "", false
	}
	return subject[:i], true
}

// agentOf is what is behind the last colon of an MCP actor's subject. Whoever signs in
// with an issuer may have chosen what stands there, so it has no short form.
func agentOf(subject string) string {
	if strings.HasPrefix(subject, "oidc:") {
		return subject
	}
	return subject[strings.LastIndex(subject, ":")+1:]
}

// isGroup tells whether an approver, checked when it was read, is a Slack user group.
func isGroup(id string) bool { return strings.HasPrefix(id, "S") }

// count tells how many persons are on a list, without one; not countable are
// groups and the terminal.
func (p people) count(list []string, without string) (n int, countable bool) {
	persons := map[string]bool{}
	for _, id := range list {
		if isGroup(id) || id == terminal {
			return 0, false
		}
		persons[p.owner(id)] = true
	}
	delete(persons, without)
	return len(persons), true
}

// owner names the person behind a Slack user, or the user where there is none.
func (p people) owner(id string) string {
	if who := p.slack[id]; who != "" {
		return "person " + who
	}
	return "user " + id
}

// requester names who asked as [people.owner] does.
func (p people) requester(a policy.Actor) string {
	if who := p.person(a); who != "" {
		return "person " + who
	}
	if _, user, ok := strings.Cut(a.Subject, ":"); ok && a.Door == policy.DoorSlack {
		return "user " + user
	}
	return ""
}

// people reads the list of people.
func (r *reader) people(e entry) people {
	names := map[string]int{}
	p := people{map[string]string{}, map[string]string{}, map[string]string{}, map[string]string{}, names}
	longer, tails := map[string][]string{}, map[string][]string{} // who has a long identity that ends so
	for _, n := range r.list(e, "people") {
		keys := r.mapping(n, "a person", "name", "slack", "terminal", "agents")
		if !r.named(n, keys, "a person") {
			return p
		}
		who := r.sentence(keys["name"], mostName)
		if before := names[who]; before > 0 {
			r.fail(keys["name"].at, "%s is in line %d already; one entry has all identities of a person", who, before)
		}
		names[who] = r.start(n).line
		if len(keys) == 1 {
			r.fail(r.start(n), "%s has no identity; add slack, terminal or agents", who)
		}
		r.identities(keys["slack"], func(id string, at pos) {
			if !slackUser.MatchString(id) {
				r.fail(at, "a Slack user is an id such as U012ABCDE or W012ABCDE, not %q", policy.Clean(id, 40))
			}
			r.maps(p.slack, id, who, at)
		})
		r.identities(keys["terminal"], func(id string, at pos) {
			if name, ok := userOf(id); ok {
				r.long(p.whole, p.users, longer, id, name, who, at)
			} else {
				r.short(p.users, longer, id, who, at)
			}
		})
		r.identities(keys["agents"], func(id string, at pos) {
			if name := agentOf(id); name != id {
				r.long(p.agents, p.agents, tails, id, name, who, at)
			} else {
				r.short(p.agents, tails, id, who, at)
			}
		})
		if r.err != nil {
			return p
		}
	}
	return p
}

// identities reads a text or a list of them.
func (r *reader) identities(e entry, use func(id string, at pos)) {
	if !e.there() || r.err != nil {
		return
	}
	nodes := []ast.Node{e.node}
	if s, ok := e.node.(*ast.SequenceNode); ok {
		if nodes = s.Values; len(nodes) == 0 {
			r.fail(r.start(s), "`%s` is an empty list; name one or leave it out", e.key)
		}
	}
	for _, n := range nodes {
		s, ok := n.(*ast.StringNode)
		switch {
		case !ok:
			r.fail(r.start(n), "`%s` is text or a list of texts, not %s; put it in quotes where it looks like something else", e.key, kind(n))
		case s.Value == "" || policy.Clean(s.Value, 200) != s.Value:
			r.fail(r.start(n), "`%s` has an identity that is empty, too long or cannot be seen", e.key)
		default:
			use(s.Value, r.start(n))
		}
		if r.err != nil {
			return
		}
	}
}

// long maps an identity that one actor may have together with a short one.
func (r *reader) long(to, shorts map[string]string, longs map[string][]string, id, name, who string, at pos) {
	r.clash(shorts[name], name, who, at)
	r.maps(to, id, who, at)
	longs[name] = append(longs[name], who)
}

// short maps an identity that may be the short form of others.
func (r *reader) short(to map[string]string, longs map[string][]string, id, who string, at pos) {
	for _, other := range longs[id] {
		r.clash(other, id, who, at)
	}
	r.maps(to, id, who, at)
}

// maps gives an identity to a person, once.
func (r *reader) maps(to map[string]string, id, who string, at pos) {
	r.clash(to[id], id, who, at)
	if to[id] == who {
		r.fail(at, "%s is there twice; once is enough", policy.Clean(id, 80))
	}
	to[id] = who
}

// clash refuses an identity that is somebody else's.
func (r *reader) clash(other, id, who string, at pos) {
	if other != "" && other != who {
		r.fail(at, "%s is %s's already; an identity is one person's", policy.Clean(id, 80), other)
	}
}
