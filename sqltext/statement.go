package sqltext

// statement is the half of a Lexer that knows what the tokens mean: of the statement in progress, and of the text so far.
type statement struct {
	// of the text
	effects     Effects
	statements  int
	assignments []assignment
	listenings  []listening
	names       []name // of prepared statements and savepoints
	text        []byte // what tokens and assignments point into

	// of the statement
	verb           verb
	previous       word // the last word, if it says something about the next
	tokensSeen     int  // none: the statement is empty so far
	parens         int
	argumentParens int
	atomic         int     // of BEGIN ATOMIC ... END: statements within the statement
	temp           bool    // it makes something temporary
	dropped        bool    // ON COMMIT DROP
	calling        Effects // of the function whose name was the last word
	local          bool    // what it sets ends with the transaction
	setConfig      call    // where a SELECT of nothing but set_config stands
	firstAssign    int     // assignments before this one are of other statements
	updates        bool    // the word UPDATE stands in it
	watching       bool    // see watcher
	dotAt          int     // tokensSeen at the last dot
	lengths        *[256]uint64

	// what is kept of it
	recording   recording
	tokens      [tokensMax]keptToken
	tokenCount  int // may exceed tokensMax: the rest is not kept
	paramNumber int

	watcher watcher
}

const (
	// tokensMax is as many as the longest statement has that is read as a whole: SET LOCAL SESSION CHARACTERISTICS ...; a name of many
	// parts; the arguments of a set_config with casts.
	tokensMax = 20
	// captureMax bounds what is kept of a text. Values that do not fit are asked of the server.
	captureMax = 4 << 10
	// assignmentsMax bounds the parameters set in one text.
	assignmentsMax = 64
	// paramMax is the highest number of a bound parameter.
	paramMax = 1<<16 - 1
)

// verb is what kind of statement it is, as far as it matters.
type verb uint8

const (
	verbNone    verb = iota // no word yet
	verbOther               // only functions in it matter
	verbExplain             // what it explains may run
	verbCreate              // up to the word that says what is made
	verbCreated
	verbRoutine // CREATE FUNCTION or PROCEDURE
	verbDeclare // up to FOR
	verbHeaded  // judged at its end by its first tokens
)

// call says how much of a statement is SELECT set_config(...) [AS name], ... and nothing else: then it runs as surely as the statement.
type call uint8

const (
	callNone    call = iota
	callStart        // behind SELECT
	callExpect       // behind a comma
	callSchema       // behind pg_catalog
	callDot          // behind pg_catalog.
	callName         // behind set_config
	callInside       // in its arguments
	callClosed       // behind them
	callAs           // behind AS
	callAliased      // behind the alias
	callImpure       // the statement has something else
)

// word is a word that says something about the next.
type word uint8

const (
	wordNone word = iota
	wordInsert
	wordInto
	wordOn
	wordOnCommit
	wordBegin
	wordWith
	wordFunction  // its effects are in calling
	wordSetConfig // likewise
	wordExecute   // a prepared statement is named
)

// assignment is an Assignment whose name and value are in the text.
type assignment struct {
	nameFrom, nameTo, valueFrom, valueTo int32
	nameParam, valueParam                int32
	statement                            int32
	named, reset, exact, maybe, local    bool
}

func (s *statement) beginText() {
	s.effects, s.statements = 0, 0
	s.assignments, s.listenings, s.names, s.text = s.assignments[:0], s.listenings[:0], s.names[:0], s.text[:0]
	if s.watching || s.lengths == nil {
		s.watching, s.watcher, s.lengths = false, watcher{}, &interesting
	}
	s.beginStatement()
}

func (s *statement) beginStatement() {
	s.updates, s.dotAt = false, -1
	s.verb, s.previous, s.tokensSeen, s.parens, s.atomic = verbNone, wordNone, 0, 0, 0
	s.temp, s.dropped, s.local, s.calling, s.setConfig = false, false, false, 0, callNone
	s.recording, s.tokenCount, s.firstAssign = recordNothing, 0, len(s.assignments)
}

// endStatement judges the statement at its semicolon or the end of the text.
func (s *statement) endStatement() {
	if s.tokensSeen == 0 {
		return
	}
	if s.recording == recordStatement {
		s.judge()
	}
	if s.temp && !s.dropped {
		s.effects |= MakesTemp
	}
	if s.setConfig == callImpure {
		for i := s.firstAssign; i < len(s.assignments); i++ {
			s.assignments[i].exact, s.assignments[i].maybe = false, true // a row that is not there, a branch not taken
		}
	}
	s.statements++
	s.beginStatement()
}

// word takes a word without quotes.
func (s *statement) word(w []byte) {
	s.tokensSeen++
	if s.verb == verbOther && s.previous == wordNone && s.setConfig <= callStart && s.lengths[w[0]]>>min(len(w), identifierMax)&1 == 0 {
		s.setConfig = callNone
		return
	}
	if s.watching {
		s.watchWord(w, false)
	}
	var folded [identifierMax]byte
	s.folded(foldWord(&folded, w))
}

func (s *statement) folded(w []byte) {
	if s.recording != recordNothing {
		s.keep(tokenWord, w)
		if s.recording == recordStatement {
			return
		}
	}
	previous := s.previous
	s.previous = wordNone
	switch s.verb {
	case verbNone:
		s.first(w)
		return
	case verbExplain:
		s.explained(w)
		return
	case verbCreate:
		s.created(w)
		return
	case verbRoutine:
		s.inRoutine(w, previous)
	case verbDeclare:
		switch string(w) {
		case "for":
			s.verb = verbOther
		case "with":
			s.previous = wordWith
		case "hold":
			if previous == wordWith {
				s.effects |= HoldsCursor
			}
		}
	case verbCreated, verbOther, verbHeaded:
	}
	s.anywhere(w, previous)
}

// first takes the first word of a statement.
func (s *statement) first(w []byte) {
	s.verb = verbOther
	switch string(w) {
	case "select":
		s.setConfig = callStart
	case "insert":
		s.effects |= Writes | DrawsSequence
		s.previous = wordInsert
	case "update":
		s.effects |= Writes
		s.updates = true
	case "delete":
		s.effects |= Writes
	default:
		s.firstOther(w)
	}
}

// firstOther takes those that are less frequent.
func (s *statement) firstOther(w []byte) {
	switch string(w) {
	case "with", "values", "table", "fetch", "move", "close", "show", "lock", "checkpoint":
	case "merge":
		s.effects |= Writes | DrawsSequence
		s.previous = wordInsert
	case "copy":
		s.effects |= Writes | DrawsSequence
	case "truncate":
		s.effects |= Writes
	case "create":
		s.effects |= Creates | Defines
		s.verb = verbCreate
	case "declare":
		s.verb = verbDeclare
	case "explain":
		s.verb = verbExplain
	case "set", "reset", "begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release", "prepare", "deallocate", "discard",
		"listen", "unlisten", "notify", "load", "do", "call", "execute":
		s.verb, s.recording = verbHeaded, recordStatement
		s.keep(tokenWord, w)
	default:
		s.effects |= Defines
	}
}

// explained takes a word behind EXPLAIN: its options, then a statement, which ANALYZE would run.
func (s *statement) explained(w []byte) {
	if s.parens > 0 {
		return
	}
	switch string(w) {
	case "analyze", "analyse", "verbose":
		return
	case "execute":
		s.effects |= Executes
		s.verb, s.previous = verbOther, wordExecute
		return
	}
	s.first(w)
	s.setConfig = callNone // without ANALYZE it does not run
	if s.verb == verbHeaded {
		s.verb, s.recording, s.tokenCount = verbOther, recordNothing, 0
	}
}

// created takes the words of CREATE that come before what is made.
func (s *statement) created(w []byte) {
	switch string(w) {
	case "or", "replace", "global", "local":
	case "temp", "temporary":
		s.temp = true
		s.verb = verbCreated
	case "function", "procedure":
		s.verb = verbRoutine
	default:
		s.verb = verbCreated
	}
}

// inRoutine watches for a body that is not a string: its semicolons do not end the statement.
func (s *statement) inRoutine(w []byte, previous word) {
	switch string(w) {
	case "begin":
		s.previous = wordBegin
	case "atomic":
		if previous == wordBegin {
			s.atomic++
		}
	case "case":
		if s.atomic > 0 {
			s.atomic++
		}
	case "end":
		s.atomic = max(s.atomic-1, 0)
	}
}

// anywhere takes the words that matter wherever they stand.
func (s *statement) anywhere(w []byte, previous word) {
	if previous == wordExecute {
		s.executed(w)
	}
	if s.setConfig != callNone {
		s.wordOfCall(w)
	}
	switch string(w) {
	case "insert", "merge":
		s.effects |= Writes | DrawsSequence
		s.previous = wordInsert
	case "update":
		s.effects |= Writes
		s.updates = true
	case "delete":
		s.effects |= Writes
	case "into":
		if previous != wordInsert {
			s.effects |= Creates
			s.previous = wordInto
		}
	case "temp", "temporary":
		s.temp = s.temp || previous == wordInto
	case "global", "local":
		if previous == wordInto {
			s.previous = wordInto
		}
	case "on":
		s.previous = wordOn
	case "commit":
		if previous == wordOn {
			s.previous = wordOnCommit
		}
	case "drop":
		s.dropped = s.dropped || previous == wordOnCommit
	default:
		s.name(w)
	}
}

// name takes a name, quoted or not, that may be one of those that matter.
func (s *statement) name(w []byte) {
	if len(w) < 6 || w[0] == 'p' && (w[1] != 'g' || w[2] != '_') {
		return
	}
	switch string(w) {
	case "set_config":
		s.previous = wordSetConfig
	case "execute":
		if s.verb == verbCreated {
			s.effects |= Executes // CREATE TABLE ... AS EXECUTE
			s.previous = wordExecute
		}
	case "pg_settings":
		if s.updates {
			s.effects |= Unreadable // a rule makes it a set_config of whatever rows there are
		}
	default:
		if e := functionEffects(w); e != 0 {
			s.previous, s.calling = wordFunction, e
		} else if len(w) >= 7 && string(w[:7]) == "pg_temp" && (len(w) == 7 || w[7] == '_') {
			s.effects |= MakesTemp
		}
	}
}

// wordOfCall follows SELECT set_config(...) word by word.
func (s *statement) wordOfCall(w []byte) {
	switch {
	case s.setConfig == callInside:
	case (s.setConfig == callStart || s.setConfig == callExpect) && string(w) == "pg_catalog":
		s.setConfig = callSchema
	case (s.setConfig == callStart || s.setConfig == callExpect || s.setConfig == callDot) && string(w) == "set_config":
		s.setConfig = callName
	case s.setConfig == callClosed && string(w) == "as":
		s.setConfig = callAs
	case s.setConfig == callAs:
		s.setConfig = callAliased
	default:
		s.setConfig = callImpure
	}
}

// quoted takes an identifier in double quotes.
func (s *statement) quoted(w []byte) {
	s.tokensSeen++
	if s.watching {
		s.watchWord(w, true)
	}
	if s.recording != recordNothing {
		s.keep(tokenQuoted, w)
		if s.recording == recordStatement {
			return
		}
	}
	previous := s.previous
	s.previous = wordNone
	switch s.verb {
	case verbNone, verbExplain:
		s.verb = verbOther
	case verbCreate:
		s.verb = verbCreated
	case verbOther, verbCreated, verbRoutine, verbDeclare, verbHeaded:
	}
	if s.setConfig != callNone {
		s.wordOfCall(w)
	}
	if previous == wordExecute {
		s.executed(w)
	}
	if len(w) > 0 && s.lengths[w[0]]>>min(len(w), identifierMax)&1 != 0 {
		s.name(w)
	}
}

// punct takes one of the signs of the grammar.
func (s *statement) punct(c byte) {
	if c == ';' && s.parens == 0 && s.atomic == 0 {
		s.endStatement()
		return
	}
	s.tokensSeen++
	previous := s.previous
	s.previous = wordNone
	switch c {
	case '.':
		s.dotAt = s.tokensSeen
	case '(':
		if s.watching {
			s.watchParenthesis()
		}
		s.parens++
		if previous == wordFunction {
			s.effects |= s.calling
		}
		if previous == wordSetConfig && s.beginArguments() {
			return
		}
	case ')':
		s.parens = max(s.parens-1, 0)
		if s.recording == recordArguments && s.parens < s.argumentParens {
			s.endArguments()
			return
		}
	}
	s.sign(c)
}

// other takes a sign that means nothing here but that it is there.
func (s *statement) other(c byte) {
	s.tokensSeen++
	s.previous = wordNone
	s.sign(c)
}

func (s *statement) sign(c byte) {
	if s.recording != recordNothing {
		var text [1]byte
		text[0] = c
		s.keep(tokenPunct, text[:])
		return
	}
	switch {
	case s.setConfig == callSchema && c == '.':
		s.setConfig = callDot
	case (s.setConfig == callClosed || s.setConfig == callAliased) && c == ',':
		s.setConfig = callExpect
	default:
		s.impure()
	}
}

// impure notes that the statement is not SELECT set_config(...) alone.
func (s *statement) impure() {
	if s.setConfig <= callStart {
		s.setConfig = callNone
	} else {
		s.setConfig = callImpure
	}
}

// number takes a number, without its sign.
func (s *statement) number(text []byte) {
	s.value()
	if s.recording != recordNothing {
		s.keep(tokenNumber, text)
	}
}

// param takes $n.
func (s *statement) param() {
	s.value()
	if s.recording != recordNothing {
		s.keep(tokenParam, nil)
		if s.tokenCount <= tokensMax {
			s.tokens[s.tokenCount-1].param = int32(s.paramNumber)
		}
	}
}

// value notes a number, string or parameter.
func (s *statement) value() {
	s.tokensSeen++
	s.previous = wordNone
	if s.recording == recordNothing {
		s.impure()
	}
}
