package sim

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
	"github.com/hybridbouncer/hybridbouncer/pool"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// modelScripts is how many random scripts are played to the model and to PostgreSQL.
const modelScripts = 500

// TestModel: the model of PostgreSQL answers what PostgreSQL answers.
func TestModel(t *testing.T) {
	c := pgtest.Shared(t)
	owner := pgtest.Login(t, fmt.Sprintf("%s:%d", c.Host, c.Port), "postgres", "postgres", "")
	owner.Query("create table sim (t text)")
	owner.ReceiveReady()
	for seed := range uint64(modelScripts) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		direct := pgtest.Login(t, fmt.Sprintf("%s:%d", c.Host, c.Port), "postgres", "postgres", "")
		model := &server{run: &run{notes: make(map[pool.Key][]note)}, session: newSession("")}
		model.run.servers = []*server{model}
		var script []string
		for range 1 + rnd.IntN(8) {
			var sent, expected []byte
			for _, m := range randomBatch(rnd) {
				script = append(script, fmt.Sprintf("%q", []byte(m)))
				sent = append(sent, m...)
				for _, reply := range model.replies(m) {
					expected = append(expected, reply...)
				}
			}
			direct.Raw(sent)
			if want, got := told(t, decode(t, expected)), told(t, direct.ReceiveReadies(readies(expected))); want != got {
				t.Fatalf("script %d:\n%s\nthe model says\n%s\nPostgreSQL says\n%s", seed, strings.Join(script, "\n"), want, got)
			}
		}
		direct.Close()
	}
}

// randomBatch is something that PostgreSQL answers with ReadyForQuery at its end.
func randomBatch(rnd *rand.Rand) (batch []message) {
	statements := []string{
		"select 'a'", "select 'b'", "select 1/0", "selec", "begin", "commit", "rollback", "set application_name = 'x'", "show application_name",
		"set lock_timeout = '7s'", "show lock_timeout", "reset lock_timeout", "reset application_name", "reset all", "deallocate all",
		"copy (select 'c') to stdout", "", "copy sim from stdin",
		"select rejected_by_hybridbouncer", "savepoint a", "savepoint b", "release a", "rollback to a", "rollback to b", "rollback to savepoint b",
	}
	notifying := []string{"listen n1", "listen n2", "unlisten n1", "unlisten *", "notify n1, 'd'", "notify n2, 'd'"}
	pick := func() string {
		if rnd.IntN(3) == 0 {
			return notifying[rnd.IntN(len(notifying))]
		}
		return statements[rnd.IntN(len(statements))]
	}
	name := func() string { return []string{"", "", "s1", "s2"}[rnd.IntN(4)] }
	if rnd.IntN(12) == 0 {
		return append(batch, frame(&pgproto3.Query{String: "discard all"}))
	}
	if rnd.IntN(2) == 0 {
		sql := pick()
		for rnd.IntN(3) == 0 {
			sql += ";" + pick()
		}
		batch = append(batch, frame(&pgproto3.Query{String: sql}))
		for range strings.Count(sql, "from stdin") {
			batch = append(batch, copyBatch(rnd)...)
		}
		return batch
	}
	for range 1 + rnd.IntN(3) {
		sql := pick()
		parsed := name()
		if rnd.IntN(3) > 0 {
			batch = append(batch, frame(&pgproto3.Parse{Name: parsed, Query: sql}))
		}
		if rnd.IntN(4) == 0 {
			batch = append(batch, frame(&pgproto3.Describe{ObjectType: 'S', Name: name()}))
		}
		if rnd.IntN(4) == 0 {
			parsed = name()
		}
		batch = append(batch, frame(&pgproto3.Bind{PreparedStatement: parsed}))
		if rnd.IntN(2) == 0 {
			batch = append(batch, frame(&pgproto3.Describe{ObjectType: 'P'}))
		}
		batch = append(batch, frame(&pgproto3.Execute{}))
		batch = append(batch, copyBatch(rnd)...) // ignored unless it copies
		if rnd.IntN(4) == 0 {
			batch = append(batch, frame(&pgproto3.Flush{}))
		}
		if rnd.IntN(4) == 0 {
			batch = append(batch, frame(&pgproto3.Close{ObjectType: 'P'}))
		}
		if rnd.IntN(4) == 0 {
			batch = append(batch, frame(&pgproto3.Close{ObjectType: 'S', Name: name()}))
		}
	}
	return append(batch, frame(&pgproto3.Sync{}))
}

func copyBatch(rnd *rand.Rand) (batch []message) {
	for range rnd.IntN(3) {
		batch = append(batch, frame(&pgproto3.CopyData{Data: []byte("row\n")}))
	}
	if rnd.IntN(3) == 0 {
		return append(batch, frame(&pgproto3.CopyFail{Message: "no"}))
	}
	return append(batch, frame(&pgproto3.CopyDone{}))
}

func readies(b []byte) (n int) {
	for len(b) > 0 {
		m, rest, _ := cut(b)
		if m.kind() == 'Z' {
			n++
		}
		b = rest
	}
	return n
}

func decode(t *testing.T, b []byte) (messages []pgproto3.BackendMessage) {
	for len(b) > 0 {
		one, rest, _ := cut(b)
		m, err := pgproto3.NewFrontend(bytes.NewReader(one), nil).Receive()
		if err != nil {
			t.Fatal(err)
		}
		messages, b = append(messages, m), rest
	}
	return messages
}

// told is what of the messages a client acts on.
func told(t *testing.T, messages []pgproto3.BackendMessage) string {
	t.Helper()
	var lines []string
	for _, m := range messages {
		switch m := m.(type) {
		case *pgproto3.ErrorResponse:
			lines = append(lines, fmt.Sprintf("ErrorResponse %s %s %s", m.Severity, m.Code, m.Message))
		case *pgproto3.NoticeResponse:
			lines = append(lines, fmt.Sprintf("NoticeResponse %s %s %s", m.Severity, m.Code, m.Message))
		case *pgproto3.NotificationResponse:
			payload, _, _ := strings.Cut(m.Payload, "#") // the model's has its number; see publish
			lines = append(lines, fmt.Sprintf("NotificationResponse %s %s", m.Channel, payload))
		case *pgproto3.RowDescription:
			lines = append(lines, fmt.Sprintf("RowDescription %s", m.Fields[0].Name))
		default:
			lines = append(lines, pgtest.Describe(m))
		}
	}
	return strings.Join(lines, "\n")
}
