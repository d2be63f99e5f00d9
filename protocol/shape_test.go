package protocol

import (
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

func described(t testing.TB, fields ...pgproto3.FieldDescription) []byte {
	t.Helper()
	b, err := (&pgproto3.RowDescription{Fields: fields}).Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestResultDigest: what PostgreSQL takes for another result is told apart, what it does not is not.
func TestResultDigest(t *testing.T) {
	column := func(name string, change func(*pgproto3.FieldDescription)) pgproto3.FieldDescription {
		f := pgproto3.FieldDescription{Name: []byte(name), TableOID: 1000, TableAttributeNumber: 1, DataTypeOID: 23, DataTypeSize: 4, TypeModifier: -1}
		if change != nil {
			change(&f)
		}
		return f
	}
	base := ResultDigest(described(t, column("abalance", nil), column("b", nil)))
	for name, same := range map[string][]byte{
		"again":        described(t, column("abalance", nil), column("b", nil)),
		"format":       described(t, column("abalance", func(f *pgproto3.FieldDescription) { f.Format = 1 }), column("b", nil)),
		"other table":  described(t, column("abalance", func(f *pgproto3.FieldDescription) { f.TableOID = 1 }), column("b", nil)),
		"other column": described(t, column("abalance", func(f *pgproto3.FieldDescription) { f.TableAttributeNumber = 7 }), column("b", nil)),
	} {
		if ResultDigest(same) != base {
			t.Errorf("%s: told apart", name)
		}
	}
	for name, other := range map[string][]byte{
		"name":          described(t, column("abalancf", nil), column("b", nil)),
		"longer name":   described(t, column("abalances", nil), column("b", nil)),
		"fewer":         described(t, column("abalance", nil)),
		"more":          described(t, column("abalance", nil), column("b", nil), column("c", nil)),
		"order":         described(t, column("b", nil), column("abalance", nil)),
		"type":          described(t, column("abalance", nil), column("b", func(f *pgproto3.FieldDescription) { f.DataTypeOID = 25 })),
		"type modifier": described(t, column("abalance", nil), column("b", func(f *pgproto3.FieldDescription) { f.TypeModifier = 9 })),
		"none":          described(t),
		"no data":       {ServerNoData, 0, 0, 0, 4},
	} {
		if d := ResultDigest(other); d == base || d == 0 {
			t.Errorf("%s: not told apart", name)
		}
	}
	// The same name in UTF-8 and in LATIN1.
	if ResultDigest(described(t, column("größe", nil))) != ResultDigest(described(t, column("gr\xf6\xdfe", nil))) {
		t.Error("the client's encoding matters")
	}
}

func TestParametersDigest(t *testing.T) {
	encode := func(oids ...uint32) []byte {
		b, _ := (&pgproto3.ParameterDescription{ParameterOIDs: oids}).Encode(nil)
		return b
	}
	if first, again := ParametersDigest(encode(23, 25)), ParametersDigest(encode(23, 25)); first != again {
		t.Error("the same is told apart")
	}
	seen := map[uint32]bool{0: true}
	for _, oids := range [][]uint32{nil, {23}, {25}, {23, 25}, {25, 23}} {
		d := ParametersDigest(encode(oids...))
		if seen[d] {
			t.Errorf("%v: not told apart", oids)
		}
		seen[d] = true
	}
}

func TestBindFormats(t *testing.T) {
	for _, c := range []struct {
		bind    pgproto3.Bind
		binary  bool
		results int
	}{
		{bind: pgproto3.Bind{}},
		{bind: pgproto3.Bind{PreparedStatement: "s", Parameters: [][]byte{nil, []byte("1")}, ResultFormatCodes: []int16{1}}, results: 1},
		{bind: pgproto3.Bind{ParameterFormatCodes: []int16{0, 1}, Parameters: [][]byte{{1}, {2}}, ResultFormatCodes: []int16{0, 0, 1}}, binary: true, results: 3},
		{bind: pgproto3.Bind{DestinationPortal: "p", ParameterFormatCodes: []int16{0}, Parameters: [][]byte{{1}, {2}}}},
	} {
		b, err := c.bind.Encode(nil)
		if err != nil {
			t.Fatal(err)
		}
		if binary, results, ok := BindFormats(b); !ok || binary != c.binary || results != c.results {
			t.Errorf("%+v: %t %d %t", c.bind, binary, results, ok)
		}
		for n := range len(b) {
			if _, _, ok := BindFormats(b[:n]); ok {
				t.Errorf("%+v: cut at %d it is whole", c.bind, n)
			}
		}
	}
}

// FuzzShape: nothing a server or client sends makes these panic.
func FuzzShape(f *testing.F) {
	f.Add(described(f, pgproto3.FieldDescription{Name: []byte("x")}))
	f.Fuzz(func(t *testing.T, frame []byte) {
		if ResultDigest(frame) == 0 || ParametersDigest(frame) == 0 {
			t.Error("0 means not known")
		}
		BindFormats(frame)
	})
}
