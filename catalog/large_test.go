package catalog

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

var (
	largeFunctions = flag.Int("functions", 300, "functions of TestLargeDatabase")
	largeTables    = flag.Int("tables", 150, "tables of TestLargeDatabase")
)

// TestLargeDatabase: how long a large database takes to load, how much memory, and how much of it is found harmless. The figures in docs are
// those of -functions 10000 -tables 5000 (make catalogue).
func TestLargeDatabase(t *testing.T) {
	d := newDatabase(t)
	d.run(d.plain, functions)
	tables, functions := *largeTables, *largeFunctions
	for from := 0; from < tables; from += 100 {
		var b strings.Builder
		for i := from; i < min(from+100, tables); i++ {
			largeTable(&b, i)
		}
		d.run(d.plain, b.String())
	}
	for from := 0; from < functions; from += 200 {
		var b strings.Builder
		for i := from; i < min(from+200, functions); i++ {
			largeFunction(&b, i, tables)
		}
		d.run(d.plain, b.String())
	}
	d.run(d.all, "ANALYZE")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	d.change()
	begin, cpu := time.Now(), d.cpu()
	d.change()
	asked, askedCPU := time.Since(begin), d.cpu()-cpu
	begin, cpu = time.Now(), d.cpu()
	own := ownCPU()
	c := d.load(nil)
	took, tookCPU, tookOwn := time.Since(begin), d.cpu()-cpu, ownCPU()-own
	runtime.GC()
	runtime.ReadMemStats(&after)
	s := c.Stats()
	t.Logf("%d functions, %d harmless (%.0f %%); %d relations, %d harmless; loaded in %v (processor: %v ours, %v PostgreSQL's); "+
		"Stats.Bytes %d, heap %d; ChangeSQL %v (processor: %v); %d names",
		s.Functions, s.HarmlessFunctions, 100*float64(s.HarmlessFunctions)/float64(s.Functions), s.Relations, s.HarmlessRelations,
		took.Round(time.Millisecond), tookOwn, tookCPU, s.Bytes, int64(after.HeapAlloc)-int64(before.HeapAlloc), asked.Round(time.Millisecond),
		askedCPU, c.Names().Len())
	if s.Functions < functions || s.Relations < tables || s.HarmlessFunctions*10 < s.Functions*8 || s.HarmlessFunctions == s.Functions {
		t.Errorf("%+v", s)
	}
	for i := range functions {
		deeds := judge(c, fmt.Sprintf("SELECT app.f%d(1)", i))
		if want := largeDeeds(i); deeds.String() != want {
			t.Errorf("function %d: have %s, want %s", i, deeds, want)
		}
	}
	runtime.KeepAlive(c)
}

// cpu is the processor time of the server of the ordinary role, where the system tells, to a hundredth of a second.
func (d *database) cpu() time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.plain.PID()))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// ownCPU is that of this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// largeTable is a table as applications have them: keys, an index, checks, defaults, one in ten with a trigger, one in twenty with a view.
func largeTable(b *strings.Builder, i int) {
	fmt.Fprintf(b, `CREATE TABLE app.table_%[1]d (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL DEFAULT 'x', amount numeric(10, 2) CHECK (amount > 0),
		created_at timestamptz DEFAULT now(), tags text[] DEFAULT '{}', parent bigint REFERENCES app.table_%[2]d ON DELETE CASCADE, CHECK (length(name) < 100));
		CREATE INDEX ON app.table_%[1]d (lower(name)) WHERE amount IS NOT NULL;`, i, max(i-1, i/10*10))
	if i%10 == 3 {
		fmt.Fprintf(b, "CREATE TRIGGER touched BEFORE UPDATE ON app.table_%d FOR EACH ROW EXECUTE FUNCTION app.touch();", i)
	}
	if i%20 == 7 {
		fmt.Fprintf(b, "CREATE VIEW app.view_%[1]d AS SELECT t.name, count(*), max(u.created_at) FROM app.table_%[1]d t JOIN app.table_%[2]d u ON u.id = t.parent GROUP BY 1;", i, i-1)
	}
}

// largeFunction is a function of a module of ten that call each other in turn; one module in ten has one that does something.
func largeFunction(b *strings.Builder, i, tables int) {
	call := "1"
	if i%10 > 0 {
		call = fmt.Sprintf("app.f%d(k)", i-1)
	}
	padding := strings.Repeat("\n\t\t-- what this is for, in words that somebody has taken the time to write down", 6)
	switch {
	case i%100 == 7:
		fmt.Fprintf(b, "CREATE FUNCTION app.f%d(k bigint) RETURNS bigint LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('app.module_%d', k::text, false); RETURN %s; END$$;", i, i/100, call)
	case i%100 == 48:
		fmt.Fprintf(b, "CREATE FUNCTION app.f%d(k bigint) RETURNS bigint LANGUAGE plpgsql AS $$BEGIN EXECUTE 'SELECT ' || k; RETURN %s; END$$;", i, call)
	case i%2 == 0:
		fmt.Fprintf(b, "CREATE FUNCTION app.f%d(k bigint) RETURNS bigint LANGUAGE sql AS $$SELECT t.id + %s FROM app.table_%d t WHERE t.id = k AND t.name <> 'set role x'%s$$;", i, call, i%tables, padding)
	default:
		fmt.Fprintf(b, `CREATE FUNCTION app.f%d(k bigint) RETURNS bigint LANGUAGE plpgsql AS $$
		DECLARE r record; n bigint := 0;%s
		BEGIN
			FOR r IN SELECT * FROM app.table_%d t WHERE t.parent = k ORDER BY t.created_at LOOP
				IF r.amount > 100 THEN
					UPDATE app.table_%d t SET amount = t.amount + r.amount, name = coalesce(r.name, 'none') WHERE t.id = r.id;
				ELSIF r.amount IS NULL THEN
					RAISE NOTICE 'nothing for %%', r.id;
				ELSE
					INSERT INTO app.table_%d (name, amount) VALUES (r.name, CASE WHEN n > 0 THEN r.amount ELSE 0 END) RETURNING id INTO n;
				END IF;
			END LOOP;
			EXECUTE format('SELECT count(*) FROM app.table_%d WHERE id = %%L', k) INTO n;
			RETURN n + %s;
		EXCEPTION WHEN unique_violation THEN
			RETURN NULL;
		END$$;`, i, padding, i%tables, i%tables, (i+1)%tables, i%tables, call)
	}
}

// largeDeeds is what such a function does.
func largeDeeds(i int) string {
	switch {
	case i%100 >= 7 && i%100 < 10:
		return fmt.Sprintf("sets(app.module_%d)", i/100)
	case i%100 == 48, i%100 == 49:
		return "anything"
	}
	return "nothing"
}
