package eventloop

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// gathering is a Kernel that says it likes batches, wherever the test runs.
type gathering struct{ Kernel }

func (gathering) Batches() bool               { return true }
func (k gathering) Transfer(batch []Transfer) { oneByOne(k.Kernel, batch) }
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

// TestFetched: what has been read for a Conn ahead of its turn is lost by nothing that another handler does to it.
func TestFetched(t *testing.T) {
	for name, do := range map[string]func(t *testing.T, l *Loop, victim *recorder){
		"PauseReads": func(_ *testing.T, l *Loop, victim *recorder) {
			victim.PauseReads()
			l.Later(func() { l.Later(victim.ResumeReads) })
		},
		"PauseReads and ResumeReads": func(_ *testing.T, _ *Loop, victim *recorder) { victim.PauseReads(); victim.ResumeReads() },
		"Detach": func(t *testing.T, l *Loop, victim *recorder) {
			src := victim.Detach()
			if err := l.Adopt(&victim.Conn, src, victim); err != nil {
				t.Error(err)
			}
		},
		"SetReadMax": func(_ *testing.T, _ *Loop, victim *recorder) { victim.SetReadMax(3) },
		"Unread": func(t *testing.T, l *Loop, victim *recorder) {
			if l.batches && !victim.Unread() {
				t.Error("what has been fetched is not unread")
			}
		},
		"Send": func(_ *testing.T, _ *Loop, victim *recorder) { victim.Send(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			eachKernel(t, func(t *testing.T, l *Loop) {
				var ends [2]net.Conn
				var owners [2]*recorder
				acted := false
				got := make(chan string, 10)
				for i := range owners {
					client, src := pair(t)
					ends[i] = client
					owners[i] = newRecorder(func(r *recorder, b []byte) int {
						if len(b) < 10 {
							return 0 // it may come in pieces
						}
						if !acted {
							acted = true
							do(t, l, owners[1-i])
						}
						got <- fmt.Sprintf("%d %s", i, b)
						return len(b)
					})
					adopt(t, l, owners[i], src)
				}
				call(l, func() { // both are ready when the loop looks again
					for i, end := range ends {
						write(t, end, fmt.Sprintf("message %d.", i))
					}
				})
				a, b := <-got, <-got
				if a == b || len(a) != 12 || len(b) != 12 || a[0] != a[10] || b[0] != b[10] {
					t.Fatalf("%q and %q", a, b)
				}
			})
		})
	}
}

// TestFetchedAndClosed: a Conn that another handler closes is told nothing any more.
func TestFetchedAndClosed(t *testing.T) {
	eachKernel(t, func(t *testing.T, l *Loop) {
		var ends [2]net.Conn
		var owners [2]*recorder
		told := 0
		for i := range owners {
			client, src := pair(t)
			ends[i] = client
			owners[i] = newRecorder(func(_ *recorder, b []byte) int {
				told++
				owners[1-i].Close()
				return len(b)
			})
			adopt(t, l, owners[i], src)
		}
		call(l, func() {
			for _, end := range ends {
				write(t, end, "x")
			}
		})
		call(l, func() {}) // a turn later
		call(l, func() {
			if told != 1 {
				t.Errorf("%d have been told", told)
			}
		})
	})
}
