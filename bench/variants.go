package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/hybridbouncer/hybridbouncer/bench/launch"
)

// variants are our pooler with each isolation that is asked for, or as it is.
func (s *setup) variants(ours launch.Product) []launch.Product {
	if s.isolations == "" {
		return []launch.Product{ours}
	}
	var list []launch.Product
	for isolation := range strings.SplitSeq(s.isolations, ",") {
		one, start := ours, ours.Start
		one.Name = "hybridbouncer, " + isolation
		one.Start = func(ctx context.Context, set launch.Settings) (*launch.Pooler, error) {
			set.Listener += fmt.Sprintf("isolation = %q\n", isolation)
			return launch.Renamed(start, one.Name)(ctx, set)
		}
		list = append(list, one)
	}
	return list
}
