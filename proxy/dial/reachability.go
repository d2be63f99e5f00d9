package dial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/protocol"
	"github.com/hybridbouncer/hybridbouncer/proxy/sockets"
)

// Reachability remembers for each address whether the last attempt to reach PostgreSQL there succeeded. The zero value knows nothing. Any
// goroutine may call its methods.
type Reachability struct {
	mu    sync.Mutex
	known map[Address]bool
	text  string // of the last failure; no secrets
}

// Address is where the servers of a database are: a host, or a list of hosts, and a port.
type Address struct {
	Host string
	Port int
}

// AddressIn returns the address of a pool's servers.
func AddressIn(r *config.Resolved) Address { return Address{Host: r.Host, Port: r.Port} }

// Note records the result of an attempt. A server that refuses a login can be reached, unless it says that it is starting or ending.
func (r *Reachability) Note(a Address, err error) {
	var refused *Error
	answered := errors.As(err, &refused) && refused.Server != nil && !strings.HasPrefix(refused.Server.Code, "57P")
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		r.known = make(map[Address]bool)
	}
	r.known[a] = err == nil || answered
	if !r.known[a] {
		r.text = err.Error()
	}
}

// Reachable reports whether PostgreSQL can be reached at one of the addresses at least; text is the last failure when it cannot. An address
// that has not been tried yet counts as reachable.
func (r *Reachability) Reachable(all []Address) (ok bool, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range all {
		if reachable, known := r.known[a]; reachable || !known {
			return true, ""
		}
	}
	return len(all) == 0, r.text
}

// Failed reports whether the last attempt at an address failed.
func (r *Reachability) Failed(a Address) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	ok, known := r.known[a]
	return known && !ok
}

// Forget begins anew, with the addresses of another configuration.
func (r *Reachability) Forget() {
	r.mu.Lock()
	r.known = nil
	r.mu.Unlock()
}

// Probe asks whether a PostgreSQL answers at one of the hosts of an address, until ctx ends. It does not log in, because a login would take
// up a connection that the pools may need. It asks for TLS, is answered by one byte, and leaves: PostgreSQL does not even log that.
func Probe(ctx context.Context, a Address) (err error) {
	for host := range strings.SplitSeq(a.Host, ",") {
		if err = probeHost(ctx, strings.TrimSpace(host), a.Port); err == nil {
			return nil
		}
	}
	return err
}

func probeHost(ctx context.Context, host string, port int) error {
	begun := time.Now()
	d := net.Dialer{KeepAlive: sockets.NoKeepAlive}
	network, address := pgconn.NetworkAddress(host, uint16(port))
	nc, err := d.DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	defer sockets.CloseQuietly(nc)
	defer context.AfterFunc(ctx, func() { sockets.CloseQuietly(nc) })()
	if _, err := nc.Write(protocol.AppendSSLRequest(nil)); err != nil {
		return err
	}
	var answer [1]byte
	if _, err = io.ReadFull(nc, answer[:]); ctx.Err() != nil {
		return fmt.Errorf("%s does not answer within %s", address, time.Since(begun).Round(time.Second))
	}
	return err
}
