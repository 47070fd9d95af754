package tools_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
	"github.com/vpsguard/vpsguard/policy"
)

// TestARowStaysSmallWhateverItIsCalled holds the promise that a page of 20
// rows costs a model no more than 8 kB, whatever stands in names.
func TestARowStaysSmallWhateverItIsCalled(t *testing.T) {
	const id = 9_999_999_999
	for _, c := range []struct {
		name, called string
		most         int // bytes of a row's text with its structured form
	}{
		{"plain names", strings.Repeat("n", 255), 400},
		{"names of three bytes a letter", strings.Repeat("漢", 255), 400},
		{"names of four bytes a letter", strings.Repeat("𝔘", 255), 400},
		{"names with many blanks", strings.Repeat("a ", 128), 400},
		{"names full of quotes", strings.Repeat(`"\`, 128), 400}, // each is sent as two bytes
	} {
		t.Run(c.name, func(t *testing.T) {
			h := build(t)
			h.fake.AddServer(id, c.called)
			h.fake.AddSnapshot(vpsfake.Point{ID: id - 1, ServerID: id, Name: c.called, Description: c.called, SizeMB: id, Status: "completed"})
			h.fake.AddSnapshot(vpsfake.Point{ID: id - 2, ServerID: id, Name: c.called, Description: c.called, Status: "in_progress"})
			h.fake.AddBackup(vpsfake.Point{ID: id - 1, ServerID: id, Description: c.called, SizeMB: id})
			h.fake.SetSnapshotStatus(id-2, c.called)
			d := h.stdio(t)
			server := fmt.Sprintf(`{"server":"%d"`, id)
			held := d.call("restore_snapshot", server+fmt.Sprintf(`,"snapshot_id":%d,"reason":%q}`, id-1, strings.Repeat("r", 500)))
			require.False(t, held.failed, held.text)
			for _, list := range h.service.Catalogue() {
				if list.Rows == "" {
					continue
				}
				arguments := `{}`
				if list.Arguments[0].Required {
					arguments = server + `}`
				}
				small(t, list, d.call(list.Name, arguments), c.most)
			}
		})
	}
}

func small(t *testing.T, d policy.Descriptor, a answer, most int) {
	t.Helper()
	var content map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(a.raw), &content))
	var rows []json.RawMessage
	require.NoError(t, json.Unmarshal(content[d.Rows], &rows))
	require.NotEmpty(t, rows, d.Name)
	lines := strings.Split(a.text, "\n")
	require.GreaterOrEqual(t, len(lines), len(rows)+2, a.text)
	for i, row := range rows {
		text := lines[1+i]
		assert.LessOrEqual(t, len(text), 100, "%s: %s", d.Name, text)
		assert.LessOrEqual(t, len(text)+len(row), most, "%s: %s\n%s", d.Name, text, row)
	}
}
