package catalog

import (
	"bytes"

	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// mention is an identifier in a body or text, and how it stands there.
type mention struct {
	name   []byte
	calls  bool // a parenthesis follows
	dotted bool // a dot comes before it
	writes bool // its statement may write to relations
}

// findings takes what a reader finds.
type findings interface {
	// does takes a deed of the code itself. why is the piece of code that does it.
	does(d Deed, why []byte)
	// sets and listens take the name of a parameter or a channel.
	sets(name string, why []byte)
	listens(channel string, why []byte)
	// mentions takes a name that may be a function's, a relation's or a type's.
	mentions(m mention)
	// operator takes an operator's sign.
	operator(sign []byte)
	// defined is called for a statement that defines something: event triggers may run.
	defined()
	// unnamed is called for a relation whose name is computed: any.
	unnamed(writes bool)
}

// depthMax bounds how deep texts may stand in texts: DO in DO, EXECUTE of a constant that has another.
const depthMax = 6

// reader reads bodies of functions, and texts, with the Lexer and the tokens of package sqltext. It belongs to one goroutine.
type reader struct {
	lexer  sqltext.Lexer
	tokens [depthMax][]sqltext.Token
	to     findings
	// named: what the words of the outermost text say is left out, because the caller has had them read by a Lexer itself.
	named bool
	// creates and leads: see finish.
	creates, leads bool
	dialect        sqltext.Dialect // of the outermost text
}

// placeholder is the name that stands for one that is computed. No identifier of anybody's is like it.
const placeholder = "\x01"

// begin starts a body. named: only names are wanted, and what runs out of sight, in DO and in functions that execute text.
func (r *reader) begin(to findings, named bool, d sqltext.Dialect) {
	r.to, r.named, r.creates, r.leads, r.dialect = to, named, false, false, d
}

// finish ends a body: an object that it makes may be temporary where it has put pg_temp into search_path.
func (r *reader) finish() {
	if r.creates && r.leads {
		r.to.does(MakesTemp, []byte("an object is made under a search_path with pg_temp"))
	}
}

// sql reads statements of SQL.
func (r *reader) sql(text []byte, depth int) {
	if depth >= depthMax {
		r.to.does(Anything, text)
		return
	}
	tokens := sqltext.AppendTokens(r.tokens[depth][:0], text, r.dialect)
	r.tokens[depth] = tokens
	if depth > 0 && !onlyPlaceholders(text, tokens) {
		r.to.does(Anything, text)
		return
	}
	parens, start := 0, 0
	for i, t := range tokens {
		if parens = max(parens+nesting(t), 0); parens == 0 && t.IsSign(";") {
			r.statement(piece{text: text, tokens: tokens[start:i], statement: true, depth: depth})
			start = i + 1
		}
	}
	r.statement(piece{text: text, tokens: tokens[start:], statement: true, depth: depth})
}

// sqlBody reads the body of a function in SQL. One that has been parsed already comes as BEGIN ATOMIC ... END, or as RETURN and an expression.
func (r *reader) sqlBody(text []byte) {
	tokens := sqltext.AppendTokens(r.tokens[0][:0], text, r.dialect)
	r.tokens[0] = tokens
	if n := len(tokens); n > 2 && tokens[0].Is("begin") && tokens[1].Is("atomic") && tokens[n-1].Is("end") {
		text = text[tokens[1].To:tokens[n-1].From]
	}
	r.sql(text, 0)
}

// nesting is by how much a token changes the depth of parentheses.
func nesting(t sqltext.Token) int {
	if t.Kind == sqltext.Sign && len(t.Text) == 1 {
		switch t.Text[0] {
		case '(', '[':
			return 1
		case ')', ']':
			return -1
		}
	}
	return 0
}

// piece is a statement, or a part of a body that has expressions.
type piece struct {
	text      []byte
	tokens    []sqltext.Token
	from      int  // the first token that the Lexer reads
	statement bool // it is a statement of SQL
	depth     int
}

// code is the piece as it stands in its body.
func (p piece) code() []byte {
	if len(p.tokens) == 0 {
		return nil
	}
	return p.text[p.tokens[0].From:p.tokens[len(p.tokens)-1].To]
}

// statement reads a piece.
func (r *reader) statement(p piece) {
	if len(p.tokens) == 0 {
		return
	}
	if p.statement {
		switch first := p.tokens[0]; {
		case first.Is("do"):
			r.block(p)
			return
		case first.Is("call"):
			p.from = 1
		case first.Is("prepare") && len(p.tokens) > 1 && r.named && p.depth == 0:
			p.from = 1
		}
	}
	e := r.effects(p)
	defines := p.statement && p.from == 0 && e&sqltext.Defines != 0
	if defines || e&sqltext.Creates != 0 {
		r.to.defined()
	}
	writes := defines || e&sqltext.Writes != 0
	for i, t := range p.tokens {
		switch {
		case t.IsName():
			m := mention{
				name: t.Text, calls: i+1 < len(p.tokens) && p.tokens[i+1].IsSign("("),
				dotted: i > 0 && p.tokens[i-1].IsSign("."), writes: writes,
			}
			if t.Kind == sqltext.Quoted && string(t.Text) == placeholder {
				r.computed(p, i, writes, e)
			} else {
				r.to.mentions(m)
			}
		case t.Kind == sqltext.Sign && isOperator(t.Text):
			r.to.operator(t.Text)
		}
	}
}

// computed takes a name that is computed. It may be any, and without quotes any keyword that is not reserved; where that would make another
// statement of it, or the call of a function of PostgreSQL's, nobody knows what it does.
func (r *reader) computed(p piece, at int, writes bool, e sqltext.Effects) {
	before := sqltext.Token{}
	for i := at - 1; ; i -= 2 {
		if i >= 0 {
			before = p.tokens[i]
		}
		if i < 1 || !before.IsSign(".") {
			break
		}
	}
	calls := at+1 < len(p.tokens) && p.tokens[at+1].IsSign("(")
	first := p.tokens[0]
	switch string(first.Text) {
	case "set", "reset", "listen", "unlisten", "notify": // the name is none of a relation
		return
	}
	switch string(before.Text) {
	case "into":
		calls = false
		if e&sqltext.Creates != 0 {
			r.to.does(Anything, p.code()) // INTO temp x
		}
	case "table", "exists", "references":
		calls = false
	case "on":
		calls = calls && !first.Is("create")
	case "create", "replace", "with", "":
		r.to.does(Anything, p.code())
	}
	if calls || at == 0 {
		r.to.does(Anything, p.code())
	}
	r.to.unnamed(writes)
}

// onlyPlaceholders reports whether all that is computed in a text is a name or a value of its own: not part of a longer word, of a constant or
// of a comment, out of which it could break.
func onlyPlaceholders(text []byte, tokens []sqltext.Token) bool {
	count := bytes.Count(text, []byte(placeholder))
	for i := 0; i < len(tokens) && count > 0; i++ {
		t := tokens[i]
		if t.Kind == sqltext.Quoted && string(t.Text) == placeholder || t.Kind == sqltext.String && string(t.Text) == `\`+placeholder {
			count--
			if i > 0 && tokens[i-1].To == t.From && tokens[i-1].Kind != sqltext.Sign ||
				i+1 < len(tokens) && tokens[i+1].From == t.To && tokens[i+1].Kind != sqltext.Sign {
				return false
			}
		}
	}
	return count == 0
}

// isOperator reports whether a sign can be an operator's name.
func isOperator(sign []byte) bool {
	switch sign[0] {
	case '(', ')', '[', ']', ',', ';', '.', ':':
		return false
	}
	return true
}

// block reads DO [LANGUAGE name] 'body'.
func (r *reader) block(p piece) {
	language, body := "plpgsql", []byte(nil)
	for i, t := range p.tokens {
		switch {
		case t.Kind == sqltext.String && t.Inexact:
			r.to.does(Anything, p.code())
			return
		case t.Kind == sqltext.String && i > 0 && p.tokens[i-1].Is("language"):
			language = string(t.Text)
		case t.Kind == sqltext.String:
			body = t.Text
		case t.IsName() && i > 0 && p.tokens[i-1].Is("language"):
			language = string(t.Text)
		}
	}
	if language != "plpgsql" {
		r.to.does(Anything|CannotUndo, p.code())
		return
	}
	r.plpgsql(body, p.depth+1)
}

// effects has the Lexer read the piece, but for the word set_config, whose calls are read here.
func (r *reader) effects(p piece) sqltext.Effects {
	l := &r.lexer
	l.Begin(r.dialect)
	quiet := r.named && p.depth == 0
	if p.from > 0 || len(p.tokens) > 1 && p.tokens[1].IsSign("(") && !p.tokens[0].Is("explain") {
		l.Feed([]byte("values ")) // no first word of a statement follows, but perhaps a function behind THEN or ELSE
	}
	at := len(p.text)
	if p.from < len(p.tokens) {
		at = p.tokens[p.from].From
	}
	end := p.tokens[len(p.tokens)-1].To
	for i, t := range p.tokens {
		if t.IsName() && string(t.Text) == "set_config" && i+1 < len(p.tokens) && p.tokens[i+1].IsSign("(") {
			if !quiet {
				r.setConfig(p, i+2)
			}
			if t.From >= at {
				l.Feed(p.text[at:t.From])
				at = t.To
			}
		}
	}
	if at < end {
		l.Feed(p.text[at:end])
	}
	e := l.End()
	if quiet {
		if e&sqltext.Opaque != 0 {
			r.to.does(Anything, p.code())
		}
	} else {
		r.takes(e, p.code())
	}
	return e
}

// plainDeeds are the effects that are a deed as they are.
var plainDeeds = [...]struct {
	effect sqltext.Effects
	deed   Deed
}{
	{sqltext.ResetsAll, SetsAny},
	{sqltext.Unlistens, ListensAny},
	{sqltext.MakesTemp, MakesTemp},
	{sqltext.HoldsCursor, HoldsCursor},
	{sqltext.Prepares, Prepares},
	{sqltext.LocksAdvisory, LocksAdvisory},
	{sqltext.HoldsOther, HoldsOther},
	{sqltext.Seeds, Seeds},
	{sqltext.Loads, Anything | CannotUndo},
	{sqltext.DiscardsAll | sqltext.Deallocates | sqltext.Executes | sqltext.Opaque | sqltext.Unreadable, Anything},
}

// takes passes on what the Lexer has found.
func (r *reader) takes(e sqltext.Effects, why []byte) {
	r.creates = r.creates || e&sqltext.Creates != 0
	r.leads = r.leads || e&sqltext.LeadsToTemp != 0
	for _, p := range plainDeeds {
		if e&p.effect != 0 {
			r.to.does(p.deed, why)
		}
	}
	if e&sqltext.Assigns != 0 {
		for i := range r.lexer.Assignments() {
			switch a := r.lexer.Assignment(i); {
			case a.Local:
			case len(a.Name) == 0 || string(a.Name) == placeholder:
				r.to.does(SetsAny, why)
			default:
				r.to.sets(string(a.Name), why)
			}
		}
	}
	if e&sqltext.Listens != 0 {
		for i := range r.lexer.Listenings() {
			switch l := r.lexer.Listening(i); {
			case l.Stops || !l.Exact || string(l.Channel) == placeholder:
				r.to.does(ListensAny, why)
			default:
				r.to.listens(string(l.Channel), why)
			}
		}
	}
}

// setConfig reads the arguments of a set_config, the first of which is the token at.
func (r *reader) setConfig(p piece, at int) {
	const name, value, local = 0, 1, 2
	var single [3]sqltext.Token // those that are one token, perhaps with a cast behind it
	var plain [3]bool
	count := 0
	for which, rest := 0, p.tokens[at:]; which < 3; which++ {
		argument, more, closed := cutArgument(rest)
		as := which
		if len(argument) > 2 && (argument[1].IsSign("=>") || argument[1].IsSign(":=")) {
			switch string(argument[0].Text) {
			case "setting_name":
				as = name
			case "new_value":
				as = value
			case "is_local":
				as = local
			}
			argument = argument[2:]
		}
		if argument = withoutCast(argument); len(argument) == 1 {
			single[as], plain[as] = argument[0], !argument[0].Inexact
		}
		count++
		if closed {
			break
		}
		rest = more
	}
	if t := single[local]; count == 3 && plain[local] && (t.Is("true") || t.Kind == sqltext.String && (string(t.Text) == "true" || string(t.Text) == "t")) {
		t := single[name]
		r.leads = r.leads || !plain[name] || t.Kind != sqltext.String || bytes.EqualFold(t.Text, []byte("search_path"))
		return
	}
	t := single[name]
	if !plain[name] || t.Kind != sqltext.String {
		r.to.does(SetsAny, p.code())
		return
	}
	switch folded := string(bytes.ToLower(t.Text)); folded {
	case "transaction_isolation", "transaction_read_only", "transaction_deferrable":
	case "seed":
		r.to.does(Seeds, p.code())
	case "search_path":
		r.leads = r.leads || !plain[value] || single[value].Kind != sqltext.String || sqltext.PathLeadsToTemp(string(single[value].Text))
		r.to.sets(folded, p.code())
	default:
		r.to.sets(folded, p.code())
	}
}

// cutArgument takes the first argument off a list. closed: the list ends behind it.
func cutArgument(tokens []sqltext.Token) (argument, rest []sqltext.Token, closed bool) {
	depth := 0
	for i, t := range tokens {
		switch {
		case depth == 0 && t.IsSign(","):
			return tokens[:i], tokens[i+1:], false
		case depth == 0 && nesting(t) < 0:
			return tokens[:i], nil, true
		}
		depth += nesting(t)
	}
	return tokens, nil, true
}

// withoutCast takes ::text or ::boolean off an argument.
func withoutCast(tokens []sqltext.Token) []sqltext.Token {
	if n := len(tokens); n == 3 && tokens[1].IsSign("::") && (tokens[2].Is("text") || tokens[2].Is("bool") || tokens[2].Is("boolean")) {
		return tokens[:1]
	}
	return tokens
}
