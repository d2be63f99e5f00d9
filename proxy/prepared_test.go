package proxy_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

var (
	scriptSeed  = flag.Uint64("script-seed", 0, "play this script alone")
	scriptCount = flag.Uint64("scripts", 150, "random scripts to play")
)

// TestScripts plays random sequences of messages, legal and illegal, through the transaction port and to PostgreSQL directly: the
// answers must be the same, message by message. Two clients take turns on two servers that are lent in turn, and each server holds
// three statements only, so that statements come and go all the time.
func TestScripts(t *testing.T) {
	c := pgtest.Shared(t)
	p := start(t, c, "default_pool_size = 2\nserver_round_robin = true\nmax_prepared_statements = 3\n", "")
	run(t, pgtest.Login(t, c.Address(), "postgres", "postgres", ""), "create table if not exists copied (i int)")
	first, last := uint64(1), *scriptCount
	if *scriptSeed != 0 {
		first, last = *scriptSeed, *scriptSeed
	}
	for seed := first; seed <= last; seed++ {
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) { playScript(t, p, c, seed) }) {
			t.Fatalf("replay with -script-seed %d", seed)
		}
	}
}

// mirrored is a client with its like that is connected to PostgreSQL itself.
type mirrored struct{ pooled, direct *pgtest.Wire }

func playScript(t *testing.T, p *pooler, c *pgtest.Cluster, seed uint64) {
	g := &scriptWriter{rnd: rand.New(rand.NewPCG(seed, 7))}
	var clients [2]mirrored
	for i := range clients {
		clients[i] = mirrored{p.login(t, p.transaction), pgtest.Login(t, c.Address(), "postgres", "postgres", "")}
		defer clients[i].pooled.Close()
		defer clients[i].direct.Close()
	}
	for range 12 {
		w := &clients[g.rnd.IntN(2)]
		messages, ready := g.round()
		var heard [2][]string
		for i, side := range []*pgtest.Wire{w.direct, w.pooled} {
			side.Send(messages...)
			heard[i] = hear(t, side, ready, g)
		}
		if a, b := strings.Join(heard[0], "\n"), strings.Join(heard[1], "\n"); a != b {
			if preparedTooLate(heard[0], heard[1]) {
				return // the two are no longer alike
			}
			t.Fatalf("sent:\n%s\n\nPostgreSQL answers:\n%s\n\nthrough the pooler:\n%s", strings.Join(g.told, "\n"), a, b)
		}
		g.told = append(g.told, "both answered "+strings.Join(heard[0], " | "))
	}
}

// hear collects what is said up to so many ReadyForQuery.
func hear(t *testing.T, w *pgtest.Wire, ready int, g *scriptWriter) (lines []string) {
	for ready > 0 {
		m, err := w.TryReceive()
		if err != nil {
			t.Fatalf("%s sent:\n%s\n\nheard:\n%s\n\nthen: %v", w.Socket().RemoteAddr(), strings.Join(g.told, "\n"), strings.Join(lines, "\n"), err)
		}
		lines = append(lines, tell(m))
		if _, is := m.(*pgproto3.ReadyForQuery); is {
			ready--
		}
	}
	return lines
}

// preparedTooLate reports the two differences there are. What a server lacks cannot be prepared on it in a failed transaction, so that a Bind
// or Describe gets the error that anything else gets there, not one of its own. And a prepared EXECUTE of what was not there yet has no result
// for ever where it was parsed, but one on a server where that happens later.
func preparedTooLate(direct, pooled []string) bool {
	for i, line := range pooled {
		if i >= len(direct) || line != direct[i] {
			later := i < len(direct) && direct[i] == "NoData" && strings.HasPrefix(line, "RowDescription")
			return later || strings.HasPrefix(line, "ErrorResponse ERROR 25P02")
		}
	}
	return false
}

// tell describes a message of a server's; what may differ is left out.
func tell(m pgproto3.BackendMessage) string {
	if e, ok := m.(*pgproto3.ErrorResponse); ok {
		return fmt.Sprintf("ErrorResponse %s %s %s", e.Severity, e.Code, strings.ReplaceAll(e.Message, `hb_1 "`, `hb_1"`))
	}
	return pgtest.Describe(m)
}

// scriptWriter makes messages up.
type scriptWriter struct {
	rnd  *rand.Rand
	told []string
}

var (
	scriptNames = []string{"a", "b", "c", "", "", "hb_1"}
	scriptTexts = []string{
		"select 1", "select 'two'", "select $1::int + 10", "select $1::text || 'x', 5", "values (1), (2), (3)", "selct", "select 1/0",
		"select nope", "begin", "commit", "rollback", "select 6 as six", "", "select 7", "select 'eight'", "deallocate all",
		"execute c", "deallocate b", "execute c(2)", "insert into copied values (1)", "select count(*) >= 0 from copied", "savepoint s", "rollback to s",
	}
	scriptQueries = []string{
		"begin", "commit", "rollback", "select 9", "select 1/0", "select 10; select 11", "deallocate all", "discard all", "begin; select 1/0",
		"execute c", "execute c(1)", "explain execute c", "set local search_path = pg_catalog", "set datestyle = 'SQL'",
		"deallocate a", "deallocate prepare \"b\" ;", "DEALLOCATE c", "deallocate hb_1",
	}
)

func pick[T any](g *scriptWriter, from []T) T { return from[g.rnd.IntN(len(from))] }

// round makes one to three batches, and says how many ReadyForQuery they call for.
func (g *scriptWriter) round() (messages []pgproto3.FrontendMessage, ready int) {
	g.told = append(g.told, "--")
	for range 1 + g.rnd.IntN(3) {
		ready++
		if g.rnd.IntN(5) == 0 {
			q := pick(g, scriptQueries)
			g.told = append(g.told, fmt.Sprintf("Query %q", q))
			messages = append(messages, &pgproto3.Query{String: q})
			continue
		}
		for range g.rnd.IntN(7) {
			m := g.message()
			g.told = append(g.told, fmt.Sprintf("%T %+v", m, m))
			messages = append(messages, m)
			if b, ok := m.(*pgproto3.Bind); ok && g.rnd.IntN(3) > 0 {
				e := &pgproto3.Execute{Portal: b.DestinationPortal, MaxRows: uint32(g.rnd.IntN(3))}
				g.told = append(g.told, fmt.Sprintf("%T %+v", e, e))
				messages = append(messages, e)
			}
		}
		g.told = append(g.told, "Sync")
		messages = append(messages, &pgproto3.Sync{})
	}
	return messages, ready
}

func (g *scriptWriter) message() pgproto3.FrontendMessage {
	portal := pick(g, []string{"", "", "p"})
	switch g.rnd.IntN(12) {
	case 0, 1, 2, 3:
		p := &pgproto3.Parse{Name: pick(g, scriptNames), Query: pick(g, scriptTexts)}
		if p.Name == "c" && !strings.HasPrefix(p.Query, "select") {
			p.Query = "select 7" // PostgreSQL does not survive an EXECUTE of ROLLBACK TO, for one
		}
		return p
	case 4, 5, 6, 7:
		b := &pgproto3.Bind{DestinationPortal: portal, PreparedStatement: pick(g, scriptNames)}
		if g.rnd.IntN(4) == 0 {
			b.Parameters = [][]byte{[]byte("1")}
		}
		return b
	case 8:
		return &pgproto3.Describe{ObjectType: pick(g, []byte("SSP")), Name: pick(g, scriptNames)}
	case 9:
		return &pgproto3.Close{ObjectType: pick(g, []byte("SSP")), Name: pick(g, scriptNames)}
	case 10:
		// Of no portal there is: PostgreSQL 15 itself crashes on some that are left over from a failed transaction.
		return &pgproto3.Execute{Portal: "nowhere"}
	default:
		return &pgproto3.Flush{}
	}
}
