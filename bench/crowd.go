package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// crowd is many clients that are logged in and do nothing.
type crowd struct {
	target  *target
	due     time.Duration // for each login and query
	clients []*client
}

// loginsAtOnce is how many clients log in at the same time: enough to keep a pooler busy, few enough for any listen backlog.
const loginsAtOnce = 16

// grow logs clients in until there are size of them. Each runs first, when it is not empty, so that what an idle client keeps
// after its work is counted, not only what it never had.
func (c *crowd) grow(ctx context.Context, size int, first string) error {
	var (
		mu       sync.Mutex // guards c.clients, failures and missing
		failures []error
		workers  sync.WaitGroup
		missing  = size - len(c.clients)
	)
	take := func() bool {
		mu.Lock()
		defer mu.Unlock()
		missing--
		return missing >= 0 && len(failures) == 0 && ctx.Err() == nil
	}
	for range loginsAtOnce {
		workers.Go(func() {
			for take() {
				one, err := login(ctx, c.target, c.due)
				if err == nil && first != "" {
					_, err = one.query(first)
				}
				mu.Lock()
				if one != nil {
					c.clients = append(c.clients, one)
				}
				if err != nil {
					failures = append(failures, err)
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	if err := errors.Join(firstOf(failures), ctx.Err()); err != nil {
		return fmt.Errorf("with %d of %d idle clients logged in: %w", len(c.clients), size, err)
	}
	return nil
}

// firstOf is the first of several errors that mostly say the same, with their number.
func firstOf(failures []error) error {
	switch len(failures) {
	case 0:
		return nil
	case 1:
		return failures[0]
	}
	return fmt.Errorf("%w (and %d more such errors)", failures[0], len(failures)-1)
}

func (c *crowd) leave() {
	for _, one := range c.clients {
		one.close()
	}
	c.clients = nil
}

// pause waits, or ends early with the context's error.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// bytesPerIdleClient is the slope of the resident set between few and many idle clients of one process, so that what the
// process needs with nobody there does not count. The process must be a fresh one: memory freed by earlier clients would be
// used again and the slope too small.
func bytesPerIdleClient(ctx context.Context, p *pooler, to *target, few, many int, first string, settle time.Duration) (float64, error) {
	idle := &crowd{target: to, due: 30 * time.Second}
	defer idle.leave()
	var resident [2]int64
	for i, size := range []int{few, many} {
		if err := idle.grow(ctx, size, first); err != nil {
			return 0, fmt.Errorf("%s: %w", p.name, err)
		}
		if err := pause(ctx, settle); err != nil {
			return 0, err
		}
		bytes, err := residentBytes(p.pids)
		if err != nil {
			return 0, err
		}
		resident[i] = bytes
	}
	return float64(resident[1]-resident[0]) / float64(many-few), nil
}

// loginFigures say how fast clients can come and go.
type loginFigures struct {
	perSecond            float64
	microsecondsPerLogin float64 // CPU of the pooler's processes
}

// measureLogins lets clients log in, run nothing and leave, as fast as they can for the duration.
func measureLogins(ctx context.Context, p *pooler, to *target, duration time.Duration) (loginFigures, error) {
	const due = 30 * time.Second
	if err := loginOnce(ctx, to, due); err != nil {
		return loginFigures{}, fmt.Errorf("%s: %w", p.name, err)
	}
	usageBefore, err := readUsage(p.pids)
	if err != nil {
		return loginFigures{}, err
	}
	start := time.Now()
	total, err := loginsUntil(ctx, to, start.Add(duration), due)
	elapsed := time.Since(start)
	if err != nil {
		return loginFigures{}, fmt.Errorf("%s: %w", p.name, err)
	}
	usageAfter, err := readUsage(p.pids)
	if err != nil {
		return loginFigures{}, err
	}
	return loginFigures{
		perSecond:            float64(total) / elapsed.Seconds(),
		microsecondsPerLogin: float64((usageAfter.cpu - usageBefore.cpu).Microseconds()) / float64(max(total, 1)),
	}, nil
}

// loginOnce sees to it that a pooler's first server and keys exist before a clock runs.
func loginOnce(ctx context.Context, to *target, due time.Duration) error {
	before, err := login(ctx, to, due)
	if err != nil {
		return err
	}
	defer before.close()
	_, err = before.query("SELECT 1")
	return err
}

func loginsUntil(ctx context.Context, to *target, end time.Time, due time.Duration) (total int, err error) {
	var (
		mu       sync.Mutex // guards total and failures
		failures []error
		workers  sync.WaitGroup
	)
	for range loginsAtOnce {
		workers.Go(func() {
			count := 0
			var failure error
			for time.Now().Before(end) && ctx.Err() == nil && failure == nil {
				one, err := login(ctx, to, due)
				if failure = err; err == nil {
					one.close()
					count++
				}
			}
			mu.Lock()
			defer mu.Unlock()
			total += count
			if failure != nil {
				failures = append(failures, failure)
			}
		})
	}
	workers.Wait()
	return total, errors.Join(firstOf(failures), ctx.Err())
}
