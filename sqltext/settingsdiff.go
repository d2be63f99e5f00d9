package sqltext

import "strings"

// AppendSettingsDiff builds the SQL that takes a server from have to want: a statement for every parameter of want whose value
// differs. It appends nothing when nothing differs, and then allocates nothing. Parameters that only have knows are left alone.
//
// The SQL holds any name and value safely, whatever the server's standard_conforming_strings and client_encoding are at the moment:
// it is plain ASCII, and a backslash occurs only in E strings. A name or value that PostgreSQL does not like comes to PostgreSQL as it
// is, to be refused in its own words. Some of the statements are SELECT: rows may be among the replies.
func AppendSettingsDiff(dst []byte, want, have Settings) []byte {
	if want == have {
		return dst
	}
	late := false
	for w, h := want.text(), have.text(); w != ""; {
		var name, value string
		name, value, w = cutPair(w)
		if h = skipTo(h, name); h != "" {
			if n, v, _ := cutPair(h); n == name && v == value {
				continue
			}
		}
		if name == "session_authorization" || name == "role" {
			late = true
			continue
		}
		dst = appendSet(dst, name, value)
	}
	if late {
		dst = appendIdentity(dst, want, have)
	}
	return dst
}

// Session is what a session has of parameters. Reported are those that the server reports of its own accord, and are always there; Own
// are others that differ from what the session began with.
type Session struct{ Reported, Own Settings }

// AppendSessionDiff builds the SQL that takes a server from have to want, whatever of its own it has; it appends nothing when nothing
// differs. If any of it fails, the server is left in a failed transaction: what was sent behind it cannot run with other settings than it
// was meant for.
func AppendSessionDiff(dst []byte, want, have Session) []byte {
	if want == have {
		return dst
	}
	before := len(dst)
	dst = append(dst, "BEGIN;"...)
	empty := len(dst)
	old := have.Own
	if want.Own != have.Own {
		dst, old = appendResets(dst, want.Own, have.Own)
	}
	dst = AppendSettingsDiff(dst, want.Reported, have.Reported)
	dst = AppendSettingsDiff(dst, want.Own, old)
	if len(dst) == empty {
		return dst[:before]
	}
	return append(dst, "COMMIT"...)
}

// appendResets takes back what only have knows. Whoever the session acts as goes first: the former client's role may not be allowed the
// rest. It returns what is left of have.
func appendResets(dst []byte, want, have Settings) ([]byte, Settings) {
	left := have
	for _, name := range [...]string{"session_authorization", "role"} {
		if _, ok := have.Get(name); ok {
			dst = append(append(append(dst, "RESET "...), name...), ';')
			left = left.Without(name)
		}
	}
	for h := left.text(); h != ""; {
		var name string
		name, _, h = cutPair(h)
		if _, ok := want.Get(name); ok {
			continue
		}
		if isPlainName(name) {
			dst = append(appendName(append(dst, "RESET "...), name), ';')
		} else {
			dst = append(dst, "SELECT pg_catalog.set_config("...)
			dst = append(appendLiteral(dst, name), ", NULL, false);"...)
		}
	}
	return dst, left
}

// AppendQuestion builds the query that asks for the values of parameters, in the order of their names: a column each, NULL where there is
// none of that name, otherwise the value in hexadecimal digits. So it comes in the database's encoding, as values are kept, and not in
// the client's. doubted: it is not certain that they have been set at all; one that the session has not set is NULL then, and it is no
// error that it may not be looked at.
func AppendQuestion(dst []byte, names []string, doubted bool) []byte {
	dst = append(dst, "SELECT"...)
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		source := doubted && name != "role" && name != "session_authorization" // which pg_settings does not show
		if source {
			dst = append(dst, " CASE WHEN coalesce((SELECT source FROM pg_catalog.pg_settings WHERE pg_catalog.lower(name) OPERATOR(pg_catalog.=) "...)
			if newer := renamed[name]; newer != "" {
				dst = append(append(append(appendLiteral(append(dst, "ANY (ARRAY["...), name), ", '"...), newer...), "'])"...)
			} else {
				dst = appendLiteral(dst, name)
			}
			dst = append(dst, "), '"...)
			if strings.Contains(name, ".") {
				dst = append(dst, "session"...) // likewise, unless an extension has made it
			}
			dst = append(dst, "') OPERATOR(pg_catalog.=) 'session' THEN"...)
		}
		dst = append(dst, " pg_catalog.encode(pg_catalog.convert_to(pg_catalog.current_setting("...)
		dst = appendLiteral(dst, name)
		dst = append(dst, ", true), pg_catalog.getdatabaseencoding()), 'hex')"...)
		if source {
			dst = append(dst, " END"...)
		}
	}
	return dst
}

// renamed are the names that PostgreSQL still takes for parameters, and does not show (utils/misc/guc.c, map_old_guc_names).
var renamed = map[string]string{
	"sort_mem": "work_mem", "vacuum_mem": "maintenance_work_mem", "force_parallel_mode": "debug_parallel_query",
}

// AppendRestore builds the query that gives parameters the values of want, but for those that the session itself has set to something. Of
// custom names, and of the role, PostgreSQL does not tell who set them: those are taken to be reset that are empty, or none. The role goes
// last: it might not be allowed the rest. It appends nothing when want is empty.
func AppendRestore(dst []byte, want Settings) []byte {
	role, acts := want.Get("role")
	if want = want.Without("role"); want != (Settings{}) {
		dst = appendRestore(dst, want, "")
	}
	if acts {
		dst = appendRestore(dst, Settings{}.With("role", role), "none")
	}
	return dst
}

// appendRestore is one statement. unset is what a parameter reads as that nobody has set and pg_settings does not show.
func appendRestore(dst []byte, want Settings, unset string) []byte {
	dst = append(dst, "SELECT pg_catalog.set_config(w.name, w.value, false) FROM (VALUES "...)
	first := true
	want.Each(func(name, value string) {
		if !first {
			dst = append(dst, ", "...)
		}
		first = false
		dst = appendLiteral(append(dst, '('), name)
		dst = append(appendLiteral(append(dst, ", "...), value), ')')
	})
	dst = append(dst, ") AS w(name, value) LEFT JOIN pg_catalog.pg_settings AS s "+
		"ON pg_catalog.lower(s.name) OPERATOR(pg_catalog.=) w.name WHERE CASE WHEN s.name IS NULL "+
		"THEN coalesce(pg_catalog.current_setting(w.name, true), '') OPERATOR(pg_catalog.=) "...)
	dst = appendLiteral(dst, unset)
	return append(dst, " ELSE s.source OPERATOR(pg_catalog.<>) 'session' END;"...)
}

// skipTo drops the pairs whose names are before name.
func skipTo(text, name string) string {
	for text != "" {
		n, _, rest := cutPair(text)
		if n >= name {
			return text
		}
		text = rest
	}
	return ""
}

// appendIdentity sets who the session acts as, behind all else: the new identity might not be allowed the rest. Setting
// session_authorization resets role (PostgreSQL manual, SET SESSION AUTHORIZATION), so that role is set anew behind it.
func appendIdentity(dst []byte, want, have Settings) []byte {
	authorization, ok := want.Get("session_authorization")
	old, known := have.Get("session_authorization")
	resets := ok && !(known && old == authorization)
	if resets {
		dst = appendSet(dst, "session_authorization", authorization)
	}
	role, ok := want.Get("role")
	old, known = have.Get("role")
	if ok && (resets || !known || old != role) {
		dst = appendSet(dst, "role", role)
	}
	return dst
}

// quotedLists are the parameters that are lists of names (GUC_LIST_QUOTE in utils/misc/guc_tables.c; extensions may not make any). SET
// takes each string for one name of the list, and would quote '"$user", public' as a whole.
var quotedLists = map[string]bool{
	"search_path": true, "temp_tablespaces": true, "session_preload_libraries": true, "local_preload_libraries": true,
	"shared_preload_libraries": true, "unix_socket_directories": true,
}

// appendSet builds one statement. set_config takes any name and, unlike SET, the very text that SHOW and ParameterStatus give for a
// list. SET costs the server less (no plan, no row).
func appendSet(dst []byte, name, value string) []byte {
	if quotedLists[name] || !isPlainName(name) {
		dst = append(dst, "SELECT pg_catalog.set_config("...)
		dst = appendLiteral(dst, name)
		dst = append(dst, ", "...)
		dst = appendLiteral(dst, value)
		return append(dst, ", false);"...)
	}
	if name == "datestyle" && !strings.Contains(value, ",") {
		dst = append(dst, "RESET datestyle;"...) // half of it is left as it was
	}
	dst = appendName(append(dst, "SET "...), name)
	dst = append(dst, " = "...)
	return append(appendLiteral(dst, value), ';')
}

// appendName quotes a plain name, part by part.
func appendName(dst []byte, name string) []byte {
	dst = append(dst, '"')
	for i := range len(name) {
		if name[i] == '.' {
			dst = append(dst, `"."`...)
		} else {
			dst = append(dst, name[i])
		}
	}
	return append(dst, '"')
}

// identifierMax is the length, in bytes, from which PostgreSQL cuts identifiers off (NAMEDATALEN - 1).
const identifierMax = 63

// isPlainName tells whether a folded name is one or more identifiers with dots between them.
func isPlainName(name string) bool {
	part := 0 // its length so far
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c == '_', part > 0 && (c >= '0' && c <= '9' || c == '$'):
			part++
		case c == '.' && part > 0:
			part = 0
		default:
			return false
		}
		if part > identifierMax {
			return false
		}
	}
	return part > 0
}

// appendLiteral quotes any text without zero bytes as a string. Bytes above ASCII go as \x escapes, which PostgreSQL takes for bytes
// in its own encoding, as it does those of a startup packet; sent plainly they would be converted from the client_encoding of the
// server's last client, in some of which a backslash or quote can be part of a character.
func appendLiteral(dst []byte, s string) []byte {
	plain := true
	for i := range len(s) {
		plain = plain && s[i] != '\\' && s[i] < 0x80
	}
	if !plain {
		dst = append(dst, 'E')
	}
	dst = append(dst, '\'')
	const hex = "0123456789abcdef"
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\'':
			dst = append(dst, '\'', '\'')
		case c == '\\':
			dst = append(dst, '\\', '\\')
		case c >= 0x80:
			dst = append(dst, '\\', 'x', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '\'')
}
