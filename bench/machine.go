package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// machine describes where figures were taken, one fact a line, as Markdown: a figure without it says nothing.
func machine(ctx context.Context, server *postgres, products []product) string {
	var text strings.Builder
	fmt.Fprintf(&text, "- %s, commit %s\n", time.Now().UTC().Format("2006-01-02 15:04 MST"), commit())
	fmt.Fprintf(&text, "- %s, %d cores, %s, load average at the start %s\n", processorModel(), runtime.NumCPU(), firstLine("/proc/sys/kernel/osrelease", "Linux "), loadAverage())
	fmt.Fprintf(&text, "- %s, %s\n", serverVersion(ctx, server), programVersion("pgbench"))
	for _, p := range products {
		fmt.Fprintf(&text, "- %s: %s\n", p.name, p.version)
	}
	return text.String()
}

// commit is the repository's commit, marked when files differ from it; "unknown" outside a repository.
func commit() string {
	output, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=10").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(output))
}

func processorModel() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer file.Close()
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		name, value, ok := strings.Cut(scanner.Text(), ":")
		if ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func loadAverage() string {
	fields := strings.Fields(firstLine("/proc/loadavg", ""))
	if len(fields) == 0 {
		return "unknown"
	}
	return fields[0]
}

func firstLine(path, prefix string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return runtime.GOOS
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return prefix + line
}

func programVersion(program string) string {
	output, err := exec.Command(program, "--version").Output()
	if err != nil {
		return program + " not found"
	}
	return strings.TrimSpace(string(output))
}

func serverVersion(ctx context.Context, server *postgres) string {
	const due = 10 * time.Second
	to, err := server.target()
	if err != nil {
		return "PostgreSQL: " + err.Error()
	}
	one, err := login(ctx, to, due)
	if err != nil {
		return "PostgreSQL: " + err.Error()
	}
	defer one.close()
	version, err := one.query("SHOW server_version")
	if err != nil {
		return "PostgreSQL: " + err.Error()
	}
	return "PostgreSQL " + version
}
