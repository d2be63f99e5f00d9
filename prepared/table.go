package prepared

import (
	"strconv"
	"sync"
)

// Table is the statements that anybody has a use for, one for each text. Any goroutine may call it.
//
// A statement that servers alone still hold is idle. It stays, because a client that comes may prepare it again. When memory is short, the
// Table forgets the least recently used of them and gives up their texts. The servers keep a name, which they close in time.
type Table struct {
	max int // bytes; immutable

	mu             sync.Mutex
	came           texts  // as clients have prepared them
	declared       texts  // those with an Origin
	last           uint64 // numbers are never used again: a server may still know one under it
	bytes          int
	newest, oldest *Statement // of the idle ones
}

// texts are statements by Scope and Body.
type texts map[Scope]map[string]*Statement

// NewTable is an empty table that grows to so many bytes.
func NewTable(bytesMax int) *Table {
	return &Table{max: bytesMax, came: make(texts), declared: make(texts)}
}

// ClientMax bounds what the statements of one client may take, in bytes, so that no client fills the table alone.
func (t *Table) ClientMax() int { return t.max / 4 }

// Intern finds or makes the statement and retains it. body is not kept, words is. ok is false when the table is full.
func (t *Table) Intern(scope Scope, body []byte, words Words) (s *Statement, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s = t.came[scope][string(body)]; s != nil {
		t.count(s, 1, 0)
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
		t.count(s, 1, 0)
		return s, true
	} else if s != nil {
		return nil, false
	}
	return t.add(origin.scope, body, origin.words, origin)
}

// add makes a statement that is not there; t.mu is held.
func (t *Table) add(scope Scope, body []byte, words Words, origin *Statement) (s *Statement, ok bool) {
	if !t.makeRoom(len(body)) {
		return nil, false
	}
	t.last++
	s = newStatement(t.last, scope, body)
	s.refs, s.origin, s.words = 1, origin, words
	if origin != nil {
		t.count(origin, 1, 0)
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

// Retain counts one more use by a client.
func (t *Table) Retain(s *Statement) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count(s, 1, 0)
}

// Release counts one use by a client less. After the last use the statement is forgotten, and its origin has one use less.
func (t *Table) Release(s *Statement) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count(s, -1, 0)
}

// RetainForServer counts one more server that holds the statement. The caller has another reference.
func (t *Table) RetainForServer(s *Statement) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count(s, 1, 1)
}

// ReleaseForServer takes back RetainForServer.
func (t *Table) ReleaseForServer(s *Statement) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count(s, -1, -1)
}

// count changes the numbers of references, and puts the statement where it belongs by them; t.mu is held.
func (t *Table) count(s *Statement, refs, servers int) {
	wasIdle := s.isIdle()
	s.refs += refs
	s.servers += servers
	if s.refs < s.servers || s.servers < 0 {
		panic("bug: a statement was released more often than retained")
	}
	switch {
	case wasIdle && !s.isIdle():
		t.cutIdle(s)
	case !wasIdle && s.isIdle():
		t.addIdle(s)
	}
	if s.refs == 0 {
		t.forget(s)
	}
}

// isIdle reports whether servers alone use a statement that the table still finds.
func (s *Statement) isIdle() bool { return s.refs > 0 && s.refs == s.servers && !s.unlisted }

// forget takes a statement out of the table; t.mu is held.
func (t *Table) forget(s *Statement) {
	if s.unlisted {
		return
	}
	s.unlisted = true
	t.bytes -= s.bytes()
	among := t.among(s)
	delete(among[s.scope], s.Body())
	if len(among[s.scope]) == 0 {
		delete(among, s.scope)
	}
	if s.origin != nil {
		t.count(s.origin, -1, 0)
	}
}

// makeRoom forgets idle statements until there is room for so many bytes. It reports false if there is none; t.mu is held.
func (t *Table) makeRoom(bytes int) bool {
	for t.bytes+bytes > t.max && t.oldest != nil {
		s := t.oldest
		t.cutIdle(s)
		t.forget(s)
		s.parse = "" // nobody reads it: that takes a reference that is not a server's
	}
	return t.bytes+bytes <= t.max
}

func (t *Table) addIdle(s *Statement) {
	s.older = t.newest
	if t.newest != nil {
		t.newest.newer = s
	} else {
		t.oldest = s
	}
	t.newest = s
}

func (t *Table) cutIdle(s *Statement) {
	if s.newer != nil {
		s.newer.older = s.older
	} else {
		t.newest = s.older
	}
	if s.older != nil {
		s.older.newer = s.newer
	} else {
		t.oldest = s.newer
	}
	s.newer, s.older = nil, nil
}

// Reserve counts memory that a client takes for its names; a negative number gives it back. ok is false when the table is full.
func (t *Table) Reserve(bytes int) (ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if bytes > 0 && !t.makeRoom(bytes) {
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
