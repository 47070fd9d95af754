package tools_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/vpsguard/vpsguard/apiclient/vpsfake"
)

// wrong are arguments that no tool may take for others.
var wrong = []struct{ name, tool, arguments, says string }{
	{"a whole number written as a fraction is not one", "list_snapshots", `{"limit":1.0}`, "whole number"},                // floats hide it
	{"a fraction is not rounded", "restore_snapshot", `{"server":"12345","snapshot_id":801.5,"reason":"x"}`, "not 801.5"}, // 801 would be another point
	{"an exponent is not worked out", "list_snapshots", `{"limit":1e1}`, "not 1e1"},
	{"2^53+1 is not another number", "restore_snapshot", `{"server":"12345","snapshot_id":9007199254740993,"reason":"x"}`, "not 9007199254740993"}, // as a float it is 2^53
	{"a number of a hundred digits is none", "list_snapshots", `{"limit":1` + strings.Repeat("0", 100) + `}`, "whole number"},
	{"a negative number is refused", "restore_snapshot", `{"server":"12345","snapshot_id":-1,"reason":"x"}`, "not -1"},
	{"zero is no id", "restore_snapshot", `{"server":"12345","snapshot_id":0,"reason":"x"}`, "not 0"},
	{"a number in quotes is a text", "restore_snapshot", `{"server":"12345","snapshot_id":"801","reason":"x"}`, `not the text \"801\"`},
	{"true is no number", "restore_snapshot", `{"server":"12345","snapshot_id":true,"reason":"x"}`, "not true"},
	{"a list is no number", "restore_snapshot", `{"server":"12345","snapshot_id":[801],"reason":"x"}`, "a list or an object"},
	{"a number is no text", "restore_snapshot", `{"server":12345,"snapshot_id":801,"reason":"x"}`, "server must be text"}, // the schema says string
	{"a text is no flag", "restore_snapshot", `{"server":"12345","snapshot_id":801,"reason":"x","safety_copy":"false"}`, "true or false"},
	{"null is no id", "restore_snapshot", `{"server":"12345","snapshot_id":null,"reason":"x"}`, "not null"},
	{"a missing argument is named", "restore_snapshot", `{"server":"12345","snapshot_id":801}`, `needs the argument \"reason\"`},
	{"an empty reason is none", "restore_snapshot", `{"server":"12345","snapshot_id":801,"reason":"  "}`, "reason is empty"},
	{"no arguments at all", "restore_snapshot", `{}`, "needs the argument"},
	{"an argument too many is refused", "restore_snapshot", `{"server":"12345","snapshot_id":801,"reason":"x","confirm":true}`, `no argument \"confirm\"`}, // nothing confirms
	{"an argument with another case is another one", "list_snapshots", `{"Limit":5}`, `no argument \"Limit\"`},
	{"an argument given twice is not chosen from", "restore_snapshot", `{"server":"12345","snapshot_id":801,"snapshot_id":798,"reason":"x"}`, "given twice"}, // parsers differ in which they take
	{"a list is no arguments", "list_snapshots", `[]`, "not one JSON object"},
	{"a text is no arguments", "list_snapshots", `"limit=5"`, "not one JSON object"},
	{"above the limit", "list_snapshots", `{"limit":101}`, "from 1 to 100"},
	{"below the limit", "list_snapshots", `{"limit":0}`, "from 1 to 100"},
	{"a control character is refused", "restore_snapshot", `{"server":"12345","snapshot_id":801,"reason":"a\u0000b"}`, "control characters"},
	{"a line break is one", "restore_snapshot", `{"server":"web-server-01\nweb-server-02","snapshot_id":801,"reason":"x"}`, "control characters"},
	{"an escape sequence is one", "restore_snapshot", `{"server":"12345","snapshot_id":801,"reason":"\u001b[2J"}`, "control characters"},
	{"a reason is not cut silently", "restore_snapshot", `{"server":"12345","snapshot_id":801,"reason":"` + strings.Repeat("x", 501) + `"}`, "at most 500"},
	{"a megabyte is refused with a sentence", "restore_snapshot", `{"server":"12345","snapshot_id":801,"reason":"` + strings.Repeat("x", 1_000_000) + `"}`, "larger than"},
	{"a state that is none", "list_requests", `{"state":"open"}`, "must be one of"},
	{"no cursor of ours", "list_snapshots", `{"cursor":"next"}`, "is not a cursor"},
	{"no id of ours", "get_request", `{"request_id":"rq_0o1l00"}`, "not the id of a request"},
	{"a wait that no client has", "get_request", `{"request_id":"rq_222222","wait_seconds":3600}`, "from 0 to 50"},
}

func TestWrongArgumentsAreRefusedWithASentence(t *testing.T) {
	for name, come := range doors {
		t.Run(name, func(t *testing.T) {
			h := build(t)
			d := come(t, h)
			for _, w := range wrong {
				t.Run(w.name, func(t *testing.T) {
					a := d.call(w.tool, w.arguments)
					assert.True(t, a.failed)
					assert.Equal(t, "invalid", a.at("error", "kind"))
					assert.Contains(t, a.raw, w.says)
				})
			}
			for _, e := range []vpsfake.Effect{vpsfake.Create, vpsfake.Overwrite, vpsfake.Delete} {
				assert.Zero(t, h.fake.Sent(e))
			}
			assert.EqualValues(t, 0, d.call("list_requests", `{}`).at("total"), "none became a request")
		})
	}
}

func TestWhatIsNotGivenIsNotMissed(t *testing.T) {
	for name, come := range doors {
		t.Run(name, func(t *testing.T) {
			d := come(t, build(t))
			for _, arguments := range []string{``, `{}`, `null`, `{"limit":null}`, ` { "limit" : 20 } `} {
				assert.EqualValues(t, 2, d.call("list_snapshots", arguments).at("total"), "%q", arguments)
			}
		})
	}
}

func TestAToolThatIsNotThereIsAProtocolError(t *testing.T) {
	for name, come := range doors {
		t.Run(name, func(t *testing.T) {
			d := come(t, build(t))
			for _, tool := range []string{"approve_request", "confirm", "", "list_snapshots ", "../list_snapshots"} {
				_, err := d.try(t.Context(), tool, `{}`)
				assert.Error(t, err, "%q", tool)
			}
		})
	}
}
