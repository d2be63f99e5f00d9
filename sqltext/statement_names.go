package sqltext

// NameKind says what a text does with a name.
type NameKind uint8

// The kinds.
const (
	NameExecuted    NameKind = iota // of a prepared statement, by EXECUTE; behind EXPLAIN it may or may not run
	NamePrepared                    // of a prepared statement, by PREPARE
	NameDeallocated                 // of a prepared statement, by DEALLOCATE of one
	NameSavepoint                   // of a savepoint, by SAVEPOINT
	NameReleased                    // of a savepoint, by RELEASE
	NameRolledBack                  // of a savepoint, by ROLLBACK TO
)

// Name is a name of a prepared statement or a savepoint in a text.
type Name struct {
	// Text is the name as PostgreSQL folds and cuts it, when Exact. Valid until the Lexer's next Begin.
	Text []byte
	Kind NameKind
	// Exact: it is known, and ASCII.
	Exact bool
	// Statement is the number of its statement in the text, from 0.
	Statement int
}

// name is a Name whose text is in the text.
type name struct {
	from, to  int32
	statement int32
	kind      NameKind
	exact     bool
}

// namesMax bounds the names of one text.
const namesMax = 64

// nameToken takes the name that is the token at a place.
func (s *statement) nameToken(kind NameKind, at int) {
	n := name{kind: kind}
	if of := s.kindOf(at); of == tokenWord || of == tokenQuoted {
		t := s.tokens[at]
		n.from, n.to, n.exact = t.from, t.to, !t.inexact && t.from < t.to
	}
	s.addName(n)
}

// executed takes the name behind an EXECUTE that is not the first word of its statement.
func (s *statement) executed(w []byte) {
	n := name{kind: NameExecuted, from: int32(len(s.text)), exact: len(w) > 0 && len(s.text)+len(w) <= captureMax}
	for _, c := range w {
		n.exact = n.exact && c < 0x80
	}
	if n.exact {
		s.text = append(s.text, w...)
	}
	n.to = int32(len(s.text))
	s.addName(n)
}

func (s *statement) addName(n name) {
	if len(s.names) == namesMax {
		s.effects |= Unreadable
		return
	}
	n.statement = int32(s.statements)
	s.names = append(s.names, n)
}

// behind is the token behind an optional word at a place.
func (s *statement) behind(optional string, at int) int {
	if s.is(at, optional) && at+1 < s.kept() {
		return at + 1
	}
	return at
}

// judgeDeallocate: DEALLOCATE [PREPARE] {name | ALL}.
func (s *statement) judgeDeallocate() {
	s.effects |= Deallocates
	if at := s.behind("prepare", 1); !s.is(at, "all") {
		s.nameToken(NameDeallocated, at)
	}
}

// Names is the number of names of prepared statements and savepoints in the text.
func (s *statement) Names() int { return len(s.names) }

// Name is the i-th of them. Those of one statement stand in its order, those of several in the order of the text.
func (s *statement) Name(i int) Name {
	n := s.names[i]
	return Name{Text: s.text[n.from:n.to], Kind: n.kind, Exact: n.exact, Statement: int(n.statement)}
}
