package catalog

import (
	_ "embed"
	"strings"
)

// ChangeSQL asks whether what a Catalogue was made of has changed: it answers one row with one text, which is another after any change. A
// role of any kind may ask. It reads the system catalogs, not the objects.
//
// Each part is the number of rows of a catalog and a hash of their numbers and of the transactions that wrote them. Relations are known by
// name instead, as TRUNCATE and REINDEX write their rows too, and columns by the types on which they depend; temporary objects are left out.
var ChangeSQL = changeSQL()

func changeSQL() string {
	const hash = "count(*) || ':' || pg_catalog.bit_xor(pg_catalog.hashtextextended(xmin::text, oid::bigint))"
	parts := []string{
		hash + " FROM pg_catalog.pg_proc WHERE oid >= 16384",
		"count(*) || ':' || pg_catalog.bit_xor(pg_catalog.hashtextextended(relname::text || relkind::text, oid::bigint)) FROM pg_catalog.pg_class " +
			"WHERE oid >= 16384 AND relkind IN ('r', 'p', 'v', 'm', 'f') AND relpersistence <> 't'",
		hash + " FROM pg_catalog.pg_type WHERE oid >= 16384 AND typtype IN ('d', 'b', 'r', 'm') AND typcategory <> 'A'",
		hash + " FROM pg_catalog.pg_rewrite WHERE oid >= 16384 AND ev_class NOT IN (SELECT oid FROM temporary)",
		hash + " FROM pg_catalog.pg_trigger WHERE tgfoid >= 16384",
		hash + " FROM pg_catalog.pg_attrdef WHERE oid >= 16384 AND adrelid NOT IN (SELECT oid FROM temporary)",
		hash + " FROM pg_catalog.pg_constraint WHERE oid >= 16384 AND conrelid NOT IN (SELECT oid FROM temporary) AND (contype IN ('c', 'x') " +
			"OR contype = 'f' AND (confdeltype IN ('c', 'n', 'd') OR confupdtype IN ('c', 'n', 'd')))",
		hash + " FROM pg_catalog.pg_policy",
		"count(*) || ':' || pg_catalog.bit_xor(pg_catalog.hashtextextended(xmin::text, indexrelid::bigint)) FROM pg_catalog.pg_index " +
			"WHERE (indexprs IS NOT NULL OR indpred IS NOT NULL) AND indrelid NOT IN (SELECT oid FROM temporary)",
		"count(*) || ':' || pg_catalog.bit_xor(pg_catalog.hashtextextended(inhparent::text, inhrelid::bigint)) FROM pg_catalog.pg_inherits " +
			"WHERE inhrelid NOT IN (SELECT oid FROM temporary)",
		"count(*) || ':' || pg_catalog.bit_xor(pg_catalog.hashtextextended(d.refobjid || ' ' || d.objsubid, d.objid::bigint)) FROM pg_catalog.pg_type t " +
			"JOIN pg_catalog.pg_depend d ON d.refclassid = 1247 AND d.refobjid = t.oid AND d.classid = 1259 " +
			"WHERE t.oid >= 16384 AND t.typtype <> 'e' AND d.objid NOT IN (SELECT oid FROM temporary)",
		hash + " FROM pg_catalog.pg_operator WHERE oid >= 16384",
		hash + " FROM pg_catalog.pg_amop WHERE oid >= 16384",
		hash + " FROM pg_catalog.pg_amproc WHERE oid >= 16384",
		hash + " FROM pg_catalog.pg_cast WHERE oid >= 16384",
		hash + " FROM pg_catalog.pg_event_trigger",
		hash + " FROM pg_catalog.pg_extension",
	}
	return "WITH temporary AS MATERIALIZED (SELECT oid FROM pg_catalog.pg_class WHERE relpersistence = 't')\nSELECT pg_catalog.concat_ws(' ', (SELECT " +
		strings.Join(parts, "),\n\t(SELECT ") + "))"
}

// NotifyChannel is the channel on which the event triggers of NotifySQL tell of a change.
const NotifyChannel = "hybridbouncer_catalogue"

// NotifySQL makes event triggers that tell of each change at its commit, and functions for them. A superuser runs it, once in each database;
// without it a change that goes round the pooler is seen when ChangeSQL is asked next.
//
//go:embed notify.sql
var NotifySQL string
