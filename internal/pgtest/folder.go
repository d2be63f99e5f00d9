package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
)

// workplace is the folder of this process's clusters: the template that initdb made once, and a numbered folder for each cluster.
// The watchdog removes it when the process has ended.
type workplace struct {
	mu       sync.Mutex
	root     string // empty until the first cluster
	template string // data directory made by initdb; empty until it succeeded
	clusters int
}

var workshop workplace

// socketPathMax is the length in bytes that a unix socket's path may have on every system we run on (macOS: 104 with the final zero).
const socketPathMax = 103

// newFolder makes a folder with a fresh data directory, owned by the user that runs the server.
func newFolder(ctx context.Context, i *installation) (string, error) {
	workshop.mu.Lock()
	defer workshop.mu.Unlock()
	if err := workshop.prepare(ctx, i); err != nil {
		return "", err
	}
	workshop.clusters++
	folder := filepath.Join(workshop.root, strconv.Itoa(workshop.clusters))
	if err := makeOwned(folder, i); err != nil {
		return "", err
	}
	// cp rather than os.CopyFS: it keeps modes and shares blocks where the file system can.
	if err := i.run(ctx, folder, "cp", "-Rp", workshop.template, filepath.Join(folder, "data")); err != nil {
		return "", errors.Join(err, os.RemoveAll(folder))
	}
	return folder, nil
}

// prepare makes the root folder and the template, once per process.
func (w *workplace) prepare(ctx context.Context, i *installation) error {
	if w.root == "" {
		root, err := makeRoot()
		if err != nil {
			return err
		}
		if err := startWatchdog(root); err != nil {
			return errors.Join(err, os.RemoveAll(root))
		}
		w.root = root
	}
	if w.template != "" {
		return nil
	}
	folder := filepath.Join(w.root, "template")
	if err := makeOwned(folder, i); err != nil {
		return err
	}
	data := filepath.Join(folder, "data")
	err := i.run(ctx, folder, i.initdb(), "--pgdata="+data, "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C",
		"--no-sync", "--no-instructions")
	if err != nil {
		return errors.Join(err, os.RemoveAll(folder))
	}
	w.template = data
	return nil
}

// makeRoot makes the folder of this process: under TMPDIR if that is set, else in memory if there is room, else where the system
// keeps such things; but under /tmp where a socket's path would grow too long. Others may pass through it (the server's user, the
// pooler's), not list it.
func makeRoot() (string, error) {
	tmp := os.Getenv("TMPDIR")
	if tmp == "" {
		tmp = memoryFolder()
	}
	if tmp == "" {
		tmp = os.TempDir()
	}
	if len(tmp)+len("/hbpg-1234567890/1234/.s.PGSQL.12345") > socketPathMax {
		tmp = "/tmp"
	}
	root, err := os.MkdirTemp(tmp, "hbpg-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(root, 0o711); err != nil {
		return "", err
	}
	return root, nil
}

// makeOwned makes a folder that belongs to the server's user.
func makeOwned(folder string, i *installation) error {
	if err := os.Mkdir(folder, 0o755); err != nil {
		return err
	}
	return i.own(folder)
}

// own gives a file or folder to the server's user.
func (i *installation) own(path string) error {
	if i.credential == nil {
		return nil
	}
	return os.Chown(path, int(i.credential.Uid), int(i.credential.Gid))
}

// run runs a program to its end as the server's user, in a folder; the error carries what it printed.
func (i *installation) run(ctx context.Context, dir, name string, args ...string) error {
	var output bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = &output, &output
	p, err := i.start(cmd, dir, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	select {
	case <-p.ended:
	case <-ctx.Done():
		p.kill()
		return fmt.Errorf("%s: %w", name, ctx.Err())
	}
	if p.err != nil {
		return fmt.Errorf("%s: %w: %s", name, p.err, tail(output.String()))
	}
	return nil
}

// writeConfiguration writes what Start decides into the data directory: postgresql.auto.conf is read after postgresql.conf and
// holds nothing else in a new cluster.
func (c *Cluster) writeConfiguration() error {
	settings := map[string]string{
		"listen_addresses":        c.Host,
		"port":                    strconv.Itoa(c.Port),
		"unix_socket_directories": c.SocketDir,
		"max_connections":         "100",
		"fsync":                   "off", // the data is thrown away; committed rows still survive Kill
		// Further shared memory as files of the data directory, where they go with it; POSIX segments outlive a killed server.
		"dynamic_shared_memory_type": "mmap",
		"full_page_writes":           "off",
		"log_line_prefix":            "%m [%p] %u@%d %a: ",
	}
	if c.options.MaxConnections > 0 {
		settings["max_connections"] = strconv.Itoa(c.options.MaxConnections)
	}
	switch c.options.AuthMethod {
	case "md5", "scram-sha-256":
		settings["password_encryption"] = c.options.AuthMethod
	}
	if c.options.TLS {
		settings["ssl"] = "on"
	}
	for name, value := range c.options.Settings {
		settings[name] = value
	}
	var lines []string
	for name, value := range settings {
		lines = append(lines, name+" = '"+strings.ReplaceAll(value, "'", "''")+"'\n")
	}
	sort.Strings(lines)
	if err := c.writeFile("postgresql.auto.conf", strings.Join(lines, "")); err != nil {
		return err
	}
	hba := c.options.HBA
	if hba == "" {
		hba = fmt.Sprintf("local all all %[1]s\nhost all all all %[1]s\nlocal replication all %[1]s\nhost replication all all %[1]s\n",
			c.options.AuthMethod)
	}
	return c.writeFile("pg_hba.conf", "local all "+c.Superuser+" trust\n"+hba)
}

// writeFile writes a file of the data directory, readable by the server's user alone.
func (c *Cluster) writeFile(name, text string) error {
	path := filepath.Join(c.DataDir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	return c.inst.own(path)
}

// freePort finds a TCP port nobody listens on. It looks below the range from which systems take the local ports of outgoing
// connections (Linux: 32768 and up): a load test makes thousands of those, and one could take the port between a Halt and a
// Restart.
func freePort() (int, error) {
	const first, last, triesMax = 15000, 31999, 100
	var err error
	for range triesMax {
		port := first + rand.IntN(last-first+1)
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("no free TCP port among %d tried between %d and %d: %w", triesMax, first, last, err)
}
