package main

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/vpsguard/vpsguard/policy"
)

// hostile is what foreign text may hold: a clear screen in both spellings, a
// forged line, and text that runs backwards.
const hostile = "\x1b[2J\u009b2J\r\n  Undo      expected\u202egniht\u2028x"

// poisoned puts hostile text into every string of a value.
func poisoned(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String() + hostile)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			poisoned(v.Field(i))
		}
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[json.RawMessage]() {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		poisoned(v.Index(0))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		poisoned(v.Elem())
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for _, key := range []string{"name", "description"} {
			v.SetMapIndex(reflect.ValueOf(key), reflect.ValueOf(hostile))
		}
	default:
	}
}

func TestTheCallersWordsCannotLookLikeTheCard(t *testing.T) {
	t.Parallel()
	reason := "disk full" + strings.Repeat(" \u2003x", 20) + " Undo      expected: a snapshot is taken first " + strings.Repeat("W", 120) + " Target    snapshot 798, made 1 minute ago"
	var out strings.Builder
	card(&out, policy.Standing{Request: policy.Request{
		ID: "rq_7f3k9c", State: policy.StateHeld, Reason: reason, Effect: policy.Overwrite,
		Actor: policy.Actor{Door: policy.DoorMCP, Subject: "a", Client: "x"}, Plan: policy.Plan{Summary: "restore snapshot 1 over web (2)"},
	}})
	text := out.String()
	words, facts, found := strings.Cut(text, "What follows is vpsguard's own")
	require.True(t, found)
	assert.Contains(t, facts, "  What      restore snapshot 1 over web (2)")
	lines := strings.Split(strings.TrimSpace(words), "\n")[2:] // behind the header
	require.Greater(t, len(lines), 4)
	for _, l := range lines {
		if strings.TrimSpace(l) != "" {
			assert.True(t, strings.HasPrefix(strings.TrimLeft(l, " "), "| "), "%q", l)
			assert.LessOrEqual(t, len([]rune(l)), 80)
		}
	}
	assert.NotContains(t, facts, "1 minute ago", "nothing of it stands among the facts")
}

func TestTheCardSaysOfOtherServersWhatIsKnown(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "web, id 1", server(policy.Server{ID: 1, Name: "web", Alone: true}))
	assert.Equal(t, "web, id 1, WHETHER OTHER SERVERS HAVE THIS NAME OR ID TOO IS NOT KNOWN", server(policy.Server{ID: 1, Name: "web"}))
	assert.Equal(t, "web, id 1, active when this was planned, OTHER SERVERS HAVE THIS NAME OR ID TOO", server(policy.Server{ID: 1, Name: "web", Status: "active"}))
}

func TestANameOnTheCardCannotSayThroughWhichDoorSomebodyCame(t *testing.T) {
	t.Parallel()
	a := policy.Actor{Door: policy.DoorMCP, Subject: "oidc:https://id.example#7f3", Name: "grace, through Slack; vouched for by: Slack", Vouched: "id.example, as 7f3"}
	assert.Equal(t, `"grace, through Slack; vouched for by: Slack", through MCP; vouched for by: id.example, as 7f3`, asked(a))
	a = policy.Actor{Door: policy.DoorTerminal, Subject: "ada (uid 1000)", Name: "ada", Vouched: "operating system user"}
	assert.Equal(t, "ada, through the terminal; vouched for by: operating system user", asked(a), "nobody chooses that themselves")
}

func TestForeignTextCannotForgeACard(t *testing.T) {
	t.Parallel()
	var st policy.Standing
	poisoned(reflect.ValueOf(&st).Elem())
	var b bytes.Buffer
	card(&b, st)
	for i, line := range strings.Split(b.String(), "\n") {
		assert.NotContains(t, line, "\x1b")
		assert.NotContains(t, line, "\u009b")
		assert.NotContains(t, line, "\u202e")
		assert.NotContains(t, line, "\u2028")
		assert.False(t, strings.HasPrefix(line, "  Undo      expectedgniht"), "line %d was forged: %q", i, line)
	}
	assert.Equal(t, 1, strings.Count(b.String(), "\n  Undo "), "one line says whether there is a way back")
}

func TestJSONHoldsNoControlCharacters(t *testing.T) {
	t.Parallel()
	var st policy.Standing
	poisoned(reflect.ValueOf(&st).Elem())
	var b bytes.Buffer
	require.NoError(t, writeJSON(&b, standingJSON(st)))
	assert.NotContains(t, strings.TrimSuffix(b.String(), "\n"), "\n")
	for _, bad := range []string{"\x1b", "\u009b", "\u202e", "\u2028"} {
		assert.NotContains(t, b.String(), bad)
	}
	var back standingOut
	require.NoError(t, json.Unmarshal(b.Bytes(), &back), "nothing is lost")
	assert.Equal(t, st.Request.Reason, back.Request.Reason)
}

func TestACardSaysWhetherThereIsAWayBack(t *testing.T) {
	t.Parallel()
	point := &policy.Point{Kind: "snapshot", ID: 802}
	for _, c := range []struct {
		name    string
		request policy.Request
		says    string
	}{
		{"a delete", policy.Request{Effect: policy.Delete}, "there is NO WAY BACK"},
		{"a restore without a copy", policy.Request{Effect: policy.Overwrite, Plan: policy.Plan{SafetyCopy: policy.NoCopy}}, "there is NO WAY BACK"},
		{"a kind of copy that is not known", policy.Request{Effect: policy.Overwrite, Plan: policy.Plan{SafetyCopy: "tape"}}, "there is NO WAY BACK"},
		{"a restore with a copy", policy.Request{Effect: policy.Overwrite, Plan: policy.Plan{SafetyCopy: policy.CopyBackup}}, "expected: a backup"},
		{"after a restore", policy.Request{Effect: policy.Overwrite, Undo: point}, "restore snapshot 802"},
		{"after a restore whose copy is gone", policy.Request{Effect: policy.Overwrite, State: policy.StateDone, Plan: policy.Plan{SafetyCopy: policy.CopySnapshot}}, "there is NO WAY BACK: the safety copy was not found"},
		{"a create", policy.Request{Effect: policy.Create}, ""},
	} {
		assert.True(t, strings.HasPrefix(c.request.WayBack(), c.says), c.name)
	}
}
