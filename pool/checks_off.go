//go:build !checks

package pool

// guarded costs nothing here; see checks.go.
func (*Set) guarded() {}
