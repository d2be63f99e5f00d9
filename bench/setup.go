package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/hybridbouncer/hybridbouncer/bench/launch"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// setup holds the choice of PostgreSQL and of the poolers to start, which every command needs first. Its flags are the same everywhere.
type setup struct {
	serverAddress            string
	user, password, database string
	initialise               bool
	scale                    int
	pgbouncer, hybridbouncer string
	given                    listFlag
	loops                    int
	floor                    bool
	tls                      bool   // between clients and poolers
	isolations               string // of our pooler, each a product of its own; "": as it is by default
	before                   string // a commit of ours to compare with; "": none
}

// listFlag is a flag that may be given several times.
type listFlag []string

func (l *listFlag) String() string { return strings.Join(*l, " ") }

func (l *listFlag) Set(value string) error {
	*l = append(*l, value)
	return nil
}

// none as a path says: leave this product out.
const none = "none"

func (s *setup) addFlags(flags *flag.FlagSet) {
	flags.StringVar(&s.serverAddress, "server", "", "`host:port` of a running PostgreSQL to use; default: a throwaway one is started")
	flags.StringVar(&s.user, "user", "postgres", "user to log in as, at -server and at each -pooler")
	flags.StringVar(&s.password, "password", "", "password of -user")
	flags.StringVar(&s.database, "database", "postgres", "database to use")
	flags.BoolVar(&s.initialise, "initialise", false, "make pgbench's tables in -server (drops those there are); a throwaway server always gets them")
	flags.IntVar(&s.scale, "scale", 10, "scale of pgbench's tables")
	flags.StringVar(&s.pgbouncer, "pgbouncer", "", "`path` of a PgBouncer to start; default: the one on PATH, if any; \"none\": without it")
	flags.StringVar(&s.hybridbouncer, "hybridbouncer", "", "`path` of our pooler to start; default: built from this repository; \"none\": without it")
	flags.Var(&s.given, "pooler", "`name=port:pid` of a pooler that runs on 127.0.0.1 in front of -server; more processes as port:pid,pid; may be given again")
	flags.BoolVar(&s.floor, "floor", false, "measure a bare relay in C too (bench/floor; simple protocol only): what the system calls alone cost")
	flags.BoolVar(&s.tls, "tls", false, "clients speak TLS to the poolers (those that are started here get a certificate; servers stay plain)")
	flags.StringVar(&s.isolations, "isolation", "", "isolations of our pooler to compare: some of tracked,strict,off; default: as it comes")
	flags.StringVar(&s.before, "before", "", "`commit` of this repository: our pooler as it was then is compared too")
	flags.IntVar(&s.loops, "loops", 0, "event loops of our pooler; 0: as it decides")
}

// products lists the poolers to compare, the reference first: PgBouncer, the given ones, ours. cleanUp removes the programs built for it.
func (s *setup) products(ctx context.Context) (list []launch.Product, cleanUp func(), err error) {
	path := s.pgbouncer
	if path == "" {
		if path, err = exec.LookPath("pgbouncer"); err != nil {
			path = none
			fmt.Fprintln(os.Stderr, "bench: no pgbouncer on PATH (-pgbouncer PATH names one): going on without it")
		}
	}
	if path != none {
		reference, err := launch.PgBouncerProduct(path)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, reference)
	}
	if len(s.given) > 0 && s.serverAddress == "" {
		return nil, nil, errors.New("-pooler needs -server host:port too: all poolers of a run must stand before the same PostgreSQL")
	}
	for _, text := range s.given {
		one, err := launch.GivenProduct(text)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, one)
	}
	var removes []func()
	cleanUp = func() {
		for _, remove := range removes {
			remove()
		}
	}
	if s.floor {
		floor, remove, err := launch.FloorProduct(ctx)
		if err != nil {
			return nil, nil, err
		}
		removes = append(removes, remove)
		list = append(list, floor)
	}
	if s.before != "" {
		older, remove, err := launch.OlderProduct(ctx, s.before)
		if err != nil {
			cleanUp()
			return nil, nil, err
		}
		removes = append(removes, remove)
		list = append(list, older)
	}
	if s.hybridbouncer != none {
		ours, remove, err := launch.HybridbouncerProduct(ctx, s.hybridbouncer)
		if err != nil {
			cleanUp()
			return nil, nil, err
		}
		removes = append(removes, remove)
		list = append(list, s.variants(ours)...)
	}
	if len(list) == 0 {
		return nil, nil, errors.New("nothing to measure: name a pooler with -pgbouncer, -hybridbouncer or -pooler")
	}
	return list, cleanUp, nil
}

// postgres starts a throwaway PostgreSQL or describes the given one, with pgbench's tables when they are asked for.
func (s *setup) postgres(ctx context.Context, tables bool) (*launch.Postgres, error) {
	if s.serverAddress != "" {
		server, err := launch.GivenPostgres(s.serverAddress, s.user, s.password, s.database)
		if err != nil || !s.initialise {
			return server, err
		}
		return server, server.MakeTables(ctx, s.scale)
	}
	server, err := launch.StartPostgres(ctx)
	if err != nil {
		return nil, err
	}
	if tables {
		if err := server.MakeTables(ctx, s.scale); err != nil {
			server.Stop()
			return nil, err
		}
	}
	return server, nil
}

// begin gives a command its poolers and its PostgreSQL; stop ends both and removes their files.
func (s *setup) begin(ctx context.Context, tables bool) (list []launch.Product, server *launch.Postgres, stop func(), err error) {
	list, cleanUp, err := s.products(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	if server, err = s.postgres(ctx, tables); err != nil {
		cleanUp()
		return nil, nil, nil, err
	}
	return list, server, func() { server.Stop(); cleanUp() }, nil
}

// certificate makes the certificate that poolers show their clients in a run over TLS; nil without -tls.
func (s *setup) certificate() (*launch.Certificate, error) {
	if !s.tls {
		return nil, nil
	}
	folder, err := launch.Scratch("bench-authority-*", nil)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	authority, err := pgtest.NewAuthority(folder)
	if err != nil {
		return nil, err
	}
	signed, key, err := authority.Sign("localhost")
	return &launch.Certificate{Signed: string(signed), Key: string(key)}, err
}

// poolerPassword is what clients log in to the poolers with: some word for the methods that ask for one where none was given,
// since a throwaway PostgreSQL trusts everybody.
func (s *setup) poolerPassword() string {
	if s.password == "" {
		return "bench"
	}
	return s.password
}
