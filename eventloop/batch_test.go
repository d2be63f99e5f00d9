package eventloop

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// gathering is a Kernel that says it likes batches, wherever the test runs.
type gathering struct{ Kernel }

func (gathering) Batches() bool              { return true }
func (k gathering) SendAll(batch []Outgoing) { oneByOne(k.Kernel, batch) }
func gather(t testing.TB) (o Options) {
	t.Helper()
	k, err := newKernel(Options{OneByOne: true})
	if err != nil {
		t.Fatal(err)
	}
	return Options{Kernel: gathering{k}}
}

// eachKernel runs a test on loops that do everything one by one, on those that gather, and on what the system has.
func eachKernel(t *testing.T, test func(t *testing.T, l *Loop)) {
	t.Run("one by one", func(t *testing.T) { test(t, running(t, Options{OneByOne: true})) })
	t.Run("gathered", func(t *testing.T) { test(t, running(t, gather(t))) })
	t.Run("system", func(t *testing.T) { test(t, running(t, Options{})) })
}

// TestManyAtOnce: whatever the sizes, and however many are ready at once, every byte arrives in its place.
func TestManyAtOnce(t *testing.T) {
	eachKernel(t, func(t *testing.T, l *Loop) {
		var all sync.WaitGroup
		for i := range 3 * batchMax / 2 {
			client, src := pair(t)
			adopt(t, l, newRecorder(echo), src)
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			all.Go(func() {
				for range 30 {
					sent := make([]byte, 1+rnd.IntN(1<<(1+rnd.IntN(17))))
					for j := range sent {
						sent[j] = byte(rnd.Uint32())
					}
					var writing sync.WaitGroup
					writing.Go(func() { _, _ = client.Write(sent) })
					got := make([]byte, len(sent))
					if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, sent) {
						t.Errorf("%d bytes came back changed: %v", len(sent), err)
					}
					writing.Wait()
				}
			})
		}
		all.Wait()
	})
}

// TestPostedInOrder: messages of all sizes sent in one turn to several sockets that take them slowly.
func TestPostedInOrder(t *testing.T) {
	eachKernel(t, func(t *testing.T, l *Loop) {
		const conns, messages = 3, 3000
		var clients [conns]net.Conn
		var owners [conns]*recorder
		for i := range conns {
			client, src := pair(t)
			if err := unix.SetsockoptInt(src.FD, unix.SOL_SOCKET, unix.SO_SNDBUF, 16<<10<<(2*i)); err != nil {
				t.Fatal(err)
			}
			clients[i], owners[i] = client, newRecorder(swallow)
			adopt(t, l, owners[i], src)
		}
		rnd := rand.New(rand.NewPCG(1, 1))
		var sent [conns][]byte
		for m := range messages {
			call(l, func() { // some in a turn of their own
				for range 1 + m%7 {
					i := rnd.IntN(conns)
					b := make([]byte, 4+rnd.IntN(1<<(1+rnd.IntN(13))))
					binary.BigEndian.PutUint32(b, uint32(m))
					sent[i] = append(sent[i], b...)
					owners[i].Send(b)
				}
			})
		}
		for i, client := range clients {
			got := make([]byte, len(sent[i]))
			if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, sent[i]) {
				t.Fatalf("connection %d: not what was sent: %v", i, err)
			}
		}
	})
}

// TestPostedLeavesFirst: what was sent goes out before whatever is done to the Conn next.
func TestPostedLeavesFirst(t *testing.T) {
	eachKernel(t, func(t *testing.T, l *Loop) {
		other, src := pair(t)
		beside := newRecorder(swallow)
		adopt(t, l, beside, src)
		for name, do := range map[string]func(r *recorder){
			"Close":           func(r *recorder) { r.Close() },
			"CloseAfterDrain": func(r *recorder) { r.CloseAfterDrain(lingerLook) },
			"Detach":          func(r *recorder) { r.Detach().Close() },
		} {
			client, src := pair(t)
			r := newRecorder(swallow)
			adopt(t, l, r, src)
			call(l, func() {
				r.Send([]byte("first "))
				beside.Send([]byte("."))
				r.Send([]byte("second"))
				do(r)
			})
			if got, err := io.ReadAll(client); err != nil && name != "CloseAfterDrain" || string(got) != "first second" {
				t.Errorf("%s: %q, %v", name, got, err)
			}
			expectBytes(t, other, ".")
			_ = client.Close()
		}
	})
}
