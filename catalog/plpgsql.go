package catalog

import (
	"bytes"

	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// How a body in PL/pgSQL comes apart into statements of SQL and pieces with expressions (manual, chapter 43; pl/plpgsql/src/pl_gram.y). A piece
// that is taken for another kind costs a deed too many, never one too few: every identifier and every call in it is looked at
// in any case, and what begins a statement of SQL is read as such wherever it may stand first.

// plpgsql reads a body.
func (r *reader) plpgsql(text []byte, depth int) {
	if depth >= depthMax {
		r.to.does(Anything, text)
		return
	}
	tokens := sqltext.AppendTokens(r.tokens[depth][:0], text, r.dialect)
	r.tokens[depth] = tokens
	parens, start, declares := 0, 0, false
	cut := func(i int) {
		r.plpgsqlPiece(text, tokens[start:i], declares, depth)
		start = i + 1
	}
	for i, t := range tokens {
		if parens = max(parens+nesting(t), 0); parens > 0 {
			continue
		}
		switch {
		case t.IsSign(";"), !declares && (t.Is("then") || t.Is("else") || t.Is("loop")):
			cut(i)
		case t.IsSign(">>") && i == start+2 && tokens[start].IsSign("<<"): // a label
			start = i + 1
		case t.Is("begin"), t.Is("exception") && start == i: // #variable_conflict may stand before a block
			cut(i)
			declares = false
		case t.Is("declare"):
			cut(i)
			declares = true
		}
	}
	cut(len(tokens))
}

// plpgsqlPiece reads what stands between two separators.
func (r *reader) plpgsqlPiece(text []byte, tokens []sqltext.Token, declares bool, depth int) {
	if len(tokens) == 0 {
		return
	}
	p := piece{text: text, tokens: tokens, depth: depth}
	switch {
	case declares:
		p.from = expressionOfDeclaration(tokens)
	case isAssignment(tokens):
		p.from = behindAssignment(tokens)
	case plpgsqlWords[string(tokens[0].Text)] && tokens[0].Kind == sqltext.Word:
		p.from = 1
	default:
		p.statement = true
	}
	r.statement(p)
	for i, t := range tokens {
		if t.Is("execute") && !p.statement {
			r.execute(p, tokens[i+1:])
		}
	}
}

// plpgsqlWords begin what is no statement of SQL.
var plpgsqlWords = map[string]bool{
	"perform": true, "return": true, "if": true, "elsif": true, "elseif": true, "while": true, "for": true, "foreach": true, "raise": true,
	"assert": true, "get": true, "when": true, "open": true, "fetch": true, "move": true, "close": true, "case": true, "execute": true,
	"exit": true, "continue": true, "null": true, "end": true, "commit": true, "rollback": true,
}

// isAssignment reports whether a piece begins with a variable that gets a value.
func isAssignment(tokens []sqltext.Token) bool {
	if len(tokens) < 2 || tokens[0].Kind == sqltext.Sign {
		return false
	}
	switch string(tokens[1].Text) {
	case ":=", "=", ".", "[":
		return tokens[1].Kind == sqltext.Sign
	}
	return false
}

// behindAssignment is the first token of the value.
func behindAssignment(tokens []sqltext.Token) int {
	for i, t := range tokens {
		if t.IsSign(":=") || t.IsSign("=") {
			return i + 1
		}
	}
	return 1
}

// expressionOfDeclaration is the first token of a default or of a cursor's query; the number of tokens when there is none.
func expressionOfDeclaration(tokens []sqltext.Token) int {
	for i, t := range tokens {
		if t.IsSign(":=") || t.IsSign("=") || i > 0 && (t.Is("default") || t.Is("for") || t.Is("is")) {
			return i + 1
		}
	}
	return len(tokens)
}

// execute reads the text that an EXECUTE runs, as far as it is constant.
func (r *reader) execute(p piece, tokens []sqltext.Token) {
	end, depth := len(tokens), 0
	for i, t := range tokens {
		if depth += nesting(t); depth == 0 && (t.Is("using") || t.Is("into")) {
			end = i
			break
		}
	}
	text, ok := constantText(tokens[:end])
	if !ok {
		r.to.does(Anything, p.code())
		return
	}
	r.sql(text, p.depth+1)
}

// constantText puts together a text from constants and from what stands for itself and nothing else: names by quote_ident or %I, values by
// quote_literal, quote_nullable or %L. In their place are a placeholder, and a constant that nobody can read.
func constantText(tokens []sqltext.Token) (text []byte, ok bool) {
	for first := true; ; first = false {
		if !first {
			if len(tokens) == 0 {
				return text, true
			}
			if !tokens[0].IsSign("||") {
				return nil, false
			}
			tokens = tokens[1:]
		}
		var term []byte
		if term, tokens, ok = constantTerm(tokens); !ok {
			return nil, false
		}
		text = append(text, term...)
	}
}

const (
	computedName  = `"` + placeholder + `"`
	computedValue = `e'\` + placeholder + `'`
)

// constantTerm reads one operand.
func constantTerm(tokens []sqltext.Token) (text []byte, rest []sqltext.Token, ok bool) {
	if len(tokens) == 0 {
		return nil, nil, false
	}
	t := tokens[0]
	if t.Kind == sqltext.String {
		return t.Text, tokens[1:], !t.Inexact
	}
	if t.IsSign("(") {
		inside, rest, ok := cutParens(tokens)
		if ok {
			text, ok = constantText(inside)
		}
		return text, rest, ok
	}
	if t.Is("pg_catalog") && len(tokens) > 2 && tokens[1].IsSign(".") {
		tokens = tokens[2:]
		t = tokens[0]
	}
	if len(tokens) < 2 || !tokens[1].IsSign("(") {
		return nil, nil, false
	}
	inside, rest, ok := cutParens(tokens[1:])
	if !ok {
		return nil, nil, false
	}
	switch {
	case t.Is("quote_ident"):
		return []byte(computedName), rest, true
	case t.Is("quote_literal"), t.Is("quote_nullable"):
		return []byte(computedValue), rest, true
	case t.Is("format"):
		template, _, _ := cutArgument(inside)
		if len(template) != 1 || template[0].Kind != sqltext.String || template[0].Inexact {
			return nil, nil, false
		}
		text, ok = expandFormat(template[0].Text)
		return text, rest, ok
	}
	return nil, nil, false
}

// cutParens is what stands in the parentheses with which tokens begin, and what stands behind them.
func cutParens(tokens []sqltext.Token) (inside, rest []sqltext.Token, ok bool) {
	depth := 0
	for i, t := range tokens {
		if depth += nesting(t); depth == 0 {
			return tokens[1:i], tokens[i+1:], true
		}
	}
	return nil, nil, false
}

// expandFormat is the text that format() makes of a template; ok is false for %s, which may be anything.
func expandFormat(template []byte) (text []byte, ok bool) {
	for {
		before, after, found := bytes.Cut(template, []byte("%"))
		text = append(text, before...)
		if !found {
			return text, true
		}
		i := 0
		for i < len(after) && (after[i] >= '0' && after[i] <= '9' || after[i] == '$') {
			i++
		}
		if i == len(after) {
			return nil, false
		}
		switch {
		case after[i] == 'I':
			text = append(text, computedName...)
		case after[i] == 'L':
			text = append(text, computedValue...)
		case after[i] == '%' && i == 0:
			text = append(text, '%')
		default:
			return nil, false
		}
		template = after[i+1:]
	}
}
