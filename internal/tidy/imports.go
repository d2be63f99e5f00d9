package tidy

import (
	"slices"
	"strconv"
	"strings"
)

// edges lists, for each of our packages, those of ours that it may import; DESIGN section 4 in a table. A package that is not here may import nothing of ours
// and must be added before it is used. "*": anything.
var edges = map[string][]string{
	"cmd/hybridbouncer": {"admin", "proxy", "proxy/stats", "config", "config/load", "config/pgbouncer", "internal/pgtest", "admin/top"}, // pgtest: the demo's throwaway PostgreSQL
	"admin":             {"admin/history", "proxy", "proxy/stats", "config"},
	"admin/history":     {},
	"proxy":             {"catalog", "proxy/listen", "proxy/stats", "proxy/dial", "proxy/sockets", "proxy/relay", "prepared", "pool", "auth", "eventloop", "sqltext", "protocol", "config", "proxy/login"},
	"proxy/listen":      {"proxy/relay", "sqltext", "protocol"},
	"admin/top":         {},
	"proxy/login":       {"proxy/sockets", "auth", "eventloop", "protocol", "config"},
	"proxy/dial":        {"proxy/sockets", "pool", "auth", "eventloop", "protocol", "config"},
	"proxy/sockets":     {"config"},
	"proxy/stats":       {"proxy/relay", "pool", "sqltext"},
	"proxy/relay":       {"catalog", "prepared", "sqltext", "protocol"},
	"prepared":          {},
	"pool":              {"sqltext", "internal/list"},
	"auth":              {"protocol"},
	"config":            {},
	"sqltext":           {"protocol"},
	"config/load":       {"config"},
	"config/pgbouncer":  {"config"},
	"config/reference":  {"config", "config/load"}, // load: the names of PgBouncer images
	"catalog":           {"sqltext"},
	"protocol":          {},
	"eventloop":         {},
	"bench":             {"*"},
	"bench/launch":      {"bench/measure", "bench/wire", "internal/pgtest", "config"}, // config: a test loads the file that launch writes
	"bench/measure":     {},
	"bench/wire":        {},
	"internal/list":     {},
	"internal/leak":     {}, // it would serve to test any pooler
	"internal/pgtest":   {"*"},
	"internal/sim":      {"*"},
	"internal/tidy":     {},
	"compat":            {"*"}, // it plays to the whole
	"compat/drivers":    {"*"},
	"compat/migration":  {"internal/pgtest"},
	"compat/suites":     {"*"},
}

// Imports checks STYLE rule 3: only the edges of the table. Tests may also import internal/..., config/load where their package may
// import config, and a package's own path from its external tests; those of cmd and bench, which run the whole, anything.
func Imports(r *Repository) []string {
	var faults []string
	for _, f := range r.Files {
		allowed, known := edges[f.Dir()]
		if !known && !f.Test {
			faults = append(faults, r.complain(f.Syntax.Name, "package %s is not in the table of internal/tidy/imports.go: say there "+
				"what it may import", f.Dir()))
		}
		for _, spec := range f.Syntax.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			to, ours := strings.CutPrefix(name, Module+"/")
			switch {
			case !ours, slices.Contains(allowed, "*"), slices.Contains(allowed, to):
			case f.Test && to == "config/load" && (f.Dir() == "config" || slices.Contains(allowed, "config")): // a test makes its Config from text
			case f.Test && (to == f.Dir() || strings.HasPrefix(to, "internal/") || strings.HasPrefix(f.Path, "cmd/")):
			default:
				faults = append(faults, r.complain(spec, "%s must not import %s (imports go one way: cmd -> admin -> proxy -> "+
					"{proxy/listen, proxy/login, proxy/dial, proxy/stats} -> {proxy/relay, pool, auth, eventloop} -> protocol; a new edge is a line in internal/tidy/imports.go)", f.Dir(), to))
			}
		}
	}
	return faults
}
