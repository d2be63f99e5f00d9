package catalog

import "strings"

// The queries by which a Loading learns what a database has. They run as any role that may connect, on PostgreSQL 14 and later; numbers of
// system catalogs and of functions are PostgreSQL's own and the same in all versions (include/catalog/*.dat). 16384 is the first
// number of an object that no initdb has made (access/transam.h, FirstNormalObjectId).

const (
	// BeginSQL opens the transaction in which the queries of a Loading run: they have to see one state.
	BeginSQL = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
	// EndSQL ends it. Where a query has failed it ends it too.
	EndSQL = "ROLLBACK"
)

// runners are functions of PostgreSQL that do something, which triggers, views, defaults and the like may call without any function of a
// user's; sqltext knows what each of them does.
const runners = `'set_config','pg_advisory_lock','pg_advisory_lock_shared','pg_try_advisory_lock','pg_try_advisory_lock_shared',
	'pg_replication_origin_session_setup','pg_create_logical_replication_slot','pg_create_physical_replication_slot',
	'pg_copy_logical_replication_slot','pg_copy_physical_replication_slot','setseed',
	'query_to_xml','query_to_xmlschema','query_to_xml_and_xmlschema','table_to_xml','table_to_xmlschema','table_to_xml_and_xmlschema',
	'schema_to_xml','schema_to_xmlschema','schema_to_xml_and_xmlschema','database_to_xml','database_to_xmlschema',
	'database_to_xml_and_xmlschema','ts_stat','ts_rewrite','pg_input_is_valid','pg_input_error_info'`

// typesSQL: number, schema, name, number of its relation if it is a composite type of its own. Enumerations, and rows of tables, run no code.
const typesSQL = `SELECT t.oid, n.nspname, t.typname, t.typrelid
FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
LEFT JOIN pg_catalog.pg_class ec ON ec.oid = e.typrelid
WHERE t.oid >= 16384 AND t.typtype IN ('d', 'c', 'b', 'r', 'm')
	AND (c.oid IS NULL OR c.relkind = 'c') AND (ec.oid IS NULL OR ec.relkind = 'c') AND e.typtype IS DISTINCT FROM 'e'`

// relationsSQL: number, schema, name, foreign data wrapper, and the types of its rows and of arrays of them.
const relationsSQL = `SELECT c.oid, n.nspname, c.relname, coalesce(w.fdwname, ''), t.oid, t.typarray
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_type t ON t.oid = c.reltype
LEFT JOIN pg_catalog.pg_foreign_table f ON f.ftrelid = c.oid
LEFT JOIN pg_catalog.pg_foreign_server s ON s.oid = f.ftserver
LEFT JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw
WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'`

// functionsSQL: number, schema, name, language, kind, volatility, extension, whether it may be called as the attribute of a row, and the
// search_path that it sets.
const functionsSQL = `SELECT p.oid, n.nspname, p.proname, l.lanname, p.prokind, p.provolatile, coalesce(x.extname, ''),
	p.pronargs > 0 AND p.pronargs - p.pronargdefaults < 2 AND a.typtype IN ('c', 'p', 'd'),
	coalesce((SELECT substr(s, 13) FROM unnest(p.proconfig) s WHERE s LIKE 'search_path=%'), '')
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
JOIN pg_catalog.pg_language l ON l.oid = p.prolang
LEFT JOIN pg_catalog.pg_type a ON a.oid = p.proargtypes[0]
LEFT JOIN pg_catalog.pg_depend d ON d.classid = 1255 AND d.objid = p.oid AND d.refclassid = 3079 AND d.deptype = 'e'
LEFT JOIN pg_catalog.pg_extension x ON x.oid = d.refobjid
WHERE p.oid >= 16384`

// ownersSQL: a kind, and three numbers and a word whose meaning it decides; see Loading.owner.
const ownersSQL = `SELECT 'rule', oid, ev_class, 0, ev_type::text FROM pg_catalog.pg_rewrite WHERE oid >= 16384
UNION ALL SELECT 'default', d.oid, d.adrelid, 0, a.attgenerated::text FROM pg_catalog.pg_attrdef d
	JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum WHERE d.oid >= 16384
UNION ALL SELECT 'check', oid, conrelid, contypid, '' FROM pg_catalog.pg_constraint WHERE oid >= 16384 AND contype IN ('c', 'x')
UNION ALL SELECT 'cascade', oid, confrelid, conrelid, '' FROM pg_catalog.pg_constraint
	WHERE oid >= 16384 AND contype = 'f' AND (confdeltype IN ('c', 'n', 'd') OR confupdtype IN ('c', 'n', 'd'))
UNION ALL SELECT 'policy', oid, polrelid, 0, '' FROM pg_catalog.pg_policy
UNION ALL SELECT 'trigger', oid, tgrelid, tgfoid, '' FROM pg_catalog.pg_trigger WHERE tgfoid >= 16384 AND tgenabled <> 'D'
UNION ALL SELECT 'index', indexrelid, indrelid, 0, '' FROM pg_catalog.pg_index
	WHERE indexrelid >= 16384 AND (indexprs IS NOT NULL OR indpred IS NOT NULL)
UNION ALL SELECT 'inherits', 0, i.inhparent, i.inhrelid, '' FROM pg_catalog.pg_inherits i
	JOIN pg_catalog.pg_class c ON c.oid = i.inhparent WHERE c.relkind IN ('r', 'p', 'f')
UNION ALL SELECT 'operator', oid, oprcode, 0, oprname::text FROM pg_catalog.pg_operator WHERE oid >= 16384 AND oprcode <> 0
UNION ALL SELECT 'support', oid, amproclefttype, amproc, '' FROM pg_catalog.pg_amproc WHERE amproc >= 16384
UNION ALL SELECT 'sorting', oid, amoplefttype, amopopr, '' FROM pg_catalog.pg_amop WHERE amopopr >= 16384
UNION ALL SELECT 'cast', castfunc, castsource, casttarget, '' FROM pg_catalog.pg_cast WHERE castfunc >= 16384
UNION ALL SELECT 'event', oid, evtfoid, 0, evtname::text FROM pg_catalog.pg_event_trigger WHERE evtenabled <> 'D'`

// dependenciesSQL: class and number of what refers, class and number of what is referred to.
const dependenciesSQL = `SELECT DISTINCT classid, objid, refclassid, refobjid FROM pg_catalog.pg_depend
WHERE objid >= 16384 AND refobjid >= 16384 AND deptype IN ('n', 'a', 'i') AND (refclassid IN (1255, 1247, 2617)
		AND classid IN (1255, 1247, 1259, 2618, 2604, 2606, 3256, 2620, 2617, 2603)
	OR refclassid = 1259 AND classid IN (2618, 3256, 1255))`

// hitsSQL: class and number of an expression that calls a function of PostgreSQL's that does something, or names pg_settings, and its text.
var hitsSQL = strings.NewReplacer("RUNNERS", runners).Replace(`WITH hit AS MATERIALIZED (
	SELECT ':(func|agg|win)(id|fnoid) (' || string_agg(oid::text, '|') || ')[ }]|:relid ' || 'pg_catalog.pg_settings'::regclass::oid || '[ }]' AS re
	FROM pg_catalog.pg_proc WHERE pronamespace = 11 AND proname IN (RUNNERS)),
	runner AS MATERIALIZED (SELECT oid, proname FROM pg_catalog.pg_proc WHERE pronamespace = 11 AND proname IN (RUNNERS))
SELECT 2618, r.oid, pg_catalog.pg_get_ruledef(r.oid) FROM pg_catalog.pg_rewrite r, hit
	WHERE r.oid >= 16384 AND (r.ev_action::text ~ hit.re OR r.ev_qual::text ~ hit.re)
UNION ALL SELECT 2604, d.oid, pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d, hit
	WHERE d.oid >= 16384 AND d.adbin::text ~ hit.re
UNION ALL SELECT 2606, c.oid, pg_catalog.pg_get_constraintdef(c.oid) FROM pg_catalog.pg_constraint c, hit
	WHERE c.oid >= 16384 AND c.contype = 'c' AND c.conbin::text ~ hit.re
UNION ALL SELECT 3256, p.oid, concat_ws(' AND ', pg_catalog.pg_get_expr(p.polqual, p.polrelid), pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid))
	FROM pg_catalog.pg_policy p, hit WHERE p.polqual::text ~ hit.re OR p.polwithcheck::text ~ hit.re
UNION ALL SELECT 2620, t.oid, pg_catalog.pg_get_triggerdef(t.oid) FROM pg_catalog.pg_trigger t, hit WHERE t.tgqual::text ~ hit.re
UNION ALL SELECT 1259, i.indexrelid, pg_catalog.pg_get_indexdef(i.indexrelid) FROM pg_catalog.pg_index i, hit
	WHERE i.indexrelid >= 16384 AND (i.indexprs::text ~ hit.re OR i.indpred::text ~ hit.re)
UNION ALL SELECT 1247, t.oid, pg_catalog.pg_get_expr(t.typdefaultbin, 0) FROM pg_catalog.pg_type t, hit
	WHERE t.oid >= 16384 AND t.typdefaultbin::text ~ hit.re
UNION ALL SELECT 1255, p.oid, pg_catalog.pg_get_expr(p.proargdefaults, 0) FROM pg_catalog.pg_proc p, hit
	WHERE p.oid >= 16384 AND p.proargdefaults::text ~ hit.re
UNION ALL SELECT 2617, o.oid, runner.proname || '(NULL)' FROM pg_catalog.pg_operator o JOIN runner ON runner.oid = o.oprcode WHERE o.oid >= 16384
UNION ALL SELECT 1255, a.aggfnoid, runner.proname || '(NULL)' FROM pg_catalog.pg_aggregate a
	JOIN runner ON runner.oid IN (a.aggtransfn, a.aggfinalfn, a.aggmtransfn, a.aggmfinalfn, a.aggminvtransfn) WHERE a.aggfnoid >= 16384
UNION ALL SELECT 2605, c.oid, runner.proname || '(NULL)' FROM pg_catalog.pg_cast c JOIN runner ON runner.oid = c.castfunc`)

// bodiesSQL: number and body of functions in SQL and PL/pgSQL.
const bodiesSQL = `SELECT p.oid, CASE WHEN p.prosqlbody IS NULL THEN p.prosrc ELSE pg_catalog.pg_get_function_sqlbody(p.oid) END
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE p.oid >= 16384 AND l.lanname IN ('sql', 'plpgsql') AND p.prokind <> 'a'`
