package auth

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestLookupShares: logins of one user at the same time ask once, and go by the answer for as long as it holds.
func TestLookupShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		l := NewLookup(10*time.Second, func(_, user string) (Secret, bool, error) {
			asked.Add(1)
			<-time.After(time.Second)
			return Secret{Text: user}, true, nil
		})
		key := lookupKey{"d", "u"}
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if s, ok, err := l.secret(t.Context(), key); s.Text != "u" || !ok || err != nil {
					t.Error(s, ok, err)
				}
			})
		}
		all.Wait()
		l.doubt(key) // just answered: it stays
		_, _, _ = l.secret(t.Context(), key)
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
		<-time.After(2 * time.Second)
		l.doubt(key)
		_, _, _ = l.secret(t.Context(), key)
		if n := asked.Load(); n != 2 {
			t.Errorf("asked %d times after a login that failed", n)
		}
		<-time.After(11 * time.Second)
		_, _, _ = l.secret(t.Context(), key)
		_, _, _ = l.secret(t.Context(), lookupKey{"other", "u"})
		if n := asked.Load(); n != 4 {
			t.Errorf("asked %d times after the answer was too old, and in another database", n)
		}
	})
}

// TestLookupFails: a fault is not kept, a panic leaves nobody waiting, and who gives up does not hold up the others.
func TestLookupFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turn := 0
		l := NewLookup(time.Hour, func(string, string) (Secret, bool, error) {
			<-time.After(time.Second)
			if turn++; turn == 1 {
				return Secret{}, false, errors.New("out of order")
			} else if turn == 2 {
				panic("bug")
			}
			return Secret{}, true, nil
		})
		key := lookupKey{"d", "u"}
		if _, _, err := l.secret(t.Context(), key); err == nil {
			t.Error("no error")
		}
		var all sync.WaitGroup
		all.Go(func() {
			defer func() { _ = recover() }()
			_, _, _ = l.secret(t.Context(), key)
		})
		synctest.Wait()
		hurried, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, _, err := l.secret(hurried, key); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if _, _, err := l.secret(t.Context(), key); !errors.Is(err, errLookupBroken) {
			t.Error(err)
		}
		all.Wait()
		if _, ok, err := l.secret(t.Context(), key); !ok || err != nil {
			t.Error(ok, err)
		}
	})
}

// TestLookupIsBounded: made-up names do not fill the memory.
func TestLookupIsBounded(t *testing.T) {
	l := NewLookup(time.Hour, func(string, string) (Secret, bool, error) { return Secret{}, false, nil })
	for i := range 2 * answersMax {
		_, _, _ = l.secret(t.Context(), lookupKey{"d", fmt.Sprint(i)})
	}
	if n := len(l.answers); n > answersMax {
		t.Errorf("%d answers are kept", n)
	}
}
