package catalog

import _ "embed"

// ChangeSQL asks whether what a Catalogue was made of has changed: it answers one row with one text, which is another after any change. A
// role of any kind may ask. It reads the system catalogs, not the objects, and costs some ten milliseconds where there are thousands
// of them.
//
// Each part is the number of rows of a catalog and a hash of their numbers and of the transactions that wrote them. Tables are known by
// name instead, as TRUNCATE and REINDEX write their rows too; temporary objects are left out.
const ChangeSQL = `SELECT pg_catalog.concat_ws(' ',
	(SELECT count(*) || ':' || pg_catalog.bit_xor(pg_catalog.hashtextextended(xmin::text, oid::bigint)) FROM pg_catalog.pg_proc WHERE oid >= 16384),
	(SELECT count(*) || ':' || pg_catalog.bit_xor(pg_catalog.hashtextextended(relname::text || relkind::text, oid::bigint)) FROM pg_catalog.pg_class
		WHERE oid >= 16384 AND relkind IN ('r', 'p', 'v', 'm', 'f') AND relpersistence <> 't'),
	(SELECT count(*) || ':' || pg_catalog.bit_xor(pg_catalog.hashtextextended(xmin::text, oid::bigint)) FROM pg_catalog.pg_type
		WHERE oid >= 16384 AND typtype IN ('d', 'b', 'r', 'm') AND typcategory <> 'A'),
	(SELECT count(*) || ':' || pg_catalog.bit_xor(pg_catalog.hashtextextended(r.xmin::text, r.oid::bigint)) FROM pg_catalog.pg_rewrite r
		JOIN pg_catalog.pg_class c ON c.oid = r.ev_class WHERE r.oid >= 16384 AND c.relpersistence <> 't'),
	(SELECT count(*) || ':' || pg_catalog.bit_xor(pg_catalog.hashtextextended(t.xmin::text, t.oid::bigint)) FROM pg_catalog.pg_trigger t
		WHERE t.tgfoid >= 16384),
	(SELECT count(*) || ':' || pg_catalog.bit_xor(pg_catalog.hashtextextended(d.xmin::text, d.oid::bigint)) FROM pg_catalog.pg_attrdef d
		JOIN pg_catalog.pg_class c ON c.oid = d.adrelid WHERE d.oid >= 16384 AND c.relpersistence <> 't'),
	(SELECT count(*) || ':' || pg_catalog.bit_xor(pg_catalog.hashtextextended(d.xmin::text, d.oid::bigint)) FROM pg_catalog.pg_constraint d
		LEFT JOIN pg_catalog.pg_class c ON c.oid = d.conrelid
		WHERE d.oid >= 16384 AND d.contype IN ('c', 'f') AND c.relpersistence IS DISTINCT FROM 't'),
	(SELECT count(*) || ':' || pg_catalog.bit_xor(pg_catalog.hashtextextended(xmin::text, oid::bigint)) FROM pg_catalog.pg_policy),
	(SELECT count(*) || ':' || pg_catalog.bit_xor(pg_catalog.hashtextextended(i.xmin::text, i.indexrelid::bigint)) FROM pg_catalog.pg_index i
		JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
		WHERE (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL) AND c.relpersistence <> 't'),
	(SELECT count(*) || ':' || pg_catalog.bit_xor(pg_catalog.hashtextextended(i.xmin::text, i.inhrelid::bigint)) FROM pg_catalog.pg_inherits i
		JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't'),
	(SELECT count(*) || ':' || pg_catalog.bit_xor(pg_catalog.hashtextextended(a.xmin::text, a.attrelid::bigint * 65536 + a.attnum))
		FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
		WHERE a.atttypid >= 16384 AND t.typtype <> 'e' AND c.relpersistence <> 't'),
	(SELECT count(*) || ':' || pg_catalog.bit_xor(pg_catalog.hashtextextended(xmin::text, oid::bigint)) FROM pg_catalog.pg_operator WHERE oid >= 16384),
	(SELECT count(*) || ':' || pg_catalog.bit_xor(pg_catalog.hashtextextended(xmin::text, oid::bigint)) FROM pg_catalog.pg_amop WHERE oid >= 16384),
	(SELECT count(*) || ':' || pg_catalog.bit_xor(pg_catalog.hashtextextended(xmin::text, oid::bigint)) FROM pg_catalog.pg_amproc WHERE oid >= 16384),
	(SELECT count(*) || ':' || pg_catalog.bit_xor(pg_catalog.hashtextextended(xmin::text, oid::bigint)) FROM pg_catalog.pg_cast WHERE oid >= 16384),
	(SELECT count(*) || ':' || pg_catalog.bit_xor(pg_catalog.hashtextextended(xmin::text, oid::bigint)) FROM pg_catalog.pg_event_trigger),
	(SELECT count(*) || ':' || pg_catalog.bit_xor(pg_catalog.hashtextextended(xmin::text, oid::bigint)) FROM pg_catalog.pg_extension))`

// NotifyChannel is the channel on which the event triggers of NotifySQL tell of a change.
const NotifyChannel = "hybridbouncer_catalogue"

// NotifySQL makes event triggers that tell of each change at its commit, and functions for them. A superuser runs it, once in each database;
// without it a change that goes round the pooler is seen when ChangeSQL is asked next.
//
//go:embed notify.sql
var NotifySQL string
