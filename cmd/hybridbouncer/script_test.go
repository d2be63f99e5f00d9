package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"hybridbouncer": main, pgbouncerName: main})
}

// The scripts in testdata run the program as a user does. Beside testscript's own commands they have:
//
//	start FILE NAME=VALUE... ARG...
//	                         run hybridbouncer ARG... in the background; its output goes to FILE, and the script's end kills it
//	startas PROGRAM FILE NAME=VALUE... ARG...
//	                         the same under another name
//	address FILE LISTENER VAR
//	                         set VAR to the address of a listener, as logged in FILE
//	adminurl FILE VAR        set VAR to the URL of the admin endpoint, as logged in FILE
//	waitfor FILE REGEXP      wait until FILE matches
//	signal FILE NAME         send a signal to what start FILE began
//	signalpid FILE NAME      send a signal to the process whose number FILE contains
//	waitgone FILE            wait until there is no FILE
//	exit FILE CODE           wait until it has ended, and compare its exit code
//	query FILE LISTENER SQL  run SQL as app on the listener whose address FILE logs; the first value goes to stdout
//	get FILE PATH            ask the admin endpoint whose address FILE logs; the answer goes to stdout
//	begin FILE LISTENER      open a transaction there, and leave it open
//	commit                   end that one, and log out
//	readme FILE              run the quick start of README.md against the demo whose addresses FILE logs
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			shipped, err := filepath.Abs("../../config.toml")
			if err != nil {
				return err
			}
			e.Setenv("SHIPPED", shipped)
			h := &harness{programs: map[string]*program{}}
			e.Values[harnessKey{}] = h
			e.Defer(h.end)
			e.Defer(func() { endDaemon(filepath.Join(e.WorkDir, "pid")) })
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"startas": cmdStartAs, "signalpid": cmdSignalPID, "waitgone": cmdWaitGone,
			"start": cmdStart, "address": cmdAddress, "adminurl": cmdAdminURL, "waitfor": cmdWaitFor, "signal": cmdSignal, "exit": cmdExit,
			"query": cmdQuery, "get": cmdGet, "begin": cmdBegin, "commit": cmdCommit,
			"readme": cmdReadme,
		},
	})
}

// stepLimit bounds every wait of a script. It is long because a machine may be busy with other tests.
const stepLimit = 60 * time.Second

// harness is what one script has running.
type harness struct {
	programs map[string]*program // by log file
	client   *pgconn.PgConn      // with a transaction open
}

type harnessKey struct{}

type program struct {
	process *os.Process
	state   chan *os.ProcessState
}

func harnessOf(ts *testscript.TestScript) *harness { return ts.Value(harnessKey{}).(*harness) }

// end kills what the script left running.
func (h *harness) end() {
	if h.client != nil {
		_ = h.client.Close(context.Background())
	}
	for _, p := range h.programs {
		_ = p.process.Kill()
		<-p.state
	}
}

// endDaemon kills the process whose pidfile a script left behind.
func endDaemon(pidfile string) {
	if text, err := os.ReadFile(pidfile); err == nil {
		if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

func want(ts *testscript.TestScript, args []string, least int, usage string) {
	if len(args) < least {
		ts.Fatalf("usage: %s", usage)
	}
}

func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, args, 1, "start FILE ARG...")
	cmdStartAs(ts, neg, append([]string{"hybridbouncer"}, args...))
}

func cmdStartAs(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, 2, "startas PROGRAM FILE ARG...")
	name, log, args := args[0], args[1], args[2:]
	environ := []string{"PATH=" + ts.Getenv("PATH"), "HOME=" + ts.Getenv("HOME"), "TMPDIR=" + os.TempDir()}
	for len(args) > 0 && strings.Contains(args[0], "=") {
		environ, args = append(environ, args[0]), args[1:]
	}
	output, err := os.Create(ts.MkAbs(log))
	ts.Check(err)
	defer output.Close()
	process, err := os.StartProcess(lookPath(ts, name), append([]string{name}, args...), &os.ProcAttr{
		Dir: ts.MkAbs("."), Env: environ, Files: []*os.File{nil, output, output},
	})
	ts.Check(err)
	p := &program{process: process, state: make(chan *os.ProcessState, 1)}
	go func() {
		state, _ := process.Wait()
		p.state <- state
	}()
	harnessOf(ts).programs[log] = p
}

// lookPath finds the program testscript made of this test.
func lookPath(ts *testscript.TestScript, name string) string {
	for _, directory := range filepath.SplitList(ts.Getenv("PATH")) {
		path := filepath.Join(directory, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path
		}
	}
	ts.Fatalf("%s is not in PATH", name)
	return ""
}

func cmdWaitFor(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, 2, "waitfor FILE REGEXP")
	re, err := regexp.Compile(args[1])
	ts.Check(err)
	poll(ts, args[0]+" does not match "+args[1], func() bool {
		text, err := os.ReadFile(ts.MkAbs(args[0])) // which need not be there yet
		return err == nil && re.Match(text)
	}, args[0])
}

// poll waits for a condition; when it does not come about the script fails with the program's output.
func poll(ts *testscript.TestScript, what string, condition func() bool, output string) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(stepLimit); !condition(); <-tick.C {
		if time.Now().After(deadline) {
			ts.Fatalf("%s; the output is:\n%s", what, ts.ReadFile(output))
		}
	}
}

var signalNames = map[string]os.Signal{"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM, "INT": syscall.SIGINT}

func cmdSignal(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, 2, "signal FILE NAME")
	ts.Check(harnessOf(ts).programs[args[0]].process.Signal(signalNames[args[1]]))
}

func cmdSignalPID(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, 2, "signalpid FILE NAME")
	pid, err := strconv.Atoi(strings.TrimSpace(ts.ReadFile(args[0])))
	ts.Check(err)
	ts.Check(syscall.Kill(pid, signalNames[args[1]].(syscall.Signal)))
}

func cmdWaitGone(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, 1, "waitgone FILE")
	poll(ts, args[0]+" is still there", func() bool {
		_, err := os.Stat(ts.MkAbs(args[0]))
		return os.IsNotExist(err)
	}, args[0])
}

func cmdExit(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, 2, "exit FILE CODE")
	p := harnessOf(ts).programs[args[0]]
	select {
	case state := <-p.state:
		p.state <- state
		if have := strconv.Itoa(state.ExitCode()); have != args[1] {
			ts.Fatalf("%s ended with %s (%s), want %s; the output is:\n%s", args[0], have, state, args[1], ts.ReadFile(args[0]))
		}
	case <-time.After(stepLimit):
		ts.Fatalf("%s still runs; the output is:\n%s", args[0], ts.ReadFile(args[0]))
	}
}

// addressOf gives the address of a listener, as the program logged it.
func addressOf(ts *testscript.TestScript, file, listener string) string {
	found := regexp.MustCompile(`listener=` + listener + ` .*addresses=(\S+:\d+)`).FindStringSubmatch(ts.ReadFile(file))
	if found == nil {
		ts.Fatalf("no address of %s in:\n%s", listener, ts.ReadFile(file))
	}
	return found[1]
}

func cmdAddress(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, 3, "address FILE LISTENER VAR")
	ts.Setenv(args[2], addressOf(ts, args[0], args[1]))
}

func cmdAdminURL(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, 2, "adminurl FILE VAR")
	ts.Setenv(args[1], adminOf(ts, args[0]))
}

// connect logs in as app.
func connect(ts *testscript.TestScript, file, listener string) *pgconn.PgConn {
	ctx, cancel := context.WithTimeout(context.Background(), stepLimit)
	defer cancel()
	client, err := pgconn.Connect(ctx, fmt.Sprintf("postgres://app:app@%s/app?sslmode=disable", addressOf(ts, file, listener)))
	ts.Check(err)
	return client
}

func run(ts *testscript.TestScript, client *pgconn.PgConn, sql string) string {
	ctx, cancel := context.WithTimeout(context.Background(), stepLimit)
	defer cancel()
	results, err := client.Exec(ctx, sql).ReadAll()
	ts.Check(err)
	if len(results) == 0 || len(results[0].Rows) == 0 {
		return ""
	}
	return string(results[0].Rows[0][0])
}

func cmdQuery(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, 3, "query FILE LISTENER SQL")
	client := connect(ts, args[0], args[1])
	defer func() { _ = client.Close(context.Background()) }()
	fmt.Fprintln(ts.Stdout(), run(ts, client, args[2]))
}

// adminOf gives the URL of the admin endpoint, as the program logged it, without a path.
func adminOf(ts *testscript.TestScript, file string) string {
	found := regexp.MustCompile(`metrics=(http://\S+)/metrics`).FindStringSubmatch(ts.ReadFile(file))
	if found == nil {
		ts.Fatalf("no admin endpoint in:\n%s", ts.ReadFile(file))
	}
	return found[1]
}

func cmdGet(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, 2, "get FILE PATH")
	client := http.Client{Timeout: stepLimit}
	answer, err := client.Get(adminOf(ts, args[0]) + args[1])
	ts.Check(err)
	defer answer.Body.Close()
	_, err = io.Copy(ts.Stdout(), answer.Body)
	ts.Check(err)
}

func cmdBegin(ts *testscript.TestScript, _ bool, args []string) {
	want(ts, args, 2, "begin FILE LISTENER")
	h := harnessOf(ts)
	h.client = connect(ts, args[0], args[1])
	run(ts, h.client, "begin; select 1")
}

func cmdCommit(ts *testscript.TestScript, _ bool, _ []string) {
	h := harnessOf(ts)
	run(ts, h.client, "commit")
	_ = h.client.Close(context.Background())
	h.client = nil
}

// The demo needs PostgreSQL's programs; say so before a script fails with less to go by.
func TestPostgreSQLIsInstalled(t *testing.T) {
	if _, err := pgtest.BinDir(); err != nil {
		t.Fatal(err)
	}
}
