package main

import (
	"slices"
	"time"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// secretsLook is how often the files that hold passwords are looked at, those that _FILE names of the environment lead to.
const secretsLook = time.Second

// secretFiles are those files as they were when they were read. Kubernetes and the like replace passwords but send no signals:
// a change reloads the configuration as SIGHUP does.
type secretFiles struct {
	read []config.Watched
	seen []config.Watched // at the last look
}

// changed reports, once, that a file is another than the one that was read. One that is just being written is left for the next look.
func (f *secretFiles) changed() bool {
	last := f.seen
	f.seen = nil
	for _, was := range f.read {
		f.seen = append(f.seen, config.Watch(was.Path))
	}
	if slices.EqualFunc(f.seen, f.read, config.Watched.Same) || !slices.EqualFunc(f.seen, last, config.Watched.Same) {
		return false
	}
	f.read = f.seen
	return true
}
