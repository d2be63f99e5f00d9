package pgtest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// Side says whose message a Fault waits for.
type Side uint8

const (
	// FromPooler is the pooler's (or any client's) messages to PostgreSQL.
	FromPooler Side = iota
	// FromPostgreSQL is PostgreSQL's messages.
	FromPostgreSQL
)

// Fault is one thing to go wrong, at one message of a real connection. Side, Type, Skip and Match choose the message; one of the
// others says what becomes of it (none: it passes, and Struck tells that it came). Only after its startup packets (SSLRequest, the startup message) are a connection's
// messages looked at.
type Fault struct {
	Side  Side
	Type  byte              // message type; 0: any
	Skip  int               // how many that would match to let pass first
	Match func([]byte) bool // further condition on the whole message, type byte and length included; nil: none

	// Cut closes both sockets of the connection.
	Cut bool
	// CutAt bytes of the message go out ahead of a Cut or Stall (0: none, len: all of it).
	CutAt int
	// Reset makes Cut's closing a RST.
	Reset bool
	// Stall holds the message, or the rest of it, and all behind it in its direction, until Release, CutAll or Close.
	Stall bool
	// Delay holds the message, and all behind it in its direction, for this long.
	Delay time.Duration
	// Change replaces the message by what it returns: whole messages, none (nil) or several. It must not keep its argument.
	Change func([]byte) []byte
}

// Planted is a Fault waiting in a FaultProxy for its message. It strikes once.
type Planted struct {
	// Struck is closed when the message has come.
	Struck chan struct{}

	fault    Fault
	seen     int // guarded by FaultProxy.mu
	struck   bool
	released chan struct{}
	release  sync.Once
}

// Release lets go of the message a Stall is holding, or will hold. Idempotent.
func (p *Planted) Release() { p.release.Do(func() { close(p.released) }) }

// FaultProxy stands between a pooler and PostgreSQL, passes everything on as it is, and breaks what Plant says. PostgreSQL stays
// the real one: only the connection to it fails. Safe for use by several goroutines.
type FaultProxy struct {
	target   string
	listener net.Listener
	done     sync.WaitGroup // accepting, and both directions of each pair

	// Guarded by mu.

	mu      sync.Mutex
	planted []*Planted
	pairs   map[*pair]bool
	refuse  bool
	closed  bool
}

// pair is one connection through the proxy.
type pair struct {
	pooler, postgres net.Conn
	gone             chan struct{} // closed by cut
	once             sync.Once
}

// cut closes both sockets, by RST if reset.
func (p *pair) cut(reset bool) {
	p.once.Do(func() {
		for _, s := range []net.Conn{p.pooler, p.postgres} {
			if tcp, ok := s.(*net.TCPConn); ok && reset {
				_ = tcp.SetLinger(0)
			}
			_ = s.Close()
		}
		close(p.gone)
	})
}

// NewFaultProxy listens on a free TCP port and leads to target: host:port, or the path of a unix socket. It closes with the test.
func NewFaultProxy(t TB, target string) *FaultProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen for the fault proxy: %v", err)
	}
	f := &FaultProxy{target: target, listener: l, pairs: map[*pair]bool{}}
	f.done.Add(1)
	go f.accept()
	t.Cleanup(f.Close)
	return f
}

// Address is host:port where the proxy listens.
func (f *FaultProxy) Address() string { return f.listener.Addr().String() }

// Host is the address on which the proxy listens.
func (f *FaultProxy) Host() string { return "127.0.0.1" }

// Port is the port on which the proxy listens.
func (f *FaultProxy) Port() int { return f.listener.Addr().(*net.TCPAddr).Port }

// Plant makes a fault wait for its message, on whichever connection it comes first.
func (f *FaultProxy) Plant(fault Fault) *Planted {
	p := &Planted{fault: fault, Struck: make(chan struct{}), released: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.planted = append(f.planted, p)
	return p
}

// Refuse makes the proxy close new connections at once (on), as a server does that is not there; or stops that.
func (f *FaultProxy) Refuse(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = on
}

// CutAll closes all connections there are now, by RST if reset, and says how many.
func (f *FaultProxy) CutAll(reset bool) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	for p := range f.pairs {
		p.cut(reset)
	}
	return len(f.pairs)
}

// Connections is how many connections go through the proxy now.
func (f *FaultProxy) Connections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.pairs)
}

// Close stops listening, cuts everything and waits for the proxy's goroutines. Idempotent.
func (f *FaultProxy) Close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	_ = f.listener.Close()
	f.CutAll(false)
	f.done.Wait()
}

func (f *FaultProxy) accept() {
	defer f.done.Done()
	for {
		s, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.done.Add(1)
		go f.serve(s)
	}
}

// serve dials PostgreSQL and carries both directions until one ends.
func (f *FaultProxy) serve(pooler net.Conn) {
	defer f.done.Done()
	network := "tcp"
	if strings.HasPrefix(f.target, "/") {
		network = "unix"
	}
	postgres, err := net.DialTimeout(network, f.target, 5*time.Second)
	if err != nil {
		_ = pooler.Close()
		return
	}
	p := &pair{pooler: pooler, postgres: postgres, gone: make(chan struct{})}
	f.mu.Lock()
	refuse := f.refuse || f.closed
	f.pairs[p] = true
	f.mu.Unlock()
	defer func() {
		p.cut(false)
		f.mu.Lock()
		delete(f.pairs, p)
		f.mu.Unlock()
	}()
	if refuse {
		return
	}
	toPostgres, toPooler := newDirection(f, p, FromPooler), newDirection(f, p, FromPostgreSQL)
	messages, err := startup(toPostgres, toPooler)
	if err != nil {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { toPostgres.carry(messages) })
	toPooler.carry(messages)
	both.Wait()
}

// startup carries the packets before the first message, each of which has a length and no type. messages is false when what
// follows is no messages in plain sight: TLS, or the end after a CancelRequest.
func startup(toPostgres, toPooler *direction) (messages bool, err error) {
	const cancelCode, tlsCode, gssCode = 80877102, 80877103, 80877104
	for {
		code, err := toPostgres.startupPacket()
		switch {
		case err != nil:
			return false, err
		case code == cancelCode:
			return false, nil
		case code != tlsCode && code != gssCode:
			return true, nil
		}
		answer := make([]byte, 1)
		if _, err := io.ReadFull(toPooler.in, answer); err != nil {
			return false, err
		}
		if err := toPooler.send(answer); err != nil {
			return false, err
		}
		if answer[0] == 'S' || answer[0] == 'G' {
			return false, nil
		}
	}
}

// direction carries what one side says to the other.
type direction struct {
	proxy *FaultProxy
	pair  *pair
	side  Side
	in    *bufio.Reader
	out   *bufio.Writer
	to    net.Conn
}

func newDirection(f *FaultProxy, p *pair, side Side) *direction {
	from, to := p.pooler, p.postgres
	if side == FromPostgreSQL {
		from, to = to, from
	}
	return &direction{proxy: f, pair: p, side: side, in: bufio.NewReaderSize(from, 32<<10), out: bufio.NewWriterSize(to, 32<<10), to: to}
}

// startupPacket carries one packet and returns its code: the protocol version or the kind of request.
func (d *direction) startupPacket() (code uint32, err error) {
	header := make([]byte, 8)
	if _, err := io.ReadFull(d.in, header); err != nil {
		return 0, err
	}
	length := binary.BigEndian.Uint32(header)
	if length < 8 || length > 10000 {
		return 0, fmt.Errorf("startup packet of length %d", length)
	}
	packet := append(header, make([]byte, length-8)...)
	if _, err := io.ReadFull(d.in, packet[8:]); err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(packet[4:]), d.send(packet)
}

func (d *direction) send(b []byte) error {
	if _, err := d.out.Write(b); err != nil {
		return err
	}
	return d.out.Flush()
}

// carry passes messages (or plain bytes) on until this direction ends, and passes the end on too: a FIN as a FIN, an error by
// closing both.
func (d *direction) carry(messages bool) {
	var err error
	if messages {
		for err == nil {
			err = d.message()
		}
	} else {
		_, err = io.Copy(d.to, d.in)
		if err == nil {
			err = io.EOF
		}
	}
	closer, halfCloses := d.to.(interface{ CloseWrite() error })
	if !errors.Is(err, io.EOF) || !halfCloses || d.out.Flush() != nil || closer.CloseWrite() != nil {
		d.pair.cut(false)
	}
}

// message carries one message. It is read whole only if a fault may want it.
func (d *direction) message() error {
	if d.in.Buffered() == 0 {
		if err := d.out.Flush(); err != nil {
			return err
		}
	}
	header, err := d.in.Peek(5)
	if err != nil {
		if len(header) == 0 {
			return err
		}
		return io.ErrUnexpectedEOF
	}
	size := int64(binary.BigEndian.Uint32(header[1:])) + 1
	if size < 5 {
		return fmt.Errorf("message %q with length %d", header[0], size-1)
	}
	if !d.proxy.wanted(d.side, header[0]) {
		_, err := io.CopyN(d.out, d.in, size)
		return err
	}
	m := make([]byte, size)
	if _, err := io.ReadFull(d.in, m); err != nil {
		return io.ErrUnexpectedEOF
	}
	if p := d.proxy.strike(d.side, m); p != nil {
		return d.apply(p, m)
	}
	_, err = d.out.Write(m)
	return err
}

// apply does to message m what the fault says.
func (d *direction) apply(p *Planted, m []byte) error {
	fault := p.fault
	// What came before the message is out when Struck is seen.
	if err := d.out.Flush(); err != nil {
		return err
	}
	switch {
	case fault.Cut:
		err := d.send(m[:min(fault.CutAt, len(m))])
		d.pair.cut(fault.Reset)
		close(p.Struck)
		return err
	case fault.Stall:
		ahead := min(fault.CutAt, len(m))
		if err := d.send(m[:ahead]); err != nil {
			return err
		}
		m = m[ahead:]
		close(p.Struck)
		select {
		case <-p.released:
		case <-d.pair.gone:
			return net.ErrClosed
		}
	case fault.Delay > 0:
		close(p.Struck)
		timer := time.NewTimer(fault.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-d.pair.gone:
			return net.ErrClosed
		}
	case fault.Change != nil:
		m = fault.Change(m)
		defer close(p.Struck)
	default:
		close(p.Struck)
	}
	return d.send(m)
}

// wanted says whether a fault waits for messages of this type.
func (f *FaultProxy) wanted(side Side, typ byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.planted {
		if !p.struck && p.fault.Side == side && (p.fault.Type == 0 || p.fault.Type == typ) {
			return true
		}
	}
	return false
}

// strike returns the fault whose message m is, and takes it out of waiting; nil if there is none.
func (f *FaultProxy) strike(side Side, m []byte) *Planted {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.planted {
		if p.struck || p.fault.Side != side || (p.fault.Type != 0 && p.fault.Type != m[0]) {
			continue
		}
		if p.fault.Match != nil && !p.fault.Match(m) {
			continue
		}
		if p.seen++; p.seen > p.fault.Skip {
			p.struck = true
			return p
		}
	}
	return nil
}
