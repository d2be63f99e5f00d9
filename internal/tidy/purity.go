package tidy

import (
	"go/ast"
	"slices"
	"strconv"
	"strings"
)

// pure are the packages that decide and touch nothing (STYLE rules 1 and 2): the simulation runs them on a virtual clock, and
// replays any failure by its seed.
var pure = []string{"pool", "proxy/relay", "proxy/listen", "admin/history", "catalog"}

// bannedImports are what a pure package must not import, subfolders included, and why.
var bannedImports = map[string]string{
	"net":                 "I/O belongs to eventloop and proxy; a decision gets bytes and returns a verdict",
	"os":                  "files, environment and signals are the shell's; the simulation has none",
	"syscall":             "a system call is I/O",
	"golang.org/x/sys":    "a system call is I/O",
	Module + "/eventloop": "a decision that knows loops cannot be replayed without them",
	"sync":                "one owner calls it at a time; a lock in here would hide that somebody else does",
	"context":             "it carries deadlines of the real clock and channels to wait for; time comes in as an argument",
	"log":                 "return what happened; the caller logs once, where it closes (rule 23)",
	"crypto/rand":         "a seed must replay everything; randomness comes in as a seed",
}

// bannedCalls are functions of otherwise harmless packages that a pure package must not call (empty list: any function but those
// that begin with New), and why.
var bannedCalls = map[string]struct {
	names  []string
	reason string
}{
	"time": {
		[]string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "NewTimer", "NewTicker", "Tick"},
		"time comes in as an argument, or the simulation's clock would not be the only one",
	},
	"math/rand":    {nil, "the global generator cannot be seeded: use one made by New from the seed that came in"},
	"math/rand/v2": {nil, "the global generator cannot be seeded: use one made by New from the seed that came in"},
}

// Purity checks STYLE rule 2 on the pure packages; their tests may do as they like.
func Purity(r *Repository) []string {
	var faults []string
	for _, f := range r.Files {
		if f.Test || !slices.Contains(pure, f.Dir()) {
			continue
		}
		for _, spec := range f.Syntax.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			for banned, reason := range bannedImports {
				if name == banned || strings.HasPrefix(name, banned+"/") {
					faults = append(faults, r.complain(spec, "%s is pure and must not import %s: %s", f.Dir(), name, reason))
				}
			}
		}
		faults = append(faults, impureCode(r, f)...)
	}
	return faults
}

// impureCode finds go statements and banned calls.
func impureCode(r *Repository, f *File) []string {
	var faults []string
	ast.Inspect(f.Syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			faults = append(faults, r.complain(n, "%s is pure and must not start goroutines: the scheduler would decide what happens "+
				"first, and no seed could replay it", f.Dir()))
		case *ast.SelectorExpr:
			from := importOf(f, n.X)
			banned, ok := bannedCalls[from]
			if !ok || !n.Sel.IsExported() {
				return true
			}
			if slices.Contains(banned.names, n.Sel.Name) || banned.names == nil && globalRandom(n.Sel.Name) {
				faults = append(faults, r.complain(n, "%s is pure and must not use %s.%s: %s", f.Dir(), from, n.Sel.Name, banned.reason))
			}
		}
		return true
	})
	return faults
}

// globalRandom says whether a name of math/rand draws from the global generator: all but the types and what makes one.
func globalRandom(name string) bool {
	return !strings.HasPrefix(name, "New") && !slices.Contains([]string{"Rand", "Source", "PCG", "ChaCha8", "Zipf"}, name)
}

// importOf is the import path an expression names in this file; empty if it names no package.
func importOf(f *File, x ast.Expr) string {
	id, ok := x.(*ast.Ident)
	if !ok {
		return ""
	}
	for _, spec := range f.Syntax.Imports {
		name, _ := strconv.Unquote(spec.Path.Value)
		local := strings.TrimSuffix(name, "/v2")
		local = local[strings.LastIndex(local, "/")+1:]
		if spec.Name != nil {
			local = spec.Name.Name
		}
		if local == id.Name {
			return name
		}
	}
	return ""
}
