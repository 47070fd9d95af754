package rules

import (
	"fmt"
	"strings"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/vpsguard/vpsguard/policy"
)

// object declares a variable with fields. Environment, values and documentation
// are all made from these declarations, so that they cannot drift apart.
type object struct {
	name   string
	about  string
	fields []field
	typ    *types.Type
	byName map[string]int
}

// field declares one field of an object. value gives it, and whether it is
// known: where it is not, has() is false and the value is the one that about says.
type field struct {
	name  string
	typ   *types.Type
	about string
	words []string // where the field is never anything but one of them
	value func(policy.Facts) (value ref.Val, known bool)
}

// farAway stands for a time that never comes. It is near enough that adding and
// taking away durations does not overflow.
const farAway = 100 * 365 * 24 * time.Hour

// unknownSize is the size of what has none, or of which none is known.
const unknownSize = -1

var objects = declared(
	object{name: "operation", about: "what would be done", fields: []field{
		text("name", "`restore_snapshot`, `delete_backup`, …, as in the catalogue", func(f policy.Facts) string { return f.Operation.Name }),
		text("noun", "`snapshot`, `backup`, …", func(f policy.Facts) string { return f.Operation.Noun }),
		text("verb", "`create`, `restore`, `delete`, …", func(f policy.Facts) string { return f.Operation.Verb }),
		text("effect", "`create`, `overwrite` or `delete`; reads are never judged", func(f policy.Facts) string { return string(effect(f)) },
			string(policy.Read), string(policy.Create), string(policy.Overwrite), string(policy.Delete)),
	}},
	object{name: "actor", about: "who asks", fields: []field{
		text("door", "`mcp` (AI clients), `slack` or `terminal`", func(f policy.Facts) string { return string(f.Actor.Door) },
			string(policy.DoorMCP), string(policy.DoorSlack), string(policy.DoorTerminal)),
		text("subject", "the identity that the door vouches for", func(f policy.Facts) string { return f.Actor.Subject }),
		text("name", "the name shown to people; it proves nothing", func(f policy.Facts) string { return f.Actor.Name }),
		text("role", "`operate` for programs; empty for people. Who may only `read` asks for nothing that is judged",
			func(f policy.Facts) string { return string(f.Actor.Role) }, string(policy.RoleRead), string(policy.RoleOperate), ""),
		text("agent", "the agent that asks, as `people` name it; empty for people. Never what a client calls itself",
			func(f policy.Facts) string {
				if f.Actor.Door != policy.DoorMCP {
					return ""
				}
				return agentOf(f.Actor.Subject)
			}),
		flag("by_message", "a message in Slack asked, which a program that has the person's token may have sent", func(f policy.Facts) bool { return f.Actor.ByMessage }),
	}},
	object{name: "server", about: "the server that it is about", fields: []field{
		number("id", "its number", func(f policy.Facts) (int64, bool) { return f.Plan.Server.ID, f.Plan.Server.ID != 0 }),
		text("name", "its name", func(f policy.Facts) string { return f.Plan.Server.Name }),
		text("status", "as VPS.org says; empty where servers cannot be read", func(f policy.Facts) string { return f.Plan.Server.Status }),
		text("location", "as VPS.org says; empty where servers cannot be read", func(f policy.Facts) string { return f.Plan.Known.Location }),
		number("free_snapshot_slots", "how many more snapshots it can have", func(f policy.Facts) (int64, bool) {
			return f.Plan.Known.FreeSnapshots, f.Plan.Server.ID != 0
		}),
		number("free_backup_slots", "how many more manual backups it can have", func(f policy.Facts) (int64, bool) {
			return f.Plan.Known.FreeBackups, f.Plan.Server.ID != 0
		}),
	}},
	object{name: "target", about: "the snapshot or backup that is restored or deleted, each of several by itself; a create has none", fields: []field{
		text("kind", "`snapshot` or `backup`; empty where there is no target", func(f policy.Facts) string { return point(f).Kind }, "snapshot", "backup", ""),
		number("id", "its number; 0 where there is no target", func(f policy.Facts) (int64, bool) { return point(f).ID, f.Plan.Target != nil }),
		text("name", "its name; of a backup its description", func(f policy.Facts) string { return point(f).Name }),
		{name: "age", typ: types.DurationType, about: "since it was made; 0 where that is not known", value: func(f policy.Facts) (ref.Val, bool) {
			made := point(f).CreatedAt
			if made.IsZero() || f.Now.Before(made) {
				return types.Duration{}, !made.IsZero()
			}
			return types.Duration{Duration: f.Now.Sub(made)}, true
		}},
		number("size_mb", fmt.Sprintf("megabytes; %d where that is not known", unknownSize), func(f policy.Facts) (int64, bool) {
			size := point(f).SizeMB
			if size == nil {
				return unknownSize, false
			}
			return *size, true
		}),
		text("status", "as VPS.org says: `completed`, …", func(f policy.Facts) string { return point(f).Status }),
		text("backup_type", "`manual` or `automatic`; empty for snapshots", func(f policy.Facts) string { return f.Plan.Known.BackupType }, "manual", "automatic", ""),
		{name: "expires_at", typ: types.TimestampType, about: "when it goes by itself; a hundred years from now where it does not", value: func(f policy.Facts) (ref.Val, bool) {
			if at := f.Plan.Known.ExpiresAt; !at.IsZero() {
				return types.Timestamp{Time: at.UTC()}, true
			}
			return types.Timestamp{Time: f.Now.UTC().Add(farAway)}, false
		}},
		flag("last_recovery_point", "deleting it leaves the server without a good recovery point", func(f policy.Facts) bool { return f.Plan.LastGood }),
		flag("newest", "it is the newest recovery point of its server", func(f policy.Facts) bool { return f.Plan.Known.Newest }),
	}},
	object{name: "request", about: "what was asked", fields: []field{
		text("reason", "the caller's words; they prove nothing", func(f policy.Facts) string { return f.Reason }),
		flag("safety_copy", "an overwrite takes a safety copy first", func(f policy.Facts) bool {
			return f.Plan.SafetyCopy == policy.CopySnapshot || f.Plan.SafetyCopy == policy.CopyBackup
		}),
	}},
)

// clock is the one variable without fields.
const clock, aboutClock = "now", "the clock that decides, UTC"

// effect is what an operation does, as far as anybody says.
func effect(f policy.Facts) policy.Effect {
	if f.Operation.Effect == "" || f.Operation.Effect == policy.Read && f.Plan.Effect != "" {
		return f.Plan.Effect
	}
	return f.Operation.Effect
}

// point is the target, or one without anything.
func point(f policy.Facts) policy.Point {
	if f.Plan.Target == nil {
		return policy.Point{}
	}
	return *f.Plan.Target
}

func text(name, about string, get func(policy.Facts) string, words ...string) field {
	return field{name: name, typ: types.StringType, about: about, words: words, value: func(f policy.Facts) (ref.Val, bool) {
		s := get(f)
		return types.String(s), s != ""
	}}
}

func number(name, about string, get func(policy.Facts) (int64, bool)) field {
	return field{name: name, typ: types.IntType, about: about, value: func(f policy.Facts) (ref.Val, bool) {
		n, known := get(f)
		return types.Int(n), known
	}}
}

func flag(name, about string, get func(policy.Facts) bool) field {
	return field{name: name, typ: types.BoolType, about: about, value: func(f policy.Facts) (ref.Val, bool) { return types.Bool(get(f)), true }}
}

func declared(objects ...object) []*object {
	out := make([]*object, 0, len(objects))
	for _, o := range objects {
		o.typ = types.NewObjectType("vpsguard."+strings.ToUpper(o.name[:1])+o.name[1:], traits.FieldTesterType|traits.IndexerType)
		o.byName = map[string]int{}
		for i, f := range o.fields {
			o.byName[f.name] = i
		}
		out = append(out, &o)
	}
	return out
}

// Reference is the variables as a table in Markdown.
func Reference() string {
	var b strings.Builder
	b.WriteString("| variable | type | what it is |\n|---|---|---|\n")
	row := func(name string, typ *types.Type, about string) {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, strings.ToLower(strings.TrimPrefix(typ.TypeName(), "google.protobuf.")), about)
	}
	for _, o := range objects {
		fmt.Fprintf(&b, "| **`%s`** | | %s |\n", o.name, o.about)
		for _, f := range o.fields {
			row(o.name+"."+f.name, f.typ, f.about)
		}
	}
	row(clock, types.TimestampType, aboutClock)
	return b.String()
}
