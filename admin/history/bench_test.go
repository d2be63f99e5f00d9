package history

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkAdd is a second of a pooler with 200 pools and 200 applications.
func BenchmarkAdd(b *testing.B) {
	h, w := newTest(), newWorld(200)
	s := w.sample()
	for i := range 200 {
		s.Applications = append(s.Applications, Application{Listener: "tx", Name: fmt.Sprint("app", i)})
	}
	at := testStart
	for b.Loop() {
		at = at.Add(time.Second)
		h.Add(at, s)
	}
}
