package proxy

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// closeReason is why a client ended: label in the metrics, key in the log.
type closeReason uint8

const (
	closeLeft                 closeReason = iota // Terminate
	closeGone                                    // its socket ended without a goodbye
	closeProtocolViolation                       // it broke the protocol
	closePipelinedBehindError                    // it pipelined behind a batch that was refused
	closeQueryWaitTimeout                        // it pipelined behind a batch that waited too long
	closeServerLogin                             // PostgreSQL refused the pool's login
	closeServerLost                              // its server ended while linked
	closeSettingRefused                          // PostgreSQL refused one of its startup parameters
	closeCanceled                                // canceled while it waited, with more pipelined behind
	closeClientIdle
	closeIdleTransaction
	closeTransactionTimeout
	closeQueryTimeout
	closeStatementMode
	closeStateRefused        // promotion = "error"; it is kept, unless it is about to go
	closeNotificationsUnread // it listens and does not read
	closeListenImpossible    // no server can listen for it any more
	closeShutdown
	closeReasons // their number
)

// String is the label and log word.
func (r closeReason) String() string {
	return [...]string{
		"left", "gone", "protocol_violation", "pipelined_behind_error", "query_wait_timeout", "server_login", "server_lost",
		"setting_refused", "canceled", "client_idle_timeout", "idle_transaction_timeout", "transaction_timeout", "query_timeout", "statement_mode",
		"state_refused", "notifications_unread", "listen_impossible", "shutdown",
	}[r]
}

// ordinary: an end that nobody needs to read about in the log at warning level.
func (r closeReason) ordinary() bool { return r == closeLeft || r == closeGone || r == closeShutdown }

// logClose writes the one line of a client's end.
func (p *Proxy) logClose(c *Client, why closeReason, err *protocol.Error) {
	log := p.settings.Load().cfg.Log
	level := slog.LevelInfo
	if !why.ordinary() {
		level = slog.LevelWarn
	}
	if level == slog.LevelInfo && !log.Disconnections || level == slog.LevelWarn && !log.PoolerErrors {
		return
	}
	attrs := append(c.logAttrs(), "reason", why.String(), "age", time.Since(c.info.since).Round(time.Millisecond))
	if err != nil {
		attrs = append(attrs, "sqlstate", err.Code, "error", err.Message)
	}
	p.log.Log(p.life, level, "client closed", attrs...)
}

func (c *Client) logAttrs() []any {
	attrs := []any{
		"listener", c.pool.key.Listener, "client", addressText(c.info.address), "database", c.pool.key.Database,
		"user", c.pool.key.User, "application_name", c.applicationName(),
	}
	if c.info.replication != nil {
		attrs = append(attrs, "replication", c.info.replication.kind.String())
	}
	if c.info.tls != "" {
		attrs = append(attrs, "tls", c.info.tls)
	}
	return attrs
}

// logServerClose writes the one line of a server's end.
func (p *Proxy) logServerClose(s *Server, err error) {
	if !p.settings.Load().cfg.Log.Disconnections {
		return
	}
	attrs := []any{
		"listener", s.pool.key.Listener, "database", s.pool.key.Database, "user", s.pool.key.User,
		"pid", s.key.ProcessID, "reason", s.closeReason,
	}
	if err != nil {
		attrs = append(attrs, "error", err)
	}
	p.log.Info("server closed", attrs...)
}

func addressText(a netip.AddrPort) string {
	if !a.IsValid() {
		return "unix"
	}
	return a.String()
}
