package rules_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/vpsguard/vpsguard/policy/rules"
)

// TestFilesThatAreMeantToHurt: whatever a megabyte holds, reading it ends soon.
func TestFilesThatAreMeantToHurt(t *testing.T) {
	const n = 1<<20 - 100
	var stairs, dashes strings.Builder
	for i := range 1200 {
		fmt.Fprintf(&stairs, "%sa:\n", strings.Repeat(" ", i%1200))
		fmt.Fprintf(&dashes, "%s-\n", strings.Repeat(" ", i%1200))
	}
	for name, text := range map[string]string{
		"too long":         strings.Repeat("#", 1<<20+1),
		"brackets":         strings.Repeat("[", 90_000),
		"braces":           strings.Repeat("{", n),
		"pairs":            strings.Repeat("{a: ", n/4),
		"dashes":           strings.Repeat("- ", n/2),
		"dashes below":     dashes.String(),
		"colons":           strings.Repeat("a: ", n/3),
		"questions":        strings.Repeat("? ", n/2),
		"keys":             strings.Repeat("a: b\n", n/5),
		"rules":            "version: 1\nrules:\n" + strings.Repeat("  - {}\n", n/7),
		"many rules":       "version: 1\nrules:\n" + strings.Repeat("  - {name: x}\n", 501),
		"stairs":           stairs.String(),
		"one long text":    "version: " + strings.Repeat("a", n),
		"a long block":     "version: |\n" + strings.Repeat("  a\n", n/4),
		"a folded text":    "version: a\n" + strings.Repeat("  a\n", n/4),
		"escapes":          `version: "` + strings.Repeat(`\n`, n/2) + `"`,
		"quotes":           "version: " + strings.Repeat(`"a",`, n/4),
		"empty lines":      strings.Repeat("\n", n),
		"comments":         strings.Repeat("#\n", n/2),
		"documents":        strings.Repeat("---\n", n/4),
		"aliases":          "version: 1\nrules: [" + strings.Repeat("*a,", n/3) + "]",
		"a long condition": "version: 1\nrules:\n  - {name: x, hold: {}, when: '" + strings.Repeat("!", n-100) + "'}",
	} {
		began := time.Now()
		_, err := rules.Parse("f.yaml", []byte(text))
		assert.Error(t, err, name)
		assert.Less(t, time.Since(began), 10*time.Second, name)
		if testing.Verbose() {
			t.Logf("%-16s %8s  %v", name, time.Since(began).Round(time.Millisecond), err)
		}
	}
}
