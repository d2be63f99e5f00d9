package protocol

import (
	"flag"
	"testing"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

var rewrite = flag.Bool("rewrite", false, "write the generated document anew instead of comparing")

func TestMain(m *testing.M) { pgtest.Main(m) }
