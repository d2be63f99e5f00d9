package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/config/load"
)

// usage prints the subcommands.
func usage(w io.Writer) {
	fmt.Fprint(w, "hybridbouncer: two PostgreSQL pools, for quick transactions and long sessions, in one process\n\nusage:\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  hybridbouncer %-32s %s\n", strings.TrimSpace(c.name+" "+c.args), c.brief)
	}
	fmt.Fprint(w, "\nSignals of a running one: SIGHUP reads the configuration again; SIGTERM and SIGINT let transactions finish, a second\none stops at once.\n")
}

// with gives the process the flag set of a subcommand.
func (p *process) with(c command) *process {
	copied := *p
	copied.flags = flag.NewFlagSet("hybridbouncer "+c.name, flag.ContinueOnError)
	copied.flags.SetOutput(p.stderr)
	copied.flags.Usage = func() {
		fmt.Fprintf(p.stderr, "usage: hybridbouncer %s\n  %s\n", strings.TrimSpace(c.name+" "+c.args), c.brief)
		copied.flags.PrintDefaults()
	}
	return &copied
}

// parse reads the flags. It refuses arguments behind them.
func (p *process) parse(args []string) error {
	if err := p.flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return errUsage
	}
	if p.flags.NArg() > 0 {
		fmt.Fprintf(p.stderr, "%s: %q is no flag; name a configuration file with -config\n", p.flags.Name(), p.flags.Arg(0))
		return errUsage
	}
	return nil
}

// parseFiles reads the flags and returns the files named behind, between or before them.
func (p *process) parseFiles(args []string) (files []string, err error) {
	for {
		if err := p.flags.Parse(args); errors.Is(err, flag.ErrHelp) {
			return nil, err
		} else if err != nil {
			return nil, errUsage
		}
		if p.flags.NArg() == 0 {
			return files, nil
		}
		files, args = append(files, p.flags.Arg(0)), p.flags.Args()[1:]
	}
}

// configFlag adds -config.
func (p *process) configFlag() *string {
	return p.flags.String("config", "", "configuration `FILE` (default: $"+load.EnvFile+", else "+strings.Join(configPaths, ", else ")+", else none)")
}

// configPaths lists the files to look for when no file is named.
var configPaths = []string{"config.toml", "/etc/hybridbouncer/config.toml"}

// configPath returns the file to read: the named one, else the first of configPaths that exists; "" for none.
func (p *process) configPath(named string) string {
	if named != "" {
		return named
	}
	for _, entry := range p.environ {
		if path, ok := strings.CutPrefix(entry, load.EnvFile+"="); ok && path != "" {
			return path
		}
	}
	for _, path := range configPaths {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

// load reads the configuration and counts its faults.
func (p *process) load(path string) (*config.Config, error) {
	read := func() (*config.Config, error) { return load.Config(path, p.environ) }
	if p.ini {
		read = func() (*config.Config, error) { return p.loadIni(path) }
	}
	c, err := read()
	var faults config.Problems
	if errors.As(err, &faults) {
		what := path
		if what == "" {
			what = "the environment (there is no configuration file)"
		}
		count := "1 fault"
		if len(faults) > 1 {
			count = fmt.Sprintf("%d faults", len(faults))
		}
		return nil, fmt.Errorf("%s in %s\n%w", count, what, faults)
	}
	return c, err
}
