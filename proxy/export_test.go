package proxy

import (
	"time"

	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// Verify walks the invariants of all pools: what is counted is what there is.
func (p *Proxy) Verify() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.set.Verify()
}

// ProbeEvery sets how often PostgreSQL is asked whether it is there, before Start.
func (p *Proxy) ProbeEvery(interval time.Duration) { p.probeEvery = interval }

// UserFileFault is why a user file that has changed cannot be used; "" if it can.
func UserFileFault(p *Proxy) string {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	return p.userFile.fault
}

// ListeningServer is the process id of the server that listens for the clients of a listener's pools; 0: none does now.
func (p *Proxy) ListeningServer(listener string) uint32 {
	found := make(chan uint32, 1)
	w := p.workers[0]
	w.loop.Post(func() {
		for s := w.servers.first; s != nil; s = s.next {
			if s.hub != nil && s.pool.key.Listener == listener {
				found <- s.key.ProcessID
				return
			}
		}
		found <- 0
	})
	return <-found
}

// Listeners is what is left of clients that listen: subscriptions on all loops, and channels of the servers that listen for them.
func (p *Proxy) Listeners() (subscriptions, channels int) {
	for _, w := range p.workers {
		found := make(chan [2]int, 1)
		w.loop.Post(func() {
			var n [2]int
			for _, a := range w.subscribers {
				n[0] += a.Channels()
			}
			for _, h := range w.listenHosts {
				n[1] += h.hub.Left()
			}
			found <- n
		})
		n := <-found
		subscriptions += n[0]
		channels += n[1]
	}
	return subscriptions, channels
}

// MoveClients hands every idle client that is on a loop to the next loop, and returns when their new loop has them.
func (p *Proxy) MoveClients(from int) {
	done := make(chan struct{})
	w, to := p.workers[from], p.workers[(from+1)%len(p.workers)]
	w.loop.Post(func() {
		for c := w.clients.first; c != nil; {
			next := c.next
			if c.state == clientIdle && c.conn.Kept() == 0 && c.conn.Backlog() == 0 {
				w.moveClient(c, to)
			}
			c = next
		}
		to.loop.Post(func() { close(done) })
	})
	<-done
}

// Cancel carries out a cancel request as if it had come over the network.
func (p *Proxy) Cancel(id uint32, secret []byte) {
	p.cancel(protocol.CancelKey{ProcessID: id, Secret: secret})
}

// OccupyLoop keeps the first loop from coming round until release is closed.
func (p *Proxy) OccupyLoop(release <-chan struct{}) { p.workers[0].loop.Post(func() { <-release }) }
