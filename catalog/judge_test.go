package catalog

import (
	"errors"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// TestJudgeUnread: of a text that nobody can read all is said that the database could do, and nothing less.
func TestJudgeUnread(t *testing.T) {
	d := newDatabase(t)
	d.run(d.plain, functions)
	c := d.load(nil)
	for _, text := range []string{"SELECT app.set_tenant('\\')", "SELECT app.set_tenant('\x95')"} {
		said := c.Judge([]byte(text), sqltext.Dialect{Doubtful: true, TrailingQuotes: true})
		if said == nil || said.What&Anything == 0 || !said.includes(&Deeds{What: SetsNamed, Settings: []string{"app.tenant"}}) || said != c.Unread() {
			t.Errorf("%q: %s", text, said)
		}
	}
	if said := c.Judge([]byte("SELECT app.set_tenant('x')"), sqltext.Dialect{Doubtful: true, TrailingQuotes: true}); said.String() != "sets(app.tenant)" {
		t.Errorf("a text without doubt: %s", said)
	}
}

// TestEmptyCatalogue: where nothing does anything, texts are not looked at.
func TestEmptyCatalogue(t *testing.T) {
	d := newDatabase(t)
	d.run(d.plain, "CREATE FUNCTION app.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TABLE app.t (a int)")
	c := d.load(nil)
	if !c.Names().Empty() || c.Concerns(sqltext.Defines|sqltext.Writes) {
		t.Errorf("%d names", c.Names().Len())
	}
	text, l := []byte("SELECT app.f()"), sqltext.Lexer{}
	if n := testing.AllocsPerRun(100, func() {
		l.Begin(sqltext.Dialect{})
		l.Watch(c.Names())
		l.Feed(text)
		if c.Concerns(l.End()) {
			t.Error("it concerns us")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	half := NewLoading(nil)
	half.Next()
	if _, err := half.Catalogue(); err == nil {
		t.Error("a catalogue of half the queries")
	}
	if err := half.Row([][]byte{nil}); err == nil {
		t.Error("a row of too few columns")
	}
}

// TestLoadFails: the first error is told, with what was asked, and the transaction is ended.
func TestLoadFails(t *testing.T) {
	for _, fails := range []string{BeginSQL, functionsSQL, bodiesSQL, EndSQL} {
		ended := false
		refused := errors.New("permission denied")
		c, err := Load(func(sql string, _ func([][]byte) error) error {
			ended = ended || sql == EndSQL
			if sql == fails {
				return refused
			}
			return nil
		}, nil)
		if c != nil || !errors.Is(err, refused) || !ended {
			t.Errorf("%.40s: %v, %v, ended: %v", fails, c, err, ended)
		}
	}
}

// BenchmarkJudge is the price of a text that mentions something, beside that of reading it, with names to watch for and without.
func BenchmarkJudge(b *testing.B) {
	loading := NewLoading(map[string]*Deeds{"set_tenant": {What: SetsNamed, Settings: []string{"app.tenant"}}})
	for loading.Next() {
		if loading.Step() == "functions" {
			for _, name := range []string{"set_tenant", "other", "app_user_audit"} {
				if err := loading.Row([][]byte{[]byte("16384"), []byte("app"), []byte(name), []byte("sql"), []byte("f"), []byte("v"), nil, []byte("f"), nil}); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	c, err := loading.Catalogue()
	if err != nil {
		b.Fatal(err)
	}
	const orm = `SELECT "app_user"."id", "app_user"."name", "app_user"."email", "app_user"."created_at" FROM "app_user" ` +
		`INNER JOIN "app_group" ON ("app_user"."group_id" = "app_group"."id") WHERE "app_group"."name" = $1 ORDER BY "app_user"."id" LIMIT 21`
	var l sqltext.Lexer
	for _, run := range []struct {
		name, sql    string
		watch, judge bool
	}{
		{"plain", orm, false, false},
		{"watched", orm, true, false},
		{"judged", "SELECT app.set_tenant('tenant-12345')", true, true},
	} {
		text := []byte(run.sql)
		b.Run(run.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l.Begin(sqltext.Dialect{})
				if run.watch {
					l.Watch(c.Names())
				}
				l.Feed(text)
				if e := l.End(); c.Concerns(e) != run.judge || run.judge && c.Judge(text, sqltext.Dialect{}) == nil {
					b.Fatal(e)
				}
			}
		})
	}
}
