// Package compat owns the conformance scripts: what a client says, byte for byte, played to PostgreSQL directly and through each port
// of the pooler, and the comparison of the answers, message by message. It must not know how the pooler works: a target is an
// address, and what may differ on one of them is written down in expected.go, each difference with its reason.
//
// It is called by its own tests only, each play from the goroutine of one test. Scripts are the text files of testdata; their words
// are explained in script.go (what may be played) and message.go (how a message is written). play.go plays, render.go turns the
// answers into lines, diff.go compares them. generate_test.go makes up scripts at random.
package compat
