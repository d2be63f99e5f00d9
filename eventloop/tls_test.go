package eventloop

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// certificate is self-signed, for localhost.
func certificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// anyServer trusts whatever certificate it is shown.
func anyServer(version uint16) *tls.Config {
	return &tls.Config{MinVersion: version, MaxVersion: version, InsecureSkipVerify: true, ServerName: "localhost"}
}

// sockets is a TCP connection, both ends.
func sockets(t testing.TB) (client, server net.Conn) {
	t.Helper()
	sock, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	if client, err = net.Dial("tcp", sock.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = sock.Accept(); err != nil {
		t.Fatal(err)
	}
	for _, nc := range []net.Conn{client, server} {
		if err := nc.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = client.Close() })
	return client, server
}

// shake brings two ends through their handshake. early is sent by the client at once, together with its last handshake message.
func shake(t testing.TB, client, server *tls.Conn, early string) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		err := client.Handshake()
		if err == nil && early != "" {
			_, err = io.WriteString(client, early)
		}
		done <- err
	}()
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// tlsPair is a client's TLS connection and the loop's end of it.
func tlsPair(t testing.TB, version uint16) (*tls.Conn, Source) {
	t.Helper()
	a, b := sockets(t)
	client, src := tlsOver(t, a, b, version, "")
	return client, src
}

func tlsOver(t testing.TB, a, b net.Conn, version uint16, early string) (*tls.Conn, Source) {
	t.Helper()
	client := tls.Client(a, anyServer(version))
	server := tls.Server(NewTLSTransport(b, nil), &tls.Config{Certificates: []tls.Certificate{certificate(t)}, SessionTicketsDisabled: true})
	shake(t, client, server, early)
	src, err := Take(server)
	if err != nil {
		t.Fatal(err)
	}
	return client, src
}

// eachWay runs a test in all ways that a session can be driven: both versions, and with its own buffers instead of the loop's.
func eachWay(t *testing.T, f func(t *testing.T, version uint16)) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, lent := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/lent=%v", tls.VersionName(version), lent), func(t *testing.T) {
				if !lent {
					offset := rawInputOffset
					rawInputOffset = 0
					t.Cleanup(func() { rawInputOffset = offset })
				}
				f(t, version)
			})
		}
	}
}

// TestLentBuffers: crypto/tls has its buffers where they are looked for. If a release of Go moves them, everything works, at more cost:
// then look at transport.go again.
func TestLentBuffers(t *testing.T) {
	if rawInputOffset == 0 || handOffset == 0 {
		t.Error("tls.Conn has no rawInput or hand any more")
	}
}

// TestTLSEcho: messages of all sizes there and back; the client's end is told once and leaves the other way open; the last words are
// followed by close_notify.
func TestTLSEcho(t *testing.T) {
	eachWay(t, func(t *testing.T, version uint16) {
		l := running(t, Options{})
		nc, src := tlsPair(t, version)
		r := newRecorder(echo)
		adopt(t, l, r, src)
		for _, n := range []int{1, 2, 100, 8191, 8192, 8193, 16384, 16385, 100_000, 1 << 20} {
			want := bytes.Repeat([]byte{byte(n)}, n)
			go func() { _, _ = nc.Write(want) }()
			got := make([]byte, n)
			if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, want) {
				t.Fatal(n, err)
			}
		}
		write(t, nc, "last")
		if err := nc.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		expectBytes(t, nc, "last")
		for { // the large ones may have left a backlog
			if e := <-r.events; e == "eof" {
				break
			} else if e != "drained" {
				t.Fatal(e)
			}
		}
		call(l, func() { r.Send([]byte("still here")) })
		expectBytes(t, nc, "still here")
		call(l, r.Close)
	})
}

// TestTLSLastWords: they arrive, then close_notify, not a torn stream.
func TestTLSLastWords(t *testing.T) {
	eachWay(t, func(t *testing.T, version uint16) {
		l := running(t, Options{})
		nc, src := tlsPair(t, version)
		r := newRecorder(swallow)
		adopt(t, l, r, src)
		call(l, func() { r.Send([]byte("farewell")); r.CloseAfterDrain(10 * time.Second) })
		expectBytes(t, nc, "farewell")
		if n, err := nc.Read(make([]byte, 1)); n != 0 || err != io.EOF { //nolint:errorlint // io.EOF is close_notify, anything else is not
			t.Fatal(n, err)
		}
	})
}

// dribble writes a few bytes at a time, whatever it is given.
type dribble struct {
	net.Conn
	n int
}

func (d dribble) Write(b []byte) (int, error) {
	for i := 0; i < len(b); i += d.n {
		if _, err := d.Conn.Write(b[i:min(i+d.n, len(b))]); err != nil {
			return i, err
		}
		runtime.Gosched()
	}
	return len(b), nil
}

// TestTLSSplits: the ciphertext arrives in pieces, down to single bytes, and is delivered in pieces of any size.
func TestTLSSplits(t *testing.T) {
	eachWay(t, func(t *testing.T, version uint16) {
		for _, c := range []struct{ piece, buffer, readMax int }{
			{1, 0, 0}, {1, 0, 1}, {7, 16, 0}, {1000, 100, 3}, {1 << 20, 64, 0}, {1 << 20, 0, 10}, {20_000, 0, 8 << 10}, {20_000, 1000, 1},
		} {
			l := running(t, Options{ReadBufferBytes: c.buffer})
			a, b := sockets(t)
			nc, src := tlsOver(t, dribble{a, c.piece}, b, version, "early")
			r := newRecorder(func(r *recorder, b []byte) int {
				if c.readMax > 0 && len(b) > c.readMax {
					t.Errorf("%d bytes delivered, %d allowed", len(b), c.readMax)
				}
				return echo(r, b)
			})
			call(l, func() {
				if err := l.Adopt(&r.Conn, src, r); err != nil {
					t.Error(err)
				}
				r.SetReadMax(c.readMax)
			})
			expectBytes(t, nc, "early")
			for _, n := range []int{1, 50, 17_000} {
				want := make([]byte, n)
				_, _ = rand.Read(want)
				sent := make(chan error, 1)
				go func() { _, err := nc.Write(want); sent <- err }()
				got := make([]byte, n)
				if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, want) {
					t.Fatal(c, n, err)
				}
				if err := <-sent; err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// TestTLSKept: a handler that takes whole lines only gets what it left again, in front.
func TestTLSKept(t *testing.T) {
	eachWay(t, func(t *testing.T, version uint16) {
		l := running(t, Options{ReadBufferBytes: 64})
		nc, src := tlsPair(t, version)
		r := newRecorder(func(r *recorder, b []byte) int {
			n := bytes.LastIndexByte(b, '\n') + 1
			r.Send(b[:n])
			return n
		})
		adopt(t, l, r, src)
		var want strings.Builder
		for i := range 2000 {
			fmt.Fprintf(&want, "line %d of some length\n", i)
		}
		go func() { _, _ = io.WriteString(nc, want.String()) }()
		expectBytes(t, nc, want.String())
	})
}

// TestTLSPaused: a client that sends while its reads are paused fills the kernel's buffers and no more of ours than one read; nothing is
// delivered, nothing is lost, and its going is noticed.
func TestTLSPaused(t *testing.T) {
	eachWay(t, func(t *testing.T, version uint16) {
		l := running(t, Options{})
		nc, src := tlsPair(t, version)
		const total = 24 << 20
		got, paused := 0, true
		r := newRecorder(func(r *recorder, b []byte) int {
			if paused {
				r.PauseReads()
				select {
				case r.events <- "first":
				default:
				}
			}
			got += len(b)
			if got == total {
				r.events <- "all"
			}
			return len(b)
		})
		adopt(t, l, r, src)
		call(l, func() { r.SetReadMax(1000) })
		stuck, sent := make(chan struct{}), make(chan error, 1)
		go func() {
			chunk := make([]byte, 1<<20)
			for i := range total >> 20 {
				if i == 1 {
					close(stuck)
				}
				if _, err := nc.Write(chunk); err != nil {
					sent <- err
					return
				}
			}
			sent <- nc.Close()
		}()
		r.expect(t, "first")
		<-stuck
		call(l, func() {
			if n := len(r.tls.sealed); got > 1000 || n > 1000+recordMax {
				t.Errorf("%d bytes delivered, %d kept while paused", got, n)
			}
			if !r.Unread() {
				t.Error("nothing seems to be waiting")
			}
			paused = false
			r.SetReadMax(0)
			r.ResumeReads()
		})
		r.expect(t, "all")
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		r.expect(t, "eof")
	})
}

// TestTLSBacklog: sealed bytes that the other side does not read wait in order.
func TestTLSBacklog(t *testing.T) {
	eachWay(t, func(t *testing.T, version uint16) {
		l := running(t, Options{})
		nc, src := tlsPair(t, version)
		r := newRecorder(swallow)
		adopt(t, l, r, src)
		var want []byte
		for i, full := byte(0), false; !full; i++ {
			chunk := bytes.Repeat([]byte{i}, 32<<10)
			want = append(want, chunk...)
			call(l, func() { r.Send(chunk); full = r.Backlog() > 0 })
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, want) {
			t.Fatal("other bytes arrived", err)
		}
		r.expect(t, "drained")
	})
}

// TestTLSGarbage: a record that was changed on its way breaks its Conn only.
func TestTLSGarbage(t *testing.T) {
	eachWay(t, func(t *testing.T, version uint16) {
		for name, garbage := range map[string][]byte{
			"forged":   append([]byte{23, 3, 3, 0, 40}, make([]byte, 40)...),
			"oversize": {23, 3, 3, 0xff, 0xff},
			"plain":    []byte("Q\x00\x00\x00\x0dselect 1\x00"),
			"empty":    {23, 3, 3, 0, 0},
		} {
			l := running(t, Options{})
			a, b := sockets(t)
			_, src := tlsOver(t, a, b, version, "")
			r := newRecorder(swallow)
			adopt(t, l, r, src)
			if _, err := a.Write(garbage); err != nil {
				t.Fatal(err)
			}
			t.Log(name)
			r.expect(t, "broken")
		}
	})
}

// TestTLSMove: a Conn changes loops in the middle of a record, and with records that it has not looked at.
func TestTLSMove(t *testing.T) {
	eachWay(t, func(t *testing.T, version uint16) {
		loops := [2]*Loop{running(t, Options{}), running(t, Options{ReadBufferBytes: 100})}
		a, b := sockets(t)
		nc, src := tlsOver(t, dribble{a, 333}, b, version, "")
		var r *recorder
		var hops atomic.Int32
		r = newRecorder(func(_ *recorder, p []byte) int {
			r.Send(p)
			to := loops[hops.Add(1)%2]
			moved := r.Detach()
			to.Post(func() {
				if err := to.Adopt(&r.Conn, moved, r); err != nil {
					t.Error(err)
				}
			})
			return len(p)
		})
		adopt(t, loops[0], r, src)
		for range 20 {
			want := make([]byte, 3000)
			_, _ = rand.Read(want)
			go func() { _, _ = nc.Write(want) }()
			expectBytes(t, nc, string(want))
		}
		if n := hops.Load(); n < 20 {
			t.Error(n)
		}
	})
}

// TestTLSIdleMemory: what an idle TLS client costs in this process, after its handshake and after a large message.
func TestTLSIdleMemory(t *testing.T) {
	const n = 200
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		l, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer l.kernel.Close()
		cert := certificate(t)
		cfg := &tls.Config{Certificates: []tls.Certificate{cert}}
		l.bufferTLS()
		var held []*recorder
		var clients []net.Conn
		before := heap()
		for range n {
			a, b := sockets(t)
			client := tls.Client(a, anyServer(version))
			server := tls.Server(NewTLSTransport(b, nil), cfg)
			shake(t, client, server, "")
			src, err := Take(server)
			if err != nil {
				t.Fatal(err)
			}
			r := newRecorder(nil)
			r.events = nil
			r.onRead = func(_ *recorder, b []byte) int { return len(b) }
			if err := l.Adopt(&r.Conn, src, r); err != nil {
				t.Fatal(err)
			}
			if _, err := client.Write(make([]byte, 32<<10)); err != nil {
				t.Fatal(err)
			}
			l.Turn(true)
			held = append(held, r)
			clients = append(clients, a) // the client's session is garbage
		}
		for range 10 {
			l.Turn(false)
		}
		per := (heap() - before) / n
		runtime.KeepAlive(held)
		runtime.KeepAlive(clients)
		t.Logf("%s: %d bytes per idle client, the test's own socket included", tls.VersionName(version), per)
		if per > 6<<10 {
			t.Errorf("%s: %d bytes per idle client", tls.VersionName(version), per)
		}
		for _, r := range held {
			r.Close()
		}
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// openSSL starts a program that speaks TLS and returns its standard input and what it prints.
func openSSL(t *testing.T, args ...string) (io.Writer, *watchedOutput) {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("this test needs the openssl command, which every PostgreSQL package brings along: ", err)
	}
	cmd := exec.Command(path, args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out := &watchedOutput{news: make(chan struct{}, 1)}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return in, out
}

// watchedOutput is what a program has printed so far.
type watchedOutput struct {
	mu   sync.Mutex
	text strings.Builder
	news chan struct{}
}

func (w *watchedOutput) Write(b []byte) (int, error) {
	w.mu.Lock()
	w.text.Write(b)
	w.mu.Unlock()
	select {
	case w.news <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (w *watchedOutput) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// expect waits until the program has printed want, n times in all.
func (w *watchedOutput) expect(t *testing.T, want string, n int) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for strings.Count(w.String(), want) < n {
		select {
		case <-w.news:
		case <-limit:
			t.Fatalf("no %q in %q", want, w.String())
		}
	}
}

// TestKeyUpdatesOfAClient: OpenSSL's client changes its keys (k), and asks for new ones of ours (K), between messages.
func TestKeyUpdatesOfAClient(t *testing.T) {
	sock, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	in, out := openSSL(t, "s_client", "-msg", "-tls1_3", "-connect", sock.Addr().String())
	nc, err := sock.Accept()
	if err != nil {
		t.Fatal(err)
	}
	server := tls.Server(NewTLSTransport(nc, nil), &tls.Config{Certificates: []tls.Certificate{certificate(t)}})
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	src, err := Take(server)
	if err != nil {
		t.Fatal(err)
	}
	l := running(t, Options{})
	keyUpdates(t, l, src, in, out)
}

// TestKeyUpdatesOfAServer: the same the other way round, as PostgreSQL's side might.
func TestKeyUpdatesOfAServer(t *testing.T) {
	cert := certificate(t)
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "both.pem")
	text := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	in, out := openSSL(t, "s_server", "-msg", "-tls1_3", "-cert", file, "-accept", "127.0.0.1:0", "-naccept", "1")
	out.expect(t, "ACCEPT 127.0.0.1:", 1)
	_, rest, _ := strings.Cut(out.String(), "ACCEPT ")
	address, _, _ := strings.Cut(rest, "\n")
	nc, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	client := tls.Client(NewTransport(nc), anyServer(tls.VersionTLS13))
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	src, err := Take(client)
	if err != nil {
		t.Fatal(err)
	}
	l := running(t, Options{})
	keyUpdates(t, l, src, in, out)
}

// keyUpdates talks to an OpenSSL that changes keys between messages. Nothing is echoed: OpenSSL would take it for what was typed.
func keyUpdates(t *testing.T, l *Loop, src Source, in io.Writer, out *watchedOutput) {
	t.Helper()
	var heard strings.Builder
	r := newRecorder(func(r *recorder, b []byte) int {
		heard.Write(b)
		for range bytes.Count(b, []byte{'\n'}) {
			r.events <- "line"
		}
		return len(b)
	})
	adopt(t, l, r, src)
	typed := func(s string) {
		if _, err := io.WriteString(in, s+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	for i, command := range []string{"k", "K", "K", "k", "K"} {
		typed(fmt.Sprintf("before %d", i))
		r.expect(t, "line")
		typed(command)
		out.expect(t, ">>> TLS 1.3, Handshake [length 0005], KeyUpdate", i+1)
		typed(fmt.Sprintf("after %d", i))
		r.expect(t, "line")
		call(l, func() { r.Send([]byte("here\n")) })
		out.expect(t, "here\n", i+1)
	}
	out.expect(t, "<<< TLS 1.3, Handshake [length 0005], KeyUpdate", 3) // ours, one for each K
	call(l, func() {
		if got := strings.Count(heard.String(), "\n"); got != 10 {
			t.Errorf("%d lines: %q", got, heard.String())
		}
		r.Close()
	})
}
