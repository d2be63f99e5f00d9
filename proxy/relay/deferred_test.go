package relay

import (
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestDeferredBeginAllocatesNothing: neither its answer nor the look at what is none.
func TestDeferredBeginAllocatesNothing(t *testing.T) {
	c := NewClient(true)
	c.Defer()
	b := pgtest.Encode(t, &pgproto3.Query{String: "begin read only"}, &pgproto3.Query{String: "commit"})
	other := pgtest.Encode(t, &pgproto3.Query{String: "begin; select 1"})
	allocations := testing.AllocsPerRun(1000, func() {
		for rest := b; len(rest) > 0; {
			step := c.FromClient(rest, nil)
			if step.Verdict != Answer {
				t.Fatal(step.Verdict)
			}
			rest = rest[step.N:]
		}
		if step := c.FromClient(other, nil); step.Verdict != Checkout {
			t.Fatal(step.Verdict)
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
}
