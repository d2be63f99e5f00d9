// Command hybridbouncer is the program: it owns the command line, the signals and the order in which the parts start and stop. It
// must not know how any part works, and nothing may import it.
//
// One file is one subcommand. Read run.go first.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Exit codes. The flag package and shells use 2 for a wrong command line.
const (
	exitOK    = 0
	exitFault = 1
	exitUsage = 2
)

// command is one subcommand.
type command struct {
	name  string
	args  string
	brief string
	run   func(p *process, args []string) error
}

// process gives a subcommand its outside world.
type process struct {
	stdout, stderr io.Writer
	environ        []string
	flags          *flag.FlagSet // of the subcommand, with its usage
	ini            bool          // the configuration is PgBouncer's ini file
	verbose        bool          // log at level debug, whatever the configuration says
}

// commands in the order of the usage text; the first one is the default.
var commands = []command{
	{"run", "[-config FILE]", "run the pooler (also without a subcommand)", runPooler},
	{"check", "[-config FILE] [-print]", "list every fault of the configuration, with line and key", runCheck},
	{"import", "[-o FILE] INI...", "translate PgBouncer's ini files, one for each port, to a configuration", runImport},
	{"demo", "[-config FILE]", "start a throwaway PostgreSQL and both pools, and print how to connect", runDemo},
	{"top", "[-config FILE] [-url URL] [-once]", "show a running pooler in the terminal: what its page shows", runTop},
	{"version", "", "print version and build", runVersion},
}

func main() {
	p := &process{stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ()}
	if filepath.Base(os.Args[0]) == pgbouncerName {
		os.Exit(p.report(runAsPgBouncer(p, os.Args[1:])))
	}
	os.Exit(dispatch(os.Args[1:], p))
}

// dispatch finds the subcommand, runs it and gives the exit code.
func dispatch(args []string, p *process) int {
	name := commands[0].name
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	} else if len(args) > 0 {
		switch strings.TrimLeft(args[0], "-") {
		case "h", "help":
			name = "help"
		case "version", "V":
			name, args = "version", args[1:]
		}
	}
	if name == "help" {
		usage(p.stdout)
		return exitOK
	}
	for _, c := range commands {
		if c.name == name {
			return p.report(c.run(p.with(c), args))
		}
	}
	fmt.Fprintf(p.stderr, "hybridbouncer: there is no subcommand %q\n\n", name)
	usage(p.stderr)
	return exitUsage
}

// errUsage ends a subcommand whose flags were wrong; the flag package has said so.
var errUsage = errors.New("wrong command line")

// report prints the error of a subcommand and gives the exit code.
func (p *process) report(err error) int {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.Is(err, errUsage):
		return exitUsage
	}
	name := "hybridbouncer"
	if p.ini {
		name = pgbouncerName
	}
	fmt.Fprintf(p.stderr, "%s: %v\n", name, err)
	return exitFault
}
