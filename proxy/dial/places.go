package dial

import (
	"context"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// budgetQuery asks PostgreSQL how many connections it has for ordinary users.
const budgetQuery = `select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int -
	coalesce(current_setting('reserved_connections', true)::int, 0)`

// Places asks PostgreSQL how many connections it has for ordinary users.
func Places(ctx context.Context, pc *pgconn.PgConn) (int, error) {
	results, err := pc.Exec(ctx, budgetQuery).ReadAll()
	if err != nil {
		return 0, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return 0, protocol.ErrProtocol("max_connections: no answer")
	}
	return strconv.Atoi(string(results[0].Rows[0][0]))
}
