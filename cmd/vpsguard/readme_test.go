package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/operations"
	"github.com/vpsguard/vpsguard/policy/rules"
)

// inReadme compares a generated table with the one in the README, which stands
// between two comments that carry its name.
func inReadme(t *testing.T, name, want string) {
	t.Helper()
	begin, end := "<!-- "+name+": generated -->\n", "<!-- /"+name+" -->"
	path := filepath.Join("..", "..", "README.md")
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	before, rest, opened := strings.Cut(string(raw), begin)
	table, after, closed := strings.Cut(rest, end)
	require.True(t, opened && closed, "the README has a place for the table %s", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(before+begin+want+end+after), 0o600))
		return
	}
	assert.Equal(t, want, table, "run: make golden")
}

// catalogue is all that can be called.
func catalogue(t *testing.T) []policy.Descriptor {
	t.Helper()
	api, err := apiclient.New(apiclient.DefaultBaseURL, "vps_none", apiclient.Options{})
	require.NoError(t, err)
	s, err := policy.NewService(policy.Config{Operations: operations.Catalogue(api)})
	require.NoError(t, err)
	return s.Catalogue()
}

// takes lists arguments as tables do.
func takes(of []policy.Argument) string {
	args := make([]string, 0, len(of))
	for _, a := range of {
		mark := "?"
		if a.Required {
			mark = ""
		}
		args = append(args, "`"+a.Name+mark+"`")
	}
	return strings.Join(args, " ")
}

func TestReadmeListsTheTools(t *testing.T) {
	var b strings.Builder
	b.WriteString("| tool | arguments | |\n|---|---|---|\n")
	for _, d := range catalogue(t) {
		held := ""
		if d.Effect.Destroys() {
			held = "**"
		}
		fmt.Fprintf(&b, "| %s`%s`%s | %s | %s |\n", held, d.Name, held, takes(d.Arguments), d.Summary)
	}
	inReadme(t, "tools", b.String())
}

func TestReadmeListsPromptsAndResources(t *testing.T) {
	var b strings.Builder
	b.WriteString("| prompt | arguments | |\n|---|---|---|\n")
	for _, p := range prompts {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", p.Name, takes(p.Arguments), p.Description)
	}
	inReadme(t, "prompts", b.String())
	b.Reset()
	b.WriteString("| resource | |\n|---|---|\n")
	for _, r := range resources {
		fmt.Fprintf(&b, "| `%s` | %s |\n", r.URI, r.Description)
	}
	inReadme(t, "resources", b.String())
}

func TestReadmeListsTheVariablesOfRules(t *testing.T) { inReadme(t, "rules", rules.Reference()) }

// TestReadmeShowsRulesThatLoad reads the example as people would paste it.
func TestReadmeShowsRulesThatLoad(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	require.NoError(t, err)
	_, section, ok := strings.Cut(string(raw), "\n## Your rules\n")
	require.True(t, ok)
	_, rest, _ := strings.Cut(section, "```yaml\n")
	example, _, ok := strings.Cut(rest, "```\n")
	require.True(t, ok)
	r, err := rules.Parse("README.md", []byte(example))
	require.NoError(t, err)
	assert.Len(t, r.Names(), 5)
}

// TestReadmeListsTheMetrics also sees that a registry has them, as they are described.
func TestReadmeListsTheMetrics(t *testing.T) {
	var b strings.Builder
	b.WriteString("| metric | labels | of | what it tells |\n|---|---|---|---|\n")
	for _, m := range documented {
		labels := make([]string, 0, len(m.labels))
		for _, l := range m.labels {
			labels = append(labels, "`"+l+"`")
		}
		fmt.Fprintf(&b, "| `%s` (%s) | %s | %s | %s |\n", m.name, m.kind, strings.Join(labels, " "), m.of, m.help)
	}
	inReadme(t, "metrics", b.String())
}

// TestSecurityNamesRealTests: what holds a promise has to be there.
func TestSecurityNamesRealTests(t *testing.T) {
	root := filepath.Join("..", "..")
	raw, err := os.ReadFile(filepath.Join(root, "SECURITY.md"))
	require.NoError(t, err)
	var tests strings.Builder
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == "node_modules":
			return filepath.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		source, err := os.ReadFile(path)
		tests.Write(source)
		return err
	}))
	named := regexp.MustCompile("`(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(string(raw), -1)
	require.Greater(t, len(named), 20)
	for _, name := range named {
		assert.True(t, strings.Contains(tests.String(), "\nfunc "+name[1]+"("), "SECURITY.md names %s, which is not there", name[1]) //nolint:testifylint // the sources would be printed
	}
}
