package eventloop

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRingTakenAway: where io_uring stops working while the program runs, everything goes on without it.
func TestRingTakenAway(t *testing.T) {
	k, err := newKernel(Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := k.(*epoll).ring
	if r == nil {
		if RingError() == nil {
			t.Fatal("there is an io_uring, and it is not used")
		}
		t.Logf("without io_uring: %v", RingError())
	}
	l := running(t, Options{Kernel: k})
	var owners [4]*recorder
	clients := make([]interface {
		Read([]byte) (int, error)
	}, len(owners))
	for i := range owners {
		client, src := pair(t)
		owners[i] = newRecorder(swallow)
		clients[i] = client
		adopt(t, l, owners[i], src)
	}
	for _, word := range []string{"before", "behind"} {
		call(l, func() {
			if word == "behind" && r != nil {
				null, err := os.Open(os.DevNull)
				if err != nil {
					t.Error(err)
					return
				}
				defer null.Close()
				if err := unix.Dup3(int(null.Fd()), r.fd, unix.O_CLOEXEC); err != nil {
					t.Error(err)
				}
			}
			for _, o := range owners {
				o.Send([]byte(word))
			}
		})
		for _, client := range clients {
			b := make([]byte, len(word))
			if _, err := client.Read(b); err != nil || string(b) != word {
				t.Fatalf("%q, %v", b, err)
			}
		}
	}
}

// TestRingBatches: batches longer than the ring, with sends that fail among them.
func TestRingBatches(t *testing.T) {
	k, err := newKernel(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	var pairs [2 * ringEntries][2]int
	var batch []Outgoing
	for i := range pairs {
		if pairs[i], err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pairs[i][0])
		defer unix.Close(pairs[i][1])
		batch = append(batch, Outgoing{FD: pairs[i][0], Bytes: []byte{byte(i)}})
		if i%5 == 0 {
			batch = append(batch, Outgoing{FD: 1 << 20, Bytes: []byte{0}}) // not open
		}
	}
	k.SendAll(batch)
	for i, s := range batch {
		if want := s.FD != 1<<20; want != (s.N == 1 && s.Errno == 0) || !want && s.Errno != unix.EBADF {
			t.Fatalf("%d: sent %d, %v", i, s.N, s.Errno)
		}
	}
	for i, p := range pairs {
		b := make([]byte, 9)
		if n, err := unix.Read(p[1], b); n != 1 || err != nil || b[0] != byte(i) {
			t.Fatalf("%d: %d bytes of %v, %v", i, n, b, err)
		}
	}
}
