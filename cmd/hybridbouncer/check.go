package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/proxy"
)

// runCheck lists every fault that run would find, including faults of the environment. It opens no socket.
func runCheck(p *process, args []string) error {
	named := p.configFlag()
	list := p.flags.Bool("print", false, "print every setting in force with its origin; secrets are masked")
	if err := p.parse(args); err != nil {
		return err
	}
	path := p.configPath(*named)
	c, err := p.load(path)
	if err != nil {
		return err
	}
	for _, warning := range c.Warnings {
		fmt.Fprintf(p.stderr, "warning: %s\n", warning)
	}
	if *list {
		for _, s := range c.Settings() {
			fmt.Fprintf(p.stdout, "%-72s # %s\n", s.Key+" = "+s.Value, s.From)
		}
	}
	warnings, err := build(c)
	if err != nil {
		return err
	}
	for _, warning := range warnings {
		fmt.Fprintf(p.stderr, "warning: %s\n", warning)
	}
	if !*list {
		p.summary(path, c)
	}
	return nil
}

// build makes a proxy that is never started: so the code that reads a file, such as the user file, also checks it.
func build(c *config.Config) (warnings []string, err error) {
	var login loginFile
	defer login.remove()
	if err := login.apply(c); err != nil {
		return nil, err
	}
	built, err := proxy.New(c, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	warnings, err = built.Check()
	return warnings, errors.Join(err, built.Close())
}

// summary prints what would run.
func (p *process) summary(path string, c *config.Config) {
	if path == "" {
		path = "environment and defaults"
	}
	fmt.Fprintf(p.stdout, "%s: no faults\n", path)
	for i := range c.Listeners {
		l := &c.Listeners[i]
		fmt.Fprintf(p.stdout, "  %s: %s mode on %s, %d clients, %s\n", l.Name, l.PoolMode, strings.Join(l.Listen, " "), l.MaxClientConn, poolText(l))
	}
	fmt.Fprintf(p.stdout, "  PostgreSQL: %s port %d, at most %d servers per database and user\n", c.Server.Host, c.Server.Port, serversMax(c))
}
