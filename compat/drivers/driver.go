package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// driver is one line of the matrix.
type driver struct {
	name    string // as its users call it
	version string
	how     string   // the settings that differ from the defaults, in words
	folder  string   // with its day; copied before it is installed
	setup   []string // shell commands that install it there
	command []string // the day
}

// drivers are all of them. Versions are pinned in their folders and repeated here for the table.
var drivers = []driver{
	{
		name: "pgx", version: "5.12.0", how: "defaults: statements prepared and cached", folder: "pgx",
		setup: []string{"go build -o day ."}, command: []string{"./day"},
	},
	{
		name: "lib/pq", version: "1.10.9", how: "database/sql", folder: "pq",
		setup: []string{"go build -o day ."}, command: []string{"./day"},
	},
	{
		name: "psycopg", version: "3.3.9", how: "prepare_threshold=0: all prepared", folder: "python",
		setup: pythonSetup, command: []string{"env/bin/python", "psycopg_day.py"},
	},
	{
		name: "asyncpg", version: "0.32.0", how: "defaults: statements prepared and cached", folder: "python",
		setup: pythonSetup, command: []string{"env/bin/python", "asyncpg_day.py"},
	},
	{
		name: "SQLAlchemy", version: "2.1.9", how: "on asyncpg, defaults", folder: "python",
		setup: pythonSetup, command: []string{"env/bin/python", "sqlalchemy_day.py"},
	},
	{
		name: "node-postgres", version: "8.23.1", how: "named statements", folder: "node",
		setup: []string{"npm install --no-audit --no-fund --loglevel=error"}, command: []string{"node", "pg_day.mjs"},
	},
	{
		name: "postgres.js", version: "3.4.9", how: "defaults: all prepared and pipelined", folder: "node",
		setup: []string{"npm install --no-audit --no-fund --loglevel=error"}, command: []string{"node", "postgres_day.mjs"},
	},
	{
		name: "JDBC", version: "42.7.8", how: "prepareThreshold=1", folder: "jdbc",
		setup: []string{
			"mvn -q -B dependency:get -Dartifact=org.postgresql:postgresql:42.7.8 -Dmaven.repo.local=repository",
			"cp repository/org/postgresql/postgresql/42.7.8/postgresql-42.7.8.jar driver.jar", "javac -cp driver.jar Day.java",
		},
		command: []string{"java", "-cp", "driver.jar:.", "Day"},
	},
	{
		name: "tokio-postgres", version: "0.7.18", how: "defaults", folder: "rust",
		setup: []string{"cargo build --quiet"}, command: []string{"target/debug/day"},
	},
}

var pythonSetup = []string{"test -x env/bin/python || python3 -m venv env", "env/bin/pip install --quiet --disable-pip-version-check -r requirements.txt"}

// setupMax bounds one command of an installation, dayMax one day.
const (
	setupMax = 10 * time.Minute
	dayMax   = 3 * time.Minute
)

// install copies the driver's folder into the work folder and runs its setup there.
func (d *driver) install(source, work string) error {
	folder := filepath.Join(work, d.folder)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	if out, err := exec.Command("cp", "-R", filepath.Join(source, d.folder)+"/.", folder).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w", out, err)
	}
	for _, line := range d.setup {
		ctx, cancel := context.WithTimeout(context.Background(), setupMax)
		cmd := exec.CommandContext(ctx, "sh", "-c", line)
		cmd.Dir = folder
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w: %.300s", line, err, bytes.TrimSpace(out))
		}
	}
	return nil
}

// day holds the result of each case.
type day map[string]result

// result is "ok", "failed" or "none" (the driver cannot), with the reason.
type result struct{ word, text string }

// play runs the day at an address. Tables and channels are the port's own.
func (d *driver) play(work, port, address string) day {
	ctx, cancel := context.WithTimeout(context.Background(), dayMax)
	defer cancel()
	host, number, _ := net.SplitHostPort(address)
	u := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Host: address, Path: "/" + user}
	cmd := exec.CommandContext(ctx, d.command[0], d.command[1:]...)
	cmd.Dir = filepath.Join(work, d.folder)
	if strings.HasPrefix(d.command[0], "./") || strings.Contains(d.command[0], "/") {
		cmd.Path, _ = filepath.Abs(filepath.Join(cmd.Dir, d.command[0]))
		cmd.Err = nil
	}
	cmd.WaitDelay = time.Second
	cmd.Env = append(os.Environ(), "DAY_URL="+u.String()+urlEnd, "DAY_TABLE=day_"+port,
		"DAY_JDBC=jdbc:postgresql://"+host+":"+number+"/"+user+urlEnd, "DAY_USER="+user, "DAY_PASSWORD="+password)
	out, err := cmd.CombinedOutput()
	results := day{}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	var rest []string
	for lines.Scan() {
		name, after, _ := strings.Cut(lines.Text(), " ")
		word, text, _ := strings.Cut(after, " ")
		if known(name) && (word == "ok" || word == "failed" || word == "none") {
			results[name] = result{word, text}
		} else {
			rest = append(rest, lines.Text())
		}
	}
	for _, c := range cases {
		if results[c.name].word == "" {
			results[c.name] = result{"failed", fmt.Sprintf("no answer (%v) %.300s", err, strings.Join(rest, " "))}
		}
	}
	return results
}

func (d day) summary() string {
	var failed []string
	for _, c := range cases {
		if r := d[c.name]; r.word == "failed" {
			failed = append(failed, fmt.Sprintf("\n      %s: %.300s", c.name, r.text))
		}
	}
	if failed == nil {
		return "ok"
	}
	return strings.Join(failed, "")
}
