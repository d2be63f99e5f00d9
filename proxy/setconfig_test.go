package proxy_test

import (
	"bytes"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

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
