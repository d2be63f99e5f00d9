package tidy

import (
	"go/ast"
	"path"
	"slices"
	"strings"
)

// fileLinesMax is the length from which a file must be named in its package's doc, which then says why it is one file (STYLE
// rule 4).
const fileLinesMax = 500

// PackageDocs checks STYLE rule 5: one file of each package has a doc that says what the package owns and must not know; and rule 4's
// limit for files.
func PackageDocs(r *Repository) []string {
	docs, first := map[string]string{}, map[string]*File{}
	for _, f := range r.Files {
		if f.Test {
			continue
		}
		if first[f.Dir()] == nil {
			first[f.Dir()] = f
		}
		docs[f.Dir()] += f.Syntax.Doc.Text()
	}
	var faults []string
	for _, f := range r.Files {
		doc := strings.Join(strings.Fields(docs[f.Dir()]), " ")
		if f == first[f.Dir()] {
			for _, words := range []string{"owns", "must not know"} {
				if !strings.Contains(doc, words) {
					faults = append(faults, r.complain(f.Syntax.Name, "the doc of package %s has no %q: say what it owns, "+
						"what it must not know, who may call it, which file to read first", f.Dir(), words))
				}
			}
		}
		lines := strings.Count(string(f.Source), "\n")
		if !f.Test && lines > fileLinesMax && !strings.Contains(doc, path.Base(f.Path)) {
			faults = append(faults, r.complain(f.Syntax.Name, "%d lines, over %d: split it by subject, or have the package doc say "+
				"why %s is one file", lines, fileLinesMax, path.Base(f.Path)))
		}
	}
	return faults
}

// selfExplaining are methods whose meaning an interface of the standard library fixes.
var selfExplaining = []string{
	"Error", "Is", "As", "Unwrap", "String", "GoString", "Format", "Len", "Less", "Swap", "Push", "Pop", "Read", "Write",
	"MarshalJSON", "UnmarshalJSON", "MarshalText", "UnmarshalText", "ServeHTTP", "Describe", "Collect", "LogValue", "Set",
	"Timeout", "Temporary",
}

// ExportedDocs checks that everything exported, struct fields and interface methods excepted, has a comment.
func ExportedDocs(r *Repository) []string {
	var faults []string
	for _, f := range r.Files {
		if f.Test {
			continue
		}
		for _, d := range f.Syntax.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Doc == nil && d.Name.IsExported() && !(d.Recv != nil && exempt(d)) {
					faults = append(faults, r.complain(d, "exported %s has no comment", d.Name.Name))
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if name := undocumented(d, s); name != "" {
						faults = append(faults, r.complain(s, "exported %s has no comment", name))
					}
				}
			}
		}
	}
	return faults
}

// exempt says whether a method needs no comment: it belongs to a type nobody outside sees, or is of selfExplaining.
func exempt(d *ast.FuncDecl) bool {
	t := d.Recv.List[0].Type
	if s, ok := t.(*ast.StarExpr); ok {
		t = s.X
	}
	if g, ok := t.(*ast.IndexExpr); ok {
		t = g.X
	}
	receiver, ok := t.(*ast.Ident)
	return ok && !receiver.IsExported() || slices.Contains(selfExplaining, d.Name.Name)
}

// undocumented is the name of an exported type, constant or variable without a comment before it, behind it, or before its group;
// empty if all is well.
func undocumented(d *ast.GenDecl, s ast.Spec) string {
	switch s := s.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() && s.Doc == nil && s.Comment == nil && d.Doc == nil {
			return s.Name.Name
		}
	case *ast.ValueSpec:
		for _, n := range s.Names {
			if n.IsExported() && s.Doc == nil && s.Comment == nil && d.Doc == nil {
				return n.Name
			}
		}
	}
	return ""
}
