package sqltext

// watcher is the part of a Lexer that looks at identifiers. It costs nothing but a comparison per token while nothing is watched for.
type watcher struct {
	watching  bool
	mentions  *Names      // nil: not asked for
	trusted   *Names      // nil: not asked for
	callable  bool        // the last token was an identifier that could be a function's
	naming    namingState // what is no function's name, though ( may follow it: INTO x (a, b), AS x (a, b)
	called    [identifierMax]byte
	calledLen int
}

// namingState says where in such a name the text is.
type namingState uint8

const (
	namingNone namingState = iota
	namingNext             // it comes next
	namingSeen             // it has been seen; a dot continues it
)

// Watch has the Lexer look for names in the text that Begin has begun: where an identifier is one of them, quoted or not, qualified or not,
// End says Mentions. It holds until the next Begin. Nil and empty sets cost nothing.
func (l *Lexer) Watch(names *Names) {
	if !names.Empty() {
		l.watching, l.mentions = true, names
	}
}

// Trust has the Lexer look at the functions that the text calls, until the next Begin: where one is not among these names End says CallsUnknown.
// A function is an identifier with a parenthesis behind it. Some that are none are taken for one, such as the tables of a CREATE TABLE; the
// other way round, a function that is called as an attribute of a row (t.f) is overlooked, and one that has the name of a trusted one
// with other arguments is trusted.
func (l *Lexer) Trust(names *Names) {
	if names != nil {
		l.watching, l.trusted = true, names
	}
}

func (w *watcher) begin() {
	w.watching, w.mentions, w.trusted, w.callable, w.naming, w.calledLen = false, nil, nil, false, namingNone, 0
}

// watchWord takes an identifier or a keyword.
func (s *statement) watchWord(w []byte, quoted bool) {
	n := s.mentions
	if n != nil && s.effects&Mentions == 0 && s.mayMention(w) {
		var folded [identifierMax]byte
		name := w[:min(len(w), identifierMax)]
		if !quoted {
			name = foldWord(&folded, w)
		}
		if n.Has(wholeRunes(name)) {
			s.effects |= Mentions
		}
	}
	if s.trusted != nil {
		s.watchCall(w, quoted)
	}
}

// mayMention is a quick look: most identifiers pass no further.
func (s *statement) mayMention(w []byte) bool {
	if len(w) == 0 {
		return false
	}
	c := w[0]
	if c >= 'A' && c <= 'Z' {
		return s.mentions.lengths[c]>>min(len(w), identifierMax)&1 != 0 || s.mentions.lengths[c+'a'-'A']>>min(len(w), identifierMax)&1 != 0 ||
			s.mentions.all || s.mentions.foreign
	}
	return s.mentions.lengths[c]>>min(len(w), identifierMax)&1 != 0 || s.mentions.all || s.mentions.foreign
}

// watchCall remembers what may be called, until a parenthesis shows that it is.
func (s *statement) watchCall(w []byte, quoted bool) {
	s.callable = s.naming != namingNext && s.verb != verbNone // the first word of a statement is none
	if s.naming == namingNext {
		s.naming = namingSeen
	} else {
		s.naming = namingNone
	}
	if quoted {
		s.calledLen = copy(s.called[:], w)
		return
	}
	folded := foldWord(&s.called, w)
	s.calledLen = len(folded)
	switch {
	case !notCalled[string(folded)]:
	case string(folded) == "into", string(folded) == "as", string(folded) == "copy", string(folded) == "references":
		s.naming, s.callable = namingNext, false
	default:
		s.callable = false
	}
}

// watchSign takes any token that is no identifier; 0 for a constant.
func (s *statement) watchSign(c byte) {
	if c == '(' && s.callable && !s.trusted.Has(s.called[:s.calledLen]) {
		s.effects |= CallsUnknown
	}
	s.callable = false
	if c == '.' && s.naming == namingSeen {
		s.naming = namingNext
	} else {
		s.naming = namingNone
	}
}
