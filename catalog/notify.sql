-- Tells hybridbouncer at once of functions, triggers, views and the like that are made, altered or dropped by connections of others than its
-- own. Without it the pooler sees them within catalog_refresh. Run it once in each database, as a superuser (on a managed PostgreSQL: the
-- role that may make event triggers). DROP SCHEMA hybridbouncer CASCADE takes it back.

CREATE SCHEMA IF NOT EXISTS hybridbouncer;

CREATE OR REPLACE FUNCTION hybridbouncer.tell_change() RETURNS event_trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
	IF TG_EVENT = 'sql_drop' THEN
		PERFORM FROM pg_event_trigger_dropped_objects() WHERE NOT is_temporary;
	ELSE
		PERFORM FROM pg_event_trigger_ddl_commands() WHERE schema_name IS DISTINCT FROM 'pg_temp';
	END IF;
	IF FOUND THEN
		PERFORM pg_notify('hybridbouncer_catalogue', '');
	END IF;
END
$$;

DROP EVENT TRIGGER IF EXISTS hybridbouncer_change;
CREATE EVENT TRIGGER hybridbouncer_change ON ddl_command_end EXECUTE FUNCTION hybridbouncer.tell_change();
DROP EVENT TRIGGER IF EXISTS hybridbouncer_drop;
CREATE EVENT TRIGGER hybridbouncer_drop ON sql_drop EXECUTE FUNCTION hybridbouncer.tell_change();
