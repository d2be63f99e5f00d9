package protocol

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

//go:generate go test . -run TestGenerated -rewrite

// errorRow is an error a client can meet, with what its fields do not say. The rest of docs/errors.md is printed from sample.
type errorRow struct {
	constructor string // its function in errors.go
	sample      *Error
	when        string   // what has happened
	settings    []string // the keys that matter; they are in the text
	remedy      string   // what to do, when the sample has no hint
}

// loginErrors are those a client can meet before its first ReadyForQuery.
var loginErrors = []errorRow{
	{
		constructor: "ErrTooManyClients", sample: ErrTooManyClients("max_client_conn", 1000), settings: []string{"max_client_conn"},
		when: "A client connects and the listener has `max_client_conn` of them.",
	},
	{
		constructor: "ErrAuthFailed", sample: ErrAuthFailed("web"), settings: []string{"user_file"},
		when: "The password is wrong or nobody is called so; text and time are the same for both.",
	},
	{
		constructor: "ErrLookup", sample: ErrLookup(), settings: []string{"auth_query", "auth_user"},
		when: "`auth_query` could not be asked, or gave what makes no sense.",
	},
	{
		constructor: "ErrNotAuthorized", sample: ErrNotAuthorized("no PostgreSQL user name specified in startup packet"),
		when: "The client may not come in whatever its password is; the text says why.", remedy: "As the text says.",
	},
	{
		constructor: "ErrTLSRequired", sample: ErrTLSRequired(), settings: []string{"client_tls_sslmode"},
		when: "The client comes without TLS over the network, to a listener that wants it.",
	},
	{
		constructor: "ErrProtocolVersion", sample: ErrProtocolVersion(2, 0),
		when: "The startup packet asks for a major version of the protocol other than 3. A newer minor version is negotiated instead.",
	},
	{
		constructor: "ErrNoSuchDatabase", sample: ErrNoSuchDatabase("reprots"),
		when: "The configuration names databases, and neither this one nor `*`.",
	},
	{
		constructor: "ErrReplication", sample: ErrReplication("transactional", "transaction"), settings: []string{"pool_mode"},
		when: "The startup packet asks for a replication connection, on a port whose servers are shared.",
	},
	{
		constructor: "ErrReplicationValue", sample: ErrReplicationValue("maybe"),
		when: "The startup parameter `replication` is neither a boolean nor `database`. PostgreSQL's own words.",
	},
	{
		constructor: "ErrLoginTimeout", sample: ErrLoginTimeout(60 * time.Second), settings: []string{"client_login_timeout"},
		when: "A client has not finished its login within `client_login_timeout`.",
	},
	{
		constructor: "ErrServerUnreachable", sample: ErrServerUnreachable(""), settings: []string{"host", "port", "server_login_retry"},
		when: "PostgreSQL does not answer and the pool has no open server to wait for.",
	},
	{
		constructor: "ErrServerLogin",
		sample:      ErrServerLogin(Error{Code: "28P01", Message: `password authentication failed for user "pool"`}),
		when:        "PostgreSQL refuses the login of the pool. SQLSTATE, text, detail and hint are PostgreSQL's own; this is an example.",
		remedy:      "Set `user` and `password` in `[server]` or for the database to what PostgreSQL accepts.",
	},
	{
		constructor: "ErrSettingRefused",
		sample:      ErrSettingRefused(Error{Code: "22023", Message: `invalid value for parameter "DateStyle": "mars"`}),
		when:        "PostgreSQL does not accept one of the client's startup parameters. SQLSTATE and text are PostgreSQL's own; this is an example.",
	},
}

// statementErrors are about what a statement is or sets.
var statementErrors = []errorRow{
	{
		constructor: "ErrStatementTooLong", sample: ErrStatementTooLong(1 << 20),
		when: "A Parse with a name is longer than what a transaction listener keeps, so that it could not be prepared again on another " +
			"server. The batch is skipped to its Sync and a transaction fails, as for any error of PostgreSQL's.",
	},
	{
		constructor: "ErrSettingTooLong", sample: ErrSettingTooLong(24 << 10),
		when: "On a transaction listener, where the pooler asks the server what a transaction has set: values that come from an expression, and " +
			"long ones, are more than an answer may be. The server is closed.",
	},
	{
		constructor: "ErrStatementMemory", sample: ErrStatementMemory(),
		when: "All texts and names that clients of the transaction listeners have prepared and not closed take 256 MiB, or those of one client take 64 MiB.",
	},
	{
		constructor: "ErrResultChanged", sample: ErrResultChanged(), remedy: "Prepare the statement anew, as drivers do of their own accord.",
		when: "A table was altered: a statement has other columns than the client was told, or, of more than 256 parameters, one that is sent in binary another type.",
	},
}

// listenErrors are those about LISTEN on a transaction or statement listener.
var listenErrors = []errorRow{
	{
		constructor: "NoticeNotificationsLost", sample: NoticeNotificationsLost(),
		when: "The server that listened for this client and others was lost, and another listens now. What was notified in between is lost.",
	},
	{
		constructor: "ErrListenImpossible",
		sample:      ErrListenImpossible("the server that listens would be the only one (default_pool_size, max_db_connections and max_user_connections have to be 2 at least)"),
		settings:    []string{"default_pool_size", "max_db_connections", "max_user_connections", "promotion"},
		when: "LISTEN on the transaction port, where no server can be kept to listen for its clients, and the client cannot have one of its own. The " +
			"text says why. It was not sent. FATAL for clients that listen already when the pool is made too small by a reload.",
	},
	{
		constructor: "ErrListenTimeout", sample: ErrListenTimeout(30 * time.Second), settings: []string{"query_wait_timeout", "default_pool_size"},
		when: "A LISTEN was committed on a server that counts in another pool (its client is promoted), and no server of the transaction pool " +
			"became free to listen.",
	},
	{
		constructor: "ErrNotificationsUnread", sample: ErrNotificationsUnread(1 << 20),
		when: "A client that listens does not read, or stays in a transaction, and a MiB of notifications waits for it.",
	},
}

// laterErrors are those after a login, in the order in which a client's work goes.
var laterErrors = []errorRow{
	{
		constructor: "NoticeQueryWait", sample: NoticeQueryWait(5 * time.Second),
		settings: []string{"query_wait_notify", "query_wait_timeout"},
		when:     "A client has waited for a server for `query_wait_notify`. It goes on waiting.",
	},
	{
		constructor: "ErrQueryWaitTimeout",
		sample: ErrQueryWaitTimeout(Shortage{
			Listener: "transactional", Waited: 30 * time.Second, Timeout: 30 * time.Second, Busy: 25, Size: 25, Running: 20, IdleInTransaction: 5,
			Oldest: 41 * time.Second, Application: "embedder",
		}),
		settings: []string{"query_wait_timeout", "default_pool_size"},
		when: "No server became free within `query_wait_timeout`. Nothing of the client's batch was sent; the rest of it is skipped to its " +
			"Sync. A client that has sent more behind that batch is closed, so that nothing runs without what went before it.",
	},
	{
		constructor: "ErrNoRoomForSession",
		sample:      ErrNoRoomForSession(30*time.Second, 30*time.Second, 10, 10, "session"),
		settings:    []string{"query_wait_timeout", "default_pool_size", "promotion"},
		when: "On the transaction port, a statement that makes something which only a connection can hold found no room in the session " +
			"pool within its `query_wait_timeout`. It was not sent. The rest of its batch is skipped to the Sync, and an open transaction has " +
			"failed, as for any error of PostgreSQL's.",
	},
	{
		constructor: "ErrStateRefused", sample: ErrStateRefused("a temporary table", "transactional", `"session" (port 6433)`),
		settings: []string{"promotion"},
		when: "On a transaction listener with `promotion = \"error\"`, a statement that makes something which only a connection can hold. It is " +
			"not sent. The rest of its batch is skipped to the Sync, and an open transaction has failed, as for any error of PostgreSQL's.",
	},
	{
		constructor: "ErrCanceledWaiting", sample: ErrCanceledWaiting(),
		when: "The client canceled its query while it waited for a server.", remedy: "Nothing: the client asked for it.",
	},
	{
		constructor: "ErrServerLost", sample: ErrServerLost(),
		when: "PostgreSQL closed the connection, or said something that cannot be, while this client was using it.",
	},
	{
		constructor: "ErrQueryTimeout", sample: ErrQueryTimeout(30 * time.Second), settings: []string{"query_timeout"},
		when: "PostgreSQL has worked on a query of the client's for `query_timeout`.",
	},
	{
		constructor: "ErrIdleTransaction", sample: ErrIdleTransaction(60 * time.Second), settings: []string{"idle_transaction_timeout"},
		when: "A transaction is open, or a batch without its Sync, and the client has said nothing for `idle_transaction_timeout`.",
	},
	{
		constructor: "ErrIdleTransactionPressure", sample: ErrIdleTransactionPressure(5 * time.Second),
		settings: []string{"idle_transaction_pressure_timeout"},
		when: "A transaction is open, its client has said nothing for `idle_transaction_pressure_timeout`, and another client waits for a server " +
			"of the same pool while none is on its way.",
	},
	{
		constructor: "ErrTransactionTimeout", sample: ErrTransactionTimeout(5 * time.Minute), settings: []string{"transaction_timeout"},
		when: "A transaction has been open for `transaction_timeout`.",
	},
	{
		constructor: "ErrClientIdle", sample: ErrClientIdle("client_idle_timeout", time.Hour), settings: []string{"client_idle_timeout"},
		when: "The client has said nothing between transactions for `client_idle_timeout`.",
	},
	{
		constructor: "ErrStatementMode", sample: ErrStatementMode(), settings: []string{"pool_mode"},
		when: "The client opens a transaction block on a listener with `pool_mode = \"statement\"`.",
	},
	{
		constructor: "ErrProtocol", sample: ErrProtocol("invalid message length"),
		when:   "The client breaks the protocol: a length that cannot be, a message nobody knows, a startup packet over 10000 bytes. The text says what.",
		remedy: "Mend the client; or it is none of PostgreSQL's.",
	},
	{
		constructor: "ErrShutdown", sample: ErrShutdown(), settings: []string{"shutdown_timeout"},
		when: "The pooler shuts down: idle clients at once, the others at the end of their transaction, all after `shutdown_timeout`.",
	},
}

// ErrorsDoc gives docs/errors.md: every error that is the pooler's own, as a client sees it.
func ErrorsDoc() string {
	var b strings.Builder
	b.WriteString(errorsIntro)
	b.WriteString("\n## At the login\n\n")
	printRows(&b, loginErrors)
	b.WriteString("\n## Later\n\n")
	printRows(&b, slices.Concat(laterErrors, statementErrors, listenErrors))
	return b.String()
}

const errorsIntro = `# Errors

Printed from the table in ` + "`protocol/errorsdoc.go`" + ` by ` + "`go generate ./protocol`" + `; a test fails when the two differ.

These are the errors that are the pooler's own, or that it passes on in its own name. All others are PostgreSQL's and go through unchanged. The wording is PostgreSQL's where it has one; the names and numbers in it are examples here.

- **ERROR** keeps the connection, **FATAL** ends it. A **NOTICE** or **WARNING** is no error.
- The severity is in both fields that a client may look at, S and V.
- What to do is also the HINT that the client gets, unless it is in italics.
- The pooler's log has the text of every refused login and, with ` + "`log_pooler_errors`" + `, of every error that ended a connection, with the client's user, database and address.
`

func printRows(b *strings.Builder, rows []errorRow) {
	b.WriteString("| SQLSTATE | severity | text | when | what to do | settings |\n|---|---|---|---|---|---|\n")
	for i := range rows {
		r := &rows[i]
		text, remedy, settings := r.sample.Message, r.sample.Hint, ""
		if r.sample.Detail != "" {
			text += "<br>DETAIL: " + r.sample.Detail
		}
		if r.remedy != "" {
			remedy = "_" + r.remedy + "_"
		}
		if len(r.settings) > 0 {
			settings = "`" + strings.Join(r.settings, "`, `") + "`"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", r.sample.Code, r.sample.Severity, text, r.when, remedy, settings)
	}
}
