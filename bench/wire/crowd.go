package wire

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Crowd is many clients that are logged in and do nothing.
type Crowd struct {
	Target  *Target
	Due     time.Duration // for each login and query
	Clients []*Client
}

// LoginsAtOnce is how many clients log in at the same time: enough to keep a pooler busy, few enough for any listen backlog.
const LoginsAtOnce = 16

// Grow logs clients in until there are size of them. Each runs first, when it is not empty, so that what an idle client keeps
// after its work is counted, not only what it never had.
func (c *Crowd) Grow(ctx context.Context, size int, first string) error {
	var (
		mu       sync.Mutex // guards c.clients, failures and missing
		failures []error
		workers  sync.WaitGroup
		missing  = size - len(c.Clients)
	)
	take := func() bool {
		mu.Lock()
		defer mu.Unlock()
		missing--
		return missing >= 0 && len(failures) == 0 && ctx.Err() == nil
	}
	for range LoginsAtOnce {
		workers.Go(func() {
			for take() {
				one, err := Login(ctx, c.Target, c.Due)
				if err == nil && first != "" {
					_, err = one.Query(first)
				}
				mu.Lock()
				if one != nil {
					c.Clients = append(c.Clients, one)
				}
				if err != nil {
					failures = append(failures, err)
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	if err := errors.Join(FirstOf(failures), ctx.Err()); err != nil {
		return fmt.Errorf("with %d of %d idle clients logged in: %w", len(c.Clients), size, err)
	}
	return nil
}

// FirstOf is the first of several errors that mostly say the same, with their number.
func FirstOf(failures []error) error {
	switch len(failures) {
	case 0:
		return nil
	case 1:
		return failures[0]
	}
	return fmt.Errorf("%w (and %d more such errors)", failures[0], len(failures)-1)
}

// Leave logs all clients out. The crowd may grow again.
func (c *Crowd) Leave() {
	for _, one := range c.Clients {
		one.Close()
	}
	c.Clients = nil
}
