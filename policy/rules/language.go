package rules

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"
)

// What a condition may be and cost. An ordinary one has 10 to 60 nodes and costs
// about as much.
const (
	mostRunes    = 4000
	mostNodes    = 1000
	mostDepth    = 60
	mostCost     = 10_000
	mostText     = 2000 // bytes of a variable; longer ones are judged with their cost counted
	mostNested   = 2    // comprehensions in each other
	mostRegex    = 1000
	mostRecovery = 5 // attempts of the parser to go on after an error
)

// unsaid are functions that make texts instead of judging them, and could make
// large ones within their cost.
var unsaid = []string{"replace", "join", "format", "strings.quote"}

// language is the environment of all conditions: the standard library, the
// functions on strings and the variables. Nothing in it reads anything.
var language = sync.OnceValues(func() (*cel.Env, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	options := []cel.EnvOption{
		cel.CustomTypeAdapter(registry), cel.CustomTypeProvider(provider{registry}),
		cel.DefaultUTCTimeZone(true),
		cel.ParserExpressionSizeLimit(mostRunes), cel.ParserRecursionLimit(mostDepth),
		cel.ParserErrorRecoveryLimit(mostRecovery), cel.ExpressionNodeLimit(mostNodes),
		cel.RegexProgramSizeLimit(mostRegex),
		ext.Strings(),
		cel.ASTValidators(
			cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals(),
			cel.ValidateHomogeneousAggregateLiterals(), cel.ValidateComprehensionNestingLimit(mostNested),
			house{},
		),
		cel.Variable(clock, cel.TimestampType),
	}
	for _, o := range objects {
		options = append(options, cel.Variable(o.name, o.typ))
	}
	return cel.NewEnv(options...)
})

// wrong is what CEL says of a condition: where in its text, and what.
type wrong struct {
	line, column int // from 1 and from 0, as CEL counts; 0, 0 where it does not say
	says         string
}

// condition is a compiled condition. Counting its cost takes longer than judging
// by it; where the checker has proven that no values within [mostText] make it
// cost too much, it is not counted.
type condition struct {
	counted cel.Program
	proven  cel.Program // nil where nothing is proven
}

// sizes tells the checker how long the variables are.
type sizes struct{}

// EstimateSize bounds the texts of the variables.
func (sizes) EstimateSize(n cost.AstNode) *cost.SizeEstimate {
	if n.Type().IsExactType(cel.StringType) && len(n.Path()) == 2 {
		return &cost.SizeEstimate{Max: mostText}
	}
	return nil
}

// EstimateCallCost leaves functions to CEL.
func (sizes) EstimateCallCost(_, _ string, _ *cost.AstNode, _ []cost.AstNode) *cost.CallEstimate {
	return nil
}

// compile makes a condition ready to run, or tells what is wrong with it.
func compile(text string) (*condition, *wrong) {
	env, err := language()
	if err != nil {
		return nil, &wrong{says: err.Error()}
	}
	checked, issues := env.Compile(text)
	if found := issues.Errors(); len(found) > 0 {
		first := slices.MinFunc(found, func(a, b *cel.Error) int {
			if d := a.Location.Line() - b.Location.Line(); d != 0 {
				return d
			}
			return a.Location.Column() - b.Location.Column()
		})
		return nil, &wrong{first.Location.Line(), first.Location.Column(), first.Message}
	}
	if issues.Err() != nil {
		return nil, &wrong{says: issues.Err().Error()}
	}
	if is := checked.OutputType(); !is.IsExactType(cel.BoolType) {
		return nil, &wrong{says: fmt.Sprintf("a condition is true or false, and this one is a %s", is)}
	}
	var c condition
	fast := cel.EvalOptions(cel.OptOptimize)
	if c.counted, err = env.Program(checked, fast, cel.CostLimit(mostCost)); err != nil {
		return nil, &wrong{says: err.Error()}
	}
	if most, err := env.EstimateCost(checked, sizes{}); err == nil && most.Max <= mostCost {
		if c.proven, err = env.Program(checked, fast); err != nil {
			return nil, &wrong{says: err.Error()}
		}
	}
	return &c, nil
}

// house finds what type-checks and yet cannot be meant.
type house struct{}

// Name is the validator's name within CEL.
func (house) Name() string { return "vpsguard.house" }

// Validate reports what it finds at its place in the condition.
func (h house) Validate(_ *cel.Env, _ cel.ValidatorConfig, a *ast.AST, found *cel.Issues) {
	ast.PreOrderVisit(a.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() == ast.StructKind {
			found.ReportErrorAtID(e.ID(), "objects cannot be made in a condition, only compared")
		}
		if e.Kind() != ast.CallKind {
			return
		}
		call := e.AsCall()
		if slices.Contains(unsaid, call.FunctionName()) {
			found.ReportErrorAtID(e.ID(), "there is no %s in conditions: they judge texts and make none", call.FunctionName())
		}
		if args := call.Args(); len(args) == 2 && !call.IsMemberFunction() {
			h.words(a, call.FunctionName(), args[0], args[1], found)
		}
	}))
}

// words finds a comparison with a word that a field never is: a slip of the
// finger that would make a rule never match.
func (house) words(a *ast.AST, function string, left, right ast.Expr, found *cel.Issues) {
	var against []ast.Expr
	switch function {
	case operators.Equals, operators.NotEquals:
		if left.Kind() == ast.LiteralKind {
			left, right = right, left
		}
		against = []ast.Expr{right}
	case operators.In:
		if right.Kind() == ast.ListKind {
			against = right.AsList().Elements()
		}
	}
	if left.Kind() != ast.SelectKind {
		return
	}
	selected := left.AsSelect()
	o := provider{}.object(a.GetType(selected.Operand().ID()).TypeName())
	if o == nil {
		return
	}
	f := o.fields[o.byName[selected.FieldName()]]
	for _, e := range against {
		if len(f.words) == 0 || e.Kind() != ast.LiteralKind {
			continue
		}
		if word, ok := e.AsLiteral().Value().(string); ok && !slices.Contains(f.words, word) {
			found.ReportErrorAtID(e.ID(), "%s.%s is never %q: it is %s", o.name, f.name, word, choice(f.words))
		}
	}
}

// choice lists quoted words for people: `"a", "b" or "c"`.
func choice(words []string) string {
	quoted := make([]string, 0, len(words))
	for _, w := range words {
		quoted = append(quoted, fmt.Sprintf("%q", w))
	}
	return either(quoted)
}

// either lists for people: "a, b or c".
func either(words []string) string { return listed(words, " or ") }

// listed lists for people, with a word before the last.
func listed(words []string, last string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + last + words[len(words)-1]
}

// holds runs a condition. It fails with CEL's own words.
func (c *condition) holds(v *variables) (bool, string) {
	program := c.proven
	if program == nil || v.long {
		program = c.counted
	}
	out, _, err := program.Eval(v)
	if err != nil {
		return false, err.Error()
	}
	if b, ok := out.(types.Bool); ok {
		return bool(b), ""
	}
	return false, "what is neither true nor false"
}
