package sim

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/hybridbouncer/hybridbouncer/protocol"
)

// trace writes what happens, a line each, for whoever looks into a seed that fails. A nil one writes nothing.
type trace struct {
	out io.Writer
	now *time.Duration
}

// say writes a line: who does what.
func (t *trace) say(who, format string, args ...any) {
	if t == nil {
		return
	}
	_, _ = fmt.Fprintf(t.out, "%12v  %-10s %s\n", *t.now, who, fmt.Sprintf(format, args...))
}

// messages writes a line about messages, the types of which are those of clients or those of servers.
func (t *trace) messages(who, what string, fromServer bool, messages ...message) {
	if t == nil || len(messages) == 0 {
		return
	}
	words := make([]string, len(messages))
	for i, m := range messages {
		words[i] = string(m.kind()) + detail(m, fromServer)
	}
	t.say(who, "%s %s", what, strings.Join(words, " | "))
}

// detail is what a reader wants to know of a message beside its type.
func detail(m message, fromServer bool) string {
	switch {
	case fromServer && (m.kind() == 'E' || m.kind() == 'N'):
		e := protocol.ParseError(m[5:])
		return fmt.Sprintf(" %s %s %q", e.Severity, e.Code, e.Message)
	case fromServer && m.kind() == 'Z':
		return " " + string(m[5:6])
	case !fromServer && (m.kind() == 'D' || m.kind() == 'C'):
		return fmt.Sprintf(" %c %q", m[5], m.text()[1:])
	case !fromServer && m.kind() == 'B':
		_, rest, _ := strings.Cut(string(m[5:]), "\x00")
		name, _, _ := strings.Cut(rest, "\x00")
		return fmt.Sprintf(" %q", name)
	case m.kind() == 'Q' || m.kind() == 'C' || m.kind() == 'f':
		return fmt.Sprintf(" %q", m.text())
	case m.kind() == 'P', m.kind() == 'S' && fromServer:
		name, rest, _ := strings.Cut(string(m[5:]), "\x00")
		value, _, _ := strings.Cut(rest, "\x00")
		return fmt.Sprintf(" %q %q", name, value)
	}
	return ""
}

// logger is where the pooler's own log goes.
func (t *trace) logger() *slog.Logger {
	if t == nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(logTrace{t})
}

// logTrace makes lines of the trace out of the pooler's log.
type logTrace struct{ trace *trace }

func (l logTrace) Enabled(context.Context, slog.Level) bool { return true }
func (l logTrace) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l logTrace) WithGroup(string) slog.Handler            { return l }

func (l logTrace) Handle(_ context.Context, r slog.Record) error {
	var attrs strings.Builder
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "age" && a.Key != "stack" { // of the real clock, and of real addresses
			fmt.Fprintf(&attrs, " %v", a)
		}
		return true
	})
	l.trace.say("pooler", "%s%s", r.Message, attrs.String())
	return nil
}
