// The ordinary day of an application on pgx, with its defaults: statements are prepared on first use and kept per connection.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

var (
	url   = os.Getenv("DAY_URL")
	table = os.Getenv("DAY_TABLE")
	bg    = context.Background()
)

// try runs one case and prints what became of it.
func try(name string, run func(ctx context.Context) error) {
	ctx, cancel := context.WithTimeout(bg, 20*time.Second)
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Println(name, "failed", strings.ReplaceAll(err.Error(), "\n", " "))
		return
	}
	fmt.Println(name, "ok")
}

func connect(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, url) }

func with(run func(ctx context.Context, c *pgx.Conn) error) func(context.Context) error {
	return func(ctx context.Context) error {
		c, err := connect(ctx)
		if err != nil {
			return err
		}
		defer c.Close(bg)
		return run(ctx, c)
	}
}

func code(err error) string {
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		return pe.Code
	}
	return fmt.Sprint(err)
}

func main() {
	try("connect", with(func(ctx context.Context, c *pgx.Conn) error { return c.Ping(ctx) }))
	try("query", with(query))
	try("transaction", with(transaction))
	try("prepared", prepared)
	try("ddl", with(ddl))
	try("error", with(failing))
	try("retry", with(retry))
	try("copy", with(copyBoth))
	try("pipeline", with(pipeline))
	try("cursor", with(cursor))
	try("settings", settings)
	try("cancel", with(cancelQuery))
	try("listen", with(listen))
	try("reconnect", reconnect)
	try("crowd", crowd)
}

func query(ctx context.Context, c *pgx.Conn) error {
	if _, err := c.Exec(ctx, "drop table if exists "+table+"; create table "+table+" (n int primary key, x text)"); err != nil {
		return err
	}
	var n int
	var x string
	var at time.Time
	if err := c.QueryRow(ctx, "select $1::int + 1, $2::text, now()", 41, "it's").Scan(&n, &x, &at); err != nil || n != 42 || x != "it's" {
		return fmt.Errorf("%d %q %w", n, x, err)
	}
	return nil
}

func transaction(ctx context.Context, c *pgx.Conn) error {
	for _, commit := range []bool{true, false} {
		tx, err := c.Begin(ctx)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "insert into "+table+" values ($1, 'tx')", map[bool]int{true: 1, false: 2}[commit]); err != nil {
			return err
		}
		if commit {
			err = tx.Commit(ctx)
		} else {
			err = tx.Rollback(ctx)
		}
		if err != nil {
			return err
		}
	}
	var n int
	if err := c.QueryRow(ctx, "select count(*) from "+table).Scan(&n); err != nil || n != 1 {
		return fmt.Errorf("%d rows, %w", n, err)
	}
	return nil
}

// prepared interleaves statements of three connections, so that one server meets those of all.
func prepared(ctx context.Context) error {
	var all []*pgx.Conn
	for range 3 {
		c, err := connect(ctx)
		if err != nil {
			return err
		}
		defer c.Close(bg)
		all = append(all, c)
	}
	for i := range 40 {
		for who, c := range all {
			var n, same int
			sql := fmt.Sprintf("select $1::int * 10 + %d", who)
			if err := c.QueryRow(ctx, sql, i).Scan(&n); err != nil || n != i*10+who {
				return fmt.Errorf("round %d, connection %d: %d %w", i, who, n, err)
			}
			if err := c.QueryRow(ctx, "select $1::int", who).Scan(&same); err != nil || same != who {
				return fmt.Errorf("round %d, connection %d: %d %w", i, who, same, err)
			}
		}
	}
	return nil
}

func ddl(ctx context.Context, c *pgx.Conn) error {
	other, err := connect(ctx)
	if err != nil {
		return err
	}
	defer other.Close(bg)
	for i := range 3 {
		rows, err := c.Query(ctx, "select * from "+table+" order by n limit 1")
		if err == nil {
			_, err = pgx.CollectRows(rows, pgx.RowToMap)
		}
		if err != nil && code(err) != "0A000" { // pgx throws its statement away then; the next try works
			return fmt.Errorf("round %d: %w", i, err)
		}
		if _, err := other.Exec(ctx, fmt.Sprintf("alter table %s add column c%d int", table, i)); err != nil {
			return err
		}
	}
	_, err = c.Exec(ctx, fmt.Sprintf("alter table %s drop column c0, drop column c1, drop column c2", table))
	return err
}

func failing(ctx context.Context, c *pgx.Conn) error {
	for range 3 {
		if _, err := c.Exec(ctx, "insert into "+table+" values ($1, 'again')", 1); code(err) != "23505" {
			return fmt.Errorf("expected 23505: %w", err)
		}
		if _, err := c.Exec(ctx, "selec $1", 1); code(err) != "42601" {
			return fmt.Errorf("expected 42601: %w", err)
		}
		if err := c.Ping(ctx); err != nil {
			return err
		}
	}
	return nil
}

func retry(ctx context.Context, c *pgx.Conn) error {
	other, err := connect(ctx)
	if err != nil {
		return err
	}
	defer other.Close(bg)
	for attempt := range 3 {
		err := pgx.BeginTxFunc(ctx, c, pgx.TxOptions{IsoLevel: pgx.Serializable}, func(tx pgx.Tx) error {
			var n int
			if err := tx.QueryRow(ctx, "select count(*) from "+table).Scan(&n); err != nil {
				return err
			}
			if attempt == 0 {
				if _, err := other.Exec(ctx, "update "+table+" set x = 'other' where n = 1"); err != nil {
					return err
				}
			}
			_, err := tx.Exec(ctx, "update "+table+" set x = $1 where n = 1", "mine")
			return err
		})
		switch {
		case err == nil && attempt > 0:
			return nil
		case err == nil || code(err) != "40001":
			return fmt.Errorf("attempt %d: %w", attempt, err)
		}
	}
	return errors.New("never succeeded")
}

func copyBoth(ctx context.Context, c *pgx.Conn) error {
	rows := make([][]any, 2000)
	for i := range rows {
		rows[i] = []any{100 + i, strings.Repeat("y", 50)}
	}
	if n, err := c.CopyFrom(ctx, pgx.Identifier{table}, []string{"n", "x"}, pgx.CopyFromRows(rows)); err != nil || n != 2000 {
		return fmt.Errorf("copied %d: %w", n, err)
	}
	var out strings.Builder
	if _, err := c.PgConn().CopyTo(ctx, &out, "copy (select n from "+table+" where n >= 100) to stdout"); err != nil || strings.Count(out.String(), "\n") != 2000 {
		return fmt.Errorf("%d lines out: %w", strings.Count(out.String(), "\n"), err)
	}
	_, err := c.CopyFrom(ctx, pgx.Identifier{table}, []string{"n", "x"}, pgx.CopyFromRows(rows[:1]))
	if code(err) != "23505" {
		return fmt.Errorf("expected 23505: %w", err)
	}
	return c.Ping(ctx)
}

func pipeline(ctx context.Context, c *pgx.Conn) error {
	for range 3 {
		var batch pgx.Batch
		for i := range 20 {
			batch.Queue("select $1::int", i)
			batch.Queue("select $1::text || 'x'", fmt.Sprint(i))
		}
		results := c.SendBatch(ctx, &batch)
		for i := range 20 {
			var n int
			var x string
			if err := results.QueryRow().Scan(&n); err != nil || n != i {
				return fmt.Errorf("%d, not %d: %w", n, i, err)
			}
			if err := results.QueryRow().Scan(&x); err != nil || x != fmt.Sprint(i)+"x" {
				return fmt.Errorf("%q: %w", x, err)
			}
		}
		if err := results.Close(); err != nil {
			return err
		}
	}
	var bad pgx.Batch
	bad.Queue("insert into " + table + " values (5000, 'a')")
	bad.Queue("insert into " + table + " values (5000, 'b')")
	if err := c.SendBatch(ctx, &bad).Close(); code(err) != "23505" {
		return fmt.Errorf("expected 23505: %w", err)
	}
	var n int
	err := c.QueryRow(ctx, "select count(*) from "+table+" where n = 5000").Scan(&n)
	if n != 0 {
		return errors.New("half of a failed batch is there")
	}
	return err
}

func cursor(ctx context.Context, c *pgx.Conn) error {
	return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "declare cur cursor for select n from generate_series(1, 1000) n"); err != nil {
			return err
		}
		total := 0
		for {
			rows, err := tx.Query(ctx, "fetch 100 from cur")
			if err != nil {
				return err
			}
			got, err := pgx.CollectRows(rows, pgx.RowTo[int])
			if err != nil {
				return err
			}
			if len(got) == 0 {
				break
			}
			total += len(got)
		}
		if total != 1000 {
			return fmt.Errorf("%d rows", total)
		}
		return nil
	})
}

func settings(ctx context.Context) error {
	zones := []string{"Asia/Tokyo", "Europe/Paris", "UTC"}
	var all []*pgx.Conn
	for _, zone := range zones {
		c, err := connect(ctx)
		if err != nil {
			return err
		}
		defer c.Close(bg)
		if _, err := c.Exec(ctx, "set timezone to '"+zone+"'"); err != nil {
			return err
		}
		all = append(all, c)
	}
	for range 10 {
		for i, c := range all {
			var zone string
			if err := c.QueryRow(ctx, "show timezone").Scan(&zone); err != nil || zone != zones[i] {
				return fmt.Errorf("%s, not %s: %w", zone, zones[i], err)
			}
		}
	}
	return nil
}

func cancelQuery(ctx context.Context, c *pgx.Conn) error {
	done := make(chan error, 1)
	go func() {
		_, err := c.Exec(bg, "select pg_sleep(15)")
		done <- err
	}()
	time.Sleep(500 * time.Millisecond)
	if err := c.PgConn().CancelRequest(ctx); err != nil {
		return err
	}
	if err := <-done; code(err) != "57014" {
		return fmt.Errorf("expected 57014: %w", err)
	}
	return c.Ping(ctx)
}

func listen(ctx context.Context, c *pgx.Conn) error {
	if _, err := c.Exec(ctx, "listen "+table); err != nil {
		return err
	}
	other, err := connect(ctx)
	if err != nil {
		return err
	}
	defer other.Close(bg)
	if _, err := other.Exec(ctx, "select pg_notify($1, 'hello')", table); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	n, err := c.WaitForNotification(ctx)
	if err == nil && n.Payload != "hello" {
		return errors.New(n.Payload)
	}
	return err
}

func reconnect(ctx context.Context) error {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, "select pg_terminate_backend(pg_backend_pid())"); err == nil {
		return errors.New("survived its own termination")
	}
	var n int
	return pool.QueryRow(ctx, "select $1::int", 1).Scan(&n)
}

func crowd(ctx context.Context) error {
	var wg sync.WaitGroup
	errs := make(chan error, 20)
	for who := range 20 {
		wg.Go(func() {
			errs <- with(func(ctx context.Context, c *pgx.Conn) error {
				for i := range 20 {
					err := pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
						if _, err := tx.Exec(ctx, "insert into "+table+" values ($1, $2)", 10_000+who*100+i, "crowd"); err != nil {
							return err
						}
						var n int
						err := tx.QueryRow(ctx, "select count(*) from "+table+" where n between $1 and $2", 10_000+who*100, 10_000+who*100+99).Scan(&n)
						if err == nil && n != i+1 {
							return fmt.Errorf("client %d sees %d rows in round %d", who, n, i)
						}
						return err
					})
					if err != nil {
						return err
					}
				}
				return nil
			})(ctx)
		})
	}
	wg.Wait()
	close(errs)
	var first error
	for err := range errs {
		if err != nil && first == nil {
			first = err
		}
	}
	return first
}
