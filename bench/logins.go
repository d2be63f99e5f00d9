package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hybridbouncer/hybridbouncer/bench/launch"
	"github.com/hybridbouncer/hybridbouncer/bench/measure"
	"github.com/hybridbouncer/hybridbouncer/bench/wire"
)

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

// loginFigures say how fast clients can come and go.
type loginFigures struct {
	perSecond            float64
	microsecondsPerLogin float64 // CPU of the pooler's processes
}

// measureLogins lets clients log in, run nothing and leave, as fast as they can for the duration.
func measureLogins(ctx context.Context, p *launch.Pooler, to *wire.Target, duration time.Duration) (loginFigures, error) {
	const due = 30 * time.Second
	if err := loginOnce(ctx, to, due); err != nil {
		return loginFigures{}, fmt.Errorf("%s: %w", p.Name, err)
	}
	usageBefore, err := measure.ReadUsage(p.PIDs)
	if err != nil {
		return loginFigures{}, err
	}
	start := time.Now()
	total, err := loginsUntil(ctx, to, start.Add(duration), due)
	elapsed := time.Since(start)
	if err != nil {
		return loginFigures{}, fmt.Errorf("%s: %w", p.Name, err)
	}
	usageAfter, err := measure.ReadUsage(p.PIDs)
	if err != nil {
		return loginFigures{}, err
	}
	return loginFigures{
		perSecond:            float64(total) / elapsed.Seconds(),
		microsecondsPerLogin: float64((usageAfter.CPU - usageBefore.CPU).Microseconds()) / float64(max(total, 1)),
	}, nil
}

// loginOnce sees to it that a pooler's first server and keys exist before a clock runs.
func loginOnce(ctx context.Context, to *wire.Target, due time.Duration) error {
	before, err := wire.Login(ctx, to, due)
	if err != nil {
		return err
	}
	defer before.Close()
	_, err = before.Query("SELECT 1")
	return err
}

func loginsUntil(ctx context.Context, to *wire.Target, end time.Time, due time.Duration) (total int, err error) {
	var (
		mu       sync.Mutex // guards total and failures
		failures []error
		workers  sync.WaitGroup
	)
	for range wire.LoginsAtOnce {
		workers.Go(func() {
			count := 0
			var failure error
			for time.Now().Before(end) && ctx.Err() == nil && failure == nil {
				one, err := wire.Login(ctx, to, due)
				if failure = err; err == nil {
					one.Close()
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
	return total, errors.Join(wire.FirstOf(failures), ctx.Err())
}
