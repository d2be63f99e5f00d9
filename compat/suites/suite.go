package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// suite is a driver's own tests.
type suite struct {
	name     string // as its users call it
	version  string
	database string
	setup    string   // SQL, run in the database beforehand
	leaves   string   // a database that the tests make, and may leave behind
	install  []string // shell commands that put the tests into an empty folder
	tool     tool
	env      func(t target) []string
}

// suites are all of them. The Go ones are at the version of our own go.mod.
var suites = []suite{
	{
		name: "pgx", version: "5.12.0", database: "pgx_test", tool: goTest{},
		setup:   "create extension hstore; create extension ltree; create domain uint64 as numeric(20, 0)",
		install: goModule("github.com/jackc/pgx/v5"),
		env: func(t target) []string {
			at := func(user, password string) string {
				return fmt.Sprintf("host=%s port=%s user=%s password=%s dbname=pgx_test sslmode=disable", t.host, t.port, user, password)
			}
			secure := fmt.Sprintf("host=localhost port=%s user=pgx_ssl password=secret dbname=pgx_test sslmode=verify-full sslrootcert=%s", t.port, t.caFile)
			return []string{
				"PGX_TEST_DATABASE=" + at("pgx_md5", "secret"), "PGX_TEST_TCP_CONN_STRING=" + at("pgx_md5", "secret"),
				"PGX_TEST_UNIX_SOCKET_CONN_STRING=host=" + t.socketDir + " port=" + t.port + " user=postgres dbname=pgx_test",
				"PGX_TEST_MD5_PASSWORD_CONN_STRING=" + at("pgx_md5", "secret"), "PGX_TEST_PLAIN_PASSWORD_CONN_STRING=" + at("pgx_pw", "secret"),
				"PGX_TEST_SCRAM_PASSWORD_CONN_STRING=" + at("pgx_scram", "secret"), "PGX_TEST_PGBOUNCER_CONN_STRING=" + at("pgx_md5", "secret"),
				"PGX_TEST_TLS_CONN_STRING=" + secure, "PGX_TEST_SCRAM_PLUS_CONN_STRING=" + secure + " channel_binding=require",
			}
		},
	},
	{
		name: "lib/pq", version: "1.12.3", database: "pqgo",
		tool:    goTest{skip: "^TestSSL"}, // they want a host called postgres
		install: goModule("github.com/lib/pq"),
		env: func(t target) []string {
			return []string{"PGHOST=localhost", "PGPORT=" + t.port, "PGUSER=pqgo", "PGDATABASE=pqgo", "PGSSLMODE=disable"}
		},
	},
	{
		name: "asyncpg", version: "0.32.0", database: "asyncpg_test", leaves: "asyncpg_intro_test",
		tool: pytest{arguments: "tests --ignore=tests/test_connect.py"}, // that starts clusters of its own, one with Kerberos
		install: append(pythonInstall("asyncpg==0.32.0", "pytest"),
			"env/bin/pip download --quiet --no-deps --no-binary asyncpg asyncpg==0.32.0", "tar xzf asyncpg-0.32.0.tar.gz",
			"mv asyncpg-0.32.0/tests . && rm -r asyncpg-0.32.0", "rm tests/test__*.py"), // those are about its source
		env: func(t target) []string {
			return []string{"PGHOST=" + t.host, "PGPORT=" + t.port, "PGUSER=postgres", "PGDATABASE=asyncpg_test"}
		},
	},
}

// goModule copies a module, its tests included, from where Go keeps it.
func goModule(path string) []string {
	return []string{`cp -R "$(cd "$SOURCE" && go mod download ` + path + ` && go list -m -f '{{.Dir}}' ` + path + `)"/. . && chmod -R u+w .`}
}

func pythonInstall(packages ...string) []string {
	return []string{"python3 -m venv env", "env/bin/pip install --quiet --disable-pip-version-check " + strings.Join(packages, " ")}
}

// installMax bounds one command of an installation, runMax one run of a suite.
const (
	installMax = 10 * time.Minute
	runMax     = 20 * time.Minute
)

// unpack puts the tests into a folder of their own, once.
func (s suite) unpack(work string) (folder string, err error) {
	folder = filepath.Join(work, strings.ReplaceAll(s.name, "/", "-")+"-"+s.version)
	if _, err := os.Stat(filepath.Join(folder, "complete")); err == nil {
		return folder, nil
	}
	source, err := os.Getwd()
	if err != nil {
		return "", err
	}
	if err := os.RemoveAll(folder); err != nil {
		return "", err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	for _, line := range append(s.install, "touch complete") {
		ctx, cancel := context.WithTimeout(context.Background(), installMax)
		cmd := exec.CommandContext(ctx, "sh", "-c", line)
		cmd.Dir = folder
		cmd.Env = append(os.Environ(), "SOURCE="+source)
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil {
			return "", fmt.Errorf("%s: %w: %.300s", line, err, out)
		}
	}
	return folder, nil
}

// run runs the tests that the pattern names; all if it is empty.
func (s suite) run(folder string, at target, pattern string) (results, error) {
	ctx, cancel := context.WithTimeout(context.Background(), runMax)
	defer cancel()
	line := s.tool.command(pattern)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Dir = folder
	cmd.WaitDelay = time.Second
	cmd.Env = append(os.Environ(), s.env(at)...)
	out, _ := cmd.CombinedOutput() // a test that fails is an error too
	got := s.tool.read(out)
	if len(got) == 0 {
		return nil, fmt.Errorf("no test was run: %.2000s", out)
	}
	return got, nil
}
