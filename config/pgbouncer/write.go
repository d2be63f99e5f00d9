package pgbouncer

import (
	"fmt"
	"strings"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// TOML returns the translation as a configuration file. The comment behind each setting names the line that it came from; the notes
// stand above. The file contains the passwords of the ini files.
func (i *Imported) TOML() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Written by \"hybridbouncer import %s\".\n", i.Config.File)
	b.WriteString("# The comment behind a setting names the line it came from. A setting that is not here has its default: docs/settings.md.\n")
	if len(i.Notes) > 0 {
		b.WriteString("#\n# What differs, and what has no equal:\n")
	}
	for _, n := range i.Notes {
		b.WriteString("#   " + strings.ReplaceAll(n.String(), "\n", " ") + "\n")
	}
	group := ""
	for _, t := range i.Config.Targets() {
		section := strings.TrimSuffix(strings.TrimSuffix(t.Path, t.Key.Name), ".")
		if section != group {
			group = section
			i.header(&b, t, section)
		}
		if source, set := i.sources[t.Path]; set {
			fmt.Fprintf(&b, "%-43s # %s\n", t.Key.Name+" = "+config.Show(t.Field()), source)
		}
	}
	return b.String()
}

// header writes the header of a section that sets something. An empty database is written too: its name is allowed.
func (i *Imported) header(b *strings.Builder, t config.Target, section string) {
	set := i.sources[section] != ""
	for path := range i.sources {
		set = set || strings.HasPrefix(path, section+".")
	}
	if !set {
		return
	}
	header := "[" + section + "]"
	if _, isListener := t.Section.(*config.Listener); isListener {
		header = "[[listener]]"
	}
	if source := i.sources[section]; source != "" {
		header = fmt.Sprintf("%-43s # %s", header, source)
	}
	b.WriteString("\n" + header + "\n")
}
