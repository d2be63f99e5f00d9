package proxy_test

import (
	"encoding/binary"
	"errors"
	"net"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hybridbouncer/hybridbouncer/internal/pgtest"
)

// TestSlowServer: a server that does not take a large query stops its client from being read; memory stays bounded, and nothing is lost.
func TestSlowServer(t *testing.T) {
	p := start(t, pgtest.Shared(t), single+"long_transaction = \"0s\"\n", "")
	w := p.login(t, p.transaction)
	pid, err := strconv.Atoi(one(t, w, "select pg_backend_pid()"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(pid, syscall.SIGCONT)
	text := "select 'heard' /*" + strings.Repeat("x", 48<<20) + "*/\x00"
	query := append(binary.BigEndian.AppendUint32([]byte{'Q'}, uint32(4+len(text))), text...)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	sent := 0
	for stuck := false; !stuck; {
		if err := w.Socket().SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := w.Socket().Write(query[sent:])
		var late net.Error
		stuck = errors.As(err, &late) && late.Timeout()
		if sent += n; err != nil && !stuck || sent == len(query) {
			t.Fatalf("%d bytes went to a server that takes none: %v", sent, err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 {
		t.Errorf("%d bytes of heap for a server that does not read", grown)
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	w.Raw(query[sent:])
	w.Expect("RowDescription ?column?", "DataRow heard", "CommandComplete SELECT 1", "ReadyForQuery I")
}
