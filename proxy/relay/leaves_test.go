package relay

import (
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
	"github.com/hybridbouncer/hybridbouncer/sqltext"
)

// TestStatementsLeft: what is remembered of the statements that stay with the server is bounded, ends with what may be another server's, and costs
// nothing where the server is the client's own.
func TestStatementsLeft(t *testing.T) {
	link := func(restores bool) (*Client, *Server) {
		client, server := NewClient(false), NewServer()
		client.Session.Tracked, client.Session.Restores = !restores, restores
		server.Watch(&client, new(sqltext.Lexer))
		server.Link(&client, &Tally{}, &Desk{}, 0)
		return &client, &server
	}
	client, server := link(false)
	for i := range 2 * preparedMax {
		sendPieces(t, client, server, pgtest.Encode(t, &pgproto3.Parse{Name: strconv.Itoa(i)}), 1<<20)
	}
	if n := len(client.Session.here); n == 0 || n > preparedMax {
		t.Errorf("%d names are remembered", n)
	}
	sendPieces(t, client, server, pgtest.Encode(t, &pgproto3.Query{String: "select 1"}), 1<<20) // the server may be parted behind it
	if n := len(client.Session.here); n > 0 {
		t.Errorf("%d names are remembered behind a Query", n)
	}
	client, server = link(true)
	long := pgtest.Encode(t, &pgproto3.Bind{Parameters: [][]byte{make([]byte, 1<<10)}})
	if step := client.FromClient(long[:100], server); step.N != 100 || client.Session.partial != nil {
		t.Errorf("a long Bind is kept: %+v", step)
	}
}
