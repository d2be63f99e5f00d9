package launch

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestGivenPooler(t *testing.T) {
	own := strconv.Itoa(os.Getpid())
	one, err := GivenProduct("odyssey=7432:" + own + "," + own)
	if err != nil {
		t.Fatal(err)
	}
	running, err := one.Start(t.Context(), Settings{})
	if err != nil {
		t.Fatal(err)
	}
	if one.Fresh || running.Name != "odyssey" || running.TransactionPort != 7432 || len(running.PIDs) != 2 {
		t.Errorf("got %+v, %+v", one, running)
	}
	for _, bad := range []string{"", "x", "x=7432", "=7432:" + own, "x=y:" + own, "x=7432:y", "x=7432:999999999"} {
		if _, err := GivenProduct(bad); err == nil || (!strings.Contains(err.Error(), "name=port:pid") && !strings.Contains(err.Error(), "999999999")) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
