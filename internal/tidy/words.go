package tidy

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"unicode"
)

// wrongWords are words we do not use for a client or a server, and what we say instead (STYLE rule 7).
var wrongWords = map[string]string{
	"backend":    "server",
	"frontend":   "client",
	"conn":       "client, server, or socket for what is neither yet",
	"conns":      "clients, servers or sockets",
	"peer":       "client or server, or \"the other side\"",
	"upstream":   "server",
	"downstream": "client",
}

// rightNames are parts of identifiers that have such a word for a reason.
var rightNames = map[string]string{
	"BackendKeyData": "the message's name in the manual",
	"MaxClientConn":  "the setting max_client_conn, as in PgBouncer (rule 8)",
	"maxClientConn":  "the setting max_client_conn, as in PgBouncer (rule 8)",
	"SyscallConn":    "the method of syscall.Conn",
	"NetConn":        "the method by which crypto/tls and others show the socket below",
}

// wordsAllowed are words a package may use, because there they mean something else.
var wordsAllowed = map[string][]string{
	"eventloop": {"conn", "conns", "peer"}, // a Conn there is a socket in a loop; whose, it does not know
}

// Words checks STYLE rule 7 on what our packages declare, tests included. What others named may be used under its name.
func Words(r *Repository) []string {
	var faults []string
	for _, f := range r.Files {
		for _, id := range declared(f) {
			name := id.Name
			for right := range rightNames {
				name = strings.ReplaceAll(name, right, "")
			}
			for _, word := range splitWords(name) {
				if instead := wrongWords[word]; instead != "" && !slices.Contains(wordsAllowed[f.Dir()], word) {
					faults = append(faults, r.complain(id, "%s: not %q but %s (STYLE rule 7)", id.Name, word, instead))
				}
			}
		}
	}
	return faults
}

// declared is every identifier a file gives a name to, but for fields and parameters that are an eventloop.Conn and may say so.
func declared(f *File) []*ast.Ident {
	var ids []*ast.Ident
	ast.Inspect(f.Syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			ids = append(ids, n.Name)
		case *ast.TypeSpec:
			ids = append(ids, n.Name)
		case *ast.ValueSpec:
			ids = append(ids, n.Names...)
		case *ast.Field:
			if !isLoopSocket(f, n.Type) {
				ids = append(ids, n.Names...)
			}
		case *ast.ImportSpec:
			if n.Name != nil {
				ids = append(ids, n.Name)
			}
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				for _, e := range n.Lhs {
					ids = appendIdent(ids, e)
				}
			}
		case *ast.RangeStmt:
			if n.Tok == token.DEFINE {
				ids = appendIdent(appendIdent(ids, n.Key), n.Value)
			}
		}
		return true
	})
	return ids
}

// isLoopSocket says whether a type is eventloop.Conn or a pointer to one.
func isLoopSocket(f *File, t ast.Expr) bool {
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	s, ok := t.(*ast.SelectorExpr)
	return ok && s.Sel.Name == "Conn" && importOf(f, s.X) == Module+"/eventloop"
}

func appendIdent(ids []*ast.Ident, e ast.Expr) []*ast.Ident {
	if id, ok := e.(*ast.Ident); ok {
		return append(ids, id)
	}
	return ids
}

// splitWords is the words of a name in lower case: clientConn2 -> client, conn; TLSConn -> tls, conn; max_conn -> max, conn.
func splitWords(name string) []string {
	var words []string
	var word []rune
	end := func() {
		if len(word) > 0 {
			words = append(words, strings.ToLower(string(word)))
		}
		word = nil
	}
	runes := []rune(name)
	for i, c := range runes {
		if !unicode.IsLetter(c) {
			end()
			continue
		}
		// A capital begins a word after a small letter, and before one (the C of TLSConn).
		if unicode.IsUpper(c) && i > 0 && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
			end()
		}
		word = append(word, c)
	}
	end()
	return words
}
