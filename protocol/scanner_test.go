package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"testing"
	"unsafe"

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

// TestScannerAgainstPgproto3: a library that others trust finds the same messages, from either side.
func TestScannerAgainstPgproto3(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	text := func(n int) []byte { return bytes.Repeat([]byte("x"), rnd.IntN(n)) }
	fromServer := func() encoder {
		return []encoder{
			&pgproto3.DataRow{Values: [][]byte{text(3000), nil}}, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")},
			&pgproto3.ReadyForQuery{TxStatus: 'I'}, &pgproto3.ParseComplete{}, &pgproto3.NoticeResponse{Message: "mind"},
			&pgproto3.ParameterStatus{Name: "TimeZone", Value: "UTC"}, &pgproto3.CopyData{Data: text(100)},
			&pgproto3.ErrorResponse{Severity: "ERROR", Code: "22012", Message: string(text(300))}, &pgproto3.BindComplete{},
		}[rnd.IntN(9)]
	}
	fromClient := func() encoder {
		return []encoder{
			&pgproto3.Query{String: string(text(9000))}, &pgproto3.Parse{Name: "s", Query: string(text(300)), ParameterOIDs: []uint32{23}},
			&pgproto3.Bind{PreparedStatement: "s", Parameters: [][]byte{text(20000), nil}}, &pgproto3.Execute{MaxRows: 7},
			&pgproto3.Describe{ObjectType: 'S', Name: "s"}, &pgproto3.Close{ObjectType: 'P'}, &pgproto3.Sync{}, &pgproto3.Flush{},
			&pgproto3.CopyData{Data: text(100)}, &pgproto3.CopyDone{}, &pgproto3.CopyFail{Message: "no"}, &pgproto3.Terminate{},
		}[rnd.IntN(12)]
	}
	for name, d := range map[string]Direction{"server": FromServer, "client": FromClient} {
		t.Run(name, func(t *testing.T) {
			next := map[Direction]func() encoder{FromServer: fromServer, FromClient: fromClient}[d]
			var stream []byte
			for range 500 {
				var err error
				if stream, err = next().Encode(stream); err != nil {
					t.Fatal(err)
				}
			}
			seen, err := scan(d, stream, func(n int) int { return 1 + rnd.IntN(min(n, 700)) })
			if err != nil || len(seen) != 500 {
				t.Fatalf("%d messages of 500, %v", len(seen), err)
			}
			fromServer, fromClient := pgproto3.NewFrontend(bytes.NewReader(stream), io.Discard), pgproto3.NewBackend(bytes.NewReader(stream), io.Discard)
			for i := range seen {
				var m encoder
				if d == FromServer {
					m, err = fromServer.Receive()
				} else {
					m, err = fromClient.Receive()
				}
				if err != nil {
					t.Fatal(err)
				}
				b, err := m.Encode(nil)
				if err != nil || string(b) != seen[i].data {
					t.Fatalf("message %d: %T, the scanner has %q (%v)", i, m, seen[i].data, err)
				}
			}
		})
	}
}

// encoder is a message of either side.
type encoder interface {
	Encode(dst []byte) ([]byte, error)
}

// TestFrames: what each part says of itself, at every place where a message can be cut.
func TestFrames(t *testing.T) {
	b := []byte("Q\x00\x00\x00\x0dselect 1\x00S\x00\x00\x00\x04")
	const size = 14
	for cut := range size + 1 {
		s := NewScanner(FromClient)
		f, err := s.Next(b[:cut:len(b)])
		if err != nil {
			t.Fatal(err)
		}
		if cut < HeaderBytes {
			if f.Data != nil || s.MidMessage() || s.Left() != 0 {
				t.Fatalf("cut at %d: %+v, %d left", cut, f, s.Left())
			}
			continue
		}
		if !f.First || f.Last != (cut == size) || f.Size != size || f.Type != 'Q' || len(f.Data) != cut {
			t.Fatalf("cut at %d: first part %+v", cut, f)
		}
		if cap(f.Data) != len(f.Data) {
			t.Fatal("an append to a part would write over what is behind it")
		}
		if s.Left() != size-cut || s.MidMessage() != (cut < size) {
			t.Fatalf("cut at %d: %d left", cut, s.Left())
		}
		if cut < size {
			if f, err = s.Next(nil); err != nil || len(f.Data) != 0 || f.Last {
				t.Fatalf("cut at %d: of nothing %+v, %v", cut, f, err)
			}
			if f, err = s.Next(b[cut:]); err != nil || f.First || !f.Last || f.Type != 'Q' || f.Size != 0 || len(f.Data) != size-cut || cap(f.Data) != len(f.Data) {
				t.Fatalf("cut at %d: second part %+v, %v", cut, f, err)
			}
		}
		if f, err = s.Next(b[size:]); err != nil || !f.First || !f.Last || f.Type != 'S' || len(f.Data) != HeaderBytes {
			t.Fatalf("cut at %d: next message %+v, %v", cut, f, err)
		}
	}
}

// TestFrameFitsRegisters: see Frame. A fifth field or a thirty-third byte would cost 9 ns a message.
func TestFrameFitsRegisters(t *testing.T) {
	if typ := reflect.TypeFor[Frame](); typ.NumField() > 4 || typ.Size() > 4*unsafe.Sizeof(uintptr(0)) {
		t.Errorf("%d fields, %d bytes", typ.NumField(), typ.Size())
	}
}

// TestWhole: lengths that cannot be must neither stop a caller for ever nor make it slice below a header.
func TestWhole(t *testing.T) {
	for _, c := range []struct {
		b        string
		size     int
		complete bool
	}{
		{"", 0, false},
		{"Z\x00\x00\x00", 0, false},
		{"Z\x00\x00\x00\x05", 6, false},
		{"Z\x00\x00\x00\x05I", 6, true},
		{"Z\x00\x00\x00\x05IZ", 6, true},
		{"Z\x00\x00\x00\x00I", 5, true},
		{"Z\xff\xff\xff\xffI", 0x7fffffff, false},
	} {
		if size, complete := Whole([]byte(c.b)); size != c.size || complete != c.complete {
			t.Errorf("%q: %d %v", c.b, size, complete)
		}
	}
}

// TestScannerAllocatesNothing on a stream of rows, whole and cut.
func TestScannerAllocatesNothing(t *testing.T) {
	b := bytes.Repeat(append([]byte("D\x00\x00\x00\x24"), make([]byte, 32)...), 100)
	s := NewScanner(FromServer)
	for _, pieceMax := range []int{len(b), 50} {
		if n := testing.AllocsPerRun(100, func() {
			for rest := b; len(rest) > 0; {
				f, _ := s.Next(rest[:min(len(rest), pieceMax)])
				size, _ := Whole(rest)
				if len(f.Data) == 0 || size == 0 && !s.MidMessage() && len(rest) >= HeaderBytes {
					t.Fatal("the scan stands still")
				}
				rest = rest[len(f.Data):]
			}
		}); n != 0 {
			t.Errorf("in pieces of %d: %v allocations", pieceMax, n)
		}
	}
}

// BenchmarkScanner: 100 rows of 37 bytes.
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
		{FromClient, ClientTerminate, 10001, false},
		{FromClient, ClientFlush, 10001, false},
		{FromClient, ClientClose, 10001, false},
		{FromClient, ClientDescribe, 10001, false},
		{FromClient, ClientExecute, 10001, false},
		{FromClient, ClientCopyDone, 10001, false},
		{FromClient, ClientCopyFail, 10001, false},
		{FromClient, ClientParse, 10001, true},
		{FromClient, ClientBind, 10001, true},
		{FromClient, ClientCopyData, 10001, true},
		{FromClient, ClientFunctionCall, 10001, true},
		{FromClient, '!', 10001, true}, // whether there is such a message is for others to say
		{FromServer, ServerDataRow, 10001, true},
		{FromServer, ServerCopyDone, 10001, true},
		{FromServer, ServerDataRow, 0x3fffffff + 8, true},
		{FromServer, ServerDataRow, 0x7fffffff, false},
		{FromServer, ServerDataRow, 0xffffffff, false},
		{FromServer, ServerReadyForQuery, 0, false},
	} {
		s := NewScanner(c.d)
		_, err := s.Next(header(c.kind, c.length))
		var e *Error
		if (err == nil) != c.ok || err != nil && (!errors.As(err, &e) || e.Code != "08P01") {
			t.Errorf("%c of %d bytes: %v", c.kind, c.length, err)
		}
		if _, again := s.Next(header(c.kind, c.length)); !c.ok && (again == nil || s.MidMessage()) {
			t.Errorf("%c of %d bytes: the error does not stay", c.kind, c.length)
		}
	}
}
