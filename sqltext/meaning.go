package sqltext

// DecidesMeaning reports that a parameter (by its folded name) decides what a text means while it is parsed: which tables and types its names
// stand for, how its constants are read. What is prepared under one value is another statement than what is prepared under another.
//
// PostgreSQL looks at search_path, and at the role that "$user" in it stands for, also when it plans a statement anew; but the types of its
// parameters stay those of the time when it was parsed (utils/cache/plancache.c).
func DecidesMeaning(name string) bool {
	for _, n := range meaningParameters {
		if n == name {
			return true
		}
	}
	return false
}

// meaningParameters are these; client_encoding comes first.
var meaningParameters = [...]string{
	"client_encoding", "search_path", "role", "session_authorization", "datestyle", "intervalstyle", "timezone", "timezone_abbreviations",
	"standard_conforming_strings", "backslash_quote", "array_nulls", "transform_null_equals", "xmloption", "lc_monetary",
}

// AppendMeaning writes the values of the parameters that decide what a text means. Each is ended by a zero byte; one that neither the server
// reports nor the client has set is empty.
func AppendMeaning(dst []byte, s Session) []byte {
	for _, name := range meaningParameters {
		value, ok := s.Reported.Get(name)
		if !ok {
			value, _ = s.Own.Get(name)
		}
		dst = append(append(dst, value...), 0)
	}
	return dst
}
