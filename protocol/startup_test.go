package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// TestStartupReadsExactly: not a byte behind the packet is taken.
func TestStartupReadsExactly(t *testing.T) {
	packet, err := (&pgproto3.StartupMessage{ProtocolVersion: 196610, Parameters: map[string]string{"user": "u", "_pq_.x": "1"}}).Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(append(packet, "rest"...))
	s, err := ReadStartup(r)
	if err != nil || s.Kind != StartupLogin || s.Minor != 2 || s.Get("user") != "u" || !reflect.DeepEqual(s.UnknownOptions, []string{"_pq_.x"}) {
		t.Fatalf("%+v %v", s, err)
	}
	if rest, _ := io.ReadAll(r); string(rest) != "rest" {
		t.Fatalf("left: %q", rest)
	}
}

// TestStartupBounds: lengths are judged before anything is allocated or read. The longest packet is that of PostgreSQL.
func TestStartupBounds(t *testing.T) {
	longest := "\x00\x03\x00\x00a\x00" + strings.Repeat("x", MaxStartupBytes-8) + "\x00\x00"
	if s, err := ReadStartup(strings.NewReader("\x00\x00\x27\x14" + longest)); err != nil || len(s.Get("a")) != MaxStartupBytes-8 {
		t.Errorf("a packet of %d bytes: %v", len(longest), err)
	}
	if _, err := ReadStartup(strings.NewReader("\x00\x00\x27\x14" + longest[1:])); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a packet that is cut off: %v", err)
	}
	for _, b := range []string{"\x00\x00\x00\x07", "\x00\x00\x27\x15", "\xff\xff\xff\xff", "\x00\x00\x00\x00"} {
		_, err := ReadStartup(strings.NewReader(b))
		var e *Error
		if !errors.As(err, &e) || e.Code != "08P01" {
			t.Errorf("%x: %v", b, err)
		}
	}
	if _, _, err := ReadMessage(strings.NewReader("p\x7f\xff\xff\xff"), 100); err == nil {
		t.Error("a huge password message is read")
	}
}

// FuzzParseStartup must not panic; what it accepts is what ReadStartup reads, and all of a login's bytes are in its parameters.
func FuzzParseStartup(f *testing.F) {
	f.Add([]byte("\x00\x03\x00\x00user\x00me\x00\x00"))
	f.Add([]byte("\x04\xd2\x16\x2e\x00\x00\x00\x01abcd"))
	f.Add([]byte("\x04\xd2\x16\x2f"))
	f.Add([]byte("\x00\x03\x27\x0fuser\x00me\x00_pq_.x\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseStartup(b)
		if len(b) <= MaxStartupBytes {
			r := bytes.NewReader(append(binary.BigEndian.AppendUint32(nil, uint32(4+len(b))), b...))
			read, readErr := ReadStartup(r)
			if !reflect.DeepEqual(read, s) || (err == nil) != (readErr == nil) {
				t.Fatalf("parsed %+v, %v; read %+v, %v", s, err, read, readErr)
			}
		}
		switch {
		case err != nil:
		case s.Kind == StartupCancel && !bytes.Equal(AppendCancelRequest(nil, s.Cancel)[4:], b):
			t.Fatalf("another cancel request: %+v", s.Cancel)
		case s.Kind == StartupLogin && s.Major == 3:
			again := b[:4:4]
			for _, p := range s.Params {
				again = append(append(append(append(again, p.Name...), 0), p.Value...), 0)
			}
			if !bytes.Equal(append(again, 0), b) {
				t.Fatalf("bytes are lost: %+v", s)
			}
		}
	})
}

// TestNegotiate: byte by byte as PostgreSQL 18 sends it (tcop/backend_startup.c, SendNegotiateProtocolVersion), and as a library
// reads it. libpq 18 takes a version without the 3 in its upper half for an attempt to go below 3.0.
func TestNegotiate(t *testing.T) {
	b := AppendNegotiateProtocolVersion([]byte("before"), 2, []string{"_pq_.a", "_pq_.bc"})
	want := "beforev\x00\x00\x00\x1b\x00\x03\x00\x02\x00\x00\x00\x02_pq_.a\x00_pq_.bc\x00"
	if string(b) != want {
		t.Fatalf("have %q\nwant %q", b, want)
	}
	m, err := pgproto3.NewFrontend(bytes.NewReader(b[len("before"):]), io.Discard).Receive()
	n, ok := m.(*pgproto3.NegotiateProtocolVersion)
	if err != nil || !ok || !reflect.DeepEqual(n.UnrecognizedOptions, []string{"_pq_.a", "_pq_.bc"}) || n.NewestMinorProtocol != 3<<16|2 {
		t.Fatalf("%#v %v", m, err)
	}
}

// TestParseStartup: the packets of the manual, 54.7, and PostgreSQL's refusals.
func TestParseStartup(t *testing.T) {
	login := func(minor uint16, params ...Param) Startup {
		s := Startup{Kind: StartupLogin, Major: 3, Minor: minor}
		s.Params = append(s.Params, params...)
		return s
	}
	const layout = "invalid startup packet layout: expected terminator as last byte"
	grease := login(9999, Param{"user", "u"}, Param{"_pq_.test_protocol_negotiation", ""})
	grease.UnknownOptions = []string{"_pq_.test_protocol_negotiation"}
	for _, c := range []struct {
		body string
		want Startup
		err  string
	}{
		{"\x04\xd2\x16\x2f", Startup{Kind: StartupSSL}, ""},
		{"\x04\xd2\x16\x30", Startup{Kind: StartupGSS}, ""},
		{"\x04\xd2\x16\x2fmore", Startup{}, "invalid length of encryption request"},
		{"\x00\x03\x00\x00\x00", login(0), ""},
		{"\x00\x03\x00\x00user\x00u\x00user\x00v\x00\x00", login(0, Param{"user", "u"}, Param{"user", "v"}), ""},
		{"\x00\x03\x00\x02user\x00u\x00empty\x00\x00\x00", login(2, Param{"user", "u"}, Param{"empty", ""}), ""},
		{"\x00\x03\x27\x0fuser\x00u\x00_pq_.test_protocol_negotiation\x00\x00\x00", grease, ""},
		{"\x00\x02\x00\x00anything", Startup{Kind: StartupLogin, Major: 2}, ""},
		{"", Startup{}, "invalid length of startup packet"},
		{"\x00\x03\x00", Startup{}, "invalid length of startup packet"},
		{"\x00\x03\x00\x00", Startup{}, layout},
		{"\x00\x03\x00\x00user\x00u\x00", Startup{}, layout},
		{"\x00\x03\x00\x00user\x00u\x00\x00behind", Startup{}, layout},
		{"\x00\x03\x00\x00user\x00u", Startup{}, layout},
		{"\x00\x03\x00\x00user\x00\x00", Startup{}, layout},
		{"\x00\x03\x00\x00user", Startup{}, layout},
		{"\x04\xd2\x16\x2e\x00\x00\x00\x07abc", Startup{}, "invalid length of cancel key in cancel request packet"},
		{"\x04\xd2\x16\x2e\x00\x00\x00\x07" + strings.Repeat("x", 257), Startup{}, "invalid length of cancel key in cancel request packet"},
	} {
		s, err := ParseStartup([]byte(c.body))
		var e *Error
		switch {
		case c.err == "" && (err != nil || !reflect.DeepEqual(s, c.want)):
			t.Errorf("%q: have %+v, %v\nwant %+v", c.body, s, err, c.want)
		case c.err != "" && (!errors.As(err, &e) || e.Code != "08P01" || e.Message != c.err):
			t.Errorf("%q: %v, want %s", c.body, err, c.err)
		}
	}
	twice := login(0, Param{"user", "u"}, Param{"user", "v"})
	if twice.Get("user") != "v" || twice.Get("User") != "" {
		t.Error("the last one counts, and names are not folded: ", twice.Get("user"), twice.Get("User"))
	}
}

// TestReadMessage reads exactly one message.
func TestReadMessage(t *testing.T) {
	r := strings.NewReader("p\x00\x00\x00\x08passrest")
	kind, body, err := ReadMessage(r, 4)
	if err != nil || kind != 'p' || string(body) != "pass" || r.Len() != len("rest") {
		t.Fatalf("%c %q %v, %d left", kind, body, err, r.Len())
	}
	var e *Error
	for _, b := range []string{"p\x00\x00\x00\x09passs", "p\x00\x00\x00\x03", "p\xff\xff\xff\xff"} {
		if _, _, err := ReadMessage(strings.NewReader(b), 4); !errors.As(err, &e) || e.Code != "08P01" {
			t.Errorf("%q: %v", b, err)
		}
	}
	for b, want := range map[string]error{"": io.EOF, "p\x00": io.ErrUnexpectedEOF, "p\x00\x00\x00\x08pas": io.ErrUnexpectedEOF} {
		if _, body, err := ReadMessage(strings.NewReader(b), 4); !errors.Is(err, want) || body != nil {
			t.Errorf("%q: %q %v", b, body, err)
		}
	}
}
