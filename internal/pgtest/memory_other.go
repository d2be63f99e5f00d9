//go:build !linux

package pgtest

// memoryFolder is a folder in memory; only Linux has one that is always there.
func memoryFolder() string { return "" }
