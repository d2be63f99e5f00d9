package tidy

import (
	"bytes"
	"go/ast"
	"strings"

	"mvdan.cc/gofumpt/format"
)

// TestHabits checks that tests neither sleep nor skip: a sleep is either too short on a busy machine or too long on every other
// (wait for the condition: pgtest.WaitFor, testing/synctest, the virtual clock), and a skipped test is one that nobody misses.
// What tests are built of, under internal, may not sleep either.
func TestHabits(r *Repository) []string {
	var faults []string
	for _, f := range r.Files {
		if !f.Test && !strings.HasPrefix(f.Path, "internal/") {
			continue
		}
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if importOf(f, s.X) == "time" && s.Sel.Name == "Sleep" {
				faults = append(faults, r.complain(s, "time.Sleep in a test: wait for the condition instead"))
			}
			return true
		})
		faults = append(faults, skips(r, f)...)
	}
	return faults
}

// skips finds calls of Skip, Skipf and SkipNow on a parameter of a type of package testing. (rapid's Skip, which only draws anew, is
// another.)
func skips(r *Repository, f *File) []string {
	var faults []string
	ast.Inspect(f.Syntax, func(n ast.Node) bool {
		var kind *ast.FuncType
		var body *ast.BlockStmt
		switch n := n.(type) {
		case *ast.FuncDecl:
			kind, body = n.Type, n.Body
		case *ast.FuncLit:
			kind, body = n.Type, n.Body
		}
		if kind == nil || body == nil {
			return true
		}
		testers := map[string]bool{}
		for _, p := range kind.Params.List {
			t := p.Type
			if star, ok := t.(*ast.StarExpr); ok {
				t = star.X
			}
			if s, ok := t.(*ast.SelectorExpr); ok && importOf(f, s.X) == "testing" {
				for _, name := range p.Names {
					testers[name.Name] = true
				}
			}
		}
		ast.Inspect(body, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && strings.HasPrefix(s.Sel.Name, "Skip") {
				if id, ok := s.X.(*ast.Ident); ok && testers[id.Name] && s.Sel.Name != "Skipped" {
					faults = append(faults, r.complain(s, "%s.%s: a test that does not run proves nothing; make what it needs", id.Name,
						s.Sel.Name))
				}
			}
			return true
		})
		return true
	})
	return faults
}

// Printing checks that nothing but commands prints: libraries return, the operator reads the log.
func Printing(r *Repository) []string {
	var faults []string
	for _, f := range r.Files {
		if f.Test || f.Syntax.Name.Name == "main" {
			continue
		}
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && importOf(f, s.X) == "fmt" && strings.HasPrefix(s.Sel.Name, "Print") {
				faults = append(faults, r.complain(s, "fmt.%s outside a command: return it, or log it", s.Sel.Name))
			}
			return true
		})
	}
	return faults
}

// Formatting checks that every file is as gofumpt would write it.
func Formatting(r *Repository) []string {
	var faults []string
	for _, f := range r.Files {
		formatted, err := format.Source(f.Source, format.Options{LangVersion: "go1.26", ModulePath: Module})
		if err != nil {
			faults = append(faults, f.Path+": "+err.Error())
		} else if !bytes.Equal(formatted, f.Source) {
			faults = append(faults, f.Path+": not as gofumpt writes it: go tool gofumpt -w "+f.Path)
		}
	}
	return faults
}
