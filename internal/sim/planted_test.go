package sim

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var allPlanted = flag.Bool("planted", false, "plant every bug, not only the first few")

// planted are bugs that the simulation must find: one line of the pooler, changed.
var planted = []struct{ name, file, from, to string }{
	{
		"a server is given back one reply too early", "proxy/relay/relay.go",
		"return s.owed.n == 0 && !s.batchOpen", "return s.owed.n <= 1 && !s.batchOpen",
	},
	{
		"a waiter is forgotten", "pool/checkin.go",
		"if w := p.waiters.pick(s.Loop); w != nil {", "if w := p.waiters.pick(s.Loop); w != nil && w.overtaken == 0 && p.waiters.n != 1 {",
	},
	{
		"a budget is off by one", "pool/budget.go",
		"&& p.open < p.room(now)", "&& p.open <= p.room(now)",
	},
	{
		"the gate lets a cancel request through", "pool/checkin.go",
		"case f.CancelsInFlight > 0:", "case f.CancelsInFlight > 1:",
	},
	{
		"a Flush ends a batch", "proxy/relay/relay.go",
		"return s.owed.n == 0 && !s.batchOpen &&", "return s.owed.n == 0 &&",
	},
	{
		"the queue is last in, first out", "pool/waiter.go",
		"	chosen := head\n", "	chosen := q.last\n",
	},
	{
		"CopyDone ahead of CopyInResponse is lost", "proxy/relay/owed.go",
		"if o.n > 0 {\n		slots := o.slots()", "if o.n < 0 {\n		slots := o.slots()",
	},
	{
		"what is said behind a torn message", "proxy/client.go",
		"if err != nil && !c.torn {", "if err != nil {",
	},
	{
		"a waiter that counted on a server that failed its check", "pool/checkin.go",
		"	s.moveTo(ServerClosing)\n	p.revive(now)\n	return", "	s.moveTo(ServerClosing)\n	return",
	},
}

// plantedFew are planted in every run of the tests: the ones that a pooler dies of.
const plantedFew = 3

// plantedSeeds is within how many seeds the simulation finds each of them.
const plantedSeeds = "20000"

// TestPlanted plants one bug after the other, each in a copy of one file, and expects TestSeeds to fail.
func TestPlanted(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	bugs := planted
	if !*allPlanted {
		bugs = bugs[:plantedFew]
	}
	for _, bug := range bugs {
		t.Run(bug.name, func(t *testing.T) {
			overlay := plant(t, filepath.Join(root, bug.file), bug.from, bug.to)
			test := exec.Command("go", "test", "-overlay", overlay, "-count=1", "-timeout=5m", "-run=^TestSeeds$", ".", "-args", "-seeds", plantedSeeds)
			output, err := test.CombinedOutput()
			text := string(output)
			if err == nil {
				t.Fatalf("%s seeds have not found it", plantedSeeds)
			}
			if !strings.Contains(text, "replay: ") {
				t.Fatalf("it failed, but not by a seed:\n%s", text)
			}
			_, found, _ := strings.Cut(text, "seed ")
			found, _, _ = strings.Cut(found, "\n")
			t.Logf("found by seed %s", found)
		})
	}
}

// plant writes a file with from replaced, once, and the overlay that puts it in the place of the real one.
func plant(t *testing.T, file, from, to string) (overlay string) {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(source), from) != 1 {
		t.Fatalf("%s has %q %d times, not once: the table of planted bugs is out of date", file, from, strings.Count(string(source), from))
	}
	folder := t.TempDir()
	changed := filepath.Join(folder, filepath.Base(file))
	if err := os.WriteFile(changed, []byte(strings.Replace(string(source), from, to, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]map[string]string{"Replace": {file: changed}})
	if err != nil {
		t.Fatal(err)
	}
	overlay = filepath.Join(folder, "overlay.json")
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return overlay
}
