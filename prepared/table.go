package prepared

import (
	"strconv"
	"sync"
)

// Table is the statements that anybody has a use for, one for each text. Any goroutine may call it.
type Table struct {
	max int // bytes; immutable

	mu     sync.Mutex
	scopes map[Scope]map[string]*Statement // by Body
	last   uint64                          // numbers are never used again: a server may still know one under it
	bytes  int
}

// NewTable is an empty table that grows to so many bytes.
func NewTable(bytesMax int) *Table {
	return &Table{max: bytesMax, scopes: make(map[Scope]map[string]*Statement)}
}

// Intern finds or makes the statement and retains it. body is not kept. ok is false when the table is full.
func (t *Table) Intern(scope Scope, body []byte) (s *Statement, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s = t.scopes[scope][string(body)]; s != nil {
		s.refs++
		return s, true
	}
	if t.bytes+len(body) > t.max {
		return nil, false
	}
	t.last++
	s = newStatement(t.last, scope, body)
	s.refs = 1
	t.bytes += s.bytes()
	if t.scopes[scope] == nil {
		t.scopes[scope] = make(map[string]*Statement)
	}
	t.scopes[scope][s.Body()] = s
	return s, true
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

// Release counts one use less; after the last the statement is forgotten.
func (t *Table) Release(s *Statement) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.refs--
	switch {
	case s.refs > 0:
		return
	case s.refs < 0:
		panic("bug: a statement was released more often than retained")
	}
	t.bytes -= s.bytes()
	delete(t.scopes[s.scope], s.Body())
	if len(t.scopes[s.scope]) == 0 {
		delete(t.scopes, s.scope)
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
	for _, texts := range t.scopes {
		statements += len(texts)
	}
	return statements, t.bytes
}
