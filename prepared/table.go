package prepared

import (
	"strconv"
	"sync"
)

// Table is the statements that anybody has a use for, one for each text. Any goroutine may call it.
type Table struct {
	max int // bytes; immutable

	mu       sync.Mutex
	came     texts  // as clients have prepared them
	declared texts  // those with an Origin
	last     uint64 // numbers are never used again: a server may still know one under it
	bytes    int
}

// texts are statements by Scope and Body.
type texts map[Scope]map[string]*Statement

// NewTable is an empty table that grows to so many bytes.
func NewTable(bytesMax int) *Table {
	return &Table{max: bytesMax, came: make(texts), declared: make(texts)}
}

// Intern finds or makes the statement and retains it. body is not kept, words is. ok is false when the table is full.
func (t *Table) Intern(scope Scope, body []byte, words Words) (s *Statement, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s = t.came[scope][string(body)]; s != nil {
		s.refs++
		return s, true
	}
	return t.add(scope, body, words, nil)
}

// Declare is Intern for a statement's text with the types of all its parameters, four bytes each, as a server has told them. What clients
// declare themselves is another statement. ok is false too when the same has been made of another that declares some of the types.
func (t *Table) Declare(origin *Statement, types []byte) (s *Statement, ok bool) {
	body := AppendDeclared(nil, []byte(origin.Body()), types)
	t.mu.Lock()
	defer t.mu.Unlock()
	if s = t.declared[origin.scope][string(body)]; s != nil && s.origin == origin {
		s.refs++
		return s, true
	} else if s != nil {
		return nil, false
	}
	return t.add(origin.scope, body, origin.words, origin)
}

// add makes a statement that is not there; t.mu is held.
func (t *Table) add(scope Scope, body []byte, words Words, origin *Statement) (s *Statement, ok bool) {
	if t.bytes+len(body) > t.max {
		return nil, false
	}
	t.last++
	s = newStatement(t.last, scope, body)
	s.refs, s.origin, s.words = 1, origin, words
	if origin != nil {
		origin.refs++
	}
	t.bytes += s.bytes()
	among := t.among(s)
	if among[scope] == nil {
		among[scope] = make(map[string]*Statement)
	}
	among[scope][s.Body()] = s
	return s, true
}

// among is where a statement is.
func (t *Table) among(s *Statement) texts {
	if s.origin != nil {
		return t.declared
	}
	return t.came
}

// Private is the end of a scope that is nobody else's.
func (t *Table) Private() Scope {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	return Scope(Prefix + strconv.FormatUint(t.last, 10))
}

// Retain counts one more use.
func (t *Table) Retain(s *Statement) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.refs++
}

// Release counts one use less; after the last the statement is forgotten, and its origin has one use less.
func (t *Table) Release(s *Statement) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ; s != nil; s = s.origin {
		s.refs--
		switch {
		case s.refs > 0:
			return
		case s.refs < 0:
			panic("bug: a statement was released more often than retained")
		}
		t.bytes -= s.bytes()
		among := t.among(s)
		delete(among[s.scope], s.Body())
		if len(among[s.scope]) == 0 {
			delete(among, s.scope)
		}
	}
}

// Reserve counts memory that a client takes for its names; a negative number gives it back. ok is false when the table is full.
func (t *Table) Reserve(bytes int) (ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if bytes > 0 && t.bytes+bytes > t.max {
		return false
	}
	t.bytes += bytes
	return true
}

// Numbers are the statements in the table and the bytes they and their names take.
func (t *Table) Numbers() (statements, bytes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, kind := range []texts{t.came, t.declared} {
		for _, of := range kind {
			statements += len(of)
		}
	}
	return statements, t.bytes
}
