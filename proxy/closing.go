package proxy

import (
	"log/slog"
	"time"

	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/login"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// logClose writes the one line of a client's end.
func (p *Proxy) logClose(c *Client, why stats.ClientClose, err *protocol.Error) {
	log := p.settings.Load().cfg.Log
	level := slog.LevelInfo
	if !why.Ordinary() {
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
		"listener", c.pool.key.Listener, "client", login.AddressText(c.info.address), "database", c.pool.key.Database,
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
