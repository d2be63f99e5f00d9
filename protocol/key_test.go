package protocol

import (
	"bytes"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// TestCancelKeys of both protocol versions make the round trip.
func TestCancelKeys(t *testing.T) {
	for _, n := range []int{4, 32, 256} {
		k, err := NewCancelKey(7, n)
		if err != nil {
			t.Fatal(err)
		}
		s, err := ReadStartup(bytes.NewReader(AppendCancelRequest(nil, k)))
		if err != nil || s.Kind != StartupCancel || !s.Cancel.Equal(k) {
			t.Fatalf("%d bytes: %+v %v", n, s, err)
		}
		k.Secret[0] ^= 1
		if s.Cancel.Equal(k) {
			t.Error("another secret is equal")
		}
	}
	for _, n := range []int{-1, 0, 3, 257} {
		if _, err := NewCancelKey(7, n); err == nil {
			t.Errorf("a key of %d bytes", n)
		}
	}
	a, _ := NewCancelKey(7, 32)
	b, _ := NewCancelKey(7, 32)
	other := CancelKey{ProcessID: 8, Secret: a.Secret}
	if a.Equal(b) || a.Equal(other) || !a.Equal(a) || a.Equal(CancelKey{ProcessID: 7, Secret: a.Secret[:31]}) {
		t.Error("equal is not equal")
	}
	if (CancelKey{}).Equal(CancelKey{}) {
		t.Error("no key at all opens the door")
	}
}

// TestBackendKeyData is read by a library, whatever the length of the secret.
func TestBackendKeyData(t *testing.T) {
	for _, n := range []int{4, 32, 256} {
		k, err := NewCancelKey(7, n)
		if err != nil {
			t.Fatal(err)
		}
		m, err := pgproto3.NewFrontend(bytes.NewReader(AppendBackendKeyData(nil, k)), io.Discard).Receive()
		if data, ok := m.(*pgproto3.BackendKeyData); err != nil || !ok || data.ProcessID != 7 || !bytes.Equal(data.SecretKey, k.Secret) {
			t.Errorf("%d bytes: %#v %v", n, m, err)
		}
	}
}

// TestCommandTag: the tag and nothing else, of whatever a server sends.
func TestCommandTag(t *testing.T) {
	for frame, want := range map[string]string{
		"C\x00\x00\x00\x0fINSERT 0 1\x00": "INSERT 0 1", "C\x00\x00\x00\x05\x00": "", "C\x00\x00\x00\x06no": "no", "C": "",
	} {
		if have := string(CommandTag([]byte(frame))); have != want {
			t.Errorf("%q: %q", frame, have)
		}
	}
	frame := []byte("C\x00\x00\x00\x0dSELECT 1\x00")
	if n := testing.AllocsPerRun(100, func() { CommandTag(frame) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
