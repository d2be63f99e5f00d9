package prepared

// Cache is the statements that one server holds, least recently used last. It does not count references. The caller retains a statement in the
// Table when it adds it, and releases it when it removes it.
// The zero value is empty.
type Cache struct {
	entries        map[*Statement]*Entry
	newest, oldest *Entry
	free           *Entry // recycled, linked by older
	serial         uint64
}

// Entry is a statement as one server has it.
type Entry struct {
	statement    *Statement
	newer, older *Entry
	stale        bool

	// Serial tells it from what the server had under that name before and will have after it.
	Serial uint64
	// Signature is what the server has said of it. It is the same for as long as the server has it: PostgreSQL refuses to run a statement
	// whose result has changed.
	Signature Signature
	// Declared is the ID of the statement that declares the types which PostgreSQL has inferred here; 0: not known, or none inferred.
	Declared uint64
	// Asked: the proxy has asked for the Signature, and the answer is on its way.
	Asked bool
}

// State says what a server has under a statement's name.
type State uint8

// The states.
const (
	Absent State = iota
	Held         // the statement, fit for use
	Stale        // the statement, no longer fit: it must be closed before it is prepared anew
)

// State is Absent for nil.
func (e *Entry) State() State {
	switch {
	case e == nil:
		return Absent
	case e.stale:
		return Stale
	}
	return Held
}

// Learn notes what the server has said of the statement.
func (e *Entry) Learn(said Signature) {
	e.Signature, e.Asked = e.Signature.With(said), false
}

// Find looks a statement up; nil when it is Absent. The Entry is good until it is removed.
func (c *Cache) Find(s *Statement) *Entry { return c.entries[s] }

// Use is Find, and makes it the most recently used.
func (c *Cache) Use(s *Statement) *Entry {
	e := c.entries[s]
	if e != nil && c.newest != e {
		c.cut(e)
		c.putFirst(e)
	}
	return e
}

// Latest is the Serial of the newest Entry.
func (c *Cache) Latest() uint64 { return c.serial }

// Len is the number of statements the server has, stale ones included.
func (c *Cache) Len() int { return len(c.entries) }

// Add notes that the server has the statement; it must be Absent.
func (c *Cache) Add(s *Statement) *Entry {
	if c.entries == nil {
		c.entries = make(map[*Statement]*Entry)
	}
	e := c.free
	if e != nil {
		c.free = e.older
		e.older = nil
	} else {
		e = new(Entry)
	}
	c.serial++
	e.statement, e.Serial = s, c.serial
	c.entries[s] = e
	c.putFirst(e)
	return e
}

// Remove notes that the server has it no more. It reports whether it had.
func (c *Cache) Remove(s *Statement) bool {
	e := c.entries[s]
	if e == nil {
		return false
	}
	delete(c.entries, s)
	c.cut(e)
	*e = Entry{older: c.free}
	c.free = e
	return true
}

// MarkStale notes that what the server has under the statement's name is of no use.
func (c *Cache) MarkStale(s *Statement) {
	if e := c.entries[s]; e != nil {
		e.stale = true
	}
}

// Oldest is the statement that has not been used for longest; nil when there is none.
func (c *Cache) Oldest() *Statement {
	if c.oldest == nil {
		return nil
	}
	return c.oldest.statement
}

// Clear notes that the server has nothing any more.
func (c *Cache) Clear() { *c = Cache{serial: c.serial} }

// Each calls f for each statement.
func (c *Cache) Each(f func(*Statement)) {
	for s := range c.entries {
		f(s)
	}
}

func (c *Cache) putFirst(e *Entry) {
	e.older = c.newest
	if c.newest != nil {
		c.newest.newer = e
	} else {
		c.oldest = e
	}
	c.newest = e
}

func (c *Cache) cut(e *Entry) {
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		c.newest = e.older
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		c.oldest = e.newer
	}
	e.newer, e.older = nil, nil
}
