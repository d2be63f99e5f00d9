package tidy

import (
	"go/ast"
)

// functionLinesMax is the most lines a function may have, signature and closing brace included (STYLE rule 4).
const functionLinesMax = 70

// longFunctions are those that are longer, by file and name, with the lines they have: a ratchet. A function in here may only
// shrink, and then its line here shrinks with it; a new entry needs a reason in a comment (a flat switch whose arms are one call
// each is one).
var longFunctions = map[string]int{}

// FunctionLength checks STYLE rule 4 on everything but tests, whose length is mostly tables.
func FunctionLength(r *Repository) []string {
	return functionLength(r, longFunctions)
}

func functionLength(r *Repository, known map[string]int) []string {
	var faults []string
	seen := map[string]bool{}
	for _, f := range r.Files {
		if f.Test {
			continue
		}
		for _, d := range f.Syntax.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			lines := r.positions.Position(fn.End()).Line - r.positions.Position(fn.Pos()).Line + 1
			key := f.Path + " " + fn.Name.Name
			limit := known[key]
			switch {
			case limit == 0 && lines > functionLinesMax:
				faults = append(faults, r.complain(fn, "%s has %d lines, over %d: split it by what it does", fn.Name.Name, lines,
					functionLinesMax))
			case limit != 0 && lines > limit:
				faults = append(faults, r.complain(fn, "%s grew from %d lines to %d", fn.Name.Name, limit, lines))
			case limit != 0 && lines < limit:
				faults = append(faults, r.complain(fn, "%s shrank from %d lines to %d: say so in longFunctions", fn.Name.Name, limit,
					lines))
			}
			seen[key] = true
		}
	}
	for key := range known {
		if !seen[key] {
			faults = append(faults, "longFunctions knows "+key+", which is no more: remove it")
		}
	}
	return faults
}
