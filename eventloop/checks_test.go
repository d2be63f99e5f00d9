//go:build checks && linux

package eventloop

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestOwnedByThread: what belongs to the loop's thread panics when another calls it, and says so.
func TestOwnedByThread(t *testing.T) {
	l := running(t, Options{})
	_, src := pair(t)
	r := newRecorder(nil)
	var ticker *Ticker
	call(l, func() {
		if err := l.Adopt(&r.Conn, src, r); err != nil {
			t.Error(err)
		}
		ticker = l.Every(time.Hour, func(time.Duration) {})
		r.Backlog() // here it is allowed
	})
	for method, do := range map[string]func(){
		"Turn":                 func() { l.Turn(false) },
		"Later":                func() { l.Later(func() {}) },
		"Now":                  func() { l.Now() },
		"Adopt":                func() { _ = l.Adopt(&Conn{}, src, r) },
		"Ticker.Start":         func() { ticker.Start() },
		"Ticker.Stop":          func() { ticker.Stop() },
		"Conn.Backlog":         func() { r.Backlog() },
		"Conn.Unsent":          func() { r.Unsent() },
		"Conn.Kept":            func() { r.Kept() },
		"Conn.KeptBytes":       func() { r.KeptBytes(func([]byte) {}) },
		"Conn.ReadsPaused":     func() { r.ReadsPaused() },
		"Conn.SetReadMax":      func() { r.SetReadMax(1) },
		"Conn.Unread":          func() { r.Unread() },
		"Conn.Send":            func() { r.Send([]byte("x")) },
		"Conn.PauseReads":      func() { r.PauseReads() },
		"Conn.ResumeReads":     func() { r.ResumeReads() },
		"Conn.Detach":          func() { r.Detach() },
		"Conn.CloseAfterDrain": func() { r.CloseAfterDrain(0) },
		"Conn.Close":           func() { r.Conn.Close() },
	} {
		if got := panicOf(do); !strings.HasPrefix(got, "bug: "+method+" belongs to the loop's thread") {
			t.Errorf("%s from another thread: %q", method, got)
		}
	}
	if connections := l.Connections(); connections != 1 {
		t.Errorf("%d connections after calls that must not have done anything", connections)
	}
}

// panicOf is what f panics with; "" when it does not.
func panicOf(f func()) (text string) {
	defer func() {
		if v := recover(); v != nil {
			text = fmt.Sprint(v)
		}
	}()
	f()
	return ""
}
