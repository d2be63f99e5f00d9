package protocol

import (
	"bytes"
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

// TestStartupBounds: lengths are judged before anything is allocated or read.
func TestStartupBounds(t *testing.T) {
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

// FuzzParseStartup must not panic, and what it accepts it has understood.
func FuzzParseStartup(f *testing.F) {
	f.Add([]byte("\x00\x03\x00\x00user\x00me\x00\x00"))
	f.Add([]byte("\x04\xd2\x16\x2e\x00\x00\x00\x01abcd"))
	f.Add([]byte("\x04\xd2\x16\x2f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseStartup(b)
		if err == nil && s.Kind == StartupCancel && len(s.Cancel.Secret) < 4 {
			t.Fatal("a cancel request without a secret")
		}
	})
}

// TestOptions are split as PostgreSQL's pg_split_opts does.
func TestOptions(t *testing.T) {
	for options, want := range map[string][]Param{
		"":                              nil,
		"-c a=b":                        {{"a", "b"}},
		"-ca=b --statement-timeout=5":   {{"a", "b"}, {"statement_timeout", "5"}},
		`-c search_path=a,\ b  -c x=\\`: {{"search_path", "a, b"}, {"x", `\`}},
		"-c a=b=c\t-c\nd=":              {{"a", "b=c"}, {"d", ""}},
	} {
		got, err := ParseOptions(options)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v %v", options, got, err)
		}
	}
	for _, options := range []string{"-c=", "-c a", "-c", "x", "--", "-c =b"} {
		if got, err := ParseOptions(options); err == nil {
			t.Errorf("%q: %v", options, got)
		}
	}
}

// FuzzParseOptions must end and not panic.
func FuzzParseOptions(f *testing.F) {
	f.Add(`-c a=b --x=\ y`)
	f.Fuzz(func(t *testing.T, s string) {
		params, err := ParseOptions(s)
		for _, p := range params {
			if err == nil && p.Name == "" {
				t.Fatal("a parameter without a name")
			}
		}
	})
}

// FuzzParseError must not panic; an error that we build is read again as it was.
func FuzzParseError(f *testing.F) {
	f.Add([]byte("SERROR\x00C22012\x00Mdivision by zero\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e := ParseError(b)
		frame := (&Error{Severity: "FATAL", Code: "08006", Message: e.Message}).Append(nil)
		if again := ParseError(frame[HeaderBytes:]); again.Message != strings.ReplaceAll(e.Message, "\x00", "") || !again.Fatal() {
			t.Fatalf("%q became %q", e.Message, again.Message)
		}
		_ = SQLState(append([]byte("E\x00\x00\x00\x00"), b...))
	})
}

// TestSQLState finds the code without an allocation.
func TestSQLState(t *testing.T) {
	frame := ErrClientIdle("client_idle_timeout", 1).Append(nil)
	if string(SQLState(frame)) != "57P05" {
		t.Error(string(SQLState(frame)))
	}
	if n := testing.AllocsPerRun(100, func() { SQLState(frame) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestErrorsHaveBothSeverities: clients read S or V.
func TestErrorsHaveBothSeverities(t *testing.T) {
	for _, e := range []*Error{ErrShutdown(), ErrAuthFailed("u"), ErrQueryWaitTimeout(1, 1, 1, 1, 1, "app"), ErrProtocol("x")} {
		var m pgproto3.ErrorResponse
		if err := m.Decode(e.Append(nil)[HeaderBytes:]); err != nil || m.Severity != e.Severity || m.SeverityUnlocalized != e.Severity || m.Code != e.Code {
			t.Errorf("%+v: %v", m, err)
		}
	}
}

// TestNegotiate is read by a library.
func TestNegotiate(t *testing.T) {
	b := AppendNegotiateProtocolVersion(nil, 2, []string{"_pq_.a"})
	m, err := pgproto3.NewFrontend(bytes.NewReader(b), io.Discard).Receive()
	n, ok := m.(*pgproto3.NegotiateProtocolVersion)
	if err != nil || !ok || len(n.UnrecognizedOptions) != 1 {
		t.Fatalf("%#v %v", m, err)
	}
}

// TestCancelKeys of both protocol versions make the round trip.
func TestCancelKeys(t *testing.T) {
	for _, n := range []int{4, 32, 256} {
		k, err := NewCancelKey(7, n)
		if err != nil {
			t.Fatal(err)
		}
		s, err := ReadStartup(bytes.NewReader(AppendCancelRequest(nil, k)))
		if err != nil || s.Kind != StartupCancel || !s.Cancel.Equal(k) {
			t.Fatalf("%d bytes: %+v %v", n, s, err)
		}
		k.Secret[0] ^= 1
		if s.Cancel.Equal(k) {
			t.Error("another secret is equal")
		}
	}
}
