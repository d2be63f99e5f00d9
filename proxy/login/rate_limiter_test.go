package login

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// TestLoginRateLimiter: a second's worth of logins may come at once. The others get their turns in the order in which they came, as far
// apart as login_rate says.
func TestLoginRateLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSecond, logins = 10, 15
		var r loginRateLimiter
		begin := time.Now()
		type turn struct {
			login int
			after time.Duration
		}
		turns := make(chan turn, logins)
		for i := range logins {
			go func() {
				if err := r.wait(t.Context(), perSecond); err != nil {
					t.Error(err)
				}
				turns <- turn{i, time.Since(begin)}
			}()
			synctest.Wait() // this login is in the queue before the next one comes
		}
		for i := range logins {
			want := turn{i, time.Duration(max(0, i-perSecond+1)) * time.Second / perSecond}
			if got := <-turns; got != want {
				t.Errorf("turn %+v, want %+v", got, want)
			}
		}
	})
}

// TestLoginRateTooLate: a login whose turn would come after its deadline is refused at once, and takes no turn. A login that gives up
// while it waits says so.
func TestLoginRateTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r loginRateLimiter
		hurried, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		for range 2 {
			if err := r.wait(hurried, 1); err != nil {
				var refusal *protocol.Error
				if !errors.As(err, &refusal) || refusal.Code != "53300" {
					t.Errorf("refused with %v", err)
				}
			}
		}
		begin := time.Now()
		if err := r.wait(t.Context(), 1); err != nil || time.Since(begin) != time.Second {
			t.Errorf("the next turn came after %s (%v), want a second: a refused login takes none", time.Since(begin), err)
		}
		ended, end := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, end)
		if err := r.wait(ended, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("a login that gives up hears %v", err)
		}
	})
}

// TestLoginRateChanges: a reload changes the rate for the logins that come afterwards; 0 means no limit.
func TestLoginRateChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r loginRateLimiter
		var took []time.Duration
		for _, perSecond := range []int{1, 0, 0, 4, 4} {
			begin := time.Now()
			if err := r.wait(t.Context(), perSecond); err != nil {
				t.Fatal(err)
			}
			took = append(took, time.Since(begin))
		}
		if want := []time.Duration{0, 0, 0, 250 * time.Millisecond, 250 * time.Millisecond}; !slices.Equal(took, want) {
			t.Errorf("waited %v, want %v", took, want)
		}
	})
}
