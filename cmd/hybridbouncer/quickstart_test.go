package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// quickStartMark stands in README.md on the line above each block that readme runs.
const quickStartMark = "<!-- A test runs each line of this block: TestScripts/quick_start. -->"

// cmdReadme does as README.md says, against the demo whose output FILE has: it runs each line of the marked blocks by sh, and logs in by
// every connection string. The ports that README.md promises are replaced by those that the demo got.
func cmdReadme(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, 1, "readme FILE")
	text, err := os.ReadFile("../../README.md")
	ts.Check(err)
	lines, err := quickStart(string(text))
	ts.Check(err)
	ports := strings.NewReplacer(
		"127.0.0.1:6432", addressOf(ts, args[0], "transactional"),
		"127.0.0.1:6433", addressOf(ts, args[0], "session"),
		"127.0.0.1:9127", strings.TrimPrefix(adminOf(ts, args[0]), "http://"),
	)
	psql, err := pgtest.Program("psql")
	ts.Check(err)
	for _, line := range lines {
		ts.Logf("README.md: %s", line)
		ctx, cancel := context.WithTimeout(context.Background(), stepLimit)
		cmd := exec.CommandContext(ctx, "sh", "-c", ports.Replace(line))
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(psql)+":"+os.Getenv("PATH"), "PGCONNECT_TIMEOUT=30")
		output, err := cmd.CombinedOutput()
		cancel()
		if err != nil || len(output) == 0 {
			ts.Fatalf("README.md: %s: error %v, output %q", line, err, output)
		}
	}
	for _, url := range connectionStrings(string(text)) {
		ctx, cancel := context.WithTimeout(context.Background(), stepLimit)
		client, err := pgconn.Connect(ctx, ports.Replace(url))
		if err != nil {
			ts.Fatalf("README.md: %s: %v", url, err)
		}
		ts.Check(client.Close(ctx))
		cancel()
	}
}

// quickStart gives the lines of the marked blocks of a Markdown text. It is an error if there are none, or if they leave out psql on one of
// the two ports or the HTTP endpoint: a quick start that shows less proves nothing.
func quickStart(markdown string) ([]string, error) {
	var lines []string
	for _, after := range strings.Split(markdown, quickStartMark+"\n")[1:] {
		block, fenced := strings.CutPrefix(after, "```sh\n")
		block, _, closed := strings.Cut(block, "```\n")
		if !fenced || !closed {
			return nil, fmt.Errorf("no ```sh block follows %s", quickStartMark)
		}
		for line := range strings.Lines(block) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				lines = append(lines, line)
			}
		}
	}
	all := strings.Join(lines, "\n")
	for _, shown := range []string{`(?m)^psql .*127\.0\.0\.1:6432/`, `(?m)^psql .*127\.0\.0\.1:6433/`, `(?m)^curl .*:9127/metrics`, `(?m)^curl .*:9127/health`} {
		if !regexp.MustCompile(shown).MatchString(all) {
			return nil, fmt.Errorf("no line of the quick start matches %s", shown)
		}
	}
	return lines, nil
}

// connectionStrings gives every URL of PostgreSQL in a text, as libpq writes it (SQLAlchemy puts the driver's name into the scheme).
func connectionStrings(text string) []string {
	var found []string
	for _, url := range regexp.MustCompile(`postgres(?:ql)?(?:\+\w+)?://[^\s"'`+"`"+`]+`).FindAllString(text, -1) {
		_, rest, _ := strings.Cut(url, "://")
		found = append(found, "postgres://"+rest)
	}
	return found
}

// TestQuickStartCanFail: a quick start that shows nothing, or less than it should, is an error.
func TestQuickStartCanFail(t *testing.T) {
	const whole = "psql postgres://127.0.0.1:6432/a\npsql postgres://127.0.0.1:6433/a\ncurl 127.0.0.1:9127/metrics\ncurl 127.0.0.1:9127/health/db\n"
	block := func(lines string) string { return "# A title\n" + quickStartMark + "\n```sh\n" + lines + "```\n" }
	if lines, err := quickStart(block("# remark\n\n"+whole) + "```sh\nnot marked\n```\n"); err != nil || len(lines) != 4 {
		t.Errorf("got %q, %v", lines, err)
	}
	for _, text := range []string{
		"", "```sh\n" + whole + "```\n", quickStartMark + "\n" + whole, block(strings.ReplaceAll(whole, "6433", "6432")),
		block(strings.ReplaceAll(whole, "metrics", "healthz")), quickStartMark + "\n```sh\n" + whole,
	} {
		if lines, err := quickStart(text); err == nil {
			t.Errorf("no error for %q, but %q", text, lines)
		}
	}
}
