package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// message is what a scan saw, put together again.
type message struct {
	kind byte
	data string
}

// scan walks b in the pieces that cut says, keeping what is not consumed as a reader would.
func scan(d Direction, b []byte, cut func(left int) int) (seen []message, err error) {
	s := NewScanner(d)
	var kept []byte
	for len(b) > 0 {
		n := min(len(b), max(1, cut(len(b))))
		kept = append(kept, b[:n]...)
		b = b[n:]
		for {
			f, err := s.Next(kept)
			if err != nil {
				return seen, err
			}
			if len(f.Data) == 0 {
				break
			}
			if f.First {
				seen = append(seen, message{f.Type, ""})
				if f.Last != (int(f.Size) == len(f.Data)) {
					return seen, errors.New("a first part that is not what it says")
				}
			}
			last := &seen[len(seen)-1]
			last.data += string(f.Data)
			kept = kept[len(f.Data):]
		}
	}
	return seen, nil
}

func equalMessages(a, b []message) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// FuzzScanner: however the stream is cut, the same messages come out, and together they are the stream.
func FuzzScanner(f *testing.F) {
	f.Add([]byte("Q\x00\x00\x00\x0aselect"), uint64(1), true)
	f.Add([]byte("Z\x00\x00\x00\x05ID\x00\x00\x00\x04"), uint64(2), false)
	f.Add([]byte("S\x00\x00\x4e\x20"), uint64(3), true)
	f.Add([]byte("Q\xff\xff\xff\xff"), uint64(4), true)
	f.Fuzz(func(t *testing.T, b []byte, seed uint64, client bool) {
		d := FromServer
		if client {
			d = FromClient
		}
		rnd := rand.New(rand.NewPCG(seed, 0))
		whole, wholeErr := scan(d, b, func(n int) int { return n })
		for name, cut := range map[string]func(int) int{
			"byte by byte": func(int) int { return 1 }, "at random": func(n int) int { return 1 + rnd.IntN(n) },
		} {
			got, err := scan(d, b, cut)
			if !equalMessages(got, whole) || (err == nil) != (wholeErr == nil) {
				t.Fatalf("%s: %v %v, whole: %v %v", name, got, err, whole, wholeErr)
			}
		}
		all := ""
		for _, m := range whole {
			all += m.data
		}
		if !bytes.HasPrefix(b, []byte(all)) {
			t.Fatal("the messages are not the stream")
		}
	})
}

// TestScannerAgainstPgproto3: a library that others trust finds the same messages.
func TestScannerAgainstPgproto3(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	var stream []byte
	var sent int
	for range 500 {
		m := []pgproto3.BackendMessage{
			&pgproto3.DataRow{Values: [][]byte{make([]byte, rnd.IntN(3000)), nil}}, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")},
			&pgproto3.ReadyForQuery{TxStatus: 'I'}, &pgproto3.ParseComplete{}, &pgproto3.NoticeResponse{Message: "mind"},
			&pgproto3.ParameterStatus{Name: "TimeZone", Value: "UTC"}, &pgproto3.CopyData{Data: make([]byte, rnd.IntN(100))},
		}[rnd.IntN(7)]
		var err error
		if stream, err = m.Encode(stream); err != nil {
			t.Fatal(err)
		}
		sent++
	}
	seen, err := scan(FromServer, stream, func(n int) int { return 1 + rnd.IntN(min(n, 700)) })
	if err != nil || len(seen) != sent {
		t.Fatalf("%d messages of %d, %v", len(seen), sent, err)
	}
	library := pgproto3.NewFrontend(bytes.NewReader(stream), io.Discard)
	for i := range sent {
		m, err := library.Receive()
		if err != nil {
			t.Fatal(err)
		}
		b, err := m.Encode(nil)
		if err != nil || string(b) != seen[i].data {
			t.Fatalf("message %d: %T, the scanner has %q (%v)", i, m, seen[i].data, err)
		}
	}
}

// TestScannerAllocatesNothing on a stream of rows.
func TestScannerAllocatesNothing(t *testing.T) {
	row := append([]byte("D\x00\x00\x00\x24"), make([]byte, 32)...)
	b := bytes.Repeat(row, 100)
	s := NewScanner(FromServer)
	if n := testing.AllocsPerRun(100, func() {
		for rest := b; len(rest) > 0; {
			f, _ := s.Next(rest)
			rest = rest[len(f.Data):]
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkScanner(b *testing.B) {
	rows := bytes.Repeat(append([]byte("D\x00\x00\x00\x24"), make([]byte, 32)...), 100)
	s := NewScanner(FromServer)
	for b.Loop() {
		for rest := rows; len(rest) > 0; {
			f, _ := s.Next(rest)
			rest = rest[len(f.Data):]
		}
	}
}

// TestScannerLimits are those of PostgreSQL.
func TestScannerLimits(t *testing.T) {
	header := func(kind byte, length uint32) []byte { return binary.BigEndian.AppendUint32([]byte{kind}, length) }
	for _, c := range []struct {
		d      Direction
		kind   byte
		length uint32
		ok     bool
	}{
		{FromClient, ClientQuery, 3, false},
		{FromClient, ClientQuery, 4, true},
		{FromClient, ClientQuery, 0x3ffffffe, true},
		{FromClient, ClientQuery, 0x3fffffff, false},
		{FromClient, ClientSync, 10000, true},
		{FromClient, ClientSync, 10001, false},
		{FromServer, ServerDataRow, 10001, true},
		{FromServer, ServerDataRow, 0xffffffff, false},
	} {
		s := NewScanner(c.d)
		_, err := s.Next(header(c.kind, c.length))
		var e *Error
		if (err == nil) != c.ok || err != nil && (!errors.As(err, &e) || e.Code != "08P01") {
			t.Errorf("%c of %d bytes: %v", c.kind, c.length, err)
		}
	}
}
