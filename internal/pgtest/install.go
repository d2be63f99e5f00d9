package pgtest

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// BinVariable names the environment variable that says in which folder PostgreSQL's programs are; it wins over PATH.
const BinVariable = "HYBRIDBOUNCER_PG_BIN"

// binPatterns are where packages put initdb and postgres, which are seldom in PATH: Debian and Ubuntu, the PGDG and Fedora RPMs,
// Alpine, Homebrew on both processors, and PostgreSQL's own make install.
var binPatterns = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/usr/libexec/postgresql*",
	"/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin",
	"/usr/local/pgsql/bin",
}

// MissingError says that this machine has no PostgreSQL that Start could run, and what to do about it.
type MissingError struct {
	// Looked is every folder that was tried.
	Looked []string
}

// Error names the folders tried and the ways out.
func (e *MissingError) Error() string {
	return "no PostgreSQL server found (looked for initdb and postgres in " + strings.Join(e.Looked, ", ") + "): " +
		"install it (Debian, Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server; Alpine: apk add postgresql; " +
		"macOS: brew install postgresql), or set " + BinVariable + " to the folder that holds initdb and postgres"
}

// installation is a PostgreSQL on this machine and the user that may run it.
type installation struct {
	bin        string              // folder with initdb and postgres
	credential *syscall.Credential // nil: as ourselves
}

func (i *installation) initdb() string   { return filepath.Join(i.bin, "initdb") }
func (i *installation) postgres() string { return filepath.Join(i.bin, "postgres") }

// BinDir is the folder of PostgreSQL's programs (initdb, postgres and, of most packages, pgbench and psql), or a *MissingError.
func BinDir() (string, error) {
	i, err := findInstallation()
	if err != nil {
		return "", err
	}
	return i.bin, nil
}

// Program is the path of one of PostgreSQL's client programs (psql, pgbench, ...): that of BinDir or, when its package has none, the one of
// another installation on this machine. Clients get on with servers of other versions.
func Program(name string) (string, error) {
	bin, err := BinDir()
	if err != nil {
		return "", err
	}
	if path, err := exec.LookPath(filepath.Join(bin, name)); err == nil {
		return path, nil
	}
	if bin, err = findBin("", os.Getenv("PATH"), binPatterns); err == nil {
		if path, err := exec.LookPath(filepath.Join(bin, name)); err == nil {
			return path, nil
		}
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	return "", fmt.Errorf("%s is neither beside PostgreSQL's other programs nor in PATH (Debian: the package postgresql-client, and "+
		"postgresql-contrib for pgbench)", name)
}

var findInstallation = sync.OnceValues(func() (*installation, error) {
	bin, err := findBin(os.Getenv(BinVariable), os.Getenv("PATH"), binPatterns)
	if err != nil {
		return nil, err
	}
	i := &installation{bin: bin}
	if os.Geteuid() == 0 {
		if i.credential, err = unprivileged(); err != nil {
			return nil, err
		}
	}
	return i, nil
})

// findBin returns the first folder with both programs: chosen alone if it is set, else those of path, else the newest version
// that a pattern finds.
func findBin(chosen, path string, patterns []string) (string, error) {
	if chosen != "" {
		if complete(chosen) {
			return chosen, nil
		}
		return "", &MissingError{Looked: []string{BinVariable + "=" + chosen}}
	}
	looked := []string{"PATH"}
	for _, dir := range filepath.SplitList(path) {
		if dir == "" || !complete(dir) {
			continue
		}
		// A link in /usr/local/bin leads to the true folder, which also has the programs that were not linked.
		if target, err := filepath.EvalSymlinks(filepath.Join(dir, "postgres")); err == nil && complete(filepath.Dir(target)) {
			return filepath.Dir(target), nil
		}
		return dir, nil
	}
	for _, pattern := range patterns {
		looked = append(looked, pattern)
		found, _ := filepath.Glob(pattern)
		sort.SliceStable(found, func(a, b int) bool { return version(found[a]) > version(found[b]) })
		for _, dir := range found {
			if complete(dir) {
				return dir, nil
			}
		}
	}
	return "", &MissingError{Looked: looked}
}

// complete says whether dir holds both programs.
func complete(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// version is the first number in a path: 17 for /usr/lib/postgresql/17/bin; 0 without one.
func version(path string) int {
	digits := strings.FieldsFunc(path, func(r rune) bool { return r < '0' || r > '9' })
	if len(digits) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(digits[0])
	return n
}

// unprivileged is the user as whom root runs the server, for PostgreSQL refuses to run as root.
func unprivileged() (*syscall.Credential, error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil && uid != 0 {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, fmt.Errorf("PostgreSQL refuses to run as root, and this machine has neither a user postgres nor a user nobody to " +
		"run it as: create one (useradd --system postgres), or run this as another user")
}
