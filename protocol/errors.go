package protocol

import (
	"fmt"
	"strings"
	"time"
)

// The errors a client can meet that are the pooler's own, one constructor each; errorsdoc.go has a row for each of them. Wording is
// PostgreSQL's where it has one, so that clients who look for it find it; what is ours is added behind it, with the setting that
// matters; the hint says what to do.

// Shortage tells why no server became free in time.
type Shortage struct {
	Listener        string
	Session         bool // the listener's mode
	Waited, Timeout time.Duration
	Busy, Size      int // servers of the pool that were not free, and how many it may have
	// What the clients do that have them, as far as it is known.
	Running, IdleInTransaction, Idle int
	Oldest                           time.Duration // age of the oldest transaction in the pool; 0: not known
	Application                      string        // that began it
	Others, Budget                   int           // servers of other pools, and of all together, where there may be no more; 0: there may
	PostgreSQL                       string        // what PostgreSQL said when it had no place for another server; empty: it had
}

// ErrQueryWaitTimeout: no server became free in time. Nothing of the client's has reached a server, so the connection is kept.
func ErrQueryWaitTimeout(s Shortage) *Error {
	e := &Error{
		Severity: "ERROR", Code: "53300",
		Message: fmt.Sprintf("no server became free within query_wait_timeout (%s) of listener %q: %d of %d busy%s", span(s.Timeout), s.Listener, s.Busy, s.Size,
			s.holders()),
		Detail: fmt.Sprintf("Waited %s; nothing was sent to PostgreSQL.", span(s.Waited)),
	}
	if s.Oldest > 0 {
		e.Message += fmt.Sprintf(", oldest transaction %s old by %s", span(s.Oldest), application(s.Application))
	}
	switch {
	case s.PostgreSQL != "":
		e.Message += ", and PostgreSQL has no place for another server: " + s.PostgreSQL
		e.Hint = "Raise max_connections of PostgreSQL, or close connections that do not come through the pooler."
	case s.Budget > 0:
		e.Message += fmt.Sprintf(", and all pools together may have no more than %d servers (max_connections): others have %d", s.Budget, s.Others)
		e.Hint = "Raise max_connections of PostgreSQL and of the pooler, or give the user a weight."
	case s.IdleInTransaction > s.Running:
		e.Hint = "Have the application commit before it pauses, or lower idle_transaction_timeout."
	case s.Session:
		e.Hint = "Raise default_pool_size of this listener, or close connections that are not in use."
	default:
		e.Hint = "Raise default_pool_size, or move long transactions to the session listener."
	}
	return e
}

// holders says by counts what the clients do that have the servers.
func (s *Shortage) holders() string {
	var parts []string
	for _, part := range []struct {
		n    int
		what string
	}{{s.Running, "run statements"}, {s.IdleInTransaction, "are idle in transactions"}, {s.Idle, "are idle with session state"}} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.what))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// ErrNoRoomForSession: a client of a transaction port wants to make something that only a connection can hold, and all servers of the
// session listener are busy. The statement was not sent.
func ErrNoRoomForSession(waited, timeout time.Duration, busy, size int, listener string) *Error {
	return &Error{
		Severity: "ERROR", Code: "53300",
		Message: fmt.Sprintf("no session server became free within query_wait_timeout (%s): %d of %d of listener %q busy", span(timeout), busy, size, listener),
		Detail: fmt.Sprintf("The statement makes something that only a connection of its own can hold (a temporary table, a session lock, LISTEN, PREPARE). Waited %s; it was not sent to PostgreSQL.",
			span(waited)),
		Hint: "Connect to the session port, or raise its default_pool_size. With promotion = \"off\" such statements are sent to servers that others get too.",
	}
}

// ErrStateRefused: a statement that makes what only a connection can hold, on a listener that refuses those. what says what it makes, session
// names the listener to use, with its port; empty: there is none. Nothing of the statement reaches a server.
func ErrStateRefused(what, listener, session string) *Error {
	hint := fmt.Sprintf("Set promotion = \"on\" for listener %q, or use a connection that is not shared.", listener)
	if session != "" {
		hint = fmt.Sprintf("Connect to the session listener %s, or set promotion = \"on\" for listener %q.", session, listener)
	}
	return &Error{
		Severity: "ERROR", Code: "0A000",
		Message: fmt.Sprintf("%s needs a connection of its own, which listener %q does not give (promotion = \"error\")", what, listener),
		Hint:    hint,
	}
}

// ErrListenImpossible: a client of a transaction port says LISTEN, no server can be kept to listen for it, and it cannot have one of its
// own either (promotion). The statement was not sent.
func ErrListenImpossible(why string) *Error {
	return &Error{
		Severity: "ERROR", Code: "0A000", Message: "LISTEN is not possible on this port: " + why,
		Hint: "Connect to the session port for LISTEN, or switch promotion on.",
	}
}

// ErrListenTimeout: a LISTEN was committed, and no server became free to listen for its client.
func ErrListenTimeout(timeout time.Duration) *Error {
	return &Error{
		Severity: "FATAL", Code: "53300",
		Message: fmt.Sprintf("no server became free to listen within query_wait_timeout (%s)", span(timeout)),
		Detail:  "The transaction with the LISTEN was committed, but its notifications would be lost.",
		Hint:    "Connect again and repeat the LISTEN. Raise default_pool_size, or move long transactions to the session listener.",
	}
}

// ErrNotificationsUnread: a client that listens does not read what it hears, or stays in a transaction, until too much waits for it.
func ErrNotificationsUnread(bytesMax int) *Error {
	return &Error{
		Severity: "FATAL", Code: "53200", Message: "terminating connection because its notifications are not read",
		Detail: fmt.Sprintf("More than %d bytes of notifications wait for this client.", bytesMax),
		Hint:   "Read from the connection all the time, keep transactions short on one that listens, and connect again.",
	}
}

// NoticeNotificationsLost tells a client that listens that there was a time when nobody listened for it, which is over.
func NoticeNotificationsLost() *Error {
	return &Error{
		Severity: "WARNING", Code: "01000", Message: "notifications may have been lost: the connection that listens to PostgreSQL was replaced",
		Hint: "LISTEN is in force again; look up what the notifications tell of.",
	}
}

// NoticeQueryWait tells a waiting client that it waits.
func NoticeQueryWait(waited time.Duration) *Error {
	return &Error{
		Severity: "NOTICE", Code: "00000", Message: fmt.Sprintf("no server is free yet; queued for %s", span(waited)),
		Hint: "query_wait_notify sets when this is said, query_wait_timeout when waiting ends.",
	}
}

// ErrTooManyClients: a limit of clients is reached; setting is its key.
func ErrTooManyClients(setting string, limit int) *Error {
	return &Error{
		Severity: "FATAL", Code: "53300", Message: "sorry, too many clients already",
		Detail: fmt.Sprintf("%s = %d is reached.", setting, limit), Hint: "Raise " + setting + ", or close connections that are idle.",
	}
}

// ErrAuthFailed: wrong password or unknown user. It must tell nobody which.
func ErrAuthFailed(user string) *Error {
	return &Error{
		Severity: "FATAL", Code: "28P01", Message: "password authentication failed for user " + quoted(user),
		Hint: "The pooler checks passwords itself, against the file that user_file in [auth] names, or by auth_query.",
	}
}

// ErrLookup: whether the client may come in could not be asked of PostgreSQL.
func ErrLookup() *Error {
	return &Error{
		Severity: "FATAL", Code: "08006", Message: "the user could not be looked up in PostgreSQL (auth_query)",
		Hint: "The pooler's log has the reason: is PostgreSQL running, may auth_user log in and read the passwords?",
	}
}

// ErrNotAuthorized: the client may not come in at all; text says why.
func ErrNotAuthorized(text string) *Error {
	return &Error{Severity: "FATAL", Code: "28000", Message: text}
}

// ErrTLSRequired: a plain connection where TLS is required.
func ErrTLSRequired() *Error {
	return &Error{
		Severity: "FATAL", Code: "28000", Message: "connection requires TLS (client_tls_sslmode)",
		Hint: "Connect with sslmode=require or better.",
	}
}

// ErrNoSuchDatabase: the configuration has no such database.
func ErrNoSuchDatabase(database string) *Error {
	return &Error{
		Severity: "FATAL", Code: "3D000", Message: "database " + quoted(database) + " does not exist",
		Hint: "Name it under [databases], or add [databases.\"*\"] to pass every name on.",
	}
}

// ErrServerUnreachable: PostgreSQL cannot be reached. detail may be empty.
func ErrServerUnreachable(detail string) *Error {
	return &Error{
		Severity: "FATAL", Code: "08006", Message: "PostgreSQL cannot be reached", Detail: detail,
		Hint: "Is it running where host and port in [server] say? The pooler's log has the reason; server_login_retry sets how often it tries.",
	}
}

// ErrServerLost: the server ended while the client was using it.
func ErrServerLost() *Error {
	return &Error{
		Severity: "FATAL", Code: "08006", Message: "the connection to PostgreSQL was lost",
		Hint: "Connect again. Whether the last statement took effect is not known: look before repeating it.",
	}
}

// ErrServerLogin passes PostgreSQL's own refusal of the pool's login on. A server is not trusted to send any field.
func ErrServerLogin(e Error) *Error {
	e.Severity = "FATAL"
	if e.Code == "" {
		e.Code = "08006"
	}
	if e.Message == "" {
		e.Message = "PostgreSQL refused the login without saying why"
	}
	return &e
}

// ErrSettingRefused passes on what PostgreSQL said to one of the client's startup parameters, as it would have said it at a login.
func ErrSettingRefused(e Error) *Error {
	e.Severity = "FATAL"
	if e.Code == "" {
		e.Code = "22023"
	}
	if e.Message == "" {
		e.Message = "PostgreSQL refused a startup parameter without saying why"
	}
	if e.Hint == "" {
		e.Hint = "It came with the client's startup parameters."
	}
	return &e
}

// ErrShutdown: the pooler is going down.
func ErrShutdown() *Error {
	return &Error{
		Severity: "FATAL", Code: "57P01", Message: "terminating connection due to administrator command",
		Detail: "The pooler is shutting down; open transactions have shutdown_timeout to end.", Hint: "Connect again.",
	}
}

// ErrClientIdle: the client was idle for too long; setting is the key of the limit.
func ErrClientIdle(setting string, limit time.Duration) *Error {
	return &Error{
		Severity: "FATAL", Code: "57P05",
		Message: fmt.Sprintf("terminating connection due to idle-session timeout (%s = %s)", setting, span(limit)),
		Hint:    "Raise " + setting + ", or let the client's own pool drop idle connections earlier.",
	}
}

// ErrIdleTransaction: the client sat in a transaction, or in a batch without Sync.
func ErrIdleTransaction(limit time.Duration) *Error {
	return &Error{
		Severity: "FATAL", Code: "25P03",
		Message: fmt.Sprintf("terminating connection due to idle-in-transaction timeout (idle_transaction_timeout = %s)", span(limit)),
		Hint:    "Have the application commit before it waits for anything else, or raise idle_transaction_timeout.",
	}
}

// ErrIdleTransactionPressure: the client sat in a transaction while another waited for a server.
func ErrIdleTransactionPressure(limit time.Duration) *Error {
	return &Error{
		Severity: "FATAL", Code: "25P03",
		Message: fmt.Sprintf("terminating connection due to idle-in-transaction timeout while other clients wait for a server (idle_transaction_pressure_timeout = %s)",
			span(limit)),
		Hint: "Have the application commit before it waits for anything else, or raise idle_transaction_pressure_timeout.",
	}
}

// ErrTransactionTimeout: the transaction took too long.
func ErrTransactionTimeout(limit time.Duration) *Error {
	return &Error{
		Severity: "FATAL", Code: "25P04",
		Message: fmt.Sprintf("terminating connection due to transaction timeout (transaction_timeout = %s)", span(limit)),
		Hint:    "Make several transactions of it, or raise transaction_timeout.",
	}
}

// ErrQueryTimeout: a query took too long.
func ErrQueryTimeout(limit time.Duration) *Error {
	return &Error{
		Severity: "FATAL", Code: "57014",
		Message: fmt.Sprintf("canceling statement due to statement timeout (query_timeout = %s)", span(limit)),
		Hint:    "Raise query_timeout, or set statement_timeout for the statement: PostgreSQL's own keeps the connection.",
	}
}

// ErrCanceledWaiting: the client canceled while it waited for a server. Nothing of it has reached one, so the connection is kept.
func ErrCanceledWaiting() *Error {
	return &Error{Severity: "ERROR", Code: "57014", Message: "canceling statement due to user request"}
}

// ErrLoginTimeout: the login took too long.
func ErrLoginTimeout(limit time.Duration) *Error {
	return &Error{
		Severity: "FATAL", Code: "08006",
		Message: fmt.Sprintf("canceling authentication due to timeout (client_login_timeout = %s)", span(limit)),
		Hint:    "A login also waits for PostgreSQL when the pool has no server yet: see the pooler's log. Or raise client_login_timeout.",
	}
}

// ErrProtocol: the client broke the protocol; text says how, in PostgreSQL's words where it has some.
func ErrProtocol(text string) *Error {
	return &Error{Severity: "FATAL", Code: "08P01", Message: text}
}

// ErrProtocolVersion: the client speaks another major version of the protocol.
func ErrProtocolVersion(major, minor uint16) *Error {
	return &Error{
		Severity: "FATAL", Code: "0A000",
		Message: fmt.Sprintf("unsupported frontend protocol %d.%d: server supports 3.0 to 3.2", major, minor),
		Hint:    "Use a driver that speaks version 3 of PostgreSQL's protocol.",
	}
}

// ErrStatementMode: a transaction block on a listener with pool_mode = "statement".
func ErrStatementMode() *Error {
	return &Error{
		Severity: "FATAL", Code: "08P01", Message: "transaction blocks not allowed in statement pooling mode",
		Hint: "Use a listener with pool_mode = \"transaction\".",
	}
}

// ErrStatementTooLong: a named Parse that is longer than the pooler keeps, in bytes.
func ErrStatementTooLong(bytesMax int) *Error {
	return &Error{
		Severity: "ERROR", Code: "54000",
		Message: fmt.Sprintf("prepared statement is longer than %d bytes, the most that a transaction pool keeps", bytesMax),
		Hint:    "Send it without a name, or use the session listener.",
	}
}

// ErrStatementMemory: all clients together have prepared more than the pooler keeps.
func ErrStatementMemory() *Error {
	return &Error{
		Severity: "ERROR", Code: "53200", Message: "out of memory",
		Detail: "The prepared statements of this client, or of all clients on the transaction listeners, take more memory than the pooler gives them.",
		Hint:   "Close statements that are no longer used, or use the session listener.",
	}
}

// ErrResultChanged: a client goes by what it was told of a statement's columns or parameters, and they are others now. PostgreSQL's own words
// and fields: drivers that prepare the statement anew look for them (RevalidateCachedQuery in utils/cache/plancache.c).
func ErrResultChanged() *Error {
	return &Error{
		Severity: "ERROR", Code: "0A000", Message: "cached plan must not change result type",
		File: "plancache.c", Routine: "RevalidateCachedQuery",
	}
}

// ErrSettingTooLong: the client has set a parameter to more than its server can be asked for.
func ErrSettingTooLong(bytes int) *Error {
	return &Error{
		Severity: "FATAL", Code: "54000", Message: "the parameters that were set are too long to be followed from server to server",
		Detail: fmt.Sprintf("What a transaction sets may be %d bytes in all where its text does not say it plainly.", bytes),
		Hint:   "Use the session port for such values, or keep them in a table.",
	}
}

// ErrReplication: a replication connection on a port whose servers are shared.
func ErrReplication(listener, mode string) *Error {
	return &Error{
		Severity: "FATAL", Code: "0A000",
		Message: fmt.Sprintf("replication connections are not supported by listener %q: its pool_mode is %q", listener, mode),
		Hint:    "Connect to a listener with pool_mode = \"session\", or to PostgreSQL directly.",
	}
}

// ErrReplicationValue is PostgreSQL's answer to a startup parameter "replication" that makes no sense.
func ErrReplicationValue(value string) *Error {
	return &Error{
		Severity: "FATAL", Code: "22023", Message: fmt.Sprintf("invalid value for parameter \"replication\": \"%s\"", value),
		Hint: "Valid values are: \"false\", 0, \"true\", 1, \"database\".",
	}
}

// quoted is a name as PostgreSQL's messages quote it: not escaped.
func quoted(name string) string { return `"` + name + `"` }

// application names a client by its application_name.
func application(name string) string {
	if name == "" {
		return "a client without application_name"
	}
	return quoted(name)
}

// span is a duration without digits nobody needs: 30s, 1m, 1m30s, 1.5s, 250ms.
func span(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		d = d.Round(time.Second)
	case d >= time.Second:
		d = d.Round(100 * time.Millisecond)
	case d >= time.Millisecond:
		d = d.Round(time.Millisecond)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
