package compat

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Target is where a script is played.
type Target struct {
	Address  string
	Database string
	// Exec runs statements beforehand and Running asks whether one has begun and waits, both in Database and on PostgreSQL itself.
	Exec    func(sql string) error
	Running func(part string) (bool, error)
}

// playLimit is how long one answer may take: far above anything legitimate.
const playLimit = 10 * time.Second

// epilogue holds the messages that each remaining client sends at the end of its script. It ends whatever the script may have left open: a COPY, a
// batch without Sync, a transaction, and outside of them it is legal too (CopyFail is ignored there, ROLLBACK warns).
const epilogue = `CopyFail "epilogue" | Sync | Query "rollback" | Query "select 'the end'"`

// theEnd is the last line of a client that PostgreSQL still understood at the end.
const theEnd = `DataRow "the end"`

// player plays one script once.
type player struct {
	target     Target
	script     Script
	bytewise   bool
	clients    map[string]*client
	transcript Transcript
}

// client is one connection of a play.
type client struct {
	socket net.Conn
	in     *bufio.Reader
	key    []byte // process id and secret
	seen   map[string]int
	last   string
	closed bool
}

// Play plays a script and returns the answers. bytewise sends each byte alone. The error is one of the machinery; what the other
// side did wrong, silence included, is in the transcript.
func Play(script Script, target Target, bytewise bool) (Transcript, error) {
	p := &player{target: target, script: script, bytewise: bytewise, clients: map[string]*client{}, transcript: Transcript{}}
	defer func() {
		for _, c := range p.clients {
			_ = c.socket.Close()
		}
	}()
	for _, sql := range append([]string{"drop schema if exists public cascade; create schema public"}, script.Setup...) {
		if err := target.Exec(sql); err != nil {
			return nil, fmt.Errorf("setup of %s: %s: %w", script.Name, sql, err)
		}
	}
	for i, step := range script.Steps {
		if err := p.step(step); err != nil {
			return p.transcript, fmt.Errorf("%s, step %d: %w", script.Name, i+1, err)
		}
	}
	return p.transcript, p.finish()
}

func (p *player) step(step Step) error {
	if step.Action == Running {
		return p.awaitRunning(step.Text)
	}
	c, err := p.client(step.Client)
	if err != nil {
		return err
	}
	switch step.Action {
	case Send:
		p.send(c, step.Bytes)
	case Until:
		p.until(step.Client, c, step.Text, step.Times)
	case Reset:
		if tcp, ok := c.socket.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		fallthrough
	case Close:
		c.closed = true
		return c.socket.Close()
	case Cancel:
		return p.cancel(c, step.Text == "wrong")
	case Running:
	}
	return nil
}

// client finds a client, or logs it in.
func (p *player) client(name string) (*client, error) {
	if c := p.clients[name]; c != nil {
		return c, nil
	}
	socket, err := net.DialTimeout("tcp", p.target.Address, playLimit)
	if err != nil {
		return nil, err
	}
	c := &client{socket: socket, in: bufio.NewReader(socket), seen: map[string]int{}}
	p.clients[name] = c
	p.send(c, startupPacket(p.script.Startup, p.target.Database))
	if p.script.Startup.Raw != nil {
		return c, nil
	}
	p.until(name, c, "ReadyForQuery", 1)
	return c, nil
}

// sortLogin puts the ParameterStatus of a login, which BackendKeyData ends, into an order of their own: PostgreSQL says them in that of its
// hash table.
func (p *player) sortLogin(name string) {
	lines := p.transcript[name]
	end := len(lines) - 1
	begin := end
	for begin > 0 && strings.HasPrefix(lines[begin-1], "ParameterStatus") {
		begin--
	}
	slices.Sort(lines[begin:end])
}

// send writes in one go, or byte by byte. A broken socket shows when it is read.
func (p *player) send(c *client, b []byte) {
	write := func(b []byte) error {
		_ = c.socket.SetWriteDeadline(time.Now().Add(playLimit))
		_, err := c.socket.Write(b)
		return err
	}
	if !p.bytewise || len(b) > bytewiseMax {
		_ = write(b)
		return
	}
	for i := range b {
		if write(b[i:i+1]) != nil {
			return
		}
		runtime.Gosched() // let the other side read it alone, if it is quick
	}
}

// bytewiseMax bounds a message that is sent byte by byte: longer ones would take seconds and show nothing new.
const bytewiseMax = 4 << 10

// until reads until a message has come so many times since the last call, or the other side has closed.
func (p *player) until(name string, c *client, what string, times int) {
	clear(c.seen)
	for !c.closed && (what == "closed" || c.seen[what] < times) {
		line := c.read(what == "byte")
		p.transcript[name] = append(p.transcript[name], line)
		c.last = line
		first, _, _ := strings.Cut(line, " ")
		c.seen[first]++
		if first == "BackendKeyData" {
			p.sortLogin(name)
		}
	}
}

// read is the next message as a line, or the next byte alone. Any end of the connection, a silence of playLimit among them, is the last.
func (c *client) read(alone bool) string {
	_ = c.socket.SetReadDeadline(time.Now().Add(playLimit))
	var head [5]byte
	wanted := len(head)
	if alone {
		wanted = 1
	}
	if _, err := io.ReadFull(c.in, head[:wanted]); err != nil {
		c.closed = true
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return "(silence)"
		case errors.Is(err, io.ErrUnexpectedEOF):
			return "closed in the middle of a message"
		}
		return "closed"
	}
	if alone {
		return fmt.Sprintf("byte %q", head[0])
	}
	length := binary.BigEndian.Uint32(head[1:])
	if length < 4 || length > 1<<30 {
		c.closed = true
		return fmt.Sprintf("message %q of length %d", head[0], length)
	}
	body := make([]byte, length-4)
	if _, err := io.ReadFull(c.in, body); err != nil {
		c.closed = true
		return "closed in the middle of " + names[head[0]]
	}
	if head[0] == 'K' {
		c.key = body
	}
	return render(head[0], body)
}

// cancel sends a CancelRequest and waits for its socket to be closed.
func (p *player) cancel(c *client, wrong bool) error {
	key := slices.Clone(c.key)
	if wrong && len(key) > 0 {
		key[len(key)-1] ^= 1
	}
	socket, err := net.DialTimeout("tcp", p.target.Address, playLimit)
	if err != nil {
		return err
	}
	defer func() { _ = socket.Close() }()
	_ = socket.SetDeadline(time.Now().Add(playLimit))
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(key)))
	b = binary.BigEndian.AppendUint32(b, 80877102)
	if _, err := socket.Write(append(b, key...)); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, socket)
	return err
}

func (p *player) awaitRunning(part string) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(playLimit); time.Now().Before(deadline); <-tick.C {
		if there, err := p.target.Running(part); err != nil || there {
			return err
		}
	}
	return fmt.Errorf("no statement with %q was seen to run", part)
}

// finish says the epilogue and goodbye.
func (p *player) finish() error {
	b, err := EncodeLine(epilogue)
	if err != nil {
		return err
	}
	goodbye, err := EncodeLine("Terminate")
	if err != nil {
		return err
	}
	for name, c := range p.clients {
		if c.closed {
			continue
		}
		p.send(c, b)
		for !c.closed && c.last != theEnd {
			p.until(name, c, "DataRow", 1)
		}
		p.until(name, c, "ReadyForQuery", 1)
		p.send(c, goodbye)
		p.until(name, c, "closed", 1)
	}
	return nil
}
