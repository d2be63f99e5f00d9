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

	"github.com/hybridbouncer/hybridbouncer/bench/launch"
	"github.com/hybridbouncer/hybridbouncer/bench/wire"
)

// machine describes where figures were taken, one fact a line, as Markdown: a figure without it says nothing.
func machine(ctx context.Context, server *launch.Postgres, products []launch.Product) string {
	var text strings.Builder
	fmt.Fprintf(&text, "- %s, commit %s\n", time.Now().UTC().Format("2006-01-02 15:04 MST"), launch.Commit())
	fmt.Fprintf(&text, "- %s, %d cores, %s, load average at the start %s\n", processorModel(), runtime.NumCPU(), firstLine("/proc/sys/kernel/osrelease", "Linux "), loadAverage())
	fmt.Fprintf(&text, "- %s, %s\n", serverVersion(ctx, server), programVersion("pgbench"))
	for _, p := range products {
		fmt.Fprintf(&text, "- %s: %s\n", p.Name, p.Version)
	}
	return text.String()
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

func serverVersion(ctx context.Context, server *launch.Postgres) string {
	const due = 10 * time.Second
	to, err := server.Target()
	if err != nil {
		return "PostgreSQL: " + err.Error()
	}
	one, err := wire.Login(ctx, to, due)
	if err != nil {
		return "PostgreSQL: " + err.Error()
	}
	defer one.Close()
	version, err := one.Query("SHOW server_version")
	if err != nil {
		return "PostgreSQL: " + err.Error()
	}
	return "PostgreSQL " + version
}
