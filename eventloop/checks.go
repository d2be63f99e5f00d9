//go:build checks

package eventloop

import "fmt"

// owned panics when a method that belongs to the loop's thread is called from another: two threads in a loop's memory corrupt it in ways
// that show much later, somewhere else. Reading the thread's id is a system call, so only tests pay for it (build tag checks).
func (l *Loop) owned(method string) {
	if l != nil && !l.OnLoop() {
		panic(fmt.Sprintf("bug: %s belongs to the loop's thread %d and was called from thread %d (use Post)", method, l.thread.Load(), threadID()))
	}
}
