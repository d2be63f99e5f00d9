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

// TestRingBatches: batches longer than the ring, with transfers that fail among them.
func TestRingBatches(t *testing.T) {
	k, err := newKernel(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	var pairs [2 * ringEntries][2]int
	var batch []Transfer
	for i := range pairs {
		if pairs[i], err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0); err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pairs[i][0])
		defer unix.Close(pairs[i][1])
		batch = append(batch, Transfer{FD: pairs[i][0], Bytes: []byte{byte(i)}})
		if i%5 == 0 {
			batch = append(batch, Transfer{FD: 1 << 20, Bytes: []byte{0}}) // not open
		}
	}
	k.Transfer(batch)
	for i, s := range batch {
		if want := s.FD != 1<<20; want != (s.N == 1 && s.Errno == 0) || !want && s.Errno != unix.EBADF {
			t.Fatalf("%d: sent %d, %v", i, s.N, s.Errno)
		}
	}
	batch = batch[:0]
	for i := range pairs {
		batch = append(batch, Transfer{FD: pairs[i][1], Bytes: make([]byte, 9), Receive: true})
	}
	k.Transfer(batch)
	for i, r := range batch {
		if r.N != 1 || r.Errno != 0 || r.Bytes[0] != byte(i) {
			t.Fatalf("%d: received %d, %v, %v", i, r.N, r.Errno, r.Bytes)
		}
	}
	k.Transfer(batch)
	for i, r := range batch {
		if r.Errno != unix.EAGAIN || r.N != 0 {
			t.Fatalf("%d: an empty socket gave %d, %v", i, r.N, r.Errno)
		}
	}
}
