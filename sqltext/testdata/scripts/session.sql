-- Statements that change a session, as psql sends them; TestLexerOnScripts compares what the Lexer says with what PostgreSQL then has.
set work_mem = '2MB'; set enable_seqscan to off; reset work_mem;
begin; set local enable_sort = off; savepoint a; set enable_hashagg = off; rollback to a; commit;
select set_config('enable_material', 'off', false), pg_catalog.set_config('enable_bitmapscan', 'off', true);
with x as materialized (select set_config('enable_tidscan', 'off', false)) select * from x;
SELECT set_config(name, 'off', false) FROM pg_settings WHERE name = 'enable_nestloop';
update pg_settings set setting = 'off' where name = 'enable_mergejoin';
set session characteristics as transaction isolation level serializable, read only;
set session characteristics as transaction read write;
set /* a comment ; */ time -- another
  zone 'Europe/Berlin';
set standard_conforming_strings = off;
select 'a\'; set enable_hashjoin = off; --';
set standard_conforming_strings = on;
create function session_test(x int) returns int language sql begin atomic select case when x > 0 then 1 else 2 end; select 3; end;
create procedure session_proc() language plpgsql as $body$ begin perform set_config('enable_hashjoin', 'off', false); end $body$;
call session_proc();
do $$ begin set enable_gathermerge = off; end $$;
create temp table t (a int); create temporary view v as select * from t; select 1 as a into temp t2; create table pg_temp.t3 (a int);
create temp table t4 (a int) on commit drop; create table temp_not (a int); drop table temp_not;
declare c cursor with hold for select 1; close c;
begin; declare d insensitive no scroll cursor with hold for select 1; commit;
prepare p as select $1::int; execute p(1); deallocate p; prepare q as select 1;
select pg_advisory_lock(1), pg_try_advisory_lock(2, 3); select pg_advisory_unlock_all();
listen x; unlisten *;
copy t from stdin;
1
2
\.
select 'set enable_hashjoin = off' \gexec
create role session_role; set role session_role; reset role; set session authorization session_role; reset session authorization;
set role 'session_role'; set local role none; set role none;
explain analyze create temp table t5 as select 1;
explain (analyze) execute q;
discard temp; reset all; discard all;
drop function session_test; drop procedure session_proc; drop role session_role;
