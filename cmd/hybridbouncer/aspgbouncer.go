package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/config/load"
	"github.com/hybridbouncer/hybridbouncer/config/pgbouncer"
)

// pgbouncerName is the name under which the program behaves as PgBouncer: it reads an ini file and understands PgBouncer's flags. So a
// symbolic link in its place is enough for service files and images.
const pgbouncerName = "pgbouncer"

// pgbouncerFlags are PgBouncer's.
type pgbouncerFlags struct {
	quiet, verbose, daemon, reboot, version bool
	user                                    string
	file                                    string
}

// parsePgBouncer reads PgBouncer's command line. As with getopt, flags may be joined (-qd) and may stand behind the file.
func (p *process) parsePgBouncer(args []string) (pgbouncerFlags, error) {
	var f pgbouncerFlags
	p.flags = flag.NewFlagSet(pgbouncerName, flag.ContinueOnError)
	p.flags.SetOutput(p.stderr)
	p.flags.Usage = func() { fmt.Fprint(p.stderr, pgbouncerUsage) }
	for _, b := range []struct {
		short, long string
		value       *bool
	}{{"q", "quiet", &f.quiet}, {"v", "verbose", &f.verbose}, {"d", "daemon", &f.daemon}, {"R", "reboot", &f.reboot}, {"V", "version", &f.version}} {
		p.flags.BoolVar(b.value, b.short, false, "")
		p.flags.BoolVar(b.value, b.long, false, "")
	}
	p.flags.StringVar(&f.user, "u", "", "")
	p.flags.StringVar(&f.user, "user", "", "")
	files, err := p.parseFiles(separateFlags(args))
	if err != nil || f.version {
		return f, err
	}
	if len(files) != 1 {
		fmt.Fprintf(p.stderr, "pgbouncer: name one ini file\n%s", pgbouncerUsage)
		return f, errUsage
	}
	f.file = files[0]
	return f, nil
}

const pgbouncerUsage = `usage: pgbouncer [OPTION]... FILE.ini
  -d, --daemon     run in the background (the file must set pidfile)
  -q, --quiet      write no log to standard error
  -u, --user NAME  switch to this user
  -v, --verbose    log at level debug
  -R, --reboot     accepted: taking over from a running process is not supported
  -V, --version    print the version
This is hybridbouncer, started under PgBouncer's name.
`

// separateFlags takes joined flags apart: -qd is -q -d, and -uweb is -u web.
func separateFlags(args []string) []string {
	var all []string
	for _, arg := range args {
		if len(arg) < 3 || arg[0] != '-' || arg[1] == '-' {
			all = append(all, arg)
			continue
		}
		for i := 1; i < len(arg); i++ {
			all = append(all, "-"+arg[i:i+1])
			if arg[i] == 'u' && i+1 < len(arg) {
				all = append(all, arg[i+1:])
				break
			}
		}
	}
	return all
}

// runAsPgBouncer runs the pooler from an ini file.
func runAsPgBouncer(p *process, args []string) error {
	p.ini = true
	f, err := p.parsePgBouncer(args)
	if err != nil {
		return err
	}
	if f.version {
		fmt.Fprintf(p.stdout, "hybridbouncer %s (in place of PgBouncer)\n", version())
		return nil
	}
	imported, err := pgbouncer.Import(f.file)
	if err != nil {
		return err
	}
	if name := cmp.Or(f.user, imported.User); name != "" {
		if err := switchUser(name); err != nil {
			return err
		}
	}
	if f.daemon {
		return startDaemon(f, imported.Config)
	}
	p.verbose = f.verbose
	s := &service{process: p, path: f.file, logTo: p.stderr}
	if f.quiet {
		s.logTo = io.Discard
	}
	if f.reboot {
		fmt.Fprintln(p.stderr, "pgbouncer: -R: taking over from a running process is not supported; the program starts normally")
	}
	return s.run(nil)
}

// loadIni reads an ini file in the place of config.toml. Of the environment it uses only our own names, such as
// HYBRIDBOUNCER_ADMIN_LISTEN: images write the others into the ini file.
func (p *process) loadIni(path string) (*config.Config, error) {
	imported, err := pgbouncer.Import(path)
	if err != nil {
		return nil, err
	}
	c := imported.Config
	c.Admin.Listen = "" // PgBouncer has no HTTP port, and several of them run on one machine
	for _, note := range imported.Notes {
		c.Warnings = append(c.Warnings, note.String())
	}
	if p.verbose {
		c.Log.Level = "debug"
	}
	var environ []string
	for _, entry := range p.environ {
		if strings.HasPrefix(entry, config.EnvPrefix) {
			environ = append(environ, entry)
		}
	}
	return c, load.Complete(c, environ)
}

// switchUser gives up the rights of root and becomes a user. It does nothing when the process already is that user.
func switchUser(name string) error {
	u, err := user.Lookup(name)
	if err != nil {
		return fmt.Errorf("switch to user %s: %w", name, err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if uid == os.Getuid() {
		return nil
	}
	groups := []int{gid}
	names, _ := u.GroupIds() // without them the user's own group has to do
	for _, name := range names {
		if group, err := strconv.Atoi(name); err == nil {
			groups = append(groups, group)
		}
	}
	for _, step := range []func() error{
		func() error { return syscall.Setgroups(groups) },
		func() error { return syscall.Setgid(gid) },
		func() error { return syscall.Setuid(uid) },
	} {
		if err := step(); err != nil {
			return fmt.Errorf("switch to user %s: %w; only root may do that", name, err)
		}
	}
	return nil
}

// startDaemon starts the program again in a session of its own and returns. Like PgBouncer's, the daemon has no standard error: what
// happens from then on is in the log file.
func startDaemon(f pgbouncerFlags, c *config.Config) error {
	if c.PIDFile == "" {
		return errors.New("-d needs pidfile in the ini file")
	}
	if err := new(pidFile).check(c.PIDFile); err != nil {
		return err
	}
	executable, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start in the background: %w", err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("start in the background: %w", err)
	}
	defer null.Close()
	args := []string{filepath.Base(os.Args[0]), "-q", f.file}
	if f.verbose {
		args = append(args, "-v")
	}
	daemon, err := os.StartProcess(executable, args, &os.ProcAttr{Files: []*os.File{null, null, null}, Sys: &syscall.SysProcAttr{Setsid: true}})
	if err != nil {
		return fmt.Errorf("start in the background: %w", err)
	}
	return daemon.Release()
}
