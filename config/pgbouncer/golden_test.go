package pgbouncer_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/config"
	"github.com/hybridbouncer/hybridbouncer/config/load"
	"github.com/hybridbouncer/hybridbouncer/config/pgbouncer"
)

var rewrite = flag.Bool("rewrite", false, "write want.toml and want.txt in testdata, and docs/PGBOUNCER.md")

// cases are the folders of testdata, each with the ini files that one import reads. want.toml in a folder is the result.
var cases = map[string][]string{
	"pair":       {"pgbouncer_transactional.ini", "pgbouncer_session.ini"},
	"include":    {"main.ini"},
	"operator":   {"pgbouncer.ini"},
	"single":     {"pgbouncer.ini"},
	"everything": {"pgbouncer.ini"},
}

// compare compares a text with a file, or writes the file.
func compare(t *testing.T, path, have string) {
	t.Helper()
	if *rewrite {
		if err := os.WriteFile(path, []byte(have), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if have != string(want) {
		t.Errorf("%s differs (go test ./config/pgbouncer -rewrite writes it); have\n%s", path, have)
	}
}

// The folder that a relative file name counts from is written as $DIR in want.toml.
func TestGoldenPairs(t *testing.T) {
	for name, files := range cases {
		t.Run(name, func(t *testing.T) {
			t.Chdir(filepath.Join("testdata", name))
			imported, err := pgbouncer.Import(files...)
			if err != nil {
				t.Fatal(err)
			}
			here, err := os.Getwd()
			if err != nil {
				t.Fatal(err)
			}
			compare(t, "want.toml", strings.ReplaceAll(imported.TOML(), here, "$DIR"))
			sameConfiguration(t, imported)
		})
	}
}

// sameConfiguration checks that the written file and the translation itself are one configuration. Faults about files that this machine
// does not have are the same in both, too.
func sameConfiguration(t *testing.T, imported *pgbouncer.Imported) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(path, []byte(imported.TOML()), 0o600); err != nil {
		t.Fatal(err)
	}
	read, readErr := load.Config(path, nil)
	err := load.Complete(imported.Config, nil)
	if missing := faultTexts(err); len(missing) > 0 {
		for _, text := range missing {
			if !strings.Contains(text, "no such file or directory") {
				t.Errorf("the translation has a fault: %s", text)
			}
		}
		if have := faultTexts(readErr); !slices.Equal(have, missing) {
			t.Errorf("the file has the faults %q, the translation %q", have, missing)
		}
		return
	}
	if readErr != nil {
		t.Fatal(readErr)
	}
	for _, change := range config.Diff(imported.Config, read) {
		t.Errorf("the file has %s = %s, the translation %s", change.Key, change.New, change.Old)
	}
}

// faultTexts returns the faults without their places.
func faultTexts(err error) []string {
	if err == nil {
		return nil
	}
	var texts []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		_, text, _ := strings.Cut(line, ": ")
		texts = append(texts, text)
	}
	slices.Sort(texts)
	return texts
}

func TestDocument(t *testing.T) { compare(t, "../../docs/PGBOUNCER.md", pgbouncer.Document()) }
