package auth

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestLookupShares: of logins of one user at the same time, the first asks, and one more for all others. The answer holds for as long as it is
// kept.
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
		if n := asked.Load(); n != 2 {
			t.Errorf("asked %d times", n)
		}
		<-time.After(2 * time.Second)
		l.doubt(key)
		_, _, _ = l.secret(t.Context(), key)
		if n := asked.Load(); n != 3 {
			t.Errorf("asked %d times after a login that failed", n)
		}
		<-time.After(11 * time.Second)
		_, _, _ = l.secret(t.Context(), key)
		_, _, _ = l.secret(t.Context(), lookupKey{"other", "u"})
		if n := asked.Load(); n != 5 {
			t.Errorf("asked %d times after the answer was too old, and in another database", n)
		}
	})
}

// TestLookupNeverOld: no login uses the answer to a question that was asked before the login began, and no user has more than one question
// under way. Nothing is left when all have ended.
func TestLookupNeverOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var password, underWay, asked atomic.Int32
		l := NewLookup(0, func(string, string) (Secret, bool, error) {
			if underWay.Add(1) != 1 {
				t.Error("two questions at once")
			}
			asked.Add(1)
			seen := password.Load()
			<-time.After(time.Second)
			underWay.Add(-1)
			return Secret{Text: fmt.Sprint(seen)}, true, nil
		})
		key := lookupKey{"d", "u"}
		var all sync.WaitGroup
		for range 100 {
			begun := password.Add(1)
			all.Go(func() {
				s, _, err := l.secret(t.Context(), key)
				if n, _ := strconv.Atoi(s.Text); n < int(begun) || err != nil {
					t.Errorf("a login that began with password %d was checked against %s (%v)", begun, s.Text, err)
				}
			})
			<-time.After(100 * time.Millisecond)
		}
		all.Wait()
		if n := asked.Load(); n > 13 || len(l.answers) != 0 {
			t.Errorf("asked %d times within 10 s, %d answers are kept", n, len(l.answers))
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
		all.Go(func() { // its question is the next one, so it does not hear of the panic
			if _, ok, err := l.secret(t.Context(), key); !ok || err != nil {
				t.Error(ok, err)
			}
		})
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
