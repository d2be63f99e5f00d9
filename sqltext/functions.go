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
