package auth

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// ours are faults of lines that PostgreSQL takes and we do not; README and docs/SECURITY.md say so.
var ours = []string{
	"host names are not looked up", "the pooler does not know", "regular expressions", "is not supported; use trust", "there is no such map",
	"is not closed on its line", "there are map=, clientcert=", "only the common name", "use verify-full, or",
}

// TestHBALikePostgreSQL: PostgreSQL's own parser (pg_hba_file_rules) and ours agree on lines made at random.
func TestHBALikePostgreSQL(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{TLS: true})
	path := filepath.Join(c.DataDir, "pg_hba.conf")
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(words ...string) string { return words[random.IntN(len(words))] }
	first := "local all postgres trust\n"
	lines := []string{strings.TrimSpace(first)}
	names := []string{"all", `"all"`, "a", "a,b", "a, b ,c", `"a b"`, `a"b`, `a""b`, `"a""b",c`, "sameuser", "x#y", `"#"`, "é", `"+g"`, "", ",", "+g", "replication", `a" "b`}
	addresses := []string{
		"all", "samehost", "samenet", `"all"`, "10.0.0.1/32", "10.0.0.1/0", "10.0.0.1/33", "10.0.0.1 255.0.255.0", "10.0.0.1 ::1", "::1/128",
		"::1/129", "::1 ffff::", "fe80::1/10", "10.0.0.1", "host.example", "10.0.0.1/", "10.0.0.1/a", "::ffff:1.2.3.4/128", "1.2.3.4/8 255.0.0.0", "1.2.3.4/-1",
	}
	for range 3000 {
		parts := []string{pick("local", "host", "hostssl", "hostnossl", "hostnogssenc", "loca", `"host"`, "host,local"), pick(names...), pick(names...)}
		if !strings.HasPrefix(parts[0], "loca") || random.IntN(20) == 0 {
			parts = append(parts, pick(addresses...))
		}
		parts = append(parts, pick("trust", "reject", "md5", "password", "trust", "reject", "md5", "password", "scram-sha-256", "cert", "peer", "ident", `"trust"`, "trus", "", "md5,trust"))
		parts = append(parts, pick("", "", "", "", "", "", "", "map=m", "clientcert=verify-ca", "clientcert=verify-full", "clientcert=1", "clientname=CN", "clientname=XX", "x", "# c", "x=y", "map=m,clientname=CN"))
		lines = append(lines, strings.Join(parts, pick(" ", "\t", "  ")))
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	rows, err := c.Query(`select line_number, type, array_to_string(database, '|'), array_to_string(user_name, '|'), address, netmask, auth_method,
		error from pg_hba_file_rules`)
	if err != nil {
		t.Fatal(err)
	}
	theirs := map[int][]string{}
	for _, row := range rows {
		n, _ := strconv.Atoi(row[0])
		theirs[n] = row[1:]
	}
	agreed := 0
	for i, text := range lines {
		h, err := parseHBA("hba", "ident", files{"hba": text, "ident": "m a a"}.reader())
		row := theirs[i+1]
		switch {
		case err != nil && mentions(err, ours):
		case row == nil:
			if err == nil && len(h.rules) > 0 {
				t.Errorf("%s: PostgreSQL sees no rule", text)
			}
		case (err != nil) != (row[6] != ""):
			t.Errorf("%s: we say %v, PostgreSQL %q", text, err, row[6])
		case err == nil && ruleText(&h.rules[0]) != strings.Replace(strings.Join(row[:6], " / "), "hostnogssenc", "host", 1):
			t.Errorf("%s: we read %s, PostgreSQL %s", text, ruleText(&h.rules[0]), strings.Join(row[:6], " / "))
		case err == nil:
			agreed++
		}
	}
	if agreed < 200 {
		t.Errorf("only %d lines were good", agreed)
	}
}

func mentions(err error, words []string) bool {
	for _, w := range words {
		if strings.Contains(err.Error(), w) {
			return true
		}
	}
	return false
}

// ruleText is a rule as pg_hba_file_rules shows it.
func ruleText(r *hbaRule) string {
	kind := map[transport]string{overSocket: "local", overAny: "host", overTLS: "hostssl", overNoTLS: "hostnossl"}[r.transport]
	words := func(list []token) string {
		var all []string
		for _, w := range list {
			all = append(all, w.text)
		}
		return strings.Join(all, "|")
	}
	address, mask := "", ""
	if r.transport != overSocket {
		switch r.from.kind {
		case fromAnywhere:
			address = "all"
		case fromSameHost:
			address = "samehost"
		case fromSameNet:
			address = "samenet"
		case fromNetwork:
			address, mask = r.from.addr.String(), r.from.mask.String()
		}
	}
	method := ""
	for word, m := range hbaMethods {
		if m == r.method {
			method = word
		}
	}
	return strings.Join([]string{kind, words(r.databases), words(r.users), address, mask, method}, " / ")
}

// TestHBARefusesLikePostgreSQL: the same file, the same logins, the same words.
func TestHBARefusesLikePostgreSQL(t *testing.T) {
	const file = `
local  "a b"      all            trust
host   sameuser   all            127.0.0.1/32  trust
host   all        "no,one"       samehost      reject
host   postgres   eve            127.0.0.0 255.0.0.0 reject
host   "sameuser" +nobody        all           trust
host   replication alice         all           trust
local  "replication",postgres all              trust
host   bob,replication no,one    all           reject
host   all        bob,eve        samenet       trust
`
	text := strings.ReplaceAll(file, "+nobody", "nobody")
	c := pgtest.New(t, pgtest.Options{HBA: text, Settings: map[string]string{"max_wal_senders": "90"}})
	users := []string{"alice", "bob", "eve", "no,one", "nobody"}
	databases := []string{"postgres", "bob", "alice", "sameuser", "a b", "replication"}
	for _, u := range users {
		if err := c.Exec(fmt.Sprintf("create role %q login replication", u)); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range databases[1:] {
		if err := c.Exec(fmt.Sprintf("create database %q", d)); err != nil {
			t.Fatal(err)
		}
	}
	h, err := parseHBA("hba", "", files{"hba": "local all postgres trust\n" + text}.reader())
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{c.SocketDir, c.Host} {
		o := from("127.0.0.1")
		if host == c.SocketDir {
			o = from("")
		}
		for _, u := range users {
			for i := range 3 * len(databases) {
				d, replication := databases[i/3], [...]string{"false", "database", "true"}[i%3]
				theirs := connect(fmt.Sprintf("host=%s port=%d user='%s' dbname='%s' sslmode=disable replication=%s", host, c.Port, u, d, replication))
				_, err := h.match(&Login{User: u, Database: d, Physical: replication == "true", Origin: o})
				var pe *pgconn.PgError
				switch {
				case theirs == nil && err == nil:
				case theirs == nil, err == nil, !errors.As(theirs, &pe), pe.Code != "28000", pe.Error() != "FATAL: "+err.Error():
					t.Errorf("%s %s %s replication=%s: PostgreSQL says %v, we say %v", host, u, d, replication, theirs, err)
				}
			}
		}
	}
}

// connect is what PostgreSQL says to a login.
func connect(dsn string) error {
	pc, err := pgconn.Connect(context.Background(), dsn)
	if err == nil {
		_ = pc.Close(context.Background())
	}
	return err
}
