package auth

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// users is a file with the password "secret" in each form.
func users(t *testing.T) *UserFile {
	t.Helper()
	scramSecret, err := BuildSCRAMSecret("secret", iterations)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("; comment\n\n\"plain\" \"secret\"\n\"md5\" \"md5%s\" ignored\n\"scram\" \"%s\"\n\"quo\"\"te\" \"a\"\"b\"\n",
		hexMD5("secretmd5"), scramSecret)
	path := filepath.Join(t.TempDir(), "userlist.txt")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	u, err := LoadUserFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// gate is a server that speaks the login and nothing else.
func gate(t *testing.T, v *Verifier) (port int) {
	t.Helper()
	sock, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sock.Close() })
	go func() {
		for {
			nc, err := sock.Accept()
			if err != nil {
				return
			}
			go admit(nc, v)
		}
	}()
	return sock.Addr().(*net.TCPAddr).Port
}

func admit(nc net.Conn, v *Verifier) {
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	s, err := protocol.ReadStartup(nc)
	if err != nil {
		return
	}
	e := begin(v, s.Get("user"))
	request, done := e.Start()
	for {
		if len(request) > 0 {
			_, _ = nc.Write(request)
		}
		if done {
			b, _ := (&pgproto3.AuthenticationOk{}).Encode(nil)
			b = protocol.AppendBackendKeyData(b, protocol.CancelKey{ProcessID: 1, Secret: make([]byte, 4)})
			_, _ = nc.Write(append(b, protocol.ServerReadyForQuery, 0, 0, 0, 5, 'I'))
			_, _ = nc.Read(make([]byte, 1))
			return
		}
		kind, body, err := protocol.ReadMessage(nc, 65535)
		if err != nil {
			return
		}
		if request, done, err = e.Respond(kind, body); err != nil {
			var told *protocol.Error
			if errors.As(err, &told) {
				_, _ = nc.Write(told.Append(nil))
			}
			return
		}
	}
}

// begin is Begin for who may try.
func begin(v *Verifier, user string) *Exchange {
	e, err := v.Begin(context.Background(), Login{User: user})
	if err != nil {
		panic(err)
	}
	return e
}

func login(t *testing.T, port int, user, password string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := pgconn.Connect(ctx, fmt.Sprintf("host=127.0.0.1 port=%d user='%s' password='%s' dbname=d sslmode=disable", port, user, password))
	if err == nil {
		_ = c.Close(ctx)
	}
	return err
}

// TestMethods: each method with each form of secret, the right and the wrong password, by a real driver.
func TestMethods(t *testing.T) {
	for _, c := range []struct {
		method  Method
		secrets []string // users that can log in
		not     []string // users whose form of secret cannot serve the method
	}{
		{Password, []string{"plain", "md5", "scram"}, nil},
		{MD5, []string{"plain", "md5", "scram"}, nil},
		{SCRAM, []string{"plain", "scram"}, []string{"md5"}},
	} {
		v, err := NewVerifier(Policy{Method: c.method, Users: users(t)})
		if err != nil {
			t.Fatal(err)
		}
		port := gate(t, v)
		for _, user := range c.secrets {
			if err := login(t, port, user, "secret"); err != nil {
				t.Errorf("method %d, user %s: %v", c.method, user, err)
			}
			if err := login(t, port, user, "wrong"); err == nil {
				t.Errorf("method %d, user %s: a wrong password is let in", c.method, user)
			}
		}
		for _, user := range append(c.not, "nobody", "") {
			var pe *pgconn.PgError
			if err := login(t, port, user, "secret"); user != "" && (!errors.As(err, &pe) || pe.Code != "28P01") {
				t.Errorf("method %d, user %q: %v", c.method, user, err)
			}
		}
	}
}

// TestKeysAreDerivedOnce: a login costs HMACs, not PBKDF2.
func TestKeysAreDerivedOnce(t *testing.T) {
	v, err := NewVerifier(Policy{Method: SCRAM, Users: users(t)})
	if err != nil {
		t.Fatal(err)
	}
	port := gate(t, v)
	for range 5 {
		if err := login(t, port, "plain", "secret"); err != nil {
			t.Fatal(err)
		}
		if err := login(t, port, "nobody", "x"); err == nil {
			t.Fatal("nobody was let in")
		}
	}
	if v.keys.derivations != 1 && v.keys.derivations != 2 { // one more if the user who does not exist looks like one with a plain password
		t.Errorf("%d derivations", v.keys.derivations)
	}
}

// TestUnknownUserIsAskedAlike: names that do not exist are asked for the same kinds of proof as names that exist, with as many iterations,
// each name for the same at each try. Asked by md5, both kinds of secret are served.
func TestUnknownUserIsAskedAlike(t *testing.T) {
	strong, err := BuildSCRAMSecret("x", 10000)
	if err != nil {
		t.Fatal(err)
	}
	hashed := "md5" + strings.Repeat("0", 32)
	asked := func(v *Verifier, user string) string {
		e := begin(v, user)
		start, _ := e.Start()
		if e.method != SCRAM {
			return fmt.Sprint(start[:9])
		}
		keys, err := e.expected()
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(start, keys.Iterations, len(keys.Salt))
	}
	for _, secrets := range [][]string{{strong}, {hashed}, {"plain"}, {strong, hashed}, {hashed, "plain"}} {
		file := ""
		for i, secret := range secrets {
			file += fmt.Sprintf("\"user%d\" \"%s\"\n", i, secret)
		}
		listed, err := ParseUserFile(file)
		if err != nil {
			t.Fatal(err)
		}
		looksUp := NewLookup(0, func(_, user string) (Secret, bool, error) {
			s, ok := listed.Secret(user)
			return s, ok, nil
		})
		for _, p := range []Policy{{Method: MD5, Users: listed}, {Method: MD5, Lookup: looksUp}} {
			v, err := NewVerifier(p)
			if err != nil {
				t.Fatal(err)
			}
			known, unknown := map[string]bool{}, map[string]bool{}
			for i := range secrets {
				known[asked(v, fmt.Sprintf("user%d", i))] = true
			}
			for i := range 3000 { // a form that one user in 64 has is among them
				name := fmt.Sprintf("nobody%d", i)
				first := asked(v, name)
				unknown[first] = true
				if again := asked(v, name); again != first {
					t.Errorf("%s is not asked for the same at each try", name)
				}
			}
			if !maps.Equal(known, unknown) {
				t.Errorf("secrets %q: known names are asked for %v, others for %v", secrets, known, unknown)
			}
		}
	}
}

// TestUnknownUserLooksAlike: the same messages of the same length, the same salt at each try, the same refusal.
func TestUnknownUserLooksAlike(t *testing.T) {
	v, err := NewVerifier(Policy{Method: SCRAM, Users: users(t)})
	if err != nil {
		t.Fatal(err)
	}
	talk := func(user string) (start, first []byte, refusal string) {
		e := begin(v, user)
		start, _ = e.Start()
		initial, err := (&pgproto3.SASLInitialResponse{AuthMechanism: mechanism, Data: []byte("n,,n=,r=abcdefgh")}).Encode(nil)
		if err != nil {
			t.Fatal(err)
		}
		first, _, err = e.Respond('p', initial[5:])
		if err != nil {
			t.Fatal(err)
		}
		nonce := string(bytes.Split(bytes.TrimPrefix(first[9:], []byte("r=")), []byte(","))[0])
		_, _, err = e.Respond('p', []byte("c=biws,r="+nonce+",p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="))
		return start, first, strings.ReplaceAll(err.Error(), user, "USER")
	}
	salt := func(first []byte) string { return string(bytes.Split(first, []byte(","))[1]) }
	s1, f1, r1 := talk("plain")
	s2, f2, r2 := talk("nobody")
	_, f3, _ := talk("nobody")
	if !bytes.Equal(s1, s2) || len(f1) != len(f2) || r1 != r2 {
		t.Errorf("%q %q\n%q %q\n%s %s", s1, s2, f1, f2, r1, r2)
	}
	if salt(f2) != salt(f3) || salt(f1) == salt(f2) {
		t.Error("the salt tells that a user does not exist")
	}
}

// TestOutOfOrder: a message out of place ends the login.
func TestOutOfOrder(t *testing.T) {
	v, err := NewVerifier(Policy{Method: Password, Users: users(t)})
	if err != nil {
		t.Fatal(err)
	}
	e := begin(v, "plain")
	if _, _, err := e.Respond('p', []byte("secret\x00")); err == nil {
		t.Error("a password before it was asked for")
	}
	e.Start()
	if _, _, err := e.Respond('Q', []byte("secret\x00")); err == nil {
		t.Error("a query in the place of a password")
	}
	if _, done, err := e.Respond('p', []byte("secret\x00")); !done || err != nil {
		t.Error(err)
	}
	if _, _, err := e.Respond('p', []byte("secret\x00")); err == nil {
		t.Error("a second password")
	}
}

// FuzzRespond: no client can make the exchange panic, nor get in without the password.
func FuzzRespond(f *testing.F) {
	u, err := ParseUserFile(`"u" "a rather long password"`)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint8(1), []byte("x\x00"), []byte(""))
	f.Add(uint8(3), []byte("SCRAM-SHA-256\x00\x00\x00\x00\x10n,,n=,r=abcdefgh"), []byte("c=biws,r=abcdefgh,p=AAAA"))
	f.Add(uint8(3), []byte("SCRAM-SHA-256\x00\xff\xff\xff\xff"), []byte(""))
	f.Fuzz(func(t *testing.T, method uint8, a, b []byte) {
		v, err := NewVerifier(Policy{Method: 1 + Method(method%3), Users: u})
		if err != nil {
			t.Fatal(err)
		}
		e := begin(v, "u")
		e.Start()
		for _, body := range [][]byte{a, b} {
			if _, done, _ := e.Respond('p', body); done {
				t.Fatal("let in")
			}
		}
	})
}

// FuzzUserFile must not panic.
func FuzzUserFile(f *testing.F) {
	f.Add("\"a\" \"b\"\n;x\n")
	f.Fuzz(func(_ *testing.T, text string) { _, _ = ParseUserFile(text) })
}

// TestUserFileFaults name the line and no secret.
func TestUserFileFaults(t *testing.T) {
	for text, line := range map[string]string{"\"a\" \"b\"\nc \"hidden\"\n": "line 2", "\"a\" \"hidden": "line 1", "\"a\"": "line 1"} {
		_, err := ParseUserFile(text)
		if err == nil || !strings.Contains(err.Error(), line) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: %v", text, err)
		}
	}
	u := users(t)
	if s, ok := u.Secret(`quo"te`); !ok || s.Text != `a"b` {
		t.Error(s, ok)
	}
}

// TestBindingNegotiation: a client that has not seen the channel binding that was offered (somebody has taken it out of the offer), or that
// says other than it does, gets no further; nor does one that is bound to another connection.
func TestBindingNegotiation(t *testing.T) {
	for _, c := range []struct {
		method          Method
		endpoint        []byte
		mechanism, data string
		first, last     bool // the message is taken
	}{
		{SCRAM, nil, mechanism, "n,,n=,r=abc", true, true},
		{SCRAM, nil, mechanism, "y,,n=,r=abc", true, true},
		{SCRAM, nil, mechanismPlus, "p=tls-server-end-point,,n=,r=abc", false, false},
		{SCRAM, []byte("cert"), mechanism, "n,,n=,r=abc", true, true},
		{SCRAM, []byte("cert"), mechanism, "y,,n=,r=abc", false, false},
		{SCRAM, []byte("cert"), mechanism, "p=tls-server-end-point,,n=,r=abc", false, false},
		{SCRAM, []byte("cert"), mechanismPlus, "n,,n=,r=abc", false, false},
		{SCRAM, []byte("cert"), mechanismPlus, "p=tls-unique,,n=,r=abc", false, false},
		{SCRAM, []byte("cert"), mechanismPlus, "p=tls-server-end-point,,n=,r=abc", true, true},
		{SCRAM, []byte("other"), mechanismPlus, "p=tls-server-end-point,,n=,r=abc", true, false},
		{SCRAMPlus, []byte("cert"), mechanism, "n,,n=,r=abc", false, false},
		{SCRAMPlus, []byte("cert"), mechanismPlus, "p=tls-server-end-point,,n=,r=abc", true, true},
	} {
		v, err := NewVerifier(Policy{Method: c.method, Users: users(t)})
		if err != nil {
			t.Fatal(err)
		}
		e, err := v.Begin(t.Context(), Login{User: "scram", Origin: Origin{TLS: true, Endpoint: c.endpoint}})
		if err != nil {
			t.Fatal(err)
		}
		e.Start()
		initial, err := (&pgproto3.SASLInitialResponse{AuthMechanism: c.mechanism, Data: []byte(c.data)}).Encode(nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, _, err := e.Respond('p', initial[5:])
		if (err == nil) != c.first {
			t.Errorf("%+v: %v", c, err)
		}
		if err != nil {
			continue
		}
		if _, done, err := e.Respond('p', finalMessage(t, string(answer[9:]), c.data, "cert")); done != c.last {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// finalMessage is what a client with the password "secret" answers, bound to an endpoint.
func finalMessage(t *testing.T, serverFirst, clientFirst, endpoint string) []byte {
	t.Helper()
	f := strings.Split(serverFirst, ",")
	salt, err := base64.StdEncoding.DecodeString(f[1][2:])
	if err != nil {
		t.Fatal(err)
	}
	k, err := deriveKeys("secret", string(salt), iterations)
	if err != nil {
		t.Fatal(err)
	}
	header, bare := clientFirst[:len(clientFirst)-len("n=,r=abc")], "n=,r=abc"
	if strings.HasPrefix(header, "p=") {
		header += endpoint
	}
	final := "c=" + base64.StdEncoding.EncodeToString([]byte(header)) + "," + f[0]
	proof := mac(k.StoredKey, bare+","+serverFirst+","+final)
	for i := range proof {
		proof[i] ^= k.ClientKey[i]
	}
	return []byte(final + ",p=" + base64.StdEncoding.EncodeToString(proof))
}
