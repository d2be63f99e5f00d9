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
	"strings"
)

// Exit codes. 2 is what the flag package and shells use for a wrong command line.
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

// process is what a subcommand has of the outside world.
type process struct {
	stdout, stderr io.Writer
	environ        []string
	flags          *flag.FlagSet // of the subcommand, with its usage
}

// commands in the order of the usage text; the first one is the default.
var commands = []command{
	{"run", "[-config FILE]", "run the pooler (also without a subcommand)", runPooler},
	{"check", "[-config FILE] [-print]", "tell every fault of the configuration, with line and key", runCheck},
	{"demo", "[-config FILE]", "start a throwaway PostgreSQL and both pools, and print how to connect", runDemo},
	{"top", "[-config FILE] [-url URL] [-once]", "show a running pooler in the terminal: what its page shows", runTop},
	{"version", "", "print version and build", runVersion},
}

func main() {
	os.Exit(dispatch(os.Args[1:], &process{stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ()}))
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
	fmt.Fprintf(p.stderr, "hybridbouncer: %v\n", err)
	return exitFault
}
