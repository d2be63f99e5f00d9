package wire

import (
	"testing"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }
