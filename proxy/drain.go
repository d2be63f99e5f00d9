package proxy

import (
	"context"
	"time"

	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/relay"
	"github.com/hybridbouncer/hybridbouncer/proxy/stats"
)

// drainPoll is how often Drain looks whether the last client has gone.
const drainPoll = 50 * time.Millisecond

// Drain stops accepting, tells idle clients 57P01, lets transactions finish and closes each client as its transaction ends. It returns
// when no client is left or ctx has ended; Close is still to be called. Sessions count as idle between transactions, and so does a stream
// of replication, which has no end of its own.
func (p *Proxy) Drain(ctx context.Context) error {
	p.draining.Store(true)
	for _, l := range p.listeners {
		l.stopAccepting()
	}
	for _, w := range p.workers {
		w.loop.Post(w.drain)
	}
	poll := time.NewTicker(drainPoll)
	defer poll.Stop()
	for p.clientsOpen() > 0 {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (p *Proxy) clientsOpen() (n int) {
	for _, l := range p.listeners {
		n += l.logins.Clients()
	}
	return n
}

// drain closes the clients of this loop that are between transactions; settle closes the others.
func (w *worker) drain() {
	w.draining = true
	w.walk(func() {
		for c := w.clients.first; c != nil; {
			next := c.next
			switch c.state {
			case clientIdle:
				c.close(stats.ClientShutdown, protocol.ErrShutdown())
			case clientActive:
				if c.server.relay.StreamPauses() || (c.pool.mode == relay.Session || c.server.relay.Kept) && c.server.relay.Settled() && !c.relay.MidMessage() {
					c.close(stats.ClientShutdown, protocol.ErrShutdown())
				}
			case clientWaiting:
				if c.info.replication != nil {
					c.close(stats.ClientShutdown, protocol.ErrShutdown()) // its login has not ended yet
				}
			case clientClosing:
			}
			c = next
		}
	})
}

const (
	// closeMax is how long Close waits for the servers' last bytes, and for the cancel requests for what they do.
	closeMax = 2 * time.Second
	// partingMax is how long Close waits for clients to end their connections too, when they have been sent their last words.
	partingMax = 100 * time.Millisecond
	// closePoll is how often Close looks whether that is so.
	closePoll = 10 * time.Millisecond
)

// shutdown ends everything on this loop and then the loop. Called by Close, from any goroutine; the loops end on their own time.
func (w *worker) shutdown() {
	w.loop.Post(func() {
		w.draining = true
		w.walk(w.closeAll)
		begun := w.loop.Now()
		w.loop.Every(closePoll, func(now time.Duration) {
			parted := w.loop.Connections() == 0 || now-begun >= partingMax && !w.loop.Backlogged()
			if w.servers.n == 0 && parted || now-begun >= closeMax {
				w.loop.Stop()
			}
		}).Start()
	})
}

func (w *worker) closeAll() {
	for c := w.clients.first; c != nil; {
		next := c.next
		c.close(stats.ClientShutdown, protocol.ErrShutdown())
		c = next
	}
	for s := w.servers.first; s != nil; {
		next := s.next
		w.closeServer(s, pool.CloseShutdown)
		s = next
	}
}
