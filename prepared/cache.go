package prepared

// Cache is the statements that one server holds, least recently used last. It retains nothing in the Table: who adds and removes does.
// The zero value is empty.
type Cache struct {
	entries        map[*Statement]*entry
	newest, oldest *entry
	free           *entry // recycled, linked by older
}

type entry struct {
	statement    *Statement
	newer, older *entry
	stale        bool
}

// State says what a server has under a statement's name.
type State uint8

// The states.
const (
	Absent State = iota
	Held         // the statement, fit for use
	Stale        // the statement, no longer fit: it must be closed before it is prepared anew
)

// Use looks a statement up and makes it the most recently used.
func (c *Cache) Use(s *Statement) State {
	e := c.entries[s]
	if e == nil {
		return Absent
	}
	if c.newest != e {
		c.cut(e)
		c.putFirst(e)
	}
	if e.stale {
		return Stale
	}
	return Held
}

// Len is the number of statements the server has, stale ones included.
func (c *Cache) Len() int { return len(c.entries) }

// Add notes that the server has the statement; it must be Absent.
func (c *Cache) Add(s *Statement) {
	if c.entries == nil {
		c.entries = make(map[*Statement]*entry)
	}
	e := c.free
	if e != nil {
		c.free = e.older
		e.older = nil
	} else {
		e = new(entry)
	}
	e.statement = s
	c.entries[s] = e
	c.putFirst(e)
}

// Remove notes that the server has it no more. It reports whether it had.
func (c *Cache) Remove(s *Statement) bool {
	e := c.entries[s]
	if e == nil {
		return false
	}
	delete(c.entries, s)
	c.cut(e)
	*e = entry{older: c.free}
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

// Each calls f for each statement.
func (c *Cache) Each(f func(*Statement)) {
	for s := range c.entries {
		f(s)
	}
}

func (c *Cache) putFirst(e *entry) {
	e.older = c.newest
	if c.newest != nil {
		c.newest.newer = e
	} else {
		c.oldest = e
	}
	c.newest = e
}

func (c *Cache) cut(e *entry) {
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
