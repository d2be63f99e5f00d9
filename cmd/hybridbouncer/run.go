package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hybridbouncer/hybridbouncer/admin"
	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/proxy"
)

// runPooler runs until a signal ends it.
func runPooler(p *process, args []string) error {
	named := p.configFlag()
	if err := p.parse(args); err != nil {
		return err
	}
	s := &service{process: p, path: p.configPath(*named), logTo: p.stderr}
	return s.run(nil)
}

// signals of a running pooler. The channel holds one, so that a SIGTERM during a reload is not lost.
var signals = []os.Signal{syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT}

// service is the running pooler: its parts in the order they start. Only the goroutine of run uses it.
type service struct {
	process *process
	path    string // configuration file; "" for none
	logTo   io.Writer

	config  *config.Config // in force
	file    logFile        // of log.file
	pid     pidFile
	secrets secretFiles
	login   loginFile
	level   slog.LevelVar
	log     *slog.Logger
	queue   *logQueue // behind log; nil before openLog
	stats   statsLine
	proxy   *proxy.Proxy
	admin   *admin.Endpoint // nil without admin.listen
}

// run starts everything, calls started, waits for signals, and stops everything in reverse. It returns when nothing runs any more.
func (s *service) run(started func(s *service)) error {
	received := make(chan os.Signal, len(signals))
	signal.Notify(received, signals...)
	defer signal.Stop(received)
	defer surviveBrokenPipe()()

	if err := s.start(); err != nil {
		return err
	}
	defer s.stop()
	announce(s.log, s.config, s.proxy.Addresses())
	if s.admin != nil {
		s.log.Info("admin endpoint", "metrics", "http://"+s.admin.Address()+"/metrics", "health", "http://"+s.admin.Address()+"/health/db")
	}
	s.log.Info("ready")
	if started != nil {
		s.queue.flush()
		started(s)
	}
	look := time.NewTicker(secretsLook)
	defer look.Stop()
	s.stats.look(time.Now(), nil)
	s.stats.set(s.config.Log)
	defer s.stats.set(config.Log{})
	for {
		select {
		case sig := <-received:
			if sig != syscall.SIGHUP {
				s.drain(sig, received)
				return nil
			}
			s.reload()
		case now := <-s.stats.due():
			s.log.Info(s.stats.look(now, s.proxy.Snapshot().Pools))
		case <-look.C:
			if s.secrets.changed() {
				s.log.Info("a file with a password has changed: the configuration is read again")
				s.reload()
			}
		}
	}
}

// start goes from the configuration to listening sockets. On an error nothing keeps running.
func (s *service) start() (err error) {
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	if s.config, err = s.process.load(s.path); err != nil {
		return err
	}
	s.secrets.read = s.config.SecretFiles
	if err = s.login.apply(s.config); err != nil {
		return err
	}
	if err := s.pid.check(s.config.PIDFile); err != nil {
		return err
	}
	if err := s.openLog(s.config.Log); err != nil {
		return err
	}
	p, err := proxy.New(s.config, s.log)
	if err != nil {
		return err
	}
	if err := p.Start(); err != nil {
		return startHint(err)
	}
	s.proxy = p
	if s.config.Admin.Listen == "" {
		return s.pid.write(s.config.PIDFile)
	}
	a := admin.New(s.config.Admin, status{s.proxy}, s.log)
	if err := a.Start(); err != nil {
		return startHint(fmt.Errorf("admin endpoint: %w", err))
	}
	s.admin = a
	return s.pid.write(s.config.PIDFile)
}

// startHint adds what to do about an address that is taken.
func startHint(err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w; another program, perhaps another hybridbouncer or PgBouncer, has this address: stop it, or change listen", err)
	}
	return err
}

// stop ends the parts in reverse order.
func (s *service) stop() {
	if s.admin != nil {
		if err := s.admin.Close(); err != nil {
			s.log.Warn("close the admin endpoint", "error", err)
		}
	}
	if s.proxy != nil {
		if err := s.proxy.Close(); err != nil {
			s.log.Warn("close the proxy", "error", err)
		}
	}
	s.login.remove()
	s.closeLog()
	_ = s.file.open("")
	s.pid.remove()
}

// openLog starts the log. Lines wait in a queue, and a goroutine of its own writes them.
func (s *service) openLog(c config.Log) error {
	s.file.otherwise = s.logTo
	if err := s.file.open(c.File); err != nil {
		return err
	}
	s.queue = newLogQueue(&s.file)
	s.log = newLogger(s.queue, c, &s.level)
	direct := newLogger(&s.file, c, &s.level)
	s.queue.start(func(lost uint64) {
		direct.Warn("lines of the log were lost: whoever reads it was too slow", "lines", lost)
	})
	return nil
}

// closeLog waits a moment for the last lines to be written.
func (s *service) closeLog() {
	if s.queue != nil {
		s.queue.close()
	}
}

// reload reads the configuration again. Any fault leaves the old one in force as a whole.
func (s *service) reload() {
	next, err := s.process.load(s.path)
	if err == nil {
		err = s.login.apply(next)
	}
	if err != nil {
		s.log.Error("reload refused, the old configuration stays in force", "error", err)
		s.mark("reload", "a reload was refused; the log has the faults")
		return
	}
	// What takes a restart stays as it is in the configuration in force, so that the next reload tells it again.
	merged := config.Merge(s.config, next)
	if _, err := s.proxy.Reload(merged); err != nil {
		s.log.Error("reload refused, the old configuration stays in force", "error", err)
		return
	}
	if err := s.file.open(merged.Log.File); err != nil {
		s.log.Error("the log stays where it is", "error", err)
	}
	if merged.Log.Stats != s.config.Log.Stats || merged.Log.StatsPeriod != s.config.Log.StatsPeriod {
		s.stats.set(merged.Log)
	}
	changes := config.Diff(s.config, next)
	s.config, s.secrets.read = merged, next.SecretFiles
	if s.admin != nil {
		s.admin.SetPassword(merged.Admin.Password)
		s.mark("reload", fmt.Sprintf("the configuration was read again: %d settings changed", len(changes)))
	}
	// The lines about the change itself are shown by the more talkative of both levels.
	s.level.Set(min(s.level.Level(), logLevel(merged.Log.Level)))
	defer s.level.Set(logLevel(merged.Log.Level))
	for _, warning := range next.Warnings {
		s.log.Warn(warning)
	}
	restart := 0
	for _, c := range changes {
		if c.When == config.Restart {
			restart++
			s.log.Warn("setting changes at the next restart only", "key", c.Key, "now", c.Old, "then", c.New)
			continue
		}
		s.log.Info("setting changed", "key", c.Key, "old", c.Old, "new", c.New, "holds_for", holdsFor(c.When))
	}
	s.log.Info("reloaded", "changed", len(changes)-restart, "need_restart", restart)
}

// mark shows an event on the plots of the status page.
func (s *service) mark(kind, text string) {
	if s.admin != nil {
		s.admin.Mark(kind, text)
	}
}

// holdsFor words when a change comes into effect.
func holdsFor(w config.When) string {
	if w == config.NewLogins {
		return "new connections"
	}
	return "all connections"
}

// drain lets transactions finish for as long as shutdown_timeout allows. A second SIGTERM or SIGINT ends it at once.
func (s *service) drain(sig os.Signal, received <-chan os.Signal) {
	limit := s.config.ShutdownTimeout
	s.log.Info("shutting down: no new logins, transactions may finish; a second signal stops at once",
		"signal", sig.String(), "shutdown_timeout", limit)
	begin := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.proxy.Drain(ctx) }()
	for {
		select {
		case err := <-done:
			if err != nil {
				s.log.Warn("clients were still busy and are cut off", "waited", time.Since(begin), "shutdown_timeout", limit)
			} else {
				s.log.Info("all clients have left", "waited", time.Since(begin))
			}
			return
		case again := <-received:
			if again == syscall.SIGHUP {
				s.log.Info("no reload while shutting down")
				continue
			}
			s.log.Warn("second signal: stopping at once", "signal", again.String())
			cancel()
			<-done
			return
		}
	}
}

// status is the part of the process that the admin endpoint sees.
type status struct{ *proxy.Proxy }

// Version gives the version for /metrics and the status page.
func (status) Version() string { return version() }
