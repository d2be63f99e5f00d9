package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"
)

// worker is one embedding worker: it takes a document of some tenant, works on it in one long transaction of its own login, and
// rests. It ends, after its transaction, when ctx does.
func (s *scenario) worker(ctx context.Context, number int) {
	random := rand.New(rand.NewPCG(2, uint64(number)))
	for job := 0; ctx.Err() == nil; job++ {
		length := s.shortest + time.Duration(random.Int64N(int64(s.longest-s.shortest)+1))
		length = s.scaled(length)
		// Each job is another tenant, so that what a former job left behind on a server cannot pass for the right one.
		tenant := fmt.Sprintf("tenant-%d-%d", number, job)
		if err := s.embed(context.WithoutCancel(ctx), tenant, length); err != nil {
			s.tally.fail("worker", fmt.Errorf("worker %d, job %d: %w", number, job, err))
			return
		}
		if pause(ctx, time.Duration(float64(length)*s.rest)) != nil {
			return
		}
	}
}

// embed is one job, through pgx with its defaults (named prepared statements, extended protocol), as an application has it.
func (s *scenario) embed(ctx context.Context, tenant string, length time.Duration) (err error) {
	const slack = time.Minute // for queueing and a busy machine: query_wait_timeout is to end a wait, not this
	ctx, cancel := context.WithTimeout(ctx, length+slack)
	defer cancel()
	t := s.sessionTarget
	if s.wrongPort {
		t = s.transactionTarget
	}
	address := url.URL{Scheme: "postgres", User: url.UserPassword(t.User, t.Password), Host: t.Address(), Path: "/" + t.Database, RawQuery: "sslmode=disable"}
	start := time.Now()
	session, err := pgx.Connect(ctx, address.String())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close(ctx)) }()
	if s.localTenant {
		s.tally.workerWait(time.Since(start))
		if err := s.longTransaction(ctx, session, tenant, length); err != nil {
			return err
		}
		s.tally.job()
		return nil
	}
	var left string
	if err := session.QueryRow(ctx, "SELECT coalesce(current_setting('app.tenant_id', true), '')").Scan(&left); err != nil {
		return err
	}
	s.tally.workerWait(time.Since(start))
	s.tally.workerStatement(left == "")
	if _, err := session.Exec(ctx, "SELECT set_config('app.tenant_id', '', false)"); err != nil { // the other way to set it
		return err
	}
	if _, err := session.Exec(ctx, "SET app.tenant_id = '"+tenant+"'"); err != nil {
		return err
	}
	if err := s.longTransaction(ctx, session, tenant, length); err != nil {
		return err
	}
	s.tally.job()
	return s.checkTenant(ctx, session, tenant) // SET outlives the transaction
}

// longTransaction works in steps: half of each in PostgreSQL, half in the application (computing), as embedding jobs do.
func (s *scenario) longTransaction(ctx context.Context, session *pgx.Conn, tenant string, length time.Duration) error {
	const steps = 10
	half := length / steps / 2
	work, err := session.Begin(ctx)
	if err != nil {
		return err
	}
	if s.localTenant {
		if _, err := work.Exec(ctx, "SELECT set_config('app.tenant_id', $1, true)", tenant); err != nil {
			return err
		}
	}
	for range steps {
		if err := s.checkTenant(ctx, session, tenant); err != nil {
			return err
		}
		if _, err := work.Exec(ctx, "SELECT pg_sleep($1)", half.Seconds()); err != nil {
			return err
		}
		if err := pause(ctx, half); err != nil {
			return err
		}
		if _, err := work.Exec(ctx, "INSERT INTO hybridbouncer_bench.documents VALUES ($1, $2)", tenant, make([]float32, 64)); err != nil {
			return err
		}
	}
	return work.Commit(ctx)
}

// checkTenant asks which tenant the session is in and whether rows of another can be seen.
func (s *scenario) checkTenant(ctx context.Context, session *pgx.Conn, tenant string) error {
	var now string
	var foreign int
	err := session.QueryRow(ctx, "SELECT current_setting('app.tenant_id'), (SELECT count(*) FROM hybridbouncer_bench.documents WHERE tenant <> $1)", tenant).Scan(&now, &foreign)
	if err != nil {
		return err
	}
	s.tally.workerStatement(now == tenant && foreign == 0)
	return nil
}
