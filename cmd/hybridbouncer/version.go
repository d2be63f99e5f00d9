package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// release is set by the release build: -ldflags "-X main.release=1.2.3".
var release = ""

// version gives the release, or the commit that the go command noted in the binary.
func version() string {
	text := release
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return first(text, "unknown")
	}
	revision, modified := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = ", modified"
		}
	}
	if text == "" && info.Main.Version != "(devel)" {
		text = info.Main.Version
	}
	text = first(text, "development")
	if revision != "" {
		text += " (" + revision + modified + ")"
	}
	return text
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// runVersion prints one line, for people and bug reports.
func runVersion(p *process, args []string) error {
	if err := p.parse(args); err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "hybridbouncer %s, %s, %s/%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
