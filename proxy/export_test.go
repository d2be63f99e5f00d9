package proxy

import "time"

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
