-- A SET in every transaction, of a parameter of the application's own, with a thousand different values.
\set tenant random(1, 1000)
\set aid random(1, 100000 * :scale)
SET app.tenant_id = 'tenant-:tenant';
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
