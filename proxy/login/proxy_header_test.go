package login

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// FuzzProxyHeader: no header makes the reader panic, read beyond itself, or give an address that it does not hold.
func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 203.0.113.7 127.0.0.1 1000 6432\r\nrest"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x07\x7f\x00\x00\x01\x01\x02\x03\x04rest"))
	f.Add([]byte("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		a, err := readProxyHeader(r)
		if err != nil && a.IsValid() {
			t.Fatal("an address beside an error")
		}
		used := len(b) - r.Len()
		if again, err2 := readProxyHeader(bytes.NewReader(b[:used])); err == nil && (err2 != nil || again != a) {
			t.Fatalf("it needs more than it has used: %v", err2)
		}
		if used > 0 && err == nil {
			if _, err := readProxyHeader(bytes.NewReader(b[:used-1])); err == nil {
				t.Fatal("it has used more than it needs")
			} else if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatal(err)
			}
		}
	})
}
