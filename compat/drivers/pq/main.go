// The ordinary day of an application on database/sql with lib/pq.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/lib/pq"
)

var (
	url   = os.Getenv("DAY_URL")
	table = os.Getenv("DAY_TABLE")
	bg    = context.Background()
)

func try(name string, run func(ctx context.Context, db *sql.DB) error) {
	ctx, cancel := context.WithTimeout(bg, 20*time.Second)
	defer cancel()
	db, err := sql.Open("postgres", url)
	if err == nil {
		err = run(ctx, db)
		_ = db.Close()
	}
	if err != nil {
		fmt.Println(name, "failed", strings.ReplaceAll(err.Error(), "\n", " "))
		return
	}
	fmt.Println(name, "ok")
}

func code(err error) string {
	var pe *pq.Error
	if errors.As(err, &pe) {
		return string(pe.Code)
	}
	return fmt.Sprint(err)
}

func main() {
	try("connect", func(ctx context.Context, db *sql.DB) error { return db.PingContext(ctx) })
	try("query", query)
	try("transaction", transaction)
	try("prepared", prepared)
	try("ddl", ddl)
	try("error", failing)
	try("retry", retry)
	try("copy", copyIn)
	fmt.Println("pipeline none lib/pq has no pipelines")
	try("cursor", cursor)
	try("settings", settings)
	try("cancel", cancelQuery)
	try("listen", listen)
	try("reconnect", reconnect)
	try("crowd", crowd)
}

func query(ctx context.Context, db *sql.DB) error {
	if _, err := db.ExecContext(ctx, "drop table if exists "+table+"; create table "+table+" (n int primary key, x text)"); err != nil {
		return err
	}
	var n int
	var x string
	if err := db.QueryRowContext(ctx, "select $1::int + 1, $2::text", 41, "it's").Scan(&n, &x); err != nil || n != 42 || x != "it's" {
		return fmt.Errorf("%d %q %w", n, x, err)
	}
	return nil
}

func transaction(ctx context.Context, db *sql.DB) error {
	for i, end := range []func(*sql.Tx) error{(*sql.Tx).Commit, (*sql.Tx).Rollback} {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "insert into "+table+" values ($1, 'tx')", i+1); err != nil {
			return err
		}
		if err := end(tx); err != nil {
			return err
		}
	}
	var n int
	if err := db.QueryRowContext(ctx, "select count(*) from "+table).Scan(&n); err != nil || n != 1 {
		return fmt.Errorf("%d rows, %w", n, err)
	}
	return nil
}

func prepared(ctx context.Context, db *sql.DB) error {
	var all []*sql.Stmt
	for who := range 3 {
		c, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		stmt, err := c.PrepareContext(ctx, fmt.Sprintf("select $1::int * 10 + %d", who))
		if err != nil {
			return err
		}
		defer stmt.Close()
		all = append(all, stmt)
	}
	for i := range 40 {
		for who, stmt := range all {
			var n int
			if err := stmt.QueryRowContext(ctx, i).Scan(&n); err != nil || n != i*10+who {
				return fmt.Errorf("round %d, connection %d: %d %w", i, who, n, err)
			}
		}
	}
	return nil
}

func ddl(ctx context.Context, db *sql.DB) error {
	stmt, err := db.PrepareContext(ctx, "select n from "+table)
	if err != nil {
		return err
	}
	defer stmt.Close()
	for i := range 3 {
		rows, err := stmt.QueryContext(ctx)
		if err != nil {
			return fmt.Errorf("round %d: %w", i, err)
		}
		if err := rows.Close(); err != nil {
			return err
		}
		if _, err := db.ExecContext(ctx, fmt.Sprintf("alter table %s add column c%d int", table, i)); err != nil {
			return err
		}
	}
	_, err = db.ExecContext(ctx, "alter table "+table+" drop column c0, drop column c1, drop column c2")
	return err
}

func failing(ctx context.Context, db *sql.DB) error {
	db.SetMaxOpenConns(1)
	for range 3 {
		if _, err := db.ExecContext(ctx, "insert into "+table+" values ($1, 'again')", 1); code(err) != "23505" {
			return fmt.Errorf("expected 23505: %w", err)
		}
		if _, err := db.ExecContext(ctx, "selec $1", 1); code(err) != "42601" {
			return fmt.Errorf("expected 42601: %w", err)
		}
		if err := db.PingContext(ctx); err != nil {
			return err
		}
	}
	return nil
}

func retry(ctx context.Context, db *sql.DB) error {
	for attempt := range 3 {
		tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable})
		if err != nil {
			return err
		}
		var n int
		if err := tx.QueryRowContext(ctx, "select count(*) from "+table).Scan(&n); err != nil {
			return err
		}
		if attempt == 0 {
			if _, err := db.ExecContext(ctx, "update "+table+" set x = 'other' where n = 1"); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, "update "+table+" set x = $1 where n = 1", "mine")
		if err == nil {
			err = tx.Commit()
		} else {
			_ = tx.Rollback()
		}
		switch {
		case err == nil && attempt > 0:
			return nil
		case err == nil || code(err) != "40001":
			return fmt.Errorf("attempt %d: %w", attempt, err)
		}
	}
	return errors.New("never succeeded")
}

func copyIn(ctx context.Context, db *sql.DB) error {
	for _, want := range []string{"<nil>", "23505"} {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		stmt, err := tx.PrepareContext(ctx, pq.CopyIn(table, "n", "x"))
		if err != nil {
			return err
		}
		for i := range 2000 {
			if _, err := stmt.ExecContext(ctx, 100+i, "copied"); err != nil && want == "<nil>" {
				return err
			}
		}
		_, err = stmt.ExecContext(ctx)
		_ = stmt.Close()
		if err == nil {
			err = tx.Commit()
		} else {
			_ = tx.Rollback()
		}
		if code(err) != want {
			return fmt.Errorf("expected %s: %w", want, err)
		}
	}
	return db.PingContext(ctx)
}

func cursor(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "declare cur cursor for select n from generate_series(1, 1000) n"); err != nil {
		return err
	}
	total := 0
	for range 10 {
		rows, err := tx.QueryContext(ctx, "fetch 100 from cur")
		if err != nil {
			return err
		}
		for rows.Next() {
			total++
		}
		if err := rows.Err(); err != nil {
			return err
		}
	}
	if total != 1000 {
		return fmt.Errorf("%d rows", total)
	}
	return tx.Commit()
}

func settings(ctx context.Context, db *sql.DB) error {
	zones := []string{"Asia/Tokyo", "Europe/Paris", "UTC"}
	var all []*sql.Conn
	for _, zone := range zones {
		c, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.ExecContext(ctx, "set timezone to '"+zone+"'"); err != nil {
			return err
		}
		all = append(all, c)
	}
	for range 10 {
		for i, c := range all {
			var zone string
			if err := c.QueryRowContext(ctx, "show timezone").Scan(&zone); err != nil || zone != zones[i] {
				return fmt.Errorf("%s, not %s: %w", zone, zones[i], err)
			}
		}
	}
	return nil
}

func cancelQuery(ctx context.Context, db *sql.DB) error {
	db.SetMaxOpenConns(1)
	short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := db.ExecContext(short, "select pg_sleep(15)")
	if err == nil || time.Since(start) > 5*time.Second {
		return fmt.Errorf("not canceled: %w", err)
	}
	return db.PingContext(ctx)
}

func listen(_ context.Context, db *sql.DB) error {
	l := pq.NewListener(url, time.Second, time.Minute, nil)
	defer l.Close()
	if err := l.Listen(table); err != nil {
		return err
	}
	if _, err := db.Exec("select pg_notify($1, 'hello')", table); err != nil {
		return err
	}
	select {
	case n := <-l.Notify:
		if n == nil || n.Extra != "hello" {
			return fmt.Errorf("got %v", n)
		}
		return nil
	case <-time.After(3 * time.Second):
		return errors.New("nothing heard for 3s")
	}
}

func reconnect(ctx context.Context, db *sql.DB) error {
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, "select pg_terminate_backend(pg_backend_pid())"); err == nil {
		return errors.New("survived its own termination")
	}
	return db.PingContext(ctx)
}

func crowd(ctx context.Context, db *sql.DB) error {
	var wg sync.WaitGroup
	errs := make(chan error, 20)
	for who := range 20 {
		wg.Go(func() { errs <- one(ctx, db, who) })
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

func one(ctx context.Context, db *sql.DB, who int) error {
	insert, err := db.PrepareContext(ctx, "insert into "+table+" values ($1, $2)")
	if err != nil {
		return err
	}
	defer insert.Close()
	for i := range 20 {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		if _, err := tx.StmtContext(ctx, insert).ExecContext(ctx, 10_000+who*100+i, "crowd"); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRowContext(ctx, "select count(*) from "+table+" where n between $1 and $2", 10_000+who*100, 10_000+who*100+99).Scan(&n); err != nil {
			return err
		}
		if n != i+1 {
			return fmt.Errorf("client %d sees %d rows in round %d", who, n, i)
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	return nil
}
