package sqltext

// What the statements do whose first tokens say it all. The grammar is that of parser/gram.y; what PostgreSQL would refuse may be
// judged in any way, what it accepts and is not understood here is Unreadable.

// judge looks at the kept tokens of a whole statement.
func (s *statement) judge() {
	switch string(s.textOf(0)) {
	case "": // too much has been kept of the statements before it
		s.effects |= Unreadable
	case "set":
		s.judgeSet()
	case "reset":
		s.judgeReset()
	case "begin", "start":
		s.effects |= Begins
	case "commit", "end":
		if !s.is(1, "prepared") {
			s.effects |= Commits | s.chain()
		}
	case "rollback", "abort":
		s.judgeRollback()
	case "prepare":
		if s.is(1, "transaction") && s.kindOf(2) == tokenString {
			s.effects |= PreparesTransaction
		} else {
			s.effects |= Prepares
			s.nameToken(NamePrepared, 1)
		}
	case "deallocate":
		s.judgeDeallocate()
	case "discard":
		switch {
		case s.is(1, "all"):
			s.effects |= DiscardsAll
			s.listens(listening{stops: true, exact: true, ascii: true})
		case s.is(1, "temp"), s.is(1, "temporary"):
			s.effects |= DiscardsTemp
		}
	case "listen":
		s.effects |= Listens
		s.judgeListen(false)
	case "unlisten":
		s.effects |= Unlistens
		s.judgeListen(true)
	case "notify":
		s.effects |= Notifies
	case "load":
		s.effects |= Loads
	case "do", "call":
		s.effects |= Opaque
	case "execute":
		s.effects |= Executes
		s.nameToken(NameExecuted, 1)
	case "savepoint":
		s.effects |= Saves
		s.nameToken(NameSavepoint, 1)
	case "release":
		s.effects |= Releases
		s.nameToken(NameReleased, s.behind("savepoint", 1))
	}
}

// judgeRollback: ROLLBACK [WORK | TRANSACTION] [TO ... | AND [NO] CHAIN], ROLLBACK PREPARED.
func (s *statement) judgeRollback() {
	at := 1
	if s.is(at, "work") || s.is(at, "transaction") {
		at++
	}
	switch {
	case s.is(at, "to"):
		s.effects |= RollsBackTo
		s.nameToken(NameRolledBack, s.behind("savepoint", at+1))
	case s.is(at, "prepared"):
	default:
		s.effects |= RollsBack | s.chain()
	}
}

// chain is Chains when the statement ends with AND CHAIN.
func (s *statement) chain() Effects {
	if n := s.kept(); s.is(n-1, "chain") && s.is(n-2, "and") {
		return Chains
	}
	return 0
}

// judgeSet: SET [SESSION | LOCAL] ....
func (s *statement) judgeSet() {
	at := 1
	before := s.effects
	if (s.is(1, "session") || s.is(1, "local")) && !s.named(1) {
		s.local = s.is(1, "local")
		if s.local || !s.is(2, "authorization") && !s.is(2, "characteristics") {
			at = 2
		}
	}
	switch {
	case s.is(at, "time") && s.is(at+1, "zone"):
		s.assign("timezone", at+2)
	case s.is(at, "session") && s.is(at+1, "authorization"):
		s.assign("session_authorization", at+2)
	case s.is(at, "session") && s.is(at+1, "characteristics"):
		for _, name := range [...]string{
			"default_transaction_isolation", "default_transaction_read_only", "default_transaction_deferrable",
		} {
			s.assign(name, tokensMax)
		}
	case s.named(at):
		s.judgeGenericSet(at)
	case s.is(at, "role"):
		s.assign("role", at+1)
	case s.is(at, "names"):
		s.assign("client_encoding", at+1)
	case s.is(at, "schema"):
		s.assign("search_path", at+1)
	case s.is(at, "xml") && s.is(at+1, "option"):
		s.assign("xmloption", tokensMax)
	case s.is(at, "transaction"), s.is(at, "constraints"), s.is(at, "catalog"):
	default:
		s.effects |= Unreadable
	}
	if s.local {
		s.effects = before | s.effects&(AssignsLocally|LeadsToTemp|MakesTemp|Seeds)
	}
}

// named reports whether a parameter's name begins here, although the word could be a keyword: SET session.user = ....
func (s *statement) named(at int) bool {
	if s.kindOf(at) != tokenWord && s.kindOf(at) != tokenQuoted {
		return false
	}
	return s.sign1(at+1) == '.' || s.sign1(at+1) == '=' || s.is(at+1, "to") || s.is(at+1, "from")
}

// judgeGenericSet: name {= | TO} {value | DEFAULT}, or name FROM CURRENT.
func (s *statement) judgeGenericSet(at int) {
	from, to, next := s.nameAt(at)
	if next == 0 {
		s.effects |= Unreadable
		return
	}
	value := next + 1
	if s.is(next, "from") {
		value = tokensMax
	}
	s.assignName(from, to, value)
}

// nameAt reads a name of one or more parts into text[from:to]. next is the token behind it; 0 when it cannot be read.
func (s *statement) nameAt(at int) (from, to int32, next int) {
	from = int32(len(s.text))
	for {
		kind := s.kindOf(at)
		if kind != tokenWord && kind != tokenQuoted || s.tokens[at].inexact {
			return 0, 0, 0
		}
		s.appendFolded(s.textOf(at))
		if s.sign1(at+1) != '.' {
			break
		}
		s.text = append(s.text, '.')
		at += 2
	}
	return from, int32(len(s.text)), at + 1
}

func (s *statement) appendFolded(name []byte) {
	for _, c := range name {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		s.text = append(s.text, c)
	}
}

// judgeReset: RESET {ALL | TIME ZONE | SESSION AUTHORIZATION | TRANSACTION ISOLATION LEVEL | name}.
func (s *statement) judgeReset() {
	name := ""
	switch n := s.kept(); {
	case n == 2 && s.is(1, "all"):
		s.effects |= ResetsAll
		s.add(assignment{named: true, reset: true, exact: true})
		return
	case n == 3 && s.is(1, "time"):
		name = "timezone"
	case n == 3 && s.is(1, "session"):
		name = "session_authorization"
	case n == 4 && s.is(1, "transaction"):
		return
	}
	var from, to int32
	if name != "" {
		from = int32(len(s.text))
		s.text = append(s.text, name...)
		to = int32(len(s.text))
	} else {
		var next int
		if from, to, next = s.nameAt(1); next == 0 {
			s.effects |= Unreadable
			return
		}
	}
	s.add(assignment{nameFrom: from, nameTo: to, named: true, reset: true, exact: true})
}

// assign notes that the parameter gets the value at a token; the last tokens of the statement are all of the value.
func (s *statement) assign(name string, value int) {
	from := int32(len(s.text))
	s.text = append(s.text, name...)
	s.assignName(from, int32(len(s.text)), value)
}

func (s *statement) assignName(from, to int32, value int) {
	a := assignment{nameFrom: from, nameTo: to, named: true}
	name := string(s.text[from:to]) // does not escape: no allocation
	n := s.tokenCount
	if name == "search_path" && value < n {
		s.judgePath(value)
	}
	switch {
	case n > tokensMax || value >= n && name != "client_encoding":
	case value >= n: // SET NAMES
		a.reset, a.exact = true, true
	case value == n-1 && s.is(value, "default"), value == n-1 && name == "timezone" && s.is(value, "local"):
		a.reset, a.exact = true, true
	case quotedLists[name] && s.local:
		a.valueFrom, a.valueTo, a.exact = s.listAt(value)
	case quotedLists[name]:
	case value == n-1:
		a.valueFrom, a.valueTo, a.exact = s.valueAt(value)
	case value == n-2 && s.sign1(value) == '-' && s.kindOf(value+1) == tokenNumber && s.tokens[value].to == s.tokens[value+1].from:
		if _, a.valueTo, a.exact = s.valueAt(value + 1); a.exact {
			a.valueFrom = s.tokens[value].from
		}
	}
	s.add(a)
}

// valueAt is a value of one token.
func (s *statement) valueAt(at int) (from, to int32, exact bool) {
	t := s.tokens[at]
	switch t.kind {
	case tokenWord, tokenQuoted, tokenString:
		return t.from, t.to, !t.inexact
	case tokenNumber:
		// PostgreSQL writes 007 as 7.
		return t.from, t.to, !t.inexact && t.to-t.from < 10 && (s.text[t.from] != '0' || t.to-t.from == 1)
	case tokenParam, tokenPunct:
	}
	return 0, 0, false
}

// listAt is a list of names, each with what tells its kind of token.
func (s *statement) listAt(at int) (from, to int32, exact bool) {
	exact = true
	from = int32(len(s.text))
	for ; at < s.kept(); at++ {
		s.text = append(append(s.text, ' ', '0'+byte(s.kindOf(at))), s.textOf(at)...)
		exact = exact && !s.tokens[at].inexact
	}
	return from, int32(len(s.text)), exact
}

// add notes an assignment, unless it is none at all, or lasts for a transaction and decides no meaning.
func (s *statement) add(a assignment) {
	a.local, a.statement = s.local, int32(s.statements)
	switch string(s.text[a.nameFrom:a.nameTo]) {
	case "transaction_isolation", "transaction_read_only", "transaction_deferrable":
		return
	case "seed":
		s.effects |= Seeds
		return
	}
	if a.local && a.named && !DecidesMeaning(string(s.text[a.nameFrom:a.nameTo])) {
		return
	}
	if len(s.assignments) == assignmentsMax || len(s.text) > captureMax {
		s.effects |= Unreadable
		return
	}
	if a.local {
		s.effects |= AssignsLocally
	} else {
		s.effects |= Assigns
	}
	s.assignments = append(s.assignments, a)
}

// beginArguments is called behind set_config(. It reports false when the tokens are already kept for another.
func (s *statement) beginArguments() bool {
	if s.recording != recordNothing {
		s.effects |= Unreadable
		return false
	}
	s.recording, s.tokenCount, s.argumentParens = recordArguments, 0, s.parens
	if s.setConfig == callName {
		s.setConfig = callInside
	} else {
		s.setConfig = callImpure
	}
	return true
}

// endArguments judges set_config(name, value, is_local).
func (s *statement) endArguments() {
	s.recording = recordNothing
	if s.setConfig == callInside {
		s.setConfig = callClosed
	}
	name, value, local := s.argument(0)
	if name < 0 || s.tokenCount > tokensMax {
		s.effects |= Unreadable | AssignsUnnamed
		return
	}
	s.local = local >= 0 && s.isTrue(local)
	a := assignment{named: true}
	switch t := s.tokens[name]; {
	case t.kind == tokenString && !t.inexact:
		a.nameFrom = int32(len(s.text))
		s.appendFolded(s.textOf(name))
		a.nameTo = int32(len(s.text))
	case t.kind == tokenParam:
		a.named, a.nameParam = false, t.param
	case s.local:
		return
	default:
		s.effects |= Unreadable | AssignsUnnamed
		return
	}
	if value >= 0 {
		switch t := s.tokens[value]; t.kind {
		case tokenString:
			a.valueFrom, a.valueTo = t.from, t.to
			a.exact = !t.inexact && local >= 0 && (s.local || s.isFalse(local))
		case tokenParam:
			a.valueParam = t.param
			a.exact = local >= 0 && (s.local || s.isFalse(local))
		case tokenWord:
			a.reset = s.is(value, "null")
			a.exact = a.reset && local >= 0 && (s.local || s.isFalse(local))
		case tokenQuoted, tokenNumber, tokenPunct:
		}
	}
	if a.named && string(s.text[a.nameFrom:a.nameTo]) == "search_path" {
		s.judgePathValue(&a)
	}
	s.add(a)
}

// argument finds the tokens of three arguments that are one token each, perhaps with a cast to text behind it; -1 for one that is not.
func (s *statement) argument(at int) (name, value, local int) {
	found := [3]int{-1, -1, -1}
	for i := range found {
		if at >= s.kept() {
			break
		}
		single := at
		at++
		if s.sign1(at) == ':' && s.sign1(at+1) == ':' && (s.is(at+2, "text") || s.is(at+2, "bool") || s.is(at+2, "boolean")) {
			at += 3
		}
		end := at
		depth := 0
		for ; end < s.kept() && (depth > 0 || s.sign1(end) != ','); end++ {
			switch s.sign1(end) {
			case '(':
				depth++
			case ')':
				depth--
			}
		}
		if end == at {
			found[i] = single
		}
		at = end + 1
	}
	return found[0], found[1], found[2]
}

// isTrue and isFalse judge the last argument. A word of PostgreSQL's many others for them is neither.
func (s *statement) isTrue(at int) bool {
	return s.is(at, "true") || s.tokens[at].kind == tokenString && (s.reads(at, "true") || s.reads(at, "t"))
}

func (s *statement) isFalse(at int) bool {
	return s.is(at, "false") || s.tokens[at].kind == tokenString && (s.reads(at, "false") || s.reads(at, "f"))
}

// kept is the number of tokens that can be looked at.
func (s *statement) kept() int { return min(s.tokenCount, tokensMax) }

func (s *statement) kindOf(at int) tokenKind {
	if at < 0 || at >= s.kept() {
		return tokenPunct
	}
	return s.tokens[at].kind
}

func (s *statement) textOf(at int) []byte {
	if at < 0 || at >= s.kept() {
		return nil
	}
	return s.text[s.tokens[at].from:s.tokens[at].to]
}

// is reports that a token is this word, without quotes.
func (s *statement) is(at int, w string) bool {
	return s.kindOf(at) == tokenWord && string(s.textOf(at)) == w
}

func (s *statement) reads(at int, text string) bool { return string(s.textOf(at)) == text }

// sign1 is the sign that a token is; 0 for any other.
func (s *statement) sign1(at int) byte {
	if text := s.textOf(at); s.kindOf(at) == tokenPunct && len(text) == 1 {
		return text[0]
	}
	return 0
}

// Assignments is the number of parameters that the text sets or resets for the session.
func (s *statement) Assignments() int { return len(s.assignments) }

// Assignment is the i-th of them.
func (s *statement) Assignment(i int) Assignment {
	a := s.assignments[i]
	out := Assignment{
		NameParam: int(a.nameParam), ValueParam: int(a.valueParam), Reset: a.reset, Exact: a.exact, Maybe: a.maybe, Local: a.local,
		Statement: int(a.statement),
	}
	if a.named {
		out.Name = s.text[a.nameFrom:a.nameTo]
	}
	if a.exact && !a.reset && a.valueParam == 0 {
		out.Value = s.text[a.valueFrom:a.valueTo]
	}
	return out
}
