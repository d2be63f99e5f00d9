// Package tidy owns the house rules that a program can check: which package may import which, which packages stay pure, how long a function
// may be, which words we use, what must be documented, what tests may not do. It must not know what any package does: it reads
// source text alone, and needs no exception for a rule but those listed beside the rule, each with its reason.
//
// Its tests run the rules over the repository; nothing else calls it. Read tidy.go, then the file of the rule that complains.
package tidy

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Module is the import path of the repository's root.
const Module = "github.com/hybridbouncer/hybridbouncer"

// File is one Go file of the repository.
type File struct {
	Path   string // from the repository's root, with slashes
	Source []byte
	Syntax *ast.File
	Test   bool // *_test.go
}

// Dir is the folder of the file from the repository's root; "." for the root.
func (f *File) Dir() string { return path.Dir(f.Path) }

// Repository is the Go source to be judged.
type Repository struct {
	Files     []*File
	positions *token.FileSet
}

// Load reads all Go files under root, except those of testdata, hidden folders and nested modules.
func Load(root string) (*Repository, error) {
	r := &Repository{positions: token.NewFileSet()}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name == root {
				return nil
			}
			_, err := os.Stat(filepath.Join(name, "go.mod"))
			if err == nil || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		source, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		return r.Add(filepath.ToSlash(relative), source)
	})
	return r, err
}

// Add parses one more file; an error says why it is no Go.
func (r *Repository) Add(name string, source []byte) error {
	syntax, err := parser.ParseFile(r.positions, name, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	r.Files = append(r.Files, &File{Path: name, Source: source, Syntax: syntax, Test: strings.HasSuffix(name, "_test.go")})
	return nil
}

// complain is one fault, as compilers print them.
func (r *Repository) complain(at ast.Node, format string, args ...any) string {
	p := r.positions.Position(at.Pos())
	return fmt.Sprintf("%s:%d: %s", p.Filename, p.Line, fmt.Sprintf(format, args...))
}

// Rule is one house rule: it returns a line per fault.
type Rule struct {
	Name  string
	Check func(*Repository) []string
}

// Rules is all of them.
var Rules = []Rule{
	{"package docs", PackageDocs},
	{"exported docs", ExportedDocs},
	{"imports", Imports},
	{"purity", Purity},
	{"function length", FunctionLength},
	{"words", Words},
	{"tests", TestHabits},
	{"printing", Printing},
	{"gofumpt", Formatting},
}
