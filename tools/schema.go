package tools

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/vpsguard/vpsguard/policy"
)

// toolName is what all known clients accept.
var toolName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// check refuses descriptors that cannot be a tool.
func check(d policy.Descriptor) error {
	wrong := func(what string) error {
		return policy.Errorf(policy.Invalid, "operation %q: %s", policy.Clean(d.Name, 64), what)
	}
	switch {
	case !toolName.MatchString(d.Name):
		return wrong("its name cannot be a tool's name")
	case !d.Effect.Valid():
		return wrong("its effect is unknown")
	case d.Title == "" || d.Summary == "":
		return wrong("it has no title or no summary")
	case (d.Rows == "") != (len(d.Record) == 0), d.Rows == "" && len(d.Detail) > 0:
		return wrong("its rows are not described")
	}
	seen := map[string]bool{"confirm": true, "force": true} // no argument may agree to anything
	for _, a := range d.Arguments {
		known := a.Type == policy.String || a.Type == policy.Integer || a.Type == policy.Boolean
		if a.Name == "" || seen[a.Name] || !known || len(a.Enum) > 0 && a.Type != policy.String {
			return wrong(fmt.Sprintf("the argument %q cannot be", a.Name))
		}
		seen[a.Name] = true
	}
	fields := slices.Concat(d.Record, []policy.Field{{Name: "", Type: "string"}}, d.Detail)
	seen = map[string]bool{}
	for _, f := range fields {
		if f.Name == "" { // rows end, what stands beside them begins
			seen = map[string]bool{"": true, "total": true, "next_cursor": true, "error": true, d.Rows: true}
		} else if seen[f.Name] {
			return wrong(fmt.Sprintf("the field %q is there twice", f.Name))
		}
		if !slices.Contains([]string{"string", "integer", "boolean", "object"}, f.Type) {
			return wrong(fmt.Sprintf("the field %q has no type", f.Name))
		}
		seen[f.Name] = true
	}
	return nil
}

// property is one property of an object in a JSON Schema.
type property struct {
	name     string
	schema   string
	required bool
}

// object writes the schema of an object that holds these properties and no
// others, in their order.
func object(of ...property) string {
	var b strings.Builder
	b.WriteString(`{"type":"object","properties":{`)
	var required []string
	for i, p := range of {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(quoted(p.name) + ":" + p.schema)
		if p.required {
			required = append(required, p.name)
		}
	}
	b.WriteByte('}')
	if len(required) > 0 {
		b.WriteString(`,"required":` + quoted(required))
	}
	b.WriteString(`,"additionalProperties":false}`)
	return b.String()
}

// list writes the schema of a list.
func list(of string) string { return `{"type":"array","items":` + of + `}` }

// quoted writes plain values as JSON.
func quoted(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return string(raw)
}

// maxInteger is the largest integer that every JSON client can send unharmed.
const maxInteger = 1<<53 - 1

// inputSchema describes exactly what [policy.ParseArguments] accepts.
func inputSchema(d policy.Descriptor) json.RawMessage {
	of := make([]property, 0, len(d.Arguments))
	for _, a := range d.Arguments {
		var b strings.Builder
		b.WriteString(`{"type":` + quoted(a.Type))
		if a.About != "" {
			b.WriteString(`,"description":` + quoted(a.About))
		}
		switch a.Type {
		case policy.Integer:
			most := a.Max
			if most == 0 {
				most = maxInteger
			}
			fmt.Fprintf(&b, `,"minimum":%d,"maximum":%d`, a.Min, most)
		case policy.String:
			switch {
			case len(a.Enum) > 0:
				b.WriteString(`,"enum":` + quoted(a.Enum))
			case a.Max > 0:
				fmt.Fprintf(&b, `,"maxLength":%d`, a.Max)
			}
		case policy.Boolean:
		}
		if a.Default != nil {
			b.WriteString(`,"default":` + quoted(a.Default))
		}
		b.WriteByte('}')
		of = append(of, property{a.Name, b.String(), a.Required})
	}
	return json.RawMessage(object(of...))
}

const (
	text    = `{"type":"string"}`
	number  = `{"type":"integer"}`
	boolean = `{"type":"boolean"}`
)

// outputSchema describes what a call gives. Nothing is required at the top:
// clients check the content of an error against the schema, too.
func outputSchema(d policy.Descriptor, label string) json.RawMessage {
	var of []property
	if label != "" {
		of = append(of, property{label, boolean, false})
	}
	if d.Rows != "" {
		of = append(of, property{"total", number, false}, property{d.Rows, list(object(fields(d.Record)...)), false})
		for _, f := range fields(d.Detail) {
			f.required = false
			of = append(of, f)
		}
		of = append(of, property{"next_cursor", text, false})
	} else {
		of = append(of, property{"request", requestSchema, false})
	}
	of = append(of, property{"error", object(
		property{"kind", text, true}, property{"message", text, true}, property{"hint", text, false}), false})
	return json.RawMessage(object(of...))
}

func fields(of []policy.Field) []property {
	out := make([]property, 0, len(of))
	for _, f := range of {
		schema := `{"type":` + quoted(f.Type) + `}`
		if f.Optional { // may also be there as null
			schema = `{"type":[` + quoted(f.Type) + `,"null"]}`
		}
		out = append(out, property{f.Name, schema, !f.Optional})
	}
	return out
}

// requestSchema describes a [requestResult].
var requestSchema = object(
	property{"id", text, true},
	property{"operation", text, true},
	property{"effect", text, true},
	property{"state", text, true},
	property{"server", object(property{"id", number, true}, property{"name", text, true}), true},
	property{"target", targetSchema, false},
	property{"targets", list(targetSchema), false},
	property{"losses", list(text), true},
	property{"warnings", list(text), true},
	property{"reason", text, false},
	property{"requester", object(
		property{"name", text, true}, property{"door", text, true}, property{"calls_itself", text, false}), true},
	property{"rules", list(text), true},
	property{"approvals", object(
		property{"needed", number, true},
		property{"given", list(object(
			property{"by", text, true}, property{"with", text, true}, property{"assurance", text, true},
			property{"at", text, true})), true}), true},
	property{"confirm_with", list(text), true},
	property{"waits_for", list(text), true},
	property{"approve_by", text, false},
	property{"start_by", text, false},
	property{"steps", list(object(
		property{"name", text, true}, property{"effect", text, true}, property{"state", text, true},
		property{"target", pointSchema, false}, property{"started_at", text, false}, property{"point", pointSchema, false}, property{"note", text, false})), true},
	property{"result", object(
		property{"why", text, false}, property{"ended_at", text, false},
		property{"created", pointSchema, false}, property{"undo", pointSchema, false}), false},
)

var (
	pointSchema  = object(property{"kind", text, true}, property{"id", number, true}, property{"name", text, false})
	targetSchema = object(
		property{"kind", text, true}, property{"id", number, true}, property{"name", text, false}, property{"created_at", text, true})
)
