package prepared

// Words is what the text of a statement says about prepared statements. The caller reads it; this package keeps it.
type Words struct {
	// Drops: it drops statements, by DEALLOCATE or DISCARD ALL.
	Drops bool
	// Mentions are the names that EXECUTE, PREPARE and DEALLOCATE have in it.
	Mentions []Mention
}

// Mention is a name of a prepared statement in a text.
type Mention struct {
	Name string
	// Drops: by DEALLOCATE, which looks at nothing but the name.
	Drops bool
}

// Words is what the statement's text says about prepared statements.
func (s *Statement) Words() *Words { return &s.words }
