package protocol

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// FuzzParseError must not panic; an error that we build is read again as it was.
func FuzzParseError(f *testing.F) {
	f.Add([]byte("SERROR\x00C22012\x00Mdivision by zero\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e := ParseError(b)
		frame := (&Error{Severity: "FATAL", Code: "08006", Message: e.Message}).Append(nil)
		if again := ParseError(frame[HeaderBytes:]); again.Message != strings.ReplaceAll(e.Message, "\x00", "") || !again.Fatal() {
			t.Fatalf("%q became %q", e.Message, again.Message)
		}
		if state := SQLState(append([]byte("E\x00\x00\x00\x00"), b...)); bytes.Count(b, []byte("C")) == 1 && string(state) != e.Code {
			t.Fatalf("the code is %q or %q", state, e.Code)
		}
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
	for _, r := range errorRows() {
		var m pgproto3.ErrorResponse
		if err := m.Decode(r.sample.Append(nil)[HeaderBytes:]); err != nil {
			t.Fatal(err)
		}
		if m.Severity != r.sample.Severity || m.SeverityUnlocalized != r.sample.Severity || m.Code != r.sample.Code ||
			m.Message != r.sample.Message || m.Detail != r.sample.Detail || m.Hint != r.sample.Hint {
			t.Errorf("%s: %+v", r.constructor, m)
		}
	}
}

// TestErrorFields: every field makes the round trip; a zero byte in one does not make fields of what is behind it.
func TestErrorFields(t *testing.T) {
	e := Error{Position: 7, InternalPosition: 8, Line: 99}
	v := reflect.ValueOf(&e).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.String {
			f.SetString("the " + v.Type().Field(i).Name)
		} else if f.Int() == 0 {
			t.Fatalf("%s is not in this test", v.Type().Field(i).Name)
		}
	}
	for kind, frame := range map[byte][]byte{ServerErrorResponse: e.Append(nil), ServerNoticeResponse: e.AppendNotice(nil)} {
		size, complete := Whole(frame)
		if frame[0] != kind || !complete || size != len(frame) {
			t.Fatalf("%q", frame)
		}
		if again := ParseError(frame[HeaderBytes:]); again != e {
			t.Errorf("%c: have %+v\nwant %+v", kind, again, e)
		}
	}
	hostile := ErrNoSuchDatabase("x\x00C00000").Append(nil)
	if e := ParseError(hostile[HeaderBytes:]); e.Code != "3D000" || e.Message != `database "xC00000" does not exist` {
		t.Errorf("%+v", e)
	}
}

// TestParseErrorDoubtful: a server may leave out any field, the end too (CVE-2026-6666: PgBouncer crashed on a missing SQLSTATE), and
// its severity may be translated.
func TestParseErrorDoubtful(t *testing.T) {
	for body, want := range map[string]Error{
		"":                             {},
		"\x00":                         {},
		"S":                            {},
		"Mno end":                      {},
		"Mtext\x00":                    {Message: "text"},
		"SFEHLER\x00VERROR\x00\x00":    {Severity: "ERROR"},
		"VFATAL\x00SFEHLER\x00\x00":    {Severity: "FATAL"},
		"SERROR\x00\x00Mbehind\x00":    {Severity: "ERROR"},
		"Pseven\x00L99999999999\x00":   {},
		"?what\x00C22012\x00Wa\x00":    {Code: "22012", Where: "a"},
		"C\x00M\x00\x00":               {},
		"P12\x00p-3\x00L7\x00\x00":     {Position: 12, InternalPosition: -3, Line: 7},
		"Cx\x00Cy\x00Mone\x00Mtwo\x00": {Code: "y", Message: "two"},
	} {
		if e := ParseError([]byte(body)); e != want {
			t.Errorf("%q: have %+v\nwant %+v", body, e, want)
		}
	}
	for frame, want := range map[string]string{
		"": "", "E": "", "E\x00\x00\x00\x04": "", "E\x00\x00\x00\x04\x00": "", "E\x00\x00\x00\x09SERROR\x00\x00": "",
		"E\x00\x00\x00\x09SERROR\x00C22012\x00\x00": "22012", "E\x00\x00\x00\x09C22012": "", "E\x00\x00\x00\x09\x00C22012\x00": "",
		"E\x00\x00\x00\x09MC1\x00C\x00\x00": "",
	} {
		if have := string(SQLState([]byte(frame))); have != want {
			t.Errorf("%q: %q", frame, have)
		}
	}
}
