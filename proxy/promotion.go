package proxy

import (
	"time"

	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
)

// Promotion: the two pools are one hybrid. A link whose transaction lasts takes its server along from the budget of the transaction pool
// to that of a session pool, so that those who come for a quick query do not wait behind it. Nothing reconnects and the client notices
// nothing; when its transaction is over the server stays where it counts, and the client comes back for another.

// sessionPool is the pool that a transaction pool's links are promoted to; nil when there is none. The loop's thread.
func (p *Proxy) sessionPool(sp *serverPool) *serverPool {
	limits := sp.limits.Load()
	if limits.promoteTo == "" {
		return nil
	}
	l := p.listenerNamed(limits.promoteTo)
	if l == nil {
		return nil
	}
	to, ok := p.poolFor(l, sp.key.Database, sp.key.User)
	if !ok {
		return nil
	}
	return to
}

func (p *Proxy) listenerNamed(name string) *listener {
	for _, l := range p.listeners {
		if l.name == name {
			return l
		}
	}
	return nil
}

// tickPromotion promotes a link whose transaction has lasted for long_transaction. Where the session pool has no room it is asked again
// at the next tick; nothing is worse than before meanwhile.
func (w *worker) tickPromotion(s *Server, now, long time.Duration) {
	c := s.client
	if long == 0 || s.clocks.Transaction == 0 || now-s.clocks.Transaction < long || s.pool != c.pool || c.pool.mode != relay.Transaction {
		return
	}
	to := w.proxy.sessionPool(c.pool)
	if to == nil {
		return
	}
	var promoted bool
	w.pools(func() {
		promoted = c.pool.pool.Promote(s.ps, to.pool, nil, now)
	})
	if promoted {
		w.promoted(c, s, to)
	}
}

// promoted notes that a linked server counts in another pool now. Sessions expect clean servers: it is cleaned before it serves one.
func (w *worker) promoted(c *Client, s *Server, to *serverPool) {
	s.pool = to
	s.dirty = true
	c.counters.promotions[promotedLongTransaction]++
	w.proxy.log.Info("a long transaction has been moved to the session pool's servers; its application is better off on that port",
		append(c.logAttrs(), "session_listener", to.key.Listener, "age", w.loop.Now()-s.clocks.Transaction)...)
}

// moved notes that a server which nobody has counts in another pool now: it was swapped for one that was promoted.
func (s *Server) moved(to *pool.Pool) {
	if s.client == nil {
		s.pool = to.Owner.(*serverPool)
	}
}

// promotionReason is why a link was promoted: a label in the metrics.
type promotionReason uint8

const (
	promotedLongTransaction promotionReason = iota
	promotionReasons
)

// String is the label.
func (r promotionReason) String() string { return [...]string{"long_transaction"}[r] }
