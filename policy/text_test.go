package policy_test

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"

	"github.com/vpsguard/vpsguard/policy"
)

func TestForeignText(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"plain text stays as it is":                   {"web-server-01", "web-server-01"},
		"lines become one":                            {"a\n\nApproved: yes\tb ", "a Approved: yes b"},
		"an escape sequence loses its escape":         {"\x1b[2Jgone", "[2Jgone"},
		"text cannot be turned round":                 {"web\u202egnp.exe", "webgnp.exe"},
		"what takes no room is taken out":             {"pro\u200bd-\u2060web", "prod-web"},
		"fillers that draw as blanks are taken out":   {"a\u3164b\u2800c", "abc"},
		"tags that hide words are taken out":          {"a\U000E0041\U000E0042b", "ab"},
		"marks that draw over other lines are few":    {"a" + strings.Repeat("\u0301\u20dd", 30) + "b", "a\u0301\u20dd\u0301b"},
		"letters keep the marks that they need":       {"Tie\u0302\u0301ng ที่", "Tie\u0302\u0301ng ที่"},
		"broken bytes are shown as such":              {"a\xffb", "a\uFFFDb"},
		"what is too long is cut, by letters":         {strings.Repeat("ß", 50), strings.Repeat("ß", 39) + "…"},
		"a megabyte is not walked to show 40 letters": {strings.Repeat("x", 1<<20), strings.Repeat("x", 39) + "…"},
		"nothing stays nothing":                       {"", ""},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, c.want, policy.Clean(c.in, 40)) })
	}
}

func FuzzForeignText(f *testing.F) {
	f.Add("web\u202e\x1b[31m\n \" \\", 20)
	f.Add(strings.Repeat("𝔘", 100), 3)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		if limit < 3 || limit > 1000 {
			return
		}
		got := policy.Clean(s, limit)
		assert.True(t, utf8.ValidString(got))
		assert.LessOrEqual(t, utf8.RuneCountInString(got), limit)
		assert.Equal(t, got, policy.Clean(got, limit), "cleaning twice changes nothing")
		for _, r := range got {
			assert.False(t, unicode.IsControl(r) || unicode.Is(unicode.Cf, r), "%q", got)
		}
		fit := policy.Fit(s, limit)
		assert.LessOrEqual(t, len(fit)+strings.Count(fit, `"`)+strings.Count(fit, `\`), limit, "%q", fit)
	})
}

func TestSpans(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"2 days 4 hours": 52*time.Hour + 59*time.Minute, "1 day": 24*time.Hour + 10*time.Minute, "1 hour 1 minute": 61 * time.Minute,
		"29 minutes": 29*time.Minute + 59*time.Second, "1 second": time.Second, "less than a second": time.Millisecond,
	} {
		assert.Equal(t, want, policy.Span(d))
	}
	now := policyStart()
	assert.Equal(t, "1 hour ago", policy.Ago(now.Add(-time.Hour), now))
	assert.Equal(t, "in 30 minutes", policy.Ago(now.Add(30*time.Minute), now))
	assert.Equal(t, "2025-01-17 22:31 UTC", policy.Stamp(now.In(time.FixedZone("x", 3600))))
}

func policyStart() time.Time { return time.Date(2025, 1, 17, 22, 31, 0, 0, time.UTC) }

func TestRequestIdsAsPeopleTypeThem(t *testing.T) {
	for _, in := range []string{"rq_7f3k9c", "RQ_7F3K9C", " 7f3k9c "} {
		id, err := policy.ParseRequestID(in)
		assert.NoError(t, err)
		assert.Equal(t, "rq_7f3k9c", id)
	}
	for _, in := range []string{"", "rq_", "rq_7f3k9", "rq_7f3k9cc", "rq_0o1l00", "../../etc", "rq_7f3k9с"} {
		_, err := policy.ParseRequestID(in)
		assert.Equal(t, policy.Invalid, policy.KindOf(err), in)
	}
}
