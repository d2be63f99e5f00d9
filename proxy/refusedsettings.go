package proxy

import (
	"slices"
	"strings"
	"sync"

	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// A server may refuse a client's settings because of what others have done to it: a library that is loaded there claims a custom name's
// prefix, or a temporary table has been used, behind which temp_buffers is fixed. Where that may happen, the client's messages wait until the
// settings are in force. Nothing of the client's has been sent then, and the client can take another server.

// nameProofs remembers of a pool's custom parameters whether servers take them. Any goroutine may call its methods.
type nameProofs struct {
	mu    sync.Mutex
	taken map[string]bool // false: a server has refused the name, and servers may go on to do so
}

// nameProofsMax bounds them. Clients with further names wait for the settings each time.
const nameProofsMax = 1000

// proven reports whether servers of the pool have taken the name, and none has refused it.
func (p *nameProofs) proven(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.taken[name]
}

// note records that a server has taken names, or has refused them.
func (p *nameProofs) note(names []string, taken bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken == nil {
		p.taken = make(map[string]bool)
	}
	for _, name := range names {
		if before, known := p.taken[name]; known || len(p.taken) < nameProofsMax {
			p.taken[name] = taken && (before || !known)
		}
	}
}

// claimable are the prefixes of well-known libraries. One server that takes such a name proves nothing of the next, which may have loaded
// the library. A library that is not among them is known from its first refusal on.
var claimable = map[string]bool{
	"plpgsql": true, "plperl": true, "pltcl": true, "plpython3": true, "plv8": true, "auto_explain": true, "pg_stat_statements": true,
	"pg_trgm": true, "postgres_fdw": true, "pg_prewarm": true, "pgaudit": true, "pg_hint_plan": true, "postgis": true, "timescaledb": true,
	"citus": true, "cron": true, "hnsw": true, "ivfflat": true, "age": true, "rum": true,
}

// mayBeRefused reports whether a server that takes everybody's names may refuse this one.
func (p *nameProofs) mayBeRefused(name string) bool {
	prefix, _, custom := strings.Cut(name, ".")
	return name == "temp_buffers" || custom && (claimable[prefix] || !p.proven(name))
}

// doubtfulSettings returns the parameters that differ between a client and a server, and which the server may refuse.
func (c *Client) doubtfulSettings(s *Server, reset bool) (names []string) {
	have := s.own
	if reset {
		have = sqltext.Settings{}
	}
	if c.relay.Own == have {
		return nil
	}
	add := func(name string) {
		if c.pool.proofs.mayBeRefused(name) {
			names = append(names, name)
		}
	}
	c.relay.Own.Each(func(name, value string) {
		if has, ok := have.Get(name); !ok || has != value {
			add(name)
		}
	})
	have.Each(func(name, _ string) {
		if _, ok := c.relay.Own.Get(name); !ok {
			add(name)
		}
	})
	return names
}

// holdBack lets a client wait until the server has taken its settings.
func (w *worker) holdBack(c *Client, s *Server) {
	s.holdsBack, c.held = true, true
	c.conn.PauseReads()
	s.startClocks(w.loop.Now())
}

// letThrough lets a client go on that was held back.
func (w *worker) letThrough(c *Client, s *Server) {
	if s.applying {
		return
	}
	reset := func(name string) bool { _, carries := c.relay.Own.Get(name); return !carries } // which shows nothing
	s.pool.proofs.note(slices.DeleteFunc(s.trying, reset), true)
	s.holdsBack, s.trying, c.refusals = false, nil, 0
	if c.relay.Deferred() {
		w.begin(c, s)
	}
	c.goOn()
}

// refusalsMax is how many servers in a row may refuse a client's settings before the client hears of it.
const refusalsMax = 8

// tryAnother takes a client that is held back off a server that has refused its settings. It reports false when that is the client's own
// fault: a server that nobody has used refuses too. A custom name that a library has claimed is taken from the client, as PostgreSQL does
// when it loads the library.
func (w *worker) tryAnother(s *Server, e *protocol.Error) bool {
	c := s.client
	if c == nil || !s.holdsBack {
		return false
	}
	dropped := (e.Code == "42602" || e.Code == "42704") && c.dropRefused(s, e.Message)
	if c.refusals++; c.refusals > refusalsMax || s.uses == 1 && !dropped {
		return false
	}
	w.unlink(c, s)
	c.held = false
	w.proxy.log.Info("a server does not take a client's settings and is closed; the client gets another",
		"listener", s.pool.key.Listener, "database", s.pool.key.Database, "user", s.pool.key.User, "error", e.Message, "sqlstate", e.Code)
	w.closeServer(s, pool.CloseRefusedStatement)
	w.act()
	return true
}

// dropRefused takes the custom name that an error names from what the client carries.
func (c *Client) dropRefused(s *Server, message string) (dropped bool) {
	for _, name := range s.trying {
		if !strings.Contains(message, `"`+name+`"`) {
			continue
		}
		c.pool.proofs.note([]string{name}, false)
		if _, carries := c.relay.Own.Get(name); carries {
			c.relay.Own, c.info.base.Own = c.relay.Own.Without(name), c.info.base.Own.Without(name)
			dropped = true
		}
	}
	return dropped
}
