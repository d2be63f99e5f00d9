// Package migration owns the comparison of PgBouncer with what our program makes of the same ini files: imported into one process, and
// started in PgBouncer's place. It must not know how the import works: it looks at logins and queries alone.
//
// Its tests have the build tag pgbouncer, because they need that program: make migration runs them.
package migration
