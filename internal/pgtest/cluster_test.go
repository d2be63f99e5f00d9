package pgtest

import (
	"context"
	"testing"
	"time"
)

func TestQuick(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for i := range 3 {
		b := time.Now()
		c, err := Start(ctx, Options{TLS: i == 1, AuthMethod: []string{"trust", "md5", "scram-sha-256"}[i]})
		if err != nil {
			t.Fatal(err)
		}
		t.Log(i, time.Since(b))
		r, err := c.Query("select version()")
		t.Log(r, err, c.DSN("postgres", "postgres"))
		c.Kill()
		b = time.Now()
		if err := c.Restart(); err != nil {
			t.Fatal(err)
		}
		t.Log("restart", time.Since(b))
		t.Log(c.Exec("select 1"))
		b = time.Now()
		t.Log(c.Stop(false), time.Since(b))
	}
}
