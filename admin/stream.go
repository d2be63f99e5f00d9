package admin

import (
	"fmt"
	"net/http"
	"sync"
	"time"
)

// Bounds of the stream of live numbers.
const (
	streamsMax      = 16              // at once; each is a socket and a goroutine
	streamQueue     = 3               // messages that may wait for a reader; one that is further behind is dropped
	streamWriteMax  = 5 * time.Second // for one message; a reader that does not take it is dropped
	streamRetryTime = 3 * time.Second // after which a browser tries again
)

// streams passes a message each second to every reader of /api/v1/stream.
type streams struct {
	mu      sync.Mutex
	readers map[chan []byte]struct{} // guarded by mu
	closed  bool                     // guarded by mu
}

// join gives the channel of a new reader; nil: there are enough of them, or the endpoint ends.
func (s *streams) join() chan []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.readers) >= streamsMax {
		return nil
	}
	to := make(chan []byte, streamQueue)
	s.readers[to] = struct{}{}
	return to
}

// leave ends a reader; it does no harm to one that was dropped.
func (s *streams) leave(to chan []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(to)
}

// drop closes the channel of a reader. The caller holds mu.
func (s *streams) drop(to chan []byte) {
	if _, ok := s.readers[to]; ok {
		delete(s.readers, to)
		close(to)
	}
}

// count is how many read.
func (s *streams) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.readers)
}

// send passes a message to every reader, and drops those that have not taken the last ones. It never blocks.
func (s *streams) send(message []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for to := range s.readers {
		select {
		case to <- message:
		default:
			s.drop(to)
		}
	}
}

// close ends every reader, and refuses new ones.
func (s *streams) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for to := range s.readers {
		s.drop(to)
	}
}

// serveStream answers /api/v1/stream: an overview at once, and another one after each sample, as server-sent events.
func (e *Endpoint) serveStream(w http.ResponseWriter, r *http.Request) {
	to := e.streams.join()
	if to == nil {
		w.Header().Set("Retry-After", fmt.Sprint(int(streamRetryTime.Seconds())))
		e.fault(w, http.StatusServiceUnavailable, fmt.Sprintf("there are %d readers of the stream already", streamsMax))
		return
	}
	defer e.streams.leave(to)
	snap := e.snapshot(w, r)
	if snap == nil {
		return
	}
	first, err := e.overviewMessage(snap)
	if err != nil {
		e.unavailable(w, r, err)
		return
	}
	socket := http.NewResponseController(w)
	// The endpoint's time-outs are for requests; this one lasts. Both sides of the socket get limits of their own.
	if socket.SetReadDeadline(time.Time{}) != nil {
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	write := func(message []byte) bool {
		if socket.SetWriteDeadline(time.Now().Add(streamWriteMax)) != nil {
			return false
		}
		if _, err := w.Write(message); err != nil {
			return false
		}
		return socket.Flush() == nil
	}
	if !write(fmt.Appendf(nil, "retry: %d\n", streamRetryTime.Milliseconds())) || !write(first) {
		return
	}
	for {
		select {
		case message, ok := <-to:
			if !ok || !write(message) {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

// publish sends an overview to every reader of the stream.
func (e *Endpoint) publish() {
	if e.streams.count() == 0 {
		return
	}
	e.sampler.mu.Lock()
	snap := e.sampler.before
	e.sampler.mu.Unlock()
	message, err := e.overviewMessage(snap)
	if err != nil {
		e.log.Warn("the admin endpoint cannot send its numbers", "error", err)
		return
	}
	e.streams.send(message)
}
