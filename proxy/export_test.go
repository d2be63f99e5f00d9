package proxy

// Verify walks the invariants of all pools: what is counted is what there is.
func (p *Proxy) Verify() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.set.Verify()
}
