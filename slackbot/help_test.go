package slackbot

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
)

// goldenText compares with a file under testdata, or rewrites it.
func goldenText(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "run: make golden")
	assert.Equal(t, string(want), got, "if this is meant: make golden")
}

func TestHelpFitsOneScreen(t *testing.T) {
	for name, readOnly := range map[string]bool{"help": false, "help_read_only": true} {
		t.Run(name, func(t *testing.T) {
			g := theGrammar(t, readOnly)
			text := g.help().String()
			goldenText(t, name+".txt", text)
			lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
			assert.LessOrEqual(t, len(lines), 24)
			for _, l := range lines {
				assert.LessOrEqual(t, utf8.RuneCountInString(l), 80, "%s", l)
			}
			for _, d := range g.catalogue {
				n := 0
				for _, l := range lines {
					if l == g.phrase(d) || strings.HasPrefix(l, g.phrase(d)+" ") {
						n++
					}
				}
				assert.Equal(t, 1, n, "%s appears once", g.phrase(d))
			}
			assert.Equal(t, !readOnly, strings.Contains(text, "until a person confirms it"), "where nothing is held, nothing waits")
			assert.Equal(t, !readOnly, strings.Contains(text, "because"), "where nothing takes a reason, none is offered")
		})
	}
}

func TestHelpOnANoun(t *testing.T) {
	g := theGrammar(t, false)
	var all strings.Builder
	for _, noun := range g.nouns() {
		page := g.helpOn(noun).String()
		assert.LessOrEqual(t, strings.Count(page, "\n"), 20)
		all.WriteString(page + "----\n")
	}
	goldenText(t, "help_nouns.txt", all.String())
	assert.Equal(t, g.help(), g.helpOn("kitchen"), "help on nothing is help on all")
}

func TestHelpOfAnEmptyCatalogue(t *testing.T) {
	g := newGrammar("/vps", nil)
	assert.Empty(t, g.help().String())
	_, err := g.parse("snapshot list")
	assert.Equal(t, "`/vps help` shows all commands.", policy.Public(err).Hint)
}

func TestExamplesWork(t *testing.T) {
	g := theGrammar(t, false)
	var all strings.Builder
	for _, d := range g.catalogue {
		example := g.example(d)
		all.WriteString(example + "\n")
		c, err := g.parse(example)
		require.NoError(t, err, example)
		assert.Equal(t, d.Name, c.Operation.Name)
		assert.Empty(t, c.Missing, "%s is whole", example)
		raw, err := c.arguments()
		require.NoError(t, err)
		_, err = policy.ParseArguments(d, raw)
		require.NoError(t, err, "%s passes the gate's check", example)
	}
	goldenText(t, "examples.txt", all.String())
}
