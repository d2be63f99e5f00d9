package pgtest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// programs makes folders with both programs, or one of them.
func programs(t *testing.T, root string, both []string, half string) {
	t.Helper()
	for _, dir := range append(both, half) {
		noError(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
		noError(t, os.WriteFile(filepath.Join(root, dir, "postgres"), nil, 0o755))
		if dir != half {
			noError(t, os.WriteFile(filepath.Join(root, dir, "initdb"), nil, 0o755))
		}
	}
}

func TestFindBin(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	noError(t, err)
	programs(t, root, []string{"chosen", "9/bin", "17/bin", "16/bin"}, "client-only")
	noError(t, os.Mkdir(filepath.Join(root, "links"), 0o755))
	for _, name := range []string{"initdb", "postgres"} {
		noError(t, os.Symlink(filepath.Join(root, "16/bin", name), filepath.Join(root, "links", name)))
	}
	// The pattern must match nothing but the numbered folders, and the numbers in root's own name must not decide.
	t.Chdir(root)
	patterns := []string{"*/bin"}
	for _, test := range []struct{ chosen, path, want string }{
		{chosen: "chosen", path: "links", want: "chosen"},
		{path: "client-only:" + filepath.Join(root, "links"), want: filepath.Join(root, "16/bin")},
		{path: "client-only", want: "17/bin"},
	} {
		got, err := findBin(test.chosen, test.path, patterns)
		if err != nil || got != test.want {
			t.Errorf("chosen %q, path %q: got %q, %v; want %q", test.chosen, test.path, got, err, test.want)
		}
	}
}

func TestFindBinSaysWhatToDo(t *testing.T) {
	_, err := findBin("", "", []string{"/nowhere/*/bin"})
	var missing *MissingError
	if !errors.As(err, &missing) {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{"/nowhere/*/bin", "apt-get install postgresql", BinVariable} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	if _, err := findBin("/nowhere", os.Getenv("PATH"), binPatterns); !errors.As(err, &missing) {
		t.Errorf("a chosen folder without PostgreSQL was passed over: %v", err)
	}
}

func TestProgram(t *testing.T) {
	path, err := Program("postgres")
	noError(t, err)
	if bin, _ := BinDir(); filepath.Dir(path) != bin {
		t.Errorf("%s is not in %s", path, bin)
	}
	path, err = Program("psql")
	noError(t, err)
	out, err := exec.Command(path, "--version").Output()
	if err != nil || !strings.HasPrefix(string(out), "psql (PostgreSQL)") {
		t.Errorf("%s says %q, %v", path, out, err)
	}
	if path, err := Program("no_such_program"); err == nil {
		t.Errorf("found %s", path)
	}
}
