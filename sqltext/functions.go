package sqltext

// What PostgreSQL's own functions do to a session, by their names; set_config is read in judge.go. A function of a user's that has the name of
// one of these is taken for it.

// functionEffects is what a call of the function of this folded name does; none for all others.
func functionEffects(name []byte) Effects {
	switch string(name) {
	case "pg_advisory_lock", "pg_advisory_lock_shared", "pg_try_advisory_lock", "pg_try_advisory_lock_shared":
		return LocksAdvisory
	case "pg_advisory_unlock", "pg_advisory_unlock_shared", "pg_advisory_unlock_all":
		return UnlocksAdvisory
	case "dblink_connect", "dblink_connect_u", "pg_replication_origin_session_setup", "pg_create_logical_replication_slot",
		"pg_create_physical_replication_slot", "pg_copy_logical_replication_slot", "pg_copy_physical_replication_slot":
		return HoldsOther
	case "setseed":
		return Seeds
	case "lastval", "currval":
		return ReadsSequence
	case "nextval", "setval":
		return DrawsSequence
	case "query_to_xml", "query_to_xmlschema", "query_to_xml_and_xmlschema", "table_to_xml", "table_to_xmlschema",
		"table_to_xml_and_xmlschema", "schema_to_xml", "schema_to_xmlschema", "schema_to_xml_and_xmlschema", "database_to_xml",
		"database_to_xmlschema", "database_to_xml_and_xmlschema", "ts_stat", "ts_rewrite", "pg_input_is_valid", "pg_input_error_info":
		return Opaque // of a query that is their argument, or of views and types that no text names
	}
	return 0
}

// interesting tells, by its first byte, how long a word can be that matters anywhere in a statement: bit n for n bytes.
var interesting = func() (lengths [256]uint64) {
	longer := func(n int) uint64 { return ^uint64(0) << n }
	of := func(n int) uint64 { return 1 << n }
	for letter, mask := range map[byte]uint64{
		'i': of(4) | of(6), 'm': of(5), 'u': of(6), 't': of(4) | of(9) | of(7) | of(10) | longer(12), 'd': of(4) | of(6) | longer(14),
		's': of(6) | of(7) | of(10) | longer(13), 'p': longer(7), 'q': longer(12), 'l': of(7), 'c': of(7), 'n': of(7),
	} {
		lengths[letter], lengths[letter-'a'+'A'] = mask, mask
	}
	return lengths
}()

// foldWord is a word in lower case, cut as PostgreSQL cuts it.
func foldWord(folded *[identifierMax]byte, w []byte) []byte {
	n := copy(folded[:], w)
	for i, c := range folded[:n] {
		if c >= 'A' && c <= 'Z' {
			folded[i] = c + 'a' - 'A'
		}
	}
	return folded[:n]
}
