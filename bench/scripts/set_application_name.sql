-- The same with a parameter that PgBouncer tracks: PostgreSQL reports it.
\set tenant random(1, 1000)
\set aid random(1, 100000 * :scale)
SET application_name = 'tenant-:tenant';
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
