package catalog

import "strings"

// What functions in C do, by their extension: of others nobody can read what they do.

// harmlessExtensions are those whose functions in C leave nothing in the session, but for those of extensionDeeds.
var harmlessExtensions = func() map[string]bool {
	all := map[string]bool{}
	for name := range strings.FieldsSeq(`
		adminpack amcheck autoinc bloom bool_plperl bool_plperlu btree_gin btree_gist citext cube dblink dict_int dict_xsyn earthdistance
		file_fdw fuzzystrmatch hstore hstore_plperl hstore_plperlu hstore_plpython3u insert_username intagg intarray isn jsonb_plperl
		jsonb_plperlu jsonb_plpython3u lo ltree ltree_plpython3u moddatetime old_snapshot pageinspect pg_buffercache pg_freespacemap
		pg_logicalinspect pg_prewarm pg_stat_statements pg_surgery pg_trgm pg_visibility pg_walinspect pgcrypto pgrowlocks pgstattuple
		postgres_fdw seg sslinfo tablefunc tcn tsm_system_rows tsm_system_time unaccent uuid-ossp xml2 plpgsql
		postgis postgis_raster postgis_topology postgis_sfcgal postgis_tiger_geocoder address_standardizer address_standardizer_data_us
		vector timescaledb pg_cron pgaudit`) {
		all[name] = true
	}
	return all
}()

// extensionDeeds are the functions of extensions that do something, by extension and name, in whatever language and of whatever volatility.
var extensionDeeds = map[string]*Deeds{
	"dblink dblink_connect":   {What: Anything | CannotUndo}, // a connection that no DISCARD closes
	"dblink dblink_connect_u": {What: Anything | CannotUndo},
	"isn isn_weak":            {What: Anything | CannotUndo}, // a variable in C, before PostgreSQL 18
	"pg_trgm set_limit":       {What: SetsNamed, Settings: []string{"pg_trgm.similarity_threshold"}},
	"sepgsql sepgsql_setcon":  {What: Anything | CannotUndo},
	"timescaledb run_job":     {What: Anything}, // it calls a procedure that no text names
	// These execute a text that is their argument.
	"tablefunc connectby": {What: Anything}, "tablefunc crosstab": {What: Anything}, "tablefunc crosstab2": {What: Anything},
	"tablefunc crosstab3": {What: Anything}, "tablefunc crosstab4": {What: Anything}, "tablefunc crosstabn": {What: Anything},
	"xml2 xpath_table": {What: Anything},
}

// harmlessWrappers are foreign data wrappers that leave nothing in the session which statements of SQL could see.
var harmlessWrappers = map[string]bool{"": true, "postgres_fdw": true, "file_fdw": true, "dblink_fdw": true}
