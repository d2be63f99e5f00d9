package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/pool"
	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// reachability is whether PostgreSQL can be reached at each address that the configuration has: as the last login there tells, or, while
// nobody logs in, as watchReachability finds. Whoever stops sending clients here because it cannot must hear when it can again.
type reachability struct {
	mu    sync.Mutex
	known map[serverAddress]bool
	text  string // of the last failure; no secrets
}

// serverAddress is host, which may be a list, and port of a database.
type serverAddress struct {
	host string
	port int
}

func addressIn(r *config.Resolved) serverAddress { return serverAddress{host: r.Host, port: r.Port} }

// note keeps what an attempt has shown. A server that answers with a refusal can be reached, unless it says that it is just starting or
// ending.
func (r *reachability) note(a serverAddress, err error) {
	var refused *dialError
	answered := errors.As(err, &refused) && refused.server != nil && !strings.HasPrefix(refused.server.Code, "57P")
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		r.known = make(map[serverAddress]bool)
	}
	r.known[a] = err == nil || answered
	if !r.known[a] {
		r.text = err.Error()
	}
}

// told is false, with a reason, when PostgreSQL can be reached at none of the addresses. One that has not been tried yet is no reason to
// send clients away.
func (r *reachability) told(all []serverAddress) (ok bool, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range all {
		if reachable, known := r.known[a]; reachable || !known {
			return true, ""
		}
	}
	return len(all) == 0, r.text
}

// failed reports whether the last attempt at an address has failed.
func (r *reachability) failed(a serverAddress) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	ok, known := r.known[a]
	return known && !ok
}

// forget begins anew, with the addresses of another configuration.
func (r *reachability) forget() {
	r.mu.Lock()
	r.known = nil
	r.mu.Unlock()
}

const (
	// probeEvery is how often PostgreSQL is asked whether it is there, while nothing else tells.
	probeEvery = 5 * time.Second
	// probeMax is how long the answer may take.
	probeMax = 2 * time.Second
)

// watchReachability asks PostgreSQL where no server is open and where the last attempt has failed. A goroutine of the cold world.
func (p *Proxy) watchReachability() {
	look := time.NewTicker(p.probeEvery)
	defer look.Stop()
	for {
		for _, a := range p.unsure() {
			p.reachable.note(a, p.probe(a))
		}
		select {
		case <-look.C:
		case <-p.life.Done():
			return
		}
	}
}

// unsure are the addresses of which nothing else tells whether PostgreSQL can be reached there.
func (p *Proxy) unsure() (asked []serverAddress) {
	open := make(map[serverAddress]bool)
	p.mu.Lock()
	for _, one := range p.set.Pools() {
		busy := one.Open() - one.Count(pool.ServerNew) - one.Count(pool.ServerClosing)
		if busy > 0 {
			open[addressIn(&one.Owner.(*serverPool).limits.Load().resolved)] = true
		}
	}
	p.mu.Unlock()
	for _, a := range addressesOf(p.settings.Load().cfg) {
		if !open[a] || p.reachable.failed(a) {
			asked = append(asked, a)
		}
	}
	return asked
}

// addressesOf are those that clients of this configuration can be led to.
func addressesOf(cfg *config.Config) (all []serverAddress) {
	names := []string{""} // stands for any: without [databases] they are all at one address
	for name := range cfg.Databases {
		names = append(names, name)
	}
	for _, name := range names {
		if r, ok := cfg.Resolve(&cfg.Listeners[0], name, ""); ok && !slices.Contains(all, addressIn(&r)) {
			all = append(all, addressIn(&r))
		}
	}
	return all
}

// probe asks whether a PostgreSQL is there without logging in, which would take up a place that the pools may need. It asks for TLS, is
// answered by one byte, and leaves: PostgreSQL does not even log that.
func (p *Proxy) probe(a serverAddress) (err error) {
	ctx, cancel := p.context(probeMax)
	defer cancel()
	for host := range strings.SplitSeq(a.host, ",") {
		if err = probeHost(ctx, strings.TrimSpace(host), a.port); err == nil {
			return nil
		}
	}
	return err
}

func probeHost(ctx context.Context, host string, port int) error {
	d := net.Dialer{KeepAlive: noKeepAlive}
	network, address := pgconn.NetworkAddress(host, uint16(port))
	nc, err := d.DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	defer closeQuietly(nc)
	defer context.AfterFunc(ctx, func() { closeQuietly(nc) })()
	if _, err := nc.Write(protocol.AppendSSLRequest(nil)); err != nil {
		return err
	}
	var answer [1]byte
	if _, err = io.ReadFull(nc, answer[:]); ctx.Err() != nil {
		return fmt.Errorf("%s does not answer within %s", address, probeMax)
	}
	return err
}
