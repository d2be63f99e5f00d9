//go:build !checks

package eventloop

// owned costs nothing here; see checks.go.
func (*Loop) owned(string) {}
