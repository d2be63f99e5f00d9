package dial

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/eventloop"
	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// asking is a handler that waits for the end of one answer.
type asking struct {
	eventloop.Conn
	heard  []byte
	answer chan string
}

func (a *asking) OnRead(b []byte) int {
	a.heard = append(a.heard, b...)
	if bytes.HasSuffix(a.heard, []byte("Z\x00\x00\x00\x05I")) {
		a.answer <- string(a.heard)
	}
	return len(b)
}

func (a *asking) OnEOF()             { a.answer <- "the end" }
func (a *asking) OnHangup()          {}
func (a *asking) OnDrained()         {}
func (a *asking) OnBroken(err error) { a.answer <- err.Error() }

// TestPgconnLetsGo: a server works although pgconn was still reading from it in the background when it was taken over, as happens when a
// write of the login took long.
func TestPgconnLetsGo(t *testing.T) {
	c := pgtest.New(t, pgtest.Options{TLS: true})
	for _, mode := range []string{"disable", "require"} {
		for _, stop := range []bool{true, false} { // told to stop after this read, or not yet
			t.Run(fmt.Sprintf("%s, told to stop: %v", mode, stop), func(t *testing.T) {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				defer cancel()
				target := Target{
					Server:   config.Server{SSLMode: mode, SSLNegotiation: "postgres"},
					Resolved: config.Resolved{Host: c.Host, Port: c.Port, DBName: "postgres", ServerUser: "postgres"},
				}
				cfg, err := configFor(target)
				if err != nil {
					t.Fatal(err)
				}
				reader := readerOf(cfg)
				pc, err := pgconn.ConnectConfig(ctx, cfg)
				if err != nil {
					t.Fatal(err)
				}
				h, err := pc.Hijack()
				if err != nil {
					t.Fatal(err)
				}
				background, ok := (*reader).(interface {
					io.Reader
					Start()
					Stop()
				})
				if !ok {
					t.Fatal("pgconn reads in another way now: look at letGo again")
				}
				background.Start()
				if stop {
					background.Stop()
				}
				d, err := fromHijacked(h, *reader, target)
				if err != nil {
					t.Fatal(err)
				}
				ask(ctx, t, d.Source)
			})
		}
	}
}

// ask sends a query from a loop and waits for its answer.
func ask(ctx context.Context, t *testing.T, src eventloop.Source) {
	t.Helper()
	query, err := (&pgproto3.Query{String: "select 'an answer'"}).Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := eventloop.New(eventloop.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := &asking{answer: make(chan string, 2)}
	l.Post(func() {
		if err := l.Adopt(&a.Conn, src, a); err != nil {
			t.Error(err)
		}
		a.Send(query)
	})
	done := make(chan struct{})
	go func() { l.Run(); close(done) }()
	select {
	case heard := <-a.answer:
		if !strings.Contains(heard, "an answer") {
			t.Errorf("%q", heard)
		}
	case <-ctx.Done():
		t.Error(ctx.Err())
	}
	l.Stop()
	<-done
}
