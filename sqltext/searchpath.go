package sqltext

// PathLeadsToTemp reports whether new objects may be temporary under a search_path, as SHOW gives it or a startup parameter has it: pg_temp
// stands in it, and pg_catalog does not stand before it. PostgreSQL passes over schemas that do not exist or may not be used
// (catalog/namespace.c, recomputeNamespacePath), so that pg_temp may come first behind any other.
func PathLeadsToTemp(value string) bool {
	var p pathReader
	for p.rest = value; p.next(); {
	}
	return p.leads
}

// pathReader goes through the schemas of a search_path.
type pathReader struct {
	rest   string
	leads  bool // pg_temp may come first
	first  bool // it does
	safe   bool // pg_catalog has been seen
	schema [identifierMax]byte
	count  int
}

// add takes the next schema of the list, folded.
func (p *pathReader) add(schema []byte) {
	switch {
	case p.safe:
	case string(schema) == "pg_catalog":
		p.safe = true
	case isTempSchema(schema):
		p.leads, p.first = true, p.first || p.count == 0
	}
	p.count++
}

// isTempSchema reports whether a schema is pg_temp, or that of some server: pg_temp_3.
func isTempSchema(name []byte) bool {
	return len(name) >= 7 && string(name[:7]) == "pg_temp" && (len(name) == 7 || name[7] == '_')
}

// next reads a schema as PostgreSQL does (utils/adt/varlena.c, SplitIdentifierString): folded, unless it is quoted.
func (p *pathReader) next() bool {
	i := 0
	for i < len(p.rest) && (byteClasses[p.rest[i]] == classSpace || p.rest[i] == ',') {
		i++
	}
	if p.rest = p.rest[i:]; p.rest == "" {
		return false
	}
	n, i := 0, 0
	if p.rest[0] == '"' {
		for i = 1; i < len(p.rest); i++ {
			if p.rest[i] == '"' {
				if i+1 == len(p.rest) || p.rest[i+1] != '"' {
					break
				}
				i++
			}
			n = p.hold(n, p.rest[i])
		}
		i = min(i+1, len(p.rest))
	} else {
		for ; i < len(p.rest) && p.rest[i] != ',' && byteClasses[p.rest[i]] != classSpace; i++ {
			c := p.rest[i]
			if c >= 'A' && c <= 'Z' {
				c += 'a' - 'A'
			}
			n = p.hold(n, c)
		}
	}
	p.rest = p.rest[i:]
	p.add(p.schema[:n])
	return true
}

func (p *pathReader) hold(n int, c byte) int {
	if n < len(p.schema) {
		p.schema[n] = c
		n++
	}
	return n
}

// judgePath notes where a search_path leads whose schemas are the kept tokens from a token on.
func (s *statement) judgePath(at int) {
	var p pathReader
	for ; at < s.kept(); at++ {
		switch t := s.tokens[at]; t.kind {
		case tokenWord, tokenQuoted, tokenString:
			if t.inexact {
				p.leads = p.leads || !p.safe // whatever it says
			}
			p.add(s.textOf(at))
		case tokenNumber, tokenParam, tokenPunct:
		}
	}
	p.leads = p.leads || s.tokenCount > tokensMax && !p.safe
	s.leadsTo(&p)
}

// judgePathValue does so for the value of a set_config.
func (s *statement) judgePathValue(a *assignment) {
	var p pathReader
	if a.exact && a.valueParam == 0 && !a.reset {
		for p.rest = string(s.text[a.valueFrom:a.valueTo]); p.next(); {
		}
	} else if a.valueParam == 0 && !a.reset {
		p.leads = true // it is computed
	}
	s.leadsTo(&p)
}

func (s *statement) leadsTo(p *pathReader) {
	if p.leads {
		s.effects |= LeadsToTemp
	}
	if p.first {
		s.effects |= MakesTemp
	}
}
