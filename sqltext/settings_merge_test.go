package sqltext

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// TestSettingsLikeAMap compares changes of a set with those of a map.
func TestSettingsLikeAMap(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	values, s := map[string]string{}, Settings{}
	for range 20_000 {
		var changes []protocol.Param
		for range random.IntN(4) {
			name, value := fmt.Sprintf("n%d", random.IntN(12)), fmt.Sprint(random.IntN(3))
			if random.IntN(20) == 0 {
				name = ""
			}
			changes = append(changes, protocol.Param{Name: name, Value: value})
			values[name] = value
		}
		s = s.WithAll(changes...)
		gone := fmt.Sprintf("N%d", random.IntN(12))
		s = s.Without(gone)
		delete(values, foldName(gone))
		if want := MakeSettings(values); s != want {
			t.Fatalf("%q after %v without %s, want %q", s.text(), changes, gone, want.text())
		}
	}
}
