package proxy_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// impostor is something that poses as PostgreSQL: it reads the startup packet, says what the script of that database has it say, a step
// for each message that comes, and ends.
type impostor struct {
	t       testing.TB
	sock    net.Listener
	scripts map[string][]string // by database
	all     sync.WaitGroup
}

func newImpostor(t testing.TB, scripts map[string][]string) *impostor {
	t.Helper()
	sock, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	i := &impostor{t: t, sock: sock, scripts: scripts}
	i.all.Go(func() {
		for {
			nc, err := sock.Accept()
			if err != nil {
				return
			}
			i.all.Go(func() { i.pose(nc) })
		}
	})
	t.Cleanup(func() {
		_ = sock.Close()
		i.all.Wait()
	})
	return i
}

func (i *impostor) pose(nc net.Conn) {
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	b := pgproto3.NewBackend(nc, nc)
	m, err := b.ReceiveStartupMessage()
	startup, ok := m.(*pgproto3.StartupMessage)
	if err != nil || !ok {
		return
	}
	nonce, database := "", startup.Parameters["database"]
	script := i.scripts[database]
	for step, words := range script {
		if _, err := nc.Write([]byte(strings.ReplaceAll(words, "NONCE", nonce))); err != nil {
			return
		}
		if step == len(script)-1 {
			break
		}
		var head [5]byte
		if _, err := io.ReadFull(nc, head[:]); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(nc, body); err != nil {
			return
		}
		if _, r, ok := strings.Cut(string(body), ",r="); ok {
			nonce = r
		}
	}
	if database != "nothing" {
		_ = nc.(*net.TCPConn).CloseWrite()
	}
	_, _ = io.Copy(io.Discard, nc)
}

// at is where it is, as settings of a database.
func (i *impostor) at(database string) string {
	host, port, _ := net.SplitHostPort(i.sock.Addr().String())
	return fmt.Sprintf("[databases.%q]\nhost = %q\nport = %s\nuser = \"postgres\"\npassword = \"secret\"\n", database, host, port)
}

// What an impostor says.
const (
	helloOK    = "R\x00\x00\x00\x08\x00\x00\x00\x00"
	helloReady = "Z\x00\x00\x00\x05I"
	helloKey   = "K\x00\x00\x00\x0c\x00\x00\x00\x07\x00\x00\x00\x07"
	helloSASL  = "R\x00\x00\x00\x17\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00"
	loggedIn   = helloOK + helloKey + helloReady
)

func saslContinue(text string) string {
	return string(frame('R', "\x00\x00\x00\x0b"+text))
}

// rewriting the nonce changes the length of a message: what is said of it has the length that it will have.
func firstOf(salt, iterations string) []string {
	text := ",s=" + salt + ",i=" + iterations
	const nonceBytes = 24 // pgconn's: 18 random bytes
	head := binary.BigEndian.AppendUint32([]byte{'R'}, uint32(4+4+len("r=")+nonceBytes+len("x")+len(text)))
	return []string{helloSASL, string(head) + "\x00\x00\x00\x0br=NONCEx" + text}
}

// TestHostileServers: whatever poses as PostgreSQL, and whatever PostgreSQL itself may be brought to say, at its login and afterwards: the
// client hears of a server that is lost, nothing breaks, nobody computes for long, and others notice nothing.
func TestHostileServers(t *testing.T) {
	relay := func(answer string) []string { return []string{loggedIn, answer} }
	scripts := map[string][]string{
		"iterations without end":     firstOf("QSXCR+Q6sek8bf92", "2147483647"), // CVE-2026-6669
		"iterations beyond numbers":  firstOf("QSXCR+Q6sek8bf92", "99999999999999999999999"),
		"iterations below zero":      firstOf("QSXCR+Q6sek8bf92", "-1"),
		"iterations that are none":   firstOf("QSXCR+Q6sek8bf92", "0"),
		"salt that is none":          firstOf("!", "4096"),
		"a signature that is wrong":  append(firstOf("QSXCR+Q6sek8bf92", "4096"), string(frame('R', "\x00\x00\x00\x0cv=AAAA"))),
		"logged in without proof":    append(firstOf("QSXCR+Q6sek8bf92", "4096"), loggedIn),
		"a nonce of its own":         {helloSASL, saslContinue("r=ofmyown,s=QSXCR+Q6sek8bf92,i=4096")},
		"a nonce of a megabyte":      {helloSASL, saslContinue("r=" + strings.Repeat("x", 1<<20) + ",s=QSXCR+Q6sek8bf92,i=4096")}, // CVE-2026-6665
		"no SCRAM message":           {helloSASL, saslContinue("")},
		"mechanisms without end":     {string(frame('R', "\x00\x00\x00\x0a"+strings.Repeat("x", 5000)))},
		"an error without fields":    {string(frame('E', "\x00"))}, // CVE-2026-6666
		"an error without its end":   {string(frame('E', "SFATAL"))},
		"an error of nothing":        {string(frame('E', ""))},
		"too long":                   {"R\x7f\xff\xff\xff\x00\x00\x00\x00"},
		"too short":                  {"R\x00\x00\x00\x03"},
		"length below zero":          {"R\xff\xff\xff\xff"},
		"authentication of no kind":  {"R\x00\x00\x00\x08\x00\x00\x00\x63"},
		"GSS":                        {"R\x00\x00\x00\x08\x00\x00\x00\x07"},
		"half an MD5 salt":           {"R\x00\x00\x00\x0a\x00\x00\x00\x05ab"},
		"no message at all":          {strings.Repeat("\xff", 100)},
		"nothing":                    {""},
		"a parameter without end":    {helloOK + string(frame('S', "server_version"))},
		"a key of a kilobyte":        {helloOK + string(frame('K', strings.Repeat("x", 1024))) + helloReady},
		"a version that is none":     {string(frame('v', "\xff\xff\xff\xff\xff\xff\xff\xff"))},
		"more than it was asked":     {loggedIn + helloReady},
		"rows for nobody":            {loggedIn + string(frame('D', "\x00\x00"))},
		"relay: no message":          relay(strings.Repeat("\xff", 100)),
		"relay: a kind that is none": relay(string(frame('@', "x"))),
		"relay: too short":           relay("D\x00\x00\x00\x03"),
		"relay: length below zero":   relay("D\xff\xff\xff\xff"),
		"relay: status of no kind":   relay("Z\x00\x00\x00\x05X"),
		"relay: two ends":            relay(string(frame('C', "SELECT 1\x00")) + helloReady + helloReady),
		"relay: authentication":      relay(helloOK),
		"relay: half a message":      relay("D\x00\x00\x00\x40abc"),
		"relay: an error of nothing": relay(string(frame('E', "")) + "Z\x00\x00\x00\x05"),
	}
	evil := newImpostor(t, scripts)
	more := "[databases.\"*\"]\n"
	for name := range scripts {
		more += evil.at(name)
	}
	c := pgtest.Shared(t)
	if err := c.Exec(bystanderRole); err != nil {
		t.Fatal(err)
	}
	p := launch(t, c, configuration(t, serverAt(c)+"sslmode = 'disable'\nserver_connect_timeout = '3s'\n", "", more))
	good := newBystander(t, p.transaction, "quick")
	before := heap()
	var all sync.WaitGroup
	for name := range scripts {
		all.Go(func() {
			for _, address := range []string{p.transaction, p.session} {
				heard := hearOf(t, address, name)
				if torn := strings.HasSuffix(name, "half a message") || strings.HasSuffix(name, "an error of nothing"); heard != "08006" && !(torn && heard == "closed") {
					t.Errorf("%s: %q", name, heard)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	for working := true; working; {
		good.work(t)
		select {
		case <-done:
			working = false
		default:
		}
	}
	good.w.Close()
	p.unharmed(t, before, slices.Max(good.times))
}

// TestHalfMessageStays: behind its reply a server begins another message. Nobody else gets that server before the rest of the message has
// come, and the rest reaches nobody.
func TestHalfMessageStays(t *testing.T) {
	setting := string(frame('S', "TimeZone\x00Mars/Olympus\x00"))
	reply := string(frame('C', "SELECT 1\x00")) + helloReady
	half := len(setting) / 2
	evil := newImpostor(t, map[string][]string{"half": {loggedIn, reply + setting[:half], setting[half:] + reply}})
	c := pgtest.Shared(t)
	p := launch(t, c, configuration(t, serverAt(c)+"sslmode = 'disable'\n", "default_pool_size = 2\n", "[databases.\"*\"]\n"+evil.at("half")))
	run(t, p.login(t, p.transaction), "select 1") // the pooler asks its first server for max_connections
	first := pgtest.Login(t, p.transaction, "postgres", "half", "")
	first.Query("select 1")
	first.ReceiveReady()
	second := pgtest.Login(t, p.transaction, "postgres", "half", "")
	second.Query("select 1")
	for {
		m := second.Receive()
		if status, is := m.(*pgproto3.ParameterStatus); is {
			t.Errorf("a client got %s = %s, which is another's", status.Name, status.Value)
		}
		if _, is := m.(*pgproto3.ReadyForQuery); is {
			break
		}
	}
}

// TestServerMessageCap: PostgreSQL says how long a message of its login is, and gets no memory for it before it has sent it.
func TestServerMessageCap(t *testing.T) {
	evil := newImpostor(t, map[string][]string{"long": {"R\x3f\xff\xff\x00\x00\x00\x00\x00"}})
	p := start(t, pgtest.Shared(t), "", evil.at("long"))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if heard := hearOf(t, p.transaction, "long"); heard != "08006" {
		t.Error(heard)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
		t.Errorf("%d MiB were allocated", n>>20)
	}
}

// hearOf logs in, asks once, and gives the SQLSTATE of how that ends; "closed" if without words.
func hearOf(t *testing.T, address, database string) string {
	t.Helper()
	w := pgtest.Dial(t, address)
	defer w.Close()
	w.Startup(map[string]string{"user": "postgres", "database": database})
	asked := false
	for {
		m, err := w.TryReceive()
		var late net.Error
		switch {
		case errors.As(err, &late) && late.Timeout():
			return "nothing"
		case err != nil:
			return "closed"
		}
		switch m := m.(type) {
		case *pgproto3.ErrorResponse:
			if m.Code != "" {
				return m.Code
			}
		case *pgproto3.ReadyForQuery:
			if asked {
				return "answered"
			}
			asked = true
			w.Query("select 1")
		}
	}
}
