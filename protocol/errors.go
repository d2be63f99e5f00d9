package protocol

import (
	"fmt"
	"time"
)

// The errors a client can meet, one constructor each (DESIGN: "Errors a client can meet"). Wording is PostgreSQL's where it has one; the
// setting that matters is in the text; the hint says what to do.

// ErrQueryWaitTimeout: no server became free in time. Nothing of the client's has reached a server.
func ErrQueryWaitTimeout(waited, timeout time.Duration, busy, size int, oldest time.Duration, oldestApplication string) *Error {
	e := &Error{
		Severity: "ERROR", Code: "53300",
		Message: fmt.Sprintf("no server became free within query_wait_timeout (%s): %d of %d busy", timeout, busy, size),
		Hint:    "Raise default_pool_size, or move long transactions to the session listener.",
		Detail:  fmt.Sprintf("Waited %s.", waited.Round(time.Millisecond)),
	}
	if oldest > 0 {
		e.Detail += fmt.Sprintf(" The oldest transaction is %s old, by application_name %q.", oldest.Round(time.Millisecond), oldestApplication)
	}
	return e
}

// NoticeQueryWait tells a waiting client that it waits (query_wait_notify).
func NoticeQueryWait(waited time.Duration) *Error {
	return &Error{
		Severity: "NOTICE", Code: "00000", Message: fmt.Sprintf("no server is free yet; queued for %s", waited.Round(100*time.Millisecond)),
		Hint: "query_wait_notify sets when this is said, query_wait_timeout when waiting ends.",
	}
}

// ErrTooManyClients: a limit of clients is reached.
func ErrTooManyClients(setting string, limit int) *Error {
	return &Error{
		Severity: "FATAL", Code: "53300", Message: "sorry, too many clients already",
		Detail: fmt.Sprintf("%s = %d is reached.", setting, limit), Hint: "Raise " + setting + ", or close clients that are idle.",
	}
}

// ErrAuthFailed: wrong password or unknown user; nobody can tell which.
func ErrAuthFailed(user string) *Error {
	return &Error{Severity: "FATAL", Code: "28P01", Message: fmt.Sprintf("password authentication failed for user %q", user)}
}

// ErrNotAuthorized: the client may not come in at all.
func ErrNotAuthorized(text string) *Error {
	return &Error{Severity: "FATAL", Code: "28000", Message: text}
}

// ErrNoSuchDatabase: the configuration has no such database.
func ErrNoSuchDatabase(database string) *Error {
	return &Error{
		Severity: "FATAL", Code: "3D000", Message: fmt.Sprintf("database %q does not exist", database),
		Hint: "Name it under [databases], or add [databases.\"*\"] to pass every name on.",
	}
}

// ErrServerUnreachable: PostgreSQL cannot be reached.
func ErrServerUnreachable(detail string) *Error {
	return &Error{
		Severity: "FATAL", Code: "08006", Message: "PostgreSQL cannot be reached", Detail: detail,
		Hint: "Is it running where [server] host and port say? The pooler's log has the reason; server_login_retry sets how often it tries.",
	}
}

// ErrServerLost: the server ended while the client was using it.
func ErrServerLost() *Error {
	return &Error{
		Severity: "FATAL", Code: "08006", Message: "the connection to PostgreSQL was lost",
		Hint: "Whether the last statement took effect is not known.",
	}
}

// ErrServerLogin passes PostgreSQL's own refusal on.
func ErrServerLogin(e Error) *Error {
	e.Severity = "FATAL"
	if e.Code == "" {
		e.Code = "08006"
	}
	return &e
}

// ErrSettingRefused: PostgreSQL refused a startup parameter.
func ErrSettingRefused(e Error) *Error {
	e.Severity = "FATAL"
	if e.Hint == "" {
		e.Hint = "It came with the client's startup parameters."
	}
	return &e
}

// ErrShutdown: the pooler is going down.
func ErrShutdown() *Error {
	return &Error{
		Severity: "FATAL", Code: "57P01", Message: "terminating connection due to administrator command",
		Detail: "The pooler is shutting down.", Hint: "Connect again.",
	}
}

// ErrAdminKill: an administrator closed the client.
func ErrAdminKill() *Error {
	return &Error{Severity: "FATAL", Code: "57P01", Message: "terminating connection due to administrator command"}
}

// ErrClientIdle: the client was idle for too long.
func ErrClientIdle(setting string, limit time.Duration) *Error {
	return &Error{
		Severity: "FATAL", Code: "57P05", Message: fmt.Sprintf("terminating connection due to idle-session timeout (%s = %s)", setting, limit),
		Hint: "Raise " + setting + ", or let the client's own pool drop idle connections.",
	}
}

// ErrIdleTransaction: the client sat in a transaction, or in a batch without Sync.
func ErrIdleTransaction(limit time.Duration) *Error {
	return &Error{
		Severity: "FATAL", Code: "25P03",
		Message: fmt.Sprintf("terminating connection due to idle-in-transaction timeout (idle_transaction_timeout = %s)", limit),
		Hint:    "End transactions before waiting for anything else, or use the session listener.",
	}
}

// ErrTransactionTimeout: the transaction took too long.
func ErrTransactionTimeout(limit time.Duration) *Error {
	return &Error{
		Severity: "FATAL", Code: "25P04",
		Message: fmt.Sprintf("terminating connection due to transaction timeout (transaction_timeout = %s)", limit),
		Hint:    "Raise transaction_timeout, or split the transaction.",
	}
}

// ErrQueryTimeout: a query took too long.
func ErrQueryTimeout(limit time.Duration) *Error {
	return &Error{
		Severity: "FATAL", Code: "57014", Message: fmt.Sprintf("canceling statement due to query_timeout (%s)", limit),
		Hint: "Raise query_timeout.",
	}
}

// ErrCanceledWaiting: the client canceled while it waited for a server.
func ErrCanceledWaiting() *Error {
	return &Error{Severity: "ERROR", Code: "57014", Message: "canceling statement due to user request"}
}

// ErrLoginTimeout: the login took too long.
func ErrLoginTimeout(limit time.Duration) *Error {
	return &Error{Severity: "FATAL", Code: "08006", Message: fmt.Sprintf("canceling authentication due to timeout (client_login_timeout = %s)", limit)}
}

// ErrProtocol: the client broke the protocol.
func ErrProtocol(text string) *Error {
	return &Error{Severity: "FATAL", Code: "08P01", Message: text}
}

// ErrStatementMode: a transaction block on a listener with pool_mode = "statement".
func ErrStatementMode() *Error {
	return &Error{
		Severity: "FATAL", Code: "08P01", Message: "transaction blocks not allowed in statement pooling mode",
		Hint: "Use a listener with pool_mode = \"transaction\".",
	}
}

// ErrOutOfMemory: a memory budget is used up.
func ErrOutOfMemory(setting string) *Error {
	return &Error{Severity: "FATAL", Code: "53200", Message: "out of memory", Detail: setting + " is reached."}
}

// ErrReplication: a replication connection where none can be had.
func ErrReplication() *Error {
	return &Error{
		Severity: "FATAL", Code: "0A000", Message: "replication connections are not supported by this pooler",
		Hint: "Connect to PostgreSQL directly for replication.",
	}
}
