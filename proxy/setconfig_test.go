package proxy_test

import (
	"bytes"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestSetConfigToNull: set_config of NULL, bound or not, resets: the client has again what its session began with, on every server.
func TestSetConfigToNull(t *testing.T) {
	p := start(t, pgtest.Shared(t), three, "")
	w := p.enter(t, p.transaction, tenant("7"))
	for value, parameters := range map[string][][]byte{"$1": {nil}, "null": nil} {
		run(t, w, "set app.tenant to '8'")
		w.Send(&pgproto3.Parse{Query: "select set_config('app.tenant', " + value + ", false)"}, &pgproto3.Bind{Parameters: parameters}, &pgproto3.Execute{}, &pgproto3.Sync{})
		w.ReceiveReady()
		for range 4 {
			if got := one(t, w, tenantNow); got != "tenant_7|7|begun" {
				t.Errorf("%s: %s", value, got)
			}
		}
	}
}

// TestSetConfigInLongBind: what a Bind sets whose other parameters are too long to be kept follows its client.
func TestSetConfigInLongBind(t *testing.T) {
	first, second := succession(t, "tracked")
	long := bytes.Repeat([]byte("x"), 1<<20) // more than the loop reads at once
	bind := &pgproto3.Bind{Parameters: [][]byte{[]byte("app.tenant_id"), []byte("7"), long}}
	first.Send(&pgproto3.Parse{Query: "select set_config($1, $2, false), length($3)"}, bind, &pgproto3.Execute{}, &pgproto3.Sync{})
	first.ReceiveReady()
	if have := one(t, second, "select coalesce(current_setting('app.tenant_id', true), '')"); have != "" {
		t.Errorf("another client sees %q", have)
	}
	if have := one(t, first, "select coalesce(current_setting('app.tenant_id', true), '')"); have != "7" {
		t.Errorf("the client has %q", have)
	}
}
