package leak

import (
	"context"
	"slices"
	"sync"
)

// noises are the tenants that make noise while a failure is shortened.
const noises = 2

// Shorten lives a failed life again, and leaves out what it fails without. at.Pooled is to be a pooler of one or two servers that nobody
// else uses: two clients make noise there. It returns the failure of the shortest script found, or nil when it does not fail again: then
// the others of its run had a part in it.
func Shorten(ctx context.Context, at Options, f *Failure) *Failure {
	ctx, stop := context.WithCancel(ctx)
	var noise sync.WaitGroup
	defer noise.Wait()
	defer stop()
	for i := range noises {
		noise.Go(func() {
			for number := 0; ctx.Err() == nil; number++ {
				life := NewLife(Options{Seed: at.Seed, Steps: 20, Hidden: at.Hidden}, at.Clients+i, number)
				_, _ = play(ctx, at.Pooled, PooledDatabase, life)
			}
		})
	}
	r := &run{Options: at, direct: make(chan struct{}, 1)}
	again := func(steps []Step) *Failure {
		const tries = 10 // whether it fails depends on what the others do
		life := f.Life
		life.Steps = steps
		for range tries {
			if failure, err := r.live(ctx, life); err == nil && failure != nil {
				return failure
			}
		}
		return nil
	}
	failure := again(f.Life.Steps[:f.Step+1])
	if failure == nil {
		return nil
	}
	return shortest(ctx, failure, again)
}

// shortest leaves out ever smaller parts. The first step, which makes the tenant's rows what they were, stays.
func shortest(ctx context.Context, failure *Failure, again func(steps []Step) *Failure) *Failure {
	for part := len(failure.Life.Steps) / 2; part > 0 && ctx.Err() == nil; {
		less := false
		for at := 1; at < len(failure.Life.Steps) && ctx.Err() == nil; {
			steps := slices.Delete(slices.Clone(failure.Life.Steps), at, min(at+part, len(failure.Life.Steps)))
			if shorter := again(steps); shorter != nil {
				shorter.Life.Steps = shorter.Life.Steps[:shorter.Step+1]
				failure, less = shorter, true
			} else {
				at += part
			}
		}
		if part > 1 {
			part /= 2
		} else if !less {
			break
		}
	}
	return failure
}
