package rules_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/rules"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var position = regexp.MustCompile(`^[^:]+:[1-9][0-9]*:[1-9][0-9]*: .`)

// TestWrongFiles keeps every message: it is all that an operator has at start-up.
func TestWrongFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/wrong/*.yaml")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 20)
	var got strings.Builder
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		r, err := rules.Parse(filepath.Base(file), raw)
		require.Error(t, err, file)
		assert.Nil(t, r)
		var e *policy.Error
		require.ErrorAs(t, err, &e, file)
		assert.Equal(t, policy.Invalid, e.Kind, file)
		assert.Regexp(t, position, e.Message)
		got.WriteString(e.Message + "\n")
	}
	const golden = "testdata/wrong.golden"
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got.String()), 0o600))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	assert.Equal(t, string(want), got.String())
}

// TestPlaces marks the place that CEL complains of with the word "nosuch", however
// the condition is written.
func TestPlaces(t *testing.T) {
	for name, text := range map[string]string{
		"plain":                   "    when: true && nosuch\n",
		"plain over lines":        "    when: true &&\n      true\n\n      && nosuch && true\n",
		"on the next line":        "    when:\n      true && nosuch\n",
		"literal":                 "    when: |\n      true\n        && true\n\n      && nosuch\n",
		"literal, with a comment": "    when: | # which\n      true // not this\n      && nosuch\n",
		"literal, kept":           "    when: |+\n      true\n        && nosuch\n\n",
		"folded":                  "    when: >\n      true\n      && true\n\n      && nosuch\n",
		"folded, stripped":        "    when: >-\n\n      true\n        && true\n      && nosuch\n",
		"single quotes":           "    when: 'server.name == ''nö'' && nosuch'\n",
		"single over lines":       "    when: 'server.name == ''it''\n      && true\n\n      && nosuch'\n",
		"double quotes":           `    when: "server.name == \"\x41\u00f6\" && \tnosuch"` + "\n",
		"double over lines":       `    when: "true \` + "\n" + `      && server.name == \"x\"` + "\n\n" + `      && nosuch"` + "\n",
		"in braces":               "    'when': true && nosuch\n",
		"from Windows":            "    when: |\r\n      true\r\n      && nosuch\r\n",
		"behind an emoji":         "    when: server.name == \"🙂ö\" && nosuch\n",
	} {
		text = "version: 1\nrules:\n  - name: it\n    hold: {}\n" + text
		before, _, _ := strings.Cut(text, "nosuch")
		line := strings.Count(before, "\n") + 1
		column := utf8.RuneCountInString(before[strings.LastIndex(before, "\n")+1:]) + 1
		_, err := rules.Parse("f.yaml", []byte(text))
		assert.ErrorContains(t, err, fmt.Sprintf("f.yaml:%d:%d: the condition of the rule \"it\": undeclared reference to 'nosuch'", line, column), name)
	}
}
