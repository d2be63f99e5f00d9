package sqltext

// watcher is what a Lexer needs to look at identifiers. While statement.watching is not set, none of it is touched: statement.lengths then lets
// pass what matters anyway, and everything otherwise.
type watcher struct {
	mentions   *Names // nil: not asked for
	trusted    *Names // nil: not asked for
	called     [identifierMax]byte
	calledLen  int
	callableAt int // statement.tokensSeen at the last identifier, if it could be a function's
	naming     namingState
	namingAt   int // statement.tokensSeen when that was decided
}

// namingState says where the text is in a name that is no function's, though a parenthesis may follow it: INTO x (a, b), AS x (a, b).
type namingState uint8

const (
	namingNone namingState = iota
	namingNext             // it comes next
	namingSeen             // it has been seen; a dot continues it
)

// everything lets all words pass.
var everything = func() (lengths [256]uint64) {
	for i := range lengths {
		lengths[i] = ^uint64(0)
	}
	return lengths
}()

// Watch has the Lexer look for names in the text that Begin has begun: where an identifier is one of them, quoted or not, qualified or not,
// End says Mentions. It holds until the next Begin. Nil and empty sets cost nothing.
func (l *Lexer) Watch(names *Names) {
	if !names.Empty() {
		l.watching, l.lengths, l.watcher.mentions = true, &everything, names
	}
}

// Trust has the Lexer look at the functions that the text calls, until the next Begin: where one is not among these names End says CallsUnknown.
// A function is an identifier with a parenthesis behind it. Some that are none are taken for one, such as the tables of a CREATE TABLE; the
// other way round, a function that is called as an attribute of a row (t.f) is overlooked, and one that has the name of a trusted one
// with other arguments is trusted.
func (l *Lexer) Trust(names *Names) {
	if names != nil {
		l.watching, l.lengths, l.watcher.trusted = true, &everything, names
	}
}

// watchWord takes an identifier or a keyword.
func (s *statement) watchWord(w []byte, quoted bool) {
	n := s.watcher.mentions
	if n != nil && s.effects&Mentions == 0 && n.mayHave(w) {
		var folded [identifierMax]byte
		name := w[:min(len(w), identifierMax)]
		if !quoted {
			name = foldWord(&folded, w)
		}
		if n.Has(wholeRunes(name)) {
			s.effects |= Mentions
		}
	}
	if s.watcher.trusted != nil {
		s.watchCall(w, quoted)
	}
}

// watchCall remembers what may be called, until a parenthesis shows that it is.
func (s *statement) watchCall(w []byte, quoted bool) {
	at := &s.watcher
	naming := at.naming == namingNext && at.namingAt == s.tokensSeen-1 ||
		at.naming == namingSeen && at.namingAt == s.tokensSeen-2 && s.dotAt == s.tokensSeen-1
	callable := !naming && s.verb != verbNone // the first word of a statement is none
	at.naming = namingNone
	if naming {
		at.naming, at.namingAt = namingSeen, s.tokensSeen
	}
	if quoted {
		at.calledLen = copy(at.called[:], w)
	} else {
		folded := foldWord(&at.called, w)
		at.calledLen = len(folded)
		if notCalled[string(folded)] {
			callable = false
			switch string(folded) {
			case "into", "as", "copy", "references":
				at.naming, at.namingAt = namingNext, s.tokensSeen
			}
		}
	}
	at.callableAt = -1
	if callable {
		at.callableAt = s.tokensSeen
	}
}

// watchParenthesis takes an opening parenthesis.
func (s *statement) watchParenthesis() {
	at := &s.watcher
	if at.trusted != nil && at.callableAt == s.tokensSeen-1 && at.callableAt >= 0 && !at.trusted.Has(at.called[:at.calledLen]) {
		s.effects |= CallsUnknown
	}
}
