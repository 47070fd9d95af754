package rules

import (
	"fmt"
	"reflect"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/vpsguard/vpsguard/policy"
)

// variables are the values of all declarations for one decision. They are what
// CEL asks for names, and are not changed once made.
type variables struct {
	objects []*instance
	now     types.Timestamp
	long    bool // a text is longer than [mostText]
}

func valuesOf(f policy.Facts) *variables {
	v := &variables{now: types.Timestamp{Time: f.Now.UTC()}, objects: make([]*instance, 0, len(objects))}
	for _, o := range objects {
		in := &instance{of: o, values: make([]ref.Val, len(o.fields)), known: make([]bool, len(o.fields))}
		for i, d := range o.fields {
			in.values[i], in.known[i] = d.value(f)
			if s, ok := in.values[i].(types.String); ok && len(s) > mostText {
				v.long = true
			}
		}
		v.objects = append(v.objects, in)
	}
	return v
}

// ResolveName gives a variable to CEL.
func (v *variables) ResolveName(name string) (any, bool) {
	if name == clock {
		return v.now, true
	}
	for _, in := range v.objects {
		if in.of.name == name {
			return in, true
		}
	}
	return nil, false
}

// Parent is none.
func (v *variables) Parent() cel.Activation { return nil }

// instance is an object with values, as CEL sees it: fields and nothing else.
type instance struct {
	of     *object
	values []ref.Val
	known  []bool
}

// ConvertToNative is refused: nothing leaves the language.
func (in *instance) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("%s cannot be made a %s", in.of.name, t)
}

// ConvertToType knows only the type itself.
func (in *instance) ConvertToType(t ref.Type) ref.Val {
	if t == types.TypeType {
		return in.of.typ
	}
	return types.NewErr("%s cannot be made a %s", in.of.name, t.TypeName())
}

// Equal holds for the same object.
func (in *instance) Equal(other ref.Val) ref.Val { return types.Bool(other == ref.Val(in)) }

// Type is what the checker calls it.
func (in *instance) Type() ref.Type { return in.of.typ }

// Value is the instance itself.
func (in *instance) Value() any { return in }

// Get gives a field by its name, where only running tells which.
func (in *instance) Get(name ref.Val) ref.Val {
	if s, ok := name.(types.String); ok {
		if i, ok := in.of.byName[string(s)]; ok {
			return in.values[i]
		}
	}
	return types.NewErr("no such field: %v", name.Value())
}

// IsSet tells whether a field is known.
func (in *instance) IsSet(name ref.Val) ref.Val {
	if s, ok := name.(types.String); ok {
		if i, ok := in.of.byName[string(s)]; ok {
			return types.Bool(in.known[i])
		}
	}
	return types.NewErr("no such field: %v", name.Value())
}

// provider tells CEL's checker of the objects, beside the standard types.
type provider struct{ types.Provider }

func (provider) object(typ string) *object {
	for _, o := range objects {
		if o.typ.TypeName() == typ {
			return o
		}
	}
	return nil
}

// FindStructType tells that a type is there.
func (p provider) FindStructType(typ string) (*types.Type, bool) {
	if o := p.object(typ); o != nil {
		return types.NewTypeTypeWithParam(o.typ), true
	}
	return p.Provider.FindStructType(typ)
}

// FindStructFieldNames tells what a type holds.
func (p provider) FindStructFieldNames(typ string) ([]string, bool) {
	o := p.object(typ)
	if o == nil {
		return p.Provider.FindStructFieldNames(typ)
	}
	var names []string
	for _, f := range o.fields {
		names = append(names, f.name)
	}
	return names, true
}

// FindStructFieldType tells a field's type and how to read it.
func (p provider) FindStructFieldType(typ, name string) (*types.FieldType, bool) {
	o := p.object(typ)
	if o == nil {
		return p.Provider.FindStructFieldType(typ, name)
	}
	i, ok := o.byName[name]
	if !ok {
		return nil, false
	}
	return &types.FieldType{
		Type: o.fields[i].typ,
		IsSet: func(target any) bool {
			in, ok := target.(*instance)
			return ok && in.of == o && in.known[i]
		},
		GetFrom: func(target any) (any, error) {
			in, ok := target.(*instance)
			if !ok || in.of != o {
				return nil, fmt.Errorf("no such field: %s", name)
			}
			return in.values[i], nil
		},
	}, true
}
