package login

import (
	"context"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/eventloop"
	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// trusting is a listener without passwords. refused receives the reasons of refusals.
func trusting(t *testing.T) (l *Listener, refused *[]string) {
	t.Helper()
	life, end := context.WithCancel(context.Background())
	t.Cleanup(end)
	cfg := &config.Config{
		Auth:      config.Auth{Type: "trust"},
		Listeners: []config.Listener{{Name: "x", PoolMode: "transaction", MaxClientConn: 10, ClientLoginTimeout: time.Second}},
	}
	refused = new([]string)
	s, err := New(Options{
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Life: life,
		Config:    func() *config.Config { return cfg },
		Draining:  func() bool { return false },
		OpenLoops: func() []*eventloop.Loop { return nil },
		Refused:   func(_, reason string) { *refused = append(*refused, reason) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if l, err = s.NewListener(&cfg.Listeners[0], false); err != nil {
		t.Fatal(err)
	}
	return l, refused
}

// logIn runs the login of a client with these startup parameters. The error has been given to Refuse.
func logIn(t *testing.T, l *Listener, parameters map[string]string) (admitted chan Admitted, client *pgtest.Wire) {
	t.Helper()
	near, far := net.Pipe()
	client = pgtest.NewWire(t, near)
	admitted = make(chan Admitted, 1)
	go func() {
		a := l.Begin(far)
		defer a.End()
		startup, err := a.ReadStartup()
		if err == nil && startup.Kind == protocol.StartupLogin {
			var is Admitted
			if is, err = a.Authenticate(); err == nil {
				admitted <- is
				err = a.Flush()
			}
		}
		if err != nil {
			a.Refuse(err)
		}
	}()
	client.Startup(parameters)
	return admitted, client
}

// TestAdmitted: the result of a login says who may come in, and where to. The client has heard AuthenticationOk and nothing else.
func TestAdmitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, refused := trusting(t)
		admitted, client := logIn(t, l, map[string]string{"user": "ann", "application_name": "app"})
		client.Expect("AuthenticationOk")
		a := <-admitted
		if a.User != "ann" || a.Database != "ann" || a.Startup.Get("application_name") != "app" || a.Replication != protocol.NoReplication || a.TLS != "" {
			t.Errorf("admitted %+v", a)
		}
		synctest.Wait()
		if len(*refused) != 0 || len(l.underWay.sockets) != 0 || len(l.logins.gate.passed) != 0 {
			t.Errorf("refused %v; %d logins are still under way, %d past the gate", *refused, len(l.underWay.sockets), len(l.logins.gate.passed))
		}
	})
}

// TestReplicationRefused: a client that wants replication is refused where the listener has none.
func TestReplicationRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := trusting(t)
		_, client := logIn(t, l, map[string]string{"user": "ann", "replication": "true"})
		client.ExpectError("0A000")
	})
}

// TestLoginStuckAtGate: a login that cannot pass the gate within client_login_timeout hears so, and is counted.
func TestLoginStuckAtGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, refused := trusting(t)
		for range gatePassedMax {
			l.logins.gate.passed <- struct{}{} // never taken back
		}
		begin := time.Now()
		_, client := logIn(t, l, map[string]string{"user": "ann"})
		e := client.ExpectError("08006")
		if !strings.Contains(e.Message+e.Detail, "client_login_timeout") || time.Since(begin) != time.Second {
			t.Errorf("%+v after %s", e, time.Since(begin))
		}
		synctest.Wait()
		if !slices.Equal(*refused, []string{"08006"}) || len(l.underWay.sockets) != 0 {
			t.Errorf("counted %v; %d logins are still under way", *refused, len(l.underWay.sockets))
		}
	})
}
