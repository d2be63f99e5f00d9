package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/hybridbouncer/hybridbouncer/bench/wire"
)

// stream is one streaming client: most of its time it waits (a server-sent event stream has nothing to say), now and then it
// runs a short query, every tenth time a short transaction. It ends, after what it is doing, when ctx does.
func (s *scenario) stream(ctx context.Context, number int, one *wire.Client) {
	random := rand.New(rand.NewPCG(1, uint64(number))) // the same pauses in each run
	mean := s.scaled(s.streamPause)
	for turn := 0; ; turn++ {
		if pause(ctx, time.Duration(random.Int64N(int64(2*mean)+1))) != nil {
			return
		}
		var err error
		if turn%10 == 9 {
			err = s.shortTransaction(one, number, turn)
		} else {
			err = s.shortQuery(one, fmt.Sprintf("%d-%d", number, turn))
		}
		if err != nil {
			s.tally.fail("stream", fmt.Errorf("streaming client %d: %w", number, err))
			return
		}
	}
}

// shortQuery asks for something only this client can have asked for. A tenant in the answer comes from somebody else's session.
func (s *scenario) shortQuery(one *wire.Client, token string) error {
	start := time.Now()
	answer, err := one.Query("SELECT '" + token + "/' || coalesce(current_setting('app.tenant_id', true), '')")
	if err != nil {
		return err
	}
	tenant, own := strings.CutPrefix(answer, token+"/")
	s.tally.streamQuery(time.Since(start), own, own && tenant == "")
	return nil
}

// shortTransaction inserts and reads in one transaction: all of it must happen on one server.
func (s *scenario) shortTransaction(one *wire.Client, number, turn int) error {
	if _, err := one.Query("BEGIN"); err != nil {
		return err
	}
	insert := fmt.Sprintf("INSERT INTO hybridbouncer_bench.events (stream, number) VALUES (%d, %d)", number, turn)
	if _, err := one.Query(insert); err != nil {
		return err
	}
	if err := s.shortQuery(one, fmt.Sprintf("%d-%d", number, turn)); err != nil {
		return err
	}
	// Rows of this transaction alone: xmin is the id of the transaction that wrote a row (manual 5.5).
	count, err := one.Query(fmt.Sprintf("SELECT count(*) FROM hybridbouncer_bench.events WHERE stream = %d AND number = %d AND xmin = pg_current_xact_id()::xid", number, turn))
	if err != nil {
		return err
	}
	if _, err := one.Query("COMMIT"); err != nil {
		return err
	}
	s.tally.streamTransaction(count == "1")
	return nil
}
