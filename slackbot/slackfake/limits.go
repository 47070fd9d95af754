package slackfake

import (
	"fmt"
	"strconv"
	"time"
)

// Limit is so many calls within a time.
type Limit struct {
	Count int
	Per   time.Duration
}

// The tiers of the Web API's rate limits, for an app in a workspace.
var (
	tier2 = Limit{20, time.Minute}
	tier3 = Limit{50, time.Minute}
	tier4 = Limit{100, time.Minute}
)

// NoLimits are Options.Limits under which nothing is ever answered with 429.
func NoLimits() map[string]Limit {
	out := make(map[string]Limit, len(methods))
	for name := range methods {
		out[name] = Limit{}
	}
	return out
}

// ban is a 429 that was given.
type ban struct{ since, until time.Time }

// underWay is how long after a 429 other calls may come in that were sent before it
// was read.
const underWay = 100 * time.Millisecond

// limit counts a call and tells how long to wait if it is one too many. The limits
// are minimums in the documentation ("50+"); here they hold to the letter, and there
// is no allowance for bursts. The lock is held.
func (f *Fake) limit(name string, usual Limit, in args) time.Duration {
	l, ok := f.o.Limits[name]
	if !ok {
		l = usual
	}
	if l.Count <= 0 {
		return 0
	}
	key := name
	if name == "chat.postMessage" {
		key += " " + in.str("channel")
	}
	now := f.o.Now()
	if b := f.blocked[key]; now.Before(b.until) {
		if now.Sub(b.since) > underWay {
			f.violate("retry-after-ignored", "%s again %v before Retry-After was over", key, b.until.Sub(now))
		}
		return b.until.Sub(now)
	}
	recent := f.used[key][:0]
	for _, t := range f.used[key] {
		if now.Sub(t) < l.Per {
			recent = append(recent, t)
		}
	}
	if len(recent) < l.Count {
		f.used[key] = append(recent, now)
		return 0
	}
	f.used[key] = recent
	wait := l.Per - now.Sub(recent[0])
	// Retry-After has whole seconds.
	f.blocked[key] = ban{since: now, until: now.Add(seconds(wait))}
	return wait
}

func seconds(d time.Duration) time.Duration {
	return (d + time.Second - 1).Truncate(time.Second)
}

// limited is an answer of status 429.
func limited(wait time.Duration) answer {
	a := fail("ratelimited")
	a["retry_after"] = strconv.Itoa(int(seconds(wait) / time.Second))
	return a
}

// problems are what is wrong with blocks or a view, in Slack's words.
type problems []string

func (p *problems) add(at, format string, args ...any) {
	*p = append(*p, fmt.Sprintf(format, args...)+" [json-pointer:"+at+"]")
}

// answer refuses blocks or a view. chat.* name the problems twice.
func (p problems) answer(code string) answer {
	a := fail(code)
	messages := make([]string, len(p))
	for i, s := range p {
		messages[i] = "[ERROR] " + s
	}
	a["response_metadata"] = map[string]any{"messages": messages}
	if code == "invalid_blocks" {
		a["errors"] = []string(p)
	}
	return a
}
