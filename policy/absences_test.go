package policy_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/operations"
)

const module = "github.com/vpsguard/vpsguard/"

// sources parses all Go files of the module that are not tests, by folder.
func sources(t *testing.T) map[string][]*ast.File {
	t.Helper()
	root := ".."
	out := map[string][]*ast.File{}
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && path != root) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		dir, _ := filepath.Rel(root, filepath.Dir(path))
		out[filepath.ToSlash(dir)] = append(out[filepath.ToSlash(dir)], f)
		return nil
	}))
	require.NotEmpty(t, out["policy"])
	return out
}

func TestTheArrowsBetweenTheRooms(t *testing.T) {
	// What each room may import of ours; the standard library alone where std is true.
	rooms := map[string]struct {
		ours []string
		std  bool
	}{
		"policy":                  {std: true},
		"policy/operations":       {ours: []string{"policy", "apiclient"}},
		"policy/ledger":           {ours: []string{"policy"}},
		"policy/ledger/pgtest":    {},
		"policy/rules":            {ours: []string{"policy"}},
		"policy/policytest":       {ours: []string{"policy"}},
		"apiclient":               {},
		"apiclient/vpsfake":       {std: true},
		"tools":                   {ours: []string{"policy"}},
		"tools/bearer":            {ours: []string{"policy"}},
		"slackbot":                {ours: []string{"policy"}},
		"slackbot/slackfake":      {},
		"tools/bearer/issuertest": {},
	}
	backends := []string{"net/http", "database/sql", "log", "log/slog", "net", "os"}
	for dir, files := range sources(t) {
		room, known := rooms[dir]
		if strings.HasPrefix(dir, "cmd/") {
			continue
		}
		require.True(t, known, "the folder %s has no place in the house", dir)
		for _, f := range files {
			for _, i := range f.Imports {
				path, _ := strconv.Unquote(i.Path.Value)
				if ours, ok := strings.CutPrefix(path, module); ok {
					assert.Contains(t, room.ours, ours, "%s imports %s", dir, path)
				} else if room.std {
					assert.NotContains(t, path, ".", "%s imports %s", dir, path)
				}
				if dir == "policy" {
					assert.NotContains(t, backends, path, "%s imports %s", dir, path)
				}
			}
		}
	}
}

func TestNothingOutsidePolicyActs(t *testing.T) {
	// Clocks, the environment and default loggers are wired by cmd alone.
	outside := map[string]bool{
		"time.Now": true, "time.Since": true, "time.Until": true, "os.Getenv": true, "os.LookupEnv": true, "os.Environ": true,
		"slog.Default": true, "slog.Info": true, "slog.Error": true, "slog.Warn": true, "log.Printf": true, "log.Println": true, "log.Fatal": true,
	}
	for dir, files := range sources(t) {
		for _, f := range files {
			ast.Inspect(f, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				sel, ok := call.Fun.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if dir != "policy" {
					assert.NotEqual(t, "Apply", sel.Sel.Name, "%s calls an Apply", dir)
				}
				if pkg, ok := sel.X.(*ast.Ident); ok && !strings.HasPrefix(dir, "cmd/") {
					assert.False(t, outside[pkg.Name+"."+sel.Sel.Name], "%s calls %s.%s", dir, pkg.Name, sel.Sel.Name)
				}
				return true
			})
		}
	}
}

// catalogue is the whole one, as doors see it.
func catalogue(t *testing.T) []policy.Descriptor {
	t.Helper()
	api, err := apiclient.New(apiclient.DefaultBaseURL, "vps_test", apiclient.Options{})
	require.NoError(t, err)
	s, err := policy.NewService(policy.Config{Operations: operations.Catalogue(api)})
	require.NoError(t, err)
	return s.Catalogue()
}

func TestDoorsKnowNoOperation(t *testing.T) {
	all := catalogue(t)
	for dir, files := range sources(t) {
		if !strings.HasPrefix(dir, "tools") && !strings.HasPrefix(dir, "slackbot") {
			continue
		}
		for _, f := range files {
			ast.Inspect(f, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					for _, d := range all {
						assert.NotContains(t, lit.Value, d.Name, "%s names an operation", dir)
					}
				}
				return true
			})
		}
	}
}

func TestNoArgumentAndNoToolApproves(t *testing.T) {
	words := []string{"confirm", "force", "approve", "yes", "sure", "override", "skip", "unsafe", "really"}
	for _, d := range catalogue(t) {
		for _, w := range append(words, "deny", "settle") {
			assert.NotContains(t, d.Name, w)
		}
		for _, a := range d.Arguments {
			for _, w := range words {
				assert.NotContains(t, a.Name, w, "%s has the argument %s", d.Name, a.Name)
			}
		}
	}
}

// The ledger cannot change a request without a record: it has no such method.
func TestTheLedgerHasNoOtherWriter(t *testing.T) {
	methods := func(i any) (out []string) {
		typ := reflect.TypeOf(i).Elem()
		for m := range typ.NumMethod() {
			out = append(out, typ.Method(m).Name)
		}
		return out
	}
	assert.Equal(t, []string{"Await", "Change", "DropNote", "Head", "Note", "Notes", "Now", "PutNote", "Request", "Requests", "Setting"}, methods((*policy.Ledger)(nil)))
	assert.Equal(t, []string{"Append", "Head", "Note", "Notes", "Now", "Nudge", "Put", "PutSetting", "Request", "Requests", "Setting", "Tell"}, methods((*policy.Tx)(nil)))
	body := reflect.TypeOf(policy.RecordBody{})
	put, _ := reflect.TypeOf((*policy.Tx)(nil)).Elem().MethodByName("Put")
	assert.Equal(t, body, put.Type.In(2), "a change takes its record along")
	setting, _ := reflect.TypeOf((*policy.Tx)(nil)).Elem().MethodByName("PutSetting")
	assert.Equal(t, body, setting.Type.In(3))
}

func TestAPermitCannotBeMade(t *testing.T) {
	typ := reflect.TypeOf(policy.Permit{})
	for i := range typ.NumField() {
		assert.False(t, typ.Field(i).IsExported())
	}
	api, err := apiclient.New("http://127.0.0.1:1", "vps_test", apiclient.Options{})
	require.NoError(t, err)
	for _, op := range operations.Catalogue(api) {
		if op.Apply != nil {
			_, err := op.Apply(t.Context(), policy.Permit{})
			assert.Equal(t, policy.Forbidden, policy.KindOf(err), "%s acts without a permit", op.Name)
		}
	}
}
