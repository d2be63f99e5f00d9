// Package leak owns the proof that nothing of a client's session reaches another: random scripts of many tenants, each lived once through
// a pooler, among all the others, and once on a direct connection. Every answer has to be the same, and nobody may ever read what bears
// another's name. It must not know how a pooler works: it drives sockets, and would serve to test any pooler.
//
// It is called by `bench leak` and by tests, from any goroutine. Read leak.go, then life.go (what a script is made of), statements.go (the
// statements), play.go (how a script is played), shorten.go.
package leak

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Options sizes a run.
type Options struct {
	Clients int
	Seed    uint64
	// Lives is how many scripts each client lives; 0: until the context of Run ends.
	Lives int
	// Steps is about how long a script is.
	Steps int
	// Hidden: scripts also set, make, prepare and lock things inside functions, where no pooler can see it in the text. What then crosses
	// to another client is a leak; whether the client itself still has it in its next transaction is not looked at.
	Hidden bool
	// Keepers are how many of the clients make what only a connection can hold. A pooler has to have room for all of them at once.
	Keepers int
	// Pooled and Direct are the addresses (host:port) of the pooler and of the PostgreSQL behind it, prepared by Prepare.
	Pooled, Direct string
	// DirectMax bounds the direct connections at one time.
	DirectMax int
}

// The role that all scripts log in as, trusted without a password, and the databases: two, so that what the one life of a script inserts
// the other does not see.
const (
	Role           = "leak_app"
	PooledDatabase = "leak_pooled"
	DirectDatabase = "leak_direct"
)

// Report holds the results of a run.
type Report struct {
	Lives, Steps int64
	// Kinds counts the steps by what they are.
	Kinds map[string]int
	// Failure is the first difference; nil: there was none.
	Failure *Failure
}

// Failure is a script whose answers through the pooler are not those of a direct connection.
type Failure struct {
	Life Life
	// Step is the one whose answers differ.
	Step           int
	Pooled, Direct string
	// Foreign: the answer through the pooler has something of another tenant.
	Foreign bool
}

// String shows the script as far as the difference, and what came of it.
func (f *Failure) String() string {
	var b strings.Builder
	if f.Foreign {
		b.WriteString("ANOTHER TENANT'S: ")
	}
	fmt.Fprintf(&b, "client %d, life %d: the answers differ\n%s", f.Life.Client, f.Life.Number, f.Life.describe(f.Step+1))
	fmt.Fprintf(&b, "through the pooler:\n%s\ndirectly:\n%s\n", indent(f.Pooled), indent(f.Direct))
	return b.String()
}

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n    ")
}

// Prepare makes the role, the databases and the table under row-level security. dsn is the superuser's, for a database.
func Prepare(ctx context.Context, clients int, dsn func(database string) string) error {
	if err := execute(ctx, dsn("postgres"),
		"create role leak_app login", "create role leak_other", "grant leak_other to leak_app",
		"alter role leak_app set app.y = 'of the role'", "alter role leak_app set work_mem = '3MB'",
		"create database "+PooledDatabase, "create database "+DirectDatabase,
	); err != nil {
		return err
	}
	for _, database := range []string{PooledDatabase, DirectDatabase} {
		if err := execute(ctx, dsn(database), fmt.Sprintf(tablesSQL, clients+noises)); err != nil {
			return err
		}
	}
	return nil
}

const tablesSQL = `
create schema a;
create table docs (tenant text not null, body text);
create index on docs (tenant);
insert into docs select 'tenant-' || t || '-', 'body ' || n from generate_series(0, %d) t, generate_series(1, 3) n;
alter table docs enable row level security;
create policy own on docs using (tenant = nullif(current_setting('app.tenant_id', true), ''));
grant select, insert, update, delete on docs to leak_app, leak_other;
grant usage on schema a to leak_app, leak_other;
create function leak_hide(who text, number int) returns text language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform set_config('hidden.who', who, false), set_config('geqo_threshold', (20 + number %% 7)::text, false);
  perform pg_try_advisory_lock(99, number);
  if not exists (select from pg_prepared_statements where name = 'hidden_' || number) then
    execute 'prepare hidden_' || number || ' as select 1';
  end if;
  if to_regclass('pg_temp.hidden_' || number) is null then
    execute 'create temp table pg_temp.hidden_' || number || ' as select 1 as a';
  end if;
  return 'done';
exception when others then
  return 'done';
end $$;`

func execute(ctx context.Context, dsn string, statements ...string) error {
	session, err := pgconn.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer session.Close(ctx)
	for _, sql := range statements {
		if _, err := session.Exec(ctx, sql).ReadAll(); err != nil {
			return fmt.Errorf("%.60s: %w", sql, err)
		}
	}
	return nil
}

// run is one Run.
type run struct {
	Options
	direct       chan struct{}
	lives, steps atomic.Int64

	mu      sync.Mutex // guards all below
	kinds   map[string]int
	failure *Failure
	err     error
}

// Run lets all clients live until each has lived enough, ctx ends, or an answer differs. The error is of the harness itself.
func Run(ctx context.Context, o Options) (Report, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	r := &run{Options: o, direct: make(chan struct{}, max(o.DirectMax, 1)), kinds: map[string]int{}}
	var all sync.WaitGroup
	for client := range o.Clients {
		all.Go(func() {
			if r.client(ctx, client) != nil {
				stop()
			}
		})
	}
	all.Wait()
	return Report{Lives: r.lives.Load(), Steps: r.steps.Load(), Kinds: r.kinds, Failure: r.failure}, r.err
}

// client lives one life after the other. It returns an error when all is to end.
func (r *run) client(ctx context.Context, client int) error {
	for number := 0; ctx.Err() == nil && (r.Lives == 0 || number < r.Lives); number++ {
		life := NewLife(r.Options, client, number)
		failure, err := r.live(ctx, life)
		if ctx.Err() != nil {
			return nil
		}
		if failure != nil || err != nil {
			r.mu.Lock()
			if r.failure == nil && r.err == nil {
				r.failure, r.err = failure, err
			}
			r.mu.Unlock()
			return context.Canceled
		}
		r.count(&life)
	}
	return nil
}

func (r *run) count(life *Life) {
	r.lives.Add(1)
	r.steps.Add(int64(len(life.Steps)))
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range life.Steps {
		r.kinds[s.Kind]++
	}
	r.kinds["end: "+life.End.String()]++
}

// live plays a life through the pooler and then on a connection of its own, and compares.
func (r *run) live(ctx context.Context, life Life) (*Failure, error) {
	pooled, err := play(ctx, r.Pooled, PooledDatabase, life)
	if err != nil {
		return nil, fmt.Errorf("through the pooler: %w", err)
	}
	select {
	case r.direct <- struct{}{}:
		defer func() { <-r.direct }()
	case <-ctx.Done():
		return nil, nil
	}
	direct, err := play(ctx, r.Direct, DirectDatabase, life)
	if err != nil {
		return nil, fmt.Errorf("on a direct connection: %w", err)
	}
	return compare(life, pooled, direct), nil
}

// compare finds the first step whose answers differ, or show another tenant.
func compare(life Life, pooled, direct []string) *Failure {
	for i := range life.Steps {
		var p, d string
		if i < len(pooled) {
			p = pooled[i]
		}
		if i < len(direct) {
			d = direct[i]
		}
		if foreign := mentionsAnother(p, life.Client); foreign || !same(p, d) {
			return &Failure{Life: life, Step: i, Pooled: p, Direct: d, Foreign: foreign}
		}
	}
	return nil
}

// same compares two answers. Of a statement in a failed transaction that is faulty besides, a pooler may name either fault.
func same(pooled, direct string) bool {
	if pooled == direct {
		return true
	}
	p, d := strings.Split(pooled, "\n"), strings.Split(direct, "\n")
	if len(p) != len(d) {
		return false
	}
	for i := range p {
		aborted := strings.HasPrefix(p[i], inFailed) && strings.HasPrefix(d[i], "ERROR ") ||
			strings.HasPrefix(d[i], inFailed) && strings.HasPrefix(p[i], "ERROR ")
		if p[i] != d[i] && !aborted {
			return false
		}
	}
	return true
}

// inFailed is what anything gets in a failed transaction. Where a server lacks a statement that another has, it is a Parse that is refused there:
// with that error instead of the statement's own, or, because a Parse reads the text first, with the text's.
const inFailed = "ERROR 25P02 "

// mentionsAnother reports that the name of another tenant occurs.
func mentionsAnother(answer string, client int) bool {
	own := tenantName(client)
	return strings.Count(answer, "tenant-") != strings.Count(answer, own)
}

func tenantName(client int) string { return fmt.Sprintf("tenant-%d-", client) }

// stepLimit is how long one step may take: waiting for a server behind a thousand others included.
const stepLimit = 5 * time.Minute
