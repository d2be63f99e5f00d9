package tidy

import (
	"fmt"
	"strings"
	"testing"
)

// TestHouseRules runs every rule over the repository.
func TestHouseRules(t *testing.T) {
	r, err := Load("../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Files) < 20 {
		t.Fatalf("found only %d Go files: this would prove nothing", len(r.Files))
	}
	for _, rule := range Rules {
		t.Run(rule.Name, func(t *testing.T) {
			for _, fault := range rule.Check(r) {
				t.Error(fault)
			}
		})
	}
}

// source is a repository of these files: name, text, name, text.
func source(t *testing.T, namesAndTexts ...string) *Repository {
	t.Helper()
	r, err := Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(namesAndTexts); i += 2 {
		if err := r.Add(namesAndTexts[i], []byte(namesAndTexts[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// expect runs a rule over one file and wants one fault for each of want, in order, that contains it.
func expect(t *testing.T, check func(*Repository) []string, name, text string, want ...string) {
	t.Helper()
	got := check(source(t, name, text))
	if len(got) != len(want) {
		t.Errorf("%s: wanted %d faults, got %d: %q", name, len(want), len(got), got)
		return
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("%s: wanted a fault with %q, got %q", name, want[i], got[i])
		}
	}
}

func TestPackageDocsCanFail(t *testing.T) {
	expect(t, PackageDocs, "pool/a.go", "package pool\n", `"owns"`, `"must not know"`)
	expect(t, PackageDocs, "pool/a.go", "// Package pool owns a lot.\npackage pool\n", `"must not know"`)
	expect(t, PackageDocs, "pool/a.go", "// Package pool owns a lot. It must\n// not know clients.\npackage pool\n")
	expect(t, PackageDocs, "pool/a_test.go", "package pool\n")
	long := "// Package pool owns a lot and must not know clients.%s\npackage pool\n" + strings.Repeat("\n", fileLinesMax)
	expect(t, PackageDocs, "pool/a.go", fmt.Sprintf(long, ""), "502 lines")
	expect(t, PackageDocs, "pool/a.go", fmt.Sprintf(long, " It is all in a.go because."))
}

func TestExportedDocsCanFail(t *testing.T) {
	expect(t, ExportedDocs, "pool/a.go", `package pool
type A struct{}
func B() {}
func (A) C() {}
const D = 1
var E, f = 1, 2
`, "A", "B", "C", "D", "E")
	expect(t, ExportedDocs, "pool/a.go", `package pool
// A is.
type A struct{}
type hidden[T any] struct{}
func (h *hidden[T]) Exported() {}
func (A) String() string { return "" }
// D and E are.
const (
	D = 1
	E = 2
)
var F int // F is
`)
	expect(t, ExportedDocs, "pool/a_test.go", "package pool\nfunc TestA() {}\n")
}

func TestImportsCanFail(t *testing.T) {
	use := func(pkg, imported string) string {
		return "package " + pkg + "\nimport _ \"" + Module + "/" + imported + "\"\n"
	}
	expect(t, Imports, "protocol/a.go", use("protocol", "config"), "protocol must not import config")
	expect(t, Imports, "eventloop/a.go", use("eventloop", "protocol"), "eventloop must not import protocol")
	expect(t, Imports, "pool/a.go", use("pool", "proxy"), "pool must not import proxy")
	expect(t, Imports, "proxy/a.go", use("proxy", "internal/pgtest"), "proxy must not import internal/pgtest")
	expect(t, Imports, "protocol/a_test.go", use("protocol", "proxy"), "protocol must not import proxy")
	expect(t, Imports, "surprise/a.go", "package surprise\n", "surprise is not in the table")
	expect(t, Imports, "proxy/a.go", use("proxy", "proxy/relay"))
	expect(t, Imports, "proxy/a_test.go", use("proxy", "internal/pgtest"))
	expect(t, Imports, "proxy/a.go", use("proxy", "config/load"), "proxy must not import config/load")
	expect(t, Imports, "proxy/a_test.go", use("proxy", "config/load"))
	expect(t, Imports, "pool/a_test.go", use("pool", "config/load"), "pool must not import config/load")
	expect(t, Imports, "pool/a_test.go", use("pool_test", "pool"))
	expect(t, Imports, "bench/a.go", use("main", "internal/pgtest"))
	expect(t, Imports, "cmd/hybridbouncer/a_test.go", use("main", "protocol"))
}

func TestPurityCanFail(t *testing.T) {
	for banned := range bannedImports {
		text := "package x\nimport _ \"" + banned + "\"\n"
		for _, p := range pure {
			expect(t, Purity, p+"/a.go", text, "must not import "+banned)
		}
		expect(t, Purity, "proxy/a.go", text)
		expect(t, Purity, "pool/a_test.go", text)
	}
	expect(t, Purity, "pool/a.go", "package pool\nimport _ \"sync/atomic\"\n", "sync/atomic")
	expect(t, Purity, "pool/a.go", `package pool
import (
	"math/rand/v2"
	clock "time"
)
func f(d clock.Duration) {
	go f(0)
	clock.Now()
	clock.After(d)
	rand.IntN(3)
	rand.New(rand.NewPCG(1, 2)).IntN(3)
}
`, "goroutines", "time.Now", "time.After", "IntN")
}

func TestFunctionLengthCanFail(t *testing.T) {
	function := func(lines int) string {
		return "package a\nfunc long() {" + strings.Repeat("\n", lines-1) + "}\n"
	}
	long, short := source(t, "a/a.go", function(functionLinesMax+1)), source(t, "a/a.go", function(functionLinesMax))
	for _, test := range []struct {
		name  string
		r     *Repository
		known map[string]int
		want  string // empty: no fault
	}{
		{"too long", long, nil, "has 71 lines"},
		{"just right", short, nil, ""},
		{"known", long, map[string]int{"a/a.go long": 71}, ""},
		{"grown", source(t, "a/a.go", function(90)), map[string]int{"a/a.go long": 80}, "grew from 80 lines to 90"},
		{"shrunk", long, map[string]int{"a/a.go long": 80}, "shrank from 80"},
		{"gone", short, map[string]int{"a/a.go other": 80}, "no more"},
		{"a test", source(t, "a/a_test.go", function(90)), nil, ""},
	} {
		got := strings.Join(functionLength(test.r, test.known), "\n")
		if test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func TestWordsCanFail(t *testing.T) {
	expect(t, Words, "proxy/a.go", `package proxy
type serverConn struct{ upstreamAddr string }
func frontendOf(peer int) (backend string) {
	conn2, ok := 1, 2
	for conns := range ok { _ = conns }
	var TLSConn, connection, connector, Conny int
	return
}
`, "serverConn", "upstreamAddr", "frontendOf", "peer", "backend", "conn2", "conns", "TLSConn")
	expect(t, Words, "proxy/a.go", "package proxy\nimport \"net\"\nvar MaxClientConn int\nfunc f(socket net.Conn) { socket.Close() }\n")
	expect(t, Words, "proxy/a.go", "package proxy\nimport \""+Module+"/eventloop\"\n"+
		"type client struct{ conn eventloop.Conn }\nfunc ServerBackendKeyData(conn *eventloop.Conn) {}\n")
	expect(t, Words, "eventloop/a.go", "package eventloop\ntype Conn struct{ backend int }\n", "backend")
}

func TestTestHabitsCanFail(t *testing.T) {
	text := `package a
import (
	"testing"
	"time"
	"pgregory.net/rapid"
)
func TestA(t *testing.T) {
	time.Sleep(1)
	func() { t.Skip("no") }()
	rapid.Check(t, func(r *rapid.T) { r.Skip("draw anew") })
}
func BenchmarkA(b *testing.B) { b.SkipNow() }
func helper(tb testing.TB) { if tb.Skipped() { tb.Skipf("x") } }
`
	expect(t, TestHabits, "pool/a_test.go", text, "time.Sleep", "t.Skip", "b.SkipNow", "tb.Skipf")
	expect(t, TestHabits, "internal/pgtest/a.go", "package pgtest\nimport \"time\"\nfunc f() { time.Sleep(1) }\n", "time.Sleep")
	expect(t, TestHabits, "proxy/a.go", "package proxy\nimport \"time\"\nfunc f() { time.Sleep(1) }\n")
}

func TestPrintingCanFail(t *testing.T) {
	text := "import \"fmt\"\nfunc f() { fmt.Println(); fmt.Sprint() }\n"
	expect(t, Printing, "pool/a.go", "package pool\n"+text, "fmt.Println")
	expect(t, Printing, "cmd/x/a.go", "package main\n"+text)
}

func TestFormattingCanFail(t *testing.T) {
	expect(t, Formatting, "pool/a.go", "package pool\n\nfunc f() {\n\n\treturn\n}\n", "gofumpt") // gofmt alone would pass
	expect(t, Formatting, "pool/a.go", "package pool\n\nfunc f() {\n\treturn\n}\n")
}

// TestLoadFindsItself checks that Load finds this package, and that a file that is no Go is an error.
func TestLoadFindsItself(t *testing.T) {
	r, err := Load(".")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range r.Files {
		names = append(names, f.Path)
	}
	if all := strings.Join(names, " "); !strings.Contains(all, "tidy.go") || !strings.Contains(all, "tidy_test.go") {
		t.Errorf("found %s", all)
	}
	if err := r.Add("broken.go", []byte("package")); err == nil {
		t.Error("half a file was parsed")
	}
}
