// Command dockerpg owns a PostgreSQL in a Docker container for the length of another command: `make run` falls back to it on
// machines that have a Docker engine but no PostgreSQL. It must not know the pooler; it sets SERVER=host:port and runs what it was
// told to. It is a module of its own, so that those who build hybridbouncer need none of what speaks to Docker.
//
//	dockerpg COMMAND [ARGUMENT...]
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/modules/postgres"
)

// image is the PostgreSQL that is started; the environment's IMAGE wins.
const image = "postgres:18-alpine"

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "dockerpg:", err)
	}
	os.Exit(code)
}

// run starts the container, runs the command, removes the container, and returns the command's exit code.
func run(command []string) (code int, err error) {
	if len(command) == 0 {
		return 2, errors.New("usage: dockerpg COMMAND [ARGUMENT...]")
	}
	// A first interrupt goes to the command, which shuts down and so ends us; none may leave the container behind.
	interrupts := make(chan os.Signal, 4)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupts)

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // pulling the image included
	defer cancel()
	name := image
	if chosen := os.Getenv("IMAGE"); chosen != "" {
		name = chosen
	}
	// The user of userlist.txt as shipped.
	container, err := postgres.Run(ctx, name, postgres.WithUsername("app"), postgres.WithPassword("app"),
		postgres.WithDatabase("app"), postgres.BasicWaitStrategies())
	if container != nil {
		defer func() { err = errors.Join(err, testcontainers.TerminateContainer(container)) }()
	}
	if err != nil {
		return 1, fmt.Errorf("start %s: %w", name, err)
	}
	host, err := container.Host(ctx)
	if err != nil {
		return 1, err
	}
	port, err := container.MappedPort(ctx, "5432/tcp")
	if err != nil {
		return 1, err
	}
	return attend(command, net.JoinHostPort(host, port.Port()), interrupts)
}

// attend runs the command with SERVER set, passes SIGTERM on (an interrupt at the terminal reaches it anyway), and waits for it.
func attend(command []string, server string, signals <-chan os.Signal) (int, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "SERVER="+server)
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			if s == syscall.SIGTERM {
				_ = cmd.Process.Signal(s)
			}
		case err := <-ended:
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				return max(exit.ExitCode(), 1), nil
			}
			return 0, err
		}
	}
}
