package catalog

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// database is a database of its own in the shared PostgreSQL, with a connection of an ordinary role that owns its schema, and one of the
// superuser.
type database struct {
	t          *testing.T
	name       string
	plain, all *pgconn.PgConn
	ctx        context.Context
}

func newDatabase(t *testing.T) *database {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	cluster := pgtest.Shared(t)
	d := &database{t: t, ctx: ctx, name: "catalog_" + strings.ToLower(strings.ReplaceAll(t.Name(), "/", "_"))}
	admin := connect(ctx, t, cluster.DSN(cluster.Superuser, "postgres"))
	for _, sql := range []string{
		"DROP DATABASE IF EXISTS " + d.name, "CREATE DATABASE " + d.name,
		"DO $$BEGIN CREATE ROLE plain LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END$$",
		"DO $$BEGIN CREATE ROLE bob; EXCEPTION WHEN duplicate_object THEN NULL; END$$", "GRANT bob TO plain",
	} {
		if _, err := admin.Exec(ctx, sql).ReadAll(); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	d.all = connect(ctx, t, cluster.DSN(cluster.Superuser, d.name))
	d.run(d.all, "GRANT ALL ON SCHEMA public TO plain, bob; GRANT CREATE, TEMP ON DATABASE "+d.name+" TO plain; CREATE SCHEMA app AUTHORIZATION plain")
	d.plain = connect(ctx, t, cluster.DSN("plain", d.name))
	return d
}

func connect(ctx context.Context, t *testing.T, dsn string) *pgconn.PgConn {
	t.Helper()
	pc, err := pgconn.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close(context.Background()) })
	return pc
}

// run runs statements that must succeed.
func (d *database) run(pc *pgconn.PgConn, sql string) {
	d.t.Helper()
	if _, err := pc.Exec(d.ctx, sql).ReadAll(); err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
}

// load makes the catalogue as an ordinary role.
func (d *database) load(corrections map[string]*Deeds) *Catalogue {
	d.t.Helper()
	c, err := Load(func(sql string, row func([][]byte) error) error {
		rows := d.plain.Exec(d.ctx, sql)
		var err error
		for rows.NextResult() {
			for rows.ResultReader().NextRow() {
				err = errors.Join(err, row(rows.ResultReader().Values()))
			}
		}
		return errors.Join(err, rows.Close())
	}, corrections)
	if err != nil {
		d.t.Fatal(err)
	}
	return c
}

// judge is what the pooler would find out about a text: nothing, unless its Lexer has a reason to ask.
func judge(c *Catalogue, sql string) *Deeds {
	var l sqltext.Lexer
	l.Begin(sqltext.Dialect{})
	l.Watch(c.Names())
	l.Feed([]byte(sql))
	if !c.Concerns(l.End()) {
		return nil
	}
	return c.Judge([]byte(sql), sqltext.Dialect{})
}
