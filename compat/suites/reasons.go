package main

import (
	"path"
	"strings"
)

// reasons are the tests that pass on a direct connection and cannot on a port. In test, "*" stands for any letters but "/", and a name is
// taken with all tests within. The port "both" is both.
var reasons = []struct{ suite, port, test, why string }{
	{"pgx", "both", "pgconn.TestConnectProtocolVersion32", newer},
	{"pgx", "both", "pgconn.TestConnCheckConn", ownPID},
	{"pgx", "both", "pgconn.TestConnPing", ownPID},
	{"pgx", "both", "pgxpool.TestPoolAcquireChecksIdleConns", ownPID},
	{"pgx", "both", "stdlib.TestCheckIdleConn", ownPID},
	{"pgx", "both", "v5.TestFatal?xError", ownPID},
	{
		"lib/pq", "both", "pq.TestAuth/end_to_end/user=pqgopassword",
		"It wants PostgreSQL's own words for an empty password (28P01). The pooler has the same words for everybody whom it does not let in.",
	},
	{
		"lib/pq", "both", "pq.TestRuntimeParameters/#00",
		"It wants its login refused for an unknown startup parameter. A login waits for no server: what PostgreSQL says of it comes with the first statement.",
	},
	{
		"lib/pq", "transaction", "pq.TestPing",
		"It terminates the server that ran its last transaction and wants its idle connection broken by that. Between transactions a client has no server to lose.",
	},
	{"asyncpg", "both", "tests/test_pool.py::TestPool::test_pool_min_size_restored_after_idle_connection_loss", ownPID},
	{"asyncpg", "both", "tests/test_listeners.py::TestListeners::test_listen_*", notifierPID},
	{
		"asyncpg", "both", "tests/test_introspection.py::TestIntrospection::test_introspection_sticks_for_ps",
		"It is the last of a class, which drops the database that it has used: the pool's servers are still connected to that (55006).",
	},
	{"pgx", "transaction", "stdlib.TestConnMultiplePrepareAndDeallocate", catalog},
	{"pgx", "transaction", "v5.TestPrepareHandlesTimeoutBetweenParseAndDescribe", catalog},
	{"pgx", "transaction", "v5.TestPrepareWithDigestedNameHandlesTimeoutBetweenParseAndDescribe", catalog},
}

const (
	newer  = "It wants protocol 3.0 of a PostgreSQL older than 18. The pooler speaks 3.2 whatever is behind it."
	ownPID = "It terminates its own server by the process id of BackendKeyData. That is the pooler's own number for the client: a client has no one " +
		"server, and cancel requests come to the pooler."
	notifierPID = "It compares the process id in a notification with that of BackendKeyData. In the notification it is PostgreSQL's, of the server on " +
		"which the NOTIFY ran."
	catalog = "It looks for its statements in pg_prepared_statements. They are there under the pooler's names, on the servers that have needed them, and " +
		"stay for the next client that prepares the same."
)

// reasonOf is the entry for a test.
func reasonOf(suite, port, test string) (i int, ok bool) {
	for i, r := range reasons {
		if r.suite != suite || r.port != port && r.port != "both" {
			continue
		}
		parts := strings.Split(test, "/")
		for n := 1; n <= len(parts); n++ {
			if match, err := path.Match(r.test, strings.Join(parts[:n], "/")); err == nil && match {
				return i, true
			}
		}
	}
	return 0, false
}
