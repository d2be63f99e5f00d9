package pgbouncer

import (
	"fmt"
	"strings"
)

//go:generate go test . -run TestDocument -rewrite

const documentIntro = `# PgBouncer's settings, and what becomes of them

` + "`go generate ./config/pgbouncer`" + ` prints this page from the tables that ` + "`hybridbouncer import`" + ` works with; a test fails when the two differ. [MIGRATING.md](MIGRATING.md) says how to migrate. The keys are those of PgBouncer 1.25 and 1.26.

| word | meaning |
|---|---|
| same | our setting does the same |
| differs | our setting is close; the import tells you the difference |
| nothing to do | the import accepts it; there is nothing to set here |
| no equal | this version has no such feature; the import tells you |

The import reads the files as PgBouncer does:

- A file needs ` + "`[pgbouncer]`" + `. Each file becomes a listener. Its name is the pool mode's (transactional, session, statement), or the file's if two files have the same mode.
- A repeated ` + "`[pgbouncer]`" + ` sets every setting back to PgBouncer's default, as PgBouncer does. The import names each setting that loses its value so.
- ` + "`%include`" + ` and relative file names count from the working directory. The written file has absolute names.
- A number may be decimal, octal (0777) or hexadecimal (0x20). A time is a number of seconds, tcp_user_timeout a number of milliseconds.

The import stops, and writes nothing, where the behaviour would change without a word:

| what | why |
|---|---|
| auth_type any (unless every database has user=), ldap, pam | not supported |
| two files with different auth_type, auth_file, auth_query, auth_user, server_tls_* | one setting for all listeners here |
| one database name with different servers in two files | a database is the same on all listeners here |
| default_pool_size = 0, pool_size = 0 | every pool has a limit here |
| host=a,b without load_balance_hosts=disable | hosts are tried in their order here, PgBouncer takes them in turn |
| no database at all | without [databases], every name is allowed here |
`

// Document returns docs/PGBOUNCER.md: every key of PgBouncer with our setting.
func Document() string {
	var b strings.Builder
	b.WriteString(documentIntro)
	b.WriteString("\n## [pgbouncer]\n\n| key | type | default | here | how | note |\n|---|---|---|---|---|---|\n")
	for n := range settingRows {
		row := &settingRows[n]
		note := row.why
		if row.key == "auth_query" {
			note = "our default names everything with its schema"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", row.key, row.kind, codeOrNone(row.fallback), codeOrNone(ourName(row.to)), row.match, note)
	}
	connectionTable(&b, "\n## [databases]\n\n", "databases.NAME.", databaseRows)
	connectionTable(&b, "\n## [users]\n\n", "users.NAME.", userRows)
	b.WriteString("\n## [peers]\n\nno equal: one process uses all cores.\n")
	return b.String()
}

func connectionTable(b *strings.Builder, title, prefix string, rows []connectionRow) {
	b.WriteString(title + "| key | here | how | note |\n|---|---|---|---|\n")
	for n := range rows {
		row := &rows[n]
		to := ""
		if row.to != "" {
			to = prefix + row.to
		}
		note := row.why
		if row.merge == perFile && row.to != "" {
			note = "two files with different values: " + strings.Replace(prefix, "NAME", "NAME.LISTENER", 1) + row.to
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", row.key, codeOrNone(to), row.match, note)
	}
}

// ourName writes a path as people read it.
func ourName(path string) string {
	if key, isListener := strings.CutPrefix(path, "listener."); isListener {
		return key + " of [[listener]]"
	}
	return path
}

func codeOrNone(text string) string {
	if text == "" {
		return ""
	}
	return "`" + strings.ReplaceAll(text, "|", "\\|") + "`"
}
