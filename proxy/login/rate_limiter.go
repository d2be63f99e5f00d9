package login

import (
	"context"
	"sync"

	"golang.org/x/time/rate"

	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// loginRateLimiter spreads logins over time: login_rate. Logins get their turns in the order in which they come. A second's worth may come
// at once.
type loginRateLimiter struct {
	mu      sync.Mutex
	limiter *rate.Limiter // nil: not used yet
}

// wait returns when it is the turn of a login. It refuses a login at once if its turn would come after the deadline of ctx. perSecond is
// login_rate; 0 means no limit.
func (r *loginRateLimiter) wait(ctx context.Context, perSecond int) error {
	if perSecond <= 0 {
		return nil
	}
	err := r.at(perSecond).Wait(ctx)
	if err != nil && ctx.Err() == nil {
		return protocol.ErrTooManyClients("login_rate", perSecond)
	}
	return err
}

// at returns the limiter, set to perSecond.
func (r *loginRateLimiter) at(perSecond int) *rate.Limiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.limiter == nil {
		r.limiter = rate.NewLimiter(rate.Limit(perSecond), perSecond)
	}
	if r.limiter.Burst() != perSecond {
		r.limiter.SetLimit(rate.Limit(perSecond))
		r.limiter.SetBurst(perSecond)
	}
	return r.limiter
}
