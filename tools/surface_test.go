package tools_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
	"github.com/vpsguard/vpsguard/policy/policytest"
	"github.com/vpsguard/vpsguard/tools"
)

// sent is a tool as it goes over the wire.
type sent struct {
	Name, Description string
	InputSchema       json.RawMessage
	all               json.RawMessage
}

func listed(t *testing.T, h *house) []sent {
	t.Helper()
	var list struct {
		Result struct{ Tools []json.RawMessage }
	}
	require.NoError(t, json.Unmarshal([]byte(h.say(t, request(1, "tools/list", `{}`))), &list))
	var tools []sent
	for _, raw := range list.Result.Tools {
		one := sent{all: raw}
		require.NoError(t, json.Unmarshal(raw, &one))
		tools = append(tools, one)
	}
	require.NotEmpty(t, tools)
	return tools
}

func TestTheWholeSurfaceStaysSmall(t *testing.T) {
	total := 0
	for _, tool := range listed(t, build(t)) {
		total += len(tool.Name) + len(tool.Description) + len(tool.InputSchema)
	}
	t.Logf("names, descriptions and input schemas: %d bytes", total)
	assert.LessOrEqual(t, total, 7500)
}

// TestWhatChangesSomethingIsHeldOrListed: a tool that changes something and is neither held
// for a person nor written down here was not thought about.
func TestWhatChangesSomethingIsHeldOrListed(t *testing.T) {
	free := map[string]string{
		"create_snapshot": "adds, and destroys nothing",
		"create_backup":   "adds, and destroys nothing",
		"cancel_request":  "keeps something from happening, and changes nothing at VPS.org",
	}
	held := map[string]string{
		"restore_snapshot": `{"server":"12345","snapshot_id":801,"reason":"x"}`,
		"restore_backup":   `{"server":"12345","backup_id":501,"reason":"x"}`,
		"delete_snapshot":  `{"server":"12345","snapshot_id":798,"reason":"x"}`,
		"delete_backup":    `{"server":"12345","backup_id":499,"reason":"x"}`,
		"prune_snapshots":  `{"server":"12345","keep":1,"include_foreign":true,"reason":"x"}`,
		"prune_backups":    `{"server":"12345","keep":1,"include_foreign":true,"reason":"x"}`,
	}
	h := build(t)
	h.fake.AddBackup(vpsfake.Point{ServerID: 12345, CreatedAt: policytest.Start.AddDate(-1, 0, 0)}) // one to prune
	d := h.stdio(t)
	for _, op := range h.service.Catalogue() {
		if op.Effect == policy.Read {
			continue
		}
		if why := free[op.Name]; why != "" {
			assert.Equal(t, policy.Create, op.Effect, "%s %s", op.Name, why)
			continue
		}
		arguments, ok := held[op.Name]
		if assert.True(t, ok, "%s is new: say here how it is called and held, or why it need not be", op.Name) {
			a := d.call(op.Name, arguments)
			assert.Equal(t, "held", a.at("request", "state"), a.text)
			// No program has more than five waiting, and there are more operations than that.
			d.call("cancel_request", `{"request_id":"`+fmt.Sprint(a.at("request", "id"))+`"}`)
		}
	}
	assert.Empty(t, h.fake.Mutations())
}

func TestEveryToolIsFrozen(t *testing.T) {
	for _, tool := range listed(t, build(t)) {
		t.Run(tool.Name, func(t *testing.T) {
			var pretty bytes.Buffer
			require.NoError(t, json.Indent(&pretty, tool.all, "", "  "))
			golden(t, "tools/"+tool.Name+".json", pretty.String()+"\n")
		})
	}
}

func TestToolsAreTheCatalogueOnEveryDoor(t *testing.T) {
	h := build(t)
	var want []string
	effects := map[string]policy.Descriptor{}
	for _, d := range h.service.Catalogue() {
		want = append(want, d.Name)
		effects[d.Name] = d
	}
	slices.Sort(want)
	for name, come := range doors {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, tool := range come(t, h).tools {
				d := effects[tool.Name]
				got = append(got, tool.Name)
				assert.Equal(t, d.Title, tool.Title)
				assert.Equal(t, d.Title, tool.Annotations.Title)
				assert.Equal(t, d.Summary, tool.Description)
				assert.Equal(t, d.Effect == policy.Read, *tool.Annotations.ReadOnlyHint, tool.Name)
				assert.Equal(t, d.Effect == policy.Overwrite || d.Effect == policy.Delete, *tool.Annotations.DestructiveHint, tool.Name)
				assert.Equal(t, d.Idempotent, *tool.Annotations.IdempotentHint, tool.Name)
				assert.Equal(t, !strings.HasSuffix(strings.TrimSuffix(tool.Name, "s"), "_request"), *tool.Annotations.OpenWorldHint, tool.Name)
				assert.Nil(t, tool.Execution, "tasks are not offered")
			}
			assert.Equal(t, want, got, "in the same order every time")
		})
	}
}

func TestSchemasAreStrictAndPlain(t *testing.T) {
	h := build(t)
	arguments := map[string][]policy.Argument{}
	for _, d := range h.service.Catalogue() {
		arguments[d.Name] = d.Arguments
	}
	for _, tool := range h.stdio(t).tools {
		t.Run(tool.Name, func(t *testing.T) {
			in := tool.InputSchema
			assert.Equal(t, "object", in.Type)
			assert.Equal(t, false, in.AdditionalProperties)
			assert.Len(t, in.Properties, len(arguments[tool.Name]))
			compile(t, in)
			for _, a := range arguments[tool.Name] {
				p, ok := in.Properties[a.Name].(map[string]any)
				require.True(t, ok, a.Name)
				assert.Equal(t, string(a.Type), p["type"])
				assert.Equal(t, a.Required, slices.Contains(in.Required, a.Name), a.Name)
				assert.NotEmpty(t, p["description"], a.Name)
				switch {
				case a.Type == policy.Integer:
					assert.Contains(t, p, "minimum", a.Name)
					assert.Contains(t, p, "maximum", a.Name)
				case a.Type == policy.String:
					assert.True(t, p["maxLength"] != nil || p["enum"] != nil, a.Name)
				}
			}
			raw, err := json.Marshal(tool)
			require.NoError(t, err)
			for _, not := range []string{`"confirm"`, `"force"`, `"approve"`, `"anyOf"`, `"oneOf"`, `"allOf"`, `"$ref"`} {
				assert.NotContains(t, string(raw), not)
			}
		})
	}
}

func TestAReadOnlyProcessOffersReadsOnly(t *testing.T) {
	h := build(t, func(s *setup) { s.policy.ReadOnly = true })
	d := h.stdio(t)
	for _, tool := range d.tools {
		assert.True(t, *tool.Annotations.ReadOnlyHint, tool.Name)
	}
	assert.Less(t, len(d.tools), len(build(t).stdio(t).tools))
	_, err := d.try(t.Context(), "delete_snapshot", `{"server":"12345","snapshot_id":801,"reason":"x"}`)
	assert.ErrorContains(t, err, "not found")
}

// shelf is a caller with a catalogue of the test's own.
type shelf struct {
	*policy.Service
	of []policy.Descriptor
}

func (s shelf) Catalogue() []policy.Descriptor { return s.of }

func TestABadCatalogueStopsTheStart(t *testing.T) {
	good := policy.Descriptor{Name: "list_things", Title: "Things", Summary: "All of them.", Effect: policy.Read}
	change := func(edit func(*policy.Descriptor)) []policy.Descriptor {
		d := good
		edit(&d)
		return []policy.Descriptor{d}
	}
	text := policy.Field{Name: "a", Type: "string"}
	options := build(t).server.Options
	for name, c := range map[string]struct {
		of []policy.Descriptor
		ok bool
	}{
		"a whole one":                {[]policy.Descriptor{good}, true},
		"two of one name":            {[]policy.Descriptor{good, good}, false},
		"a name with a blank":        {change(func(d *policy.Descriptor) { d.Name = "list things" }), false},
		"no name":                    {change(func(d *policy.Descriptor) { d.Name = "" }), false},
		"no title":                   {change(func(d *policy.Descriptor) { d.Title = "" }), false},
		"no summary":                 {change(func(d *policy.Descriptor) { d.Summary = "" }), false},
		"no effect":                  {change(func(d *policy.Descriptor) { d.Effect = "" }), false},
		"an argument without a type": {change(func(d *policy.Descriptor) { d.Arguments = []policy.Argument{{Name: "a"}} }), false},
		"an argument that confirms":  {change(func(d *policy.Descriptor) { d.Arguments = []policy.Argument{{Name: "confirm", Type: policy.Boolean}} }), false},
		"an argument twice": {change(func(d *policy.Descriptor) {
			d.Arguments = []policy.Argument{{Name: "a", Type: policy.String}, {Name: "a", Type: policy.String}}
		}), false},
		"rows that are not described": {change(func(d *policy.Descriptor) { d.Rows = "things" }), false},
		"a detail without rows":       {change(func(d *policy.Descriptor) { d.Detail = []policy.Field{text} }), false},
		"a field of an unknown type":  {change(func(d *policy.Descriptor) { d.Rows, d.Record = "things", []policy.Field{{Name: "a", Type: "date"}} }), false},
		"a detail with the rows' own key": {change(func(d *policy.Descriptor) {
			d.Rows, d.Record, d.Detail = "a", []policy.Field{text}, []policy.Field{text}
		}), false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tools.New(shelf{of: c.of}, options)
			if c.ok {
				assert.NoError(t, err)
			} else {
				assert.Equal(t, policy.Invalid, policy.KindOf(err))
			}
		})
	}
	options.Actor = nil
	_, err := tools.New(shelf{of: []policy.Descriptor{good}}, options)
	assert.Equal(t, policy.Invalid, policy.KindOf(err), "nobody would know who calls")
}
