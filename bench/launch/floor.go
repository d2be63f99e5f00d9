package launch

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// FloorProduct builds the relay of bench/floor, which only forwards. Every pooler pays at least its cost.
func FloorProduct(ctx context.Context) (_ Product, cleanUp func(), err error) {
	folder, err := Scratch("bench-floor-*", nil)
	if err != nil {
		return Product{}, nil, err
	}
	cleanUp = func() { _ = os.RemoveAll(folder) }
	path := filepath.Join(folder, "relay")
	if output, err := exec.CommandContext(ctx, "cc", "-O2", "-o", path, "bench/floor/relay.c").CombinedOutput(); err != nil {
		cleanUp()
		return Product{}, nil, fmt.Errorf("build the floor (it needs a C compiler, and the repository as working directory): %w\n%s", err, output)
	}
	return Product{Name: "bare relay", Version: "bench/floor, cc -O2", LoadOnly: true, Start: func(ctx context.Context, s Settings) (*Pooler, error) {
		return startFloor(ctx, path, folder, s)
	}}, cleanUp, nil
}

func startFloor(ctx context.Context, path, folder string, s Settings) (*Pooler, error) {
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	process, err := startChild("floor", folder, nil, path, strconv.Itoa(port), strconv.Itoa(s.Server.Port), strconv.Itoa(s.PoolSize))
	if err != nil {
		return nil, err
	}
	running := &Pooler{Name: "bare relay", TransactionPort: port, PIDs: []int{process.command.Process.Pid}, Stop: func() { process.Stop(syscall.SIGTERM) }}
	if err := process.waitListening(ctx, Address(port)); err != nil {
		running.Stop()
		return nil, err
	}
	return running, nil
}
