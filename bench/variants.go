package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// variants are our pooler with each isolation that is asked for, or as it is.
func (s *setup) variants(ours product) []product {
	if s.isolations == "" {
		return []product{ours}
	}
	var list []product
	for isolation := range strings.SplitSeq(s.isolations, ",") {
		one, start := ours, ours.start
		one.name = "hybridbouncer, " + isolation
		one.start = func(ctx context.Context, set settings) (*pooler, error) {
			set.listener += fmt.Sprintf("isolation = %q\n", isolation)
			return renamed(start, one.name)(ctx, set)
		}
		list = append(list, one)
	}
	return list
}

// olderProduct builds our pooler as it was at another commit of this repository.
func olderProduct(ctx context.Context, revision string) (_ product, cleanUp func(), err error) {
	folder, err := scratch("bench-older-*", nil)
	if err != nil {
		return product{}, nil, err
	}
	cleanUp = func() { _ = os.RemoveAll(folder) }
	defer func() {
		if err != nil {
			cleanUp()
		}
	}()
	archive := filepath.Join(folder, "source.tar")
	path := filepath.Join(folder, "hybridbouncer")
	for _, command := range [][]string{
		{"git", "archive", "-o", archive, revision},
		{"tar", "-xf", archive, "-C", folder},
		{"go", "build", "-C", folder, "-o", path, "./cmd/hybridbouncer"},
	} {
		if output, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput(); err != nil {
			return product{}, nil, fmt.Errorf("build commit %s (run this inside the repository): %s: %w\n%s", revision, strings.Join(command, " "), err, output)
		}
	}
	name := "commit " + revision
	return product{name: name, version: "hybridbouncer, " + name, fresh: true, start: renamed(func(ctx context.Context, s settings) (*pooler, error) {
		return startHybridbouncer(ctx, path, s)
	}, name)}, cleanUp, nil
}

// renamed gives the poolers of a product another name in the report.
func renamed(start func(context.Context, settings) (*pooler, error), name string) func(context.Context, settings) (*pooler, error) {
	return func(ctx context.Context, s settings) (*pooler, error) {
		p, err := start(ctx, s)
		if err == nil {
			p.name = name
		}
		return p, err
	}
}
