package relay

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// TestHearing: notifications come whole and together, the rest is told apart, and what nobody asked for is not believed; however it is cut.
func TestHearing(t *testing.T) {
	encode := func(messages ...pgproto3.BackendMessage) (b []byte) {
		for _, m := range messages {
			var err error
			if b, err = m.Encode(b); err != nil {
				t.Fatal(err)
			}
		}
		return b
	}
	news := &pgproto3.NotificationResponse{PID: 7, Channel: "news", Payload: "x"}
	ready := &pgproto3.ReadyForQuery{TxStatus: 'I'}
	said := encode(
		news, news, &pgproto3.CommandComplete{CommandTag: []byte("LISTEN")}, &pgproto3.ParameterStatus{Name: "a", Value: "b"}, news, ready,
		news, &pgproto3.NoticeResponse{Message: "mind"}, ready, &pgproto3.ErrorResponse{Message: "no"},
	)
	for size := 1; size <= len(said); size++ {
		h := Hearing{Owed: 2}
		var got, channels []string
		for have, rest := []byte(nil), said; len(rest) > 0; {
			n := min(size, len(rest))
			have, rest = append(have, rest[:n]...), rest[n:]
			for step := h.FromServer(have); step.Verdict != More; step = h.FromServer(have) {
				if step.Verdict == Forward {
					EachNotification(have[:step.N], func(_, channel []byte) { channels = append(channels, string(channel)) })
				}
				if n := len(got); n == 0 || got[n-1] != step.Verdict.String() {
					got = append(got, step.Verdict.String())
				}
				have = have[step.N:]
			}
		}
		if want := "forward drop report forward ready forward drop ready refused"; strings.Join(got, " ") != want {
			t.Fatalf("in pieces of %d: %s", size, strings.Join(got, " "))
		}
		if !slices.Equal(channels, []string{"news", "news", "news", "news"}) || h.Owed != 0 {
			t.Fatalf("in pieces of %d: %v, %d owed", size, channels, h.Owed)
		}
	}
	for name, b := range map[string][]byte{
		"unasked": encode(ready), "unknown": {'~', 0, 0, 0, 4}, "too long": {'A', 0, 1, 0, 0}, "too short": {'A', 0, 0, 0, 1, 0},
	} {
		h := Hearing{}
		if step := h.FromServer(b); step.Verdict != Distrust {
			t.Errorf("%s: %v", name, step.Verdict)
		}
	}
	EachNotification([]byte{'A', 0, 0, 0, 6, 1, 2}, func(_, _ []byte) { t.Error("a notification without a channel") })
}
